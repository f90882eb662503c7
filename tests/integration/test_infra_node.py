"""The living proof: an INFRA node made from nothing but the bundle, and a database node that lives from it.

Two machines in namespaces, a cable between them, and no other network; both start as the smallest Debian 12, made by
mmdebstrap of the quickstart bundle. On the first, 10.10.10.10, `install.sh` and apt install the INFRA stack from that
bundle; nginx, dnsmasq and chronyd read what `repobuild nginx`, `dns` and `ntp` write. The second, 10.10.10.11, has only
the first for its DNS server, repository, monitoring and time, and for the etcd in which its Patroni keeps the state of
its PostgreSQL.

Not run, since Debian has no packages of them (its `loki` is a program for geneticists): Grafana and Loki. That the
portal passes on what is meant for them is proven with a stand-in at their ports (3000, with websocket, and 3100). There
is no systemd: services are started as they are, as the users of their packages. No clock is set, since namespaces have
none of their own: chronyd runs with -x, and the client measures (-Q).
"""

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from built import Built
from infra_node import (
    DATABASE,
    INFRA,
    MEDIUM,
    PACKAGES,
    configure,
    get,
    get_json,
    install_from_bundle,
    install_from_portal,
    query,
    register,
    sources,
    start_patroni,
    start_services,
    unpack,
)
from nodes import Node, copy_root, minimal_root, pair, wait_for, why_not, workshop

WHY_NOT = why_not()
pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(WHY_NOT), reason=WHY_NOT)]

KIT = ("install.sh", "SHA256SUMS", "SHA256SUMS.asc", "pigsty.gpg")
"""What a client of the portal is given by hand: all beside the bundle but the bundle."""
DOMAINS = ("h.pigsty", "g.pigsty", "p.pigsty", "a.pigsty", "push.pigsty", "probe.pigsty", "l.pigsty")
INFRA_TARGETS = {
    (f"{INFRA}:9090", "prometheus"), (f"{INFRA}:9093", "alertmanager"), (f"{INFRA}:9091", "pushgateway"),
    (f"{INFRA}:2379", "etcd"), (f"{INFRA}:9115", "blackbox"), (f"{INFRA}:9115", "probe"), (f"{INFRA}:9100", "node"),
}  # fmt: skip
DATABASE_TARGETS = {(f"{DATABASE}:8008", "patroni"), (f"{DATABASE}:9100", "node")}
MOST_OFFSET = 0.1
"""Seconds that the client may be off: both read the same clock."""
WEBSOCKET = """
import socket
wire = socket.create_connection(("g.pigsty", 80), timeout=10)
words = "GET /api/live/ws HTTP/1.1\\r\\nHost: g.pigsty\\r\\nConnection: Upgrade\\r\\nUpgrade: websocket\\r\\n\\r\\n"
wire.sendall(words.encode())
stream = wire.makefile("rb")
print(stream.readline().split()[1].decode())
while stream.readline().strip():
    pass
wire.sendall(b"over the wire\\n")
print(stream.readline().decode())
"""

Tell = Callable[[str], None]


@pytest.fixture(scope="module")
def tell() -> Tell:
    """Return what tells the story: `make demo` shows it."""
    begin = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - begin:6.1f} s  {line}", flush=True)

    return say


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with workshop(tmp_path_factory.mktemp("nodes")) as folder:
        yield folder


@pytest.fixture(scope="module")
def medium(built: Built, place: Path, tell: Tell) -> Path:
    """Return the folder that is carried to the site without network: the bundle and what lies beside it."""
    tell(f"The quickstart repository is built: {len(built.lock.choices)} packages.")
    folder = place / "medium"
    built.run("bundle", "--published", "d12.x86_64", "--home", str(built.web_root), "--out", str(folder))
    [part] = folder.glob("*.tgz")
    tell(f"It is bundled: {part.name}, {part.stat().st_size / 1e6:.0f} MB, signed.")
    return folder


@pytest.fixture(scope="module")
def fingerprint(built: Built) -> str:
    """Return the fingerprint of the key that signs, as it is told by phone."""
    shown = json.loads(built.run("key", "show", "--json").stdout)
    return str(shown["fingerprint"]).replace(" ", "")


