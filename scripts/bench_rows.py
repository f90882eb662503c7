"""What the benchmark measures: for each promise of speed, our run and the incumbents' on the same bytes."""

import os
import re
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

from bench_lab import CHECKOUT, TARGET, BenchError, Lab, Run, empty, measure
from bench_values import Row, at_most, faster, times

from repobuild import lock, publish
from repobuild.formats import FORMATS
from repobuild.formats.protocol import RepositoryFacts
from repobuild.targets import parse_target

_REPEATS = 3
_QUICK_RUNS = 5
"""Repetitions of what takes less than a second."""
_ARIA = "aria2c -x8 -s8 -j16"
_INSTALLED = re.compile(r"^Inst (\S+) \((\S+)", re.MULTILINE)


def all_rows(lab: Lab) -> Iterator[Row]:
    """Measure everything, yielding each row as soon as it is known."""
    yield from _resolve_rows(lab)
    yield from _download_rows(lab)
    yield from _whole_rows(lab)
    yield from _unchanged_rows(lab)
    yield from _metadata_rows(lab)
    yield from _bundle_rows(lab)


def _median(run: Callable[[], Run], repeats: int = _REPEATS) -> float:
    return statistics.median(run().seconds for _ in range(repeats))


# resolve


def _resolve_rows(lab: Lab) -> Iterator[Row]:
    """The same wants: ours with everything derived, then with the verified indexes only, against a cold apt."""
    derived = lab.run / "house/store/derived"
    fresh = lab.run / "resolved.lock"
    essential = [each.package.name for each in lab.lock.choices if each.why == "base"]
    wants = [want for group in lab.groups for want in group]
    simulate = f"apt-get -s -y install {' '.join([*wants, *essential])}"

    def ours() -> Run:
        fresh.unlink(missing_ok=True)
        return lab.repobuild("lock", "--offline", "--update", locked=fresh)

    def ours_cold() -> Run:
        shutil.rmtree(derived)
        return ours()

    def apt_cold() -> Run:
        for cache in (lab.run / "apt/cache").glob("*pkgcache.bin"):
            cache.unlink()
        return lab.shell(simulate, lab.run)

    ours()
    yield at_most("resolve, from cache, whole process", _median(ours, _QUICK_RUNS), 0.5)
    yield times("resolve, nothing derived yet", _median(ours_cold), ("apt-get -s, no pkgcache", _median(apt_cold)), 2.0)
    chosen = {(each.package.name, each.package.version) for each in lab.lock.choices}
    differing = chosen ^ set(_INSTALLED.findall(lab.apt(*simulate.split())))
    if differing:
        print(f"note: apt chooses otherwise in {len(differing)} cases: {sorted(differing)[:6]}")


# download


def _download_rows(lab: Lab) -> Iterator[Row]:
    """Every file of the lock from the WAN model; ours is flushed to disk and verified, the peers' is neither."""
    folder = lab.run / "download"
    urls = lab.run / "urls"
    urls.write_text("".join(f"{lab.url}/{quote(each.package.path, safe='/%')}\n" for each in lab.lock.choices))

    def ours(jobs: int) -> Run:
        target = empty(folder)
        program = [sys.executable, str(CHECKOUT / "scripts/bench_fetch.py")]
        arguments = [str(lab.lock_path), lab.url, str(target / "store"), str(jobs)]
        return measure([*program, *arguments], lab.repobuild_environment(target), lab.run)

    def aria() -> Run:
        return lab.shell(f"{_ARIA} --file-allocation=none -q -i {urls}", empty(folder))

    def apt() -> Run:
        names = " ".join(f"{each.package.name}={each.package.version}" for each in lab.lock.choices)
        return lab.shell(f"apt-get download {names}", empty(folder))

    runs = [(ours(16).seconds, aria().seconds, ours(32).seconds) for _ in range(_REPEATS)]
    default, peer, wide = (statistics.median(column) for column in zip(*runs, strict=True))
    what = f"download of {len(lab.lock.choices)} files, {lab.size / 1e6:.0f} MB"
    yield times(f"{what}, defaults", default, (_ARIA, peer), 1.6)
    yield times(f"{what}, -j 32", wide, (_ARIA, peer), 1.2)
    yield faster(f"{what}, defaults", default, ("apt-get download", apt().seconds), 10)
    shutil.rmtree(folder)


# the whole way


