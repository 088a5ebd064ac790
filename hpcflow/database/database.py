"""The directory ``.hpcflow`` as a whole: finding it, making it, reading its state."""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any

from hpcflow.database.files import write_whole
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
        try:
            self.directory.mkdir(exist_ok=True)
            for name in ("arrays", "code", "data"):
                (self.directory / name).mkdir(exist_ok=True)
            if not self.exists:
                self._write_identity(secrets.token_hex(8))
        except OSError as error:
            raise UserError(
                f"{self.directory}: cannot write the database ({error.strerror}). "
                "A campaign directory must be writable and have space left."
            ) from None

    def _write_identity(self, identity: str) -> None:
        content = {"id": identity, "path": str(self.campaign), "version": VERSION}
        write_whole(self.directory / "campaign.json", json.dumps(content, indent=1).encode())

    def identity(self) -> dict[str, Any]:
        """The content of campaign.json, after checking that this version can read the database.

        Raises
        ------
        UserError
            If there is no database, or a newer hpcflow wrote it.
        """
        path = self.directory / "campaign.json"
        try:
            content: dict[str, Any] = json.loads(path.read_bytes())
        except FileNotFoundError:
            raise UserError(
                f"{self.campaign}: nothing has been submitted here yet. Write hpcflow.yaml and type: hpcflow submit"
            ) from None
        except ValueError:
            raise DamagedDatabase(f"{path}: is not JSON; restore it from a backup") from None
        if content.get("version", 0) > VERSION:
            raise UserError(
                f"{path}: version {content['version']} of the database was written by a newer hpcflow; this one "
                f"reads up to version {VERSION}. Update with: pip install --upgrade hpcflow-arrays"
            )
        return content

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
        """Make this the place of the campaign, as the same one or as a copy with an id of its own."""
        identity = secrets.token_hex(8) if copy else self.identity()["id"]
        self._write_identity(identity)

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
        f"{start}: no hpcflow.yaml here or above, so this is no campaign. Start one with: hpcflow init label my-campaign"
    )


def free_bytes(path: Path) -> int:
    """Space that this user may still use on the file system of ``path``."""
    status = os.statvfs(path)
    return status.f_bavail * status.f_frsize
