"""How tools and prompts are shown: what may be written of them, and what portal and server say side by side. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from portal.access import Merged
from portal.objects import CapabilitySetting


class Override(CapabilitySetting):
    """The settings of a server for one of its tools or prompts, by the name its upstream gives it."""

    model_config = ConfigDict(extra="ignore")

    name: Annotated[str, Field(min_length=1, max_length=256)]


class PortalOverride(Override):
    """The settings of a portal for one. In an answer their alias and description are called the portal's."""

    @model_validator(mode="before")
    @classmethod
    def _as_it_was_read(cls, given: object) -> object:
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

    @classmethod
    def of(cls, merged: Merged) -> ShownOverride:
        """What portal and server say of one tool or prompt, side by side."""
        portal, server = merged.portal, merged.server
        return cls(
            name=merged.name,
            enabled=merged.enabled,
            portal_alias=portal.alias if portal is not None else None,
            portal_description=portal.description if portal is not None else None,
            server_alias=server.alias if server is not None else None,
            server_description=server.description if server is not None else None,
        )


Each = TypeVar("Each", bound=Override)


def _distinct(overrides: tuple[Each, ...]) -> tuple[Each, ...]:
    if len({one.name for one in overrides}) < len(overrides):
        raise ValueError("names one of them twice")
    aliases = [one.alias for one in overrides if one.alias]
    if len(set(aliases)) < len(aliases):
        raise ValueError("gives two of them the same alias")
    return overrides


MAX_OVERRIDES = 5000
Overrides = Annotated[tuple[Override, ...], Field(max_length=MAX_OVERRIDES), AfterValidator(_distinct)]
PortalOverrides = Annotated[tuple[PortalOverride, ...], Field(max_length=MAX_OVERRIDES), AfterValidator(_distinct)]
