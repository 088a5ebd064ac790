"""The worker runs on Python 3.9 without any package."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MODULES = [*sorted((ROOT / "hpcflow" / "worker").glob("*.py"))]
MODULES += [ROOT / "hpcflow" / "database" / "records.py", ROOT / "hpcflow" / "task.py"]
MODULES += [ROOT / "hpcflow" / "__init__.py", ROOT / "hpcflow" / "database" / "__init__.py"]
ON_NODES = [path for path in MODULES if path.name != "archive.py"]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.name)
def test_modules_are_written_in_python_3_9(path):
    ast.parse(path.read_text(), feature_version=(3, 9))


@pytest.mark.parametrize("path", ON_NODES, ids=lambda path: path.name)
def test_modules_import_nothing_but_the_standard_library_and_each_other(path):
    allowed = {"hpcflow.worker", "hpcflow.database"}  # and, for frames and results, what the task itself needs
    lazily = {"hpcflow", "hpcflow.task"}
    for node in ast.parse(path.read_text()).body:
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module]
        for name in names:
            if name.startswith("hpcflow"):
                assert ".".join(name.split(".")[:2]) in allowed | lazily, (path.name, name)
            else:
                assert name.split(".")[0] in sys.stdlib_module_names, (path.name, name)


@pytest.mark.parametrize("version", ["3.9", "3.10", "3.12", "3.13"])
def test_a_worker_runs_on_other_pythons(array, old_python, version):
    python = old_python(version)
    array.python("f", list(range(20)), "import hpcflow as hf\n@hf.task(version=1)\ndef f(x):\n    return 1 / x\n")
    assert array.run(python=python) == 0
    tasks = array.tasks()
    assert [task["state"] for task in tasks] == ["failed", *["succeeded"] * 19]
    assert array.headers("hello")[0]["python"].startswith(version)


def test_commands_run_on_python_3_9(array, old_python):
    array.command("echo {x}; exit {x}", [{"x": 0}, {"x": 1}])
    assert array.run(python=old_python("3.9")) == 0
    assert [task["state"] for task in array.tasks()] == ["succeeded", "failed"]


def test_a_slot_may_run_another_python_than_the_worker(array, old_python):
    python = old_python("3.9")
    array.python("f", [0], "import sys\ndef f(x):\n    return list(sys.version_info[:2])\n")
    array.run("--slot-python", python)
    assert array.tasks()[0].result == [3, 9]


def test_a_worker_imports_no_package(array, old_python):
    array.python("f", [0], "import sys\ndef f(x):\n    return sorted({m.split('.')[0] for m in sys.modules})\n")
    code = "import sys; sys.path.insert(0, sys.argv[1]); import hpcflow.worker.main; print(*sys.modules)"
    words = [old_python("3.9"), "-S", "-c", code, str(next(array.code.iterdir()))]
    modules = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
    array.run()
    assert {"ase", "msgspec", "numpy", "torch"}.isdisjoint([*modules, *array.tasks()[0].result])
