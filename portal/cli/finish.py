"""The end of a command: its exit code, and its error in a sentence."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, NoReturn

import typer

from portal.cli.exits import BrokenOutput, CommandError, Exit
from portal.cli.loading import loading
from portal.errors import InputError, StartError

if TYPE_CHECKING:
    import asyncio


def finish(command: Callable[[], Coroutine[object, object, int]], *, serving: bool = False) -> None:
    """Run a command and exit with its code, that of its error, or 130 if it was interrupted."""
    import asyncio  # The help needs no event loop, and this takes a sixth of the time in which it comes.

    gc.freeze()
    gc.enable()
    loading.done()
    try:
        with asyncio.Runner(loop_factory=_fast_loop() if serving else None) as runner:
            code = runner.run(command())
        flush_output()
    except (CommandError, InputError, StartError) as error:
        from portal.cli.show.console import printable

        if isinstance(error, BrokenOutput):
            abandon_output()
        if str(error):
            typer.echo(f"codemode: {printable(str(error))}", err=True)
        code = error.code if isinstance(error, CommandError) else Exit.USAGE
    except (KeyboardInterrupt, asyncio.CancelledError):
        code = Exit.INTERRUPTED
    except Exception:  # The edge of the process: any other error is our fault, and must not look like the program's.
        import traceback

        traceback.print_exc()
        typer.echo("codemode: this is a fault in codemode itself; please report it with the lines above.", err=True)
        code = Exit.INTERNAL
    raise typer.Exit(code)


def usable_streams() -> None:
    """Let a command write: streams that were closed lead nowhere, and what an encoding does not have is replaced."""
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))
        elif name != "stdin" and isinstance(stream, TextIOWrapper) and not stream.encoding.lower().startswith("utf"):
            stream.reconfigure(errors="replace")


def flush_output() -> None:
    """Write what is still to be written to standard output.

    Raises:
        BrokenOutput: it cannot be written.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError as error:
        raise BrokenOutput("", Exit.OUTPUT_CLOSED) from error
    except OSError as error:
        raise BrokenOutput(f"The output cannot be written: {error.strerror or error}.") from error


def abandon_output() -> None:
    """Let what is left of the output go nowhere. The interpreter tries to write it at its end, and would complain."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


def end_without_output(error: OSError) -> NoReturn:
    """End the process, whose output cannot be written."""
    abandon_output()
    typer.echo(f"codemode: The output cannot be written: {error.strerror or error}.", err=True)
    sys.exit(Exit.USAGE)


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvicorn's choice of an event loop: uvloop if it is installed."""
    import uvicorn

    return uvicorn.Config("", loop="auto", log_config=None).get_loop_factory()
