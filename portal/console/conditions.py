"""The conditions of a gateway rule as the fields of a form have them, and as its expressions. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from portal.admin import ShownCustomProfile, ShownPredefinedProfile, ShownRule
from portal.dlp import PREDEFINED_BY_UUID
from portal.gateway import PlainConditions, plain_conditions, written_conditions

MAX_SHOWN = 60
"""Profiles that a form has a box for."""
_SEVERAL = {
    "http.request.host": "host",
    "mcp.server.id": "server",
    "mcp.portal.id": "portal",
    "mcp.tool.name": "tool",
    "identity.email": "email",
    "identity.groups.name": "group",
}
_ONE = {"mcp.method": "method", "mcp.direction": "direction"}
_PROFILES = "dlp.profiles"
_TRAFFIC = (
    *("http.request.host", "mcp.portal.id", "mcp.server.id", "mcp.tool.name", "mcp.method", "mcp.direction"),
    _PROFILES,
)
_IDENTITY = ("identity.email", "identity.groups.name")


@dataclass(frozen=True, slots=True)
class ProfileBox:
    """A profile that a rule may ask for. `id` is what the expression has of it."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Profiles:
    shown: Sequence[ProfileBox]

    @classmethod
    def of(cls, profiles: Iterable[ShownCustomProfile | ShownPredefinedProfile]) -> Profiles:
        boxes = [ProfileBox(PREDEFINED_BY_UUID.get(one.id, one.id), one.name) for one in profiles]
        return cls(boxes[:MAX_SHOWN])

    def id_of(self, called: str) -> str | None:
        """The id of the profile that a rule calls so."""
        wanted = PREDEFINED_BY_UUID.get(called, called)
        return next((one.id for one in self.shown if wanted in (one.id, one.name)), None)


@dataclass(frozen=True, slots=True)
class ConditionFields:
    """What is typed and ticked. In fields that take several, commas stand between them."""

    host: str = ""
    server: str = ""
    portal: str = ""
    tool: str = ""
    method: str = ""
    direction: str = ""
    profiles: Sequence[str] = ()
    email: str = ""
    group: str = ""


def expressions_of(fields: ConditionFields) -> dict[str, str]:
    """The expressions that say what the fields do."""
    conditions: dict[str, tuple[str, ...]] = {_PROFILES: tuple(fields.profiles)}
    for name, member in _SEVERAL.items():
        typed = [part.strip() for part in str(getattr(fields, member)).split(",")]
        conditions[name] = tuple(part for part in typed if part)
    for name, member in _ONE.items():
        conditions[name] = tuple(filter(None, (str(getattr(fields, member)),)))
    return {
        "traffic": written_conditions({name: conditions[name] for name in _TRAFFIC}),
        "identity": written_conditions({name: conditions[name] for name in _IDENTITY}),
        "device_posture": "",
    }


def conditions_of(rule: ShownRule, profiles: Profiles) -> ConditionFields | None:
    """What the fields of a form have for this rule; None if it says more than they can."""
    traffic, identity = plain_conditions(rule.traffic, "traffic"), plain_conditions(rule.identity, "identity")
    if traffic is None or identity is None or rule.device_posture.strip():
        return None
    said: PlainConditions = {**traffic, **identity}
    if not said.keys() <= {*_TRAFFIC, *_IDENTITY} or not _typable(said):
        return None
    asked = [profiles.id_of(called) for called in said.get(_PROFILES, ())]
    if None in asked:
        return None
    members = {member: ", ".join(said.get(name, ())) for name, member in (_SEVERAL | _ONE).items()}
    return ConditionFields(profiles=[id for id in asked if id is not None], **members)


def _typable(said: Mapping[str, Sequence[str]]) -> bool:
    """Whether each text can be typed into its field and is then the same."""
    for name, texts in said.items():
        if name in _ONE and len(texts) > 1:
            return False
        if name in _SEVERAL and not all(text and text == text.strip() and "," not in text for text in texts):
            return False
    return True
