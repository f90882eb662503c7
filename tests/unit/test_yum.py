"""What a machine of Enterprise Linux says of its repositories, and which upstreams they are taken for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from repobuild.catalog.mirrors import expand
from repobuild.host import yum_repositories
from repobuild.manifest import load
from repobuild.manifest.matching import identity_of
from repobuild.model import HostRepository, ListKind, Mirror, MirrorList, Upstream
from repobuild.progress import Silent
from repobuild.targets import parse_target

EL9 = parse_target("el9.x86_64")
EL10_ARM = parse_target("el10.aarch64")
D12 = parse_target("d12.x86_64")

ROCKY = """\
# A comment of the file, then a repository whose baseurl is commented out as it comes with the system.
[baseos]
name=Rocky Linux $releasever - BaseOS
mirrorlist=https://mirrors.rocky.example/mirrorlist?arch=$basearch&repo=BaseOS-$releasever$rltype
#baseurl=http://dl.rocky.example/$contentdir/$releasever/BaseOS/$basearch/os/
gpgcheck=1
enabled=1
countme=1
gpgkey=file:///etc/pki/rpm-gpg/RPM-GPG-KEY-Rocky-9

[appstream]
name=Rocky Linux $releasever - AppStream
#mirrorlist=https://mirrors.rocky.example/mirrorlist?arch=$basearch&repo=AppStream-$releasever$rltype
baseurl=http://mirror.example/$contentdir/$releasever/AppStream/$basearch/os/
        https://second.example/rockylinux/$releasever/AppStream/$basearch/os/
gpgcheck=1

[crb]
name = Rocky Linux $releasever - CRB
baseurl = http://mirror.example/pub/rocky/$releasever/CRB/$basearch/os/
enabled = 0
"""
ALMA = """\
[baseos]
name=AlmaLinux $releasever - BaseOS
mirrorlist=https://mirrors.alma.example/mirrorlist/$releasever/baseos
# baseurl=https://repo.alma.example/almalinux/$releasever/BaseOS/$basearch/os/
[appstream]
baseurl=https://repo.alma.example/almalinux/$releasever/AppStream/$basearch/os/
"""
EPEL = """\
[epel]
name=Extra Packages for Enterprise Linux $releasever - $basearch
# It is much more secure to use the metalink, but if you wish to use a local mirror
#baseurl=https://download.example/pub/epel/$releasever/Everything/$basearch/
metalink=https://mirrors.fedora.example/metalink?repo=epel-$releasever&arch=$basearch&infra=$infra&content=$contentdir
enabled=1
gpgcheck=1

[epel-testing]
metalink=https://mirrors.fedora.example/metalink?repo=testing-epel$releasever&arch=$basearch
enabled=0
"""
PGDG = """\
[pgdg-common]
name=PostgreSQL common RPMs for RHEL / Rocky / AlmaLinux $releasever - $basearch
baseurl=https://mirror.example/postgresql/repos/yum/common/redhat/rhel-$releasever-$basearch
enabled=1
repo_gpgcheck = 1

[pgdg17]
baseurl=https://mirror.example/postgresql/repos/yum/17/redhat/rhel-$releasever-$basearch
enabled=1
[pgdg17-updates-testing]
baseurl=https://mirror.example/postgresql/repos/yum/testing/17/redhat/rhel-${releasever}-${basearch}
enabled=1
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


@pytest.fixture
def rocky(tmp_path: Path, put: Callable[[str, str], None]) -> Path:
    put("etc/dnf/dnf.conf", "[main]\ngpgcheck=1\ninstallonly_limit=3\nbest=True\n")
    put("etc/dnf/vars/contentdir", "pub/rocky\n")
    put("etc/dnf/vars/rltype", "\n")
    put("etc/dnf/vars/infra", "stock\n")
    put("etc/yum.repos.d/rocky.repo", ROCKY)
    put("etc/yum.repos.d/epel.repo", EPEL)
    put("etc/yum.repos.d/pgdg-redhat-all.repo", PGDG)
    put("etc/yum.repos.d/old.repo.rpmsave", "[old]\nbaseurl=http://old.example/a/b/c\n")
    return tmp_path


def by_name(root: Path, notes: Notes | None = None) -> dict[str, HostRepository]:
    return {each.name: each for each in yum_repositories(root, progress=notes or Notes())}


# --- reading ----------------------------------------------------------------------------------------------------------


