"""`codemode typecheck`: shows and installs the compiler that checks the types of programs."""

from __future__ import annotations

import asyncio

from codemode import HOW_TO_INSTALL_CHECKER, Checker, CheckUnavailable, install_checker
from portal.cli.exits import CommandError, Exit
from portal.cli.show.console import consoles
from portal.cli.show.progress import WaitLine


async def typecheck(action: str | None, *, as_json: bool) -> Exit:
    """Print the compiler, after installing one if `action` is "install". The exit code is 1 if there is none."""
    if action not in (None, "install"):
        raise CommandError(f"`codemode typecheck {action}` is nothing. Did you mean `codemode typecheck install`?")
    stdout, stderr = consoles()
    if action == "install":
        with WaitLine(stderr, "Getting TypeScript's native compiler ..."):
            try:
                await asyncio.to_thread(install_checker)
            except CheckUnavailable as error:
                raise CommandError(f"Not installed: {error}.", Exit.PROGRAM_FAILED) from error
    compiler = Checker().compiler
    if as_json:
        stdout.print_json(data=None if compiler is None else {"compiler": str(compiler), "path": str(compiler.path)})
    if compiler is None:
        stderr.print(
            f"No type checker is installed. Install one with: {HOW_TO_INSTALL_CHECKER}", highlight=False, markup=False
        )
        return Exit.PROGRAM_FAILED
    if not as_json:
        stdout.print(f"Types are checked by {compiler}: {compiler.path}", highlight=False, soft_wrap=True)
    if compiler.kind == "deno":
        stderr.print("`codemode typecheck install` gets TypeScript's own compiler, ten times as fast.", highlight=False)
    return Exit.OK
