"""The served OpenAPI document is the truth: random requests find no crash and no answer it does not describe."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from anyio.from_thread import BlockingPortal
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok

from portal.admin import PREFIX
from portal.admin.api import application
from portal.logs import CallLog, LogPlace
from tests.deep import examples
from tests.patience import PATIENCE
from tests.portal.admin.conftest import Api, admin_api
from tests.portal.logs.rows import row

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


EXAMPLES = settings(examples(8), database=None, suppress_health_check=list(HealthCheck), phases=[Phase.generate])


@asynccontextmanager
async def with_a_log(folder: Path) -> AsyncIterator[Api]:
    async with CallLog.open(LogPlace(url=f"sqlite:///{folder}/logs.db", folder=folder)) as log:
        for number in range(20):
            log.write(row(number))
        async with admin_api(folder, log=log) as api:
            yield api


@pytest.fixture
def api(loop: BlockingPortal, tmp_path: Path) -> Iterator[Api]:
    with loop.wrap_async_context_manager(with_a_log(tmp_path)) as served:
        yield served


def test_no_request_crashes_the_api_and_every_answer_is_described(api: Api) -> None:
    schema = schemathesis.openapi.from_url(f"{api.base_url}/openapi.json", timeout=PATIENCE)
    checks: list[Any] = [
        schemathesis.checks.not_a_server_error,
        schemathesis.checks.status_code_conformance,
        schemathesis.checks.content_type_conformance,
        schemathesis.checks.response_schema_conformance,
    ]
    tried = 0
    for result in schema.get_all_operations():
        assert isinstance(result, Ok)
        operation = result.ok()
        if operation.path.endswith("/tail"):
            # Its answer goes on for ever.
            continue

        @EXAMPLES
        @given(case=operation.as_strategy())
        def holds(case: Any) -> None:
            nonlocal tried
            tried += 1
            case.path_parameters["account_id"] = api.account
            case.validate_response(case.call(headers=api.headers(), timeout=PATIENCE), checks=checks)

        holds()
    assert tried > len(api.admin.operations) - 3


@pytest.mark.anyio
async def test_the_document_is_made_when_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def document(operations: object, prefix: str) -> dict[str, str]:
        made.append(prefix)
        return {"openapi": "3.1.0"}

    monkeypatch.setattr(application, "document", document)
    async with admin_api(tmp_path) as api:
        assert made == []
        for _ in range(2):
            answer = await asyncio.to_thread(api.http.get, f"{api.base_url}/openapi.json")
            assert answer.json() == {"openapi": "3.1.0"}
    assert made == [PREFIX]


def test_the_document_describes_every_operation(shared: Api) -> None:
    document = shared.http.get(f"{shared.base_url}/openapi.json").json()
    described = {(method.upper(), path) for path, methods in document["paths"].items() for method in methods}
    assert described == {
        (operation.method, f"/accounts/{{account_id}}{operation.path}") for operation in shared.admin.operations
    }
    assert document["openapi"].startswith("3.1") and document["security"] == [{"api_token": []}]


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nothing", b"", 404),
        ("PATCH", "/tokens", b"", 405),
        ("POST", "/access/ai-controls/mcp/servers", b"{", 400),
        ("POST", "/access/ai-controls/mcp/servers", b"[]", 400),
        ("POST", "/access/ai-controls/mcp/servers", b"", 400),
        ("POST", "/access/ai-controls/mcp/servers", b'{"a":' * 300 + b"1" + b"}" * 300, 400),
        ("PUT", "/access/ai-controls/mcp/servers/a", b"[" * 100_000, 400),
        ("PUT", "/access/ai-controls/mcp/servers/a", b'"' + b"x" * 5_000_000 + b'"', 413),
        ("POST", "/gateway/lists", b'"' + b"x" * 2_000_000 + b'"', 413),
        ("GET", "/tokens?page=0", b"", 400),
        ("GET", "/tokens?per_page=100000", b"", 400),
        ("GET", "/tokens/%00", b"", 404),
        ("GET", "/tokens/" + "x" * 300, b"", 404),
    ],
)
def test_what_makes_no_sense_is_refused_in_the_same_form(
    shared: Api, method: str, path: str, body: bytes, status: int
) -> None:
    headers = {**shared.headers(), "Content-Type": "application/json"}
    answer = shared.http.request(method, shared.at(path), headers=headers, content=body)
    assert answer.status_code == status, answer.text
    said = answer.json()
    assert said["success"] is False and said["result"] is None and said["errors"][0]["message"]
