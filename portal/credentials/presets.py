"""What is known of authorization servers that do something in their own way. Pure.

A preset has the knobs that the configuration has too, and words for the administrator; there is nothing else about a
provider anywhere. What is configured wins over it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from portal.config import UpstreamOAuth


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A provider, by the `hosts` of its authorization servers and MCP servers, with those below them.

    `parameters` are those of a request for a login. `scope` is asked for where neither the server nor the configuration
    names any; `{resource}` in it stands for the server. `advice` says what to register where, "" where the portal
    registers itself.
    """

    name: str = ""
    hosts: tuple[str, ...] = ()
    resource: Literal["send", "omit"] = "send"
    parameters: Mapping[str, str] = field(default_factory=dict)
    token_endpoint_auth_method: Literal["", "client_secret_post"] = ""
    rotating: Literal["tolerant", "strict"] = "tolerant"
    scope: str = ""
    advice: str = ""


PRESETS: tuple[Preset, ...] = (
    Preset(name="Notion", hosts=("notion.com",), parameters={"prompt": "consent"}, rotating="strict"),
    Preset(name="Linear", hosts=("linear.app",)),
    Preset(
        name="Atlassian",
        hosts=("atlassian.com",),
        advice="An administrator of the Atlassian organization may have to allow the portal's domain for its MCP "
        "server at admin.atlassian.com.",
    ),
    Preset(
        name="GitHub",
        hosts=("github.com", "githubcopilot.com"),
        advice="Register an OAuth app at github.com/settings/developers, and write its client with the endpoints "
        "https://github.com/login/oauth/authorize and https://github.com/login/oauth/access_token. Or write a "
        "personal access token into the server's `Authorization` header.",
    ),
    Preset(
        name="Slack",
        hosts=("slack.com",),
        token_endpoint_auth_method="client_secret_post",
        scope="search:read.public channels:history users:read",
        advice="Make an app of your own workspace at api.slack.com/apps, turn on the Model Context Protocol there, add "
        "the redirect URI and the user token scopes, and write its client with its secret.",
    ),
    Preset(
        name="Figma",
        hosts=("figma.com",),
        advice="Figma registers only clients that Figma has approved: ask Figma to approve the portal.",
    ),
    Preset(
        name="Microsoft Entra",
        hosts=("microsoftonline.com",),
        resource="omit",
        scope="{resource}/.default",
        advice="Register an application in the Entra admin center, with the redirect URI of the platform Web and the "
        "permissions of the server, and write its client with its secret. Write the server's scope too if it is "
        "another than its URL with /.default.",
    ),
    Preset(name="Auth0", hosts=("auth0.com",), rotating="strict"),
    Preset(name="Todoist", hosts=("todoist.com", "todoist.net")),
    Preset(
        name="Google",
        hosts=("google.com", "googleapis.com"),
        parameters={"access_type": "offline", "prompt": "consent"},
        advice="Make an OAuth client of the type Web application at console.cloud.google.com, add the redirect URI, "
        "and write its client with its secret.",
    ),
)
NO_PRESET = Preset()


def preset_of(issuer: str, url: str) -> Preset:
    """The preset of an authorization server, else of the server at `url`; one that changes nothing if neither has
    one."""
    return _of_host(issuer) or _of_host(url) or NO_PRESET


def with_preset(oauth: UpstreamOAuth | None, issuer: str, url: str) -> UpstreamOAuth:
    """The configuration with what is known of the authorization server, where it does not say otherwise."""
    oauth = oauth or UpstreamOAuth()
    preset, written = preset_of(issuer, url), oauth.model_fields_set
    more: dict[str, object] = {}
    if "resource" not in written:
        more["resource"] = preset.resource
    if "rotating" not in written:
        more["rotating"] = preset.rotating
    if preset.parameters and oauth.grant == "authorization_code":
        more["parameters"] = {**preset.parameters, **oauth.parameters}
    if preset.token_endpoint_auth_method and oauth.client_secret and not oauth.token_endpoint_auth_method:
        more["token_endpoint_auth_method"] = preset.token_endpoint_auth_method
    return oauth.model_copy(update=more)


def scope_without_a_wish(issuer: str, resource: str) -> str:
    """The scope to ask for where nobody names one, "" for none."""
    return preset_of(issuer, resource).scope.replace("{resource}", resource)


def advice_of(issuer: str) -> str:
    """What to register where, with a space before it; "" where nothing is known."""
    advice = preset_of(issuer, "").advice
    return f" {advice}" if advice else ""


def _of_host(url: str) -> Preset | None:
    try:
        host = (urlsplit(url).hostname or "").rstrip(".")
    except ValueError:
        return None
    return next(
        (one for one in PRESETS if any(host == known or host.endswith(f".{known}") for known in one.hosts)), None
    )
