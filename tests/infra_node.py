"""An INFRA node in namespaces, and a database node that lives from it: what is written there, and what is started.

Services are started as they are, without systemd, with the users that their packages made. What our command writes
(nginx, dnsmasq, chrony) goes where an operator would put it.
"""

import json
import subprocess
import sys
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from built import Built
from nodes import Node

STAND_IN = Path(__file__).with_name("stand_in.py")
INFRA = "10.10.10.10"
DATABASE = "10.10.10.11"
MEDIUM = "/media/medium"
"""Where a node sees the folder that was carried to it."""

PACKAGES = (
    "nginx", "dnsmasq", "chrony", "etcd-server", "prometheus", "prometheus-alertmanager", "prometheus-pushgateway",
    "prometheus-blackbox-exporter", "prometheus-node-exporter", "openssl",
)  # fmt: skip
PORTAL = """\
admin_ip: 10.10.10.10
infra_portal:
  home:         { domain: h.pigsty }
  grafana:      { domain: g.pigsty, endpoint: "${admin_ip}:3000", websocket: true }
  prometheus:   { domain: p.pigsty, endpoint: "${admin_ip}:9090" }
  alertmanager: { domain: a.pigsty, endpoint: "${admin_ip}:9093" }
  pushgateway:  { domain: push.pigsty, endpoint: "${admin_ip}:9091" }
  blackbox:     { domain: probe.pigsty, endpoint: "${admin_ip}:9115" }
  loki:         { domain: l.pigsty, endpoint: "${admin_ip}:3100" }
dns_records: [ "10.10.10.11 pg-demo-1 pg-demo.pigsty" ]
"""
_PROMETHEUS = """\
global: { scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }
rule_files: [ /etc/prometheus/rules/*.yml ]
alerting: { alertmanagers: [ { static_configs: [ { targets: [ "10.10.10.10:9093" ] } ] } ] }
scrape_configs:
  - { job_name: prometheus, static_configs: [ { targets: [ "10.10.10.10:9090" ] } ] }
  - { job_name: alertmanager, static_configs: [ { targets: [ "10.10.10.10:9093" ] } ] }
  - { job_name: pushgateway, honor_labels: true, static_configs: [ { targets: [ "10.10.10.10:9091" ] } ] }
  - { job_name: etcd, static_configs: [ { targets: [ "10.10.10.10:2379" ] } ] }
  - { job_name: blackbox, static_configs: [ { targets: [ "10.10.10.10:9115" ] } ] }
  - { job_name: node, static_configs: [ { targets: [ "10.10.10.10:9100" ] } ],
      file_sd_configs: [ { files: [ /etc/prometheus/targets/node/*.yml ], refresh_interval: 1s } ] }
  - { job_name: patroni, file_sd_configs: [ { files: [ /etc/prometheus/targets/patroni/*.yml ], refresh_interval: 1s } ] }
  - job_name: probe
    metrics_path: /probe
    params: { module: [ http_2xx ], target: [ "http://h.pigsty/" ] }
    static_configs: [ { targets: [ "10.10.10.10:9115" ] } ]
"""
_RULES = "groups: [ { name: proof, rules: [ { alert: ProofOfLife, expr: vector(1), labels: { severity: info } } ] } ]\n"
_PATRONI = """\
scope: pg-demo
name: pg-demo-1
restapi: { listen: 10.10.10.11:8008, connect_address: 10.10.10.11:8008 }
etcd3: { hosts: "10.10.10.10:2379" }
bootstrap:
  dcs: { ttl: 20, loop_wait: 1, retry_timeout: 5 }
  initdb: [ { encoding: UTF8 }, { locale: C.UTF-8 }, data-checksums ]
postgresql:
  listen: 10.10.10.11:5432
  connect_address: 10.10.10.11:5432
  data_dir: /var/lib/postgresql/pg-demo
  bin_dir: /usr/lib/postgresql/VERSION/bin
  pgpass: /var/lib/postgresql/pg-demo.pgpass
  parameters: { unix_socket_directories: /var/run/postgresql }
  pg_hba: [ local all all peer, host all all 10.10.10.0/24 scram-sha-256 ]
  authentication:
    superuser: { username: postgres, password: proof }
    replication: { username: replicator, password: proof }
"""


def unpack(medium: Path, fingerprint: str, image: Path) -> Path:
    """Install the bundle of a folder into an image that has nothing yet but its name; return the image's web root."""
    (image / "etc").mkdir(parents=True)
    (image / "etc/os-release").write_text("ID=debian\nVERSION_ID=12\nVERSION_CODENAME=bookworm\n")
    command = ["sh", str(medium / "install.sh"), "--root", str(image), "--trust", fingerprint]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return image / "www"


def install_from_bundle(node: Node, fingerprint: str, packages: Sequence[str]) -> str:
    """Install packages on a bare system from the bundle at MEDIUM: install.sh, then apt; return what install.sh said."""
    said = node.run("sh", f"{MEDIUM}/install.sh", "--trust", fingerprint)
    _apt_install(node, packages)
    return said


def install_from_portal(node: Node, fingerprint: str, packages: Sequence[str]) -> set[str]:
    """Install packages over http, by the name that the INFRA node's DNS knows; return apt's word on where from."""
    node.run("sh", f"{MEDIUM}/install.sh", "--http", "http://h.pigsty/pigsty", "--trust", fingerprint)
    _apt_install(node, packages)
    return sources(node)


def sources(node: Node) -> set[str]:
    """Return the URLs of all repositories that the node's apt knows."""
    return set(node.run("apt-get", "indextargets", "--format", "$(REPO_URI)").split())


