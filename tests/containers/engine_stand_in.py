"""Stand-ins for container engines that no machine of ours has: they look at their arguments as the real one would,
and then run the command where they are, with no more of the environment than the real one lets through.

They follow the source of podman-hpc 1.1 with the manual of podman-run, and the manual of Shifter. What they do not do
is to hide files: a path that is not shown inside is refused instead, where it stands on the command line.
"""

import argparse
import fnmatch
import os
import re
import sys

IMAGES = {"podman-hpc": "registry.example.org/me/mace:1", "shifter": "docker:me/mace:1"}
OF_THE_IMAGE = {"PATH": os.environ["PATH"], "INSIDE": os.path.basename(sys.argv[0])}


def podman_hpc(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser("podman-hpc", allow_abbrev=False)
    verbs = parser.add_subparsers(required=True)
    run = verbs.add_parser("run", allow_abbrev=False)
    for flag in ("--rm", "--gpu", "--mpi", "--openmpi-pmi2"):
        run.add_argument(flag, action="store_true")
    run.add_argument("--uts", choices=("host", "private"))
    run.add_argument("-e", "--env", action="append", default=[])
    run.add_argument("-v", "--volume", action="append", default=[])
    run.add_argument("-w", "--workdir", default="/")
    run.add_argument("image")
    run.add_argument("command", nargs=argparse.REMAINDER)
    options = run.parse_args(arguments[1:]) if arguments[:1] == ["run"] else parser.parse_args(arguments)
    if options.image != IMAGES["podman-hpc"]:
        sys.exit(f"Error: initializing source docker://{options.image}: manifest unknown")
    shown = []
    for volume in options.volume:
        source, _, target = volume.partition(":")
        if not os.path.isdir(source) or not os.path.isabs(target):
            sys.exit(f"Error: statfs {source}: no such file or directory")
        shown.append(target)
    environment = {**OF_THE_IMAGE, "HOME": os.environ["HOME"]}  # the tests find what is left running by it
    for entry in options.env:
        name, equals, value = entry.partition("=")
        found = {name: value} if equals else {n: v for n, v in os.environ.items() if fnmatch.fnmatchcase(n, name)}
        environment.update(found)
    of_the_campaign = [word for word in options.command if "/.hpcflow/" in word and os.path.exists(word)]
    for path in [options.workdir, *of_the_campaign]:
        if not any(path == place or path.startswith(place + "/") for place in shown):
            sys.exit(f"Error: {path}: no such file or directory in the container")
    os.chdir(options.workdir)
    os.execvpe(options.command[0], options.command, environment)


def shifter(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser("shifter", allow_abbrev=False)
    parser.add_argument("-i", "--image", required=True)
    parser.add_argument("-V", "--volume", action="append")
    parser.add_argument("-m", "--module")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    if not re.fullmatch(r"\w+:.+", options.image) or options.image != IMAGES["shifter"]:
        sys.exit(f"FAILED to lookup {options.image} image")
    os.execvpe(options.command[0], options.command, {**os.environ, **OF_THE_IMAGE})


{"podman-hpc": podman_hpc, "shifter": shifter}[os.path.basename(sys.argv[0])](sys.argv[1:])
