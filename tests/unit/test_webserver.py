"""Rules of the nginx configuration; real nginx, on loopback with files of its own, is the judge where it is installed."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hostile import HOSTILE, directives
from nginx_server import CLEAN, NGINX, fetch, free_port, needs_nginx, running

from repobuild import media
from repobuild.errors import ProofError, UsageError
from repobuild.webserver import NginxSpec, nginx_config, nginx_locations, validate

SPEC = NginxSpec(
    home="/www", repositories=("/pigsty/", "/d12.aarch64/pigsty/"), server_names=("h.pigsty", "10.10.10.10")
)

HARMLESS: dict[str, Any] = {
    "home": "/x",
    "repositories": ("/x/",),
    "server_names": ("x",),
    "addresses": ("127.0.0.1",),
    "port": 81,
}


def written(field: str, value: Any) -> str:
    """Write the configuration with one field changed; a list's field gets the value as its only one."""
    lists = isinstance(HARMLESS[field], tuple) and not isinstance(value, tuple)
    changes: dict[str, Any] = {"addresses": ("127.0.0.2",)} | {field: (value,) if lists else value}
    return nginx_config(replace(SPEC, **changes))


def refusal(field: str, value: Any) -> str | None:
    try:
        written(field, value)
    except UsageError as error:
        return error.message
    return None


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("field", sorted(HARMLESS))
def test_a_hostile_value_is_refused_or_adds_no_directive(field: str, value: str) -> None:
    message = refusal(field, value)

    if message is None:
        assert directives(written(field, value)) == directives(written(field, HARMLESS[field]))
    else:
        assert message.isprintable()


def test_every_hostile_value_is_refused_but_the_few_that_are_of_the_type() -> None:
    passed = [(field, value) for field in HARMLESS for value in HOSTILE if refusal(field, value) is None]

    assert passed == [("server_names", value) for value in ("0", "65536", "999.1.1.1", "1.2.3")]


@pytest.mark.parametrize("port", [0, 65536, -1, True, 80.0, "80", None])
def test_only_a_port_is_a_port(port: object) -> None:
    with pytest.raises(UsageError, match="port"):
        nginx_config(replace(SPEC, port=port))  # type: ignore[arg-type]


def test_a_lone_string_is_no_list_of_values() -> None:
    with pytest.raises(UsageError, match="repositories"):
        nginx_config(replace(SPEC, repositories="/pigsty/"))  # type: ignore[arg-type]


def test_the_same_values_in_another_order_give_the_same_locations() -> None:
    turned = replace(SPEC, repositories=(*reversed(SPEC.repositories), "/pigsty/"))

    assert nginx_config(turned) == nginx_config(SPEC)
    assert nginx_locations(turned) == nginx_locations(SPEC)


def test_no_value_stands_in_a_comment() -> None:
    comments = [line for line in nginx_config(SPEC).splitlines() if line.lstrip().startswith("#")]

    assert comments == ["# Written by repobuild; the next run replaces this file."]


@needs_nginx
def test_nginx_takes_both_forms_and_refuses_what_is_wrong() -> None:
    full = replace(
        SPEC,
        default_server=True,
        addresses=("127.0.0.1", "::1", "203.0.113.7"),
        server_names=("h.pigsty", "::1"),
        port=8081,
    )

    assert validate(nginx_config(SPEC)) == CLEAN
    assert validate(nginx_config(full)) == CLEAN
    assert validate(nginx_config(NginxSpec(home="/www", repositories=()))) == CLEAN
    assert validate(nginx_locations(SPEC), locations=True) == CLEAN
    with pytest.raises(
        ProofError, match=r'^nginx refuses the configuration: unknown directive "nonsense" in nginx\.conf'
    ):
        validate("server { nonsense on; }")
    for wrong in ("server { listen 80; nonsense on; }", "server {", nginx_locations(SPEC)):
        with pytest.raises(ProofError, match="nginx refuses"):
            validate(wrong)