def _apt_install(node: Node, packages: Sequence[str]) -> None:
    node.run("apt-get", "update", "-q", "--error-on=any")
    node.run("apt-get", "install", "-q", "-y", "--no-install-recommends", *packages)


def configure(node: Node, built: Built, place: Path) -> None:
    """Write what the services read; nginx, DNS and time from the manifest, by our command."""
    manifest = place / "portal.yml"
    manifest.write_text(PORTAL)
    etc = node.root / "etc"
    certificate = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ",".join(f"DNS:{name}.pigsty" for name in ("h", "g", "p", "a"))
    node.write("/etc/nginx/conf.d/cert/README", "made by the test\n")
    node.run(
        *certificate, "-days", "30", "-subj", "/CN=pigsty", "-addext", f"subjectAltName={names}",
        "-out", "/etc/nginx/conf.d/cert/pigsty.crt", "-keyout", "/etc/nginx/conf.d/cert/pigsty.key",
    )  # fmt: skip
    (etc / "nginx/sites-enabled/default").unlink(missing_ok=True)
    built.run("nginx", "-c", str(manifest), "-o", str(etc / "nginx/conf.d/portal.conf"))
    page = ["--page", "--home", str(node.root / "www"), "-o", str(node.root / "www/index.html")]
    built.run("nginx", "-c", str(manifest), *page)
    built.run("dns", "-c", str(manifest), "-o", str(etc / "dnsmasq.d/pigsty.conf"))
    built.run("ntp", "-c", str(manifest), "-o", str(etc / "chrony/conf.d/pigsty.conf"))
    built.run("ntp", "--client", "-c", str(manifest), "-o", str(place / "client.conf"))
    # The time of the INFRA node is its own here: there is no network to ask for another.
    node.write("/etc/chrony/chrony.conf", "driftfile /var/lib/chrony/drift\nconfdir /etc/chrony/conf.d\n")
    node.write("/etc/resolv.conf", f"nameserver {INFRA}\n")
    node.write("/etc/prometheus/prometheus.yml", _PROMETHEUS)
    node.write("/etc/prometheus/rules/proof.yml", _RULES)
    for kind in ("node", "patroni"):
        node.run("mkdir", "-p", f"/etc/prometheus/targets/{kind}")
    node.run("nginx", "-t")
    node.run("promtool", "check", "config", "/etc/prometheus/prometheus.yml")


def start_services(node: Node) -> None:
    """Start all that an INFRA node runs."""
    node.start(
        "dnsmasq", "--keep-in-foreground", "--no-resolv", "--no-hosts", "--pid-file", "--bind-interfaces",
        "--listen-address=127.0.0.1", f"--listen-address={INFRA}", "--conf-file=/etc/dnsmasq.d/pigsty.conf",
    )  # fmt: skip
    node.start("chronyd", "-n", "-x")
    node.start("nginx", "-g", "daemon off;")
    urls = f"http://{INFRA}:2379"
    node.start(
        "etcd", "--data-dir=/var/lib/etcd/proof", f"--listen-client-urls={urls}", f"--advertise-client-urls={urls}",
        user="etcd",
    )  # fmt: skip
    data = "/var/lib/prometheus"
    # An alert that fires before Prometheus has found its Alertmanager is said again soon, not in a minute.
    node.start(
        "prometheus", "--config.file=/etc/prometheus/prometheus.yml", f"--storage.tsdb.path={data}/proof",
        "--web.external-url=http://p.pigsty/", "--rules.alert.resend-delay=1s", user="prometheus",
    )  # fmt: skip
    node.start(
        "prometheus-alertmanager", "--config.file=/etc/prometheus/alertmanager.yml", "--cluster.listen-address=",
        f"--storage.path={data}/alerts", "--web.external-url=http://a.pigsty/", user="prometheus",
    )  # fmt: skip
    node.start("prometheus-pushgateway", user="prometheus")
    node.start("prometheus-blackbox-exporter", "--config.file=/etc/prometheus/blackbox.yml", user="prometheus")
    _start_node_exporter(node)
    for name, port in (("grafana", 3000), ("loki", 3100)):
        node.start_ours(f"stand-in-{name}", sys.executable, "-I", str(STAND_IN), name, str(port))


def start_patroni(node: Node, version: str) -> None:
    """Start Patroni, which makes and starts a PostgreSQL of this version and keeps its state in the node's etcd."""
    node.write("/etc/patroni/proof.yml", _PATRONI.replace("VERSION", version))
    node.run("install", "-d", "-o", "postgres", "-g", "postgres", "/run/postgresql")
    node.start("patroni", "/etc/patroni/proof.yml", user="postgres")
    _start_node_exporter(node)


def _start_node_exporter(node: Node) -> None:
    node.start("prometheus-node-exporter", "--no-collector.systemd", user="prometheus")


def register(node: Node, kind: str, target: str) -> None:
    """Tell Prometheus of another target."""
    node.write(f"/etc/prometheus/targets/{kind}/{target.partition(':')[0]}.yml", f'[ {{ targets: [ "{target}" ] }} ]\n')


def get(node: Node, url: str, *options: str) -> str:
    """Return what a URL answers to the node's curl."""
    return node.run("curl", "-sSf", "--max-time", "10", *options, url)


def get_json(node: Node, url: str) -> Any:
    return json.loads(get(node, url))


def query(node: Node, expression: str) -> Mapping[tuple[str, str], str]:
    """Ask Prometheus, through the portal: instance and job of each series, and its value."""
    found = get_json(node, f"http://p.pigsty/api/v1/query?query={urllib.parse.quote(expression)}")
    series = found["data"]["result"]
    return {(each["metric"].get("instance", ""), each["metric"].get("job", "")): each["value"][1] for each in series}
