"""What goes wrong goes wrong as promised: a clear error, its exit code, and the repository as it was.

Everything is run as a user would, against a small archive on loopback that lies on demand.
"""

import os
import shutil
import subprocess
from collections.abc import Callable

import pytest
from archive_on_disk import Deb
from sites import SECOND, Site

pytestmark = pytest.mark.integration


def refused(site: Site, code: int, *said: str, words: tuple[str, ...] = ("--update",)) -> None:
    """Sync has to fail with `code`, say all of `said`, and leave what is served alone."""
    before = site.contents()

    result = site.sync(*words)

    assert result.returncode == code, result.stdout + result.stderr
    assert "error: " in result.stderr
    assert "Traceback" not in result.stderr
    for text in said:
        assert text in result.stderr, result.stderr
    assert before == site.contents()


def change(site: Site, old: str, new: str) -> None:
    text = site.manifest.read_text()
    assert old in text
    site.manifest.write_text(text.replace(old, new))


def test_an_unknown_key_is_named_with_line_and_remedy(site: Site) -> None:
    change(site, "repo_modules: test", "repo_modulez: test")

    refused(site, 2, "site.yml:3", "repo_modulez", "repo_modules", words=())


def test_all_errors_of_a_manifest_are_told_at_once(site: Site) -> None:
    change(site, "repo_modules: test", "repo_modulez: test")
    change(site, "releases: [12]", "releases: [99]")

    refused(site, 2, "repo_modulez", "99", words=())


def test_an_unknown_name_stops_before_any_download_and_names_what_is_near(site: Site) -> None:
    site.archive.publish(SECOND)
    change(site, "[app, tool]", "[app, tol, nonesuch]")
    shutil.rmtree(site.root / "store")

    refused(site, 4, "tol", "tool", "nonesuch", "--skip-missing")

    stored = [path for path in (site.root / "store").rglob("*") if path.is_file()]
    assert [] == [path for path in stored if path.read_bytes().startswith(b"!<arch>")]


def test_skip_missing_goes_on_and_records_what_is_missing(site: Site) -> None:
    change(site, "[app, tool]", "[app, tool, nonesuch]")

    result = site.sync("--skip-missing")

    assert result.returncode == 0, result.stderr
    assert "missing: nonesuch" in result.stderr
    assert "nonesuch" in (site.repository / "repobuild.lock").read_text()


def test_a_package_with_another_digest_is_refused(site: Site) -> None:
    site.archive.publish(SECOND)
    path = site.archive.folder / "lib_2.0_all.deb"
    path.write_bytes(path.read_bytes()[:-1] + b"x")

    refused(site, 3, "lib_2.0_all.deb", "sha256")


def test_an_index_with_another_digest_is_refused(site: Site) -> None:
    site.archive.publish(SECOND)
    for path in (site.archive.folder / "by-hash/SHA256").iterdir():
        path.write_bytes(path.read_bytes().replace(b"2.0", b"3.0"))

    refused(site, 3, "digest")


def test_a_tampered_root_is_refused(site: Site) -> None:
    site.archive.publish(SECOND)
    path = site.archive.folder / "InRelease"
    path.write_bytes(path.read_bytes().replace(b"Origin: test", b"Origin: tost"))

    refused(site, 3, "signature")


def test_an_unsigned_upstream_is_refused_and_can_be_allowed_by_name(site: Site) -> None:
    site.archive.publish(SECOND, signed=False)

    refused(site, 3, "not signed", "--allow-unverified test")

    allowed = site.sync("--update", "--allow-unverified", "test")
    assert allowed.returncode == 0, allowed.stderr
    assert "not verified, as allowed: test" in allowed.stderr
    assert "app_2.0_all.deb" in site.contents()


def test_a_signed_repository_is_not_published_unsigned_by_accident(site: Site) -> None:
    assert site.run("key", "new", "--name", "test").returncode == 0
    assert site.sync().returncode == 0
    assert "InRelease" in site.contents()
    (site.root / "config" / "repobuild" / "signing-key.asc").unlink()
    site.archive.publish(SECOND)

    refused(site, 2, "is signed", "--key")

    assert site.sync().returncode == 0  # unchanged, it needs no key


def test_a_check_and_a_plan_write_nothing(site: Site) -> None:
    locks = {path: path.read_bytes() for path in site.manifest.parent.rglob("*.lock")}
    site.archive.publish(SECOND)

    settled = site.sync("--check")
    pending = site.sync("--check", "--update")
    planned = site.run("plan", "d12.x86_64", "--update")

    assert [settled.returncode, pending.returncode, planned.returncode] == [0, 6, 0]
    assert locks == {path: path.read_bytes() for path in site.manifest.parent.rglob("*.lock")}


