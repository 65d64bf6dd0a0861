"""The messages of `codemode serve` to its operator: text on a terminal, log events otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

from rich.console import Console
from rich.syntax import Syntax
from rich.text import Text
from structlog.typing import FilteringBoundLogger

from portal.cli.config_file import EXAMPLE
from portal.cli.show.listing import STATE_STYLE, servers_table
from portal.cli.show.progress import WaitLine
from portal.cli.show.report import THEME
from portal.home import CODE_MODE, client_setups
from portal.servers import ServerSnapshot, Snapshot

SLOW_START_SECONDS = 1.0
NO_SERVERS = (
    f"There is no server yet. Write one into the configuration, such as {EXAMPLE}; it is taken up while this runs. "
    "`codemode import` takes over those of your MCP clients, and `codemode demo --serve` serves three examples. "
    "Where people sign in, administrators add servers in the console as well (/admin)."
)


class Announcer(Protocol):
    """Tells the operator about each event in the life of a served portal."""

    def preparing(self) -> AbstractContextManager[object]: ...
    def prepared(self, seconds: float, unconfined: Mapping[str, str]) -> None: ...
    def listening(self, url: str, others: Mapping[str, Sequence[str]]) -> None: ...
    def tell_operator(self, text: str) -> None: ...
    def servers_changed(self, old: Snapshot, new: Snapshot) -> None: ...
    def settled(self, snapshot: Snapshot) -> None: ...
    def notes(self, notes: Sequence[str]) -> None: ...
    def reloaded(self, file: str, keys: Sequence[str]) -> None: ...
    def reload_waits(self, keys: Sequence[str]) -> None: ...
    def reload_refused(self, reason: str) -> None: ...
    def stopping(self) -> None: ...
    def stopped(self) -> None: ...


def announcer_for(console: Console, log: FilteringBoundLogger) -> Announcer:
    """`Screens` if the console is a terminal, else `Events`."""
    return Screens(console) if console.is_terminal else Events(log)


def changed_servers(old: Snapshot, new: Snapshot) -> list[ServerSnapshot]:
    """The servers whose state, reason or number of tools changed. Pure."""

    def facts(server: ServerSnapshot | None) -> object:
        return server and (server.state, server.reason, len(server.tools))

    return [server for server in new.servers.values() if facts(old.servers.get(server.id)) != facts(server)]


class BriefLines:
    """For the log that an MCP client keeps of the programs which it starts: a short line for what is out of order."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, text: str) -> None:
        self.console.print(Text(f"codemode: {text}"), soft_wrap=True)

    def servers_changed(self, old: Snapshot, new: Snapshot) -> None:
        for server in changed_servers(old, new):
            if server.state != "waiting" and (server.state != "ready" or _was_in_trouble(old.servers.get(server.id))):
                self.console.print(Text("codemode: ").append_text(_line(server)), soft_wrap=True)

    def notes(self, notes: Sequence[str]) -> None:
        for note in notes:
            self.say(note)

    def reloaded(self, file: str, keys: Sequence[str]) -> None:
        self.say(reload_line(file, keys))

    def reload_waits(self, keys: Sequence[str]) -> None:
        self.say(f"taken up at the next start: {', '.join(keys)}")

    def reload_refused(self, reason: str) -> None:
        self.say(f"the changed configuration is not taken up: {reason}")


def _was_in_trouble(server: ServerSnapshot | None) -> bool:
    return server is not None and server.state in ("error", "stale")


