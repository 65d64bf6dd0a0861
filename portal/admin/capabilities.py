"""How tools and prompts are shown: what may be written of them, and how portal and server are merged. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, model_validator

from portal.access import ALIAS

Alias = Annotated[str, Field(pattern=ALIAS, max_length=40)]
Description = Annotated[str, Field(max_length=65_536)]


class Override(BaseModel):
    """What a server says of one of its tools or prompts, by the name its upstream gives it. None: as it was."""

    name: Annotated[str, Field(min_length=1, max_length=256)]
    enabled: bool | None = None
    alias: Alias | None = None
    description: Description | None = None


class PortalOverride(Override):
    """What a portal says of one. Read back, its alias and description are called the portal's."""

    @model_validator(mode="before")
    @classmethod
    def _as_it_was_read(cls, given: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        return {
            **given,
            "alias": given.get("alias", given.get("portal_alias")),
            "description": given.get("description", given.get("portal_description")),
        }


class ShownOverride(BaseModel):
    name: str
    enabled: bool | None = None
    portal_alias: str | None = None
    portal_description: str | None = None
    server_alias: str | None = None
    server_description: str | None = None


def _distinct(overrides: tuple[Any, ...]) -> tuple[Any, ...]:
    if len({one.name for one in overrides}) < len(overrides):
        raise ValueError("names one of them twice")
    aliases = [one.alias for one in overrides if one.alias]
    if len(set(aliases)) < len(aliases):
        raise ValueError("gives two of them the same alias")
    return overrides


MAX_OVERRIDES = 5000
Overrides = Annotated[tuple[Override, ...], Field(max_length=MAX_OVERRIDES), AfterValidator(_distinct)]
PortalOverrides = Annotated[tuple[PortalOverride, ...], Field(max_length=MAX_OVERRIDES), AfterValidator(_distinct)]


def merged(
    portal: Iterable[Mapping[str, Any]], server: Iterable[Mapping[str, Any]], *, default_disabled: bool
) -> Sequence[ShownOverride]:
    """What a portal and its server say of the same tools, side by side.

    The portal's `enabled` goes first; where it hides what it does not name, the server's does not count.
    """
    shown: dict[str, ShownOverride] = {}
    for one in server:
        shown[one["name"]] = ShownOverride(
            name=one["name"],
            enabled=False if default_disabled else one.get("enabled"),
            server_alias=one.get("alias"),
            server_description=one.get("description"),
        )
    for one in portal:
        before = shown.get(one["name"], ShownOverride(name=one["name"]))
        enabled = one.get("enabled")
        shown[one["name"]] = before.model_copy(
            update={
                "enabled": before.enabled if enabled is None else enabled,
                "portal_alias": one.get("alias"),
                "portal_description": one.get("description"),
            }
        )
    return tuple(shown.values())