@pytest.fixture(scope="module")
def both(medium: Path, fingerprint: str, tool: Callable[[str], str], tell: Tell) -> Iterator[tuple[Node, Node]]:
    """Yield two bare machines with a cable between them."""
    place = medium.parent
    www = unpack(medium, fingerprint, place / "image")
    bare = minimal_root(tool("mmdebstrap"), www / "pigsty", www / "pigsty.gpg", place / "infra")
    shutil.rmtree(place / "image")
    roots = {"infra-1": bare, "pg-demo-1": copy_root(bare, place / "database")}
    try:
        with pair(roots, (INFRA, DATABASE)) as (first, second):
            tell(f"Two bare Debian 12, made of the bundle alone, are up at {INFRA} and {DATABASE}.")
            tell("They see nothing but each other.")
            yield first, second
    finally:
        for each in roots.values():
            shutil.rmtree(each)


@pytest.fixture(scope="module")
def infra(built: Built, both: tuple[Node, Node], medium: Path, fingerprint: str, tell: Tell) -> Node:
    """Return the INFRA node, made from the medium, its services started."""
    node = both[0]
    node.mount(medium, MEDIUM)
    said = install_from_bundle(node, fingerprint, PACKAGES)
    assert "installed d12.x86_64" in said
    tell(f"On {INFRA}, install.sh proved the bundle and published it in /www, and apt installed from there:")
    tell(f"{', '.join(PACKAGES)}.")
    configure(node, built, medium.parent)
    start_services(node)
    tell("The portal, DNS and time are configured by repobuild nginx, dns and ntp; all services are started.")
    return node


@pytest.fixture(scope="module")
def database(built: Built, infra: Node, both: tuple[Node, Node], medium: Path, fingerprint: str, tell: Tell) -> Node:
    """Return the database node, its packages installed through the portal."""
    node = both[1]
    kit = medium.parent / "kit"
    kit.mkdir()
    for name in KIT:
        (kit / name).write_bytes((medium / name).read_bytes())
    node.mount(kit, MEDIUM)
    node.write("/etc/resolv.conf", f"nameserver {infra.address}\n")
    node.write("/etc/postgresql-common/createcluster.conf", "create_main_cluster = false\n")
    wait_for("DNS", lambda: node.run("getent", "ahostsv4", "h.pigsty"))
    packages = ["curl", "chrony", "patroni", "prometheus-node-exporter", f"postgresql-{_postgres(built)}"]
    found = install_from_portal(node, fingerprint, packages)
    assert {"http://h.pigsty/pigsty/"} == found
    tell(f"apt on {DATABASE} installed {', '.join(packages)} from http://h.pigsty/pigsty.")
    start_patroni(node, _postgres(built))
    return node


@pytest.fixture(autouse=True)
def heard(both: tuple[Node, Node], request: pytest.FixtureRequest) -> Iterator[None]:
    """Show what the services said when a test fails."""
    before = request.session.testsfailed
    yield
    if request.session.testsfailed > before:
        print(*(each.logs() for each in both), sep="\n")


def test_the_bundle_alone_made_the_infra_node(infra: Node, tell: Tell) -> None:
    routes = infra.run_ours("ip", "route").split("\n")
    broken = infra.run("dpkg", "--audit")

    assert [f"10.10.10.0/24 dev lan proto kernel scope link src {INFRA}", ""] == [each.strip() for each in routes]
    assert {"file:/www/pigsty/"} == sources(infra)
    assert "" == broken
    tell("It has no way to any other network, and no package source but file:/www/pigsty.")


def test_the_dns_server_tells_the_portals_names(database: Node, tell: Tell) -> None:
    found = {name: database.run("getent", "ahostsv4", name).split()[0] for name in (*DOMAINS, "pg-demo.pigsty")}

    assert {**dict.fromkeys(DOMAINS, INFRA), "pg-demo.pigsty": DATABASE} == found
    database.run("getent", "ahostsv4", "example.org", code=2)
    for name, address in found.items():
        tell(f"{DATABASE} asks {INFRA}: {name} is {address}.")


def test_the_home_serves_the_repository_and_its_page(built: Built, database: Node, tell: Tell) -> None:
    marker = get(database, "http://h.pigsty/pigsty/repo_complete")
    headers = get(database, f"http://h.pigsty/pigsty/{built.lock.choices[0].package.filename}", "--head").lower()
    page = get(database, "http://h.pigsty/")
    secured = get(database, "https://h.pigsty/pigsty.gpg", "--insecure", "-o", "/dev/null", "-w", "%{http_code}")

    assert (built.repository / "repo_complete").read_text() == marker
    assert "immutable" in headers
    assert 'href="/pigsty/"' in page
    assert 'href="http://p.pigsty/"' in page
    assert "200" == secured
    tell("http://h.pigsty/pigsty/ is the repository, file by file; http://h.pigsty/ is the landing page; https works.")


