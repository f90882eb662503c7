"""Rules of install.sh under dash, bash and busybox: what it installs, what it refuses, and what a kill leaves."""

import os
import re
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
from archive_on_disk import signing_key
from pysequoia import Tsk
from shell_bundles import (
    INSTALLER,
    MACHINE,
    OS_RELEASE,
    TARGET,
    TIME,
    Member,
    Out,
    Tree,
    archive,
    folder,
    joined,
    lock_text,
    marker,
    pack,
    sha256,
    tree,
)

from repobuild.formats import FORMATS
from repobuild.formats.protocol import ClientFacts
from repobuild.publish import Repository
from repobuild.signing import SigningKey
from repobuild.targets import parse_target

STEM = f"pigsty-pkg-v1.0.0.{TARGET}"
PART = f"{STEM}.tgz"
SHELLS = {"dash": ("dash",), "bash": ("bash",), "busybox": ("busybox", "sh")}
SHIM = """#!/bin/sh
count=$(($(cat "$COUNTER") + 1))
echo $count >"$COUNTER"
[ "$count" -ne "$FATAL" ] || kill -9 0
exec {real} "$@"
"""


@dataclass
class Machine:
    """A system to install into, and a shell with its tools."""

    root: Path
    command: tuple[str, ...]
    path: str

    @property
    def repository(self) -> Path:
        return self.root / "www/pigsty"

    def run(self, *words: object, script: Path = INSTALLER, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*self.command, str(script), "--root", str(self.root), *map(str, words)],
            env={"PATH": self.path, "TMPDIR": str(self.root / "tmp"), **environment},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False, start_new_session=True,
        )  # fmt: skip

    def install(self, out: Path, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
        return self.run("--key", out / "pigsty.gpg", *words, out, **environment)

    def files(self) -> dict[str, bytes]:
        """Return what is visible: the repository without its private folder."""
        at = self.repository
        found = (path for path in at.rglob("*") if path.is_file() and ".repobuild" not in path.relative_to(at).parts)
        return {str(path.relative_to(at)): path.read_bytes() for path in found}

    def visible(self) -> list[str]:
        """Return every file of the system but its own."""
        found = (path for path in self.root.rglob("*") if not path.is_dir() or path.is_symlink())
        return sorted(str(path.relative_to(self.root)) for path in found if path.name not in ("os-release", "lock"))


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory, tool: Callable[[str], str]) -> Path:
    """Return a folder with nothing but busybox and gpgv."""
    links = tmp_path_factory.mktemp("busybox")
    busybox = tool("busybox")
    applets = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in applets:
        (links / name).symlink_to(busybox)
    for name in ("gpgv", "zstd"):
        (links / name).unlink(missing_ok=True)
        (links / name).symlink_to(tool(name))
    return links


@pytest.fixture(params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path, tools: Path, tool: Callable[[str], str]) -> Machine:
    tool(SHELLS[request.param][0])
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "tmp").mkdir()
    (root / "etc/os-release").write_text(OS_RELEASE)
    path = str(tools) if request.param == "busybox" else os.environ["PATH"]
    return Machine(root, SHELLS[request.param], path)


@pytest.fixture
def dash(tmp_path: Path, tool: Callable[[str], str]) -> Machine:
    tool("dash")
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "tmp").mkdir()
    (root / "etc/os-release").write_text(OS_RELEASE)
    return Machine(root, ("dash",), os.environ["PATH"])


def first(tmp_path: Path) -> Tree:
    return tree(key=signing_key())


def out_of(tmp_path: Path, built: Tree, name: str = "out", ending: str = ".tgz") -> Path:
    return Out(tmp_path / name).add(built, ending).write()


def fingerprint(out: Path, name: str = "pigsty") -> str:
    words = ["sqv", "--keyring", out / f"{name}.gpg", out / "SHA256SUMS.asc", out / "SHA256SUMS"]
    return subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()[0]


# ---- what it installs -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", [".tgz", ".tar", ".tar.zst"])
def test_a_bundle_becomes_the_repository_and_the_client_file(machine: Machine, tmp_path: Path, ending: str) -> None:
    built = first(tmp_path)
    out = out_of(tmp_path, built, ending=ending)

    done = machine.install(out)

    assert (done.returncode, done.stderr) == (0, "")
    assert built.all_files() == machine.files()
    assert (machine.root / "etc/apt/keyrings/pigsty.gpg").read_bytes() == signing_key().public_binary()
    assert "apt-get update" in done.stdout
    assert [] == list((machine.root / "tmp").iterdir())
    assert {path.name for path in (machine.root / "www").iterdir()} == {
        "pigsty", ".pigsty.repobuild", "pigsty.gpg", "pigsty.asc", "pigsty.list", "pigsty-local.list",
    }  # fmt: skip
    assert all(
        path.stat().st_mode & 0o7777 == (0o755 if path.is_dir() else 0o644) for path in machine.repository.rglob("*")
    )
    assert TIME == machine.repository.joinpath("InRelease").stat().st_mtime


def test_a_second_run_changes_nothing(machine: Machine, tmp_path: Path) -> None:
    out = out_of(tmp_path, first(tmp_path))
    machine.install(out)
    before = {path: (path.stat().st_ino, path.stat().st_ctime_ns) for path in machine.repository.rglob("*")}

    done = machine.run(script=out / "install.sh")

    assert (done.returncode, done.stderr) == (0, "")
    assert before == {path: (path.stat().st_ino, path.stat().st_ctime_ns) for path in machine.repository.rglob("*")}


def test_a_newer_bundle_takes_the_place_of_the_older(machine: Machine, tmp_path: Path) -> None:
    machine.install(out_of(tmp_path, first(tmp_path)))
    newer = tree(1, key=signing_key())

    done = machine.run(out_of(tmp_path, newer, "newer"))  # the key in place vouches for it

    assert (done.returncode, done.stderr) == (0, "")
    assert newer.all_files() == machine.files()
    previous = machine.root / "www/.pigsty.repobuild/previous"
    assert machine.command[0] == "busybox" or (previous / "lib_0.0_amd64.deb").exists()


def test_a_damaged_repository_is_healed_by_the_same_bundle(machine: Machine, tmp_path: Path) -> None:
    built = first(tmp_path)
    out = out_of(tmp_path, built)
    machine.install(out)
    (machine.repository / "app_1.0_amd64.deb").write_bytes(b"?")

    machine.run(out)

    assert built.all_files() == machine.files()


def volumes(step: int = 0) -> Tree:
    built = tree(step, key=signing_key())
    built.kind, built.parts = "volume", 2
    built.carriers = {"app_1.0_amd64.deb": 2}
    return built


def delta(older: Tree, newer: Tree) -> Tree:
    newer.kind = "delta"
    newer.older = {"lock": sha256(older.files["repobuild.lock"]), "sequence": older.time}
    newer.carriers = {path: 0 for path in newer.files if older.files.get(path) == newer.files[path]}
    return newer


def test_volumes_become_one_repository(machine: Machine, tmp_path: Path) -> None:
    built = volumes()

    done = machine.install(out_of(tmp_path, built))

    assert (done.returncode, done.stderr) == (0, "")
    assert built.all_files() == machine.files()


def test_volumes_are_taken_in_any_order(machine: Machine, tmp_path: Path) -> None:
    built = volumes()
    out = out_of(tmp_path, built)

    done = machine.run("--key", out / "pigsty.gpg", out / f"{STEM}.vol2.tgz", out / f"{STEM}.vol1.tgz")

    assert (done.returncode, built.all_files()) == (0, machine.files())


def test_old_and_delta_give_what_the_whole_bundle_gives(machine: Machine, tmp_path: Path) -> None:
    older, newer = first(tmp_path), tree(1, key=signing_key())
    machine.install(out_of(tmp_path, older))

    done = machine.run(out_of(tmp_path, delta(older, newer), "delta"))

    assert (done.returncode, done.stderr) == (0, "")
    assert newer.all_files() == machine.files()


def test_a_part_that_was_renamed_is_known_by_its_digest(dash: Machine, tmp_path: Path) -> None:
    built = first(tmp_path)
    out = out_of(tmp_path, built)
    (out / PART).rename(out / "pkg.tgz")

    done = dash.run("--key", out / "pigsty.gpg", out / "pkg.tgz")

    assert (done.returncode, built.all_files()) == (0, dash.files())


