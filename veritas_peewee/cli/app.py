"""The program: its commands, and the message and exit code of each kind of failure."""

from __future__ import annotations

import ast
import inspect
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any, cast

import typer

from veritas_peewee.cli.ending import Ending, by_signal, when_asked
from veritas_peewee.cli.plain_values import PlainCommand, PlainGroup
from veritas_peewee.cli.streams import OutputFailed, ReaderGone, guarded
from veritas_peewee.cli.terminal import legible
from veritas_peewee.cli.text import PROGRAM, complain, in_words, say
from veritas_peewee.errors import StoreError

BROKEN_PIPE = 141
"""128 + SIGPIPE, a signal that Python ignores and some systems lack."""

# The errors of click, or of the copy of it that newer versions of Typer contain.
_UsageError: Any = typer.BadParameter.__base__
_ClickError: Any = _UsageError.__base__


class Program(typer.Typer):
    """A program whose commands' help is their docstrings, also where Python has dropped these."""

    def command(self, *args: Any, **options: Any) -> Callable[[Any], Any]:
        register = super().command(*args, cls=PlainCommand, **options)

        def add(command: Any) -> Any:
            if command.__doc__ is None:  # under `python -OO`
                with suppress(OSError, SyntaxError):  # without its source there is no help
                    tree = ast.parse(inspect.getsource(command))
                    command.__doc__ = ast.get_docstring(cast(ast.FunctionDef, tree.body[0]))
            return register(command)

        return add


MODULES = {
    "init": ["init"],
    "show": ["show"],
    "delete": ["delete"],
    "history": ["history"],
    "search": ["search"],
    "stats": ["stats"],
    "ingestion": ["ingest"],
    "compare": ["compare"],
    "trend": ["trend"],
    "verify": ["verify"],
    "head": ["head", "keygen", "vkey"],
    "backup": ["backup", "restore"],
    "doctor": ["doctor"],
    "prune": ["prune"],
    "watch": ["watch"],
    "transfer": ["export", "import"],
    "bag": ["check"],
    "copy": ["copy"],
    "serve": ["serve"],
    "demo": ["demo"],
}
"""The modules of this package that have commands, in the order of the help, with these."""


def _version(wanted: bool) -> None:
    if wanted:
        # Not by an import statement: the package's front imports modules beside the command line.
        version = import_module("veritas_peewee").__version__
        say(f"{PROGRAM} {version}")
        raise typer.Exit


def _program(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def program(command: str | None = None) -> Program:
    """The program with this command, and those of its module; with all if there is none such.

    To import the modules of all commands takes longer than what most of them do.
    """
    app = Program(
        name=PROGRAM,
        cls=PlainGroup,
        help="The store of VERITAS's audits.",
        epilog=f"Begin with: {PROGRAM} demo",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_program)
    named = [module for module, commands in MODULES.items() if command in commands]
    for module in named or MODULES:
        import_module(f"veritas_peewee.cli.{module}").add_to(app)
    return app


def run(args: Sequence[str] | None = None) -> int:
    """Run the program with `args` (default: the command line's); returns the exit code.

    It is 0 when all was done, 1 when the work or its output failed, 2 for wrong usage, and
    128 + the signal's number when it was ended by one: 130 by Ctrl-C, 143 by SIGTERM, 141 when the
    reader of a pipe was gone. A command may have codes of its own from 3 on.
    """
    ending = Ending()
    try:
        with when_asked(ending), guarded(), legible():
            code = _run(args, ending)
    except KeyboardInterrupt:  # while one of these was entered or left
        code = by_signal(signal.SIGINT)
    return ending.code or code


def _run(args: Sequence[str] | None, ending: Ending) -> int:
    try:
        code = _command(args)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return by_signal(signal.SIGINT)
    except ReaderGone:
        return BROKEN_PIPE
    except Exception as error:
        if ending.signal is not None:
            return by_signal(ending.signal)  # the interrupt, as what it hit reports it
        if sys.flags.dev_mode:
            raise
        if isinstance(error, StoreError | OSError | OutputFailed):
            complain(in_words(error))
            return 1
        complain(f"{type(error).__name__}: {error} (an error of the program: see `python -X dev`)")
        return 1
    return code


def _command(args: Sequence[str] | None) -> int:
    given = sys.argv[1:] if args is None else args
    name = next((word for word in given if not word.startswith("-")), None)
    command = typer.main.get_command(program(name))
    try:
        code = command.main(args=args, prog_name=PROGRAM, standalone_mode=False)
    except typer.Abort:
        complain("nothing was done")
        return 1
    except _ClickError as error:
        if type(error).__name__ == "NoArgsIsHelpError":
            sys.stderr.write(error.format_message() + "\n")
        else:
            # Pydantic's word for a value that no validator of a type has refused.
            complain(error.format_message().replace(": Value error, ", ": "))
        return int(error.exit_code)
    return code if isinstance(code, int) else 0
