"""Replay: run the workflow function again, if something it stopped at has changed."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

from hpcflow.engine.engine import Engine
from hpcflow.errors import UserError

if TYPE_CHECKING:
    from hpcflow.engine.session import ReplaySession


def must_replay(engine: Engine) -> bool:
    """Whether anything that the last replay stopped at, or read, is different now."""
    campaign = engine.state.campaign
    if campaign.cancelled or campaign.finished and not _files_changed(engine):
        return False
    if campaign.waiting is None or _files_changed(engine):
        return True
    for number, needed in campaign.waiting.items():
        array = campaign.arrays.get(number)
        if array is None or array.done or not array.current or array.succeeded >= needed:
            return True
    return False


def _files_changed(engine: Engine) -> bool:
    from hpcflow.engine.session import file_stamp

    for path, stamp in engine.state.campaign.replayed.items():
        try:
            if file_stamp(path) != stamp:
                return True
        except OSError:
            return True
    return False


def replay(engine: Engine, accept_growth: bool = False) -> ReplaySession:
    """Run the campaign's workflow from the top, up to where it has to wait.

    Raises
    ------
    UserError
        If the workflow, its parameters or an input are not as they must be.
    """
    from hpcflow.configuration import read_configuration
    from hpcflow.engine.session import ReplaySession, file_stamp
    from hpcflow.workflow import _BASES, NotReady, Run

    campaign = engine.state.campaign
    configuration = read_configuration(engine.campaign)
    session = ReplaySession(engine, configuration.seed, accept_growth)
    session.read_files[str(configuration.path)] = file_stamp(configuration.path)
    function, arguments = configuration.workflow_call()
    source = sys.modules[function.__module__].__file__ or ""
    if source and Path(source).is_relative_to(engine.campaign):
        session.read_files[source] = file_stamp(source)
    run = Run(session)
    stops: list[NotReady] = []
    _BASES.append(engine.campaign)
    try:
        function(run, **arguments)
    except NotReady as stop:
        stops.append(stop)
    except UserError:
        raise
    except Exception as error:
        raise UserError(_where(error, function.__code__.co_filename)) from error
    finally:
        _BASES.pop()
    stops += run.stops
    session.write_metrics()
    engine.state.campaign.replayed = session.read_files
    campaign.waiting = {}
    for stop in stops:
        for number in stop.arrays:
            campaign.waiting[number] = session.needs.get(number, campaign.arrays[number].count)
    for array in campaign.arrays.values():
        if array.current and not array.done:
            campaign.waiting.setdefault(array.number, array.count)
    engine.changed = True
    if "workflow" in campaign.attention:
        engine.record("resolved", subject="workflow")
        campaign.waiting = campaign.waiting if campaign.waiting is not None else {}
    if not stops and not campaign.waiting:
        engine.record("finished")
        engine.say("the workflow is finished")
    return session


def _where(error: Exception, filename: str) -> str:
    """The place in the user's file where a workflow failed."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = next((f for f in reversed(frames) if f.filename == filename), frames[-1])
    return f"{frame.filename}, line {frame.lineno}, in {frame.name}: {type(error).__name__}: {error}"
