"""What the benchmark measures of the RPM family: solving on real CentOS metadata, publishing, and a large archive."""

import json
import random
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from xml.sax.saxutils import quoteattr

from bench_lab import CHECKOUT, BenchError, Run, empty, environment, measure
from bench_values import Row, at_most, times

sys.path.insert(0, str(CHECKOUT / "tests"))

DATA = CHECKOUT.parent / "shared/data/cs9"
_TARGET = "el9.x86_64"
_MAIN = "from repobuild.cli import main; main()"
_REPEATS = 5
_WANTS = 100
_PACKAGES = 900
_PACKAGE_SIZE = 520_000
_LARGE = 70_000
_BLOCK = 500
_PUBLISH = str(CHECKOUT / "scripts/bench_publish.py")
_LOAD = str(CHECKOUT / "scripts/bench_load.py")


def rpm_rows(run: Path) -> Iterator[Row]:
    """Measure everything in the folder `run`, yielding each row as soon as it is known."""
    if DATA.is_dir():
        yield from _solve_rows(run)
    else:
        print(f"left out: solving RPMs, without the metadata of CentOS in {DATA.name}", file=sys.stderr)
    yield from _publish_rows(run)
    yield from _load_rows(run)


def _environment(folder: Path) -> dict[str, str]:
    places = {
        "REPOBUILD_STORE": folder / "store",
        "XDG_STATE_HOME": folder / "state",
        "XDG_CONFIG_HOME": folder / "config",
        "PYTHONPATH": CHECKOUT,
        "PYTHONPYCACHEPREFIX": folder / "bytecode",
    }
    return environment({name: str(place) for name, place in places.items()})


def _median(run: Callable[[], Run], repeats: int = _REPEATS) -> float:
    return statistics.median(run().seconds for _ in range(repeats))


# solving


def _solve_rows(run: Path) -> Iterator[Row]:
    """A hundred names that install together, as whole processes: first both without what they derive, then with it."""
    folder = empty(run / "solve")
    dnf = [*_dnf(folder), "install", "--assumeno"]
    wants = _wants(dnf, folder)
    manifest = folder / "cs9.yml"
    upstreams = [
        {
            "name": name,
            "module": "node",
            "releases": [9],
            "arch": ["x86_64"],
            "verify": "none",
            "baseurl": {"default": f"file://{DATA / name}"},
        }
        for name in ("appstream", "baseos")
    ]
    document = {"repo_modules": "node", "repo_upstream": upstreams, "repo_packages": [" ".join(wants)]}
    manifest.write_text(json.dumps(document | {"recommends": False}))
    lock = folder / "lock"

    def ours() -> Run:
        lock.unlink(missing_ok=True)
        command = [sys.executable, "-c", _MAIN, "lock", _TARGET, "-c", str(manifest), "--lock", str(lock)]
        command += ["--update", "--offline"] if (folder / "store").exists() else []
        return measure(command, _environment(folder), folder)

    def ours_cold() -> Run:
        for derived in (folder / "store/derived").glob("*.rpm-*"):
            derived.unlink()
        return ours()

    def peer() -> Run:
        return measure(["sh", "-c", '"$@" || true', "sh", *dnf, *wants], environment({"LC_ALL": "C"}), folder)

    def peer_cold() -> Run:
        for derived in (folder / "cache").glob("*.solv*"):
            derived.unlink()
        return peer()

    ours(), peer()
    what = f"solve {len(wants)} RPM names, whole process"
    yield times(f"{what}, nothing derived yet", _median(ours_cold), ("dnf, no .solv", _median(peer_cold)), 0.5)
    warm = _median(ours)
    yield at_most(f"{what}, from cache", warm, 0.4)
    print(f"note: dnf, from its cache, takes {_median(peer):.2f} s", file=sys.stderr)


def _dnf(folder: Path) -> list[str]:
    """Return a dnf that knows only the data, with nothing installed."""
    (folder / "dnf.conf").write_text(
        "[main]\ngpgcheck=0\nbest=True\ninstall_weak_deps=False\nskip_if_unavailable=False\n"
    )
    command = [
        "dnf",
        "-y",
        f"--config={folder / 'dnf.conf'}",
        "--setopt=reposdir=/dev/null",
        "--setopt=varsdir=/dev/null",
    ]
    command += ["--disableplugin=*", "--setopt=module_platform_id=platform:el9", "--releasever=9", "--forcearch=x86_64"]
    command += [
        f"--installroot={folder / 'root'}",
        "--setopt=metadata_expire=-1",
        f"--setopt=cachedir={folder / 'cache'}",
    ]
    for name in ("appstream", "baseos"):
        command += [f"--repofrompath={name},file://{DATA / name}", f"--repo={name}"]
    return command