def _whole_rows(lab: Lab) -> Iterator[Row]:
    """From nothing to a bundle, against Pigsty's steps on the same mirror; the sync's memory on the way."""

    def ours() -> tuple[Run, Run]:
        empty(lab.run / "whole")
        path = lab.run / "whole/lock"
        packages = lab.repobuild("sync", house="whole", locked=path)
        return packages, lab.repobuild("bundle", "--offline", "-o", "whole", house="whole", locked=path)

    runs = [ours() for _ in range(_REPEATS)]
    seconds = statistics.median(sync.seconds + bundle.seconds for sync, bundle in runs)
    peak = max(sync.peak for sync, _ in runs) / 1e6
    pigsty = lab.run / "pigsty"
    empty(pigsty)
    peer = lab.shell(_pigsty_steps(lab), pigsty).seconds
    files = list((pigsty / "www/pigsty").glob("*.deb"))
    size = sum(path.stat().st_size for path in files) / 1e6
    yield faster(
        f"sync + bundle, from nothing, {len(lab.lock.choices)} files",
        seconds,
        (f"Pigsty's steps, {len(files)} files, {size:.0f} MB,", peer),
        5,
    )
    yield Row(
        what="peak memory of that sync",
        ours=f"{peak:.0f} MB",
        peer="",
        ratio="",
        target="at most 600 MB",
        is_met=peak <= 600,
    )
    shutil.rmtree(pigsty)


def _pigsty_steps(lab: Lab) -> str:
    """Return what Pigsty's roles run on Debian, from the update to the tarball (facts in its repo and cache roles)."""
    lines = ["apt-get update", "mkdir -p www/pigsty", "cd www/pigsty"]
    lines += [f"apt-get download $({lab.closure(group)})" for group in lab.groups]
    lines += [
        "rm -f *i386.deb",
        "dpkg-scanpackages . | gzip -9 > Packages.gz",
        "md5sum *.deb > repo_complete",
        "cd ..",
        "tar -cf - pigsty | gzip -9 > ../pkg.tgz",
    ]
    return "\n".join(lines)


def _unchanged_rows(lab: Lab) -> Iterator[Row]:
    """A second sync of what `_whole_rows` published."""
    path = lab.run / "whole/lock"
    seconds = _median(lambda: lab.repobuild("sync", house="whole", locked=path), _QUICK_RUNS)
    yield at_most("unchanged sync, whole process", seconds, 1.0)


# metadata and bundle


def _published(lab: Lab) -> Path:
    """Return the repository that `_whole_rows` published."""
    marker = next((lab.run / "whole/www").rglob("repo_complete"), None)
    if marker is None:
        raise BenchError("the sync published nothing")
    return marker.parent


def _metadata_rows(lab: Lab) -> Iterator[Row]:
    """Index files and tree from the lock's text, against tools that read and hash every package."""
    text = lab.lock_path.read_bytes()
    target = parse_target(TARGET)

    def ours() -> Run:
        begun = time.perf_counter()
        chosen = lock.read(text, "lock")
        facts = RepositoryFacts(name=chosen.name, target=target, time=chosen.time)
        packages = [each.package for each in chosen.choices]
        publish.make_tree(chosen, text, FORMATS[target.family].metadata(packages, facts, None, Path))
        return Run(time.perf_counter() - begun, 0)

    folder = empty(lab.run / "flat")
    for path in _published(lab).glob("*.deb"):
        os.link(path, folder / path.name)
    seconds = _median(ours, _QUICK_RUNS)
    ftparchive = _median(lambda: lab.shell("apt-ftparchive packages . > Packages", folder))
    scan = lab.shell("dpkg-scanpackages . | gzip -9 > Packages.gz", folder).seconds
    yield faster("metadata: indexes and tree", seconds, ("apt-ftparchive packages", ftparchive), 10)
    yield faster("metadata: indexes and tree", seconds, ("dpkg-scanpackages | gzip -9", scan), 20)


def _bundle_rows(lab: Lab) -> Iterator[Row]:
    """The bundle, verified again and flushed, against compressing the same folder and against copying it."""
    repository = _published(lab)
    target = lab.run / "out"
    above, name = repository.parent, repository.name

    def ours() -> Run:
        empty(target)
        path = lab.run / "whole/lock"
        return lab.repobuild("bundle", "--offline", "-o", str(target), house="whole", locked=path)

    def copied() -> Run:
        return lab.shell(f"cp -r {repository} copy && sync", empty(target))

    runs = [(ours().seconds, copied().seconds) for _ in range(_REPEATS)]
    seconds, copy = (statistics.median(column) for column in zip(*runs, strict=True))
    packed = lab.shell(f"tar -C {above} -cf - {name} | gzip -9 > pkg.tgz", empty(target)).seconds
    yield faster("bundle --offline, whole process", seconds, ("tar | gzip -9", packed), 8)
    yield times("bundle --offline, whole process", seconds, ("cp -r + sync", copy), 1.7)
    shutil.rmtree(target)