def test_enabled_repositories_are_read_with_release_and_architecture_left_open(rocky: Path) -> None:
    found = by_name(rocky)

    assert ["epel", "pgdg-common", "pgdg17", "pgdg17-updates-testing", "baseos", "appstream"] == list(found)
    assert (
        "http://mirror.example/pub/rocky/${releasever}/AppStream/${basearch}/os",
        "https://second.example/rockylinux/${releasever}/AppStream/${basearch}/os",
    ) == found["appstream"].urls
    assert found["baseos"].urls == ()
    assert (
        (ListKind.PLAIN, "https://mirrors.rocky.example/mirrorlist?arch=${basearch}&repo=BaseOS-${releasever}"),
    ) == found["baseos"].lists
    ((kind, url),) = found["epel"].lists
    assert kind is ListKind.METALINK
    assert "repo=epel-${releasever}&arch=${basearch}&infra=stock&content=pub/rocky" in url


def test_the_folders_that_the_settings_name_are_read_instead(rocky: Path, put: Callable[[str, str], None]) -> None:
    put("etc/dnf/dnf.conf", "[main]\nreposdir=/srv/repos, /srv/more\n\n[inline]\nbaseurl=http://i.example/a/b/c\n")
    put("srv/repos/a.repo", "[a]\nbaseurl=http://a.example/a/b/c,http://b.example/a/b/c\n")
    put("srv/more/b.repo", "[a]\nbaseurl=http://other.example/a/b/c\n[b]\nbaseurl=file:///srv/b/c/d\n")

    found = by_name(rocky)

    assert ["inline", "a", "b"] == list(found)
    assert ("http://a.example/a/b/c", "http://b.example/a/b/c") == found["a"].urls


def test_yums_own_settings_count_where_there_is_no_dnf(tmp_path: Path, put: Callable[[str, str], None]) -> None:
    put("etc/yum.conf", "[main]\nproxy=http://p.example:3128/\n")
    put("etc/yum/vars/site", "berlin")
    put(
        "etc/yum.repos.d/a.repo",
        "[a]\nbaseurl=http://$site.example/a/b/c\n[b]\nbaseurl=http://b.example/a/b/c\nproxy=_none_\n",
    )

    found = by_name(tmp_path)

    assert ("http://berlin.example/a/b/c", "http://p.example:3128") == (found["a"].urls[0], found["a"].proxy)
    assert found["b"].proxy == ""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("baseurl=https://u:hunter2@a.example/a/b/c", "needs credentials"),
        ("baseurl=https://a.example/a/b/c\nusername=u\npassword=hunter2", "needs credentials"),
        ("baseurl=https://a.example/a/b/c\nproxy=http://u:hunter2@p.example:1", "proxy needs credentials"),
        ("baseurl=https://a.example/a/b/c\nproxy=http://p.example:1\nproxy_password=hunter2", "needs credentials"),
        ("baseurl=https://a.example/a/b/c\nsslclientcert=/etc/pki/entitlement/1.pem", "needs credentials"),
        ("baseurl=https://a.example/a/b/c\nsslcacert=/etc/rhsm/ca/redhat-uep.pem", "an authority of its own"),
        ("baseurl=https://a.example/a/b/c\nproxy=gopher://p.example", "proxy is of a kind"),
        ("baseurl=ftp://a.example/a/b/c", "names no URL that is fetched"),
        ("baseurl=https://a.example/$unknown/b/c", "names no URL that is fetched"),
        ("baseurl=https://[broken/a/b/c", "names no URL that is fetched"),
        ("name=only a name", "names no URL that is fetched"),
    ],
)
def test_what_cannot_be_used_is_skipped_with_a_note_that_repeats_no_secret(
    tmp_path: Path, put: Callable[[str, str], None], options: str, words: str
) -> None:
    put("etc/yum.repos.d/a.repo", f"[bad]\n{options}\n[good]\nbaseurl=https://g.example/a/b/c\n")
    notes = Notes()

    assert ["good"] == list(by_name(tmp_path, notes))

    (note,) = notes.heard
    assert "the repository bad" in note
    assert words in note
    assert "hunter2" not in note


@pytest.mark.parametrize("value", ["0", "no", "False", "off"])
def test_a_repository_that_is_switched_off_is_none(tmp_path: Path, put: Callable[[str, str], None], value: str) -> None:
    put("etc/yum.repos.d/a.repo", f"[a]\nbaseurl=http://u:p@a.example/a/b/c\nenabled = {value}\n")
    notes = Notes()

    assert {} == by_name(tmp_path, notes)
    assert [] == notes.heard


def test_files_that_are_hostile_are_never_fatal_and_bounded(tmp_path: Path, put: Callable[[str, str], None]) -> None:
    folder = tmp_path / "etc/yum.repos.d"
    put("etc/yum.repos.d/huge.repo", "[huge]\nbaseurl=http://h.example/a/b/c\n" + "#" * (1 << 20))
    put("etc/yum.repos.d/many.repo", "".join(f"[m{n}]\nbaseurl=http://m.example/a/b/c\n" for n in range(1000)))
    put("etc/yum.repos.d/a.repo", "  goes on\n = \n]\n[\n[[x]]\n[a]\n  goes on\nbaseurl\n=\nbaseurl=" + "x" * 9999)
    (folder / "binary.repo").write_bytes(bytes(range(256)) * 20)
    (folder / "folder.repo").mkdir()
    (folder / "loop.repo").symlink_to("loop.repo")
    put("etc/dnf/vars/loop", "$loop")

    found = yum_repositories(tmp_path)

    assert len(found) == 200
    assert {("http://m.example/a/b/c",)} == {each.urls for each in found}


