"""The files by which yum and dnf find our repository: `.repo`, over http and from disk (dnf.conf(5)).

An unsigned repository gets exactly Pigsty's three files (pigsty.md, 3.4). Of a signed one the client verifies
repomd.xml, which pins every package by digest; so it has the packages' own signatures verified as well only where the
caller says that every package has one.
"""

from collections.abc import Sequence

from repobuild.checked import check_base_url, check_name, check_path
from repobuild.formats.protocol import NODE_MODULE, ClientFacts
from repobuild.signing import fits_rpm

_MODULAR = 8
"""The first Enterprise Linux whose clients know modules, and are told not to hide our packages behind them."""


def client_files(facts: ClientFacts, *, package_keys: Sequence[str] = ()) -> dict[str, bytes]:
    """Return file name -> content of the three client files; a machine needs one of them.

    `<name>.repo`, the one that Pigsty up to v2.7 serves, and `local.repo`, the one that it renders on its nodes, read
    over http, `<name>-local.repo` from disk.

    Args:
        facts: about the repository. Where it is signed, our armoured public key lies in it as `<name>.asc`.
        package_keys: names of files in the repository with the armoured keys that signed the packages, only when every
            package is signed by one of them; empty to leave the packages' own signatures alone.

    Raises:
        UsageError: when a value is not of its type; nothing that could end a line or start a variable gets through.
    """
    name = check_name(facts.name, "repository name")
    url = check_base_url(facts.url, "repository URL")
    stated = check_base_url(facts.stated_url or url, "repository URL")
    folder = check_path(facts.folder, "repository folder")
    keys = [check_name(key, "name of a key file") for key in package_keys]
    hotfixes = "module_hotfixes=1\n" if facts.target.major >= _MODULAR else ""
    over_http = (
        f"[{name}]\nname=Pigsty Local Yum Repo {name}\nbaseurl={stated}\n"
        f"skip_if_unavailable = 1\nenabled = 1\npriority = 1\n"
        f"gpgcheck = {int(bool(keys))}\n{_trust(facts, stated, keys, ' = ')}{hotfixes}"
    )
    from_disk = (
        f"[{name}-local]\nname={name}-local $releasever - $basearch\nbaseurl=file://{folder}/\nenabled=1\n"
        f"gpgcheck={int(bool(keys))}\n{_trust(facts, f'file://{folder}', keys, '=')}{hotfixes}"
    )
    on_nodes = (
        f"{facts.node_header}[{name}-local]\nname = Pigsty Local $releasever - $basearch\nbaseurl = {url}\n"
        f"gpgcheck = {int(bool(keys))}\nenabled = 1\n{_trust(facts, url, keys, ' = ')}{_node_options(facts)}"
    )
    return {
        f"{name}.repo": over_http.encode(),
        f"{name}-local.repo": from_disk.encode(),
        f"{NODE_MODULE}.repo": on_nodes.encode(),
    }


def _node_options(facts: ClientFacts) -> str:
    """Return the last lines of the node form, as each generation of Pigsty renders them."""
    is_modular = facts.target.major >= _MODULAR
    if facts.generation == "v3":
        return "module_hotfixes=1\n" if is_modular else ""
    return "skip_if_unavailable = 1\npriority = 1\n" + ("module_hotfixes = 1\n" if is_modular else "")


def _trust(facts: ClientFacts, place: str, package_keys: Sequence[str], equals: str) -> str:
    """Return the lines that bind the repository to our key, or an unsigned one's packages to theirs.

    Where the packages' own signatures are verified too, dnf hands rpm all the keys that are listed. So in a repository
    signed by a key that not every rpm takes, the packages' keys are not listed but imported (`usage`).
    """
    ours = [f"{facts.name}.asc"] if facts.is_signed else []
    keys = [*ours, *package_keys] if _lists_package_keys(facts) else ours
    check = f"repo_gpgcheck{equals}1\n" if facts.is_signed else ""
    return f"{check}gpgkey{equals}{' '.join(f'{place}/{key}' for key in keys)}\n" if keys else ""


def usage(facts: ClientFacts, *, package_keys: Sequence[str] = ()) -> dict[str, str]:
    """Return what to type on a machine to use a repository of ours; of a signed one it will ask about the key.

    Args:
        facts: about the repository.
        package_keys: as for `client_files`.
    """
    above, _, name = facts.folder.rpartition("/")
    tool = "dnf" if facts.target.major >= _MODULAR else "yum"
    keys = " ".join(f"{facts.folder}/{key}" for key in package_keys)
    trust = {"trust the packages": f"rpm --import {keys}"} if keys and not _lists_package_keys(facts) else {}
    return {
        **trust,
        "use it here": f"cp {above}/{name}-local.repo /etc/yum.repos.d/ && {tool} makecache",
        "elsewhere": f"curl -L {facts.url.rpartition('/')[0]}/{name}.repo -o /etc/yum.repos.d/{name}.repo,"
        f" once a web server serves {above} (repobuild nginx, repobuild client)",
    }


def node_usage(facts: ClientFacts) -> dict[str, str]:
    """Return what to type on another machine to use a signed repository over http; it will ask about the key."""
    above, _, _ = facts.url.rpartition("/")
    file = f"/etc/yum.repos.d/{facts.name}.repo"
    tool = "dnf" if facts.target.major >= _MODULAR else "yum"
    keys = " ".join(f"{facts.url}/{key}" for key in facts.package_keys)
    trust = {"trust the packages": f"rpm --import {keys}"} if keys and not _lists_package_keys(facts) else {}
    return {**trust, "use it": f"curl -fsSL {above}/{facts.name}.repo -o {file} && {tool} makecache"}


def _lists_package_keys(facts: ClientFacts) -> bool:
    """Whether `gpgkey` may name the packages' keys beside ours."""
    return not facts.is_signed or fits_rpm(facts.public_key)
