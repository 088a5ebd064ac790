"""The directory ``.hpcflow`` as a whole: finding it, making it, reading its state."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from hpcflow.database.files import create_whole, write_whole
from hpcflow.database.fold import apply
from hpcflow.database.journal import Journal, epochs
from hpcflow.database.state import VERSION, ArrayState, State
from hpcflow.errors import DamagedDatabase, UserError


class Database:
    """The database of one campaign.

    Parameters
    ----------
    campaign
        The campaign directory, which holds ``.hpcflow``.
    """

    def __init__(self, campaign: Path) -> None:
        self.campaign = campaign.resolve()
        self.directory = self.campaign / ".hpcflow"

    @property
    def exists(self) -> bool:
        return (self.directory / "campaign.json").exists()

    @property
    def lock_path(self) -> Path:
        return self.directory / "lock"

    def array_path(self, array: ArrayState) -> Path:
        return self.directory / "arrays" / array.directory

    def create(self) -> None:
        """Make an empty database, unless there is one."""
        made: list[Path] = []
        try:
            for directory in (self.directory, *(self.directory / name for name in ("arrays", "code", "data"))):
                if not directory.is_dir():
                    directory.mkdir(exist_ok=True)
                    made.append(directory)
            if not self.exists:
                # Of two first submissions at once, one gives the campaign its identity.
                try:
                    create_whole(self.directory / "campaign.json", self._identity(secrets.token_hex(8)))
                except (FileExistsError, FileNotFoundError):
                    pass  # the other one did, and may have tidied up
        except OSError as error:
            for directory in reversed(made):
                try:
                    directory.rmdir()
                except OSError:
                    pass  # somebody else uses it by now
            raise UserError(
                f"{self.directory}: cannot write the database ({error.strerror}). "
                "A campaign directory must be writable and have space left."
            ) from None

    def _identity(self, identity: str) -> bytes:
        content = {"id": identity, "path": str(self.campaign), "version": VERSION}
        return json.dumps(content, indent=1).encode()

    def identity(self) -> dict[str, Any]:
        """The content of campaign.json, after checking that this version can read the database.

        Raises
        ------
        UserError
            If there is no database, or a newer hpcflow wrote it.
        """
        path = self.directory / "campaign.json"
        try:
            content: Any = json.loads(path.read_bytes())
        except FileNotFoundError:
            first = "" if (self.campaign / "hpcflow.yaml").exists() else "write hpcflow.yaml and "
            raise UserError(
                f"{self.campaign}: nothing has been submitted here yet. To start, {first}type: hpcflow submit"
            ) from None
        except ValueError:
            raise DamagedDatabase(f"{path}: is not JSON; restore it from a backup") from None
        if not isinstance(content, dict) or not {"id", "path", "version"} <= content.keys():
            raise DamagedDatabase(f"{path}: lacks id, path or version; restore it from a backup")
        if content["version"] > VERSION:
            raise UserError(
                f"{path}: version {content['version']} of the database was written by a newer hpcflow; this one "
                f"reads up to version {VERSION}. Update with: pip install --upgrade hpcflow-arrays"
            )
        return dict(content)

    def check_place(self) -> None:
        """Stop if the campaign is not where it was made: it may be a copy whose jobs belong to another."""
        content = self.identity()
        if content["path"] != str(self.campaign):
            raise UserError(
                f"{self.campaign}: this campaign was made at {content['path']}. If you moved it, type: "
                "hpcflow resume --moved\nIf it is a copy, type: hpcflow resume --copied (it keeps all results and "
                "leaves the original's jobs alone)."
            )

    def accept_place(self, copy: bool) -> None:
        """Make this the place of the campaign, as the same one or as a copy with an id of its own.

        Raises
        ------
        UserError
            If it is said to have been moved, and is still where it was.
        """
        content = self.identity()
        before = Path(content["path"])
        if not copy and before != self.campaign and _is_campaign(before, content["id"], other_than=self.directory):
            raise UserError(
                f"{self.campaign}: was not moved: {before} is still there. If this is a copy, type: "
                "hpcflow resume --copied"
            )
        identity = secrets.token_hex(8) if copy else content["id"]
        write_whole(self.directory / "campaign.json", self._identity(identity))

    def load(self) -> tuple[State, Journal, list[dict[str, Any]]]:
        """The state as journal and checkpoint have it now, and the entries newer than the checkpoint.

        Worker files are read by the engine.
        """
        journal = Journal(self.directory)
        state = State.load(self.directory, journal.epoch)
        if state is not None:
            try:
                entries = list(journal.read(state.campaign.epoch, state.campaign.offset))
            except LookupError:
                state = None
        if state is None:
            state = State()
            entries = list(journal.read())
        for entry in entries:
            apply(state, entry)
        state.campaign.epoch = journal.epoch
        state.campaign.offset = journal.length
        return state, journal, entries

    def newest_epoch(self) -> int:
        return max(epochs(self.directory), default=0)


def _is_campaign(path: Path, identity: str, other_than: Path) -> bool:
    """Whether the campaign of this id stands at a path, in another directory than the given one."""
    directory = path / ".hpcflow"
    try:
        content = json.loads((directory / "campaign.json").read_bytes())
        return bool(content["id"] == identity) and not directory.samefile(other_than)
    except (OSError, ValueError, KeyError, TypeError):
        return False  # whatever is there now, it is not this campaign


def find_campaign(start: Path | None = None) -> Path:
    """The nearest directory at or above ``start`` that is a campaign.

    Raises
    ------
    UserError
        If there is none.
    """
    start = (start or Path.cwd()).resolve()
    for directory in (start, *start.parents):
        if (directory / ".hpcflow" / "campaign.json").exists() or (directory / "hpcflow.yaml").exists():
            return directory
    raise UserError(
        f"{start}: no hpcflow.yaml here or above, so this is no campaign. "
        "Start one with: hpcflow init label my-campaign"
    )


def free_bytes(path: Path) -> int:
    """Space that this user may still use on the file system of ``path``."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize
