"""Images for tests, made of Debian packages and no registry, and campaigns that use them.

Everything lies in a directory whose name has a blank in it, which every user may read.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path

import pytest
from campaign_harness import ROOT, Campaign, Finished

PROGRAMS = ("apptainer", "mmdebstrap")
SUITE = "trixie"
"""Another Debian than the one that tests usually run on: what fits only the machine shows."""
SIZE = "--mksquashfs-args=-comp lz4"
"""Images of tests are read once or twice: made fast is better than made small."""
PACKAGES = ("click", "filelock", "jinja2", "markupsafe", "msgspec", "yaml")
ORDINARY = "nobody"


def missing_programs() -> list[str]:
    """Return the programs that are not installed here."""
    return [name for name in PROGRAMS if shutil.which(name) is None]


class Lab:
    """Images, made when they are first asked for."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    @cached_property
    def tree(self) -> Path:
        """A directory image: a small Debian with Python."""
        tree = self.directory / "debian"
        slim = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")]
        command = ["mmdebstrap", "--quiet", "--variant=apt", "--include=python3,ca-certificates", *slim]
        run([*command, SUITE, str(tree), *mirror()])
        # Device files, owners and modes that only root may unpack would keep ordinary users from building on it.
        shutil.rmtree(tree / "dev")
        (tree / "dev").mkdir()
        run(["chown", "-hR", "0:0", str(tree)])
        run(["find", str(tree), "-type", "f", "-perm", "/6000", "-exec", "chmod", "a-s", "{}", "+"])
        run(["chmod", "-R", "a+rX", str(tree)])
        return tree

    @cached_property
    def sif(self) -> Path:
        """The same as one file."""
        image = self.directory / "debian.sif"
        run(["apptainer", "build", SIZE, str(image), str(self.tree)])
        return image

    @cached_property
    def cp2k(self) -> Path:
        """The definition cp2k, built as an ordinary user on what is here in place of the registry's Debian."""
        person = Person(self, "builder")
        image = person.home / "cp2k.sif"
        base = ["--from", str(self.sif), "--output", str(image)]
        self.said = person.hpcflow("containers", "build", "cp2k", *base, "--", SIZE)
        assert self.said.returncode == 0, self.said.stderr
        return image

    def person(self, name: str) -> Person:
        return Person(self, name)

    @cached_property
    def packages(self) -> Path:
        """hpcflow and what it needs, where every user may read it."""
        place = self.directory / "packages"
        for name in ("hpcflow", "sites", "templates", "containers"):
            shutil.copytree(ROOT / name, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        installed = Path(sysconfig.get_path("purelib"))
        for name in PACKAGES:
            shutil.copytree(installed / name, place / name)
        return place


class Person:
    """An ordinary user with a home."""

    def __init__(self, lab: Lab, name: str) -> None:
        entry = pwd.getpwnam(ORDINARY)
        self.lab = lab
        self.home = lab.directory / name
        self.home.mkdir(exist_ok=True)
        os.chown(self.home, entry.pw_uid, entry.pw_gid)
        # env: what setpriv itself starts is still looked up with root's rights.
        self.prefix = ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", "env"]

    @cached_property
    def python(self) -> str:
        """An interpreter of our version that this user may start."""
        version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
        for path in (os.path.realpath(sys.executable), f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
            command = [*self.prefix, path, "-c", "import msgspec, jinja2, yaml"]
            environment = {"PYTHONPATH": str(self.lab.packages), "PATH": os.environ["PATH"]}
            try:
                if subprocess.run(command, env=environment, cwd="/", capture_output=True).returncode == 0:
                    return path
            except OSError:
                continue
        pytest.skip(f"no {version} that user {ORDINARY} may start")

    def hpcflow(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "PYTHONPATH": str(self.lab.packages)}
        command = [*self.prefix, self.python, "-m", "hpcflow", *arguments]
        return subprocess.run(command, env=environment, cwd=self.home, capture_output=True, text=True, check=False)


class BoxedCampaign(Campaign):
    """A campaign whose directory has a blank in its name; of an ordinary user, if one is given."""

    def __init__(self, lab: Lab, name: str, user: Person | None = None) -> None:
        self.user = user
        above = user.home if user else lab.directory
        super().__init__(above / f"{name} campaign", above / f"{name} home")
        self.environment["USER"] = ORDINARY if user else "root"
        if user:
            self.environment["PYTHONPATH"] = str(lab.packages)

    def command(self, *arguments: str) -> list[str]:
        if self.user is None:
            return super().command(*arguments)
        return [*self.user.prefix, self.user.python, str(self._launcher), *arguments]

    def hpcflow(self, *arguments: str, kill_at: int = 0, **environment: str) -> Finished:
        if self.user is None:
            return super().hpcflow(*arguments, kill_at=kill_at, **environment)
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.directory,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr, 0)

    def site(self, *lines: str) -> None:
        """Write the campaign's layer of the site ``local``."""
        self.write("sites/local.yaml", "\n".join([*lines, ""]))

    def hand_over(self) -> None:
        """Everything written so far becomes the ordinary user's."""
        if self.user:
            run(["chown", "-R", ORDINARY, str(self.home), str(self.directory)])


def run(command: list[str]) -> None:
    """Run a command that must succeed."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{command}: {done.stderr[-3000:]}{done.stdout[-3000:]}"


def mirror() -> list[str]:
    """Return the mirror that this machine uses, if it is a Debian; else the usual one is taken."""
    release = dict(line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line)
    form = ["apt-get", "indextargets", "--format", "$(RELEASE) $(SITE)"]
    said = subprocess.run(form, capture_output=True, text=True, check=False).stdout.splitlines()
    sites = [line.split(maxsplit=1)[1] for line in said if line.split()[0] == release.get("VERSION_CODENAME", "")]
    return sites[:1]


@contextmanager
def open_lab() -> Iterator[Lab]:
    """Give a directory for images, and take it away."""
    directory = Path(tempfile.mkdtemp(prefix="hpcflow images "))
    directory.chmod(0o755)
    try:
        yield Lab(directory)
    finally:
        shutil.rmtree(directory)
