"""Fixtures that several tests share."""

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tool() -> Callable[[str], str]:
    """Return the path of a program; without it a test is skipped, but in CI it fails: CI installs everything."""

    def find(name: str) -> str:
        found = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
        if found is None and os.environ.get("CI"):
            pytest.fail(f"{name} is not installed, and CI has to install it: scripts/setup")
        if found is None:
            pytest.skip(f"{name} is not installed")
        return found

    return find


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """Return an environment in which repobuild keeps everything in folders of the test session."""
    root = tmp_path_factory.mktemp("places")
    folders: dict[str, Path] = {
        "REPOBUILD_STORE": root / "store",
        "XDG_STATE_HOME": root / "state",
        "XDG_CONFIG_HOME": root / "config",
        "XDG_CACHE_HOME": root / "cache",
    }
    return {**os.environ, **{name: str(path) for name, path in folders.items()}}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep together, where tests run beside each other, what shares what was built once: a file, or the real archive."""
    for item in items:
        is_of_archive = "built" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("archive" if is_of_archive else item.path.stem))
