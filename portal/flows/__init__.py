"""Data-flow rules: after reading what is labelled so, nothing labelled so is called. Its chapter is `README.md`."""

from portal.flows.decisions import (
    NO_FLOWS,
    CompiledRule,
    FlowRefusal,
    FlowSettings,
    RunLabels,
    ServerLabels,
    compiled,
    refusals,
    refuses_everything,
)
from portal.flows.flows import Flows, LabelledCall
from portal.flows.wording import denial_text, policy_name, reason_to_ask

__all__ = [
    "NO_FLOWS",
    "CompiledRule",
    "FlowRefusal",
    "FlowSettings",
    "Flows",
    "LabelledCall",
    "RunLabels",
    "ServerLabels",
    "compiled",
    "denial_text",
    "policy_name",
    "reason_to_ask",
    "refusals",
    "refuses_everything",
]
