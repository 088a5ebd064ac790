"""What a site file can say. Sites are data: nothing here is specific to one machine.

Every struct is one mapping of the YAML file, every field one key, with the same name unless noted.
A knob is here because a shipped site needs it. Sizes are in MiB and times in seconds.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from hpcflow.errors import UserError, nearest
from hpcflow.sites.quantities import Duration, Mebibytes
from hpcflow.sites.shape import Shape, shape

Count = Annotated[int, Meta(ge=1)]
Number = Annotated[int, Meta(ge=0)]
Options = dict[str, str | list[str] | None]
"""Options of the batch script. ``partition: small`` becomes ``#SBATCH --partition=small``; a list gives
one line per item, empty text an option without a value, null takes an inherited option away.
Words in braces (``{cores}``) are filled in, see ``options.py``."""

RETRIED = ("error", "unconverged", "timeout", "walltime", "oom", "lost")
"""Reasons for which a task may be charged a retry."""


class Scheduler(msgspec.Struct, kw_only=True, frozen=True):
    """The batch system and how to be polite to it."""

    kind: Literal["local", "slurm", "pbs", "lsf"]
    """Which one; ``local`` is none."""
    min_interval: Duration = 60.0
    """At most one listing of the queue per user in this time."""
    settle: Duration = 60.0
    """How long a silent worker must have been gone before its work is given to others."""
    beat: Duration = 60.0
    """How often workers say that they live."""
    environment: dict[str, str] = {}
    """Variables for the scheduler's own commands, such as SLURM_CONF."""
    submit_from_nodes: bool = False
    """Whether a running job may submit another one, so that campaigns can drive themselves."""
    worker_launcher: str | None = None
    """Command that starts one process on every node of a job, where the template's own will not do."""


class Limits(msgspec.Struct, kw_only=True, frozen=True):
    """What one user may have at once; None: no limit is known."""

    submit: Count | None = None
    """Elements queued and running."""
    running: Count | None = None
    """Elements running."""
    array: Count | None = None
    """Elements of one job array."""


class Node(msgspec.Struct, kw_only=True, frozen=True):
    """A kind of node, as far as jobs may use it."""

    cores: Count
    """Real cores that jobs may use."""
    gpus: Number = 0
    """What jobs ask for as a GPU: on some machines half of one."""
    memory: Mebibytes | None = None
    """What jobs may use, which is less than what is built in."""
    cpus_per_core: Count = 1
    """How many CPUs the scheduler counts for one core."""
    arch: str = "x86_64"
    """Of the processor; images and interpreters must be made for it."""
    gpu_variable: str = "CUDA_VISIBLE_DEVICES"
    """The variable that says which GPUs a process sees."""
    gpu_ids: list[str] = []
    """Names of the GPUs in that variable; 0, 1, ... if not given."""
    gpu_cores: list[str] = []
    """The cores next to each GPU, in the order of ``gpu_ids``: ``["49-55", "57-63"]``."""


class Queue(msgspec.Struct, kw_only=True, frozen=True):
    """Where jobs go: a partition, a queue, a quality of service, or any bundle of options."""

    node: str | None = None
    """Name of an entry of ``nodes``."""
    options: Options = {}
    """Of jobs that go there, see below."""
    exclusive: bool = False
    """Jobs get whole nodes, so that a worker should fill them with slots."""
    cluster: str | None = None
    """Name of the Slurm cluster, where one installation has several."""
    min_nodes: Count = 1
    """Smaller jobs are refused."""
    max_nodes: Count | None = None
    """Larger jobs are refused."""
    min_walltime: Duration = 0.0
    """Shorter jobs are refused."""
    max_walltime: Duration | None = None
    """Longer jobs are refused, or wait for ever."""
    max_walltime_by_nodes: dict[Count, Duration] = {}
    """``{91: 2h, 183: 6h}``: up to 91 nodes 2 hours, up to 183 nodes 6 hours."""
    cores_per_gpu: Count | None = None
    """Jobs must ask for exactly this many cores per GPU."""
    max_cores_per_gpu: Count | None = None
    """Jobs may ask for so many cores per GPU and no more."""
    memory_per_core: Mebibytes | None = None
    """Memory of a slot per core, if its class does not say."""
    memory_per_gpu: Mebibytes | None = None
    """Memory of a slot per GPU, if its class does not say."""
    forbidden: list[str] = []
    """Options that the scheduler refuses here."""
    limits: Limits = Limits()
    """Of this queue alone."""