def test_prometheus_scrapes_all_its_targets(infra: Node, database: Node, tell: Tell) -> None:
    register(infra, "node", f"{DATABASE}:9100")
    register(infra, "patroni", f"{DATABASE}:8008")

    def up() -> set[tuple[str, str]]:
        active = get_json(database, "http://p.pigsty/api/v1/targets")["data"]["activeTargets"]
        assert [] == [(each["scrapeUrl"], each["lastError"]) for each in active if each["health"] != "up"]
        found = {(each["labels"]["instance"], each["labels"]["job"]) for each in active}
        assert INFRA_TARGETS | DATABASE_TARGETS == found
        return found

    found = wait_for("every target is up", up)
    probed = wait_for("the probe", lambda: query(database, "probe_success == 1"))

    assert {(f"{INFRA}:9115", "probe"): "1"} == probed
    tell(f"http://p.pigsty/api/v1/targets: all {len(found)} are up, those of {DATABASE} too.")
    tell("The blackbox exporter finds http://h.pigsty/ well.")


def test_a_pushed_figure_reaches_prometheus(database: Node, tell: Tell) -> None:
    database.write("/root/figure", "backup_bytes 4711\n")

    get(database, "http://push.pigsty/metrics/job/backup/instance/pg-demo-1", "--data-binary", "@/root/figure")
    found = wait_for("the figure", lambda: query(database, "backup_bytes"))

    assert {("pg-demo-1", "backup"): "4711"} == found
    tell("A figure pushed to http://push.pigsty is in Prometheus.")


def test_an_alert_reaches_the_alertmanager(database: Node, tell: Tell) -> None:
    [alert] = wait_for("the alert", lambda: get_json(database, "http://a.pigsty/api/v2/alerts"))

    assert "ProofOfLife" == alert["labels"]["alertname"]
    assert "active" == alert["status"]["state"]
    assert alert["generatorURL"].startswith("http://p.pigsty/")
    tell("http://a.pigsty/api/v2/alerts: ProofOfLife fires, sent by Prometheus.")


def test_patroni_runs_postgresql_by_the_infra_nodes_etcd(built: Built, database: Node, infra: Node, tell: Tell) -> None:
    def leader() -> object:
        return get_json(database, f"http://{DATABASE}:8008/primary")

    wait_for("Patroni leads", leader, 60)
    answer = database.run("psql", "-XAtc", "SELECT current_setting('server_version'), 6 * 7", user="postgres")
    kept = get_json(database, f"http://{DATABASE}:8008/cluster")

    assert re.fullmatch(rf"{_postgres(built)}\.\d+ .*\|42\n", answer)
    assert [("pg-demo-1", "leader")] == [(each["name"], each["role"]) for each in kept["members"]]
    tell(f"Patroni, with etcd on {INFRA}, leads PostgreSQL {answer.split()[0]}; SELECT 6 * 7 is 42.")


def test_the_infra_node_tells_the_time(database: Node, medium: Path, tell: Tell) -> None:
    [line] = [each for each in (medium.parent / "client.conf").read_text().splitlines() if each.startswith("server ")]

    said = database.run("chronyd", "-Q", "-t", "20", line)

    found = re.search(r"System clock wrong by (-?[\d.]+) seconds", said)
    assert found is not None, said
    assert abs(float(found[1])) < MOST_OFFSET
    tell(f"chronyd at {INFRA} tells the time: off by {abs(float(found[1])) * 1000:.3f} ms.")


def test_what_is_meant_for_grafana_and_loki_gets_to_their_ports(database: Node, tell: Tell) -> None:
    grafana = get_json(database, "http://g.pigsty/d/node%2Fdemo?orgId=1")
    socket = database.run("python3", "-c", WEBSOCKET).split("\n")
    loki = json.loads(get(database, "http://l.pigsty/loki/api/v1/push", "--data-binary", '{"streams": []}'))

    assert ("grafana", "/d/node%2Fdemo?orgId=1") == (grafana["name"], grafana["path"])
    assert ("g.pigsty", DATABASE) == (grafana["headers"]["host"], grafana["headers"]["x-real-ip"])
    assert ["101", "over the wire"] == socket[:2]
    assert ("loki", "POST", '{"streams": []}') == (loki["name"], loki["method"], loki["body"])
    tell("Not run: Grafana and Loki, since Debian has no packages of them. A stand-in at their ports gets what is sent")
    tell("to http://g.pigsty (websocket too) and http://l.pigsty. Nor systemd: services are started as they are.")


def _postgres(built: Built) -> str:
    """Return the major version of the PostgreSQL that the bundle has."""
    [version] = {found[1] for want in built.wants if (found := re.fullmatch(r"postgresql-(\d+)", want))}
    return version
