"""The command line: one module per verb, loaded when it is called."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from hpcflow.errors import UserError
from hpcflow.version import __version__

VERBS = {
    "init": "start a campaign from an example",
    "submit": "check everything, show the plan and its cost, and start",
    "resume": "move the campaign forward once, and say what happened",
    "poll": "the same for cron: quiet, and leaves if somebody is at it",
    "run": "move the campaign forward until it is done, with a live display",
    "status": "where the campaign stands",
    "explain": "why a task or an array is as it is",
    "logs": "what jobs printed outside of tasks",
    "pause": "submit no more jobs; what runs goes on",
    "continue": "take back pause",
    "cancel": "end all jobs of the campaign; results stay",
    "drop": "give up tasks, with a reason",
    "set": "change width or budget while running",
    "results": "write the results of an array in input order",
    "link": "",
    "report": "write the report of the campaign, one HTML file",
    "cron": "poll from cron until the campaign is done",
    "sites": "machines: list, show, render scripts, check",
    "containers": "images: list, build, pull",
}


class Verbs(click.Group):
    """Finds a verb in the module of its name, so that no command pays for the others."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [verb for verb, about in VERBS.items() if about]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = import_module(f"hpcflow.cli.{cmd_name}_" if cmd_name == "continue" else f"hpcflow.cli.{cmd_name}")
        command: click.Command = getattr(module, "command", None) or getattr(module, cmd_name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and name not in VERBS and not name.startswith("-"):
            from hpcflow.errors import nearest

            known = self.list_commands(ctx)
            raise UserError(f"hpcflow has no command {name!r}.{nearest(name, known)} All of them: hpcflow --help")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, about) for verb, about in VERBS.items() if about])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="hpcflow")
def cli() -> None:
    """Campaigns of quantum calculations, training and sampling on batch systems.

    A directory is the database and every command moves it forward. Try: hpcflow init label
    my-campaign
    """


def main() -> None:
    """Run the command line; a user's mistake is one message and an exit code, not a traceback."""
    try:
        code = cli.main(prog_name="hpcflow", standalone_mode=False)
    except UserError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        if isinstance(error, click.NoSuchOption) and error.ctx is not None and error.ctx.parent is None:
            click.echo("Options come after the command: hpcflow status -C DIR", err=True)
        sys.exit(error.exit_code)
    except (click.Abort, KeyboardInterrupt):
        click.echo("Stopped. Nothing is lost; go on with: hpcflow resume", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
    sys.exit(code if isinstance(code, int) else 0)
