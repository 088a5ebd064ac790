"""What an installation from the wheel holds, with no checkout beside it."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SHIPPED = ("sites", "templates", "examples", "containers")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked wheel: what pip would lay into site-packages."""
    pytest.importorskip("hatchling", reason="builds the wheel; part of the dev extra")
    directory = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(directory)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = directory.glob("hpcflow_arrays-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(directory / "site-packages")
    return directory / "site-packages"


def run(installed: Path, *arguments: str) -> str:
    """Run hpcflow from the unpacked wheel in a directory that knows nothing of the checkout."""
    code = f"import sys; sys.path.insert(0, {str(installed)!r}); from hpcflow.cli.main import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=installed.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("kind", SHIPPED)
def test_the_wheel_holds_every_file_of(kind: str, installed: Path) -> None:
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", kind]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.decode().split("\0")
    expected = {name for name in listed if name and (ROOT / name).is_file()}
    found = {str(path.relative_to(installed / "hpcflow" / "_shipped")) for path in installed.rglob("_shipped/**/*")}
    assert expected
    assert expected - found == set()


def test_an_installed_hpcflow_finds_the_sites_it_was_shipped_with(installed: Path) -> None:
    shipped = {path.stem for path in (ROOT / "sites").glob("*.yaml")}
    listed = set(run(installed, "sites", "list").split())
    assert shipped <= listed


def test_an_installed_hpcflow_renders_scripts(installed: Path) -> None:
    assert "#!/" in run(installed, "sites", "render", "local")


def test_the_distribution_says_how_the_command_is_called(installed: Path) -> None:
    (entry_points,) = installed.glob("*.dist-info/entry_points.txt")
    assert "hpcflow = hpcflow.cli.main:main" in entry_points.read_text()
