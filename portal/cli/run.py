"""`codemode run`: a program from a file against the configured servers, and the report of what happened."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from codemode import CodeTool
from portal.cli.console import consoles
from portal.cli.exits import CommandError, Exit
from portal.cli.report import program_frame, run_report
from portal.cli.session import Session, connected, limits_of, read_config
from portal.upstream import CallContext
from sandbox import Engine, InProcessExecutor


@dataclass(frozen=True, slots=True)
class Shown:
    """What to print: everything for a person, the whole answer as JSON, or only the result as JSON."""

    json: bool = False
    result_only: bool = False


def read_program(file: str) -> tuple[str, str]:
    """The source and a title for it; `-` is standard input. Raises `CommandError` (usage)."""
    if file == "-":
        return sys.stdin.read(), "standard input"
    try:
        return Path(file).read_text(encoding="utf-8"), Path(file).name
    except OSError as error:
        raise CommandError(f"Cannot read the program {file}: {error.strerror or error}.") from error
    except UnicodeDecodeError as error:
        raise CommandError(f"The program {file} is not UTF-8 text.") from error


async def run(source: str, title: str, config: Path | None, shown: Shown) -> Exit:
    """Run the program; 0 when it completed, 1 when it failed."""
    stdout, stderr = consoles()
    _, document = read_config(config, stderr, quiet=shown.json or shown.result_only)
    async with connected(document, stderr) as session:
        answer, elapsed = await _answer(source, session, stderr)
    if shown.json:
        stdout.print_json(data=answer, indent=2 if stdout.is_terminal else None)
    elif shown.result_only and "error" not in answer:
        stdout.out(json.dumps(answer.get("result"), ensure_ascii=False), highlight=False)
    else:
        if not shown.result_only:
            stdout.print(program_frame(source, title))
        (stderr if shown.result_only else stdout).print(run_report(answer, elapsed, stdout))
    return Exit.OK if answer.get("status") == "completed" else Exit.PROGRAM_FAILED


async def _answer(source: str, session: Session, stderr: Console) -> tuple[Mapping[str, Any], float]:
    """The structured answer, and how long the run took in milliseconds."""
    catalog = session.catalog
    with stderr.status("Preparing the isolate ..."):
        engine = await asyncio.to_thread(Engine, limits_of(session.config))
        executor = InProcessExecutor(engine)
        await executor.image(catalog.preload)
    try:
        started = time.perf_counter()
        run_id = secrets.token_hex(8)
        with session.caller.run(CallContext(run_id=run_id)) as caller:
            result = await CodeTool(executor).run({"code": source}, catalog, caller, run_id=run_id)
        elapsed = (time.perf_counter() - started) * 1000
    finally:
        await executor.aclose()
        engine.close()
    answer: Mapping[str, Any] = result["structuredContent"]
    return answer, elapsed
