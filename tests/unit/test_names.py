"""The portal's names and the time, for others: dnsmasq and chronyd themselves are the judges where they are here."""

import shutil
import socket
import struct
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hostile import HOSTILE
from portals import DEMO, PORTAL

from repobuild.errors import UsageError
from repobuild.manifest import load
from repobuild.portal import DnsRecord, Portal, Site, SiteKind
from repobuild.webserver import chrony_client, chrony_server, dns_records, dnsmasq_config, hosts_file

DNSMASQ, CHRONYD = (shutil.which(each, path="/usr/sbin:/usr/bin") for each in ("dnsmasq", "chronyd"))
needs_dnsmasq = pytest.mark.skipif(DNSMASQ is None, reason="dnsmasq is not installed")
needs_chronyd = pytest.mark.skipif(CHRONYD is None, reason="chronyd is not installed")
HEADER = "# Written by repobuild; the next run replaces this file.\n"


def test_names_come_from_records_and_from_domains_once() -> None:
    assert dns_records(PORTAL) == (
        ("m.pigsty", "10.10.10.11"),
        ("api.pigsty", "10.10.10.11"),
        ("g.pigsty", "10.10.10.10"),
        ("x.pigsty", "10.10.10.10"),
        ("h.pigsty", "10.10.10.10"),
        ("d.pigsty", "10.10.10.10"),
    )


def test_a_record_counts_before_the_domain_of_a_site() -> None:
    records = (DnsRecord("10.0.0.7", ("G.pigsty",)), DnsRecord("2001:DB8::7", ("g.pigsty",)))
    found = dns_records(replace(PORTAL, records=records))

    assert [address for name, address in found if name == "g.pigsty"] == ["10.0.0.7", "2001:db8::7"]


def test_an_address_and_localhost_are_no_names() -> None:
    sites = tuple(
        Site(name=f"s{number}", kind=SiteKind.PATH, domain=domain, path="/x")
        for number, domain in enumerate(("10.10.10.10", "localhost", "::1", "", "a.b"))
    )

    assert dns_records(Portal(sites=sites, address="10.0.0.1")) == (("a.b", "10.0.0.1"),)


def test_domains_need_the_nodes_address_and_no_name_of_it() -> None:
    with pytest.raises(UsageError, match="admin_ip: expected an IP address, got 'node'"):
        dns_records(replace(PORTAL, address="node"))


def test_both_forms_say_the_same() -> None:
    portal = Portal(sites=(), records=(DnsRecord("10.0.0.1", ("a", "b")), DnsRecord("::1", ("b",))))

    assert dnsmasq_config(portal) == f"{HEADER}host-record=a,10.0.0.1\nhost-record=b,10.0.0.1\nhost-record=b,::1\n"
    assert hosts_file(portal) == f"{HEADER}10.0.0.1 a\n10.0.0.1 b\n::1 b\n"


@needs_dnsmasq
@pytest.mark.parametrize(
    "portal", [PORTAL, Portal(sites=(), records=(DnsRecord("::1", ("a_b.c-d",)),))], ids=["both", "v6"]
)
def test_dnsmasq_takes_its_records(portal: Portal, tmp_path: Path) -> None:
    path = tmp_path / "records.conf"
    path.write_text(dnsmasq_config(portal))
    result = subprocess.run(
        [str(DNSMASQ), "--test", f"--conf-file={path}"], capture_output=True, text=True, timeout=30, check=False
    )

    assert (result.returncode, result.stderr.strip()) == (0, "dnsmasq: syntax check OK.")


@needs_dnsmasq
@pytest.mark.skipif(not DEMO.exists(), reason="no shared data here")
def test_dnsmasq_takes_the_demo(tmp_path: Path) -> None:
    path = tmp_path / "records.conf"
    path.write_text(dnsmasq_config(load(DEMO).portal))
    result = subprocess.run(
        [str(DNSMASQ), "--test", f"--conf-file={path}"], capture_output=True, timeout=30, check=False
    )

    assert result.returncode == 0
    assert "host-record=zh.pigsty.cc,10.10.10.10\n" in path.read_text()


