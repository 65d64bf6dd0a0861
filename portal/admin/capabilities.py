"""Settings of tools and prompts: their form in requests, and those of portal and server side by side. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from portal.access import Capabilities, MergedSetting
from portal.admin.api.errors import invalid
from portal.objects import CapabilitySetting

if TYPE_CHECKING:
    from portal.admin.upstreams import ListedDefinition


class Override(CapabilitySetting):
    """A server's settings for one of its tools or prompts. `name` is the upstream's name for it."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(min_length=1, max_length=256)]


class PortalOverride(Override):
    """A portal's settings for a tool or prompt. Also takes `portal_alias` and `portal_description`, as in answers."""

    @model_validator(mode="before")
    @classmethod
    def _accept_portal_names(cls, value: object) -> object:
        if not isinstance(value, Mapping):
            return value
        if value.get("labels") is not None:
            raise ValueError("has no labels: they are the server's, for all portals")
        chosen = {}
        for name in ("alias", "description"):
            own = value.get(name)
            chosen[name] = value.get(f"portal_{name}") if own is None else own
        return {**value, **chosen}


class ShownOverride(BaseModel):
    """The settings of portal and server. `enabled` is what holds; `portal_enabled` and `server_enabled` (ours) are what
    each of them says, null for nothing."""

    name: str
    enabled: bool | None = None
    portal_enabled: bool | None = None
    server_enabled: bool | None = None
    portal_alias: str | None = None
    portal_description: str | None = None
    server_alias: str | None = None
    server_description: str | None = None

    @classmethod
    def of(cls, merged: MergedSetting) -> ShownOverride:
        """The settings of portal and server for one tool or prompt."""
        portal, server = merged.portal, merged.server
        return cls(
            name=merged.name,
            enabled=merged.enabled,
            portal_enabled=portal.enabled if portal is not None else None,
            server_enabled=server.enabled if server is not None else None,
            portal_alias=portal.alias if portal is not None else None,
            portal_description=portal.description if portal is not None else None,
            server_alias=server.alias if server is not None else None,
            server_description=server.description if server is not None else None,
        )


class OfferedCapability(BaseModel):
    """A tool or prompt as it is offered. `name` is the upstream's, `alias` and `description` are those that are shown.

    `approval` is whether its definition is the one that was approved, for a server that is pinned: `new` and `changed`
    ones are withheld until they are approved.
    """

    kind: Literal["tool", "prompt"]
    name: str
    enabled: bool
    alias: str | None = None
    description: str
    pinned: bool
    approval: Literal["not_pinned", "approved", "new", "changed"]


def offered(
    definitions: Iterable[ListedDefinition], tools: Capabilities, prompts: Capabilities, *, pinned: bool
) -> tuple[OfferedCapability, ...]:
    """The definitions of a server under these settings of its tools and prompts."""
    return tuple(
        OfferedCapability(
            kind=one.kind,
            name=one.name,
            enabled=setting.enabled,
            alias=setting.alias,
            description=one.description if setting.description is None else setting.description,
            pinned=pinned,
            approval=one.waits or ("approved" if pinned else "not_pinned"),
        )
        for one in definitions
        for setting in [(tools if one.kind == "tool" else prompts).of(one.name)]
    )


AnyOverride = TypeVar("AnyOverride", bound=Override)


def _distinct(overrides: tuple[AnyOverride, ...]) -> tuple[AnyOverride, ...]:
    if len({one.name for one in overrides}) < len(overrides):
        raise ValueError("names the same tool or prompt twice")
    aliases = [one.alias for one in overrides if one.alias]
    if len(set(aliases)) < len(aliases):
        raise ValueError("gives two of them the same alias")
    return overrides


MAX_OVERRIDES = 5000
Parts = Sequence[tuple[Sequence[Override], Sequence[CapabilitySetting]]]


def part_named(named: Parts) -> tuple[str, object]:
    """What changes name of settings, for tools and for prompts: a name of this part, and the settings as they are."""
    names = [sorted(change.name for change in changes) for changes, _ in named]
    settings = [{one.name: one for one in before} for _, before in named]
    found = [[before.get(name) for name in each] for each, before in zip(names, settings, strict=True)]
    return hashlib.sha256(repr(names).encode()).hexdigest()[:16], found


def _unlabelled(overrides: tuple[Override, ...]) -> tuple[Override, ...]:
    if any(one.labels is not None for one in overrides):
        raise ValueError("gives labels to a prompt: prompts have those of the server")
    return overrides


Overrides = Annotated[tuple[Override, ...], Field(max_length=MAX_OVERRIDES), AfterValidator(_distinct)]
PromptOverrides = Annotated[Overrides, AfterValidator(_unlabelled)]
PortalOverrides = Annotated[tuple[PortalOverride, ...], Field(max_length=MAX_OVERRIDES), AfterValidator(_distinct)]


def with_changes(
    before: Sequence[CapabilitySetting], changes: Sequence[Override], member: str
) -> tuple[CapabilitySetting, ...]:
    """The settings with each change made: a member that is sent is in the place of the former, null takes it out, and
    a setting that says nothing goes. `member` is where the changes are in the body.

    Raises:
        AdminError: two would have the same alias, or there are too many.
    """
    settings = {one.name: one.model_dump(mode="json", exclude_none=True) for one in before}
    for change in changes:
        sent = change.model_dump(mode="json", include=change.model_fields_set)
        whole = {**settings.pop(change.name, {}), **sent}
        kept = {name: value for name, value in whole.items() if value is not None}
        if len(kept) > 1:
            settings[change.name] = kept
    if len(settings) > MAX_OVERRIDES:
        raise invalid(f"there are settings of at most {MAX_OVERRIDES}", f"/{member}")
    after = tuple(map(CapabilitySetting.model_validate, settings.values()))
    aliases = [one.alias for one in after if one.alias]
    if len(set(aliases)) < len(aliases):
        raise invalid("gives two of them the same alias", f"/{member}")
    return after
