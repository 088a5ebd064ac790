"""Site files for tests: written where a user's would be."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hpcflow.sites.layers import load_site
from hpcflow.sites.schema import Site

Writer = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    """Write a layer of a site: ``write("name", text)`` for the user's, ``layer="campaign"`` for the campaign's."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("HPCFLOW_ACCOUNT", raising=False)

    def write(name: str, text: str, layer: str = "user") -> Path:
        above = tmp_path / "config" / "hpcflow" if layer == "user" else tmp_path / "campaign"
        path = above / "sites" / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        return path

    return write


@pytest.fixture
def site(write: Writer) -> Callable[[str], Site]:
    """Return the site that some YAML describes."""

    def site(text: str) -> Site:
        write("machine", text)
        return load_site("machine")

    return site
