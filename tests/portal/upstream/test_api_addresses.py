"""Which address an API has by its document and its configuration, without a socket."""

from __future__ import annotations

import json
from typing import Any

import pytest

from portal.config import OpenApiServer
from portal.errors import ResponseInvalid
from portal.openapi import read_api
from portal.upstream.api_document import ApiDocument, base_url
from portal.upstream.transports.openapi import address_of

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def document(paths: Any = None, **members: Any) -> dict[str, Any]:
    return {"openapi": "3.1.0", "info": {"title": "a", "version": "1"}, "paths": paths or {}, **members}


def chosen(server: str, *, location: str) -> str:
    """The base address that a document without credentials, which comes from `location`, leads to."""
    api = read_api(document(servers=[{"url": server}]), location=location)
    return base_url(api, OpenApiServer(id="a", name="a", openapi=location))[0]


@pytest.mark.parametrize("url", ["https://h.example/v1?key=k", "https://me:pw@h.example/v1"])
async def test_an_operation_with_its_own_place_keeps_what_the_url_of_the_configuration_has(url: str) -> None:
    paths = {"/x": {"get": {"operationId": "x", "servers": [{"url": "v2"}]}}}
    config = OpenApiServer(id="a", name="a", url=url, text=json.dumps(document(paths)))
    served = await ApiDocument(config).read()
    assert address_of(served.addresses["x"], "/x", ()) == url.replace("/v1", "/v1/v2/x")


@pytest.mark.parametrize(
    "server", ["http://127.0.0.1:8080", "http://localhost", "http://10.0.0.5/v1", "http://2130706433/", "http://[::1]/"]
)
def test_a_document_of_the_internet_does_not_choose_an_address_inside(server: str) -> None:
    with pytest.raises(ResponseInvalid, match="write that address into `url`"):
        chosen(server, location="https://docs.example.com/openapi.json")


@pytest.mark.parametrize("server", ["http://127.0.0.1:8080", "https://api.example.com/v1"])
def test_a_document_inside_chooses_any_address(server: str) -> None:
    assert chosen(server, location="http://127.0.0.1:9000/openapi.json") == server


def test_an_empty_address_is_the_root_of_where_the_document_is() -> None:
    assert chosen("", location="https://api.example.com/docs/openapi.json?token=t") == "https://api.example.com"