class Environment(msgspec.Struct, kw_only=True, frozen=True):
    """What a job sets up before its worker starts, in this order. A step that fails ends the job."""

    modules: list[str] = []
    """``cp2k/2026.1`` is loaded; ``use /path``, ``purge`` and other sub-commands are kept as they are."""
    variables: dict[str, str | None] = {}
    """Exported; ``$NAME`` and ``$(command)`` in a value are expanded on the node."""
    lines: list[str] = []
    """Shell lines, verbatim."""

    def __post_init__(self) -> None:
        for name in self.variables:
            if not (name.isascii() and name.isidentifier()):
                raise ValueError(f"{name!r} cannot be the name of a variable", ("variables", name))


class Runtime(msgspec.Struct, kw_only=True, frozen=True):
    """How containers are started on this site."""

    engine: Literal["apptainer", "singularity", "podman-hpc", "shifter", "charliecloud", "uenv", "edf"]
    """What runs them; ``edf`` is ``srun --environment``."""
    command: str | None = None
    """Replaces the engine's usual command line, see below. Empty if an option of the job brings the image in."""
    gpu: str = ""
    """Added for classes with GPUs: ``--nv``, ``--rocm``."""
    options: str = ""
    """Added always: ``--fakeroot``."""
    binds: list[str] = []
    """Directories to show inside, besides the campaign; ``$NAME`` is expanded on the node."""
    image_on: list[str] = []
    """If given, images must lie below one of these directories."""


class Container(msgspec.Struct, kw_only=True, frozen=True):
    """The image of a class, and what runs inside it."""

    image: str
    """A file, or whatever else the engine takes; ``$NAME`` is expanded on the node."""
    wraps: Literal["worker", "command"] = "worker"
    """The whole worker, or only what ``HPCFLOW_LAUNCH`` stands in front of."""
    binds: list[str] = []
    """More directories to show inside."""


class TaskClass(msgspec.Struct, kw_only=True, frozen=True, rename={"task_walltime": "max_walltime"}):
    """How one kind of work runs: queue, shape, limits, environment."""

    like: str | None = None
    """Name of another class whose values this one has, except for its own."""
    queue: str | None = None
    """Name of an entry of ``queues``."""
    account: str | None = None
    """If another than the site's."""
    nodes: Count = 1
    """Nodes of one element. Each gets a worker of its own, unless ``span`` is set."""
    span: bool = False
    """A task uses all nodes of its element: one worker with one slot."""
    slots: Count | None = None
    """Tasks at once on a node. By default one, or as many as fit where nodes are exclusive."""
    cores: Count = 1
    """Of one slot, like everything up to ``memory``."""
    ranks: Count = 1
    """MPI processes of a task; they share its cores evenly."""
    gpus: Number = 0
    """Of one slot."""
    memory: Mebibytes | None = None
    """Of one slot. By default what the queue gives, or its share of a whole node."""
    walltime: Duration
    """Of one job."""
    task_walltime: Duration | None = None
    """Longest time for one task."""
    margin: Duration = 120.0
    """A worker is done this long before its walltime is over."""
    grace: Duration = 30.0
    """Between asking a task to stop and killing it."""
    workers: Count | None = None
    """At most this many elements of one array at once."""
    retries: dict[str, Number] = {}
    """How often a task is tried again: ``{error: 1, timeout: 0}``."""
    ladder: list[dict[str, Any]] = []
    """Parameters to try next, rung by rung, for a calculation that did not converge."""
    launcher: str = ""
    """Goes in front of external programs, see below."""
    container: Container | None = None
    """The image it runs in."""
    python: str | None = None
    """By default the interpreter that runs hpcflow, and ``python3`` inside a container."""
    environment: Environment = Environment()
    """After that of the site."""
    options: Options = {}
    """Of its jobs, see below."""

    _queue: Queue | None = None
    _node: Node | None = None
    _own_memory: int | None = None

    @property
    def own_memory(self) -> int | None:
        """The memory that the class itself asks for, where ``memory`` may be what its queue gives."""
        return self._own_memory if self._queue is not None else self.memory

    def shape(self, request: Mapping[str, Any] | None = None) -> Shape:
        """Return what one element asks for; ``request`` replaces cores, gpus, memory, walltime, slots."""
        return shape(self, self._queue or Queue(), self._node, request or {})

    def expected_slots(self, request: Mapping[str, Any] | None = None) -> int:
        """Return how many tasks at once a node will have; 1 where only the worker can find out."""
        return self.shape(request).slots or 1

    def placed(self, queue: Queue, node: Node | None) -> TaskClass:
        """Return this class with what it inherits from its queue."""
        own = msgspec.structs.replace(self, _queue=queue, _node=node, _own_memory=self.memory)
        return msgspec.structs.replace(own, memory=own.shape().memory)

    def __post_init__(self) -> None:
        for reason in self.retries:
            if reason not in RETRIED:
                raise ValueError(f"there are no retries for {reason!r}.{nearest(reason, RETRIED)}", ("retries", reason))
        if self.cores % self.ranks:
            raise ValueError(f"{self.ranks} ranks cannot share {self.cores} cores evenly", ("ranks",), ("cores",))
        if self.span and (self.slots or 1) > 1:
            raise ValueError("a class whose tasks span all nodes has one slot", ("slots",))
        if self.margin < self.grace:
            short = f"margin ({self.margin:g} s) is shorter than grace ({self.grace:g} s)"
            raise ValueError(short, ("margin",), ("grace",))
        if self.walltime <= self.margin:
            short = f"walltime ({self.walltime:g} s) is not longer than margin ({self.margin:g} s)"
            raise ValueError(short, ("walltime",))


