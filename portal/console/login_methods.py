"""The pages of login methods: the identity providers that people sign in with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import orjson
from starlette.routing import Route

from portal.admin import (
    ORGANIZATION,
    AdminError,
    ProviderTested,
    ShownApp,
    ShownOrganization,
    ShownProvider,
    invalid,
)
from portal.console.configured import configured, documented_holders, documented_users
from portal.console.frame import Confirmation, ConsoleFrame, deletion
from portal.console.rule_words import RuleHolder, RuleUser, read_rule_users, refers_to
from portal.console.visit import Answer, Crumb, Shown, Visit, Went

HERE, LIST = "login-methods", "/admin/login-methods"
API = "/access/identity_providers"
ITEM = f"{API}/{{id}}"
ABOVE = (Crumb("Login methods", LIST),)
CALLBACK = "/login/callback"
SECRET, REST = "client_secret", "config"
OF_PROVIDERS = ("azureAD", "okta", "gsuite", "github-organization", "oidc", "saml", "auth_context")
"""Selectors whose rules name an identity provider."""


@dataclass(frozen=True, slots=True)
class ProviderField:
    """A member of a provider's `config` as a field. `kind` says what of JSON it is."""

    name: str
    label: str
    hint: str = ""
    kind: Literal["text", "secret", "words", "flag"] = "text"
    required: bool = False
    seldom: bool = False
    value: str = ""
    ticked: bool = False

    def filled(self, config: Mapping[str, object]) -> ProviderField:
        """The field with what is stored."""
        stored = config.get(self.name)
        if self.kind == "flag":
            return replace(self, ticked=stored is True)
        if self.kind == "words":
            return replace(self, value=" ".join(map(str, stored if isinstance(stored, list | tuple) else ())))
        return self if self.kind == "secret" else replace(self, value=str(stored or ""))

    def sent(self, visit: Visit) -> object:
        """The member of a form, None for none."""
        if self.kind == "flag":
            return True if visit.ticked(self.name) else None
        if self.kind == "words":
            return visit.sent(self.name).replace(",", " ").split() or None
        return visit.sent(self.name) or None


@dataclass(frozen=True, slots=True)
class ProviderType:
    id: str
    title: str
    about: str
    fields: Sequence[ProviderField] = ()


CLIENT = (
    ProviderField("client_id", "Client ID", required=True),
    ProviderField(SECRET, "Client secret", kind="secret"),
)
CLAIMS = (
    ProviderField("scopes", "Scopes", "Separated by blanks. Without any: openid email profile.", "words", seldom=True),
    ProviderField("claims", "OIDC claims", "Claims that policies ask for, separated by blanks.", "words", seldom=True),
    ProviderField("email_claim_name", "Email claim", "The claim with the address. Without one: email.", seldom=True),
    ProviderField("groups_claim", "Groups claim", "The claim with the groups. Without one: groups.", seldom=True),
    ProviderField("prompt", "Prompt", "Such as login or select_account.", seldom=True),
    ProviderField(
        "keep_tokens", "Keep the tokens of people, for servers that are asked with them", kind="flag", seldom=True
    ),
)
ENDPOINTS = (
    ProviderField("auth_url", "Auth URL", seldom=True),
    ProviderField("token_url", "Token URL", seldom=True),
    ProviderField("certs_url", "Certificate URL", seldom=True),
)
ISSUER = ProviderField(
    "issuer", "Issuer", "Its discovery document names the endpoints. Without it: the three URLs below."
)
OIDC = ProviderType(
    "oidc", "OpenID Connect", "Any provider that speaks OpenID Connect.", (ISSUER, *CLIENT, *ENDPOINTS, *CLAIMS)
)
TYPES: Sequence[ProviderType] = (
    OIDC,
    ProviderType(
        "azureAD",
        "Microsoft Entra ID",
        "Accounts of a Microsoft directory.",
        (ProviderField("directory_id", "Directory (tenant) ID", required=True), *CLIENT, *CLAIMS),
    ),
    ProviderType(
        "okta",
        "Okta",
        "Accounts of an Okta organization.",
        (
            ProviderField("okta_account", "Okta account URL", "https://example.okta.com", required=True),
            *CLIENT,
            ProviderField("authorization_server_id", "Authorization Server ID", seldom=True),
            *CLAIMS,
        ),
    ),
    ProviderType("google", "Google", "Any Google account.", (*CLIENT, *CLAIMS)),
    ProviderType("google-apps", "Google Workspace", "Accounts of a Google Workspace.", (*CLIENT, *CLAIMS)),
    ProviderType(
        "github",
        "GitHub",
        "Accounts of GitHub, with their organizations and teams.",
        (
            *CLIENT,
            ProviderField("auth_url", "Auth URL", "Only for GitHub Enterprise Server, as the two below.", seldom=True),
            ProviderField("token_url", "Token URL", seldom=True),
            ProviderField("api_url", "API URL", seldom=True),
        ),
    ),
    ProviderType("onetimepin", "One-time PIN", "A PIN that is sent by e-mail."),
)


class LoginMethodPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/login-methods", HERE, self._list),
            page("/login-methods/new", HERE, self._new, changes=ORGANIZATION),
            form("/login-methods/new", HERE, self._add, self._new),
            page("/login-methods/{id}", HERE, self._show),
            form("/login-methods/{id}", HERE, self._save, self._show),
            form("/login-methods/{id}/test", HERE, self._test, self._show),
            *self._frame.confirmation("/login-methods/{id}/remove", HERE, self._remove, ORGANIZATION),
        ]

    async def _list(self, visit: Visit) -> Answer:
        found = await visit.api.list(ShownProvider, API, visit.page_query())
        search = visit.query("search")
        allowed = (await visit.api.show(ShownOrganization, "/access/organizations")).allowed_idps
        offered = await configured(visit, "login-methods", search)
        values = {
            "found": found,
            "configured": [
                one if not allowed or one.entry.id in allowed else replace(one, state=("Not offered", "off"))
                for one in offered
            ],
            "search": search,
            "titles": {one.id: one.title for one in TYPES},
            "allowed": allowed,
        }
        return Shown("login_methods.html", "Login methods", values)

    async def _new(self, visit: Visit) -> Answer:
        kind = next((one for one in TYPES if one.id == visit.query("type")), None)
        if kind is None:
            return Shown("login_method_types.html", "Add a login method", {"types": TYPES}, ABOVE)
        values = {
            "provider": None,
            "kind": kind,
            "rest": "",
            "action": f"{LIST}/new?type={kind.id}",
            "callback": visit.visitor.address.url(CALLBACK),
            "users": (),
        }
        return Shown("login_method.html", f"Add {kind.title}", values, ABOVE)

    async def _add(self, visit: Visit) -> Answer:
        kind = next((one for one in TYPES if one.id == visit.query("type")), None)
        if kind is None:
            raise invalid("choose what to add")
        made = await _written(visit, kind, None)
        return Went(f"{LIST}/{made.id}", "made")

    async def _show(self, visit: Visit) -> Answer:
        provider = await visit.api.show(ShownProvider, ITEM, id=visit.id())
        kind = type_of(provider)
        rest = _rest(provider, kind)
        values = {
            "provider": provider,
            "kind": replace(kind, fields=[one.filled(provider.config) for one in kind.fields]),
            "rest": orjson.dumps(rest, option=orjson.OPT_INDENT_2).decode() if rest else "",
            "action": f"{LIST}/{provider.id}",
            "callback": visit.visitor.address.url(CALLBACK),
            "users": await _users(visit, provider.id),
        }
        return Shown("login_method.html", provider.name or kind.title, values, ABOVE)

    async def _save(self, visit: Visit) -> Answer:
        provider = await visit.api.show(ShownProvider, ITEM, id=visit.id())
        await _written(visit, type_of(provider), provider)
        return Went(f"{LIST}/{provider.id}", "saved")

    async def _test(self, visit: Visit) -> Answer:
        """What a sign-in would find at the provider, step by step."""
        provider = await visit.api.show(ShownProvider, ITEM, id=visit.id())
        tested = await visit.api.made(ProviderTested, "POST", f"{ITEM}/test", None, id=provider.id)
        kind, here = type_of(provider), f"{LIST}/{provider.id}"
        name = provider.name or kind.title
        values = {"tested": tested, "action": here, "registers": bool(kind.fields)}
        return Shown("login_method_tested.html", f"Test of {name}", values, (*ABOVE, Crumb(name, here)))

    async def _remove(self, visit: Visit) -> Confirmation:
        provider = await visit.api.show(ShownProvider, ITEM, id=visit.id())
        name = provider.name or provider.type
        users = [words for words, _ in await _users(visit, provider.id)]
        consequences = [f"Nobody signs in with {name} any more."]
        if users:
            consequences.append(f"Rules that name it match nobody from then on: {', '.join(users[:6])}.")
        return Confirmation(
            f"Remove {name}?",
            name=name,
            back=f"{LIST}/{provider.id}",
            consequences=consequences,
            act=deletion(visit, ITEM, LIST, id=provider.id),
        )


def type_of(provider: ShownProvider) -> ProviderType:
    """The type of a stored provider. One that is not in the list speaks OpenID Connect."""
    known = next((one for one in TYPES if one.id == provider.type), None)
    return known or replace(OIDC, id=provider.type, title=provider.type)


def _rest(provider: ShownProvider, kind: ProviderType) -> dict[str, object]:
    """The members of a provider's `config` that its type has no field for."""
    names = {one.name for one in kind.fields}
    return {name: value for name, value in provider.config.items() if name not in names}


async def _written(visit: Visit, kind: ProviderType, before: ShownProvider | None) -> ShownProvider:
    """The provider that a form makes. A secret that is not typed again stays.

    Raises:
        AdminError: it cannot be stored; the problems name fields of the form.
    """
    config = {**_read_rest(visit.sent(REST))}
    config |= {one.name: value for one in kind.fields if (value := one.sent(visit)) is not None}
    body = {"name": visit.sent("name"), "type": kind.id, "config": config}
    if before is None:
        return await stored_provider(visit, "POST", API, body)
    return await stored_provider(visit, "PUT", ITEM, body, id=before.id)


async def stored_provider(
    visit: Visit, method: Literal["POST", "PUT"], path: str, body: Mapping[str, object], **ids: str
) -> ShownProvider:
    """The provider of this body, stored.

    Raises:
        AdminError: it cannot be; the problems name members of its `config` as fields of a form are called.
    """
    try:
        return await visit.api.made(ShownProvider, method, path, body, **ids)
    except AdminError as error:
        problems = []
        for one in error.problems:
            field = one.pointer.removeprefix("/config/") if one.pointer.startswith("/config/") else ""
            words = one.message.removeprefix(f"config.{field} ")
            problems.append(replace(one, pointer=f"/{field}", message=words) if field else one)
        raise AdminError(error.status, problems) from None


def _read_rest(text: str) -> Mapping[str, object]:
    try:
        found = orjson.loads(text or "{}")
    except orjson.JSONDecodeError as error:
        raise invalid(f"this is no JSON: {error.msg}, line {error.lineno}", f"/{REST}") from None
    if not isinstance(found, dict):
        raise invalid('must be a JSON object, such as {"pkce_enabled": true}', f"/{REST}")
    return found


async def _users(visit: Visit, id: str) -> Sequence[RuleUser]:
    """The policies, groups and applications that name a provider: their names, and the paths of their pages."""
    found = await read_rule_users(visit, lambda one: _names(one, id))
    apps = (await visit.api.list(ShownApp, "/access/apps")).items
    found += [(one.name, f"/admin/policies/apps/{one.id}") for one in apps if id in one.allowed_idps]
    documented = await documented_holders(visit)
    found += documented_users(documented, ("login_method",), id)
    return found + documented_users(documented, OF_PROVIDERS, id, "identity_provider_id")


def _names(holder: RuleHolder, id: str) -> bool:
    return refers_to(holder, "login_method", id, "id") or any(
        refers_to(holder, one, id, "identity_provider_id") for one in OF_PROVIDERS
    )
