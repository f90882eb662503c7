import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from repobuild import lock
from repobuild.bases import EMPTY, TEXTS_LIMIT, Base, BasePin, Bases, InstalledPackage, parse_packages
from repobuild.cli.main import root
from repobuild.errors import HostileInputError, ManifestError
from repobuild.formats import FORMATS
from repobuild.formats.protocol import IndexFile, Loaded, Root, Variant
from repobuild.manifest import load
from repobuild.model import Lock, Options, Target, Upstream
from repobuild.record import sha256_of
from repobuild.targets import parse_target

D12 = parse_target("d12.x86_64")
OLD = Base(name="old", packages=(InstalledPackage("bash", "5.2", "amd64"),))
NEW = Base(name="new", packages=(InstalledPackage("bash", "5.3", "amd64"),))


def test_a_list_of_rpm_is_read_without_epochs_of_zero_and_without_keys() -> None:
    text = (
        b"openssl-libs\t1:3.0.7-1.el9\tx86_64\nbash\t0:5.1.8-9.el9\tx86_64\ngpg-pubkey\t0:8483c65d-5ccc5b19\t(none)\n"
    )

    assert parse_packages(text, "x") == (
        InstalledPackage("bash", "5.1.8-9.el9", "x86_64"),
        InstalledPackage("openssl-libs", "1:3.0.7-1.el9", "x86_64"),
    )


def test_a_list_of_dpkg_is_read_without_what_is_only_configured() -> None:
    text = b"bash\t5.2.15-2+b13\tamd64\tinstalled\nold\t1\tall\tconfig-files\n"

    assert parse_packages(text, "x") == (InstalledPackage("bash", "5.2.15-2+b13", "amd64"),)


def test_what_packages_say_of_themselves_follows_each_of_them() -> None:
    text = (
        b"bash\t5.2\tamd64\tinstalled\nDepends: libc6 (>= 2.36)\nProvides: \nold\t1\tall\tconfig-files\nDepends: bash\n"
    )

    assert parse_packages(text, "x") == (InstalledPackage("bash", "5.2", "amd64", (("Depends", "libc6 (>= 2.36)"),)),)


@pytest.mark.parametrize(("family", "target"), [("deb", D12), ("rpm", parse_target("el9.x86_64"))])
def test_a_package_says_only_what_its_family_knows(family: str, target: Target) -> None:
    for field in ("Recommends", "Package", "Version"):
        package = InstalledPackage("bash", "5.2-1", target.package_arch, ((field, "x"),))

        with pytest.raises(HostileInputError, match=field):
            FORMATS[family].base_text([package], [], target)


def test_a_deb_package_says_a_thing_once() -> None:
    package = InstalledPackage("bash", "5.2-1", "amd64", (("Depends", "x"), ("Depends", "y")))

    with pytest.raises(HostileInputError, match="or twice: bash: Depends"):
        FORMATS["deb"].base_text([package], [], D12)


def test_what_a_package_says_stands_in_its_entry_and_cannot_leave_it() -> None:
    says = (
        ("Provides", "libssl.so.3()(64bit)"), ("Requires", "openssl-libs(x86-64) >= 1:3.0.1-5.el9"), ("Requires", "(a if b)"), ("Requires", "/etc/<&>"),
        ("Requires", "rpmlib(FileDigests) <= 4.6.0-1"), ("Conflicts", '"/><x>'), ("File", "/etc/<&>"),
    )  # fmt: skip
    text = (
        FORMATS["rpm"]
        .base_text([InstalledPackage("a", "1-2", "x86_64", says)], [], parse_target("el9.x86_64"))
        .decode()
    )

    assert '<rpm:entry name="openssl-libs(x86-64)" flags="GE" epoch="1" ver="3.0.1" rel="5.el9"/>' in text
    assert '<rpm:entry name="(a if b)"/>' in text
    assert "rpmlib" not in text
    assert "<x>" not in text
    assert "<file>/etc/&lt;&amp;&gt;</file>" in text


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n\n",
        b"bash 5.2 amd64\n",
        b"bash\t5.2\n",
        b"bash\t5.2\tamd64\tinstalled\tmore\n",
        b"../bash\t5.2\tamd64\n",
        b"bash\t5.2\nDepends: evil\tamd64\n",
        b"bash\t<5.2>\tamd64\n",
        b"bash\t5.2\tAMD\n",
        b"b\xc3\xa4sh\t5.2\tamd64\n",
        b"old\t1\tall\tconfig-files\n",
        b"".join(b"bash%d\t5.2\tamd64\n" % number for number in range(60_000)),
        b"Depends: libc6\nbash\t5.2\tamd64\n",
        b"bash\t5.2\tamd64\nDepends: lib\x07c6\n",
        b"bash\t5.2\tamd64\n libc6\n",
        b"bash\t5.2\tamd64\n" + b" " * (33 << 20),
    ],
)
def test_a_list_of_another_form_or_size_is_refused(text: bytes) -> None:
    with pytest.raises(HostileInputError):
        parse_packages(text, "x")