@pytest.fixture(scope="module", params=["server", "locations"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run nginx over a tiny home and yield its port."""
    if not NGINX.exists():
        pytest.skip("nginx is not installed")
    place = tmp_path_factory.mktemp("nginx")
    place.chmod(0o755)
    home = place / "www"
    files = {
        "pigsty/a_1_all.deb": b"0123456789", "pigsty/b-1.noarch.rpm": b"rpm", "pigsty/Packages": b"text", "pigsty/Packages.gz": b"\x1f\x8b",
        "pigsty/Packages.xz": b"xz", "pigsty/InRelease": b"text", "pigsty/Release": b"text", "pigsty/Release.gpg": b"gpg",
        "pigsty/repo_complete": b"text", "pigsty/by-hash/SHA256/00ff": b"x", "pigsty/repodata/repomd.xml": b"<x/>",
        "pigsty/.repobuild/generation.json": b"secret", "pigsty/.hidden": b"secret", "pigsty/repobuild.lock": b"{}",
    }  # fmt: skip
    for name, content in files.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(content)
    (home / "pigsty/link.deb").symlink_to("a_1_all.deb")
    port = free_port()
    spec = NginxSpec(
        home=str(home), repositories=("/pigsty/",), port=port, addresses=("127.0.0.1",), server_names=("h.pigsty",)
    )
    body = nginx_config(spec)
    if request.param == "locations":
        body = f"server {{ listen 127.0.0.1:{port};\nlocation ~ Packages {{ return 418; }}\n{nginx_locations(spec)} }}"
    with running(place, body, port):
        yield port


@pytest.mark.parametrize(
    ("name", "kind", "cache"),
    [
        ("a_1_all.deb", "application/vnd.debian.binary-package", media.IMMUTABLE_CACHE),
        ("link.deb", "application/vnd.debian.binary-package", media.IMMUTABLE_CACHE),
        ("b-1.noarch.rpm", "application/x-rpm", media.IMMUTABLE_CACHE),
        ("by-hash/SHA256/00ff", "application/octet-stream", media.IMMUTABLE_CACHE),
        ("Packages", "text/plain; charset=utf-8", media.POINTER_CACHE),
        ("./InRelease", "text/plain; charset=utf-8", media.POINTER_CACHE),
        ("Release", "text/plain; charset=utf-8", media.POINTER_CACHE),
        ("repo_complete", "text/plain; charset=utf-8", media.POINTER_CACHE),
        ("Release.gpg", "application/octet-stream", media.POINTER_CACHE),
        ("Packages.gz", "application/gzip", media.POINTER_CACHE),
        ("Packages.xz", "application/x-xz", media.POINTER_CACHE),
        ("repodata/repomd.xml", "application/xml", media.POINTER_CACHE),
        ("repobuild.lock", "application/json", media.POINTER_CACHE),
    ],
)
def test_nginx_says_type_and_lifetime_of_every_file(served: int, name: str, kind: str, cache: str) -> None:
    status, headers, _ = fetch(served, f"/pigsty/{name}", Accept_Encoding="gzip")

    assert (status, headers["content-type"], headers["cache-control"]) == (200, kind, cache)
    assert "content-encoding" not in headers
    assert media.media_type(f"/pigsty/{name}") == kind.partition(";")[0]
    assert media.cache_control(f"/pigsty/{name}") == cache


def test_nginx_answers_ranges_and_conditions(served: int) -> None:
    status, headers, body = fetch(served, "/pigsty/a_1_all.deb", Range="bytes=3-5")
    assert (status, headers["content-range"], body) == (206, "bytes 3-5/10", b"345")
    assert fetch(served, "/pigsty/a_1_all.deb", Range="bytes=10-")[0] == 416
    assert fetch(served, "/pigsty/a_1_all.deb", If_Modified_Since=headers["last-modified"])[0] == 304


@pytest.mark.parametrize(
    "path",
    [
        "/pigsty/.repobuild/generation.json",
        "/pigsty/.repobuild/",
        "/pigsty/.hidden",
        "/pigsty/%2ehidden",
        "/pigsty/x/../.hidden",
        "/pigsty//.hidden",
    ],
)
def test_nginx_never_shows_a_hidden_file(served: int, path: str) -> None:
    status, _, body = fetch(served, path)

    assert status == 404
    assert b"secret" not in body


def test_nginx_lists_a_folder_without_its_hidden_files(served: int) -> None:
    status, headers, body = fetch(served, "/pigsty/")

    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"a_1_all.deb" in body
    assert b"hidden" not in body
    assert b".repobuild" not in body


def test_nginx_keeps_its_version_to_itself(served: int, request: pytest.FixtureRequest) -> None:
    if "locations" in request.node.name:
        pytest.skip("the server's own business")
    assert fetch(served, "/")[1]["server"] == "nginx"
