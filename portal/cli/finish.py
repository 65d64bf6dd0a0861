"""The end of a command: its exit code, and its error in a sentence."""

from __future__ import annotations

import asyncio
import gc
import traceback
from collections.abc import Callable, Coroutine

import typer

from portal.cli.exits import CommandError, Exit
from portal.errors import InputError, StartError


def finish(command: Callable[[], Coroutine[object, object, int]], *, serving: bool = False) -> None:
    """Run a command and exit with its code, that of its error, or 130 if it was interrupted."""
    gc.freeze()
    gc.enable()
    try:
        with asyncio.Runner(loop_factory=_fast_loop() if serving else None) as runner:
            code = runner.run(command())
    except (CommandError, InputError, StartError) as error:
        from portal.cli.show.console import printable

        typer.echo(f"codemode: {printable(str(error))}", err=True)
        code = error.code if isinstance(error, CommandError) else Exit.USAGE
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = Exit.INTERRUPTED
    except Exception:  # The edge of the process: any other error is our fault, and must not look like the program's.
        traceback.print_exc()
        typer.echo("codemode: this is a fault in codemode itself; please report it with the lines above.", err=True)
        code = Exit.INTERNAL
    raise typer.Exit(code)


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvicorn's choice of an event loop: uvloop if it is installed."""
    import uvicorn

    return uvicorn.Config("", loop="auto", log_config=None).get_loop_factory()
