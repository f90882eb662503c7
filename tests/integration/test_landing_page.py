"""The page that people see first, of a home with a repository in it."""

import re

import pytest
from sites import Runner, Site

pytestmark = pytest.mark.integration


def test_the_page_lists_what_is_published_and_how_to_use_it(site: Site) -> None:
    with site.manifest.open("a") as manifest:
        manifest.write("infra_portal: { home: { domain: h.pigsty }, docs: { domain: d.pigsty, path: /www/docs } }\n")

    shown = site.run("nginx", "--page")

    assert shown.returncode == 0, shown.stderr
    path = f"/{site.repository.relative_to(site.home)}/"
    assert f'<a href="{path}">{path}</a>' in shown.stdout
    count = len(list(site.repository.glob("*.deb")))
    assert f"{count} packages, " in shown.stdout
    assert "for <strong>d12.x86_64</strong>" in shown.stdout
    assert '<a href="http://d.pigsty/">docs</a>' in shown.stdout
    assert "a web server serves" not in shown.stdout
    commands = re.findall(r"<code>(.*?)</code>", shown.stdout)
    assert any(each.startswith("curl -L http://") and each.endswith("apt-get update") for each in commands)
    assert shown.stdout == site.run("nginx", "--page").stdout


def test_a_second_repository_is_on_the_page_and_leaves_the_file_of_pigstys_nodes_alone(site: Site) -> None:
    second = site.manifest.with_name("second.yml")
    second.write_text(f"repo_name: second\n{site.manifest.read_text()}")
    node = site.repository.parent / "local.list"
    before = node.read_bytes()

    done = Runner(site.root, second).run("sync", "d12.x86_64")

    assert done.returncode == 0, done.stderr
    assert (site.repository.parent / "second.list").exists()
    assert node.read_bytes() == before
    assert "/second/</a>" in site.run("nginx", "--page").stdout


def test_a_portal_leaves_the_lock_as_it_was(site: Site) -> None:
    with site.manifest.open("a") as manifest:
        manifest.write("infra_portal: { home: { domain: h.pigsty } }\nnginx_users: { a: b }\ndns_records: ['::1 a']\n")

    assert site.sync("--locked").returncode == 0
