"""The files by which apt finds our repository: one-line `.list` and deb822 `.sources`, each over http and from disk.

sources.list(5). An unsigned repository gets exactly Pigsty's lines (pigsty.md, 3.4); a signed one is bound to its own
key by `signed-by` and never trusted otherwise.
"""

from repobuild.checked import check_base_url, check_name, check_path
from repobuild.formats.protocol import NODE_MODULE, ClientFacts
from repobuild.signing import one_block

KEY_FOLDER = "/etc/apt/keyrings"
"""Where apt's own documentation has administrators put keys; to be made on Debian 11."""
_EMBEDS_SINCE = {"debian": 12, "ubuntu": 22}
"""ID of os-release -> the first release whose apt takes a key inside a deb822 source (2.3.10)."""


def key_path(name: str) -> str:
    """Return where a client keeps the binary public key, published beside the repository as `<name>.gpg`."""
    return f"{KEY_FOLDER}/{check_name(name, 'repository name')}.gpg"


def client_files(facts: ClientFacts) -> dict[str, bytes]:
    """Return file name -> content of the five client files; a machine needs one of them.

    `<name>.list`, `<name>.sources` and `local.list`, the one that Pigsty renders on its nodes, read over http,
    `<name>-local.list` and `<name>-local.sources` from disk.

    Raises:
        UsageError: when a value is not of its type; nothing that could end a line or an option gets through.
    """
    name = check_name(facts.name, "repository name")
    places = {
        name: check_base_url(facts.url, "repository URL"),
        f"{name}-local": f"file:{check_path(facts.folder, 'repository folder')}/",
    }
    option = f"signed-by={key_path(name)}" if facts.is_signed else "trusted=yes"
    trust = f"Signed-By:{_embedded_key(facts) or f' {key_path(name)}'}" if facts.is_signed else "Trusted: yes"
    files = {}
    for stem, uri in places.items():
        files[f"{stem}.list"] = f"deb [{option}] {uri} ./\n".encode()
        files[f"{stem}.sources"] = f"Types: deb\nURIs: {uri}\nSuites: ./\n{trust}\n".encode()
    # Pigsty's own template says "module_name" here, whatever the module.
    entry = f"# [module_name] [{facts.target.codename}:{facts.target.major}] {name}-local: Pigsty Local\n"
    files[f"{NODE_MODULE}.list"] = f"{facts.node_header}{entry}deb [{option}] {places[name]} ./\n".encode()
    return files


def usage(facts: ClientFacts) -> dict[str, str]:
    """Return what to type on a machine to trust and use a repository of ours."""
    above, _, name = facts.folder.rpartition("/")
    base = facts.url.rpartition("/")[0]
    folder = f"mkdir -p {KEY_FOLDER} && "
    key = f"{folder}curl -L {base}/{name}.gpg -o {key_path(name)} && " if facts.is_signed else ""
    trust = {"trust it": f"{folder}cp {above}/{name}.gpg {KEY_FOLDER}/"} if facts.is_signed else {}
    return {
        **trust,
        "use it here": f"cp {above}/{name}-local.list /etc/apt/sources.list.d/ && apt-get update",
        "elsewhere": f"{key}curl -L {base}/{name}.list -o /etc/apt/sources.list.d/{name}.list && apt-get update,"
        f" once a web server serves {above} (repobuild nginx, repobuild client)",
    }


def node_usage(facts: ClientFacts) -> dict[str, str]:
    """Return what to type on another machine to trust and use a signed repository of ours over http."""
    above, _, _ = facts.url.rpartition("/")
    file = f"{facts.name}.{'sources' if _embedded_key(facts) else 'list'}"
    key = f"mkdir -p {KEY_FOLDER} && curl -fsSL {above}/{facts.name}.gpg -o {key_path(facts.name)}"
    trust = {} if _embedded_key(facts) else {"trust it": key}
    return {**trust, "use it": f"curl -fsSL {above}/{file} -o /etc/apt/sources.list.d/{file} && apt-get update"}


def _embedded_key(facts: ClientFacts) -> str:
    """Return our keys as the value of `Signed-By`, lines and all; empty where apt cannot read them there."""
    since = _EMBEDS_SINCE.get(facts.target.vendor)
    if not facts.public_key or since is None or facts.target.major < since:
        return ""
    lines = one_block(facts.public_key).decode().splitlines()
    return "".join(f"\n {line or '.'}" for line in lines)
