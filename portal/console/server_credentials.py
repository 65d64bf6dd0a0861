"""The page of a server's credentials: what is known of them, and how they are replaced. None is ever shown."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from starlette.routing import Route

from portal.admin import AdminError, AuthConfigSummary, ShownServer, invalid
from portal.console.frame import ConsoleFrame
from portal.console.overrides import words_of
from portal.console.servers import AUTHENTICATION, HERE, ITEM, server_page, server_path
from portal.console.visit import Answer, Visit, Went

OF_DCR = ("auth_mode", "issuer", "scope")
"""Fields that mean something where the portal registers itself."""
REGISTRATION = ("client_id", "token_endpoint_auth_method", "scope")
CONFIG = ("issuer", "authorization_endpoint", "token_endpoint", "revocation_endpoint")
MODES = (
    ("dcr", "The portal registers itself there (dynamic client registration)"),
    ("manual", "A client that you have made there"),
    ("json", "As JSON, with everything that there is"),
)
GRANTS = (
    ("", "Log in: people or the portal (authorization code)"),
    ("client_credentials", "The client itself: nobody logs in (client credentials)"),
)
METHODS = (
    ("", "As the authorization server prefers"),
    ("client_secret_basic", "client_secret_basic"),
    ("client_secret_post", "client_secret_post"),
    ("none", "none: a public client"),
)
# Members that the fields of the form do not have: they would be lost if it replaced the whole.
UNSHOWN = (
    "has_private_key",
    "key_id",
    "algorithm",
    "parameter_names",
    "rotating",
    "assume_pkce",
    "callback_port",
    "allow_private",
)


class ServerCredentialPages:
    def __init__(self, frame: ConsoleFrame) -> None:
        self._frame = frame

    def routes(self) -> list[Route]:
        page, form = self._frame.page, self._frame.form
        return [
            page("/servers/{id}/credentials", HERE, self._show),
            form("/servers/{id}/credentials", HERE, self._replace, self._show),
        ]

    async def _show(self, visit: Visit) -> Answer:
        server = await visit.api.show(ShownServer, ITEM, id=visit.id())
        summary = server.auth_config_summary or AuthConfigSummary()
        values = {
            "authentication": AUTHENTICATION[server.authentication_status],
            "fields": _fields(summary),
            "unshown": _unshown(summary),
            "modes": MODES,
            "grants": GRANTS,
            "methods": METHODS,
            "has_secret": summary.has_client_secret,
        }
        return server_page("server_credentials.html", server, "credentials", values)

    async def _replace(self, visit: Visit) -> Answer:
        server = await visit.api.show(ShownServer, ITEM, id=visit.id())
        body = _oauth(visit, server) if server.auth_type == "oauth" else {}
        if server.auth_type == "bearer":
            if not visit.sent("auth_credentials"):
                raise invalid("say which; the stored ones are not shown", "/auth_credentials")
            body["auth_credentials"] = visit.sent("auth_credentials")
        if body:
            try:
                await visit.api.change("PUT", ITEM, body, id=visit.id())
            except AdminError as error:
                raise (_beside_its_field(error) if visit.sent("auth_mode") in ("dcr", "manual") else error) from None
        return Went(server_path(server.id), "saved")


def _oauth(visit: Visit, server: ShownServer) -> dict[str, object]:
    """The members of a body that replace the client of a server, without what is as before."""
    body: dict[str, object] = {}
    summary = server.auth_config_summary or AuthConfigSummary()
    if visit.sent("client_secret"):
        body["client_secret"] = visit.sent("client_secret")
    mode, before = visit.sent("auth_mode"), _fields(summary)
    if mode == "json":
        if not visit.sent("auth_credentials"):
            raise invalid("write the whole as JSON, or choose another way", "/auth_credentials")
        return {**body, "auth_credentials": visit.sent("auth_credentials")}
    sent = {name: visit.sent(name) for name in before}
    sent["redirect_uris"] = "\n".join(words_of(visit.sent("redirect_uris")))
    written = before.keys() if mode == "manual" else OF_DCR
    if all(sent[name] == before[name] for name in written):
        return body
    if lost := _unshown(summary):
        words = f"it also has {', '.join(lost)}, which these fields would lose: write all of it as JSON"
        raise invalid(words, "/auth_mode")
    return {**body, "auth_credentials": _written(mode, {name: sent[name] for name in written})}


def _written(mode: str, sent: Mapping[str, str]) -> str:
    """The `auth_credentials` that these fields say, "" where they say nothing."""
    registration: dict[str, object] = {name: sent[name] for name in REGISTRATION if sent.get(name)}
    if sent.get("redirect_uris"):
        registration["redirect_uris"] = sent["redirect_uris"].split("\n")
    groups = {"config": {name: sent[name] for name in CONFIG if sent.get(name)}, "registration_info": registration}
    said = {name: group for name, group in groups.items() if group}
    if mode == "dcr":
        return json.dumps({"auth_mode": "dcr", **said}) if said else ""
    return json.dumps({"auth_mode": "manual", **said, **({"grant": sent["grant"]} if sent["grant"] else {})})


def _beside_its_field(error: AdminError) -> AdminError:
    """The error about a client with each problem at the field that it names."""
    problems = []
    for problem in error.problems:
        named = [name for name in (*CONFIG, *REGISTRATION, "redirect_uris") if f".{name}`" in problem.message]
        at = f"/{named[0]}" if named else "/auth_mode" if problem.pointer == "/auth_credentials" else problem.pointer
        problems.append(replace(problem, pointer=at))
    return AdminError(error.status, problems, error.headers)


def _fields(summary: AuthConfigSummary) -> dict[str, str]:
    """The fields of the form as they are stored."""
    config, registration = summary.config, summary.registration_info
    return {
        "auth_mode": summary.auth_mode or "dcr",
        **{name: (getattr(config, name) if config is not None else None) or "" for name in CONFIG},
        "client_id": (registration.client_id if registration is not None else None) or "",
        "redirect_uris": "\n".join((registration.redirect_uris if registration is not None else None) or ()),
        "scope": (registration.scope if registration is not None else None) or "",
        "token_endpoint_auth_method": (registration.token_endpoint_auth_method if registration is not None else None)
        or "",
        "grant": "client_credentials" if summary.grant == "client_credentials" else "",
    }


def _unshown(summary: AuthConfigSummary) -> list[str]:
    """What of the stored client the form does not have."""
    found = [name.removeprefix("has_") for name in UNSHOWN if getattr(summary, name)]
    resource = [] if summary.config is None or not summary.config.resource else ["config.resource"]
    return [*found, *resource]
