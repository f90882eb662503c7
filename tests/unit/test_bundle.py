"""Published repository -> bundle."""

import gzip
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from repositories import Fabricated, fabricate, mark, source_of

from repobuild.archive.contents import PartKind
from repobuild.bundle import PIGSTY_DELETES, BundleResult, BundleSpec, WrittenPart, write_bundle
from repobuild.errors import DiskError, HostileInputError, ProofError
from repobuild.model import MARKER
from repobuild.record import sha256_of

NAME = "pigsty-pkg-v4.5.0.d12.x86_64.tgz"
BESIDE = ["SHA256SUMS", "install.sh", NAME]
TESTS = Path(__file__).parents[1]


def spec_of(repository: Fabricated) -> BundleSpec:
    return BundleSpec(sources=(source_of(repository),))


def bundle(repository: Fabricated, out: Path) -> BundleResult:
    return write_bundle(out, spec_of(repository))


@pytest.fixture
def repository(tmp_path) -> Fabricated:
    return fabricate(tmp_path / "www", packages=12)


def test_a_bundle_has_the_name_pigsty_expects_and_its_digest_beside_it(repository, tmp_path):
    out = tmp_path / "out"

    result = bundle(repository, out)

    data = (out / NAME).read_bytes()
    files = len(repository.files())
    part = WrittenPart(
        path=out / NAME,
        size=len(data),
        sha256=sha256_of(data),
        repositories=("pigsty",),
        kind=PartKind.WHOLE,
        part=1,
        parts=1,
        files=files,
    )
    assert sorted(os.listdir(out)) == BESIDE
    assert result == BundleResult(parts=(part,), files=files, sums=out / "SHA256SUMS", signers=())
    subprocess.run(["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=out, check=True)


def test_members_come_contents_first_then_folders_indexes_payload_pointers_and_the_marker_last(repository, tmp_path):
    with tarfile.open(bundle(repository, tmp_path / "out").path) as tar:
        members = tar.getmembers()
    names = [member.name.removeprefix("pigsty/") for member in members]

    indexes = [name for name in names if name.startswith(("Packages", "by-hash/SHA256/", "repobuild.lock"))]
    payload = [name for name in names if name.endswith((".deb", ".tar.gz"))]
    assert names == [
        ".repobuild/CONTENTS.json",
        ".repobuild/CONTENTS.sha256",
        ".repobuild/install.sh",
        "pigsty",
        ".repobuild",
        "by-hash",
        "by-hash/SHA256",
        *sorted(indexes),
        *sorted(payload),
        "InRelease",
        "Release",
        MARKER,
    ]
    assert {member.mtime for member in members} == {repository.lock.time}
    assert {(member.isdir(), member.mode) for member in members} == {(True, 0o755), (False, 0o644)}


def test_contents_say_where_each_file_is_from_and_how_it_was_verified(repository, tmp_path):
    with tarfile.open(bundle(repository, tmp_path / "out").path) as tar:
        file = tar.extractfile("pigsty/.repobuild/CONTENTS.json")
        document = json.load(file)

    said = {row["path"]: (row["kind"], row["upstream"], row["verify"]) for row in document["files"]}
    assert said["pkg000_1.0-1_amd64.deb"] == ("payload", "node", "root")
    assert said["pkg001_1.1-1_amd64.deb"] == ("payload", "plain", "none")
    assert said["tool.tar.gz"] == ("payload", "", "none")
    assert said["Packages"] == ("index", "", "")
    assert said["InRelease"] == ("pointer", "", "")
    assert said[MARKER] == ("marker", "", "")
    assert (document["sequence"], document["lock"]) == (repository.lock.time, repository.lock_sha256)
    assert (document["name"], document["target"], document["version"]) == ("pigsty", "d12.x86_64", "v4.5.0")


def test_files_that_the_marker_does_not_list_stay_out(repository, tmp_path):
    (repository.path / "foreign.deb").write_bytes(b"foreign")
    (repository.path / "link").symlink_to("/etc/passwd")

    with tarfile.open(bundle(repository, tmp_path / "out").path) as tar:
        files = {member.name for member in tar.getmembers() if member.isfile()}

    listed = {f"pigsty/{path}" for path in repository.files()}
    own = ("CONTENTS.json", "CONTENTS.sha256", "install.sh")
    assert files - listed == {f"pigsty/.repobuild/{name}" for name in own}
    assert listed <= files


@pytest.mark.parametrize(
    "unpack",
    [
        ["tar", "-xf"],
        ["tar", "-xzf"],
        ["busybox", "tar", "-xzf"],
        ["bsdtar", "-xf"],
        [sys.executable, "-m", "tarfile", "-e"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("padding", [0, 5_000_000])
def test_programs_of_the_field_unpack_a_bundle_and_check_it(repository, tmp_path, unpack, padding):
    if shutil.which(unpack[0]) is None:
        pytest.skip(f"no {unpack[0]} here")
    path = bundle(repository, tmp_path / "out").path
    os.truncate(path, path.stat().st_size + padding)
    www = tmp_path / "far"
    www.mkdir()

    subprocess.run([*unpack, str(path)], cwd=www, check=True, umask=0o022)

    inside = www / "pigsty"
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", ".repobuild/CONTENTS.sha256"], cwd=inside, check=True)
    subprocess.run(["sha256sum", "-c", "--strict", "--quiet", MARKER], cwd=inside, check=True)
    assert {path: (inside / path).read_bytes() for path in repository.files()} == repository.files()
    assert inside.stat().st_mode & 0o777 == 0o755
    assert (inside / MARKER).stat().st_mode & 0o777 == 0o644
    assert int((inside / MARKER).stat().st_mtime) == repository.lock.time


def test_gzip_finds_a_bundle_sound(repository, tmp_path):
    result = bundle(repository, tmp_path / "out")

    subprocess.run(["gzip", "-t", str(result.path)], check=True)

    assert len(gzip.decompress(result.path.read_bytes())) % 10240 == 0


def test_a_bundle_that_pigsty_would_delete_says_so(repository, tmp_path):
    (part,) = bundle(repository, tmp_path / "out").parts

    assert part.is_deleted_by_pigsty
    assert replace(part, size=PIGSTY_DELETES).is_deleted_by_pigsty
    assert not replace(part, size=PIGSTY_DELETES + 1).is_deleted_by_pigsty
    assert not replace(part, kind=PartKind.DELTA).is_deleted_by_pigsty


# --- the same bytes --------------------------------------------------------------------------------------------------

RUN = """
import sys
sys.path.insert(0, {tests!r})
from dataclasses import replace
from pathlib import Path
from repositories import fabricate, source_of
from repobuild.bundle import BundleSpec, write_bundle
made = fabricate(Path({scratch!r}), packages=12)
made = replace(made, path=Path({repository!r}))
spec = BundleSpec(sources=(source_of(made),))
print(write_bundle(Path({out!r}), spec).sha256)
"""

VARIATIONS = {
    "umask 000": {"umask": 0o000},
    "umask 077": {"umask": 0o077},
    "another folder": {"cwd": "/"},
    "a far time zone": {"env": {"TZ": "Pacific/Kiritimati"}},
    "the C locale": {"env": {"LC_ALL": "C"}},
    "a Turkish locale": {"env": {"LC_ALL": "tr_TR.UTF-8"}},
    "no UTF-8 mode": {"env": {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}},
    "another hash seed": {"env": {"PYTHONHASHSEED": "12345"}},
    "SOURCE_DATE_EPOCH": {"env": {"SOURCE_DATE_EPOCH": "1"}},
    "no home": {"env": {"HOME": "/nonexistent"}},
}


def program_of(repository: Fabricated, tmp_path: Path) -> str:
    return RUN.format(
        tests=str(TESTS), scratch=str(tmp_path / "scratch"), repository=str(repository.path), out=str(tmp_path / "out")
    )


def run_bundle(program: str, **how) -> str:
    env = {**os.environ, "PYTHONPATH": str(TESTS.parent), **how.pop("env", {})}
    done = subprocess.run([sys.executable, "-c", program], env=env, check=True, capture_output=True, text=True, **how)
    return done.stdout.strip()


@pytest.mark.parametrize("variation", VARIATIONS)
def test_the_same_lock_gives_the_same_bytes(repository, tmp_path, variation):
    expected = bundle(repository, tmp_path / "first").sha256

    assert run_bundle(program_of(repository, tmp_path), **VARIATIONS[variation]) == expected


def test_order_and_times_on_disk_do_not_matter(repository, tmp_path):
    expected = bundle(repository, tmp_path / "first").sha256
    other = tmp_path / "other" / "pigsty"
    for name in sorted(os.listdir(repository.path), reverse=True):
        copy = shutil.copytree if (repository.path / name).is_dir() else shutil.copyfile
        other.mkdir(parents=True, exist_ok=True)
        copy(repository.path / name, other / name)
        os.utime(other / name, (5, 5))
        (other / name).chmod(0o700)

    assert write_bundle(tmp_path / "second", spec_of(replace(repository, path=other))).sha256 == expected


def test_the_same_bytes_come_out_on_a_file_system_without_direct_writing(repository, tmp_path):
    expected = bundle(repository, tmp_path / "first").sha256
    out = Path("/dev/shm") / f"repobuild-{os.getpid()}"
    try:
        assert bundle(repository, out).sha256 == expected
    finally:
        shutil.rmtree(out)


# --- what is not right -----------------------------------------------------------------------------------------------


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE = {
    "a flipped bit in a package": (lambda root: flip(root / "pkg004_1.4-1_amd64.deb"), "pkg004"),
    "a longer package": (lambda root: (root / "pkg003_1.3-1_amd64.deb").write_bytes(bytes(513)), "pkg003"),
    "a shorter package": (lambda root: (root / "pkg003_1.3-1_amd64.deb").write_bytes(b""), "pkg003"),
    "a longer index": (lambda root: (root / "Packages").write_bytes(bytes(5000)), "Packages"),
    "a shorter index": (lambda root: (root / "Packages").write_bytes(b""), "Packages"),
    "a missing package": (lambda root: (root / "pkg003_1.3-1_amd64.deb").unlink(), "pkg003"),
    "a missing index": (lambda root: (root / "Packages").unlink(), "Packages"),
    "a missing folder": (lambda root: shutil.rmtree(root / "by-hash"), "by-hash"),
    "no marker": (lambda root: (root / MARKER).unlink(), MARKER),
    "an empty marker": (lambda root: (root / MARKER).write_bytes(b""), "repobuild.lock"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_repository_that_is_not_what_its_marker_says_is_not_bundled(repository, tmp_path, damage):
    harm, named = DAMAGE[damage]
    harm(repository.path)

    with pytest.raises(ProofError, match=named):
        bundle(repository, tmp_path / "out")

    assert os.listdir(tmp_path / "out") == []


@pytest.mark.parametrize("path", ["Packages", "pkg003_1.3-1_amd64.deb"])
def test_a_link_in_the_place_of_a_file_is_refused(repository, tmp_path, path):
    (repository.path / path).rename(tmp_path / "elsewhere")
    (repository.path / path).symlink_to(tmp_path / "elsewhere")

    with pytest.raises(HostileInputError, match="not a regular file"):
        bundle(repository, tmp_path / "out")

    assert os.listdir(tmp_path / "out") == []


def test_every_changed_file_is_named_at_once(repository, tmp_path):
    flip(repository.path / "pkg003_1.3-1_amd64.deb")
    flip(repository.path / "Packages")

    with pytest.raises(ProofError, match=r"Packages, .*pkg003"):
        bundle(repository, tmp_path / "out")


def test_a_package_of_the_lock_that_the_marker_does_not_list_is_a_proof_that_fails(repository, tmp_path):
    files = repository.files()
    del files[MARKER], files["pkg003_1.3-1_amd64.deb"]
    mark(repository.path, files)

    with pytest.raises(ProofError, match="disagree"):
        bundle(repository, tmp_path / "out")


def test_another_lock_than_the_one_read_is_a_proof_that_fails(repository, tmp_path):
    spec = spec_of(replace(repository, lock_sha256="0" * 64))

    with pytest.raises(ProofError, match=r"repobuild\.lock"):
        write_bundle(tmp_path / "out", spec)


def test_a_failed_bundle_leaves_the_former_one_in_place(repository, tmp_path):
    former = bundle(repository, tmp_path / "out")
    flip(repository.path / "Packages")

    with pytest.raises(ProofError):
        bundle(repository, tmp_path / "out")

    assert sha256_of(former.path.read_bytes()) == former.sha256
    assert sorted(os.listdir(tmp_path / "out")) == BESIDE


LIMIT = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"


def test_a_disk_that_refuses_half_way_leaves_nothing_under_the_final_name(repository, tmp_path):
    env = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    done = subprocess.run(
        [sys.executable, "-c", LIMIT + program_of(repository, tmp_path)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )

    assert "repobuild.errors.DiskError: file too large" in done.stderr
    assert os.listdir(tmp_path / "out") == []


def test_space_is_checked_before_the_first_byte(repository, tmp_path):
    out = tmp_path / "small"
    out.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(out)], check=False, capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("cannot mount here")
    try:
        with pytest.raises(DiskError, match=r"needs \d+ bytes, \d+ are free"):
            bundle(repository, out)
        assert os.listdir(out) == []
    finally:
        subprocess.run(["umount", str(out)], check=True)


KILLED = """
import os, signal
from repobuild.progress import Silent
class Kill(Silent):
    left = {after}
    def advance(self, count):
        self.left -= count
        if self.left < 0:
            os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("after", [0, 1000, 50_000, 100_000])
def test_a_killed_run_leaves_no_final_name_and_the_next_one_clears_up(repository, tmp_path, after):
    program = KILLED.format(after=after) + program_of(repository, tmp_path).replace("spec)", "spec, Kill())")
    env = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    killed = subprocess.run([sys.executable, "-c", program], env=env, check=False)
    left = os.listdir(tmp_path / "out")

    result = bundle(repository, tmp_path / "out")

    assert killed.returncode == -signal.SIGKILL
    assert len(left) == 1
    assert left[0].endswith(".tmp")
    assert sorted(os.listdir(tmp_path / "out")) == BESIDE
    assert sha256_of(result.path.read_bytes()) == result.sha256


def test_a_run_waits_for_the_one_that_writes_to_the_same_folder(repository, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    living = out / f".{NAME}.0123456789ab.tmp"
    with subprocess.Popen(
        ["flock", str(out), "sh", "-c", 'echo ready; read line; touch "$0"', str(living)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        holder.stdout.readline()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(bundle, repository, out)
            with pytest.raises(TimeoutError):
                waiting.result(0.2)
            assert os.listdir(out) == []
            holder.communicate(b"\n")
            waiting.result(30)

    assert sorted(os.listdir(out)) == BESIDE


def test_a_bundle_after_a_killed_run_has_the_same_bytes(repository, tmp_path):
    expected = bundle(repository, tmp_path / "first").sha256
    program = KILLED.format(after=50_000) + program_of(repository, tmp_path).replace("spec)", "spec, Kill())")
    env = {**os.environ, "PYTHONPATH": str(TESTS.parent)}
    subprocess.run([sys.executable, "-c", program], env=env, check=False)

    assert bundle(repository, tmp_path / "out").sha256 == expected
