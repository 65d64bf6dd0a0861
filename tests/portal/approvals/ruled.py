"""A portal for tests of rules that ask: the data of `crm` is confidential, and `up` is external."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from codemode import CodeTool
from portal.access import LiveAccess
from portal.app import Instance, Parts, serving
from portal.config import parse_config
from portal.gateway import Detecting
from portal.logs import Discard
from tests.portal.access.guarded import ADA, ANYBODY, BOB, ROBOT, CallerInUrl, access
from tests.portal.approvals.people import Time
from tests.portal.approvals.test_calls import Place
from tests.portal.portals import Kept, KeptEvents
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import Hosted, hosted
from tests.portal.upstreams.server import Behaviour

NO_POLICY = {"portal": {"policies": [ANYBODY]}, "servers": [{"id": id, "policies": [ANYBODY]} for id in ("crm", "up")]}


class Ruled(Place):
    """A portal over `crm`, whose data is confidential, and `up`, which is external."""

    instance: Instance
    crm: Hosted

    async def apply(
        self,
        rules: Sequence[Mapping[str, Any]] = (),
        labels: tuple[str, ...] = ("confidential",),
        gateway: Sequence[Mapping[str, Any]] = (),
        **up: Any,
    ) -> None:
        config = document(self.crm, self.upstream, rules, labels, gateway, **up)
        await self.instance.apply(parse_config(config, env={}))


def document(
    crm: Hosted,
    up: Hosted,
    rules: Sequence[Mapping[str, Any]],
    labels: tuple[str, ...],
    gateway: Sequence[Mapping[str, Any]],
    *,
    state: str = "",
    **more: Any,
) -> dict[str, Any]:
    servers = {"crm": {"url": crm.url, "labels": list(labels)}, "up": {"url": up.url, "labels": ["external"], **more}}
    portal: dict[str, Any] = {"dataFlow": {"rules": rules}, "gateway": {"rules": gateway}, "secureWebGateway": True}
    return {"mcpServers": servers, "portal": portal | ({"state": state} if state else {})}


@asynccontextmanager
async def ruled(
    folder: Path,
    rules: Sequence[Mapping[str, Any]],
    code_tool: CodeTool | None,
    policies: Mapping[str, Any] = NO_POLICY,
    *,
    gateway: Sequence[Mapping[str, Any]] = (),
    detector: Detecting | None = None,
    runs: Mapping[str, Any] | None = None,
) -> AsyncIterator[Ruled]:
    kept, events, live, time = Kept(), KeptEvents(), LiveAccess(access(policies)), Time()
    parts = Parts(code=code_tool, records=kept, events=events, access=live, now=time, detector=detector)
    async with AsyncExitStack() as stack:
        crm = await stack.enter_async_context(hosted(Behaviour(name="crm")))
        up = await stack.enter_async_context(hosted(Behaviour(name="up")))
        config = document(crm, up, rules, ("confidential",), gateway, state=new_state(folder))
        config["portal"]["runs"] = runs or {}
        instance = await stack.enter_async_context(
            Instance.open(parse_config(config, env={}), Discard(), lambda text: None, parts)
        )
        await instance.servers.settled()
        instance.app.add_middleware(CallerInUrl, callers={"ada": ADA, "bob": BOB, "robot": ROBOT})
        approvals, store = instance.shared.approvals, instance.shared.store
        assert approvals is not None and store is not None
        url = await stack.enter_async_context(serving(instance))
        at = Ruled(url, live, kept, events, approvals, store, up, time, instance.portals[""])
        at.instance, at.crm = instance, crm
        yield at