def test_a_machine_without_yum_has_no_repositories(tmp_path: Path) -> None:
    assert yum_repositories(tmp_path) == ()


# --- which upstream a repository is ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("https://dl.example/pub/rocky/9/BaseOS/x86_64/os", "http://m.example/rockylinux/9/BaseOS/x86_64/os/", True),
        ("https://dl.example/pub/rocky/9/BaseOS/x86_64/os", "http://m.example/rocky/9/AppStream/x86_64/os", False),
        ("https://dl.example/pub/rocky/9/BaseOS/x86_64/os", "http://m.example/rocky/8/BaseOS/x86_64/os", False),
        ("https://dl.example/pub/rocky/9/BaseOS/x86_64/os", "http://m.example/rocky/9/BaseOS/aarch64/os", False),
        ("https://dl.example/pub/rocky/9/BaseOS/x86_64/os", "http://m.example/almalinux/9/BaseOS/x86_64/os", False),
        ("https://m.example/fedora-epel/9/Everything/x86_64", "https://d.example/pub/epel/9/Everything/x86_64", True),
        ("https://m.example/epel/9/Everything/x86_64", "https://m.example/epel/testing/9/Everything/x86_64", False),
        ("https://m.example/epel/9/Everything/x86_64", "https://m.example/epel/next/9/Everything/x86_64", False),
        (
            "https://d.example/pub/repos/yum/17/redhat/rhel-9-x86_64",
            "https://m.example/postgresql/repos/yum/17/redhat/rhel-9-x86_64",
            True,
        ),
        (
            "https://d.example/pub/repos/yum/17/redhat/rhel-9-x86_64",
            "https://d.example/pub/repos/yum/16/redhat/rhel-9-x86_64",
            False,
        ),
        (
            "https://d.example/pub/repos/yum/17/redhat/rhel-9-x86_64",
            "https://d.example/pub/repos/yum/testing/17/redhat/rhel-9-x86_64",
            False,
        ),
        (
            "https://s.example/9-stream/BaseOS/x86_64/os",
            "https://m.example/centos-stream/9-stream/BaseOS/x86_64/os",
            True,
        ),
        ("https://n.example/packages/rhel/9/x86_64", "https://m.example/packages/rhel/9/x86_64", True),
        ("https://n.example/packages/rhel/9/x86_64", "https://n.example/packages/mainline/rhel/9/x86_64", False),
        ("https://n.example/9/x86_64", "https://m.example/9/x86_64", False),
        ("https://n.example", "https://m.example", False),
    ],
)
def test_a_repository_is_told_by_its_path_from_the_distributors_name_on(one: str, other: str, is_same: bool) -> None:
    assert is_same == (identity_of(one) is not None and identity_of(one) == identity_of(other.rstrip("/")))


MANIFEST = """\
repo_upstream:
  - { name: baseos, module: node, releases: [9, 10], verify: none, baseurl: { default: 'https://dl.example/pub/rocky/$releasever/BaseOS/$basearch/os' } }
  - { name: appstream, module: node, releases: [9, 10], verify: none, baseurl: { default: 'https://dl.example/pub/rocky/$releasever/AppStream/$basearch/os', china: 'https://c.example/rocky/$releasever/AppStream/$basearch/os' } }
  - { name: epel, module: node, releases: [9, 10], verify: none, baseurl: { default: 'https://d.example/pub/epel/$releasever/Everything/$basearch' } }
  - { name: pgdg17, module: pgsql, releases: [9, 10], verify: none, minor: true, baseurl: { default: 'https://d.example/pub/repos/yum/17/redhat/rhel-$releasever-$basearch' } }
"""


def mirrors(root: Path, region: str, target: str = "el9.x86_64") -> dict[str, list[str]]:
    job = load(root / "m.yml", text=MANIFEST.encode()).job(
        parse_target(target), region=region, host_mirrors=yum_repositories(root)
    )
    return {each.name: [mirror.url for mirror in each.mirrors] for each in job.upstreams}


