"""The `auth_credentials` of a stored server with `auth_type: oauth`. Pure.

They say what the section `oauth` of a server says in the document. Both become the same `UpstreamOAuth`, and what is
wrong is said by its own checks, in the names of the API.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pydantic import ValidationError
from pydantic.alias_generators import to_camel

from portal.config import UpstreamOAuth
from portal.credentials.client_authentication import read_private_key
from portal.credentials.errors import Misconfigured
from portal.credentials.headers import CredentialsInvalid, parse_json
from portal.misfits import misfits

AuthMode = Literal["dcr", "manual"]

_GROUPED = {
    "config": ("authorization_endpoint", "issuer", "resource", "revocation_endpoint", "token_endpoint"),
    "registration_info": ("client_id", "redirect_uris", "scope", "token_endpoint_auth_method"),
}
# The members that are the portal's own, in no group.
_OWN = (
    "grant",
    "private_key",
    "key_id",
    "algorithm",
    "parameters",
    "rotating",
    "assume_pkce",
    "callback_port",
    "allow_private",
    "identity_provider",
    "subject_token",
)
_PATHS = {name: (group, name) for group, names in _GROUPED.items() for name in names} | {name: (name,) for name in _OWN}
_NAMES = {
    spelling: ".".join(path)
    for name, path in {**_PATHS, "client_secret": ("client_secret",)}.items()
    for spelling in (name, to_camel(name))
}
# What may be shown of a name that is not known: it may be a secret in the wrong place.
_NAME = re.compile(r"[a-z_]{1,40}")
# What says which client the portal is: an authorization server that registers the portal decides that itself.
_OF_A_CLIENT = (
    "client_id",
    "redirect_uris",
    "token_endpoint_auth_method",
    "token_endpoint",
    "authorization_endpoint",
    "revocation_endpoint",
    "private_key",
    "key_id",
    "algorithm",
)


@dataclass(frozen=True, slots=True)
class AuthCredentials:
    """What was written. `members` are those of `UpstreamOAuth`, by their names there."""

    auth_mode: AuthMode = "dcr"
    members: Mapping[str, object] = field(default_factory=dict, repr=False)

    @property
    def takes_client_secret(self) -> bool:
        """Whether a `client_secret` belongs to it: there is a client, and it does not sign with a key."""
        return self.auth_mode == "manual" and not self.members.get("private_key")

    @property
    def public(self) -> dict[str, object]:
        """What is no secret of it, in the form in which it was written. Parameters may be secrets, so of them only the
        names are there."""
        shown: dict[str, object] = {"auth_mode": self.auth_mode}
        for name, value in self.members.items():
            if name in ("private_key", "parameters"):
                continue
            *groups, last = _PATHS[name]
            place = shown
            for group in groups:
                place = place.setdefault(group, {})  # type: ignore[assignment]
            place[last] = value
        if self.members.get("private_key"):
            shown["has_private_key"] = True
        if isinstance(parameters := self.members.get("parameters"), Mapping) and parameters:
            shown["parameter_names"] = sorted(parameters)
        return shown


def read_auth_credentials(text: str) -> AuthCredentials:
    """The `auth_credentials` in this text, "" for those of a server that says nothing of its OAuth.

    Raises:
        CredentialsInvalid: they are none. The message names the member and quotes no value.
    """
    if not text.strip():
        return AuthCredentials()
    document = parse_json(text)
    if not isinstance(document, dict):
        raise CredentialsInvalid("must be a JSON object with auth_mode, config and registration_info")
    mode = document.pop("auth_mode", None)
    if mode not in (None, "dcr", "manual"):
        raise CredentialsInvalid("`auth_mode` must be dcr or manual")
    members = dict(_members(document))
    credentials = AuthCredentials("manual" if mode == "manual" else "dcr", members)
    if credentials.auth_mode == "dcr":
        for name in _OF_A_CLIENT:
            if name in members:
                raise CredentialsInvalid(f"`{_NAMES[name]}` needs `auth_mode` manual: with dcr the portal registers")
        if members.get("grant") == "client_credentials":
            raise CredentialsInvalid("`grant` client_credentials needs `auth_mode` manual and a registered client")
    elif not members.get("client_id"):
        raise CredentialsInvalid("`registration_info.client_id` is missing: with `auth_mode` manual there is a client")
    return credentials


def upstream_oauth(credentials: AuthCredentials, client_secret: str = "") -> UpstreamOAuth:
    """What the document's section `oauth` would be, with the secret of the client if it has one.

    Raises:
        CredentialsInvalid: the members do not go together. The message names one and quotes no value.
    """
    members = dict(credentials.members)
    if client_secret:
        members["client_secret"] = client_secret
    try:
        oauth = UpstreamOAuth.model_validate(members)
        if oauth.private_key:
            read_private_key(oauth.private_key)
    except ValidationError as error:
        first = misfits(error, members)[0]
        raise CredentialsInvalid(_in_api_names(first.place, first.problem)) from None
    except Misconfigured:
        raise CredentialsInvalid("`private_key` is no private key in PEM or JWK form") from None
    return oauth


def stored_oauth(secret: Mapping[str, str]) -> UpstreamOAuth:
    """What the secret of a stored server says of its OAuth.

    Raises:
        CredentialsInvalid: it cannot be used.
    """
    credentials = read_auth_credentials(secret.get("auth_credentials", ""))
    return upstream_oauth(credentials, secret.get("client_secret", "") if credentials.takes_client_secret else "")


def _members(document: Mapping[str, object]) -> Iterator[tuple[str, object]]:
    """The members of `UpstreamOAuth` that are written. Null is not written, nor is the method "none" of no client."""
    for name, value in document.items():
        if value is None:
            continue
        if name in _OWN:
            yield name, value
        elif name not in _GROUPED:
            raise CredentialsInvalid(_unknown(name, ("auth_mode", *_GROUPED, *_OWN)))
        elif not isinstance(value, dict):
            raise CredentialsInvalid(f"`{name}` must be an object")
        else:
            for member, inner in value.items():
                if member not in _GROUPED[name]:
                    raise CredentialsInvalid(_unknown(member, _GROUPED[name], f"{name}."))
                if inner is not None:
                    yield member, inner


def _unknown(name: str, known: Sequence[str], before: str = "") -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean `{before}{near[0]}`?" if near else f"known are {', '.join(known)}"
    shown = f"`{before}{name}`" if _NAME.fullmatch(name) else "a member"
    return f"{shown} is not known; {hint}"


def _in_api_names(place: Sequence[str | int], problem: str) -> str:
    """A problem of a section of the document, with the names that the members have in the API."""
    written = re.sub(r"`(\w+)`", lambda found: f"`{_NAMES.get(found[1], found[1])}`", problem)
    if not place:
        return written
    first, *rest = place
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in rest)
    return f"`{_NAMES.get(str(first), str(first))}{where}` {written}"
