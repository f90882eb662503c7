"""What the build machine says of itself, as files below a root of the test's own."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from repobuild.host import apt_mirrors, apt_settings, host_target
from repobuild.model import Mirror
from repobuild.progress import Silent
from repobuild.targets import from_os_release

DEB822 = """\
# The first paragraph names two places and carries its key with it.
Types: deb deb-src
URIs: http://mirror.example/debian/
 https://second.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 URIs: http://inside-the-key.example/debian
 =abcd
 -----END PGP PUBLIC KEY BLOCK-----

Types: deb
URIs: http://switched-off.example/debian
Suites: bookworm
Components: main
Enabled: no

Types: deb-src
URIs: http://sources-only.example/debian
Suites: bookworm
Components: main

types: deb
uris: http://mirror.example/debian-security
# a comment amid fields
suites: bookworm-security
components: main
"""

ONE_LINE = """\
# deb http://commented.example/debian bookworm main
deb http://mirror.example/debian bookworm main # trailing words
deb [arch=amd64 signed-by=/usr/share/keyrings/k.gpg] https://vendor.example/apt/ stable main
deb-src http://sources-only.example/debian bookworm main
deb cdrom:[Debian GNU/Linux 12 _Bookworm_ - Official amd64 DVD]/ bookworm main
deb mirror+http://list.example/mirrors.txt bookworm main
deb http://someone:secret@private.example/debian bookworm main
deb copy:/media/copy/debian bookworm main
deb file:///media/disk/ ./
deb http://[broken bookworm main
deb http://variable.example/$(ARCH)/ ./
deb ftp://old.example/debian bookworm main
deb
nonsense
"""


class Notes(Silent):
    """Keeps what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def note(self, text: str) -> None:
        self.heard.append(text)