def test_the_hosts_repositories_come_before_the_manifests_for_the_targets_own_release(rocky: Path) -> None:
    found = mirrors(rocky, "auto")

    assert found["appstream"] == [
        "http://mirror.example/pub/rocky/9/AppStream/x86_64/os",
        "https://second.example/rockylinux/9/AppStream/x86_64/os",
        "https://dl.example/pub/rocky/9/AppStream/x86_64/os",
    ]
    assert ["https://dl.example/pub/rocky/9/BaseOS/x86_64/os"] == found["baseos"]
    assert found["pgdg17"][0].startswith("https://mirror.example/postgresql/repos/yum/17/redhat/rhel-9.")
    assert len(found["pgdg17"]) == 2

    foreign = mirrors(rocky, "auto", "el10.aarch64")
    assert foreign["appstream"][0] == "http://mirror.example/pub/rocky/10/AppStream/aarch64/os"


def test_another_region_knows_nothing_of_the_host(rocky: Path) -> None:
    assert ["https://c.example/rocky/9/AppStream/x86_64/os"] == mirrors(rocky, "china")["appstream"]


def test_region_host_takes_the_hosts_lists_too_and_nothing_else(rocky: Path, put: Callable[[str, str], None]) -> None:
    put("etc/dnf/dnf.conf", "[main]\nproxy=http://p.example:3128\n")
    job = load(rocky / "m.yml", text=MANIFEST.encode()).job(EL9, region="host", host_mirrors=yum_repositories(rocky))
    found = {each.name: each for each in job.upstreams}

    url = "https://mirrors.rocky.example/mirrorlist?arch=x86_64&repo=BaseOS-9"
    assert (MirrorList(ListKind.PLAIN, url, "http://p.example:3128"),) == found["baseos"].mirror_lists
    assert found["baseos"].mirrors == ()
    assert "repo=epel-9&arch=x86_64" in found["epel"].mirror_lists[0].url
    assert ["mirror.example", "second.example"] == [each.url.split("/")[2] for each in found["appstream"].mirrors]
    assert {"http://p.example:3128"} == {each.proxy for each in found["appstream"].mirrors}


def test_the_list_of_another_distributor_or_architecture_is_not_taken(
    tmp_path: Path, put: Callable[[str, str], None]
) -> None:
    put("etc/yum.repos.d/alma.repo", ALMA)
    put("etc/yum.repos.d/epel.repo", "[epel]\nmetalink=https://l.example/metalink?repo=epel-9&arch=aarch64\n")
    manifest = load(tmp_path / "m.yml", text=MANIFEST.encode())

    job = manifest.job(EL9, region="host", host_mirrors=yum_repositories(tmp_path))

    assert {((), ())} == {(each.mirrors, each.mirror_lists) for each in job.upstreams}
    assert ["https://dl.example/pub/rocky/9/AppStream/x86_64/os"] == mirrors(tmp_path, "auto")["appstream"]


def test_repositories_of_rpm_are_no_mirrors_of_debian(rocky: Path) -> None:
    text = (
        "repo_upstream:\n  - { name: base, module: node, releases: [12], verify: none, origin: Debian,"
        " baseurl: { default: 'http://d.example/pub/rocky/9/AppStream/x86_64/os bookworm main' } }\n"
    )
    manifest = load(rocky / "m.yml", text=text.encode())

    (upstream,) = manifest.job(D12, host_mirrors=yum_repositories(rocky)).upstreams

    assert (Mirror("http://d.example/pub/rocky/9/AppStream/x86_64/os"),) == upstream.mirrors
    (upstream,) = manifest.job(D12, region="host", host_mirrors=yum_repositories(rocky)).upstreams
    assert () == upstream.mirrors


def test_mirrors_of_apt_are_no_repositories_of_rpm(rocky: Path) -> None:
    manifest = load(rocky / "m.yml", text=MANIFEST.encode())

    jobs = [
        manifest.job(EL10_ARM, host_mirrors=each) for each in ((), (Mirror("http://h.example/debian", "http://p"),))
    ]

    assert jobs[0] == jobs[1]


def test_the_host_does_not_move_the_digest(rocky: Path) -> None:
    manifest = load(rocky / "m.yml", text=MANIFEST.encode())

    assert manifest.job(EL9).digest == manifest.job(EL9, host_mirrors=yum_repositories(rocky)).digest


def test_the_mirrors_of_a_list_are_reached_through_the_lists_own_proxy() -> None:
    asked = []

    def get(mirror: Mirror, path: str, limit: int) -> bytes:
        asked.append((mirror, path))
        return b"https://m.example/rocky/9\n"

    lists = (MirrorList(ListKind.PLAIN, "https://l.example/mirrorlist?repo=x", "http://p.example:1"),)

    listed = expand(Upstream(name="u", module="m", mirrors=(), mirror_lists=lists), get)

    assert [(Mirror("https://l.example", "http://p.example:1"), "mirrorlist?repo=x")] == asked
    assert (Mirror("https://m.example/rocky/9", "http://p.example:1"),) == listed.mirrors
