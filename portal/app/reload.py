"""What a changed configuration changes, and what of it a running instance cannot take up. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from portal.config import Config, HttpServer, PortalSettings, StdioServer

AT_START_ONLY = {
    "host": "portal.host",
    "port": "portal.port",
    "path": "portal.path",
    "state": "portal.state",
    "pinned": "portal.pinned",
    "learned_shapes": "portal.learnedShapes",
}
"""Settings that are read once, by the key an operator writes."""


def takeable(running: Config, changed: Config) -> tuple[Config, tuple[str, ...]]:
    """The configuration to apply, and the keys whose change waits for the next start.

    The keys that wait keep their running value, so that the parts of an instance never disagree.
    """
    before, after = running.portal, changed.portal
    waiting = {name: key for name, key in AT_START_ONLY.items() if getattr(before, name) != getattr(after, name)}
    keys = list(waiting.values())
    kept = {name: getattr(before, name) for name in waiting}
    if _log_place(before) != _log_place(after):
        kept["logs"] = before.logs
        keys.append("portal.logs")
    if (before.identity is None) != (after.identity is None):
        kept["identity"] = before.identity
        keys.append("portal.identity")
    if not kept:
        return changed, ()
    return changed.model_copy(update={"portal": after.model_copy(update=kept)}), tuple(keys)


def _log_place(settings: PortalSettings) -> tuple[bool, str | None]:
    """Whether there is a log, and where the document says it is. The rest of its settings is taken up at once."""
    section = settings.logs
    # Without a section of its own, identity decides, and a change of that waits too.
    return section is None or section.enabled, None if section is None else section.database


# How these fields are written in a document; the others are not written there by themselves.
_WRITTEN = {"transport": "type"}
_UNWRITTEN = {"id", "name", "expanded", "text"}


def changed_keys(before: Config, after: Config) -> tuple[str, ...]:
    """The keys of the document whose values differ, as an operator writes them; never a value.

    A server or portal that is only in one of the two is one key: `mcpServers.notes (new)`, `portals.docs (removed)`.
    """
    return (
        *_entries(before.servers, after.servers, after.section),
        *_differences(before.portal, after.portal, "portal"),
        *_entries(before.portals, after.portals, "portals"),
    )


def _entries(before: Mapping[str, BaseModel], after: Mapping[str, BaseModel], section: str) -> Iterator[str]:
    for id in dict.fromkeys((*before, *after)):
        old, new = before.get(id), after.get(id)
        shown = old if new is None else new
        key = f"{section}.{shown.name if isinstance(shown, StdioServer | HttpServer) else id}"
        if old is None or new is None:
            yield f"{key} ({'new' if old is None else 'removed'})"
        else:
            yield from _differences(old, new, key)


def _differences(before: object, after: object, key: str) -> Iterator[str]:
    """The deepest keys below `key` that tell two sections or objects apart."""
    if before == after:
        return
    if isinstance(before, BaseModel) and isinstance(after, BaseModel) and type(before) is type(after):
        unwritten = _UNWRITTEN if isinstance(after, StdioServer | HttpServer) else set()
        for name, field in type(after).model_fields.items():
            if name not in unwritten:
                written = _WRITTEN.get(name) or field.alias or name
                yield from _differences(getattr(before, name), getattr(after, name), f"{key}.{written}")
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            written = to_camel(name) if key == "portal.limits" else name
            yield from _differences(before.get(name), after.get(name), f"{key}.{written}")
    else:
        yield key
