"""The command line, `veritas-peewee`; it needs the extra `cli` and holds no SQL."""

import sys


def main() -> int:
    """Run the command line; returns the exit code: 0 done, 1 a failure, 2 wrong usage."""
    try:
        from veritas_peewee.cli.app import run
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("typer", "rich"):
            raise
        sys.stderr.write("veritas-peewee: install the extra `veritas-peewee[cli]`\n")
        return 1
    except KeyboardInterrupt:
        return 130
    return run()
