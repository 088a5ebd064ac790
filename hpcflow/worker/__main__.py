"""What a job runs: ``python DIGEST.pyz worker ...``. A worker starts ``... slot`` by itself."""

from __future__ import annotations

import sys


def main(argv: list[str] | None = None) -> int:
    """Run a worker, a slot process of a worker, or one task by hand, and return the exit status."""
    words = sys.argv[1:] if argv is None else argv
    # Imported here: a slot process needs none of the worker's modules, and starts often.
    if words[:1] == ["slot"]:
        from hpcflow.worker.slot import main as slot

        return slot(words[1:])
    if words[:1] == ["worker"]:
        from hpcflow.worker.main import main as worker

        return worker(words[1:])
    if words[:1] == ["task"]:
        from hpcflow.worker.byhand import main as task

        return task(words[1:])
    sys.stderr.write(__doc__ + "\n")
    return 2


if __name__ == "__main__":
    sys.exit(main())
