"""The data-flow settings of an instance, from its configuration and the store. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError

from portal.access import AccessList, RuleApprovals
from portal.app.document_stamps import LIST, flow_stamp, stamped
from portal.config import Config, FlowRule
from portal.flows import CompiledRule, FlowSettings, ServerLabels, compiled, policy_name, refuses_everything

if TYPE_CHECKING:
    from portal.app.access import StoredState
    from portal.objects import Settings


def flow_settings(config: Config, stored: StoredState | None = None) -> FlowSettings:
    """Rules of the document first, then stored ones in the order of their making. A server of the document has its
    labels of there, and those of a stored server of the same id besides."""
    section = config.portal.data_flow
    approvals = RuleApprovals(lists_of(config, stored))
    stamps = {} if stored is None else stored.stamps
    rules = [_compiled(rule, flow_stamp(stamps, rule), approvals) for rule in section.rules]
    servers: dict[str, ServerLabels] = {}
    if stored is not None:
        rules += [_compiled(one.document.rule(), f"{one.id} {one.stamp}", approvals) for one in stored.flow_rules]
        rules += [refuses_everything(id) for id in stored.unreadable_flow_rules]
        for one in stored.objects.servers:
            servers[one.id] = ServerLabels.of(one.document.labels, _tools(one.document.updated_tools))
    for id, server in config.servers.items():
        own = ServerLabels.of(server.labels, server.tool_labels)
        servers[id] = _both(own, servers[id]) if id in servers else own
    return FlowSettings(
        rules=tuple(rules),
        servers={id: labels for id, labels in servers.items() if labels},
        window=timedelta(seconds=section.window),
        per_client=section.per == "client",
        approvers_missing=approvals.mistakes,
    )


def lists_of(config: Config, stored: StoredState | None) -> list[AccessList]:
    """The lists of addresses of the document and of the store, which rules name the people by who approve."""
    section, own = config.portal.identity, list[AccessList]()
    written = stamped({} if stored is None else stored.stamps, LIST, "", () if section is None else section.lists)
    for one in written:
        # One that cannot be read is reported where policies are compiled. Here it is not there.
        with suppress(ValidationError):
            own.append(AccessList.model_validate(one))
    return [*own, *(stored.objects.reusable_lists if stored is not None else ())]


def _compiled(rule: FlowRule, stamp: str, approvals: RuleApprovals) -> CompiledRule:
    if rule.then == "deny":
        return compiled(rule)
    return compiled(rule, approvals.rule_of(policy_name(rule.name), stamp, rule))


def _tools(settings: Settings) -> Mapping[str, tuple[str, ...]]:
    return {one.name: one.labels for one in settings if one.labels is not None}


def _both(one: ServerLabels, other: ServerLabels) -> ServerLabels:
    """The labels of either."""
    names = {*one.tools, *other.tools}
    tools = {name: one.tools.get(name, one.labels) | other.tools.get(name, other.labels) for name in names}
    return ServerLabels(one.labels | other.labels, tools)
