"""APIs behind a portal: programs that page and see failures, tokens of the portal and of persons, APIs of the store."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cloudflare
import pytest
import yaml
from mcp.shared.exceptions import MCPError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from codemode import CodeTool
from portal.admin import create_admin, export_objects, read_existing
from portal.config.config import parse_config
from portal.credentials import ServerCredentials
from portal.errors import LoginRequired
from portal.identity import OnBehalf
from portal.servers import Servers
from portal.state import KeyRing, Store
from tests.portal.admin.test_declared import applied, planned
from tests.portal.admin.test_running import portal as portal_of_store
from tests.portal.credentials.authority import Authority, authority, saved_login
from tests.portal.portals import MODERN, client_of, portal_over
from tests.portal.state.databases import new_state
from tests.portal.upstreams.api import (
    SCHEMES,
    SampleApi,
    get,
    post,
    query,
    sample_api,
    sample_document,
    secured_document,
)

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")]
ADA, BOB = (OnBehalf(name, advice="log in at https://portal/servers") for name in ("ada", "bob"))

PAGING = """async () => {
  const found = []
  let input = {page: 1}
  while (input) {
    const {items, next} = await codemode.shop.named_pages(input)
    found.push(...items.map(one => one.id))
    input = next
  }
  return found
}"""
FAILING = """async () => {
  try { await codemode.shop.status({code: "409"}) }
  catch (error) { return {name: error.name, first: error.message.split("\\n")[0], data: error.data} }
}"""
VALUES = """async () => [
  await codemode.shop.value({kind: "number"}), await codemode.shop.value({kind: "text"}),
  (await codemode.shop.list_pages({})).length, await codemode.shop.value({kind: "nothing"}),
  (await codemode.shop.value({kind: "image"}))[0].mimeType
]"""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_program_pages_reads_values_and_sees_how_a_call_failed(code_tool: CodeTool) -> None:
    async with (
        sample_api() as api,
        portal_over({"shop": {"openapi": api.document_url}}, code_tool=code_tool) as portal,
    ):
        async with client_of(portal.code, MODERN) as client:

            async def run(code: str) -> Any:
                answer = await client.call_tool("code", {"code": code})
                assert answer.structured_content is not None
                assert answer.structured_content["status"] == "completed", answer.structured_content
                return answer.structured_content["result"]

            assert await run(PAGING) == [10, 11, 20, 21, 30, 31]
            failed = await run(FAILING)
            assert failed["first"] == "HTTP 409 Conflict; it says to try again after 7 s"
            assert failed["data"]["status"] == 409 and failed["data"]["body"]["error"]["code"] == 409
            assert await run(VALUES) == [42, "12", 2, None, "image/png"]
            described = await run('async () => codemode.describe("shop.named_pages")')
            assert "items" in described and "next?" in described
        assert portal.kept.last.outcome == "ok" and portal.kept.last.server == "shop"


async def test_a_plain_client_calls_an_operation_and_its_arguments_are_checked() -> None:
    async with sample_api() as api, portal_over({"shop": {"openapi": api.document_url}}) as portal:
        async with client_of(portal.mcp, MODERN) as client:
            listed = {tool.name: tool for tool in (await client.list_tools()).tools}
            assert listed["shop_echo"].annotations is not None and listed["shop_echo"].annotations.read_only_hint
            answer = await client.call_tool("shop_echo", {"id": "1"})
            assert answer.structured_content is not None and answer.structured_content["path"] == "/v1/echo/1"
            refused = await client.call_tool("shop_send_json", {"name": 5})
            assert refused.is_error and "name" in str(refused.content) and len(api.requests) == 1


async def test_what_is_left_out_of_a_document_is_a_notice_of_its_server() -> None:
    document = sample_document()
    document["paths"]["/odd"] = {"get": {"operationId": "odd", "parameters": [{"$ref": "#/nowhere"}]}}
    async with sample_api(document) as api, portal_over({"shop": {"openapi": api.document_url}}) as portal:
        assert any("/paths/~1odd" in line for line in portal.servers.snapshot.servers["shop"].notices)


def guarded(api: SampleApi, issuing: Authority) -> None:
    """The API takes the tokens of this authority alone."""

    def answer(request: Request) -> Response:
        shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        if shown not in issuing.tokens:
            return JSONResponse({"error": "token"}, 401, {"www-authenticate": "Bearer"})
        return JSONResponse({"shown": shown})

    api.overrides["secured"] = answer


async def test_the_portal_asks_for_a_token_of_its_own_and_shows_it_where_the_scheme_wants_it() -> None:
    async with authority() as issuing, sample_api(secured_document()) as api:
        guarded(api, issuing)
        oauth = {
            "grant": "client_credentials",
            "clientId": "portal",
            "clientSecret": "the secret of the client",
            "tokenEndpoint": f"{issuing.url}/token",
        }
        entry = {"openapi": api.document_url, "url": f"{api.url}/v1", "oauth": oauth}
        async with portal_over({"shop": entry}) as portal, client_of(portal.mcp, MODERN) as client:
            answer = await client.call_tool("shop_by_login", {})
            assert answer.structured_content is not None and answer.structured_content["shown"] in issuing.tokens
            with pytest.raises(MCPError, match="HTTP 401"):
                await client.call_tool("shop_by_nothing", {})
            assert "authorization" not in api.last.headers


@dataclass
class ApiHost:
    """An API where `saved_login` looks for a server."""

    url: str


async def test_each_person_calls_an_api_with_their_own_login(tmp_path: Path) -> None:
    keys = KeyRing.open(tmp_path / "state.key")
    async with (
        authority() as issuing,
        sample_api(secured_document()) as api,
        Store.open(new_state(tmp_path), keys) as store,
    ):
        guarded(api, issuing)
        base = f"{api.url}/v1"
        oauth = {"clientId": "client", "clientSecret": "s" * 20, "issuer": issuing.issuer}
        entry = {"openapi": api.document_url, "url": base, "oauth": oauth}
        configs = dict(parse_config({"mcpServers": {"files": entry}}, env={}).servers)
        async with ServerCredentials(store) as credentials, Servers(configs, credentials=credentials) as servers:
            await servers.settled()

            async def call(on_behalf: OnBehalf, tool: str) -> Any:
                await servers.know(on_behalf)
                with servers.lease(on_behalf) as lease:
                    connection = lease.connection("files")
                    try:
                        result: Any = await connection.request("tools/call", {"name": tool, "arguments": {}})
                    except Exception as error:
                        raise lease.login_required(connection, error) or error from None  # type: ignore[arg-type]
                return result.get("structuredContent")

            with pytest.raises(LoginRequired, match="you have not logged in to it"):
                await call(ADA, "by_login")
            assert not api.requests
            shown = {}
            for person in (ADA, BOB):
                await saved_login(store, issuing, ApiHost(base), person.subject, "files", "client", "")  # type: ignore[arg-type]
                await credentials.look_again(person.subject)
                shown[person.subject] = (await call(person, "by_login"))["shown"]
            assert shown["ada"] != shown["bob"] and set(shown.values()) <= set(issuing.tokens)


# Of the store


async def test_an_api_is_made_through_the_sdk_and_served_with_what_is_left_out(tmp_path: Path) -> None:
    document = sample_document()
    document["paths"]["/odd"] = {"get": {"operationId": "odd", "parameters": [{"$ref": "#/nowhere"}]}}
    async with sample_api(document) as api, portal_of_store(tmp_path) as run:
        made = await run.mcp.servers.create(
            account_id=run.account,
            id="shop",
            auth_type="unauthenticated",
            hostname=f"{api.url}/v1",
            name="Shop",
            extra_body={"openapi_url": api.document_url},
        )
        assert made.openapi_url == api.document_url
        await run.until(lambda: "shop" in run.servers.snapshot.servers)
        await run.until(lambda: run.servers.snapshot.servers["shop"].state == "ready")
        read = await run.mcp.servers.read("shop", account_id=run.account)
        assert read.status == "ready" and "echo" in {tool["name"] for tool in read.tools}
        assert any("/paths/~1odd" in line for line in read.notices)
        api.document = sample_document(paths={"/pages": get("another")})
        await run.mcp.servers.sync("shop", account_id=run.account)
        again = await run.mcp.servers.read("shop", account_id=run.account)
        assert [tool["name"] for tool in again.tools] == ["another"]
        [change] = again.capability_changes
        assert change["tools"]["added"] == ["another"]


async def test_a_document_that_is_sent_is_checked_stored_and_replaced(tmp_path: Path) -> None:
    async with sample_api() as api, portal_of_store(tmp_path) as run:
        server = {"account_id": run.account, "auth_type": "bearer", "hostname": f"{api.url}/v1", "name": "Shop"}
        credentials = json.dumps({"credentials": {"key": "key-key-key"}})
        document = {**secured_document(), "components": {"securitySchemes": SCHEMES}}
        for wrong in ("swagger: '2.0'", "not json {", "[]"):
            with pytest.raises(cloudflare.BadRequestError, match="openapi_document|OpenAPI"):
                await run.mcp.servers.create(id="shop", **server, extra_body={"openapi_document": wrong})
        with pytest.raises(cloudflare.BadRequestError, match="send one of the two"):
            both = {"openapi_document": json.dumps(document), "openapi_url": api.document_url}
            await run.mcp.servers.create(id="shop", **server, extra_body=both)
        with pytest.raises(cloudflare.BadRequestError, match="which are for an API"):
            await run.mcp.servers.create(id="shop", **server, auth_credentials=credentials)
        made = await run.mcp.servers.create(
            id="shop", **server, auth_credentials=credentials, extra_body={"openapi_document": yaml.safe_dump(document)}
        )
        assert len(made.openapi_digest) == 64 and "key-key-key" not in made.model_dump_json()
        await run.until(lambda: "shop" in run.servers.snapshot.servers)
        await run.until(lambda: run.servers.snapshot.servers["shop"].state == "ready")
        with run.servers.lease() as lease:
            result: Any = await lease.connection("shop").request("tools/call", {"name": "by_key", "arguments": {}})
        assert result["structuredContent"]["headers"]["x-api-key"] == "key-key-key"
        other = json.dumps(sample_document(paths={"/pages": get("another")}))
        await run.mcp.servers.update("shop", account_id=run.account, extra_body={"openapi_document": other})
        await run.until(lambda: len(run.servers.snapshot.servers["shop"].tools) == 1)


async def test_an_mcp_server_does_not_become_an_api(tmp_path: Path) -> None:
    async with portal_of_store(tmp_path) as run:
        server = {
            "account_id": run.account,
            "auth_type": "unauthenticated",
            "hostname": "http://127.0.0.1:9",
            "name": "M",
        }
        await run.mcp.servers.create(id="mcp", **server)
        with pytest.raises(cloudflare.BadRequestError, match="make another server"):
            await run.mcp.servers.update(
                "mcp", account_id=run.account, extra_body={"openapi_url": "https://a.example/x"}
            )


async def test_an_api_that_was_declared_leaves_nothing_to_do_and_is_written_back(tmp_path: Path) -> None:
    text = json.dumps(sample_document(), indent=1)
    base = {"auth_type": "unauthenticated", "hostname": "https://api.example.com/v1"}
    declared = {
        "servers": {
            "one": {**base, "name": "One", "openapi_document": text},
            "two": {**base, "name": "Two", "openapi_url": "https://api.example.com/openapi.json"},
        }
    }
    async with Store.open(new_state(tmp_path), KeyRing.in_memory()) as store:
        admin = await create_admin(store)
        assert [line.split(":")[0] for line in await applied(admin, store, declared)] == [
            "make servers one",
            "make servers two",
        ]
        assert (await planned(store, declared)).changes == []
        written = export_objects(await read_existing(store))
        assert written["servers"]["one"]["openapi_document"] == text  # type: ignore[index]
        assert written["servers"]["two"]["openapi_url"] == "https://api.example.com/openapi.json"  # type: ignore[index]
        assert (await planned(store, yaml.safe_load(yaml.safe_dump(written)))).changes == []
        declared["servers"]["one"]["openapi_document"] = json.dumps(sample_document(paths={}))
        assert await applied(admin, store, declared) == ["change servers one: openapi_document"]


# The chapter

CHAPTER = (Path(__file__).resolve().parents[3] / "portal" / "README.md").read_text(encoding="utf-8")


def orders() -> dict[str, Any]:
    """The document that the example of the chapter speaks of."""
    order = {"type": "object", "properties": {"id": {"type": "integer"}}, "required": ["id"]}
    listed = {
        "description": "fine",
        "headers": {"Link": {"schema": {"type": "string"}}},
        "content": {"application/json": {"schema": {"type": "array", "items": order}}},
    }
    reason = {"type": "object", "properties": {"reason": {"type": "string"}}}
    number = {"name": "id", "in": "path", "required": True, "schema": {"type": "integer"}}
    return {
        "openapi": "3.0.3",
        "info": {"title": "Shop", "version": "1"},
        "security": [{"apiKey": []}],
        "components": {"securitySchemes": {"apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"}}},
        "paths": {
            "/orders": get("list_orders", query("status"), responses={"200": listed}),
            "/orders/{id}/cancel": post("cancel_order", {"application/json": {"schema": reason}}, number),
        },
    }


async def test_the_example_of_the_chapter_runs(tmp_path: Path, code_tool: CodeTool) -> None:
    section = CHAPTER.partition("\n## APIs\n")[2].partition("\n## ")[0]
    (entry,) = json.loads(re.findall(r"```json\n(.*?)```", section, re.DOTALL)[0])["mcpServers"].values()
    (program,) = re.findall(r"```js\n(.*?)```", section, re.DOTALL)
    file = tmp_path / entry["openapi"]
    file.write_text(yaml.safe_dump(orders()))
    async with sample_api() as api:

        def answer(request: Request) -> Response:
            if request.method == "GET":
                return JSONResponse([{"id": 10}, {"id": 11}])
            return JSONResponse({"error": "it was sent already"}, 409)

        api.overrides["orders"] = answer
        entry |= {"openapi": str(file), "url": f"{api.url}/v1", "credentials": {"apiKey": "of-the-shop"}}
        async with portal_over({"shop": entry}, code_tool=code_tool) as portal:
            async with client_of(portal.code, MODERN) as client:
                found = await client.call_tool("code", {"code": program})
        assert found.structured_content is not None and found.structured_content["result"] == 2
        listed, cancelled = api.requests
        assert (listed.path, listed.query, listed.headers["x-api-key"]) == ("/v1/orders", "status=open", "of-the-shop")
        assert (cancelled.path, cancelled.json) == ("/v1/orders/10/cancel", {"reason": "out of stock"})
