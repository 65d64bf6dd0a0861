"""What a login said of a person, as JSON: for the rows of sessions and grants, which outlive it.

What is true of one request only (address, posture, credentials beside the login) is not kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from portal.access.identity import Group, Identity

_TEXTS = ("id", "email", "name", "idp_id", "idp_type", "login_method")


def identity_document(identity: Identity) -> dict[str, Any]:
    return {
        **{name: getattr(identity, name) for name in _TEXTS},
        "groups": [{"id": group.id, "name": group.name, "email": group.email} for group in identity.groups],
        "auth_methods": list(identity.auth_methods),
        "claims": dict(identity.claims),
    }


def identity_from(document: Mapping[str, Any]) -> Identity:
    """The inverse."""
    texts: dict[str, Any] = {name: str(document.get(name, "")) for name in _TEXTS}
    return Identity(
        **texts,
        groups=tuple(Group(**group) for group in document.get("groups", ())),
        auth_methods=tuple(document.get("auth_methods", ())),
        claims=dict(document.get("claims", {})),
    )