def test_a_replayed_older_upstream_is_refused_or_the_pinned_set_stays(site: Site) -> None:
    old = {path: path.read_bytes() for path in site.archive.folder.rglob("*") if path.is_file()}
    site.archive.publish(SECOND)
    assert site.sync("--update").returncode == 0
    before = site.contents()
    for path, data in old.items():
        path.write_bytes(data)

    result = site.sync("--update")

    assert result.returncode in {0, 3}
    assert "older than what was seen before" in result.stderr
    assert before == site.contents()


def test_an_unreachable_upstream_is_its_own_error(site: Site) -> None:
    change(site, site.url, "http://127.0.0.1:1")

    refused(site, 5, "127.0.0.1:1", "--skip-unavailable")


def test_a_pinned_file_that_is_gone_names_the_remedy(site: Site) -> None:
    site.archive.publish(SECOND)
    assert site.run("lock", "d12.x86_64", "--update").returncode == 0
    (site.archive.folder / "lib_2.0_all.deb").unlink()

    refused(site, 5, "lib_2.0_all.deb", "lock --update", words=())


def test_what_is_gone_is_left_out_for_the_next_best_where_that_is_allowed(site: Site) -> None:
    site.archive.publish([*SECOND, Deb("lib"), Deb("tool", "1.5")])
    (site.archive.folder / "tool_1.5_all.deb").unlink()

    result = site.sync("--update", "--skip-gone")

    assert result.returncode == 0, result.stderr
    assert "tool_1.5_all.deb" in result.stderr
    assert {"tool_1.0_all.deb", "app_2.0_all.deb"} <= set(site.contents())


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
@pytest.mark.parametrize(
    ("trouble", "said"),
    [("head -c 1m /dev/zero >filler", "no space left"), ("mount -o remount,ro .", "read-only")],
    ids=["full", "read-only"],
)
def test_a_full_or_read_only_disk_is_said_and_nothing_is_lost(site: Site, trouble: str, said: str) -> None:
    site.archive.publish([*SECOND, Deb("big", size=200_000)])
    change(site, "[app, tool]", "[app, tool, big]")
    before = site.contents()
    script = f"""
        set -e
        mount -t tmpfs -o size=1m tmpfs {site.root}/small
        cp -a {site.home}/. {site.root}/small/
        (cd {site.root}/small && {trouble}) || true
        mount --bind {site.root}/small {site.home}
        set +e
        {" ".join(site.command("sync", "d12.x86_64", "--update"))}
        code=$?
        cd {site.home}/{site.repository.relative_to(site.home)} && sha256sum -c --quiet repo_complete || exit 99
        exit $code
    """
    (site.root / "small").mkdir()

    result = subprocess.run(
        ["unshare", "-m", "sh", "-c", script],
        env=dict(site.environment), capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert result.returncode == 7, result.stdout + result.stderr
    assert said in result.stderr
    assert before == site.contents()


MUTATING = "write,pwrite64,rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,fsync,fchmod"
POINTS = {"sync": (3, 9, 27, 45, 60, 80, 100, 130, 160, 200), "bundle": (5, 20, 45, 60), "install": (5, 20, 45, 70)}


@pytest.mark.parametrize(("stage", "point"), [(stage, point) for stage, points in POINTS.items() for point in points])
def test_a_killed_run_leaves_old_or_new_and_a_plain_rerun_heals(
    site: Site, stage: str, point: int, tool: Callable[[str], str]
) -> None:
    """Kill at the n-th call that changes something (Python's own start-up, which only reads, is not counted)."""
    strace = tool("strace")
    out = site.root / "out"
    before = site.contents()
    site.archive.publish(SECOND)
    words = {
        "sync": ("sync", "d12.x86_64", "--update"),
        "bundle": ("bundle", "d12.x86_64", "--offline", "--out", str(out)),
        "install": ("install", str(out / "pigsty-pkg-v1.0.0.d12.x86_64.tgz"), "--allow-unsigned"),
    }
    if stage == "install":
        assert site.run(*words["bundle"]).returncode == 0
        assert site.run(*words["sync"]).returncode == 0
        before = site.contents()
        words["install"] += ("--allow-older",)
    wrapper = (
        strace, "-f", "-qq", "-o", str(site.root / "trace"), "-e", f"trace={MUTATING}",
        "-e", f"inject={MUTATING}:signal=SIGKILL:when={point}",
    )  # fmt: skip

    killed = site.run(*words[stage], wrapper=wrapper)
    between = site.contents()
    rerun = site.run(*words[stage])

    assert rerun.returncode == 0, rerun.stderr
    assert between in (before, site.contents())
    if killed.returncode == 0:
        assert between == site.contents()
    visible = [path for folder in (site.home, out, site.manifest.parent) for path in folder.rglob("*")]
    assert [] == [path for path in visible if path.name.endswith(".tmp")]
