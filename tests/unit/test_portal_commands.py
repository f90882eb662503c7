"""nginx, dns and ntp as a user runs them."""

import json
import stat
from pathlib import Path

import pytest
from portals import MANIFEST

from repobuild.cli.main import run

LONE = "repo_upstream: []\nadmin_ip: 10.10.10.10\n"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "m.yml"
    path.write_text(MANIFEST)
    return path


def said(capsys: pytest.CaptureFixture[str], path: Path, *words: str) -> tuple[int, str, str]:
    """Run a command on a manifest and return its exit code and what it printed."""
    code = run([*words, "-c", str(path), "--home", str(path.parent / "www")])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_nginx_writes_the_portal_where_there_is_one(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, manifest, "nginx")

    assert code == 0
    assert "server_name h.pigsty localhost 127.0.0.1 10.10.10.10;" in out
    assert "server_name g.pigsty x.pigsty;" in out
    assert f"root {manifest.parent}/www/acme;" in out
    assert "location ^~ /pigsty/ {" in out
    assert "nginx starts only where these files are, and here they are not: " in err
    assert "/etc/letsencrypt/live/x/fullchain.pem" in err


@pytest.mark.parametrize("words", [("--port", "8080"), ("--server-name", "repo.example")])
def test_a_port_or_a_name_asks_for_a_lone_server(
    words: tuple[str, str], manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out, _ = said(capsys, manifest, "nginx", *words)

    assert code == 0
    assert words[1] in out
    assert out.count("server {") == 1
    assert "g.pigsty" not in out


def test_nginx_writes_a_lone_server_where_there_is_no_portal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "m.yml"
    path.write_text(LONE)
    _, out, _ = said(capsys, path, "nginx")

    assert out.count("server {") == 1
    assert "server_name 10.10.10.10;" in out


def test_the_locations_are_those_of_the_repositories_alone(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, out, _ = said(capsys, manifest, "nginx", "--locations")

    assert "server" not in out
    assert "location ^~ /pigsty/ {" in out


def test_a_portal_without_a_home_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.yml"
    path.write_text("infra_portal: { a: { domain: a.b, endpoint: '127.0.0.1:1' } }\nnginx_sslmode: disable\n")
    code, _, err = said(capsys, path, "nginx")

    assert code == 0
    assert "infra_portal has no `home` with a domain, so nothing serves the repositories" in err


def test_one_form_at_a_time(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = said(capsys, manifest, "nginx", "--page", "--port", "80")

    assert (code, out) == (2, "")
    assert "--page goes without --port and --server-name" in err


def test_the_page_is_printed_or_written(manifest: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, out, _ = said(capsys, manifest, "nginx", "--page")
    code, nothing, _ = said(capsys, manifest, "nginx", "--page", "-o", str(tmp_path / "index.html"))

    assert (code, nothing) == (0, "")
    assert out == (tmp_path / "index.html").read_text()
    assert "<title>h.pigsty</title>" in out
    assert '<a href="https://g.pigsty/">x</a>' in out


def test_passwords_go_to_a_file_for_owner_and_group_and_nowhere_else(
    manifest: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    path = tmp_path / ".htpasswd"
    code, out, err = said(capsys, manifest, "nginx", "--users")
    assert (code, out) == (2, "")
    assert "passwords go to a file" in err
    for words in ((), ("--json",), ("-v", "--debug")):
        code, out, err = said(capsys, manifest, "nginx", "--users", "-o", str(path), *words)
        assert code == 0
        assert "secret" not in out + err
        assert "SSHA" not in out + err

    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert path.read_text().startswith("x:{SSHA}")
    assert "secret" not in path.read_text()


def test_that_nobody_may_enter_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.yml"
    path.write_text("infra_portal: { home: { domain: h.pigsty, auth: true } }\n")

    code, _, err = said(capsys, path, "nginx")
    refused, _, reason = said(capsys, path, "nginx", "--users", "-o", str(tmp_path / "users"))

    assert (code, refused) == (0, 2)
    assert "nginx_users names nobody" in err
    assert "names no nginx_users" in reason
    assert not (tmp_path / "users").exists()


def test_names_for_dnsmasq_and_as_hosts(manifest: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    _, out, _ = said(capsys, manifest, "dns")
    assert out.splitlines()[1:3] == ["host-record=m.pigsty,10.10.10.11", "host-record=h.pigsty,10.10.10.10"]

    said(capsys, manifest, "dns", "--hosts", "-o", str(tmp_path / "hosts"))
    assert (tmp_path / "hosts").read_text().splitlines()[1] == "10.10.10.11 m.pigsty"

    document = json.loads(said(capsys, manifest, "dns", "--json")[1])
    assert document["records"][0] == {"name": "m.pigsty", "address": "10.10.10.11"}
    assert (document["config"], document["path"]) == (out, None)


def test_the_time_for_the_node_and_for_those_that_follow_it(manifest: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "local stratum 10\n" in said(capsys, manifest, "ntp")[1]
    assert "allow 10.9.0.0/16\nlocal" in said(capsys, manifest, "ntp", "--allow", "10.9.0.0/16")[1]
    assert said(capsys, manifest, "ntp", "--client")[1].endswith("\nserver 10.10.10.10 iburst\n")
    assert json.loads(said(capsys, manifest, "ntp", "--client", "--json")[1])["path"] is None
    assert said(capsys, manifest, "ntp", "--client", "--allow", "10.0.0.0/8")[0] == 2
    assert said(capsys, manifest, "ntp", "--allow", "10.0.0.0/8; x")[0] == 2