@pytest.fixture
def put(tmp_path: Path) -> Callable[[str, str], None]:
    def write(name: str, text: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    return write


def no_settings() -> str:
    return ""


def urls(mirrors: tuple[Mirror, ...]) -> list[str]:
    return [mirror.url for mirror in mirrors]


def test_the_host_is_known_by_its_os_release(tmp_path: Path, put: Callable[[str, str], None]) -> None:
    put("usr/lib/os-release", 'NAME="Debian"\nbroken line\nID=debian\nVERSION_ID=\'12\'\nPRETTY_NAME="unbalanced\n')

    expected = from_os_release({"ID": "debian", "VERSION_ID": "12"}, os.uname().machine)
    assert expected == host_target(tmp_path)


def test_a_host_without_os_release_has_no_target(tmp_path: Path) -> None:
    assert host_target(tmp_path) is None


def test_deb822_sources_give_each_enabled_base_url_once(tmp_path: Path, put: Callable[[str, str], None]) -> None:
    put("etc/apt/sources.list.d/debian.sources", DEB822)

    mirrors = apt_mirrors(tmp_path, settings=no_settings)

    expected = [
        "http://mirror.example/debian",
        "https://second.example/debian",
        "http://mirror.example/debian-security",
    ]
    assert expected == urls(mirrors)


def test_one_line_sources_give_what_can_be_fetched_and_note_the_rest(
    tmp_path: Path, put: Callable[[str, str], None]
) -> None:
    put("etc/apt/sources.list", ONE_LINE)
    notes = Notes()

    mirrors = apt_mirrors(tmp_path, settings=no_settings, progress=notes)

    expected = [
        "http://mirror.example/debian",
        "https://vendor.example/apt",
        "file:///media/copy/debian",
        "file:///media/disk",
    ]
    assert expected == urls(mirrors)
    assert len(notes.heard) == 6
    assert "secret" not in "".join(notes.heard)


def test_the_single_file_comes_first_then_the_folder_by_name(tmp_path: Path, put: Callable[[str, str], None]) -> None:
    put("etc/apt/sources.list.d/b.list", "deb http://b.example/debian x main")
    put("etc/apt/sources.list.d/a.sources", "Types: deb\nURIs: http://a.example/debian\nSuites: x\nComponents: main\n")
    put("etc/apt/sources.list.d/a.list.disabled", "deb http://disabled.example/debian x main")
    put("etc/apt/sources.list", "deb http://z.example/debian x main\ndeb http://a.example/debian/ y main")

    mirrors = apt_mirrors(tmp_path, settings=no_settings)

    assert urls(mirrors) == ["http://z.example/debian", "http://a.example/debian", "http://b.example/debian"]


def test_sources_are_looked_for_where_apt_is_told_to(tmp_path: Path, put: Callable[[str, str], None]) -> None:
    put("srv/own/list", "deb http://own.example/debian x main")
    put("etc/apt/sources.list.d/a.list", "deb http://usual.example/debian x main")
    settings = 'Dir "/";\nDir::Etc "srv/own/";\nDir::Etc::sourcelist "list";\nDir::Etc::sourceparts "/dev/null";\n'

    assert urls(apt_mirrors(tmp_path, settings=lambda: settings)) == ["http://own.example/debian"]


@pytest.mark.parametrize(
    ("settings", "url", "proxy"),
    [
        ("", "http://a.example/debian", None),
        ('Acquire::http::Proxy "http://proxy.example:3128/";', "http://a.example/debian", "http://proxy.example:3128"),
        ('Acquire::http::Proxy "http://p.example:1";', "https://a.example/debian", "http://p.example:1"),
        (
            'Acquire::http::Proxy "http://p.example:1";\nAcquire::https::Proxy "DIRECT";',
            "https://a.example/debian",
            "",
        ),
        (
            'Acquire::http::Proxy "http://p.example:1";\nAcquire::http::Proxy::a.example "DIRECT";',
            "http://a.example:8080/debian",
            "",
        ),
        (
            'Acquire::http::Proxy "http://p.example:1";\nAcquire::http::Proxy::b.example "DIRECT";',
            "http://a.example/debian",
            "http://p.example:1",
        ),
        ('Acquire::http::Proxy "false";', "http://a.example/debian", ""),
        ('Acquire::http::Proxy "what is this";', "http://a.example/debian", None),
        ('Acquire::http::Proxy "http://p.example:1";', "file:/srv/debian", ""),
        ('garbage\n\x00"";;\nAcquire::http::Proxy', "http://a.example/debian", None),
    ],
)
def test_apts_proxy_for_a_mirror_is_honoured(
    tmp_path: Path, put: Callable[[str, str], None], settings: str, url: str, proxy: str | None
) -> None:
    put("etc/apt/sources.list", f"deb {url} bookworm main")

    (mirror,) = apt_mirrors(tmp_path, settings=lambda: settings)

    assert proxy == mirror.proxy


def test_a_mirror_behind_a_proxy_with_credentials_is_left_out_silent_about_them(
    tmp_path: Path, put: Callable[[str, str], None]
) -> None:
    put("etc/apt/sources.list", "deb http://a.example/debian bookworm main")
    notes = Notes()

    mirrors = apt_mirrors(
        tmp_path, settings=lambda: 'Acquire::http::Proxy "http://u:secret@p.example:1";', progress=notes
    )

    assert mirrors == ()
    assert len(notes.heard) == 1
    assert "secret" not in notes.heard[0]


def test_a_machine_without_apt_has_no_mirrors(tmp_path: Path) -> None:
    assert apt_mirrors(tmp_path, settings=no_settings) == ()


def test_files_that_are_too_large_or_no_text_are_never_fatal(tmp_path: Path, put: Callable[[str, str], None]) -> None:
    put("etc/apt/sources.list", "deb http://a.example/debian x main\n" * 40_000)
    put("etc/apt/sources.list.d/good.list", "deb http://good.example/debian x main")
    (tmp_path / "etc/apt/sources.list.d/binary.sources").write_bytes(bytes(range(256)) * 10)
    (tmp_path / "etc/apt/sources.list.d/folder.list").mkdir()
    notes = Notes()

    mirrors = apt_mirrors(tmp_path, settings=no_settings, progress=notes)

    assert urls(mirrors) == ["http://good.example/debian"]
    assert any("sources.list" in text for text in notes.heard)


def test_the_number_of_mirrors_is_bounded(tmp_path: Path, put: Callable[[str, str], None]) -> None:
    put("etc/apt/sources.list", "".join(f"deb http://m{number}.example/debian x main\n" for number in range(1000)))

    assert len(apt_mirrors(tmp_path, settings=no_settings)) == 50


def test_apts_settings_are_read_where_there_is_an_apt() -> None:
    assert bool(shutil.which("apt-config")) == ("Dir::Etc" in apt_settings())