def _wants(dnf: list[str], folder: Path) -> list[str]:
    """Return a hundred names that dnf takes together, drawn with a fixed seed."""
    listed = subprocess.run(
        [*dnf[:-2], "repoquery", "--quiet", "--latest-limit=1", "--arch=x86_64,noarch", "--qf=%{name}"],
        capture_output=True, text=True, check=True, env=environment({"LC_ALL": "C"}), cwd=folder,
    )  # fmt: skip
    names = sorted(set(listed.stdout.split()))
    draw = random.Random(3)
    wants: list[str] = []
    while len(wants) < _WANTS:
        more = draw.sample(names, 10)
        done = subprocess.run(
            [*dnf, *wants, *more], capture_output=True, text=True, check=False, env=environment({"LC_ALL": "C"})
        )
        if "Install  " in done.stdout and "Problem" not in done.stderr:
            wants = list(dict.fromkeys([*wants, *more]))[:_WANTS]
    return wants


# publishing


def _publish_rows(run: Path) -> Iterator[Row]:
    """Metadata of packages whose digests the lock knows, against createrepo_c with two workers; whole processes."""
    import rpms  # noqa: PLC0415 -- needs the test packages

    folder = empty(run / "publish")
    for number in range(_PACKAGES):
        requires = [f"package{other}" for other in range(number - 1, max(-1, number - 8), -1)]
        files = [f"/usr/share/package{number}/{name}" for name in range(20)]
        rpms.build(folder / "rpms", f"package{number}", requires=requires, files=files, size=_PACKAGE_SIZE)

    def ours() -> Run:
        command = [sys.executable, _PUBLISH, str(folder / "rpms"), str(folder / "facts.json")]
        return measure(command, _environment(folder), folder)

    def peer() -> Run:
        shutil.rmtree(folder / "rpms/repodata", ignore_errors=True)
        return measure(
            ["/usr/bin/createrepo_c", "--quiet", "--workers", "2", str(folder / "rpms")], environment({}), folder
        )

    ours()
    yield times(
        f"metadata of {_PACKAGES} RPMs, whole process",
        _median(ours),
        ("createrepo_c --workers 2", _median(peer)),
        1.0,
    )
    shutil.rmtree(folder)


# a large archive


def _load_rows(run: Path) -> Iterator[Row]:
    """An archive of 70,000 packages from what was derived of it: the time and memory to find and solve in it."""
    folder = empty(run / "large")
    with (folder / "primary.xml").open("w") as file:
        file.write(f'<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="{_RPM}" packages="{_LARGE}">\n')
        file.writelines(_entry(number) for number in range(_LARGE))
        file.write("</metadata>\n")

    def load() -> tuple[float, float]:
        command = [sys.executable, _LOAD, str(folder / "primary.xml"), str(folder / "derived")]
        done = subprocess.run(command, env=_environment(folder), capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(done.stderr[-2000:])
        seconds, peak = done.stdout.split()
        return float(seconds), float(peak)

    load()
    runs = [load() for _ in range(_REPEATS)]
    yield at_most(f"load {_LARGE} RPM packages from cache", statistics.median(seconds for seconds, _ in runs), 0.5)
    peak = max(peak for _, peak in runs)
    yield Row(
        what=f"peak memory with {_LARGE} RPM packages", ours=f"{peak:.0f} MB", peer="", ratio="",
        target="at most 300 MB", is_met=peak <= 300,
    )  # fmt: skip
    shutil.rmtree(folder)


_RPM = "http://linux.duke.edu/metadata/rpm"


def _entry(number: int) -> str:
    """Return a package of the large archive: some provides, some requires, as a real one has."""
    name, version = f"package{number}", f"1.{number % 9}"
    provides = "".join(_relation(f"lib{name}.so.{each}()(64bit)") for each in range(4))
    block = number - number % _BLOCK  # what a package needs lies in its own block, before it
    others = [block + (number * 7 + each * 13) % (number % _BLOCK) for each in range(1, 6)] if number % _BLOCK else []
    requires = "".join(_relation(f"libpackage{other}.so.0()(64bit)") for other in others)
    return (
        f'<package type="rpm"><name>{name}</name><arch>x86_64</arch><version epoch="0" ver="{version}" rel="1.el9"/>'
        f'<checksum type="sha256" pkgid="YES">{number:064x}</checksum><summary>Package {number}</summary>'
        f"<description>One of many packages, number {number}, with a sentence or two to say.</description>"
        f'<packager/><url>https://example.org/{number}</url><time file="1" build="1"/>'
        f'<size package="{1000 + number}" installed="5000" archive="6000"/><location href="Packages/{name}.rpm"/>'
        f"<format><rpm:license>MIT</rpm:license><rpm:sourcerpm>{name}.src.rpm</rpm:sourcerpm>"
        f'<rpm:provides><rpm:entry name="{name}" flags="EQ" epoch="0" ver="{version}" rel="1.el9"/>{provides}'
        f"</rpm:provides><rpm:requires>{requires}</rpm:requires></format></package>\n"
    )


def _relation(name: str) -> str:
    return f"<rpm:entry name={quoteattr(name)}/>"
