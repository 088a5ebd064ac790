"""What is known of images without running anything, and what is refused before submission."""

import os
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from campaign_harness import MakeCampaign
from hypothesis import given
from hypothesis import strategies as st

from hpcflow.errors import UserError
from hpcflow.sites.images import architecture, known, missing_bytes
from hpcflow.sites.layers import load_site
from hpcflow.sites.rules import validate
from hpcflow.sites.scripts import Script, render

X86, ARM = 62, 183
MACHINE = """
scheduler: {kind: slurm}
nodes: {fat: {cores: 8, arch: aarch64}}
queues: {main: {node: fat}}
container: {engine: apptainer}
classes: {one: {queue: main, walltime: 1h, container: {image: IMAGE}}}
"""


def sif(path: Path, code: bytes = b"02", length: int = 1000, lacks: int = 0) -> Path:
    """Write a file with the head of an image of Apptainer, as version 1.4.5 writes it."""
    head = struct.pack("<32s10s3s3s16s8q", b"#!/usr/bin/env run-singularity\n", b"SIF_MAGIC\0", b"01\0", code + b"\0",
                       bytes(16), 1795172600, 1795172600, 45, 48, 128, 0, 128, length)  # fmt: skip
    path.write_bytes(head + bytes(length - lacks))
    return path


def elf(path: Path, machine: int = X86, order: str = "<") -> Path:
    """Write the first bytes of a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    marks = b"\x7fELF\x02" + (b"\x01" if order == "<" else b"\x02") + bytes(10)
    path.write_bytes(marks + struct.pack(f"{order}HH", 2, machine))
    return path


@pytest.mark.parametrize(("code", "name"), [(b"02", "x86_64"), (b"04", "aarch64"), (b"00", None), (b"99", None)])
def test_the_architecture_of_an_image_stands_in_its_head(code: bytes, name: str | None, tmp_path: Path) -> None:
    assert architecture(sif(tmp_path / "a.sif", code)) == name


@given(st.binary(max_size=300))
def test_any_other_file_says_nothing(content: bytes) -> None:
    path = Path(f"/tmp/hpcflow-image-{os.getpid()}")
    try:
        path.write_bytes(content)
        assert (architecture(path), missing_bytes(path)) == (None, 0)
    finally:
        path.unlink()


@pytest.mark.parametrize("lacks", [0, 1, 999])
def test_an_image_knows_how_long_it_should_be(lacks: int, tmp_path: Path) -> None:
    assert missing_bytes(sif(tmp_path / "a.sif", lacks=lacks)) == lacks


@pytest.mark.parametrize(
    ("machine", "order", "name"), [(X86, "<", "x86_64"), (ARM, "<", "aarch64"), (21, ">", "ppc64le")]
)
def test_a_directory_is_for_what_its_shell_is_for(machine: int, order: str, name: str | None, tmp_path: Path) -> None:
    elf(tmp_path / "bin" / "sh", machine, order)
    assert architecture(tmp_path) == name


def test_links_of_a_directory_start_at_its_own_root(tmp_path: Path) -> None:
    elf(tmp_path / "usr" / "lib" / "busybox", ARM)
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "usr" / "bin").mkdir()
    (tmp_path / "usr" / "bin" / "sh").symlink_to("/usr/bin/../lib/busybox")
    assert architecture(tmp_path) == "aarch64"


@pytest.mark.parametrize("target", ["/bin/sh", "../../../../../../bin/true", "nowhere"])
def test_links_that_lead_out_or_nowhere_say_nothing(target: str, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to(target)
    assert architecture(tmp_path) is None


def test_the_digest_of_a_file_is_that_of_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    image = sif(tmp_path / "a.sif")
    said = subprocess.run(["b2sum", "-l", "128", str(image)], capture_output=True, text=True, check=True).stdout
    first = known(image)
    assert first is not None
    assert first.digest == said.split()[0]
    assert known(image) == first
    image.write_bytes(image.read_bytes()[:-1] + b"x")
    os.utime(image, (1, 1))
    changed = known(image)
    assert changed is not None
    assert changed.digest != first.digest
    assert known(tmp_path / "nothing.sif") is None


def test_a_digest_is_read_from_the_cache_as_long_as_the_file_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    image = sif(tmp_path / "a.sif")
    known(image)
    (note,) = (tmp_path / "cache" / "hpcflow" / "images").iterdir()
    mark = note.read_text().rpartition(" ")[0]
    note.write_text(f"{mark} 0123")
    found = known(image)
    assert found is not None
    assert found.digest == "0123"
    note.write_bytes(b"\xff damaged")
    found = known(image)
    assert found is not None
    assert len(found.digest) == 32


def test_the_digest_of_a_directory_changes_with_what_is_in_it(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    program = elf(tree / "usr" / "bin" / "sh")
    (tree / "bin").symlink_to("usr/bin")
    seen = set()
    for change in (
        lambda: None,
        lambda: program.write_bytes(b"longer" * 10),
        lambda: program.chmod(0o755),
        lambda: (tree / "new").mkdir(),
        lambda: ((tree / "bin").unlink(), (tree / "bin").symlink_to("usr")),
    ):
        change()
        found = known(tree)
        assert found is not None
        assert found.digest not in seen
        seen.add(found.digest)
        assert known(tree) == found


@pytest.fixture
def refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """What is said of an image before submission; nothing if it is good."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir("/")

    def refusal(image: Path | str, machine: str = MACHINE) -> str:
        file = tmp_path / "campaign" / "sites" / "machine.yaml"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(machine.replace("IMAGE", f"'{image}'"))
        try:
            validate(load_site("machine", tmp_path / "campaign"))
        except UserError as error:
            return str(error)
        return ""

    return refusal


