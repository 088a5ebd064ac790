import subprocess
import sys
import zipfile

import pytest

from hpcflow.errors import UserError
from hpcflow.worker import archive


@pytest.fixture
def campaign(tmp_path):
    directory = tmp_path / "campaign"
    (directory / "models").mkdir(parents=True)
    (directory / "flow.py").write_text("VALUE = 1\n")
    (directory / "models" / "__init__.py").write_text("")
    (directory / "models" / "net.py").write_text("LAYERS = 2\n")
    (directory / "data").mkdir()
    (directory / "data" / "notes.py").write_text("not a package\n")
    return directory


@pytest.fixture
def code(tmp_path):
    directory = tmp_path / "code"
    directory.mkdir()
    return directory


def names(path):
    with zipfile.ZipFile(path) as stream:
        return stream.namelist()


def test_holds_hpcflow_and_the_modules_and_packages_of_the_campaign(campaign, code):
    held = names(code / f"{archive.build(campaign, code, {})}.pyz")
    assert {"__main__.py", "hpcflow/worker/slot.py", "flow.py", "models/net.py"} <= set(held)
    assert "data/notes.py" not in held
    assert all(name.endswith(".py") for name in held)


def test_links_that_lead_nowhere_are_left_out(campaign, code):
    (campaign / "loop.py").symlink_to("loop.py")
    (campaign / "gone.py").symlink_to("/nonexistent/gone.py")
    held = names(code / f"{archive.build(campaign, code, {})}.pyz")
    assert "flow.py" in held
    assert {"loop.py", "gone.py"}.isdisjoint(held)


def test_equal_code_gives_equal_bytes_at_another_time_and_place(campaign, code, tmp_path):
    digest = archive.build(campaign, code, {})
    elsewhere = tmp_path / "elsewhere"
    subprocess.run(["cp", "-r", campaign, elsewhere], check=True)
    (elsewhere / "flow.py").touch()
    other = tmp_path / "other"
    other.mkdir()
    assert archive.build(elsewhere, other, {}) == digest
    assert (other / f"{digest}.pyz").read_bytes() == (code / f"{digest}.pyz").read_bytes()


def test_is_not_written_again_when_nothing_changed(campaign, code):
    path = code / f"{archive.build(campaign, code, {})}.pyz"
    before = path.stat().st_ino, path.stat().st_mtime_ns
    archive.build(campaign, code, {})
    archive._known.clear()  # as in another process
    archive.build(campaign, code, {})
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == before
    assert [entry.name for entry in code.iterdir()] == [path.name]


def test_an_edit_gives_another_archive_and_leaves_the_old_one(campaign, code):
    first = archive.build(campaign, code, {})
    (campaign / "flow.py").write_text("VALUE = 22\n")
    second = archive.build(campaign, code, {})
    assert first != second
    assert sorted(entry.stem for entry in code.iterdir()) == sorted([first, second])


def test_extra_sources_can_be_imported(campaign, code):
    digest = archive.build(campaign, code, {"cell": "def f(x):\n    return x\n", "pack.inner": "A = 1\n"})
    assert {"cell.py", "pack/inner.py"} <= set(names(code / f"{digest}.pyz"))


@pytest.mark.parametrize("kind", ["module", "package"])
def test_refuses_a_campaign_that_hides_hpcflow(campaign, code, kind):
    if kind == "module":
        (campaign / "hpcflow.py").write_text("")
    else:
        (campaign / "hpcflow").mkdir()
        (campaign / "hpcflow" / "__init__.py").write_text("")
    with pytest.raises(UserError, match="cannot be called hpcflow"):
        archive.build(campaign, code, {})


@pytest.mark.parametrize("version", ["2.7", "3.6", "3.8"])
def test_an_old_python_is_told_which_one_is_needed(campaign, code, version, old_python):
    digest = archive.build(campaign, code, {})
    done = subprocess.run(
        [old_python(version), str(code / f"{digest}.pyz"), "worker"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("hpcflow needs Python 3.9 or newer")


def test_says_how_it_is_used_without_arguments(campaign, code):
    digest = archive.build(campaign, code, {})
    done = subprocess.run([sys.executable, str(code / f"{digest}.pyz")], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "worker" in done.stderr
