"""``python -m hpcflow``: the command line for where its script is not on PATH, as in cron."""

from hpcflow.cli.main import main

main()
