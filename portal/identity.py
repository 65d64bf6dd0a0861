"""Who is calling, as one value: what a login, a service token, a certificate and the posture sources say of them.

Made once a request by whoever authenticates it, and never changed. What is not known is empty; the policies tell what
is empty because nobody was asked from what is known not to be so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

LOCAL_ACCOUNTS = "local"
"""The identity provider of the accounts that the portal itself keeps."""
_NOTHING: Mapping[str, bool] = MappingProxyType({})


def _nothing() -> Mapping[str, bool]:
    return _NOTHING


@dataclass(frozen=True, slots=True)
class Group:
    """A group as the identity provider names it. GitHub organisations are `acme`, their teams `acme/platform`."""

    id: str = ""
    name: str = ""
    email: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Identity:
    """One caller. `id` is a stable subject, "" for nobody who logged in.

    `idp_id` and `login_method` are ids of identity providers, `auth_methods` the RFC 8176 values of the login (`amr`),
    `claims` the provider's own. `ip` is the address of this request, `country` its ISO code ("XX": in no country's
    range). `device_posture` says by integration whether the check succeeded, `user_risk` is `low`, `medium`, `high` or
    `unscored`, `evaluations` the answers of external evaluations by `evaluation_key`; only what is fresh is in them.
    """

    id: str = ""
    email: str = ""
    name: str = ""
    groups: tuple[Group, ...] = ()
    idp_id: str = ""
    idp_type: str = ""
    login_method: str = ""
    auth_methods: tuple[str, ...] = ()
    claims: Mapping[str, object] = field(default_factory=_nothing, repr=False)
    ip: str = ""
    country: str = ""
    service_token_id: str = ""
    common_name: str = ""
    certificate: bool = False
    device_posture: Mapping[str, bool] = field(default_factory=_nothing)
    user_risk: str = ""
    linked_apps: tuple[str, ...] = ()
    evaluations: Mapping[str, bool] = field(default_factory=_nothing)

    @property
    def key(self) -> str:
        """What calls, records and fair queues know this caller by; "" for an anonymous one."""
        if self.id:
            return self.id
        if self.service_token_id:
            return f"service:{self.service_token_id}"
        return f"certificate:{self.common_name}" if self.certificate and self.common_name else ""

    @property
    def label(self) -> str:
        """What a sentence calls this caller."""
        return self.email or self.name or self.key or "an anonymous caller"

    @property
    def logged_in(self) -> bool:
        return bool(self.id)

    @property
    def by_credential(self) -> bool:
        """Whether the caller showed a credential that needs no login."""
        return bool(self.service_token_id or self.certificate or self.linked_apps)


ANONYMOUS = Identity()


@dataclass(frozen=True, slots=True)
class OnBehalf:
    """Whose credentials calls show to upstream servers: those of the person `subject` (`Identity.key`), but the
    portal's own at the servers `not_at`. Without a subject the portal's own are shown everywhere. `advice` says to that
    person how to log in to a server, as in "log in at <address>".
    """

    subject: str = ""
    not_at: frozenset[str] = frozenset()
    advice: str = ""

    def at(self, server: str) -> str:
        """Whose credential is shown at this server, "" for the portal's own."""
        return "" if server in self.not_at else self.subject


NOBODY = OnBehalf()
"""On behalf of nobody in particular: with the portal's own credentials."""


def evaluation_key(evaluate_url: str, keys_url: str) -> str:
    """What the answer of an external evaluation is filed under."""
    return f"{evaluate_url}\n{keys_url}"


IDENTITY = "portal.identity"


def principal_of(scope: Mapping[str, object] | None) -> Identity | None:
    """The identity behind a request; None where nobody authenticates."""
    found = scope.get(IDENTITY) if scope is not None else None
    return found if isinstance(found, Identity) else None


def key_of(identity: Identity | None) -> str:
    """The stable key of an identity, "" for nobody in particular."""
    return "" if identity is None else identity.key


_TEXTS = ("id", "email", "name", "idp_id", "idp_type", "login_method")


def identity_document(identity: Identity) -> dict[str, object]:
    """What the login said of somebody, as JSON."""
    return {
        **{name: getattr(identity, name) for name in _TEXTS},
        "groups": [{"id": group.id, "name": group.name, "email": group.email} for group in identity.groups],
        "auth_methods": list(identity.auth_methods),
        "claims": dict(identity.claims),
    }


_OF_REQUEST = ("ip", "service_token_id", "common_name", "certificate")


def caller_document(identity: Identity) -> dict[str, object]:
    """What is known of a caller, as JSON: what their login said, and what their request showed. What expires by itself
    (country, posture, risk, evaluations) is looked up again."""
    return {
        **identity_document(identity),
        **{name: getattr(identity, name) for name in _OF_REQUEST},
        "linked_apps": list(identity.linked_apps),
    }


def caller_from(document: Mapping[str, object]) -> Identity:
    """The inverse of `caller_document`.

    Raises:
        ValueError: it is not such a document.
    """
    of_request = {name: document.get(name) for name in _OF_REQUEST}
    linked = document.get("linked_apps")
    if not isinstance(linked, list) or not all(
        isinstance(value, bool if name == "certificate" else str) for name, value in of_request.items()
    ):
        raise ValueError("not the document of a caller")
    apps = tuple(str(app) for app in linked)
    return replace(identity_from(dict(document)), linked_apps=apps, **of_request)  # type: ignore[arg-type]


def identity_from(document: object) -> Identity:
    """The inverse of `identity_document`.

    Raises:
        ValueError: it is not such a document.
    """
    if not isinstance(document, dict):
        raise ValueError("an identity is an object")
    # A member that is null was not sent.
    document = {name: value for name, value in document.items() if value is not None}
    try:
        return Identity(
            id=str(document.get("id", "")),
            email=str(document.get("email", "")),
            name=str(document.get("name", "")),
            idp_id=str(document.get("idp_id", "")),
            idp_type=str(document.get("idp_type", "")),
            login_method=str(document.get("login_method", "")),
            groups=tuple(
                [
                    Group(**{name: value for name, value in group.items() if value is not None})
                    for group in document.get("groups", ())
                ]
            ),
            auth_methods=tuple(document.get("auth_methods", ())),
            claims=dict(document.get("claims", {})),
        )
    except (TypeError, AttributeError):
        raise ValueError("groups, auth_methods or claims are not those of an identity") from None
