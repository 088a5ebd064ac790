"""Put a site together from its layers.

Lowest first: the shipped ``sites/NAME.yaml``, the user's ``~/.config/hpcflow/sites/NAME.yaml``, the
campaign's ``sites/NAME.yaml``, the ``classes`` of the campaign's ``hpcflow.yaml``, and the account in
``HPCFLOW_ACCOUNT``. Mappings are merged by key, anything else is replaced, and null takes away what
a lower layer said. Any one layer is enough.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from hpcflow.errors import UserError, nearest
from hpcflow.sites.schema import Site
from hpcflow.sites.shipped import shipped, user
from hpcflow.sites.values import convert
from hpcflow.sites.yaml_reader import Document, KeyPath, Origin, load

ACCOUNT_VARIABLE = "HPCFLOW_ACCOUNT"
SITE_NAME = re.compile(r"[A-Za-z0-9][\w.+-]*\Z", re.ASCII)
"""What the name of a site may look like."""
_KEEPS_NULL = ("options", "variables")  # null there takes away what only the renderer adds


class Layer(NamedTuple):
    """One file that may say something about a site."""

    name: str
    path: Path


def layers(name: str, campaign: Path | None) -> list[Layer]:
    """Return the layers of a site, lowest first, whether their files exist or not."""
    found = [
        Layer("shipped", shipped("sites") / f"{name}.yaml"),
        Layer("user", user("sites") / f"{name}.yaml"),
    ]
    if campaign is not None:
        found += [
            Layer("campaign", campaign / "sites" / f"{name}.yaml"),
            Layer("hpcflow.yaml", campaign / "hpcflow.yaml"),
        ]
    return found


def load_site(name: str, campaign: Path | None = None) -> Site:
    """Read a site with all its layers.

    Raises
    ------
    UserError
        If there is no such site, or for the first thing in its files that is not right.
    """
    document = site_document(name, campaign)
    site = convert(document, Site)
    check_names(site, document)
    placed = site.placed()
    return placed if campaign is None else msgspec.structs.replace(placed, _campaign=str(campaign))


def site_document(name: str, campaign: Path | None = None) -> Document:
    """Return the merged layers of a site: plain values, and for each its file, line and layer."""
    merged = Document({"name": name}, {})
    files = []
    for layer in layers(name, campaign):
        if not SITE_NAME.match(name) or not layer.path.is_file():
            continue
        document = load(layer.path)
        if layer.name == "hpcflow.yaml":
            document = _only(document, "classes")
        elif document.data.get("name", name) != name:
            place = document.where(("name",))
            raise UserError(f"{place}: key name: a site is named by its file, expected {name!r}")
        if layer.name == "shipped":
            _refuse_accounts(document)
        if layer.name != "hpcflow.yaml":
            files.append(str(layer.path))
        elif files:
            _refuse_unknown(document, merged)
        _merge(merged, document, layer.name)
    if not files:
        known = nearest(name, site_names(campaign))
        raise UserError(f"There is no site {name!r}.{known} To see all, type: hpcflow sites list")
    if account := os.environ.get(ACCOUNT_VARIABLE):
        merged.data["account"] = account
        merged.origins["account",] = Origin(f"{ACCOUNT_VARIABLE} in the environment", 0, False, "environment")
    merged.origins[()] = Origin(files[-1], 1)
    _follow_likes(merged)
    _drop_nulls(merged.data, merged, ())
    _refuse_misspelled(merged)
    return merged


def site_names(campaign: Path | None = None) -> list[str]:
    """Return the names of all sites that have a layer anywhere."""
    return sorted({path.stem for path, _ in _site_files(campaign)})


class SiteEntry(NamedTuple):
    """One line of ``hpcflow sites list``."""

    name: str
    title: str
    layers: tuple[str, ...]


def list_sites(campaign: Path | None = None) -> list[SiteEntry]:
    """Return all sites with their titles and the layers they have."""
    titles: dict[str, str] = {}
    where: dict[str, list[str]] = {}
    for path, layer in _site_files(campaign):
        title = load(path).data.get("title")
        titles[path.stem] = title if isinstance(title, str) else titles.get(path.stem, "")
        where.setdefault(path.stem, []).append(layer)
    return [SiteEntry(name, titles[name], tuple(where[name])) for name in sorted(where)]


def _site_files(campaign: Path | None) -> Iterator[tuple[Path, str]]:
    for layer in layers("*", campaign):
        if layer.name != "hpcflow.yaml":
            found = sorted(layer.path.parent.glob("*.yaml")) if layer.path.parent.is_dir() else []
            yield from ((path, layer.name) for path in found if SITE_NAME.match(path.stem))


def check_names(site: Site, document: Document) -> None:
    """Raise UserError where one part of a site names another part that does not exist."""
    for name, queue in site.queues.items():
        if queue.node is not None and queue.node not in site.nodes:
            place = document.where(("queues", name, "node"))
            raise UserError(
                f"{place}: key queues.{name}.node: there are no nodes called {queue.node!r}."
                f"{nearest(queue.node, site.nodes)}"
            )
    for name, task_class in site.classes.items():
        if task_class.queue is not None and task_class.queue not in site.queues:
            place = document.where(("classes", name, "queue"))
            raise UserError(
                f"{place}: key classes.{name}.queue: there is no queue {task_class.queue!r}."
                f"{nearest(task_class.queue, site.queues)}"
            )


def _merge(into: Document, document: Document, layer: str) -> None:
    origins = {path: origin._replace(layer=layer) for path, origin in document.origins.items()}
    _merge_values(into.data, document.data, (), into.origins, origins)


def _merge_values(
    into: dict[str, Any],
    data: dict[str, Any],
    path: KeyPath,
    origins: dict[KeyPath, Origin],
    new_origins: dict[KeyPath, Origin],
) -> None:
    for key, value in data.items():
        here = (*path, key)
        if isinstance(value, dict) and isinstance(into.get(key), dict):
            _merge_values(into[key], value, here, origins, new_origins)
            continue
        for old in [p for p in origins if p[: len(here)] == here]:
            del origins[old]
        origins.update((p, o) for p, o in new_origins.items() if p[: len(here)] == here)
        into[key] = _copy(value)


def _copy(value: Any) -> Any:
    # Aliases make one object stand in several places; a merge into one must not change the others.
    if isinstance(value, dict):
        return {k: _copy(v) for k, v in value.items()}
    return [_copy(v) for v in value] if isinstance(value, list) else value


def _only(document: Document, key: str) -> Document:
    data = {key: document.data[key]} if document.data.get(key) is not None else {}
    return Document(data, {p: o for p, o in document.origins.items() if p[:1] in ((), (key,))})


def _refuse_accounts(document: Document) -> None:
    paths: list[KeyPath] = [p for p in document.origins if p and p[-1] == "account" and "options" not in p]
    if paths:
        raise UserError(
            f"{document.where(paths[0])}: an account does not belong into a shipped file. Write it into "
            f"{user('sites') / Path(document.file).name} or set {ACCOUNT_VARIABLE}."
        )


def _follow_likes(document: Document) -> None:
    classes = document.data.get("classes")
    if not isinstance(classes, dict):
        return  # convert() says what is wrong with it
    done: set[str] = set()

    def follow(name: str, behind: tuple[str, ...]) -> None:
        own = classes[name]
        if name in done or not isinstance(own, dict) or not isinstance(own.get("like"), str):
            return
        base, place = own["like"], document.where(("classes", name, "like"))
        if base in behind or base == name:
            raise UserError(f"{place}: key classes.{name}.like: {base!r} is like {name!r} itself.")
        if base not in classes:
            known = [other for other in classes if other != name]
            raise UserError(f"{place}: key classes.{name}.like: there is no class {base!r}.{nearest(base, known)}")
        follow(base, (*behind, name))
        if not isinstance(classes[base], dict):
            return
        here: KeyPath = ("classes", name)
        theirs = {
            (*here, *path[2:]): origin
            for path, origin in document.origins.items()
            if path[:2] == ("classes", base) and len(path) > 2
        }
        mine = {path: origin for path, origin in document.origins.items() if path[:2] == here}
        document.origins.update(theirs)
        classes[name] = _copy(classes[base])
        _merge_values(classes[name], own, here, document.origins, mine)
        done.add(name)

    for name in list(classes):
        follow(name, ())


def _refuse_misspelled(document: Document) -> None:
    """A class without the one key that every class needs, and with a name much like another's, was meant for that."""
    classes = document.data.get("classes")
    if not isinstance(classes, dict):
        return
    whole = [name for name, own in classes.items() if isinstance(own, dict) and "walltime" in own]
    for name, own in classes.items():
        hint = nearest(str(name), whole)
        if isinstance(own, dict) and name not in whole and "Did you mean" in hint:
            mend = "A new class needs a walltime, or `like:` another one."
            raise UserError(f"{document.where(('classes', name))}: there is no class {name!r} yet.{hint} {mend}")


def _refuse_unknown(document: Document, site: Document) -> None:
    """hpcflow.yaml changes classes that are there; one of its own says which of them it is like."""
    theirs, known = document.data.get("classes"), site.data.get("classes")
    if not isinstance(theirs, dict) or not isinstance(known, dict):
        return  # convert() says what is wrong with it
    for name, own in theirs.items():
        if isinstance(own, dict) and name not in known and "like" not in own:
            raise UserError(
                f"{document.where(('classes', name))}: the site {site.data['name']} has no class {name!r}."
                f"{nearest(str(name), known)} A class of the campaign's own needs `like:` and the name of another"
            )


def _drop_nulls(data: dict[str, Any], document: Document, path: KeyPath) -> None:
    for key, value in list(data.items()):
        if value is None and not (path and path[-1] in _KEEPS_NULL):
            del data[key]
            document.origins.pop((*path, key), None)
        elif isinstance(value, dict):
            _drop_nulls(value, document, (*path, key))