def ask(port: int, name: str, kind: int = 1) -> bytes:
    """Ask the DNS server at `port` of 127.0.0.1 for a name and return its answer."""
    labels = b"".join(bytes([len(each)]) + each.encode() for each in name.split("."))
    question = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00" + labels + b"\x00" + struct.pack(">HH", kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(0.2)
        for _ in range(50):
            asking.sendto(question, ("127.0.0.1", port))
            with suppress(TimeoutError, ConnectionRefusedError):
                return asking.recv(512)
            time.sleep(0.05)
    pytest.fail("dnsmasq does not answer")


@needs_dnsmasq
@pytest.mark.parametrize("form", ["conf-file", "addn-hosts"])
def test_dnsmasq_answers_with_the_names_and_no_more(form: str, tmp_path: Path) -> None:
    path = tmp_path / "names"
    path.write_text(dnsmasq_config(PORTAL) if form == "conf-file" else hosts_file(PORTAL))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [
        "--keep-in-foreground",
        "--no-resolv",
        "--no-hosts",
        "--no-daemon",
        "--bind-interfaces",
        f"--{form}={path}",
    ]
    config = [] if form == "conf-file" else ["--conf-file=/dev/null"]
    process = subprocess.Popen(
        [str(DNSMASQ), f"--port={port}", "--listen-address=127.0.0.1", f"--pid-file={tmp_path}/pid", "--user=", *words, *config],
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        assert ask(port, "g.pigsty").endswith(bytes([10, 10, 10, 10]))
        assert ask(port, "API.pigsty").endswith(bytes([10, 10, 10, 11]))
        assert ask(port, "below.g.pigsty")[6:8] == b"\0\0"
    finally:
        process.terminate()
        process.wait(timeout=20)


def test_the_server_of_the_time_answers_private_networks_and_without_a_source() -> None:
    assert chrony_server() == (
        f"{HEADER}allow 10.0.0.0/8\nallow 172.16.0.0/12\nallow 192.168.0.0/16\nallow fc00::/7\nlocal stratum 10\n"
    )
    assert chrony_server(["10.1.2.3", "2001:db8::/32", "10.1.2.3"]) == (
        f"{HEADER}allow 10.1.2.3/32\nallow 2001:db8::/32\nlocal stratum 10\n"
    )


def test_clients_follow_the_node() -> None:
    assert chrony_client(PORTAL) == f"{HEADER}server 10.10.10.10 iburst\n"


@needs_chronyd
@pytest.mark.parametrize(
    "text", [chrony_server(), chrony_server(["2001:db8::1"]), chrony_client(PORTAL)], ids=["server", "v6", "client"]
)
def test_chronyd_takes_its_lines(text: str, tmp_path: Path) -> None:
    path = tmp_path / "chrony.conf"
    path.write_text(text)
    result = subprocess.run(
        [str(CHRONYD), "-p", "-f", str(path)], capture_output=True, text=True, timeout=30, check=False
    )

    assert result.returncode == 0, result.stderr
    assert [line for line in text.splitlines() if line[0] != "#"] == result.stdout.splitlines()


@pytest.mark.parametrize("value", [each for each in HOSTILE if each not in {"0", "65536"}])
def test_a_hostile_network_or_server_is_refused(value: str) -> None:
    with pytest.raises(UsageError) as caught:
        chrony_server([value])
    assert caught.value.message.isprintable()
    if value not in {"999.1.1.1", "1.2.3"}:  # names of hosts, if odd ones
        with pytest.raises(UsageError, match="admin_ip"):
            chrony_client(replace(PORTAL, address=value))


@pytest.mark.parametrize("value", ["10.0.0.1/8", "0", "65536", "10.0.0.0/33", "all", "::1%lo"])
def test_only_a_network_is_a_network(value: str) -> None:
    with pytest.raises(UsageError, match="network: expected"):
        chrony_server([value])