class Screens:
    """For people: how to connect a client, then one line for each change."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._settled = False
        self._preparing = WaitLine(
            console,
            "Preparing the isolates (the first start compiles the guest; later ones have it) ...",
        )

    def preparing(self) -> AbstractContextManager[object]:
        return self._preparing

    def prepared(self, seconds: float, unconfined: Mapping[str, str]) -> None:
        self._preparing.end()
        note = "compiled and cached" if seconds > SLOW_START_SECONDS else "from the cache"
        self._console.print(Text.assemble("Isolates ready in ", (f"{seconds:.1f} s", "bold"), (f" ({note})", "dim")))
        for measure, reason in unconfined.items():
            self._console.print(Text(f"Workers are not confined by {measure} here: {reason}", style="yellow"))

    def listening(self, url: str, others: Mapping[str, Sequence[str]]) -> None:
        self._console.print(Text.assemble("Listening on ", (url, "bold cyan"), "   Ctrl-C stops"))
        self._console.print(portal_lines(others))
        print_client_setups(self._console, url)

    def tell_operator(self, text: str) -> None:
        """Print a link or PIN that is for the operator alone."""
        self._console.print(Text(f"{text}\n", style="bold"), soft_wrap=True)

    def servers_changed(self, old: Snapshot, new: Snapshot) -> None:
        if not self._settled:
            return
        for server in changed_servers(old, new):
            self._console.print(_line(server))

    def settled(self, snapshot: Snapshot) -> None:
        self._settled = True
        if not snapshot.servers:
            self._console.print(Text(NO_SERVERS, style="yellow"), soft_wrap=True)
        else:
            self._console.print(servers_table(snapshot.servers.values()))
        self._console.print()

    def notes(self, notes: Sequence[str]) -> None:
        for note in notes:
            self._console.print(Text(note, style="yellow"), soft_wrap=True)

    def reloaded(self, file: str, keys: Sequence[str]) -> None:
        self._console.print(Text(reload_line(file, keys), style="dim"), soft_wrap=True)

    def reload_waits(self, keys: Sequence[str]) -> None:
        self._console.print(Text(f"Taken up at the next start: {', '.join(keys)}", style="yellow"))

    def reload_refused(self, reason: str) -> None:
        self._console.print(Text(f"The changed configuration is not taken up: {reason}", style="yellow"))

    def stopping(self) -> None:
        self._console.print("Stopping ...", style="dim")

    def stopped(self) -> None:
        self._console.print("Stopped.", style="dim")


class Events:
    """For machines: one log event for each method."""

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log

    def preparing(self) -> AbstractContextManager[object]:
        self._log.info("preparing isolates")
        return nullcontext()

    def prepared(self, seconds: float, unconfined: Mapping[str, str]) -> None:
        if unconfined:
            self._log.warning("workers less confined", missing=dict(unconfined))
        self._log.info("isolates ready", seconds=round(seconds, 3))

    def listening(self, url: str, others: Mapping[str, Sequence[str]]) -> None:
        portals = {name: list(urls) for name, urls in others.items()}
        self._log.info("listening", url=url, **({"portals": portals} if portals else {}))

    def tell_operator(self, text: str) -> None:
        self._log.warning("for the operator", text=text)

    def servers_changed(self, old: Snapshot, new: Snapshot) -> None:
        for server in changed_servers(old, new):
            write = self._log.warning if server.state == "error" else self._log.info
            write("server", server=server.id, state=server.state, reason=server.reason, tools=len(server.tools))

    def settled(self, snapshot: Snapshot) -> None:
        self._log.info("servers settled", states={server.id: server.state for server in snapshot.servers.values()})
        if not snapshot.servers:
            self._log.warning("no servers", advice=NO_SERVERS)

    def notes(self, notes: Sequence[str]) -> None:
        for note in notes:
            self._log.warning("configuration", note=note)

    def reloaded(self, file: str, keys: Sequence[str]) -> None:
        self._log.info("configuration changed", file=file, keys=list(keys))

    def reload_waits(self, keys: Sequence[str]) -> None:
        self._log.warning("taken up at the next start", keys=list(keys))

    def reload_refused(self, reason: str) -> None:
        self._log.warning("configuration refused", reason=reason)

    def stopping(self) -> None:
        self._log.info("stopping")

    def stopped(self) -> None:
        self._log.info("stopped")


def reload_line(file: str, keys: Sequence[str]) -> str:
    """What to say of a changed file whose changes in these keys are taken up."""
    return f"{file} changed. Taken up: {', '.join(keys)}." if keys else f"{file} changed. Nothing to take up now."


def portal_lines(portals: Mapping[str, Sequence[str]]) -> Text:
    """A line for each portal with its name and URLs, or an empty line if there are none."""
    width = max((len(name) for name in portals), default=0)
    lines = Text()
    for name, urls in portals.items():
        lines.append_text(Text.assemble((f"  {name:{width}}  ", "bold"), ("  ".join(urls), "cyan"), "\n"))
    return lines


def print_client_setups(console: Console, url: str) -> None:
    """Print how to connect the most common clients to the portal at `url`, in code mode."""
    console.print(Text("`codemode connect CLIENT` writes these lines for you.", style="dim"))
    for way in (way for way in client_setups(url + CODE_MODE) if way.brief):
        console.print(Text.assemble((way.client, "bold"), (f"  {way.place}", "dim")))
        text = Syntax(f"  {way.text}", way.language, theme=THEME, background_color="default").highlight(f"  {way.text}")
        text.rstrip()
        console.print(text, soft_wrap=True)  # A line to paste must stay one line.
    console.print()


def _line(server: ServerSnapshot) -> Text:
    return Text.assemble(
        (server.id, "bold"),
        ": ",
        (server.state, STATE_STYLE.get(server.state, "")),
        f" with {len(server.tools)} tools" if server.tools else "",
        f", {server.reason}" if server.reason else "",
    )
