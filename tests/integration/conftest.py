"""Fixtures of the tests that run the command line."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from archive_on_disk import ArchiveOnDisk, served
from sites import FIRST, Site


@pytest.fixture
def site(tmp_path: Path, tool: Callable[[str], str]) -> Iterator[Site]:
    tool("dpkg-deb")
    archive = ArchiveOnDisk(tmp_path / "archive")
    archive.publish(FIRST)
    with served(archive.folder) as url:
        site = Site(tmp_path, archive, url)
        done = site.sync()
        assert done.returncode == 0, done.stderr
        yield site