def test_wants_are_resolved_from_the_empty_base_too_unless_one_is_subtracted() -> None:
    assert Bases().to_resolve == (EMPTY,)
    assert Bases(all=(OLD, NEW)).to_resolve == (EMPTY, OLD, NEW)
    assert Bases(all=(OLD, NEW), subtracted="old").to_resolve == (OLD, NEW)
    assert Bases(all=(OLD, EMPTY), subtracted="old").to_resolve == (EMPTY, OLD)


def test_what_is_named_is_what_is_proven() -> None:
    assert Bases().to_prove == (EMPTY,)
    assert Bases(all=(OLD, NEW)).to_prove == (OLD, NEW)


def test_a_lock_keeps_its_bases_and_one_without_says_nothing_of_them() -> None:
    chosen = Lock(
        target="d12.x86_64", time=1, manifest="0" * 64, name="pigsty", version="v1", endpoint="http://x", upstreams=(),
        choices=(), missing=(), sets=(), options=Options(weak_dependencies=False),
        bases=(BasePin("empty", "", is_resolved=True), BasePin("d12.0", "a" * 64, is_resolved=True)),
    )  # fmt: skip

    assert lock.read(lock.write(chosen), "x") == chosen
    assert b'"bases": [\n ["empty", "", true],\n ["d12.0", "' in lock.write(chosen)


TEXT = "Package: bash\nVersion: 5.2\nArchitecture: amd64\n\n"


def described(text: str = TEXT) -> Lock:
    pin = BasePin("old", sha256_of(TEXT.encode()), is_resolved=True, text=text)
    return Lock(
        target="d12.x86_64", time=1, manifest="0" * 64, name="pigsty", version="v1", endpoint="http://x", upstreams=(),
        choices=(), missing=(), sets=(), options=Options(weak_dependencies=False),
        bases=(pin, replace(pin, name="same")),
    )  # fmt: skip


def test_a_lock_says_what_is_installed_on_its_bases_each_text_once() -> None:
    written = lock.write(described())

    assert lock.read(written, "x") == described()
    assert written.count(b"Package: bash") == 1
    assert b"base_texts" not in lock.write(described(""))
    assert lock.read(lock.write(described("")), "x") == described("")


@pytest.mark.parametrize(
    "change",
    [
        (b"bash", b"dash"),
        (b'"base_texts": {\n "', b'"base_texts": {\n "%s": "",\n "' % (b"a" * 64)),
        (b"Package: bash", b"Package: " + b"b" * TEXTS_LIMIT),
        (json.dumps(TEXT).encode(), b"1"),
        (json.dumps(TEXT).encode(), b'"\\ud800"'),
    ],
)
def test_a_description_that_is_of_no_base_or_not_what_was_pinned_is_refused(change: tuple[bytes, bytes]) -> None:
    text = lock.write(described())
    assert change[0] in text

    with pytest.raises(HostileInputError, match="malformed lock"):
        lock.read(text.replace(*change), "x")


DEBIAN = """Package: bash
Version: 5.2
Architecture: amd64
Multi-Arch: foreign
Maintainer: Somebody
Depends: base-files (>= 2.1.12),
 debianutils (>= 5.6-0.1)
Recommends: bash-completion
Provides: sh (= 5.2)
Breaks: bash-builtins
Description: a shell
Homepage: http://example.org/
Filename: pool/b/bash.deb
Size: 5
SHA256: %s

""" % ("a" * 64)


def upstream(path: Path, text: str, kind: str) -> Loaded:
    path.write_text(text)
    variant = Variant(path="", compression="", size=len(text), digest="")
    index = IndexFile(variants=(variant,), size=len(text), sha256=sha256_of(text.encode()), kind=kind)
    root = Root(origin="", suite="", date=0, valid_until=None, aliases=(), pin=500, indexes=(index,))
    return Loaded(Upstream(name="u", module="", mirrors=()), root, (path,))


