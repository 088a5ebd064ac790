"""Why Slurm lets a job wait, in plain words, and what can be done. A reason that is not here is shown as it is."""

from __future__ import annotations

import re

_RELEASE = "then let it go with: scontrol release {job}"
_SMALLER = "Change the class in the site file, then type: hpcflow cancel, and hpcflow resume"

_REASONS: tuple[tuple[str, str], ...] = (
    # Held: a person has to do something.
    (r".*JobHeldUser", "somebody holds it; let it go with: scontrol release {job}"),
    (r".*JobHeldAdmin", "an administrator holds it, and has to release it"),
    (
        r"launch failed requeued held",
        f"a node could not start it, and it is held now; see what the site says, {_RELEASE}",
    ),
    (r".*requeued.*held.*", f"it was put back into the queue and is held there; find out why, {_RELEASE}"),
    (r"DependencyNeverSatisfied", "it waits for a job that failed, so it will never start"),
    (r"PartitionTimeLimit", f"it asks for more time than its partition gives. {_SMALLER}"),
    (r"PartitionNodeLimit", f"it asks for more or fewer nodes than its partition gives. {_SMALLER}"),
    (r"PartitionConfig|BadConstraints", f"no node of its partition has what it asks for. {_SMALLER}"),
    (r"InvalidAccount", "its account may not compute here (any more); ask the site"),
    (r"InvalidQOS", "its quality of service is not allowed here; ask the site"),
    (r"(Assoc|QOS)Grp(?!\w*Run)\w*Minutes\w*", "the budget of the account is used up; ask whoever manages it"),
    (r"(Assoc|QOS)Max\w*WallDuration\w*", f"it asks for more time than you may have. {_SMALLER}"),
    (r"(Assoc|QOS)Max\w+PerJob\w*", f"it asks for more than one job may have. {_SMALLER}"),
    # Waiting: it starts by itself.
    (r"Priority", "others are before it"),
    (r"Resources", "it is next, as soon as there is room on the nodes"),
    (r"BeginTime", "its time has not come yet"),
    (r"Dependency", "it waits for another job"),
    (r"JobArrayTaskLimit", "as many of its array run as the site file allows"),
    (r"(Assoc|QOS)(Max|Grp)\w*Submit\w*", "you have as many jobs in the queue as you may"),
    (r"(Assoc|QOS)(Max|Grp)\w+", "you, or your group, run as much at once as is allowed"),
    (r"Partition(Down|Inactive)", "its partition starts no jobs now"),
    (r"ReqNodeNotAvail.*|Nodes required for job are DOWN.*", "nodes that it needs are down, drained or reserved"),
)


def plain(reason: str, job: str) -> str:
    """Return what a reason in a queue listing means for the user; empty if that is not known.

    Parameters
    ----------
    reason
        In Slurm's words.
    job
        Number of the job, for commands.
    """
    for pattern, meaning in _REASONS:
        if re.fullmatch(pattern, reason):
            return meaning.format(job=job)
    return ""