def test_an_image_for_the_nodes_passes(refusal: Callable[..., str], tmp_path: Path) -> None:
    assert refusal(sif(tmp_path / "good.sif", b"04")) == ""
    assert refusal(sif(tmp_path / "silent.sif", b"00")) == ""


def test_an_image_for_other_nodes_is_refused(refusal: Callable[..., str], tmp_path: Path) -> None:
    image = sif(tmp_path / "a b.sif")
    assert f"the image {image} is for x86_64, and it would run on aarch64" in refusal(image)


def test_half_an_image_is_refused(refusal: Callable[..., str], tmp_path: Path) -> None:
    image = sif(tmp_path / "a.sif", b"04", lacks=7)
    assert f"{image} is not whole, 7 bytes are missing" in refusal(image)


def test_a_missing_image_is_refused_with_the_command_that_makes_it(refusal: Callable[..., str], tmp_path: Path) -> None:
    image = tmp_path / "a b" / "mace-cuda.sif"
    said = refusal(image)
    assert "/campaign/sites/machine.yaml, line 6: key classes.one.container.image: " in said
    assert f"there is no image {image}." in said
    assert f"hpcflow containers build mace-cuda --output '{image}'" in said


def test_a_relative_image_is_looked_for_where_jobs_start(refusal: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "campaign").mkdir()
    sif(tmp_path / "campaign" / "own.sif", b"04")
    assert refusal("own.sif") == ""


def test_an_image_in_the_home_directory_is_named_as_a_shell_finds_it(
    refusal: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    sif(tmp_path / "own.sif", b"04")
    assert refusal("~/own.sif") == ""
    assert '"$HOME/own.sif"' in script(tmp_path)


@pytest.mark.parametrize("name", ["a:b", "a,b"])
def test_a_campaign_that_no_container_can_show_is_refused(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    campaign = tmp_path / name
    (campaign / "sites").mkdir(parents=True)
    (campaign / "sites" / "machine.yaml").write_text(MACHINE.replace("IMAGE", "docker://a/b:1"))
    with pytest.raises(UserError, match=f"its path {campaign} contains '{name[1]}'"):
        validate(load_site("machine", campaign))


def test_on_this_machine_an_image_must_be_for_this_machine(
    refusal: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    local = MACHINE.replace("kind: slurm", "kind: local").replace("{node: fat}", "{}")
    assert "would run on riscv64" in refusal(sif(tmp_path / "a.sif"), local)


def script(directory: Path, image: Path | None = None) -> str:
    campaign = directory / "campaign"
    known_image = known(image) if image else None
    job = Script("hf1", "one", 1, campaign, campaign, campaign, campaign, "r0", image=known_image)
    return render(load_site("machine", campaign), "one", job)


def what_it_says(text: str) -> str:
    """Run the part of a script that says which image it is."""
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("# For the records"))
    end = next(i for i, line in enumerate(lines) if line.startswith("export HPCFLOW_IMAGE"))
    part = "\n".join([*lines[start : end + 1], 'printf %s "$HPCFLOW_IMAGE"'])
    return subprocess.run(["bash", "-c", part], capture_output=True, text=True, check=True).stdout


def test_a_job_names_its_image_and_the_digest_that_it_had_at_submission(
    refusal: Callable[..., str], tmp_path: Path
) -> None:
    image = sif(tmp_path / "my image.sif", b"04")
    assert refusal(image) == ""
    found = known(image)
    assert found is not None
    text = script(tmp_path, image)
    assert what_it_says(text) == f"hf1 {found.digest} {image}"
    os.utime(image, (1, 1))
    assert what_it_says(text) == f"hf1 - {image}", "another image has taken its place: nobody knows its digest"
    image.unlink()
    assert what_it_says(text) == f"hf1 - {image}"


@pytest.mark.parametrize(
    ("code", "lacks", "keys", "message"),
    [
        (None, 0, "", "there is no image"),
        (b"02", 0, "image_on: [/elsewhere]", "images must lie below /elsewhere"),
        (b"12", 0, "", "is for riscv64, and it would run on"),
        (b"02", 9, "", "is not whole, 9 bytes are missing"),
    ],
)
def test_a_campaign_with_such_an_image_is_refused_before_anything_is_submitted(
    code: bytes | None, lacks: int, keys: str, message: str, make_campaign: MakeCampaign, tmp_path: Path
) -> None:
    image = tmp_path / "a.sif"
    if code:
        sif(image, code, lacks=lacks)
    campaign = make_campaign("def flow(run):\n    run.map('true', range(2), task_class='inside')\n")
    container = f"container: {{engine: apptainer, {keys}}}" if keys else "container: {engine: apptainer}"
    inside = f"inside: {{like: default, container: {{image: {image}}}}}"
    campaign.write("sites/local.yaml", f"{container}\nclasses: {{{inside}}}\n")
    said = campaign.refused("submit", "--yes")
    assert "/sites/local.yaml, line 2: key classes.inside.container.image: class inside: " in said
    assert message in said
    assert not list(campaign.database.glob("arrays/*/jobs/*"))