def test_of_a_debian_package_what_a_solver_reads_is_kept(tmp_path: Path) -> None:
    packages = (*OLD.packages, InstalledPackage("local", "1.0", "all"))

    text = FORMATS["deb"].base_text(packages, [upstream(tmp_path / "Packages", DEBIAN, "packages")], D12)

    assert text.decode() == (
        "Package: bash\nVersion: 5.2\nArchitecture: amd64\nMulti-Arch: foreign\nProvides: sh (= 5.2)\n"
        "Depends: base-files (>= 2.1.12), debianutils (>= 5.6-0.1)\nBreaks: bash-builtins\n\n"
        "Package: local\nVersion: 1.0\nArchitecture: all\n\n"
    )


def entry(name: str, inner: str) -> str:
    return (
        f'<package type="rpm">\n  <name>{name}</name>\n  <arch>x86_64</arch>\n  <version epoch="0" ver="1" rel="1"/>\n'
        f'<checksum type="sha256" pkgid="YES">{"a" * 64}</checksum><description>long</description>'
        f"<format><rpm:license>MIT</rpm:license>{inner}</format></package>\n"
    )


RPM = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<metadata xmlns="http://linux.duke.edu/metadata/common" packages="2">\n'
    + entry(
        "lib",
        '<rpm:provides><rpm:entry name="lib.so.1()(64bit)"/><rpm:entry name="rich(x)"/><rpm:entry name="unasked"/>'
        '<rpm:entry name="installonlypkg(vm)"/></rpm:provides><rpm:requires><rpm:entry name="/bin/sh" pre="1"/>'
        '</rpm:requires><rpm:suggests><rpm:entry name="other"/></rpm:suggests><file>/usr/bin/asked</file>'
        '<file>/usr/bin/not</file><file type="dir">/etc/lib.d</file>',
    )
    + entry(
        "app",
        '<rpm:requires><rpm:entry name="lib.so.1()(64bit)"/><rpm:entry name="/usr/bin/asked"/>'
        '<rpm:entry name="(rich(x) or /etc/lib.d)"/></rpm:requires>',
    )
    + "</metadata>\n"
)


def test_of_an_rpm_what_somebody_asks_for_is_kept(tmp_path: Path) -> None:
    packages = [InstalledPackage("lib", "1-1", "x86_64")]
    target = parse_target("el9.x86_64")

    text = FORMATS["rpm"].base_text(packages, [upstream(tmp_path / "primary.xml", RPM, "primary")], target).decode()

    for kept in ("lib.so.1()(64bit)", "rich(x)", "installonlypkg(vm)", "/bin/sh", "/usr/bin/asked", "/etc/lib.d"):
        assert kept in text
    for left in ("unasked", "/usr/bin/not", "suggests", "description", "license", "checksum", "app"):
        assert left not in text


@pytest.mark.parametrize(
    "bases",
    [
        '[["empty", "' + "a" * 64 + '", true]]',
        '[["x", "", true]]',
        '[["x", "' + "a" * 64 + '", true], ["x", "' + "b" * 64 + '", true]]',
        '[["x", "", "true"]]',
        '[["x", ""]]',
        '[["../x", "", true]]',
        '[["x", "zz", true]]',
        "3",
    ],
)
def test_a_lock_whose_bases_are_malformed_is_refused(bases: str) -> None:
    chosen = Lock(
        target="d12.x86_64", time=1, manifest="0" * 64, name="pigsty", version="v1", endpoint="http://x", upstreams=(),
        choices=(), missing=(), sets=(), options=Options(weak_dependencies=False),
    )  # fmt: skip
    text = lock.write(chosen).replace(b'"assets"', f'"bases": {bases},\n"assets"'.encode())

    with pytest.raises(HostileInputError, match=r"malformed lock|not a safe file name"):
        lock.read(text, "x")


# the manifest


def manifest(folder: Path, bases: str) -> Path:
    (folder / "old.txt").write_text("bash\t5.2\tamd64\tinstalled\n")
    path = folder / "site.yml"
    path.write_text(
        "repo_modules: test\nrepo_upstream:\n"
        "  - {name: t, module: test, releases: [11, 12], arch: [x86_64], verify: none, "
        'baseurl: {default: "http://127.0.0.1/ ./"}}\n'
        f"repo_packages: [bash]\n{bases}"
    )
    return path


