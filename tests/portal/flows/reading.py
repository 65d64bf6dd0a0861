"""A portal over two upstreams for tests of data flow: the data of `crm` is confidential, and `mail` is external."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from codemode import CodeTool
from portal.app import Instance, Parts, serving
from portal.calls import Gate
from portal.config import Config, parse_config
from portal.logs import Discard
from tests.portal.portals import Kept
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

RULE = {"name": "no-leaks", "when": ["confidential"], "target": ["external"]}
LABELS: Mapping[str, Mapping[str, Any]] = {"crm": {"labels": ["confidential"]}, "mail": {"labels": ["external"]}}


@dataclass
class Clock:
    """A clock that a test moves."""

    at: datetime = datetime(2026, 11, 30, 6, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def pass_by(self, **span: float) -> None:
        self.at += timedelta(**span)


@dataclass
class Guarded:
    """A running portal. `document` is its configuration; `apply` takes up another one."""

    url: str
    instance: Instance
    kept: Kept
    clock: Clock
    crm: Hosted
    mail: Hosted
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def mcp(self) -> str:
        return f"{self.url}/mcp"

    @property
    def code(self) -> str:
        return f"{self.mcp}?codemode=search_and_execute"

    def sent(self) -> list[str]:
        """The tools that were called at the external server."""
        return [entry for entry in self.mail.upstream.journal.entries if entry.startswith("call ")]

    async def apply(self, labels: Mapping[str, Mapping[str, Any]] = LABELS, **portal: Any) -> None:
        await self.instance.apply(self.config(labels, **portal))

    def config(self, labels: Mapping[str, Mapping[str, Any]] = LABELS, **portal: Any) -> Config:
        entries = {"crm": {"url": self.crm.url}, "mail": {"url": self.mail.url}}
        entries = {id: {**entry, **labels.get(id, {})} for id, entry in entries.items()}
        return parse_config({"mcpServers": entries, "portal": {**self.document, **portal}}, env={})


@asynccontextmanager
async def guarded(
    code_tool: CodeTool | None = None,
    *,
    labels: Mapping[str, Mapping[str, Any]] = LABELS,
    clock: Clock | None = None,
    upstreams: tuple[Hosted, Hosted] | None = None,
    gate: Gate | None = None,
    **portal: Any,
) -> AsyncIterator[Guarded]:
    """`portal` is that section of the configuration, with the rule where it has no `dataFlow`. It has settled."""
    portal.setdefault("dataFlow", {"rules": [RULE]})
    clock, kept = clock or Clock(), Kept()
    async with AsyncExitStack() as stack:
        if upstreams is None:
            crm = await stack.enter_async_context(hosted(Behaviour(name="crm")))
            mail = await stack.enter_async_context(hosted(Behaviour(name="mail")))
        else:
            crm, mail = upstreams
        served = Guarded("", None, kept, clock, crm, mail, dict(portal))  # type: ignore[arg-type]
        parts = Parts(code=code_tool, records=kept, now=clock, gate=gate)
        served.instance = await stack.enter_async_context(
            Instance.open(served.config(labels), Discard(), lambda text: None, parts)
        )
        await served.instance.servers.settled()
        served.url = await stack.enter_async_context(serving(served.instance))
        yield served
