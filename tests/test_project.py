"""What holds for the project as a whole: its files, its modules, what is shipped."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hpcflow

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "hpcflow"
MODULES = sorted(PACKAGE.rglob("*.py"))

LONGEST = 400
"""More lines than this and a module has more than one subject, unless it stands in the next list."""

LONG: dict[str, int] = {"worker/loop.py": 430}  # one select loop, whose state belongs together
"""Modules that may be longer: path below the package, to the lines it may have. The reason beside it."""


def tracked() -> list[Path]:
    # A checkout of another user is a place where git refuses to work unless it is told to trust it.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    return [ROOT / name for name in names if name and (ROOT / name).is_file()]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_no_tracked_file_names_a_path_of_the_machine_it_was_written_on() -> None:
    own = [
        str(ROOT),
        str(ROOT.parent) + "/",
        str(Path.home()) + "/",
        "/tmp/t" + "/",
        "/work" + "/main",
        "/work" + "/shared",
    ]
    # A directory directly below the root is nobody's own, and its name may be part of another path.
    forbidden = [prefix.encode() for prefix in own if len(Path(prefix).parts) > 2]
    found = [name(p) for p in tracked() if any(prefix in p.read_bytes() for prefix in forbidden)]
    assert found == []


@pytest.mark.parametrize("path", [p for p in MODULES if p.name != "__init__.py"], ids=name)
def test_every_module_says_what_it_is_for(path: Path) -> None:
    assert ast.get_docstring(ast.parse(path.read_text("utf-8")))


def hands_on(node: ast.stmt) -> bool:
    """Whether this statement of a package does no more than name what is defined elsewhere."""
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING" and all(map(hands_on, node.body))
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) == "__all__"
    is_docstring = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return is_docstring or isinstance(node, ast.Import | ast.ImportFrom)


@pytest.mark.parametrize("path", [p for p in MODULES if p.name == "__init__.py"], ids=name)
def test_a_package_only_hands_on_names(path: Path) -> None:
    code = {ast.unparse(n).split("\n")[0] for n in ast.parse(path.read_text("utf-8")).body if not hands_on(n)}
    if path == PACKAGE / "__init__.py":  # hands them on when they are first asked for
        code = {c for c in code if not c.startswith(("_HOMES = ", "def __getattr__"))}
    assert code == set()


@pytest.mark.parametrize("public", hpcflow.__all__)
def test_every_public_name_exists(public: str) -> None:
    assert getattr(hpcflow, public).__doc__


def test_modules_have_one_subject_each() -> None:
    lengths = {str(p.relative_to(PACKAGE)): len(p.read_text("utf-8").splitlines()) for p in MODULES}
    too_long = {p: n for p, n in lengths.items() if n > LONG.get(p, LONGEST)}
    needless = {p for p in LONG if lengths.get(p, 0) <= LONGEST}
    assert (too_long, needless) == ({}, set())


def test_names_of_modules_say_something() -> None:
    empty = re.compile(r"(^|_)(utils?|helpers?|misc|common|manager|handler)(_|$)")
    assert [name(p) for p in MODULES if empty.search(p.stem)] == []


def imported(tree: ast.Module) -> set[str]:
    """Names of the modules that importing this module imports."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


NEEDED_ON_A_NODE = [
    # archive.py packs what a node needs; it is the engine that calls it.
    *(path for path in (PACKAGE / "worker").glob("*.py") if path.name != "archive.py"),
    PACKAGE / "task.py",
    PACKAGE / "database" / "records.py",
]


@pytest.mark.parametrize("path", NEEDED_ON_A_NODE, ids=name)
def test_what_runs_on_a_node_imports_the_standard_library_only(path: Path) -> None:
    own = ("hpcflow.worker", "hpcflow.task.", "hpcflow.database.records", "hpcflow.version")
    names = imported(ast.parse(path.read_text("utf-8")))
    foreign = {n for n in names if not n.startswith(own) and n.split(".")[0] not in sys.stdlib_module_names}
    assert foreign == set()


@pytest.mark.parametrize("path", NEEDED_ON_A_NODE, ids=name)
def test_what_runs_on_a_node_is_written_for_python_3_9(path: Path) -> None:
    ast.parse(path.read_text("utf-8"), feature_version=(3, 9))
