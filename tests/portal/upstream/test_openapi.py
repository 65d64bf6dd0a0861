"""An API as an upstream server over a real socket: requests, answers, credentials, documents, APIs that mean harm."""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from portal.errors import (
    AuthorizationRequired,
    OutcomeUnknown,
    ResponseTooLarge,
    RpcError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from portal.upstream import CallContext
from tests.portal.upstreams.api import PIXEL, SampleApi, get, sample_api, sample_document, secured_document
from tests.portal.upstreams.watching import Watched, ready, watched

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def served(
    document: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncIterator[tuple[SampleApi, Watched]]:
    async with sample_api(document) as api, ready({"openapi": api.document_url, **settings}) as up:
        yield api, up


async def call(up: Watched, tool: str, arguments: Mapping[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    return await up.connection.request("tools/call", {"name": tool, "arguments": dict(arguments or {})}, **options)


async def value(up: Watched, tool: str, arguments: Mapping[str, Any] | None = None) -> Any:
    result = await call(up, tool, arguments)
    assert not result.get("isError"), result
    return result.get("structuredContent")


# Requests


async def test_a_document_becomes_tools_and_a_call_one_request() -> None:
    async with served() as (api, up):
        assert {"echo", "send_json", "list_pages"} <= {str(tool["name"]) for tool in up.connection.listing.tools}
        assert up.connection.listing.server_info["title"] == "Sample API"
        assert up.connection.config.transport_name == "openapi"
        arguments = {
            "id": "a/b c",
            "q": "x&y=1",
            "many": ["1", "2"],
            "piped": ["a", "b"],
            "filter": {"k": "v"},
            "X-Flag": "on",
            "crumb": "c;d",
        }
        said = await value(up, "echo", arguments)
        assert said["path"] == "/v1/echo/a%2Fb%20c"
        assert said["query"] == "q=x%26y%3D1&many=1&many=2&piped=a%7Cb&filter%5Bk%5D=v"
        assert said["headers"]["x-flag"] == "on" and said["headers"]["cookie"] == "crumb=c%3Bd"
        assert said["headers"]["accept"].startswith("application/json")
        assert len(api.requests) == 1


async def test_bodies_arrive_as_the_document_describes_them() -> None:
    async with served() as (api, up):
        await value(up, "send_json", {"name": "n", "tags": ["a"]})
        assert api.last.json == {"name": "n", "tags": ["a"]}
        assert api.last.headers["content-type"] == "application/json"
        await value(up, "send_form", {"name": "a b", "tags": ["x", "y"]})
        assert api.last.body == b"name=a+b&tags=x&tags=y"
        content = base64.b64encode(b"\x00bytes").decode()
        await value(up, "send_multipart", {"title": "t", "file": {"base64": content, "filename": "a.bin"}})
        assert b"\x00bytes" in api.last.body and b'filename="a.bin"' in api.last.body
        await value(up, "send_text", {"body": "plain"})
        assert api.last.body == b"plain"
        await value(up, "send_binary", {"body": {"base64": content}})
        assert api.last.body == b"\x00bytes" and api.last.headers["content-type"] == "application/octet-stream"


async def test_a_value_that_leads_to_another_path_is_refused_and_nothing_is_sent() -> None:
    async with served() as (api, up):
        result = await call(up, "echo", {"id": "../status/500"})
        assert result["isError"] and "Nothing was sent" in result["content"][0]["text"]
        assert not api.requests


async def test_a_tool_that_the_document_has_no_longer_is_an_error_of_the_call() -> None:
    async with served() as (_, up):
        with pytest.raises(RpcError, match="no operation `gone`"):
            await call(up, "gone")


async def test_a_header_of_the_configuration_wins_over_that_of_an_operation() -> None:
    async with served(headers={"Accept": "application/vnd.sample+json", "X-Flag": "operator"}) as (api, up):
        said = await value(up, "echo", {"id": "1", "X-Flag": "agent"})
        assert said["headers"]["accept"] == "application/vnd.sample+json" and said["headers"]["x-flag"] == "operator"
        await value(up, "send_form", {"name": "a"})
        assert api.last.headers["content-type"] == "application/x-www-form-urlencoded"


async def test_a_call_that_may_be_repeated_has_the_key_of_the_portal_and_none_that_a_program_chose() -> None:
    header = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}}
    document = sample_document(paths={"/echo/one": get("echo", header)})
    context = CallContext()
    async with served(document) as (api, up):
        [tool] = up.connection.listing.tools
        given = {"Idempotency-Key": "chosen"}
        await call(up, str(tool["name"]), given, context=context)
        assert api.last.headers["idempotency-key"] == "chosen"
        context.facts.repeat_key = "ours"
        await call(up, str(tool["name"]), given, context=context)
        assert api.last.headers["idempotency-key"] == "ours"
    async with served(document, headers={"Idempotency-Key": "operator"}) as (api, up):
        await call(up, str(up.connection.listing.tools[0]["name"]), given, context=context)
        assert api.last.headers["idempotency-key"] == "operator"


# Answers


async def test_json_is_the_value_of_the_result_whatever_it_is() -> None:
    async with served() as (_, up):
        assert await value(up, "value", {"kind": "object"}) == {"a": [1, 2.5, None]}
        assert await value(up, "value", {"kind": "number"}) == 42
        assert await value(up, "value", {"kind": "string"}) == "12"
        assert await value(up, "value", {"kind": "text"}) == "12"
        assert await value(up, "value", {"kind": "latin"}) == "ä"
        assert await value(up, "untyped") == {"a": 1} and await value(up, "mistyped") == {"a": 1}
        assert (await call(up, "value", {"kind": "null"}))["content"] == [{"type": "text", "text": "null"}]
        assert (await call(up, "value", {"kind": "nothing"}))["content"] == []


async def test_bytes_are_an_image_a_sound_or_a_resource() -> None:
    async with served() as (_, up):
        (image,) = (await call(up, "value", {"kind": "image"}))["content"]
        assert image == {"type": "image", "data": base64.b64encode(PIXEL).decode(), "mimeType": "image/png"}
        (sound,) = (await call(up, "value", {"kind": "audio"}))["content"]
        assert (sound["type"], sound["mimeType"]) == ("audio", "audio/wav")
        (file,) = (await call(up, "value", {"kind": "pdf"}))["content"]
        assert file["resource"]["mimeType"] == "application/pdf" and file["resource"]["uri"] == "openapi://up/value"
        assert base64.b64decode(file["resource"]["blob"]) == b"%PDF-1.7\xff"


async def test_json_that_is_none_is_a_failure_that_quotes_it() -> None:
    async with served() as (_, up):
        result = await call(up, "value", {"kind": "damaged"})
        assert result["isError"] and 'not JSON: {"a":' in result["content"][0]["text"]


async def test_a_status_of_failure_is_a_result_with_the_status_and_the_body() -> None:
    async with served() as (_, up):
        result = await call(up, "status", {"code": "404"})
        assert result["isError"] and result["content"][0]["text"].startswith("HTTP 404 Not Found")
        details = result["structuredContent"]
        assert details["status"] == 404 and details["body"]["error"]["code"] == 404
        assert details["headers"] == {"retry-after": "7"}
        crowded = (await call(up, "status", {"code": "429"}))["content"][0]["text"]
        assert crowded.startswith("HTTP 429 Too Many Requests; it says to try again after 7 s")
        assert (await call(up, "status", {"code": "503"}))["structuredContent"]["status"] == 503
        assert (await call(up, "status", {"code": "403"}))["structuredContent"]["status"] == 403


async def test_a_secret_that_an_api_repeats_in_an_error_is_blotted_out() -> None:
    key = "hunter2-hunter2"
    async with served(secured_document(), credentials={"key": key}) as (api, up):
        result = await call(up, "status", {"code": "400"})
        assert api.last.headers["x-api-key"] == key
        assert key not in json.dumps(result) and "[redacted]" in json.dumps(result)
        assert key not in repr(up.connection.config)


# Credentials


SECRETS = {
    "key": "key-key-key",
    "queryKey": "query key/&=",
    "cookieKey": "cookie;key",
    "basic": "user:pass word",
    "bearer": "bearer-bearer",
    "login": "login-login",
}


async def test_each_credential_is_sent_where_its_scheme_says_and_nowhere_else() -> None:
    async with served(secured_document(), credentials=SECRETS) as (api, up):
        sent = {}
        for tool in ("by_key", "by_query", "by_cookie", "by_basic", "by_bearer", "by_login", "by_nothing", "by_any"):
            said = await value(up, tool)
            headers = said["headers"]
            shown = {name: headers[name] for name in ("authorization", "cookie", "x-api-key") if name in headers}
            sent[tool] = shown, said["query"]
        pair = base64.b64encode(b"user:pass word").decode()
        assert sent == {
            "by_key": ({"x-api-key": "key-key-key"}, ""),
            "by_query": ({}, "api_key=query%20key%2F%26%3D"),
            "by_cookie": ({"cookie": "sid=cookie%3Bkey"}, ""),
            "by_basic": ({"authorization": f"Basic {pair}"}, ""),
            "by_bearer": ({"authorization": "Bearer bearer-bearer"}, ""),
            "by_login": ({"authorization": "Bearer login-login"}, ""),
            "by_nothing": ({}, ""),
            "by_any": ({"x-api-key": "key-key-key"}, ""),
        }
        assert api.requests


async def test_of_alternatives_the_one_that_can_be_satisfied_is_chosen() -> None:
    async with served(secured_document(), credentials={"key": "key-key-key", "queryKey": "q-q-q-q"}) as (_, up):
        either = await value(up, "by_either")
        assert either["headers"]["x-api-key"] == "key-key-key" and "authorization" not in either["headers"]
        both = await value(up, "by_both")
        assert both["headers"]["x-api-key"] == "key-key-key" and both["query"] == "api_key=q-q-q-q"
    async with served(secured_document(), headers={"authorization": "Bearer of-all"}) as (_, up):
        assert (await value(up, "by_either"))["headers"]["authorization"] == "Bearer of-all"


async def test_an_operation_without_its_credential_is_said_before_and_after() -> None:
    async with served(secured_document(), credentials={"nonsense": "x"}) as (api, up):
        notes = "\n".join(up.connection.listing.skipped)
        assert "`credentials.nonsense` is of no use" in notes
        assert "operations have no credential" in notes and "`certificate` (a client certificate" in notes
        api.token = "wanted"
        with pytest.raises(AuthorizationRequired) as caught:
            await call(up, "by_bearer")
        assert caught.value.ran == "no" and caught.value.status == 401
        assert '"bearer": "${TOKEN}"' in caught.value.message and '{"error":"token"}' in caught.value.message
        with pytest.raises(AuthorizationRequired, match="tokenEndpoint`: https://login.example.com/token"):
            await call(up, "by_login")


async def test_wrong_credentials_are_said_to_be_wrong_without_them() -> None:
    async with served(secured_document(), credentials=SECRETS) as (api, up):
        api.token = "another"
        with pytest.raises(AuthorizationRequired, match="not those it wants, or have expired") as caught:
            await call(up, "by_bearer")
        assert "bearer-bearer" not in caught.value.message


# Addresses


async def test_a_document_from_elsewhere_does_not_choose_where_credentials_go() -> None:
    document = secured_document()
    document["servers"] = [{"url": "https://evil.example.com/v1"}]
    async with sample_api(document) as api:
        entry = {"openapi": api.document_url, "credentials": {"key": "key-key-key"}}
        async with watched(entry) as up:
            found = await up.until(lambda one: one.state == "error")
            assert "write that address into `url`" in (found.reason or "")
        async with ready({**entry, "url": f"{api.url}/v1"}) as up:
            assert (await value(up, "by_key"))["headers"]["x-api-key"] == "key-key-key"


async def test_of_several_servers_the_first_with_tls_is_used_and_the_others_are_named() -> None:
    document = sample_document(
        servers=[
            {"url": "http://plain.example.com"},
            {"url": "https://{region}.example.com/v1", "variables": {"region": {"default": "eu"}}},
            {"url": "https://test.example.com", "description": "Test"},
        ]
    )
    async with served(document) as (_, up):
        (line, variables, *_) = up.connection.listing.skipped
        assert "https://eu.example.com/v1 is used" in line
        assert "0: http://plain.example.com; 2: https://test.example.com (Test)" in line
        assert "region = eu" in variables


async def test_a_server_of_the_document_is_chosen_by_number_or_description() -> None:
    async with sample_api() as api:
        api.document["servers"] = [{"url": "https://prod.example.com"}, {"url": "/v1", "description": "Here"}]
        for chosen in (1, "here"):
            async with ready({"openapi": api.document_url, "server": chosen}) as up:
                assert (await value(up, "value", {"kind": "number"})) == 42
        async with watched({"openapi": api.document_url, "server": "nowhere"}) as up:
            found = await up.until(lambda one: one.state == "error")
            assert "there are 0: https://prod.example.com" in (found.reason or "")


async def test_a_document_without_an_address_asks_for_one(tmp_path: Path) -> None:
    file = tmp_path / "api.json"
    file.write_text(json.dumps(sample_document()))
    async with watched({"openapi": str(file)}) as up:
        found = await up.until(lambda one: one.state == "error")
        assert "names no address of the API: write it into `url`" in (found.reason or "")


# Documents


async def test_a_file_that_changes_changes_the_tools(tmp_path: Path) -> None:
    file = tmp_path / "api.json"
    file.write_text(json.dumps(sample_document()))
    async with sample_api() as api, ready({"openapi": str(file), "url": f"{api.url}/v1"}) as up:
        assert await value(up, "value", {"kind": "number"}) == 42
        changed = tmp_path / "new.json"
        changed.write_text(json.dumps(sample_document(paths={"/pages": get("another")})))
        os.replace(changed, file)
        await up.until(lambda one: [tool["name"] for tool in one.listing.tools] == ["another"])
        assert len(await value(up, "another")) == 2


async def test_a_document_at_a_url_is_asked_for_conditionally() -> None:
    async with served() as (api, up):
        await up.connection.refresh()
        assert "if-none-match" not in api.fetched[0] and api.fetched[1]["if-none-match"]
        api.document = sample_document(paths={"/pages": get("another")})
        await up.connection.refresh()
        assert [tool["name"] for tool in up.connection.listing.tools] == ["another"]


async def test_a_document_that_can_no_longer_be_read_leaves_the_last_one_in_use() -> None:
    async with served() as (api, up):
        api.broken = 500
        await up.connection.refresh()
        assert up.connection.state == "stale" and "HTTP 500" in (up.connection.reason or "")
        assert await value(up, "value", {"kind": "number"}) == 42
        api.broken = 0
        await up.connection.refresh()
        await up.until(lambda one: one.state == "ready")


@pytest.mark.parametrize("text", ["not json: [", "[]", '{"swagger": "2.0"}', "{" * 10_000])
async def test_a_file_that_is_no_document_is_the_reason(tmp_path: Path, text: str) -> None:
    file = tmp_path / "api.json"
    file.write_text(text)
    async with watched({"openapi": str(file), "url": "http://127.0.0.1:9"}) as up:
        found = await up.until(lambda one: one.state == "error")
        assert "its document cannot be used" in (found.reason or "")


async def test_what_a_document_has_that_cannot_be_used_is_listed_with_what_is_left_out() -> None:
    document = sample_document()
    document["paths"]["/broken"] = {"get": {"operationId": "broken", "parameters": [{"$ref": "#/nowhere"}]}}
    async with served(document) as (_, up):
        assert any("/paths/~1broken" in line for line in up.connection.listing.skipped)
        assert up.connection.listing.skipped_count >= 1


# APIs that mean harm, and roads that end


async def test_an_answer_without_an_end_or_packed_beyond_measure_is_cut_off() -> None:
    async with served(maxResultBytes=100_000) as (_, up):
        for tool in ("endless", "bomb"):
            with pytest.raises(ResponseTooLarge):
                await call(up, tool)
        assert await value(up, "value", {"kind": "number"}) == 42


async def test_a_change_that_does_not_answer_may_have_run() -> None:
    async with served(timeout=0.2) as (api, up):
        with pytest.raises(UpstreamTimeout, match="no answer and no progress") as caught:
            await call(up, "slow_change", {"name": "x"})
        assert caught.value.ran == "unknown" and "may have run" in caught.value.message
        assert len(api.requests) == 1


async def test_a_connection_that_ends_is_an_unknown_outcome_and_only_a_read_is_repeated() -> None:
    arrived: list[bytes] = []

    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.append(await reader.readline())
        writer.close()

    document = sample_document()
    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with served(document, url=f"http://127.0.0.1:{port}") as (_, up):
            with pytest.raises(OutcomeUnknown) as caught:
                await call(up, "slow_change", {"name": "x"})
            assert caught.value.ran == "unknown" and len(arrived) == 1
            tools: dict[str, Any] = {str(tool["name"]): tool for tool in up.connection.listing.tools}
            assert tools["slow"]["annotations"]["readOnlyHint"] is True
            assert tools["slow_change"]["annotations"].get("readOnlyHint") is not True
            with pytest.raises(OutcomeUnknown):
                await call(up, "slow", repeatable=True)
            assert len(arrived) == 3


async def test_an_api_that_nobody_reaches_is_a_call_that_did_not_run() -> None:
    async with served(url="http://127.0.0.1:9") as (_, up):
        with pytest.raises(UpstreamUnavailable, match="cannot be reached") as caught:
            await call(up, "slow")
        assert caught.value.ran == "no" and up.connection.state == "ready"


async def test_a_redirect_to_another_origin_is_an_answer_and_takes_no_credential() -> None:
    async with served(secured_document(), credentials={"queryKey": "query-key"}) as (api, up), sample_api() as other:
        result = await call(up, "redirect", {"to": f"{other.url}/v1/echo/x"})
        assert result["isError"] and result["structuredContent"]["headers"]["location"] == f"{other.url}/v1/echo/x"
        assert "where the portal does not go" in result["content"][0]["text"]
        metadata = "http://169.254.169.254/latest/meta-data"
        assert (await call(up, "redirect", {"to": metadata}))["structuredContent"]["status"] == 302
        assert not other.requests
        result = await value(up, "redirect", {"to": "/v1/echo/here"})
        assert result["path"] == "/v1/echo/here" and "query-key" not in result["query"]
        assert api.requests


async def test_no_cookie_of_an_api_is_kept() -> None:
    async with served() as (_, up):
        assert await value(up, "cookies") == {"cookie": ""}
        assert await value(up, "cookies") == {"cookie": ""}


async def test_an_address_that_no_server_may_have_is_not_asked() -> None:
    document = sample_document(servers=[{"url": "http://169.254.169.254/v1"}])
    async with sample_api(document) as api, watched({"openapi": api.document_url}) as up:
        await up.until(lambda one: one.state == "ready")
        with pytest.raises(Exception, match="no server may have"):
            await call(up, "slow")
    async with watched({"openapi": "http://169.254.169.254/openapi.json"}) as up:
        found = await up.until(lambda one: one.state == "error")
        assert "no server may have" in (found.reason or "")


async def test_headers_about_further_pages_come_with_the_result() -> None:
    async with served() as (_, up):
        result = await call(up, "list_pages")
        assert result["structuredContent"] == [{"id": 10}, {"id": 11}]
        headers = result["_meta"]["codemode-portal/http"]["headers"]
        assert headers["x-total-count"] == "6" and 'rel="next"' in headers["link"]


async def test_a_list_whose_pages_the_document_names_in_headers_says_how_to_get_the_next() -> None:
    async with served() as (api, up):
        tool: Any = next(tool for tool in up.connection.listing.tools if tool["name"] == "named_pages")
        assert tool["outputSchema"]["properties"].keys() == {"items", "next", "headers"}
        first = await value(up, "named_pages")
        assert (first["items"], first["next"]) == ([{"id": 10}, {"id": 11}], {"page": 2})
        assert first["headers"]["x-total-count"] == "6"
        last = await value(up, "named_pages", {"page": 3})
        assert last == {"items": [{"id": 30}, {"id": 31}], "headers": {"x-total-count": "6"}}


async def test_calls_at_once_do_not_wait_for_one_another() -> None:
    async with served() as (api, up):
        slow = asyncio.create_task(call(up, "slow"))
        assert await value(up, "value", {"kind": "number"}) == 42
        api.released.set()
        await slow
