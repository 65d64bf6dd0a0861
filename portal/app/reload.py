"""What of a changed configuration a running instance cannot take up. Pure."""

from __future__ import annotations

from portal.config import Config

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
    if (before.identity is None) != (after.identity is None):
        kept["identity"] = before.identity
        keys.append("portal.identity")
    if not kept:
        return changed, ()
    return changed.model_copy(update={"portal": after.model_copy(update=kept)}), tuple(keys)