def test_bases_are_read_from_lists_beside_the_manifest(tmp_path: Path) -> None:
    path = manifest(tmp_path, "bases:\n  - empty\n  - {name: old, packages: old.txt}\nsubtract: old\n")

    assert load(path).job(D12).bases == Bases(all=(EMPTY, OLD), subtracted="old")


def test_bases_may_differ_by_target(tmp_path: Path) -> None:
    path = manifest(tmp_path, "bases:\n  d12: [{name: old, packages: old.txt}]\n  d11: [empty]\nsubtract: old\n")

    assert load(path).job(D12).bases == Bases(all=(OLD,), subtracted="old")
    assert load(path).job(parse_target("d11.x86_64")).bases == Bases(all=(EMPTY,))


@pytest.mark.parametrize(
    "line", ["bash\t5.2\tarm64\tinstalled\nbase-files\t12\tall\tinstalled\n", "bash\t0:5.2-1.el9\tx86_64\n"]
)
def test_a_list_of_other_machines_is_no_base(tmp_path: Path, line: str) -> None:
    path = manifest(tmp_path, "bases: [{name: old, packages: old.txt}]\n")
    (tmp_path / "old.txt").write_text(line)

    with pytest.raises(ManifestError, match=r"base old is no machine of d12\.x86_64"):
        load(path).job(D12)


@pytest.mark.parametrize(
    ("target", "packages", "strange"),
    [
        ("d12.x86_64", {"base-files": "12.4+deb12u11"}, ""),
        ("d12.x86_64", {"base-files": "13.8+deb13u1"}, "base-files 13.8+deb13u1"),
        ("d12.x86_64", {"base-files": "12ubuntu4.6"}, "base-files 12ubuntu4.6"),
        ("u22.x86_64", {"base-files": "12ubuntu4.6"}, ""),
        ("u22.x86_64", {"base-files": "12.4+deb12u11"}, "base-files 12.4+deb12u11"),
        ("el9.x86_64", {"rocky-release": "9.4-1.7.el9", "epel-release": "10-1"}, ""),
        ("el7.x86_64", {"centos-release": "7-9.2009.1.el7.centos"}, ""),
        ("el9.x86_64", {"centos-stream-release": "10.0-1.el10"}, "centos-stream-release 10.0-1.el10"),
        ("d12.x86_64", {"bash": "5.2"}, ""),
    ],
)
def test_what_tells_the_release_of_a_machine_has_to_tell_that_of_the_target(
    target: str, packages: dict[str, str], strange: str
) -> None:
    wanted = parse_target(target)
    found = [InstalledPackage(name, version, wanted.package_arch) for name, version in packages.items()]

    assert FORMATS[wanted.family].stranger(found, wanted) == strange


def test_a_list_of_another_release_is_no_base(tmp_path: Path) -> None:
    path = manifest(tmp_path, "bases: [{name: old, packages: old.txt}]\n")
    (tmp_path / "old.txt").write_text("base-files\t13.8\tamd64\tinstalled\n")

    with pytest.raises(ManifestError, match=r"base old is a machine of another release than d12.*base-files 13\.8"):
        load(path).job(D12)


def test_a_list_of_names_alone_is_the_job_that_it_was_before_lists_said_more(tmp_path: Path) -> None:
    path = manifest(tmp_path, "bases: [{name: old, packages: old.txt}]\n")

    digest = load(path).job(D12).digest

    assert digest == "0c21cd667f42274e26f3b84a7d6fab8a310be72ca9c84c88ab433f47e25747e0"
    (tmp_path / "old.txt").write_text("bash\t5.2\tamd64\tinstalled\nDepends: libc6\n")
    assert digest != load(path).job(D12).digest


def test_another_list_is_another_job_and_no_bases_are_as_before(tmp_path: Path) -> None:
    path = manifest(tmp_path, "bases: [{name: old, packages: old.txt}]\n")
    before = load(path).job(D12).digest
    (tmp_path / "old.txt").write_text("bash\t5.3\tamd64\tinstalled\n")

    assert before != load(path).job(D12).digest
    assert load(manifest(tmp_path, "")).job(D12).digest != before


