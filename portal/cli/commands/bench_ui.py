"""`codemode bench-ui`: serves the bench as a page on this machine, until it is interrupted."""

from __future__ import annotations

import asyncio
import webbrowser
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

from rich.console import Console
from rich.text import Text

from codemode import CodeTool, Meanings, common_preload
from portal.app import changed_keys, checker_for, limits_of, open_upstreams, store_for_calls
from portal.bench.ui import (
    MONACO,
    BenchPage,
    EditorUnavailable,
    InitialContent,
    create_bench_app,
    editor_cache,
    install,
    new_token,
    page_url,
)
from portal.calls import Caller
from portal.cli.commands.run import read_program
from portal.cli.exits import CommandError, Exit
from portal.cli.process import stop_on_signal
from portal.cli.session import print_notes, read_config, usable
from portal.cli.show.announce import reload_line
from portal.cli.show.console import consoles
from portal.cli.show.progress import WaitLine
from portal.cli.show.token_count import count_tokens
from portal.config import Config, parse_config, watch_config
from portal.errors import ConfigError
from portal.http import UnsafeBind, require_safe_bind, running
from portal.logs import Discard, configure_logging
from portal.servers import Servers
from portal.state import background
from sandbox import WorkerExecutor


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchOptions:
    """Options of the command. `program` is a file to begin with, "-" for standard input.

    `demo` uses the example servers instead of a configuration, `plain` a text field instead of the editor, and `open`
    opens the page in the browser.
    """

    program: str | None = None
    demo: bool = False
    plain: bool = False
    open: bool = False
    host: str = "127.0.0.1"
    port: int = 0


async def bench_ui(config: Path | None, options: BenchOptions) -> Exit:
    """Serve the page until SIGINT or SIGTERM."""
    _, stderr = consoles()
    try:
        require_safe_bind(options.host, identity=False)
    except UnsafeBind as error:
        raise CommandError(f"The bench is for this machine only. {error}") from error
    program = None if options.program is None else read_program(options.program)[0]
    configure_logging(level="error", terminal=stderr.is_terminal)
    if options.demo:
        from portal.demo import example_upstreams

        async with example_upstreams() as document:
            initial = InitialContent(title="the example servers", program=program, examples=_demo_programs())
            return await _serve(parse_config(document, file="the demo's configuration"), None, initial, options, stderr)
    file, read = read_config(config, stderr)
    return await _serve(read, file, InitialContent(title=file.name, program=program), options, stderr)


async def _serve(
    config: Config, file: Path | None, initial: InitialContent, options: BenchOptions, stderr: Console
) -> Exit:
    with stop_on_signal() as stop:
        async with _bench(config, file, initial, stderr) as bench:
            editor, no_editor = await _editor(stderr, plain=options.plain)
            token = new_token()
            app = create_bench_app(bench, token, editor=editor, no_editor=no_editor)
            try:
                async with running(
                    app, host=options.host, port=options.port, http=app.state.http, on_stop=app.state.close_streams
                ) as base:
                    url = page_url(base, token)
                    stderr.print(Text.assemble("The bench is at ", (url, "bold cyan")), soft_wrap=True)
                    stderr.print("Its URL is the key: whoever has it runs programs with your servers. Ctrl-C stops.")
                    with browser_window(url, base) if options.open else nullcontext():
                        await stop.wait()
            except OSError as error:
                reason = error.strerror or str(error)
                message = f"Cannot listen on {options.host} port {options.port}: {reason}. Choose another with --port."
                raise CommandError(message) from error
    return Exit.OK


@asynccontextmanager
async def _bench(
    config: Config, file: Path | None, initial: InitialContent, stderr: Console
) -> AsyncIterator[BenchPage]:
    """The bench. Programs run in worker processes, as in `codemode serve`, so that none of them can stop the page."""
    limits, checker = limits_of(config), checker_for(config)
    async with AsyncExitStack() as stack:
        with WaitLine(stderr, "Preparing the isolates ..."):
            executor = await stack.enter_async_context(WorkerExecutor(limits, workers=1, common=common_preload()))
        store = await stack.enter_async_context(store_for_calls(config))
        upstreams = await stack.enter_async_context(open_upstreams(config, Discard(), store))
        servers = upstreams.servers
        if file is not None:
            await stack.enter_async_context(background(_reload(file, config, servers, stderr)))
        caller = Caller(servers, upstreams.records, observer=upstreams.learning)
        if (meanings := Meanings.installed()) is not None:
            stack.enter_context(meanings)
        code_tool = CodeTool(executor, checker=checker, type_check=config.portal.type_check, meanings=meanings)
        code_tool.warm()
        yield BenchPage(servers, caller, code_tool, limits=limits, count=count_tokens, initial=initial)


async def _editor(stderr: Console, *, plain: bool) -> tuple[Path | None, str]:
    """The editor's folder and "", or None and the reason there is no editor."""
    if plain:
        return None, "The bench was started with --plain."
    try:
        with WaitLine(stderr, "Looking for the editor ...") as line:
            return await asyncio.to_thread(install, MONACO, editor_cache(), say=line.say), ""
    except EditorUnavailable as error:
        reason = f"The editor is not available: {error}"
        stderr.print(Text(f"{reason} The page has a plain text field meanwhile.", style="yellow"), soft_wrap=True)
        return None, reason


async def _reload(file: Path, config: Config, servers: Servers, stderr: Console) -> None:
    """Take up changes of the servers; nothing else of the configuration changes for a bench that runs."""
    running = config

    async def apply(document: Config) -> None:
        nonlocal running
        document = usable(document)
        changed = running.model_copy(update={"servers": document.servers, "section": document.section})
        await servers.apply(document.servers)
        stderr.print(Text(reload_line(file.name, changed_keys(running, changed)), style="dim"), soft_wrap=True)
        print_notes([note for note in document.notes if note not in running.notes], file, stderr)
        running = changed.model_copy(update={"notes": document.notes})

    def refuse(error: ConfigError) -> None:
        stderr.print(Text(f"The changed configuration is not taken up: {error}", style="yellow"), soft_wrap=True)

    await watch_config(file, apply, refuse)


@contextmanager
def browser_window(url: str, base: str) -> Iterator[None]:
    """Open the URL in the browser, through a file that only its owner can read.

    The URL contains the key of the page, and all users of a machine can read the arguments of a browser's process.
    """
    file = editor_cache().parent / "bench" / f"open-{base.rpartition(':')[2]}.html"
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file.parent.chmod(0o700)
    file.unlink(missing_ok=True)
    file.touch(mode=0o600)
    try:
        file.write_text(f'<!doctype html><meta http-equiv="refresh" content="0;url={escape(url)}">\n')
        webbrowser.open(file.as_uri())
        yield
    finally:
        file.unlink(missing_ok=True)


def _demo_programs() -> list[dict[str, str]]:
    folder = files("portal.demo") / "programs"
    titles = {"join.js": "Join three servers", "limit.js": "Run into a limit"}
    return [{"title": title, "code": (folder / name).read_text(encoding="utf-8")} for name, title in titles.items()]