def test_a_bundle_for_other_machines_is_kept_beside_and_writes_no_client_file(machine: Machine, tmp_path: Path) -> None:
    out = out_of(tmp_path, tree(target=f"d13.{MACHINE}", key=signing_key()))

    done = machine.run("--key", out / "pigsty.gpg", "--any-target", out / f"pigsty-pkg-v1.0.0.d13.{MACHINE}.tgz")

    assert (done.returncode, done.stderr) == (0, "")
    assert (machine.root / f"www/d13.{MACHINE}/pigsty/repo_complete").exists()
    assert (machine.root / f"www/d13.{MACHINE}/pigsty.list").exists()
    assert not (machine.root / "etc/apt").exists()


def test_files_are_replaced_one_by_one_where_folders_cannot_be_exchanged(machine: Machine, tmp_path: Path) -> None:
    machine.install(out_of(tmp_path, first(tmp_path)))
    (machine.repository / "note").write_bytes(b"the operator's")
    newer = tree(1, key=signing_key())
    machine.path = f"{without_exchange(tmp_path, machine.path)}:{machine.path}"

    done = machine.run(out_of(tmp_path, newer, "newer"))

    assert (done.returncode, done.stderr) == (0, "")
    assert newer.all_files() | {"note": b"the operator's"} == machine.files()


def without_exchange(tmp_path: Path, path: str) -> Path:
    """Return a folder whose perl, python3 and mv know nothing of renameat2."""
    folder = tmp_path / "without"
    folder.mkdir(exist_ok=True)
    real = shutil.which("mv", path=path)
    texts = {"mv": f'case $1 in --exchange) exit 1 ;; esac\nexec {real} "$@"', "perl": "exit 1", "python3": "exit 1"}
    for name, text in texts.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


# ---- trust ------------------------------------------------------------------------------------------------------------


def test_the_fingerprint_vouches_for_the_key_beside_the_bundle(machine: Machine, tmp_path: Path) -> None:
    out = out_of(tmp_path, first(tmp_path))

    unknown = machine.run(out)
    wrong = machine.run("--trust", "0" * 40, out)
    right = machine.run("--trust", fingerprint(out).lower(), out)

    assert (unknown.returncode, wrong.returncode, right.returncode) == (3, 3, 0)
    assert f"--trust {fingerprint(out)}" in unknown.stderr


def test_sqv_will_do_where_there_is_no_gpgv(
    tmp_path: Path, tools: Path, dash: Machine, tool: Callable[[str], str]
) -> None:
    links = tmp_path / "links"
    shutil.copytree(tools, links, symlinks=True)
    (links / "gpgv").unlink()
    (links / "sqv").symlink_to(tool("sqv"))
    dash.path, dash.command = str(links), (tool("dash"),)
    out, other = out_of(tmp_path, first(tmp_path)), Out(tmp_path / "other", key=another_key()).add(tree()).write()

    refused = dash.run("--key", out / "pigsty.gpg", other)
    done = dash.run("--trust", fingerprint(out), out)

    assert (refused.returncode, done.returncode) == (3, 0), done.stderr
    assert dash.repository.exists()


def test_without_gpgv_and_sqv_nothing_is_believed(
    tmp_path: Path, tools: Path, dash: Machine, tool: Callable[[str], str]
) -> None:
    links = tmp_path / "links"
    shutil.copytree(tools, links, symlinks=True)
    (links / "gpgv").unlink()
    dash.path, dash.command = str(links), (tool("dash"),)

    done = dash.install(out_of(tmp_path, first(tmp_path)))

    assert (2, []) == (done.returncode, dash.visible())
    assert "neither gpgv nor sqv" in done.stderr


def test_an_armoured_key_is_taken_too(machine: Machine, tmp_path: Path) -> None:
    out = out_of(tmp_path, first(tmp_path))

    assert 0 == machine.run("--key", out / "pigsty.asc", out).returncode


def test_an_unsigned_bundle_needs_to_be_allowed(machine: Machine, tmp_path: Path) -> None:
    out = Out(tmp_path / "out", key=None).add(tree()).write()

    refused, done = machine.run(out), machine.run("--allow-unsigned", out)

    assert (3, 0) == (refused.returncode, done.returncode)
    assert (
        "deb [trusted=yes] file:/www/pigsty/ ./\n"
        == (machine.root / "etc/apt/sources.list.d/pigsty-local.list").read_text()
    )


def test_two_signatures_are_good_for_either_key(machine: Machine, tmp_path: Path) -> None:
    other = another_key()
    out = out_of(tmp_path, first(tmp_path))
    sums = (out / "SHA256SUMS").read_bytes()
    blocks = b"".join(dearmored(key.detach_sign(sums)) for key in (other, signing_key()))
    (out / "two").write_bytes(blocks)
    armour = subprocess.run(["gpg", "--enarmor"], input=blocks, capture_output=True, check=True).stdout
    (out / "SHA256SUMS.asc").write_bytes(armour.replace(b"ARMORED FILE", b"SIGNATURE"))

    assert 0 == machine.install(out).returncode


def dearmored(text: bytes) -> bytes:
    return subprocess.run(["gpg", "--dearmor"], input=text, capture_output=True, check=True).stdout


def another_key() -> SigningKey:
    return SigningKey.load(str(Tsk.generate("other")).encode())


