"""The settings of the operator's document, one for each key, without secrets. Pure.

Numbers, switches and fixed words are shown. A text is shown where `SHOWN_TEXTS` has its key, without the values of the
environment in it that are long enough to be a secret. Of all others it is said that they are set.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from pathlib import PurePath
from typing import Annotated, Literal, TypeVar, get_args, get_origin

from pydantic import BaseModel, Field
from pydantic.alias_generators import to_camel

from portal.config import Config

FROM_ENVIRONMENT = "(from the environment)"
SHORTEST_SECRET = 6
"""Characters from which on a value of the environment is kept out of what is shown: shorter ones are words."""
LISTED_ELSEWHERE = frozenset(
    {
        "portal.gateway.rules",
        "portal.quotas",
        "portal.data_flow.rules",
        "portal.dlp.profiles",
        "portal.identity.policies",
        "portal.identity.server_policies",
        "portal.identity.tool_policies",
        "portal.identity.groups",
        "portal.identity.lists",
        "portal.identity.organization",
        "portals.policies",
        "portals.tool_policies",
    }
)
"""Keys that are no settings: `configured` lists each of them, and `access/organizations` has the `organization`."""
_UNWRITTEN = frozenset({"servers.id", "servers.name", "servers.expanded", "servers.text", "portals.id"})
_WRITTEN = {"servers.transport": "type"}
SHOWN_TEXTS = frozenset(
    {
        *("portal.name", "portal.instructions", "portal.host", "portal.path", "portal.limits", "portal.allowed_hosts"),
        *("portal.allowed_origins", "portal.learned_shapes", "portal.pinned", "portal.identity.public_url"),
        *("portal.identity.contact", "portal.identity.oauth", "portal.identity.trusted_proxies"),
        *("portal.identity.countries", "portal.identity.posture.integrations", "portal.identity.smtp.host"),
        *("portal.identity.smtp.sender", "portal.logs.contents.calls.server", "portal.logs.contents.calls.tools"),
        *("portal.logs.contents.mask", "portal.traces.service_name", "portal.traces.resource"),
        *("portal.traces.baggage_to", "portal.exports.folders"),
        *("servers.description", "servers.labels", "servers.tool_labels", "servers.assertion_audience"),
        *("servers.server",),
        *("servers.oauth.identity_provider", "servers.oauth.issuer", "servers.oauth.client_id"),
        *("servers.oauth.scope",),
        *("portals.name", "portals.hostname", "portals.description", "portals.instructions"),
        *("portals.servers.server_id", "portals.servers.updated_tools.name", "portals.servers.updated_tools.alias"),
        *("portals.servers.updated_tools.description", "portals.servers.updated_prompts.name"),
        *("portals.servers.updated_prompts.alias", "portals.servers.updated_prompts.description"),
    }
)
"""Keys whose texts are shown. Any other text may be a secret or have one in it."""
M = TypeVar("M", bound=BaseModel)


class SettingsQuery(BaseModel):
    """`written` alone leaves out what has the value that holds anyway; `under` is the beginning of keys."""

    written: bool = False
    under: Annotated[str, Field(max_length=256)] = ""


class ConfiguredSetting(BaseModel):
    """One setting of the document, by its key there. `value` is null where nothing is set, or where it is `hidden`. One
    that is not `written` has the value that holds without it."""

    key: str
    value: str | None
    hidden: bool = False
    written: bool


def settings_of_document(config: Config) -> list[ConfiguredSetting]:
    """All settings that are in force, in the order of the document: of the portal, its servers, further portals."""
    found = [*_members(config.portal, "portal", "portal", written=True)]
    found = [_veiled_setting(one, config.expanded) for one in found]
    for server in config.servers.values():
        key = f"{config.section}.{server.name}"
        own = _members(server, key, "servers", written=True)
        found += [_veiled_setting(one, server.secrets) for one in own]
    for id, portal in config.portals.items():
        own = _members(portal, f"portals.{id}", "portals", written=True)
        found += [_veiled_setting(one, config.expanded) for one in own]
    return found


def veiled(entry: M, secrets: Sequence[str]) -> M:
    """What the document says, without the values that came out of the environment. Ids and keys stay, and so do fixed
    words: a variable may have such a word for its value."""
    fields = type(entry).model_fields.items()
    plain = {name for name, field in fields if name in ("id", "key", "decision") or _words_of(field.annotation)}
    said = _veiled(entry.model_dump(exclude=plain), _worth_hiding(secrets))
    assert isinstance(said, dict)
    return type(entry).model_validate({**entry.model_dump(include=plain), **said})


def _veiled(value: object, secrets: Sequence[str]) -> object:
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, FROM_ENVIRONMENT)
        return value
    if isinstance(value, Mapping):
        return {name: _veiled(one, secrets) for name, one in value.items()}
    return [_veiled(one, secrets) for one in value] if isinstance(value, list | tuple) else value


def _veiled_setting(setting: ConfiguredSetting, secrets: Sequence[str]) -> ConfiguredSetting:
    if setting.value is None or not (words := _worth_hiding(secrets)):
        return setting
    return setting.model_copy(update={"value": _veiled(setting.value, words)})


def _worth_hiding(secrets: Sequence[str]) -> list[str]:
    return sorted((one for one in secrets if len(one) >= SHORTEST_SECRET), key=len, reverse=True)


def _members(section: BaseModel, key: str, schema: str, *, written: bool) -> Iterator[ConfiguredSetting]:
    for name, field in type(section).model_fields.items():
        place = f"{schema}.{name}"
        if place in LISTED_ELSEWHERE or place in _UNWRITTEN:
            continue
        here = f"{key}.{_WRITTEN.get(place) or field.alias or name}"
        value = getattr(section, name)
        # The parser says "auto" where the document says nothing.
        is_written = written and name in section.model_fields_set and (place, value) != ("servers.transport", "auto")
        fixed = _words_of(field.annotation)
        shown = field.repr and place in SHOWN_TEXTS
        yield from _values(value, here, place, written=is_written, shown=shown, fixed=fixed)


def _values(
    value: object, key: str, schema: str, *, written: bool, shown: bool, fixed: frozenset[str]
) -> Iterator[ConfiguredSetting]:
    """The settings below a key. Texts are those that are `shown`, or one of the `fixed` words."""
    match value:
        case BaseModel():
            yield from _members(value, key, schema, written=written)
        case Mapping() if value and (shown or all(isinstance(one, int | float) for one in value.values())):
            for name, one in value.items():
                spelled = to_camel(name) if schema == "portal.limits" else name
                yield from _values(one, f"{key}.{spelled}", schema, written=written, shown=shown, fixed=fixed)
        case [BaseModel(), *_]:
            for at, one in enumerate(value):
                yield from _values(one, f"{key}[{at}]", schema, written=written, shown=shown, fixed=fixed)
        case _:
            yield _leaf(value, key, written=written, shown=shown, fixed=fixed)


def _leaf(value: object, key: str, *, written: bool, shown: bool, fixed: frozenset[str]) -> ConfiguredSetting:
    match value:
        case None | "" | () | []:
            return ConfiguredSetting(key=key, value=None, written=written)
        case bool():
            return ConfiguredSetting(key=key, value="true" if value else "false", written=written)
        case int() | float():
            return ConfiguredSetting(key=key, value=str(value).removesuffix(".0"), written=written)
        case Enum():
            return ConfiguredSetting(key=key, value=str(value.value), written=written)
        case str() if shown or value in fixed:
            return ConfiguredSetting(key=key, value=value, written=written)
        case PurePath() if shown:
            return ConfiguredSetting(key=key, value=str(value), written=written)
        case [*several] if shown or all(isinstance(one, str) and one in fixed for one in several):
            return ConfiguredSetting(key=key, value=", ".join(map(str, several)), written=written)
        case Mapping() if not value:
            return ConfiguredSetting(key=key, value=None, written=written)
    return ConfiguredSetting(key=key, value=None, hidden=True, written=written)


def _words_of(annotation: object) -> frozenset[str]:
    """The words that a field may have, of a type that is `Literal`, anywhere in it."""
    if get_origin(annotation) is Literal:
        return frozenset(one for one in get_args(annotation) if isinstance(one, str))
    return frozenset().union(*(_words_of(one) for one in get_args(annotation)))
