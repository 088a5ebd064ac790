"""The tick: observe, collect, decide, replay, submit. Every tick starts by reconciling, whatever a crash left."""

from __future__ import annotations

from hpcflow.engine.collect import collect
from hpcflow.engine.decide import decide, decide_array, write_missing_lists
from hpcflow.engine.endings import explain
from hpcflow.engine.engine import Engine
from hpcflow.engine.finish import clear_finished
from hpcflow.engine.observe import adopt, observe
from hpcflow.engine.replay import must_replay, script_is_done
from hpcflow.engine.submit import submit
from hpcflow.errors import UserError


def tick(engine: Engine, *, submission: bool = False) -> None:
    """One pass of the engine.

    Parameters
    ----------
    submission
        The user asked for what the workflow says now: it is replayed in any case, new inputs of a step are
        computed without asking, and a mistake ends the tick with an error. Otherwise a mistake is kept as something
        that needs attention, and what runs goes on.
    """
    clear_finished(engine)
    write_missing_lists(engine)
    observe(engine)
    collect(engine)
    adopt(engine)
    explain(engine)
    decide(engine)
    if submission or must_replay(engine):
        from hpcflow.engine.replay import replay

        try:
            replay(engine, accept_growth=submission)
        except UserError as error:
            if submission:
                raise
            engine.attention("workflow", str(error))
            engine.state.campaign.waiting = engine.state.campaign.waiting or {}
        for array in list(engine.live_arrays()):
            decide_array(engine, array)
    elif script_is_done(engine):
        engine.record("finished")
    submit(engine, strict=submission)
    if engine.state.campaign.chain:
        from hpcflow.engine.chain import keep_chain

        keep_chain(engine)
    engine.end_tick()
