"""The picture of design.md, section 3, as a test: who may import whom, who may touch the world, and the size budget."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "repobuild"

LAYERS = (
    {"errors"},
    {"bases"},
    {"model", "progress", "media", "portal", "credentials"},
    {"checked", "compression", "markup", "measures", "targets", "durable", "scratch", "graph"},
    {"record", "state", "signing"},
    {"store", "archive", "formats"},
    {
        "manifest",
        "host",
        "catalog",
        "resolve",
        "origins",
        "lock",
        "fetch",
        "publish",
        "bundle",
        "install",
        "diff",
        "why",
        "costs",
        "report",
        "check",
        "webserver",
        "serve",
    },
    {"pipeline"},
    {"cli"},
    {"__main__"},
)
"""A room imports rooms of lower layers only: never of its own, never of a higher one."""

ONLY_IN = {
    "requests": {"fetch"},
    "urllib3": {"fetch"},
    "click": {"cli"},
    "tqdm": {"cli"},
    "pysequoia": {"signing"},
    "debian": {"formats"},
    "createrepo_c": {"formats"},
    "solv": {"formats"},
    "yaml": {"manifest", "formats"},
    "cyclonedx": {"report"},
    "packageurl": {"report"},
    "shutil": set(),
}

WRITERS = {
    "rename",
    "replace",
    "renames",
    "link",
    "symlink",
    "unlink",
    "remove",
    "rmdir",
    "mkdir",
    "makedirs",
    "truncate",
}
"""Functions of os that change what is on disk."""
PATH_WRITERS = {"write_text", "write_bytes", "touch", "unlink", "rename", "mkdir", "rmdir", "symlink_to", "hardlink_to"}

MODULES = sorted(PACKAGE.rglob("*.py"))


def room(module: Path) -> str:
    """Return the room of a module: its folder or file directly in the package."""
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(module: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            if node.module == "repobuild":
                yield from ((f"repobuild.{alias.name}", node.lineno) for alias in node.names)
            else:
                yield node.module, node.lineno


def level(name: str) -> int:
    return next(number for number, layer in enumerate(LAYERS) if name in layer)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
class TestModule:
    def test_a_room_imports_only_rooms_below_it(self, module: Path) -> None:
        own = room(module)
        if own == "__init__":
            return

        wrong = [
            f"line {line}: {own} imports {name}"
            for name, line in imports(module)
            if name.startswith("repobuild.")
            and (other := name.split(".")[1]) not in {own, "__version__"}
            and level(other) >= level(own)
        ]

        assert [] == wrong

    def test_a_library_is_imported_by_its_room_alone(self, module: Path) -> None:
        wrong = [
            f"line {line}: {name}"
            for name, line in imports(module)
            if name.split(".")[0] in ONLY_IN and room(module) not in ONLY_IN[name.split(".")[0]]
        ]

        assert [] == wrong

    def test_only_durable_changes_what_is_on_disk(self, module: Path) -> None:
        if room(module) == "durable":
            return

        assert [] == list(writes(ast.parse(module.read_text())))

    def test_only_the_command_line_reads_the_environment_or_exits(self, module: Path) -> None:
        if room(module) == "cli":
            return

        wrong = [
            f"line {node.lineno}: {ast.unparse(node)}"
            for node in ast.walk(ast.parse(module.read_text()))
            if isinstance(node, ast.Attribute)
            and ast.unparse(node) in {"os.environ", "os.getenv", "sys.exit", "sys.argv"}
        ]

        assert [] == wrong

    def test_a_module_keeps_to_400_lines_and_a_function_to_50(self, module: Path) -> None:
        text = module.read_text()

        long = [
            f"{node.name}: {node.end_lineno - node.lineno + 1} lines"
            for node in ast.walk(ast.parse(text))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            and node.end_lineno is not None
            and node.end_lineno - node.lineno + 1 > 50 + docstring_lines(node)
        ]

        assert [] == long
        assert len(text.splitlines()) <= 400


def docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """A docstring is a promise, no code: it does not count."""
    return len((ast.get_docstring(node, clean=False) or "").splitlines()) + 1


def writes(tree: ast.AST) -> Iterator[str]:
    """Yield the calls that create, change, move or remove something on disk."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        by_path = isinstance(node.func, ast.Attribute) and node.func.attr in PATH_WRITERS and is_path(node.func.value)
        if by_path or called in {f"os.{name}" for name in WRITERS}:
            yield f"line {node.lineno}: {called}"
        elif called in {"open", "io.open"} or called.endswith(".open"):
            yield from (f"line {node.lineno}: {called} for writing" for mode in modes(node) if set(mode) & set("wax+"))


def is_path(node: ast.expr) -> bool:
    """Guess whether an expression is a pathlib path: a name that says so, or a call of Path."""
    text = ast.unparse(node)
    return text.startswith("Path(") or text.endswith(("path", "_file", "place"))


def modes(call: ast.Call) -> Iterator[str]:
    candidates = [*call.args[:2], *(keyword.value for keyword in call.keywords if keyword.arg == "mode")]
    for each in candidates:
        if isinstance(each, ast.Constant) and isinstance(each.value, str) and set(each.value) <= set("rwaxbt+"):
            yield each.value


def test_every_room_stands_in_the_picture() -> None:
    rooms = {room(module) for module in MODULES} - {"__init__"}

    assert rooms == set().union(*LAYERS)


def test_nobody_outside_formats_asks_which_family_it_is() -> None:
    asking = [
        f"{module.relative_to(PACKAGE)}: line {node.lineno}"
        for module in MODULES
        if room(module) not in {"formats", "targets"}
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Compare) and "family" in ast.unparse(node)
    ]

    assert [] == asking
