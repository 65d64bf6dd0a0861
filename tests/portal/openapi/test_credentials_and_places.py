"""Security schemes and requirements, and the base URLs of an API and of its operations."""

from __future__ import annotations

from typing import Any

import pytest

from portal.openapi import Api, OAuthFlow, SecurityScheme, UrlVariable, read_api
from tests.portal.openapi.writing import LOCATION, api, document, operation

KEY = {"type": "apiKey", "name": "X-Key", "in": "header"}


def schemes(declared: Any) -> Api:
    return api({}, components={"securitySchemes": declared})


@pytest.mark.parametrize(
    ("declared", "scheme"),
    [
        (KEY, SecurityScheme("apiKey", name="X-Key", location="header")),
        ({"type": "http", "scheme": "Bearer"}, SecurityScheme("bearer", scheme="bearer")),
        ({"type": "http", "scheme": "basic"}, SecurityScheme("basic", scheme="basic")),
        ({"type": "http", "scheme": "digest"}, SecurityScheme("http", scheme="digest")),
        ({"type": "mutualTLS", "description": "d"}, SecurityScheme("mutualTLS", "d")),
        ({"type": "openIdConnect", "openIdConnectUrl": "u"}, SecurityScheme("openIdConnect", discovery_url="u")),
        (
            {"type": "oauth2", "flows": {"clientCredentials": {"tokenUrl": "t", "scopes": {"read": "Read"}}}},
            SecurityScheme("oauth2", flows=(OAuthFlow("clientCredentials", token_url="t", scopes={"read": "Read"}),)),
        ),
    ],
    ids=str,
)
def test_a_security_scheme_is_read(declared: Any, scheme: SecurityScheme) -> None:
    assert schemes({"it": declared}).schemes == {"it": scheme}


@pytest.mark.parametrize(
    "declared",
    [
        5,
        {},
        {"type": "apiKey", "in": "header"},
        {"type": "apiKey", "name": "Host", "in": "header"},
        {"type": "apiKey", "name": "a: b\r\n", "in": "header"},
        {"type": "apiKey", "name": "k", "in": "body"},
        {"type": "http"},
        {"type": "magic"},
        {"$ref": "#/nowhere"},
    ],
    ids=str,
)
def test_a_scheme_that_cannot_be_read_is_left_out_and_that_is_said(declared: Any) -> None:
    found = schemes({"bad": declared, "good": KEY})
    assert list(found.schemes) == ["good"]
    assert [gap.where for gap in found.gaps] == ["/components/securitySchemes/bad"]


def test_an_operation_needs_what_it_says_or_what_the_document_says() -> None:
    paths = {
        "/own": {"get": {"security": [{"oauth": ["read"], "key": []}, {}]}},
        "/none": {"get": {"security": []}},
        "/common": {"get": {}},
        "/broken": {"get": {"security": "key"}},
    }
    found = {one.path: one.security for one in api(paths, security=[{"key": []}]).operations}
    assert found == {
        "/own": ({"oauth": ("read",), "key": ()}, {}),
        "/none": (),
        "/common": ({"key": ()},),
        "/broken": ({"key": ()},),
    }


@pytest.mark.parametrize(
    ("servers", "url"),
    [
        ([{"url": "https://a.example/v1/"}], "https://a.example/v1"),
        ([{"url": "/v2"}], "https://api.example.com/v2"),
        ([{"url": "v3"}], "https://api.example.com/docs/v3"),
        ([{"url": "//b.example/x"}], "https://b.example/x"),
        ([], "https://api.example.com"),
        (None, "https://api.example.com"),
        ([{"url": "ftp://a.example"}, {"url": "https://c.example"}], "https://c.example"),
        ([{"url": "https://user:word@a.example"}], ""),
        ([{"url": "https://a.example/?x=1"}], ""),
        ([{"url": "https://{who}.example"}], ""),
        ([{"url": "http://[::1"}], ""),
        ([{"url": 5}, 7], ""),
        ("https://a.example", ""),
    ],
    ids=str,
)
def test_a_base_url_is_absolute_or_left_out(servers: Any, url: str) -> None:
    assert read_api(document({}, servers=servers), location=LOCATION).base_urls[0].url == url


def test_a_base_url_has_its_variables() -> None:
    variables = {"region": {"default": "eu", "enum": ["eu", "us"]}, "port": {"default": 8443}, "unused": {}}
    servers = [{"url": "https://{region}.example:{port}/v1", "variables": variables}]
    (base,) = api({}, servers=servers).base_urls
    assert base.url == "https://{region}.example:{port}/v1"
    assert base.by_default == "https://eu.example:8443/v1"
    assert base.variables == {"region": UrlVariable("eu", ("eu", "us")), "port": UrlVariable("8443")}


def test_an_operation_may_have_base_urls_of_its_own() -> None:
    own = operation({"servers": [{"url": "https://files.example"}]})
    assert [one.url for one in own.base_urls] == ["https://files.example"]
    of_path = api({"/a": {"servers": [{"url": "https://p.example"}], "get": {}}}).operations[0]
    assert [one.url for one in of_path.base_urls] == ["https://p.example"]
    assert [one.url for one in operation({}).base_urls] == ["https://api.example.com/v1"]


def test_without_the_address_of_the_document_a_relative_base_url_stays_relative() -> None:
    assert read_api(document({}, servers=[{"url": "/v1"}])).base_urls[0].url == "/v1"
    assert read_api(document({}, servers=None)).base_urls[0].url == ""


def test_variables_of_an_address_whose_defaults_name_one_another_stay_as_they_are() -> None:
    # Written out each into the next they would be an address of two to the power of sixty characters.
    names = [f"v{n}" for n in range(60)]
    variables = {one: {"default": f"{{{after}}}{{{after}}}"} for one, after in zip(names, names[1:], strict=False)}
    url = "https://x.example.com/" + "".join(f"{{{one}}}" for one in names)
    found = api({}, servers=[{"url": url, "variables": {**variables, names[-1]: {"default": "x"}}}])
    assert all(len(one.by_default) < 2_000 for one in found.base_urls)


@pytest.mark.parametrize(
    "server",
    [
        {"url": "https://x.example.com/" + "a" * 3_000},
        {"url": "https://x.example.com/{a}", "variables": {"a": {"default": "a" * 3_000}}},
    ],
    ids=["address", "default"],
)
def test_a_very_long_address_is_left_out_and_that_is_said(server: Any) -> None:
    found = api({}, servers=[server])
    assert [one.url for one in found.base_urls] == [""]
    assert ["characters" in gap.why for gap in found.gaps] == [True]