def test_on_a_terminal_the_end_of_the_fingerprint_is_asked_for(
    dash: Machine, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    out = out_of(tmp_path, first(tmp_path))
    command = f"dash {INSTALLER} --root {dash.root} {out}"
    answers = {"00000000": 3, fingerprint(out)[-8:].lower(): 0}

    for answer, code in answers.items():
        done = subprocess.run(
            [tool("script"), "-qec", command, "/dev/null"], input=f"{answer}\n", capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert code == done.returncode, done.stdout


# ---- forgeries: each is refused before anything is visible ----------------------------------------------------------------

Forge = Callable[[Path], Path]
FORGERIES: dict[str, Forge] = {}


def forgery(function: Callable[[Path], Out]) -> Callable[[Path], Out]:
    FORGERIES[function.__name__.replace("_", " ").strip()] = lambda path: function(path).write()
    return function


def with_members(change: Callable[[list[Member]], list[Member]], name: str) -> None:
    def forge(path: Path) -> Path:
        out = Out(path)
        out.parts[PART] = pack(archive(change(tree(key=signing_key()).members())))
        return out.write()

    FORGERIES[name] = forge


def with_contents(change: Callable[[bytes], bytes], name: str) -> None:
    def forged(members: list[Member]) -> list[Member]:
        members[0].body = change(members[0].body)
        return members

    with_members(forged, name)


def replaced(member: Member) -> Callable[[list[Member]], list[Member]]:
    return lambda members: [member if each.name == member.name else each for each in members]


def added(*more: Member) -> Callable[[list[Member]], list[Member]]:
    return lambda members: [*members, *more]


APP = "pigsty/app_1.0_amd64.deb"
with_members(added(Member("pigsty/../../evil", b"x")), "a member that climbs out")
with_members(added(Member("../evil", b"x")), "a member above")
with_members(added(Member("/tmp/evil", b"x")), "an absolute member")
with_members(added(Member("evil/x", b"x")), "a member outside the top folder")
with_members(added(folder("evil/")), "a folder outside the top folder")
with_members(replaced(Member(APP, kind=tarfile.SYMTYPE, link="/etc/passwd")), "a symbolic link in place of a package")
with_members(added(Member("pigsty/link", kind=tarfile.SYMTYPE, link="/etc")), "a symbolic link more")
with_members(
    lambda m: [*m[:4], Member("pigsty/by-hash", kind=tarfile.SYMTYPE, link="/tmp"), *m[4:]],
    "a symbolic link as a folder",
)
with_members(replaced(Member(APP, kind=tarfile.LNKTYPE, link="pigsty/Packages")), "a hard link in place of a package")
with_members(
    added(Member("pigsty/link", kind=tarfile.LNKTYPE, link="/etc/passwd")), "a hard link to a file of the system"
)
with_members(added(Member("pigsty/null", kind=tarfile.CHRTYPE)), "a character device")
with_members(added(Member("pigsty/disk", kind=tarfile.BLKTYPE)), "a block device")
with_members(added(Member("pigsty/pipe", kind=tarfile.FIFOTYPE)), "a pipe")
with_members(added(Member("pigsty/part", b"x", kind=tarfile.CONTTYPE)), "a contiguous file")
with_members(added(Member("pigsty/extra", b"x")), "an extra member")
with_members(added(folder("pigsty/extra/")), "an extra folder")
with_members(added(Member("pigsty/.repobuild/extra", b"x")), "an extra private member")
with_members(added(Member(APP, b"app" * 500)), "a member twice")
with_members(added(Member(APP, b"bad" * 500)), "a member twice, the second of other content")
with_members(added(folder("pigsty/")), "a folder twice")
with_members(lambda m: [each for each in m if each.name != APP], "a member that is missing")
with_members(lambda m: [each for each in m if each.name != "pigsty/repo_complete"], "a marker that is missing")
with_members(replaced(Member(APP, b"app" * 501)), "a member of another size")
with_members(replaced(Member(APP, b"bad" * 500)), "a member of other content")
with_members(replaced(Member(APP, b"app" * 500, size=1 << 33)), "a member that claims to be huge")
with_members(replaced(Member(APP, b"app" * 500, mode=0o4755)), "a setuid file")
with_members(replaced(Member(APP, b"app" * 500, mode=0o666)), "a file that all may write")
with_members(replaced(Member(APP, b"app" * 500, mode=0o755)), "a file that can be run")
with_members(replaced(Member("pigsty/", kind=tarfile.DIRTYPE, mode=0o2777)), "a setgid folder")
with_members(added(Member("pigsty/new\nline", b"x")), "a line feed in a name")
with_members(
    lambda m: (
        [each for each in m if each.name != APP]
        + [Member(f"pigsty/InRelease\n-rw-r--r-- 0/0 1500 2023-11-14 22:13:20 {APP}", b"x")]
    ),
    "a name that forges a line of the list",
)
with_members(added(Member("pigsty/a b", b"x")), "a blank in a name")
with_members(added(Member("pigsty/a\x1b[2Jb", b"x")), "an escape in a name")
with_members(added(Member("pigsty/-rf", b"x")), "a name like an option")
with_members(added(Member("", b"x")), "a member without a name")
with_members(lambda m: m[1:], "no contents")
with_members(lambda m: [*m[1:], m[0]], "contents at the end, after a good beginning that is not theirs")
with_members(lambda m: [m[0], Member(m[0].name, m[0].body.replace(b'"v1', b'"v2')), *m[1:]], "contents twice")
with_members(
    replaced(Member("pigsty/.repobuild/CONTENTS.sha256", b"0" * 64 + b"  ../../etc/passwd\n")),
    "digests of a file outside",
)
with_members(replaced(Member("pigsty/.repobuild/CONTENTS.sha256", b"")), "no digests")
with_members(replaced(Member("pigsty/.repobuild/install.sh", b"evil")), "another installer inside")
with_members(lambda m: m[:1], "nothing but contents")
with_members(lambda m: [], "an empty archive")
with_contents(lambda text: text.replace(b'"path":"app_', b'"path":"../app_'), "a path that climbs out, in the contents")
with_contents(lambda text: text.replace(b'"path":"app_', b'"path":"/app_'), "an absolute path in the contents")
with_contents(lambda text: text.replace(b'"path":"app_', b'"path":"x/./app_'), "a dot in a path of the contents")
with_contents(lambda text: text.replace(b'"path":"app_', b'"path":".app_'), "a hidden path in the contents")
with_contents(lambda text: text.replace(b'"path":"app_', b'"path":"\\u002e./app_'), "an escaped path in the contents")
with_contents(lambda text: text.replace(b'"path":"app_1', b'"path":"a b_1'), "a blank in a path of the contents")
with_contents(lambda text: text.replace(b'"path":"app_1.0', b'"path":"lib_0.0'), "a path twice in the contents")
with_contents(lambda text: text.replace(b'"in":1', b'"in":2', 1), "a part that does not exist")
with_contents(lambda text: text.replace(b'"in":1', b'"in":0', 1), "a file that a whole bundle does not carry")
with_contents(lambda text: text.replace(b'"format":2', b'"format":3'), "an unknown format")
with_contents(lambda text: text.replace(b'"name":"pigsty"', b'"name":"other"'), "another name in the contents")
with_contents(lambda text: text.replace(b'"name":"pigsty"', b'"name":"../x"'), "a name that climbs out")
with_contents(lambda text: text.replace(b'"target":"d12', b'"target":"../d12'), "a target that climbs out")
with_contents(lambda text: re.sub(rb'"target":"[^"]*"', b'"target":".."', text), "a target above")
with_contents(
    lambda text: re.sub(rb'"sequence":\d+', b'"sequence":99999999999999999999', text), "a time beyond all numbers"
)
with_contents(lambda text: re.sub(rb'"sequence":\d+', b'"sequence":-1', text), "a time before all time")
with_contents(lambda text: text + b"more\n", "something after the contents")
with_contents(lambda text: text.replace(b'"kind":"marker"', b'"kind":"payload"'), "contents without a marker")
with_contents(lambda text: text.replace(b'"kind":"payload"', b'"kind":"marker"', 1), "a second marker")
with_contents(lambda text: text.replace(b'"size":1500', b'"size":01500'), "a number of another form")


@forgery
def bytes_after_the_archive(path: Path) -> Out:
    out = Out(path).add(tree())
    good = out.parts[PART]
    out.edit_sums = lambda text: text.replace(sha256(good + b"evil").encode(), sha256(good).encode())
    out.parts[PART] = good + b"evil"
    return out


@forgery
def a_flipped_byte(path: Path) -> Out:
    out = Out(path).add(tree())
    good = out.parts[PART]
    out.parts[PART] = good[:2000] + bytes([good[2000] ^ 1]) + good[2001:]
    out.edit_sums = lambda text: text.replace(sha256(out.parts[PART]).encode(), sha256(good).encode())
    return out


@forgery
def a_part_that_ends_early_and_was_signed(path: Path) -> Out:
    out = Out(path).add(tree())
    out.parts[PART] = out.parts[PART][:-3000]
    return out


@forgery
def a_part_that_is_no_archive(path: Path) -> Out:
    return Out(path, parts={PART: b"evil" * 1000})


@forgery
def a_signature_of_another_list(path: Path) -> Out:
    return Out(path, edit_asc=lambda _: signing_key().detach_sign(b"another list")).add(tree())


@forgery
def a_signature_that_is_none(path: Path) -> Out:
    return Out(path, edit_asc=lambda _: b"evil").add(tree())


@forgery
def an_empty_signature(path: Path) -> Out:
    return Out(path, edit_asc=lambda _: b"").add(tree())


@forgery
def a_name_in_another_folder(path: Path) -> Out:
    return Out(path, edit_sums=lambda text: text + b"0" * 64 + b"  ../evil.tgz\n").add(tree())


@forgery
def a_listed_name_like_an_option(path: Path) -> Out:
    return Out(path, edit_sums=lambda text: text + b"0" * 64 + b"  --checkpoint-action=exec=sh.tgz\n").add(tree())


@forgery
def a_listed_name_with_a_command(path: Path) -> Out:
    return Out(path, edit_sums=lambda text: text + b"0" * 64 + b"  $(id).tgz\n").add(tree())


@forgery
def a_listed_name_twice(path: Path) -> Out:
    return Out(path, edit_sums=lambda text: text + b"0" * 64 + f"  {PART}\n".encode()).add(tree())


@forgery
def a_listed_name_with_a_line_feed(path: Path) -> Out:
    return Out(path, edit_sums=lambda text: text + b"\\" + b"0" * 64 + b"  a\\nb.tgz\n").add(tree())


@forgery
def an_empty_list(path: Path) -> Out:
    return Out(path, edit_sums=lambda _: b"").add(tree())


@forgery
def a_part_that_is_not_listed(path: Path) -> Out:
    return Out(
        path, edit_sums=lambda text: b"".join(each for each in text.splitlines(True) if b".tgz" not in each)
    ).add(tree())


@forgery
def a_key_beside_that_is_not_the_one_listed(path: Path) -> Out:
    return Out(
        path, edit_sums=lambda text: re.sub(rb"[0-9a-f]{64}  pigsty.gpg", b"0" * 64 + b"  pigsty.gpg", text)
    ).add(tree())


@forgery
def a_volume_that_is_missing(path: Path) -> Out:
    out = Out(path).add(volumes())
    del out.parts[f"{STEM}.vol1.tgz"]
    return out


@forgery
def a_volume_of_another_bundle(path: Path) -> Out:
    out = Out(path).add(volumes())
    out.parts[f"{STEM}.vol2.tgz"] = Out(path).add(volumes(1)).parts[f"{STEM}.vol2.tgz"]
    return out


@forgery
def a_volume_twice_under_two_names(path: Path) -> Out:
    out = Out(path).add(volumes())
    out.parts[f"{STEM}.vol2.tgz"] = out.parts[f"{STEM}.vol1.tgz"]
    return out


@forgery
def a_volume_with_a_marker(path: Path) -> Out:
    built = volumes()
    built.carriers["repo_complete"] = 1
    return Out(path).add(built)


@forgery
def a_volume_with_a_file_in_no_volume(path: Path) -> Out:
    built = volumes()
    built.carriers["Packages"] = 0
    return Out(path).add(built)


@forgery
def a_delta_where_nothing_is(path: Path) -> Out:
    return Out(path).add(delta(tree(), tree(1)))


@forgery
def a_bundle_for_another_system(path: Path) -> Out:
    out = Out(path).add(tree(target=f"d13.{MACHINE}"))
    return Out(path, parts={PART: next(iter(out.parts.values()))})


@pytest.mark.parametrize("name", FORGERIES)
@pytest.mark.parametrize("machine", ["dash", "busybox"], indirect=True)  # two tars; bash reads the same list as dash
def test_a_forgery_is_refused_before_anything_is_visible(machine: Machine, tmp_path: Path, name: str) -> None:
    good = tmp_path / "pigsty.gpg"
    good.write_bytes(signing_key().public_binary())

    done = machine.run("--key", good, FORGERIES[name](tmp_path / "out"))

    assert done.returncode in (2, 3), done.stdout + done.stderr
    assert done.stderr.startswith("error: "), done.stderr
    assert done.stderr.replace("\n", "").isprintable()
    assert [] == machine.visible()
    assert [] == list(tmp_path.parent.rglob("evil"))


def test_there_are_at_least_forty_forgeries() -> None:
    assert 40 <= len(FORGERIES)


def test_a_bundle_signed_by_another_key_is_refused(machine: Machine, tmp_path: Path) -> None:
    machine.install(out_of(tmp_path, first(tmp_path)))
    before = machine.files()

    done = machine.run(Out(tmp_path / "other", key=another_key()).add(tree(1)).write())

    assert (3, before) == (done.returncode, machine.files())


def test_the_key_of_one_repository_does_not_vouch_for_another(dash: Machine, tmp_path: Path) -> None:
    dash.install(out_of(tmp_path, first(tmp_path)))
    before = dash.files()
    thief = another_key()
    built = tree(1)
    built.name = "other"
    built.files["repobuild.lock"] = lock_text(TIME + 1, name="other")
    built.files |= {"other.gpg": thief.public_binary()}
    out = Out(tmp_path / "other", key=thief, name="other").add(built).write()
    assert 0 == dash.run("--trust", fingerprint(out, "other"), out).returncode

    done = dash.run(Out(tmp_path / "theft", key=thief, name="other").add(tree(2)).write())

    assert (3, before) == (done.returncode, dash.files())


@pytest.mark.parametrize("place", ["www", "www/pigsty", "www/pigsty/pigsty.gpg"])
def test_a_key_in_place_that_others_can_have_changed_is_not_believed(
    machine: Machine, tmp_path: Path, place: str
) -> None:
    machine.install(out_of(tmp_path, first(tmp_path)))
    newer = out_of(tmp_path, tree(1, key=signing_key()), "newer")
    (machine.root / place).chmod(0o777)

    refused = machine.run(newer)
    (machine.root / place).chmod(0o755)

    assert (3, 0) == (refused.returncode, machine.run(newer).returncode)


def test_an_older_bundle_needs_to_be_allowed(machine: Machine, tmp_path: Path) -> None:
    older, newer = out_of(tmp_path, first(tmp_path), "older"), out_of(tmp_path, tree(1, key=signing_key()), "newer")
    machine.install(newer)

    refused, done = machine.run(older), machine.run("--allow-older", older)

    assert (3, 0) == (refused.returncode, done.returncode)
    assert first(tmp_path).all_files() == machine.files()


def test_a_newer_one_that_came_before_the_lock_was_free_stays(dash: Machine, tmp_path: Path) -> None:
    oldest, older, newest = (tree(number, key=signing_key()) for number in (0, 1, 2))
    dash.install(out_of(tmp_path, oldest))
    lock = tmp_path / "newer.lock"
    lock.write_bytes(newest.files["repobuild.lock"])
    shims = tmp_path / "shims"
    shims.mkdir()
    (shims / "flock").write_text(f"#!/bin/sh\ncp {lock} {dash.repository}/repobuild.lock\n")
    (shims / "flock").chmod(0o755)
    dash.path = f"{shims}:{dash.path}"

    done = dash.run(out_of(tmp_path, older, "older"))

    assert (3, lock.read_bytes()) == (done.returncode, (dash.repository / "repobuild.lock").read_bytes())
    assert "older than what is installed" in done.stderr


def test_a_delta_on_another_repository_is_refused_and_says_how_to_go_on(machine: Machine, tmp_path: Path) -> None:
    machine.install(out_of(tmp_path, first(tmp_path)))
    (machine.repository / "app_1.0_amd64.deb").write_bytes(b"?")
    before = machine.files()

    done = machine.run(out_of(tmp_path, delta(tree(key=signing_key()), tree(1, key=signing_key())), "delta"))

    assert (3, before) == (done.returncode, machine.files())
    assert "bundle --since have.txt" in done.stderr


def test_a_link_in_the_place_of_the_repository_is_not_followed(machine: Machine, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (machine.root / "www").mkdir()
    machine.repository.symlink_to(tmp_path / "elsewhere")

    done = machine.install(out_of(tmp_path, first(tmp_path)))

    assert (7, []) == (done.returncode, list((tmp_path / "elsewhere").iterdir()))


def test_a_folder_that_is_no_repository_is_left_alone(machine: Machine, tmp_path: Path) -> None:
    machine.repository.mkdir(parents=True)
    (machine.repository / "photos").write_bytes(b"holiday")

    done = machine.install(out_of(tmp_path, first(tmp_path)))

    assert (7, {"photos": b"holiday"}) == (done.returncode, machine.files())


# ---- kills ------------------------------------------------------------------------------------------------------------


def deadly(tmp_path: Path, path: str) -> tuple[Path, Path]:
    """Return a folder of tools that kill the run at the call that FATAL names, and the file in which they count."""
    shims = tmp_path / "shims"
    shims.mkdir()
    for name in ("mv", "cp", "rm", "mkdir", "tar", "sync", "touch", "perl"):
        (shims / name).write_text(SHIM.format(real=shutil.which(name, path=path)))
        (shims / name).chmod(0o755)
    return shims, tmp_path / "counter"


@pytest.mark.parametrize("way", ["exchange", "files"])
def test_whatever_a_kill_leaves_the_next_run_heals(dash: Machine, tmp_path: Path, way: str) -> None:
    older, newer = first(tmp_path), tree(1, key=signing_key())
    outs = out_of(tmp_path, older, "older"), out_of(tmp_path, newer, "newer")
    if way == "files":
        dash.path = f"{without_exchange(tmp_path, dash.path)}:{dash.path}"
    path = dash.path
    shims, counter = deadly(tmp_path, path)
    states = []
    for fatal in range(1, 200, 1 if os.environ.get("REPOBUILD_CRASH") == "full" else (2 if way == "exchange" else 6)):
        shutil.rmtree(dash.root / "www", ignore_errors=True)
        dash.path = path
        assert 0 == dash.install(outs[0]).returncode
        counter.write_text("0\n")
        dash.path = f"{shims}:{path}"
        killed = dash.run(outs[1], COUNTER=str(counter), FATAL=str(fatal))
        left = dash.files()
        dash.path = path
        healed = dash.run(outs[1])

        assert healed.returncode == 0, healed.stderr
        assert newer.all_files() == dash.files()
        assert [] == list((dash.root / "www").rglob("incoming-sh.*"))
        if killed.returncode == 0:
            break
        assert killed.returncode == -9
        states.append(left)
    assert len(states) >= 4
    for left in states:
        if way == "exchange":
            assert left in (older.all_files(), newer.all_files())
        else:
            built = older if left["InRelease"] == older.files["InRelease"] else newer
            payload = {name: data for name, data in built.files.items() if name.endswith(".deb") or "by-hash" in name}
            assert payload.items() <= left.items()


def test_a_second_run_at_the_same_time_is_sent_away(dash: Machine, tmp_path: Path, tool: Callable[[str], str]) -> None:
    out = out_of(tmp_path, first(tmp_path))
    area = dash.root / "www/.pigsty.repobuild"
    area.mkdir(parents=True)
    with subprocess.Popen(
        [tool("flock"), area / "lock", "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        other.stdin.write(b"x")
        other.stdin.flush()
        other.stdout.read(1)

        done = dash.install(out)

        other.stdin.close()
    assert (75, False) == (done.returncode, dash.repository.exists())


# ---- options ----------------------------------------------------------------------------------------------------------


def test_a_dry_run_says_and_writes_nothing(machine: Machine, tmp_path: Path) -> None:
    done = machine.install(out_of(tmp_path, first(tmp_path)), "--dry-run")

    assert (0, []) == (done.returncode, machine.visible())
    assert "would install" in done.stdout


def test_other_sources_are_moved_aside_only_when_asked_and_come_back(machine: Machine, tmp_path: Path) -> None:
    out = out_of(tmp_path, first(tmp_path))
    apt = machine.root / "etc/apt"
    (apt / "sources.list.d").mkdir(parents=True)
    sources = {"sources.list": "deb a", "sources.list.d/b.list": "deb b", "sources.list.d/c.sources": "Types: deb"}
    for name, text in sources.items():
        (apt / name).write_text(text)

    machine.install(out)
    left = {name: (apt / name).exists() for name in sources}
    machine.run("--replace-repos", out)
    machine.run("--replace-repos", out)
    moved = {name: (apt / name).exists() for name in sources}
    restored = machine.run("--restore")

    assert left == dict.fromkeys(sources, True)
    assert moved == dict.fromkeys(sources, False)
    assert (0, sources) == (restored.returncode, {name: (apt / name).read_text() for name in sources})


def test_uninstall_takes_the_client_file_and_purge_the_repository(machine: Machine, tmp_path: Path) -> None:
    machine.install(out_of(tmp_path, first(tmp_path)))

    gone = machine.run("--uninstall").stdout
    kept = machine.files()
    machine.run("--uninstall", "--purge")

    assert kept == first(tmp_path).all_files()
    assert [] == machine.visible()
    assert "removed: " in gone
    assert gone.endswith("/pigsty-local.list\n")
    assert "nothing to remove (of another repository: --name NAME): " in machine.run("--uninstall").stdout


def test_http_takes_the_name_from_the_url(dash: Machine, tmp_path: Path) -> None:
    out = out_of(tmp_path, tree(key=signing_key()))

    home, done = (dash.install(out, "--http", url) for url in ("http://10.10.10.10", "http://10.10.10.10/pigsty"))

    assert (2, 0) == (home.returncode, done.returncode)
    assert "not the URL of a repository" in home.stderr
    gone = dash.run("--http", "http://10.10.10.10/other", "--uninstall").stdout
    assert gone.endswith("/etc/apt/sources.list.d/other.list\n")
    assert dash.run("--http", "http://10.10.10.10/pigsty", "--uninstall").stdout.startswith("removed")


def test_a_dry_run_says_that_there_is_no_room(dash: Machine, tmp_path: Path) -> None:
    shims = tmp_path / "shims"
    shims.mkdir()
    (shims / "df").write_text("#!/bin/sh\nprintf 'x\\nx 9 9 0 100%% /\\n'\n")
    (shims / "df").chmod(0o755)
    dash.path = f"{shims}:{dash.path}"

    done = dash.install(out_of(tmp_path, first(tmp_path)), "--dry-run")

    assert (7, []) == (done.returncode, dash.visible())
    assert "kB are needed, 0 are free" in done.stderr


def test_a_delta_on_an_empty_machine_says_so(dash: Machine, tmp_path: Path) -> None:
    done = dash.install(out_of(tmp_path, delta(first(tmp_path), tree(1, key=signing_key())), "delta"))

    assert 3 == done.returncode
    assert "a delta, and nothing to build on is here" in done.stderr


def test_have_lists_what_is_here(machine: Machine, tmp_path: Path) -> None:
    built = first(tmp_path)
    machine.install(out_of(tmp_path, built))

    done = machine.run("--have")

    head = f"# repobuild have 1 pigsty {TARGET} {TIME} {sha256(built.files['repobuild.lock'])}\n"
    assert head + marker(built.files).decode() == done.stdout


def test_a_clock_that_is_behind_is_said_loudly(machine: Machine, tmp_path: Path) -> None:
    done = machine.install(out_of(tmp_path, tree(time=4_000_000_000, key=signing_key())))

    assert 0 == done.returncode
    assert "WARNING: the clock" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("--home", "www"), ("--home", "/www/../etc"), ("--home", "/a b"), ("--home", "/www\n/x"), ("--name", "../x"), ("--name", ""),
        ("--trust", "xyz"), ("--trust", "ABCD"), ("--http", "ftp://h/x"), ("--http", "http://user:pass@h/x"), ("--http", "http://h/x y"),
        ("--http", "http://h/x\ndeb [trusted=yes] http://evil ./"), ("--nonsense",), ("--home",), ("/no/such/folder",),
    ],
)  # fmt: skip
def test_a_wrong_word_on_the_command_line_is_said(dash: Machine, words: tuple[str, ...]) -> None:
    done = dash.run(*words)

    assert (2, []) == (done.returncode, dash.visible())
    assert done.stderr.startswith("error: ")


def test_the_help_is_the_head_of_the_script(machine: Machine) -> None:
    done = machine.run("--help")

    assert 0 == done.returncode
    assert "--allow-unsigned" in done.stdout
    assert "set -eu" not in done.stdout


# ---- client files: word for word what the package writes --------------------------------------------------------------


@pytest.mark.parametrize("target", [f"d12.{MACHINE}", f"u24.{MACHINE}", "el9.x86_64", "el7.x86_64"])
@pytest.mark.parametrize("signed", [True, False])
def test_client_files_are_those_of_the_package(dash: Machine, tmp_path: Path, target: str, signed: bool) -> None:
    key = signing_key() if signed else None
    out = Out(tmp_path / "out", key=key).add(tree(target=target, key=key)).write()
    trust = ("--key", out / "pigsty.gpg") if signed else ("--allow-unsigned",)
    place = parse_target(target)
    (dash.root / "etc/os-release").write_text(os_release(target))
    own = MACHINE == place.arch
    facts = ClientFacts(
        name="pigsty", url=f"http://10.10.10.10{'' if own else '/' + target}/pigsty",
        folder=f"/www/{'' if own else target + '/'}pigsty", is_signed=signed, target=place,
    )  # fmt: skip
    expected = FORMATS[place.family].client_files(facts)

    done = dash.run(*trust, "--any-target", out, out / f"pigsty-pkg-v1.0.0.{target}.tgz")
    done = dash.run(*trust, "--any-target", out / f"pigsty-pkg-v1.0.0.{target}.tgz")

    assert (done.returncode, done.stderr) == (0, "")
    beside = (dash.root / facts.folder[1:]).parent
    ending = "repo" if place.family == "rpm" else "list"
    for name in (f"pigsty.{ending}", f"pigsty-local.{ending}"):
        assert expected[name] == (beside / name).read_bytes()
    if own:
        etc = dash.root / ("etc/yum.repos.d" if ending == "repo" else "etc/apt/sources.list.d")
        assert expected[f"pigsty-local.{ending}"] == (etc / f"pigsty-local.{ending}").read_bytes()
        assert 0 == dash.run(*trust, "--http", "http://10.10.10.10/pigsty", out).returncode
        assert expected[f"pigsty.{ending}"] == (etc / f"pigsty.{ending}").read_bytes()


def os_release(target: str) -> str:
    release = parse_target(target)
    vendor = {"d": "debian", "u": "ubuntu", "e": "rocky"}[target[0]]
    return f'NAME=x\nID="{vendor}"\nID_LIKE="{"rhel centos fedora" if vendor == "rocky" else "debian"}"\nVERSION_ID="{release.release}"\n'


def test_a_node_needs_neither_parts_nor_a_web_root(machine: Machine, tmp_path: Path) -> None:
    out = out_of(tmp_path, first(tmp_path))
    (out / PART).unlink()

    done = machine.install(out, "--http", "http://10.10.10.10/pigsty")

    assert (done.returncode, done.stderr) == (0, "")
    assert ["etc/apt/keyrings/pigsty.gpg", "etc/apt/sources.list.d/pigsty.list"] == machine.visible()


# ---- a machine that others share ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["www", "www/pigsty", "www/.pigsty.repobuild", "www/pigsty/by-hash"])
@pytest.mark.parametrize("change", ["owner", "mode"])
def test_where_others_can_put_links_nothing_is_written(dash: Machine, tmp_path: Path, place: str, change: str) -> None:
    dash.install(out_of(tmp_path, first(tmp_path)))
    at = dash.root / place
    _ = os.chown(at, 65534, -1) if change == "owner" else at.chmod(0o775)
    before = dash.files()

    done = dash.install(out_of(tmp_path, tree(1, key=signing_key()), "newer"))

    assert (7, before) == (done.returncode, dash.files())
    assert "chown root" in done.stderr


@pytest.mark.parametrize("name", ["lock", "leaving-sh"])
@pytest.mark.parametrize("kind", ["symbolic", "hard"])
def test_a_link_in_the_area_is_not_opened(dash: Machine, tmp_path: Path, name: str, kind: str) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    area = dash.root / "www/.pigsty.repobuild"
    area.mkdir(parents=True)
    _ = (area / name).symlink_to(victim) if kind == "symbolic" else (area / name).hardlink_to(victim)

    done = dash.install(out_of(tmp_path, first(tmp_path)))

    assert (7, "precious") == (done.returncode, victim.read_text())


def test_a_link_in_the_place_of_a_client_file_is_replaced_not_followed(machine: Machine, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    sources = machine.root / "etc/apt/sources.list.d"
    sources.mkdir(parents=True)
    for name in ("pigsty-local.list", "pigsty-local.list.new"):
        (sources / name).symlink_to(victim)

    done = machine.install(out_of(tmp_path, first(tmp_path)))

    assert (0, "precious") == (done.returncode, victim.read_text())
    assert not (sources / "pigsty-local.list").is_symlink()


def test_bytes_that_change_between_the_look_and_the_unpacking_are_not_installed(dash: Machine, tmp_path: Path) -> None:
    out, evil = out_of(tmp_path, first(tmp_path)), out_of(tmp_path, tree(5, key=signing_key()), "evil")
    shims = tmp_path / "shims"
    shims.mkdir()
    (shims / "flock").write_text(f"#!/bin/sh\ncp {evil / PART} {out / PART}\n")
    (shims / "flock").chmod(0o755)
    dash.path = f"{shims}:{dash.path}"

    done = dash.install(out)

    assert (3, False) == (done.returncode, dash.repository.exists())
    assert "changed while it was read" in done.stderr


def test_a_delta_takes_no_symbolic_link_from_the_repository(machine: Machine, tmp_path: Path) -> None:
    older, newer = first(tmp_path), tree(1, key=signing_key())
    machine.install(out_of(tmp_path, older))
    app = machine.repository / "app_1.0_amd64.deb"
    app.rename(tmp_path / "app")
    app.symlink_to(tmp_path / "app")

    done = machine.run(out_of(tmp_path, delta(older, newer), "delta"))

    assert (7, True) == (done.returncode, app.is_symlink())


def test_a_missing_tool_is_named_before_anything_happens(dash: Machine, tmp_path: Path, tools: Path) -> None:
    links = tmp_path / "links"
    shutil.copytree(tools, links, symlinks=True)
    for name in ("sha256sum", "cmp"):
        (links / name).unlink()
    dash.path, dash.command = str(links), (shutil.which("dash") or "",)

    done = dash.install(out_of(tmp_path, first(tmp_path)))

    assert (2, "error: this machine lacks: cmp sha256sum\n") == (done.returncode, done.stderr)


def test_a_folder_that_cannot_be_written_is_said(dash: Machine, tmp_path: Path) -> None:
    (dash.root / "www").write_text("a file")

    done = dash.install(out_of(tmp_path, first(tmp_path)))

    assert 7 == done.returncode
    assert "error: " in done.stderr


# ---- several bundles in one folder --------------------------------------------------------------------------------------


def infra() -> Tree:
    built = tree(key=signing_key())
    built.name = "infra"
    built.files["repobuild.lock"] = lock_text(TIME, name="infra")
    built.files |= {"infra.gpg": built.files.pop("pigsty.gpg"), "infra.asc": built.files.pop("pigsty.asc")}
    return built


def two_repositories(path: Path) -> Path:
    out = Out(path).add(tree(key=signing_key())).add(infra(), stem=f"infra-pkg-v1.0.0.{TARGET}")
    out.parts |= {"infra.gpg": signing_key().public_binary()}
    return out.write()


def test_all_repositories_of_a_folder_are_installed(machine: Machine, tmp_path: Path) -> None:
    done = machine.install(two_repositories(tmp_path / "out"))

    assert (done.returncode, done.stderr) == (0, "")
    assert tree(key=signing_key()).all_files() == machine.files()
    assert (machine.root / "www/infra/repo_complete").exists()
    assert (machine.root / "etc/apt/keyrings/infra.gpg").exists()


def test_one_of_the_repositories_of_a_folder_is_installed_when_it_is_named(dash: Machine, tmp_path: Path) -> None:
    out = two_repositories(tmp_path / "out")

    by_part = dash.run("--key", out / "infra.gpg", out, f"infra-pkg-v1.0.0.{TARGET}.tgz")
    left = sorted(path.name for path in (dash.root / "www").iterdir() if path.is_dir())
    by_name = dash.install(out, "--name", "pigsty")

    assert (0, [".infra.repobuild", "infra"]) == (by_part.returncode, left), by_part.stderr
    assert (0, True) == (by_name.returncode, dash.repository.exists())


def test_the_key_in_place_vouches_for_its_own_repository_only(dash: Machine, tmp_path: Path) -> None:
    dash.install(out_of(tmp_path, first(tmp_path)))
    out = Out(tmp_path / "other").add(infra(), stem=f"infra-pkg-v1.0.0.{TARGET}").write()

    done = dash.run(out)

    assert (3, False) == (done.returncode, (dash.root / "www/infra").exists())


def test_of_several_bundles_the_newest_whole_one_is_taken(machine: Machine, tmp_path: Path) -> None:
    older, newer = first(tmp_path), tree(1, key=signing_key())
    out = Out(tmp_path / "out").add(newer).add(older, stem=f"pigsty-pkg-v1.0.0-20231114.{TARGET}")
    out.add(delta(first(tmp_path), tree(2, key=signing_key())))

    done = machine.install(out.write())

    assert (0, newer.all_files()) == (done.returncode, machine.files())
    assert f"left out, name it to take it: {STEM}.delta.tgz" in done.stdout


def test_parts_of_two_bundles_are_not_mixed(dash: Machine, tmp_path: Path) -> None:
    out = Out(tmp_path / "out").add(tree()).add(tree(1), stem="other").write()

    done = dash.run("--key", out / "pigsty.gpg", out, PART, "other.tgz")

    assert (3, []) == (done.returncode, dash.visible())
    assert "parts of several bundles" in done.stderr


def test_of_several_unsigned_repositories_all_are_installed_or_the_one_that_is_named(
    dash: Machine, tmp_path: Path
) -> None:
    out = Out(tmp_path / "out", key=None).add(tree()).add(infra(), stem=f"infra-pkg-v1.0.0.{TARGET}").write()

    one = dash.run("--allow-unsigned", "--name", "pigsty", out)
    left = (dash.root / "www/infra").exists()
    done = dash.run("--allow-unsigned", out)

    assert (0, False, 0) == (one.returncode, left, done.returncode), done.stderr
    assert (dash.root / "www/infra/repo_complete").exists()


def test_a_node_needs_the_key_of_the_repository_that_it_names(dash: Machine, tmp_path: Path) -> None:
    out = out_of(tmp_path, first(tmp_path))

    done = dash.install(out, "--http", "http://10.10.10.10/other", "--name", "other")

    assert (2, []) == (done.returncode, dash.visible())


def test_a_full_temporary_folder_is_not_called_a_forgery(dash: Machine, tmp_path: Path) -> None:
    out = out_of(tmp_path, first(tmp_path))
    dash.command = ("bash", "-c", 'trap "" XFSZ; ulimit -f 2; exec dash "$@"', "-")  # no file beyond 2 KiB

    done = dash.install(out)

    assert (7, []) == (done.returncode, dash.visible())
    assert "space" in done.stderr


def test_a_part_is_taken_from_the_folder_that_is_named_with_it(dash: Machine, tmp_path: Path) -> None:
    out = out_of(tmp_path, first(tmp_path))
    (tmp_path / "elsewhere").mkdir()
    (out / PART).rename(tmp_path / "elsewhere" / PART)

    done = dash.run("--key", out / "pigsty.gpg", out, tmp_path / "elsewhere" / PART)

    assert (0, first(tmp_path).all_files()) == (done.returncode, dash.files()), done.stderr


def test_a_part_that_was_lengthened_is_not_called_forged(dash: Machine, tmp_path: Path) -> None:
    out = out_of(tmp_path, first(tmp_path))
    with (out / PART).open("ab") as file:
        file.write(bytes(4096))

    done = dash.install(out)

    assert 3 == done.returncode
    assert "ends in zeros" in done.stderr
    assert "repobuild install" in done.stderr


# ---- taking it away, and keys that change -------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("--uninstall", "--purge"), ("--restore",)])
def test_a_dry_run_of_taking_away_changes_nothing(dash: Machine, tmp_path: Path, words: tuple[str, ...]) -> None:
    (dash.root / "etc/apt").mkdir(parents=True)
    (dash.root / "etc/apt/sources.list").write_text("deb a")
    dash.install(out_of(tmp_path, first(tmp_path)), "--replace-repos")
    before = dash.visible()

    done = dash.run("--dry-run", *words)

    assert (0, before) == (done.returncode, dash.visible())
    assert "would " in done.stdout


def test_a_purge_waits_for_no_other_run(dash: Machine, tmp_path: Path, tool: Callable[[str], str]) -> None:
    dash.install(out_of(tmp_path, first(tmp_path)))
    lock = dash.root / "www/.pigsty.repobuild/lock"

    done = subprocess.run(
        [tool("flock"), lock, *dash.command, INSTALLER, "--root", dash.root, "--uninstall", "--purge"],
        env={"PATH": dash.path, "TMPDIR": str(dash.root / "tmp")}, capture_output=True, timeout=60, check=False,
    )  # fmt: skip

    assert (75, True) == (done.returncode, (dash.repository / "repo_complete").exists())


def test_a_source_with_an_older_key_inside_does_not_stay(dash: Machine, tmp_path: Path) -> None:
    out = out_of(tmp_path, first(tmp_path))
    dash.install(out)
    stale = [dash.root / "www" / name for name in ("pigsty.sources", "pigsty-local.sources")]
    stale.append(dash.root / "etc/apt/sources.list.d/pigsty-local.sources")
    for path in stale:
        path.write_text("Types: deb\nSigned-By:\n -----BEGIN PGP PUBLIC KEY BLOCK-----\n .\n old\n")

    done = dash.install(out)

    assert (0, []) == (done.returncode, [path for path in stale if path.exists()])


def test_a_key_with_the_line_ends_of_windows_is_taken(machine: Machine, tmp_path: Path) -> None:
    out = out_of(tmp_path, first(tmp_path))
    key = tmp_path / "key.asc"
    key.write_bytes((out / "pigsty.asc").read_bytes().replace(b"\n", b"\r\n"))

    assert 0 == machine.run("--key", key, out).returncode


def test_oracle_linux_is_an_el(dash: Machine, tmp_path: Path) -> None:
    (dash.root / "etc/os-release").write_text('ID="ol"\nID_LIKE="fedora"\nVERSION_ID="9.4"\n')
    out = out_of(tmp_path, first(tmp_path))

    assert 0 == dash.install(out, "--http", "http://10.10.10.10/pigsty/").returncode
    assert "baseurl=http://10.10.10.10/pigsty\n" in (dash.root / "etc/yum.repos.d/pigsty.repo").read_text()


def test_a_system_that_is_not_known_gets_no_client_file(dash: Machine, tmp_path: Path) -> None:
    (dash.root / "etc/os-release").write_text("ID=arch\n")

    done = dash.install(out_of(tmp_path, first(tmp_path)), "--http", "http://10.10.10.10/pigsty")

    assert (2, []) == (done.returncode, dash.visible())


def test_a_kill_after_the_exchange_leaves_the_former_repository_for_rollback(dash: Machine, tmp_path: Path) -> None:
    older, newer = first(tmp_path), tree(1, key=signing_key())
    dash.install(out_of(tmp_path, older))
    dash.install(out_of(tmp_path, newer, "newer"))
    area = dash.root / "www/.pigsty.repobuild"
    (area / "previous").rename(area / "next")

    repository = Repository(dash.root / "www", ("pigsty",))
    published, current = repository.previous(), repository.current()
    done = dash.run(out_of(tmp_path, newer, "newer"))

    assert published is not None
    assert current is not None
    assert current.generation is not None
    assert sorted({"repo_complete", *newer.files} - {"app_1.0_amd64.deb", "lib_1.0_amd64.deb"}) == list(
        current.generation.metadata
    )
    assert (0, ["lock", "previous"]) == (done.returncode, sorted(path.name for path in area.iterdir()))
    assert (area / "previous/lib_0.0_amd64.deb").exists()


def test_a_kill_before_the_exchange_leaves_no_former_repository(dash: Machine, tmp_path: Path) -> None:
    older, newer = first(tmp_path), tree(1, key=signing_key())
    dash.install(out_of(tmp_path, older))
    area = dash.root / "www/.pigsty.repobuild"
    other = Machine(tmp_path / "root2", dash.command, dash.path)
    shutil.copytree(dash.root, other.root, symlinks=True)
    other.install(out_of(tmp_path, newer, "newer"))
    other.repository.rename(area / "next")

    assert Repository(dash.root / "www", ("pigsty",)).previous() is None
    assert 0 == dash.run(out_of(tmp_path, older, "again")).returncode
    assert ["lock"] == [path.name for path in area.iterdir()]


# ---- the file itself --------------------------------------------------------------------------------------------------


# ---- several repositories in one file -----------------------------------------------------------------------------------


def other() -> Tree:
    """Return a repository with a package of the name and size of one in the first."""
    built = infra()
    built.files["app_1.0_amd64.deb"] = b"inf" * 500
    return built


def in_one(path: Path, members: list[Member], key: SigningKey | None = None) -> Path:
    out = Out(path, key=key, parts={PART: pack(archive(members))})
    if key is not None:
        out.parts |= {"infra.gpg": key.public_binary(), "infra.asc": key.public_armored()}
    return out.write()


def visible_below(machine: Machine, name: str) -> dict[str, bytes]:
    at = machine.root / "www" / name
    found = (path for path in at.rglob("*") if path.is_file() and ".repobuild" not in path.relative_to(at).parts)
    return {str(path.relative_to(at)): path.read_bytes() for path in found}


def test_all_repositories_of_a_file_are_installed(machine: Machine, tmp_path: Path) -> None:
    done = machine.install(in_one(tmp_path / "out", joined(first(tmp_path), other()), signing_key()))

    assert (0, "") == (done.returncode, done.stderr)
    assert first(tmp_path).all_files() == machine.files()
    assert other().all_files() == visible_below(machine, "infra")
    assert ["infra-local.list", "pigsty-local.list"] == sorted(
        each.name for each in (machine.root / "etc/apt/sources.list.d").iterdir()
    )
    assert (machine.root / "etc/apt/keyrings/infra.gpg").exists()
    assert list((machine.root / "www").rglob("incoming-sh*")) == []


def test_all_repositories_of_an_unsigned_file_are_installed(machine: Machine, tmp_path: Path) -> None:
    done = machine.run("--allow-unsigned", in_one(tmp_path / "out", joined(tree(), other())))

    assert (0, "") == (done.returncode, done.stderr)
    assert (tree().all_files(), other().all_files()) == (machine.files(), visible_below(machine, "infra"))


def test_a_second_run_with_several_repositories_changes_nothing(dash: Machine, tmp_path: Path) -> None:
    out = in_one(tmp_path / "out", joined(first(tmp_path), other()), signing_key())
    dash.install(out)
    before = dash.visible()

    done = dash.install(out)

    assert (0, before) == (done.returncode, dash.visible())
    assert 2 == done.stdout.count("already here")


@pytest.mark.parametrize(("name", "left_out"), [("pigsty", "infra"), ("infra", "pigsty")])
def test_one_repository_of_a_file_is_installed_when_it_is_named(
    machine: Machine, tmp_path: Path, name: str, left_out: str
) -> None:
    done = machine.install(in_one(tmp_path / "out", joined(first(tmp_path), other()), signing_key()), "--name", name)

    assert (0, "") == (done.returncode, done.stderr)
    assert (machine.root / f"www/{name}/repo_complete").exists()
    assert not (machine.root / f"www/{left_out}").exists()


def test_a_name_that_no_file_holds_is_said(dash: Machine, tmp_path: Path) -> None:
    done = dash.run("--allow-unsigned", "--name", "more", in_one(tmp_path / "out", joined(tree(), other())))

    assert (2, []) == (done.returncode, dash.visible())


def test_moving_other_sources_aside_leaves_those_of_all_repositories(dash: Machine, tmp_path: Path) -> None:
    sources = dash.root / "etc/apt/sources.list.d"
    sources.mkdir(parents=True)
    (sources / "debian.list").write_text("deb http://deb.example ./\n")

    done = dash.install(in_one(tmp_path / "out", joined(first(tmp_path), other()), signing_key()), "--replace-repos")

    assert (0, ["infra-local.list", "pigsty-local.list"]) == (
        done.returncode,
        sorted(each.name for each in sources.iterdir()),
    )
    assert (dash.root / "etc/apt/replaced/sources.list.d/debian.list").exists()


def test_a_dry_run_of_several_repositories_writes_nothing(dash: Machine, tmp_path: Path) -> None:
    done = dash.install(in_one(tmp_path / "out", joined(first(tmp_path), other()), signing_key()), "--dry-run")

    assert (0, [], 2) == (done.returncode, dash.visible(), done.stdout.count("would install"))


def test_a_kill_among_several_leaves_each_of_them_whole_and_the_next_run_heals(dash: Machine, tmp_path: Path) -> None:
    older, newer = first(tmp_path), tree(1, key=signing_key())
    infra_newer = replace(
        other(), time=TIME + 1, files={**other().files, "repobuild.lock": lock_text(TIME + 1, name="infra")}
    )
    before = in_one(tmp_path / "older", joined(older, other()), signing_key())
    after = in_one(tmp_path / "newer", joined(newer, infra_newer), signing_key())
    path = dash.path
    shims, counter = deadly(tmp_path, path)
    states = []
    for fatal in range(3, 300, 1 if os.environ.get("REPOBUILD_CRASH") == "full" else 5):
        shutil.rmtree(dash.root / "www", ignore_errors=True)
        dash.path = path
        assert 0 == dash.install(before).returncode
        counter.write_text("0\n")
        dash.path = f"{shims}:{path}"
        killed = dash.run(after, COUNTER=str(counter), FATAL=str(fatal))
        left = (dash.files(), visible_below(dash, "infra"))
        dash.path = path
        healed = dash.run(after)

        assert healed.returncode == 0, healed.stderr
        assert (newer.all_files(), infra_newer.all_files()) == (dash.files(), visible_below(dash, "infra"))
        assert [] == list((dash.root / "www").rglob("incoming-sh.*"))
        if killed.returncode == 0:
            break
        states.append(left)
    assert len(states) >= 8
    for one, two in states:
        assert one in (older.all_files(), newer.all_files())
        assert two in (other().all_files(), infra_newer.all_files())


def test_where_another_run_holds_one_of_several_none_is_installed(
    dash: Machine, tmp_path: Path, tool: Callable[[str], str]
) -> None:
    out = in_one(tmp_path / "out", joined(first(tmp_path), other()), signing_key())
    for name in ("pigsty", "infra"):
        area = dash.root / f"www/.{name}.repobuild"
        area.mkdir(parents=True, exist_ok=True)
        with subprocess.Popen(
            [tool("flock"), area / "lock", "sh", "-c", "echo held; read -r _"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        ) as holder:  # fmt: skip
            assert holder.stdout is not None
            holder.stdout.readline()
            done = dash.install(out)
            holder.communicate(b"\n")

        assert 75 == done.returncode
        assert [] == [each.name for each in (dash.root / "www").iterdir() if not each.name.startswith(".")]


def swapped(members: list[Member]) -> list[Member]:
    """Exchange what two packages of one size hold."""
    one, two = (
        next(each for each in members if each.name == f"{top}/app_1.0_amd64.deb") for top in ("pigsty", "infra")
    )
    one.body, two.body = two.body, one.body
    return members


def relisted(names: tuple[str, ...], *built: Tree) -> list[Member]:
    """Return the members of a bundle whose contents list other repositories than it holds."""
    for each in built:
        each.repositories = names
    return [member for each in built for member in each.head()] + [member for each in built for member in each.body()]


def retold(change: Callable[[Tree], None]) -> list[Member]:
    """Return the members of a bundle whose second repository says something else than the first."""
    one, two = tree(key=signing_key()), other()
    one.repositories = two.repositories = ("pigsty", "infra")
    change(two)
    return [*one.head(), *two.head(), *one.body(), *two.body()]


def named(name: str) -> list[Member]:
    """Return the members of a bundle whose second repository has this name throughout."""
    second = other()
    second.name = name
    return joined(tree(key=signing_key()), second)


def without(members: list[Member], start: str) -> list[Member]:
    return [each for each in members if not each.name.startswith(start)]


def both() -> list[Member]:
    return joined(tree(key=signing_key()), other())


SEVERAL: dict[str, Callable[[], list[Member]]] = {
    "the second head is missing": lambda: [each for each in both() if not each.name.startswith("infra/.repobuild")],
    "the second repository is listed and absent": lambda: without(both(), "infra/"),
    "the first repository is listed and absent": lambda: without(both(), "pigsty/"),
    "a third repository is listed and absent": lambda: relisted(
        ("pigsty", "infra", "more"), tree(key=signing_key()), other()
    ),
    "a second repository that is not listed": lambda: [*tree(key=signing_key()).members(), *other().members()],
    "a member outside of both": lambda: [*both(), Member("evil/x", b"x")],
    "a folder outside of both": lambda: [*both(), folder("evil/")],
    "a member that climbs from one into the other": lambda: [*both(), Member("pigsty/../infra/x", b"x")],
    "a member more in the second": lambda: [*both(), Member("infra/x", b"x")],
    "a member of the second that is missing": lambda: without(both(), "infra/lib"),
    "a marker of the second that is missing": lambda: without(both(), "infra/repo_complete"),
    "a link in the second": lambda: [*both(), Member("infra/x", kind=tarfile.SYMTYPE, link="/etc")],
    "two repositories of one name": lambda: relisted(
        ("pigsty", "pigsty"), tree(key=signing_key()), tree(1, key=signing_key())
    ),
    "lists in another order": lambda: retold(lambda two: setattr(two, "repositories", ("infra", "pigsty"))),
    "a second that lists itself alone": lambda: retold(lambda two: setattr(two, "repositories", ())),
    "a second for another target": lambda: retold(lambda two: setattr(two, "target", f"d13.{MACHINE}")),
    "a second that is a volume": lambda: retold(lambda two: setattr(two, "kind", "volume")),
    "a list of one": lambda: relisted(("pigsty",), tree(key=signing_key())),
    "a list that begins with the second": lambda: relisted(("infra", "pigsty"), tree(key=signing_key()), other()),
    "a name that climbs out": lambda: relisted(("pigsty", "../infra"), tree(key=signing_key()), other()),
    **{
        f"a second repository called {name}": partial(named, name) for name in ("..", ".repobuild", "-rf", "a+b", "in fra")
    },
    "more names than a file holds": lambda: relisted(
        ("pigsty", "infra", *(f"more{n}" for n in range(15))), tree(key=signing_key()), other()
    ),
    "bodies of one size exchanged": lambda: swapped(both()),
}  # fmt: skip


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("machine", ["dash", "busybox"], indirect=True)
@pytest.mark.parametrize("signed", [True, False], ids=["signed", "unsigned"])
def test_a_forgery_among_several_is_refused_before_any_is_visible(
    machine: Machine, tmp_path: Path, name: str, *, signed: bool
) -> None:
    out = in_one(tmp_path / "out", SEVERAL[name](), signing_key() if signed else None)

    done = machine.install(out) if signed else machine.run("--allow-unsigned", out)

    assert (3, []) == (done.returncode, machine.visible()), done.stdout + done.stderr
    assert done.stderr.startswith("error: ")
    assert [] == list(tmp_path.rglob("evil"))


def test_where_one_of_several_is_older_than_what_is_here_none_is_installed(machine: Machine, tmp_path: Path) -> None:
    newer = other()
    newer.time += 9
    newer.files["repobuild.lock"] = lock_text(TIME + 9, name="infra")
    alone = Out(tmp_path / "newer", name="infra").add(newer, stem=f"infra-pkg-v1.0.0.{TARGET}").write()
    assert 0 == machine.run("--key", alone / "infra.gpg", alone).returncode
    out = in_one(tmp_path / "out", joined(first(tmp_path), other()), signing_key())

    refused = machine.install(out)
    left = (visible_below(machine, "infra"), machine.repository.exists())
    allowed = machine.install(out, "--allow-older")

    assert (3, (newer.all_files(), False)) == (refused.returncode, left)
    assert "older than what is installed" in refused.stderr
    assert (0, other().all_files()) == (allowed.returncode, visible_below(machine, "infra"))
    assert first(tmp_path).all_files() == machine.files()


def test_shellcheck_finds_nothing(tool: Callable[[str], str]) -> None:
    done = subprocess.run([tool("shellcheck"), INSTALLER], capture_output=True, text=True, check=False)

    assert ("", 0) == (done.stdout, done.returncode)
