"""The `auth_credentials` of the admin API and the document's section `oauth` say the same of a server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from joserfc.jwk import ECKey

from portal.config import HttpServer, UpstreamOAuth, parse_config
from portal.credentials import CredentialsInvalid, read_auth_credentials, upstream_oauth

KEY = ECKey.generate_key("P-256", private=True).as_pem(private=True).decode()
EVERYTHING: dict[str, Any] = {
    "auth_mode": "manual",
    "grant": "authorization_code",
    "config": {
        "authorization_endpoint": "https://idp.example/a",
        "token_endpoint": "https://idp.example/t",
        "revocation_endpoint": "https://idp.example/r",
        "issuer": "https://idp.example",
        "resource": "omit",
    },
    "registration_info": {
        "client_id": "us",
        "redirect_uris": ["https://portal.example/servers-callback"],
        "scope": "read write",
        "token_endpoint_auth_method": "private_key_jwt",
    },
    "private_key": KEY,
    "key_id": "2026-11",
    "algorithm": "ES256",
    "parameters": {"prompt": "consent"},
    "rotating": "strict",
    "assume_pkce": True,
    "callback_port": 8800,
    "allow_private": True,
}
SECTION: dict[str, Any] = {
    "grant": "authorization_code",
    "authorizationEndpoint": "https://idp.example/a",
    "tokenEndpoint": "https://idp.example/t",
    "revocationEndpoint": "https://idp.example/r",
    "issuer": "https://idp.example",
    "resource": "omit",
    "clientId": "us",
    "redirectUris": ["https://portal.example/servers-callback"],
    "scope": "read write",
    "tokenEndpointAuthMethod": "private_key_jwt",
    "privateKey": KEY,
    "keyId": "2026-11",
    "algorithm": "ES256",
    "parameters": {"prompt": "consent"},
    "rotating": "strict",
    "assumePkce": True,
    "callbackPort": 8800,
    "allowPrivate": True,
}


def of_the_api(credentials: Any, client_secret: str = "") -> UpstreamOAuth:
    return upstream_oauth(read_auth_credentials(json.dumps(credentials)), client_secret)


def of_the_document(section: Any) -> UpstreamOAuth:
    server = parse_config({"mcpServers": {"up": {"url": "https://up.example/mcp", "oauth": section}}}, env={}).servers
    assert isinstance(found := server["up"], HttpServer) and found.oauth is not None
    return found.oauth


def test_everything_that_one_can_say_the_other_can_say_too() -> None:
    assert of_the_api(EVERYTHING) == of_the_document(SECTION)
    said = {name for name in UpstreamOAuth.model_fields if getattr(of_the_api(EVERYTHING), name)}
    # A client has a key or a secret, and an identity provider only where tokens come of a sign-in.
    assert said == set(UpstreamOAuth.model_fields) - {"client_secret", "identity_provider"}


@pytest.mark.parametrize("grant", ["id_jag", "token_exchange"])
def test_tokens_by_the_sign_in_at_the_portal_are_the_same_in_both(grant: str) -> None:
    which = {"subject_token": "access_token"} if grant == "token_exchange" else {}
    api = of_the_api(
        {
            "auth_mode": "manual",
            "grant": grant,
            "identity_provider": "acme",
            **which,
            "config": {"issuer": "https://idp.example"},
            "registration_info": {"client_id": "us"},
        },
        "hush",
    )
    section = {"grant": grant, "issuer": "https://idp.example", "clientId": "us", "clientSecret": "hush"}
    written = {"subjectToken": "access_token"} if which else {}
    assert api == of_the_document({**section, "identityProvider": "acme", **written})


def test_a_client_of_its_own_with_a_secret_is_the_same_in_both() -> None:
    api = of_the_api(
        {
            "auth_mode": "manual",
            "grant": "client_credentials",
            "config": {"issuer": "https://idp.example"},
            "registration_info": {"client_id": "us"},
        },
        "hush",
    )
    grant = "client_credentials"
    section = {"grant": grant, "issuer": "https://idp.example", "clientId": "us", "clientSecret": "hush"}
    assert api == of_the_document(section)


@pytest.mark.parametrize("text", ["", "  ", "{}", '{"auth_mode": "dcr"}', '{"auth_mode": null, "config": null}'])
def test_without_a_word_the_portal_registers_itself(text: str) -> None:
    credentials = read_auth_credentials(text)
    assert (credentials.auth_mode, upstream_oauth(credentials)) == ("dcr", UpstreamOAuth())
    assert not credentials.takes_client_secret


def test_what_is_shown_has_no_key_and_no_value_of_a_parameter() -> None:
    shown = read_auth_credentials(json.dumps({**EVERYTHING, "parameters": {"api_key": "hush-hush"}})).public
    assert shown["config"] == EVERYTHING["config"] and shown["registration_info"] == EVERYTHING["registration_info"]
    assert (shown["has_private_key"], shown["parameter_names"]) == (True, ["api_key"])
    assert "hush" not in str(shown) and "PRIVATE KEY" not in str(shown)


CLIENT = {"auth_mode": "manual", "registration_info": {"client_id": "us"}}


@pytest.mark.parametrize(
    ("credentials", "problem"),
    [
        ("sk-123", "is neither a token nor a JSON object"),
        ("[]", "must be a JSON object with auth_mode, config and registration_info"),
        ({"auth_mode": "automatic"}, "`auth_mode` must be dcr or manual"),
        ({"auth_mode": "manual"}, "`registration_info.client_id` is missing"),
        ({"registration_info": {"client_id": "us"}}, "`registration_info.client_id` needs `auth_mode` manual"),
        ({"config": {"token_endpoint": "https://a.example/t"}}, "`config.token_endpoint` needs `auth_mode` manual"),
        ({"grant": "client_credentials"}, "`grant` client_credentials needs `auth_mode` manual"),
        ({"config": []}, "`config` must be an object"),
        ({"confg": {}}, "`confg` is not known; did you mean `config`?"),
        ({"config": {"isuer": "x"}}, "`config.isuer` is not known; did you mean `config.issuer`?"),
        ({"config": {"SK-123": "x"}}, "a member is not known; known are authorization_endpoint"),
        ({"config": {"issuer": "idp.example"}}, "`config.issuer` must be an http:// or https:// URL"),
        ({"config": {"issuer": 5}}, "`config.issuer` must be text"),
        ({"parameters": {"state": "x"}}, "`parameters` must not have `state`"),
        ({"parameters": {"a": 5}}, "`parameters.a` must be text"),
        ({**CLIENT, "registration_info": {"client_id": "us", "scope": 'a"b'}}, "`registration_info.scope` must be"),
        ({**CLIENT, "grant": "client_credentials"}, "needs either `client_secret` or `private_key`"),
        (
            {**CLIENT, "config": {"token_endpoint": "https://a.example/t"}},
            "needs both `config.token_endpoint` and `config.authorization_endpoint`, or neither",
        ),
        (
            {**CLIENT, "registration_info": {"client_id": "us", "token_endpoint_auth_method": "private_key_jwt"}},
            "has a `registration_info.token_endpoint_auth_method` that does not go with its `client_secret`",
        ),
        ({**CLIENT, "private_key": "hush"}, "`private_key` is no private key in PEM or JWK form"),
    ],
)
def test_what_is_wrong_is_said_in_the_names_of_the_api(credentials: Any, problem: str) -> None:
    with pytest.raises(CredentialsInvalid) as refused:
        text = credentials if isinstance(credentials, str) else json.dumps(credentials)
        upstream_oauth(read_auth_credentials(text))
    assert problem in str(refused.value)
    assert not any(value in str(refused.value) for value in ("sk-123", "SK-123", "hush", "tokenEndpoint", "clientId"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from([*EVERYTHING, *EVERYTHING["config"], *EVERYTHING["registration_info"]])


@given(st.dictionaries(NAMES, JSON | st.dictionaries(NAMES, JSON, max_size=4), max_size=6) | JSON)
def test_any_json_is_taken_or_refused_with_a_reason(credentials: Any) -> None:
    try:
        upstream_oauth(read_auth_credentials(json.dumps(credentials)))
    except CredentialsInvalid as error:
        assert str(error)
