"""What dnf chooses: a driver for /usr/bin/python3, which has dnf's own API. Jobs come on stdin, answers go to stdout.

    {"repositories": [{"id", "url", options …}], "arch", "releasever", "platform", "streams": ["postgresql:16"],
     "weak": true, "jobs": [["nginx"], ["postgresql-server", "php"], …]}

An answer is the list of `name|epoch|version|release|arch` to install, null where the job cannot be installed. A job
that is a text `hidden` is answered with every package that dnf has set aside.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import dnf
import dnf.exceptions
import hawkey


def opened(request: dict[str, Any], root: Path) -> dnf.Base:
    base = dnf.Base()
    conf = base.conf
    for name in ("cache", "persist", "log"):
        (root / name).mkdir()
    states = root / "etc/dnf/modules.d"
    states.mkdir(parents=True)
    for spec in request["streams"]:
        name, _, stream = spec.partition(":")
        (states / f"{name}.module").write_text(f"[{name}]\nname={name}\nstream={stream}\nprofiles=\nstate=enabled\n")
    conf.installroot = str(root)
    conf.cachedir, conf.persistdir, conf.logdir = (str(root / name) for name in ("cache", "persist", "log"))
    conf.reposdir = []
    conf.plugins = False
    conf.best = True
    conf.gpgcheck = False
    conf.install_weak_deps = request["weak"]
    conf.module_platform_id = request["platform"]
    conf.ignorearch = True
    conf.arch = request["arch"]
    conf.substitutions["releasever"] = request["releasever"]
    for repository in request["repositories"]:
        options = {key: ",".join(value) if isinstance(value, list) else value for key, value in repository.items()}
        url, name = options.pop("url"), options.pop("id")
        base.repos.add_new_repo(name, conf, baseurl=[url], **options)
    base.fill_sack(load_system_repo=False)
    base.read_comps(arch_filter=True)
    return base


def answer(base: dnf.Base, job: list[str]) -> list[str] | None:
    if base.transaction is not None or base._goal.req_length():
        base.reset(goal=True)
    names = [each for each in job if not each.startswith("@")]
    groups = [each for each in job if each.startswith("@")]
    try:
        for each in names:
            base.install(each)
        if groups:
            base.install_specs(groups)
        base.resolve()
    except dnf.exceptions.Error:
        return None
    return sorted("|".join((p.name, str(p.epoch), p.version, p.release, p.arch)) for p in base.transaction.install_set)


def hidden(base: dnf.Base) -> list[str]:
    everything = base.sack.query(flags=hawkey.IGNORE_EXCLUDES)
    return sorted({str(each) for each in everything.difference(base.sack.query())})


def main() -> None:
    request = json.load(sys.stdin)
    with tempfile.TemporaryDirectory(prefix="dnf-oracle-") as folder:
        base = opened(request, Path(folder))
        for job in request["jobs"]:
            print(json.dumps(hidden(base) if job == "hidden" else judged(base, request, job)), flush=True)
        base.close()


def judged(base: dnf.Base, request: dict[str, Any], job: list[str]) -> list[str] | None:
    """Answer a job. One with modules or groups gets a base of its own: to reset one loses the default streams."""
    if not any(each.startswith("@") for each in job):
        return answer(base, job)
    with tempfile.TemporaryDirectory(prefix="dnf-oracle-") as folder:
        fresh = opened(request, Path(folder))
        try:
            return answer(fresh, job)
        finally:
            fresh.close()


if __name__ == "__main__":
    main()