@pytest.mark.parametrize(
    ("bases", "said"),
    [
        ("bases: [full]\n", "empty"),
        ("bases: [{name: old}]\n", "packages"),
        ("bases: [{name: old, packages: absent.txt}]\n", "repobuild base capture"),
        ("bases: [{name: old, packages: old.txt, minimal: true}]\n", "either packages or"),
        ("bases: [{name: empty, packages: old.txt}]\n", "another name"),
        ("bases: [{name: ../x, packages: old.txt}]\n", "a name of letters"),
        ("bases: [{name: old, packages: old.txt}, {name: old, packages: old.txt}]\n", "a name of its own"),
        ("bases: [{name: old, packages: site.yml}]\n", "not a line of a package list"),
        ("bases: {windows: [empty]}\n", "selector"),
        ("bases: [{name: old, packages: old.txt, release: '9.4'}]\n", "`minimal: true` with a release"),
        ("bases: [{name: old, minimal: true, release: nine}]\n", "a minor release, such as 9.4"),
        ("bases: [empty]\nsubtract: empty\n", "one of the bases"),
        ("subtract: old\n", "one of the bases"),
    ],
)
def test_a_base_that_is_wrong_is_said_with_its_place(tmp_path: Path, bases: str, said: str) -> None:
    with pytest.raises(ManifestError, match=said) as caught:
        load(manifest(tmp_path, bases))

    assert "site.yml:" in caught.value.message


EL9 = parse_target("el9.x86_64")


def minors(folder: Path, bases: str, *, entry: str = "", url: str = "http://127.0.0.1/$releasever/") -> Path:
    path = folder / "site.yml"
    path.write_text(
        "repo_modules: test\nrepo_upstream:\n"
        "  - {name: debian, module: test, releases: [12], arch: [x86_64], verify: none, "
        'baseurl: {default: "http://127.0.0.1/ ./"}}\n'
        "  - {name: other, module: test, releases: [8, 9], arch: [x86_64], verify: none, "
        'baseurl: {default: "http://127.0.0.1/"}}\n'
        f"  - {{name: os, module: test, releases: [8, 9], arch: [x86_64], verify: none, {entry}"
        f'baseurl: {{default: "{url}"}}}}\n'
        f"repo_packages: [bash]\nbases: [{bases}]\n"
    )
    return path


def test_a_minimal_install_of_another_minor_release_has_upstreams_of_its_own(tmp_path: Path) -> None:
    path = minors(tmp_path, "{name: old, minimal: true, release: '9.4'}", entry="minor: true, ")

    job = load(path).job(EL9)

    [minor] = job.minor_releases
    assert (minor.release, minor.target.name) == ("9.4", "el9.4.x86_64")
    assert [(each.name, each.mirrors[0].url) for each in minor.upstreams] == [("os", "http://127.0.0.1/9.4")]
    assert job.bases.all == (Base(name="old", is_minimal=True, release="9.4"),)
    other = load(minors(tmp_path, "{name: old, minimal: true, release: '9.5'}", entry="minor: true, ")).job(EL9)
    assert other.digest != job.digest


@pytest.mark.parametrize(
    ("target", "entry", "said"),
    [
        (EL9, "", "expected an upstream with `minor: true`"),
        (parse_target("el8.x86_64"), "minor: true, ", "expected a minor release of el8.x86_64, got 9.4"),
        (D12, "minor: true, ", "expected a minor release of d12.x86_64, got 9.4"),
    ],
)
def test_a_release_that_no_upstream_tells_apart_is_refused(
    tmp_path: Path, target: Target, entry: str, said: str
) -> None:
    path = minors(tmp_path, "{name: old, minimal: true, release: '9.4'}", entry=entry)

    with pytest.raises(ManifestError, match=said):
        load(path).job(target)


def test_a_base_without_a_release_leaves_the_job_as_it_was(tmp_path: Path) -> None:
    """The digest of what older manifests say stays, or every lock of theirs would move."""
    job = load(minors(tmp_path, "{name: old, minimal: true}", entry="minor: true, ")).job(EL9)

    assert job.digest == "fc39daaeb8cc35008a9a7e0da27339bf9096c76642e5d47f9c36e23fd9464e63"
    assert job.minor_releases == ()


def test_capture_prints_the_command_of_each_family() -> None:
    for family, form in FORMATS.items():
        assert CliRunner().invoke(root, ["base", "capture", family]).output == f"{form.capture}\n"
    assert set(json.loads(CliRunner().invoke(root, ["base", "capture", "--json"]).output)) == set(FORMATS)


def test_show_tells_what_a_target_has(tmp_path: Path) -> None:
    path = manifest(tmp_path, "bases:\n  - empty\n  - {name: old, packages: old.txt}\nsubtract: old\n")

    found = CliRunner().invoke(root, ["base", "show", "d12.x86_64", "-c", str(path)])

    assert found.output == "d12.x86_64: empty: nothing is installed\nd12.x86_64: old: 1 packages, subtracted\n"
