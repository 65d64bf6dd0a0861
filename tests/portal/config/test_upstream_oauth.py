"""The `oauth` section of a server: what is taken, what is refused and how, and what is never shown."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from portal.config import Config, HttpServer, parse_config
from portal.errors import ConfigError
from tests.house.source import ROOT

BY_SIGN_IN = {
    "grant": "id_jag",
    "identityProvider": "acme",
    "issuer": "https://login.example.com",
    "clientId": "portal",
    "clientSecret": "hunter2-hunter2",
}
CLIENT = {"grant": "client_credentials", "clientId": "portal", "clientSecret": "hunter2-hunter2"}


def parse(oauth: object, folder: Path | None = None, **more: Any) -> Config:
    entry = {"url": "https://up.example/mcp", "oauth": oauth, **more}
    return parse_config({"mcpServers": {"up": entry}}, env={"SECRET": "hunter2-hunter2"}, folder=folder)


def server(config: Config, name: str = "up") -> HttpServer:
    found = config.servers[name]
    assert isinstance(found, HttpServer)
    return found


def test_the_documents_of_the_chapter_are_taken(tmp_path: Path) -> None:
    chapter = (ROOT / "portal" / "credentials" / "README.md").read_text(encoding="utf-8")
    client, by_sign_in, block = re.findall(r"```json\n(.*?)```", chapter, re.DOTALL)
    config = parse_config(json.loads(client))
    assert not config.notes and not config.omissions and server(config, "files").oauth is not None
    config = parse_config(json.loads(by_sign_in), env={"WIKI_SECRET": "hunter2", "FILES_SECRET": "hunter3"})
    assert not config.notes and not config.omissions
    assert [found.oauth.grant for one in config.servers if (found := server(config, one)).oauth is not None] == [
        "id_jag",
        "token_exchange",
    ]
    (tmp_path / "portal-key.pem").write_text("a key\n")
    config = parse_config(json.loads(block), env={"CRM_SECRET": "hunter2"}, folder=tmp_path)
    assert not config.notes and not config.omissions
    crm, files = config.servers.values()
    assert isinstance(crm, HttpServer) and crm.oauth is not None and crm.oauth.client_secret == "hunter2"
    assert isinstance(files, HttpServer) and files.oauth is not None and files.oauth.private_key == "a key"


def test_every_member_of_the_section_is_in_the_chapter() -> None:
    chapter = (ROOT / "portal" / "credentials" / "README.md").read_text(encoding="utf-8")
    oauth = server(parse(CLIENT)).oauth
    assert oauth is not None
    for field in type(oauth).model_fields.values():
        assert f"`{field.alias}`" in chapter or f'"{field.alias}"' in chapter


def test_secrets_are_redacted_and_never_shown() -> None:
    config = parse(
        {**CLIENT, "clientSecret": "hunter2-hunter2", "parameters": {"key": "${env:SECRET}", "prompt": "consent"}}
    )
    assert "hunter2-hunter2" in server(config).secrets and "consent" not in server(config).secrets
    assert "hunter2" not in repr(config)


@pytest.mark.parametrize(
    ("oauth", "key", "problem"),
    [
        ({"grant": "password", **{k: v for k, v in CLIENT.items() if k != "grant"}}, "grant", "must be"),
        ({**CLIENT, "clientId": ""}, "", "needs a `clientId`"),
        ({"clientSecret": "hunter2"}, "", "needs the `clientId` of its `clientSecret`"),
        (
            {"clientId": "c", "tokenEndpoint": "https://a/t"},
            "",
            "needs both `tokenEndpoint` and `authorizationEndpoint`",
        ),
        ({**CLIENT, "clientId": "", "grant": "authorization_code"}, "", "needs the `clientId`"),
        ({**CLIENT, "clientSecret": ""}, "", "needs either `clientSecret` or `privateKey`"),
        ({**CLIENT, "privateKey": "x"}, "", "needs either `clientSecret` or `privateKey`"),
        ({**CLIENT, "issuer": "login.example"}, "issuer", "must be an http:// or https:// URL with a host"),
        ({**CLIENT, "tokenEndpoint": "https://a/#b"}, "tokenEndpoint", "must be an http:// or https:// URL"),
        ({**CLIENT, "scope": 'a"b'}, "scope", "must be scopes with spaces between them"),
        ({**CLIENT, "resource": "none"}, "resource", "must be an http:// or https:// URL with a host"),
        ({**CLIENT, "tokenEndpointAuthMethod": "private_key_jwt"}, "", "does not go with"),
        ({**CLIENT, "clientScret": "x"}, "clientScret", "is not a known key. Did you mean `clientSecret`?"),
        ({**CLIENT, "identityProvider": "acme"}, "", "has an `identityProvider`, which is for the grants"),
        ({**CLIENT, "subjectToken": "access_token"}, "", "has a `subjectToken`, which is for the grant token_exchange"),
        ({**BY_SIGN_IN, "subjectToken": "access_token"}, "", "has a `subjectToken`, which is for the grant"),
        ({**BY_SIGN_IN, "identityProvider": ""}, "", "needs `identityProvider` and `issuer` for the grant id_jag"),
        ({**BY_SIGN_IN, "issuer": None}, "", "needs `identityProvider` and `issuer` for the grant id_jag"),
        ({**BY_SIGN_IN, "grant": "token_exchange", "issuer": None}, "", "for the grant token_exchange"),
        ({**BY_SIGN_IN, "identityProvider": "a b"}, "identityProvider", "must be the id of an identity provider"),
        ({**BY_SIGN_IN, "clientSecret": ""}, "", "needs either `clientSecret` or `privateKey`"),
        ({**BY_SIGN_IN, "parameters": {"assertion": "x"}}, "parameters", "must not have `assertion`"),
        ({**CLIENT, "parameters": {"state": "x"}}, "parameters", "must not have `state`"),
        ({**CLIENT, "parameters": {"a": 1}}, "parameters.a", "must be text, found a number"),
    ],
)
def test_a_mistake_names_the_key_and_quotes_no_value(oauth: object, key: str, problem: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(oauth)
    assert caught.value.key == ".".join(filter(None, ("mcpServers.up.oauth", key)))
    assert problem in str(caught.value) and "hunter2" not in str(caught.value)


def test_tokens_by_the_sign_in_of_persons_are_not_those_of_the_portal() -> None:
    entry = {"url": "https://a.example", "oauth": BY_SIGN_IN, "onBehalf": False}
    with pytest.raises(ConfigError, match="has `onBehalf` false, and each person's own tokens by its grant id_jag"):
        parse_config({"mcpServers": {"up": entry}}, env={})


def test_a_mistake_leaves_out_that_server_alone() -> None:
    entries = {
        "up": {"url": "https://a.example", "oauth": {**CLIENT, "issuer": "x"}},
        "b": {"url": "https://b.example"},
    }
    config = parse_config({"mcpServers": entries}, env={})
    assert list(config.servers) == ["b"] and "`oauth.issuer`" in config.omissions[0].why


def test_of_the_section_of_another_client_what_means_the_same_here_is_taken() -> None:
    config = parse({"clientId": "c", "callbackPort": 8080, "authServerMetadataUrl": "https://a", "scope": None})
    oauth = server(config).oauth
    assert oauth is not None
    assert (oauth.grant, oauth.client_id, oauth.callback_port) == ("authorization_code", "c", 8080)
    (note,) = config.notes
    assert note.endswith("`mcpServers.up.oauth.authServerMetadataUrl`.")


@pytest.mark.parametrize("oauth", [False, True, None, "auto"])
def test_a_section_that_is_no_object_is_another_client_s(oauth: object) -> None:
    config = parse(oauth)
    assert server(config).oauth is None
    assert config.notes == (
        () if oauth is None else ("Passed over, because only other clients understand it: `mcpServers.up.oauth`.",)
    )


def test_a_program_has_no_oauth() -> None:
    with pytest.raises(ConfigError, match="is only for servers reached by `url`"):
        parse_config({"mcpServers": {"up": {"command": "x", "oauth": CLIENT}}}, env={})
