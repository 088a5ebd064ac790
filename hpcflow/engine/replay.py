"""Replay: run the workflow function again, if something it stopped at has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcflow.database.files import file_stamp
from hpcflow.engine.engine import STORAGE, Engine
from hpcflow.errors import UserError

if TYPE_CHECKING:
    from hpcflow.configuration import Configuration
    from hpcflow.engine.session import ReplaySession
    from hpcflow.session import NotReady


def must_replay(engine: Engine) -> bool:
    """Whether anything that the last replay stopped at, or read, is different now."""
    campaign = engine.state.campaign
    if campaign.cancelled or not (engine.campaign / "hpcflow.yaml").exists():
        return False  # without hpcflow.yaml a script drives this campaign itself
    if campaign.finished and campaign.replayed:
        return _files_changed(engine)
    if campaign.waiting is None or _files_changed(engine):
        return True
    for number, needed in campaign.waiting.items():
        array = campaign.arrays.get(number)
        if array is None or array.done or not array.current or array.succeeded >= needed:
            return True
    return False


def script_is_done(engine: Engine) -> bool:
    """Whether a campaign that a script drives has just computed all that it was asked for so far."""
    campaign = engine.state.campaign
    if campaign.finished or not campaign.arrays:
        return False
    if campaign.replayed or (engine.campaign / "hpcflow.yaml").exists():
        return False  # only a replay knows
    return all(array.done or not array.current for array in campaign.arrays.values())


def _files_changed(engine: Engine) -> bool:
    for path, stamp in engine.state.campaign.replayed.items():
        try:
            if file_stamp(path) != stamp:
                return True
        except OSError:
            return True
    return False


def call_workflow(session: ReplaySession, configuration: Configuration) -> list[NotReady]:
    """Call the workflow function as far as it gets.

    Returns
    -------
    stops
        Where it had to wait; empty if it got to its end with everything there.

    Raises
    ------
    UserError
        If the workflow, its parameters or an input are not as they must be.
    """
    from hpcflow.loading import in_hpcflow, loaded_files, place_of, said_by
    from hpcflow.session import NotReady
    from hpcflow.sources import relative_to
    from hpcflow.workflow import Run

    function, arguments = configuration.workflow_call()
    session.read_files[str(configuration.path)] = file_stamp(configuration.path)
    session.read_files.update(loaded_files(session.campaign))
    run = Run(session)
    stops: list[NotReady] = []
    with relative_to(session.campaign, session.read_files):
        try:
            function(run, **arguments)
        except NotReady as stop:
            stops.append(stop)
        except UserError:
            raise
        except (Exception, SystemExit) as error:  # a workflow is the user's code: whatever it raises is reported
            stored = isinstance(error, OSError) and error.errno in STORAGE and not session.engine.read_only
            if stored and in_hpcflow(error, session.campaign):
                raise  # the disk is full, say: nothing of the workflow is to be mended
            place = place_of(error, session.campaign)
            if not place:
                raise UserError(f"{configuration.place()}: {said_by(error)}") from error
            raise UserError(f"{place}: {type(error).__name__}: {error}") from error
        finally:
            session.read_files.update(loaded_files(session.campaign))  # what it imported on its way
    return [*stops, *run.stops]


def replay(engine: Engine, accept_growth: bool = False) -> None:
    """Run the campaign's workflow from the top, up to where it has to wait.

    Raises
    ------
    UserError
        If the workflow, its parameters or an input are not as they must be.
    """
    from hpcflow.configuration import read_configuration
    from hpcflow.engine.session import ReplaySession

    campaign = engine.state.campaign
    configuration = read_configuration(engine.campaign)
    session = ReplaySession(engine, configuration.seed, accept_growth)
    stops = call_workflow(session, configuration)
    session.write_metrics()
    open_changes = {f"changed {key}" for key in session.asked}
    for subject in list(campaign.attention):
        if subject == "workflow" or (subject.startswith("changed ") and subject not in open_changes):
            engine.record("resolved", subject=subject)
    campaign.replayed = session.read_files
    campaign.waiting = {}
    for stop in stops:
        for number in stop.arrays:
            campaign.waiting[number] = session.needs.get(number, campaign.arrays[number].count)
    for array in campaign.arrays.values():
        if array.current and not array.done:
            campaign.waiting.setdefault(array.number, array.count)
    engine.changed = True
    if not stops and not campaign.waiting and not campaign.finished:
        engine.record("finished")
        engine.say("the workflow is finished")