class Site(msgspec.Struct, kw_only=True, frozen=True):
    """A machine and its scheduler."""

    name: str
    title: str = ""
    """What people call it."""
    account: str | None = None
    """Never in a shipped file: from the user's file or from HPCFLOW_ACCOUNT."""
    scheduler: Scheduler
    """The batch system."""
    limits: Limits = Limits()
    """Over all queues together."""
    nodes: dict[str, Node] = {}
    """Kinds of nodes by name."""
    queues: dict[str, Queue] = {}
    """Queues by name."""
    classes: dict[str, TaskClass] = {}
    """Task classes by name; the built-in workflows use default, reference, training and evaluation."""
    options: Options = {}
    """Of every job, see below."""
    required: list[str] = []
    """Options that no job may lack, such as the account."""
    environment: Environment = Environment()
    """Before that of the class."""
    container: Runtime | None = None
    """How containers are run."""
    scratch: str | None = None
    """Node-local directory for tasks; ``$NAME`` is expanded on the node. By default that of the system."""
    campaign_not_in: list[str] = []
    """Campaigns below these directories are refused, because nodes cannot use them; ``$NAME`` is expanded here."""
    shell: str = "/bin/bash -l"
    """First line of the scripts; with ``-l`` it finds the module system also if cron has submitted the job."""
    until: datetime.date | None = None
    """The day the machine is switched off."""
    sources: dict[str, str] = {}
    """Key (``queues.small``), to where its values were found and when. Holds for keys below it too."""
    unverified: dict[str, str] = {}
    """Key, to why its value could not be verified."""
    _campaign: str | None = None
    """The campaign whose layers it has."""

    def task_class(self, name: str) -> TaskClass:
        """Return the class of that name, or raise UserError with the nearest one."""
        try:
            return self.classes[name]
        except KeyError:
            raise UserError(
                f"Site {self.name} has no task class {name!r}.{nearest(name, self.classes)} "
                f"To add one, write it under `classes:` in sites/{self.name}.yaml of the campaign."
            ) from None

    def queue_of(self, task_class: TaskClass) -> Queue:
        """Return the queue of a class; one without any options if it names none."""
        return self.queues[task_class.queue] if task_class.queue else Queue()

    def node_of(self, task_class: TaskClass) -> Node | None:
        """Return the kind of node that a class runs on, if the site says so."""
        queue = self.queue_of(task_class)
        return self.nodes[queue.node] if queue.node else None

    def placed(self) -> Site:
        """Return this site with each class knowing its queue and nodes."""
        classes = {}
        for name, task_class in self.classes.items():
            classes[name] = task_class.placed(self.queue_of(task_class), self.node_of(task_class))
        return msgspec.structs.replace(self, classes=classes)

    @property
    def campaign(self) -> str | None:
        """The campaign whose layers this site has, if any."""
        return self._campaign

    def limits_for(self, task_class: TaskClass) -> Limits:
        """Return what this user may have in the queue of a class, the site's own limits included."""
        own, queue = self.limits, self.queue_of(task_class).limits
        both = {f: [n for n in (getattr(own, f), getattr(queue, f)) if n] for f in Limits.__struct_fields__}
        return Limits(**{name: min(found) for name, found in both.items() if found})

    @property
    def clusters(self) -> tuple[str, ...]:
        """Names of all Slurm clusters that its queues belong to."""
        return tuple(sorted({queue.cluster for queue in self.queues.values() if queue.cluster}))
