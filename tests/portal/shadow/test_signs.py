"""What a request says of itself, and how certain that makes it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from portal.shadow import KNOWN_ENDPOINTS, Certainty, LogRequest, Sign
from portal.shadow.json_lines import ends
from portal.shadow.request import read_authority
from portal.shadow.signs import METHODS, judge, may_have_signs

CERTAIN, LIKELY, POSSIBLE = Certainty.CERTAIN, Certainty.LIKELY, Certainty.POSSIBLE
STREAM = "application/json, text/event-stream"


def asked(method: str = "GET", host: str = "shop.example.com", path: str | None = "/", **more: object) -> LogRequest:
    return replace(LogRequest(host=host, path=path, method=method, status=200), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("request_", "certainty"),
    [
        (asked("POST", path="/mcp"), LIKELY),
        (asked("POST", path="/mcp", accept=STREAM), LIKELY),
        (asked("POST", path="/mcp", accept="*/*"), LIKELY),
        (asked("POST", path="/mcp", accept="application/json"), POSSIBLE),
        (asked("POST", path="/mcp", status=401), LIKELY),
        (asked("POST", path="/mcp", status=404), POSSIBLE),
        (asked("POST", path="/team/mcp/x/repos"), LIKELY),
        (asked("POST", path="/%6Dcp"), LIKELY),
        (asked("POST", path="/"), None),
        (asked("GET", path="/mcp"), POSSIBLE),
        (asked("GET", path="/mcp/sse"), POSSIBLE),
        (asked("GET", path="/docs/mcp/intro"), None),
        (asked("GET", path="/sse", accept="text/event-stream"), LIKELY),
        (asked("GET", path="/events", accept="text/event-stream"), None),
        (asked("GET", path="/mcp", answer_type="text/event-stream"), LIKELY),
        (asked("CONNECT", "mcp.example.com", None), POSSIBLE),
        (asked("CONNECT", "mcp.example.com", None, agent="claude-code/2.1"), LIKELY),
        (asked("CONNECT", "docs.mcp.example.com", None), POSSIBLE),
        (asked("CONNECT", "shop-mcp.example.com", None), POSSIBLE),
        (asked("CONNECT", "tmcpx.example.com", None), None),
        (asked("CONNECT", "example.mcp", None), None),
        (asked("POST", "mcp.stripe.com"), LIKELY),
        (asked("POST", "api.githubcopilot.com", "/mcp/readonly"), LIKELY),
        (asked("CONNECT", "api.githubcopilot.com", None), None),
        (asked("POST", "api.githubcopilot.com", "/chat/completions"), None),
        (asked("POST", path="/", agent="claude-code/2.1"), None),
        (asked("POST", path="/", agent="openai-mcp/1.0.0 (ChatGPT)"), POSSIBLE),
        (asked("POST", path="/", agent="tmcpx/1.0"), None),
        (asked("POST", path="/rpc", protocol=True), CERTAIN),
        (asked("POST", path="/rpc", protocol=True, status=404), CERTAIN),
    ],
)
def test_how_certain_a_request_is(request_: LogRequest, certainty: Certainty | None) -> None:
    verdict = judge(request_)
    assert (verdict.certainty if verdict is not None else None) == certainty


@pytest.mark.parametrize("method", METHODS)
def test_a_method_of_mcp_in_a_body_is_certain(method: str) -> None:
    body = f'{{"jsonrpc": "2.0", "id": 1, "method" : "{method}", "params": {{"protocolVersion": "2025-06-18"}}}}'
    verdict = judge(asked("POST", path="/rpc", bodies=(body,)))
    assert verdict is not None and verdict.certainty == CERTAIN
    assert verdict.methods == {method} and verdict.versions == {"2025-06-18"}
    assert {Sign.METHOD, Sign.VERSION} <= verdict.signs


@pytest.mark.parametrize(
    "body",
    [
        '{"method": "tools/call"}',
        '{"jsonrpc": "2.0", "method": "initialize", "params": {"processId": 1}}',
        '{"jsonrpc": "2.0", "method": "textDocument/hover"}',
        '{"jsonrpc": "2.0", "result": {"protocolVersion": "1999-01-01"}}',
        '{"messages": [{"content": "{\\"jsonrpc\\": \\"2.0\\", \\"method\\": \\"tools/call\\"}"}]}',
    ],
)
def test_a_body_of_something_else_is_none(body: str) -> None:
    assert judge(asked("POST", path="/rpc", bodies=(body,))) is None


def test_what_stands_behind_a_long_body_is_seen() -> None:
    body = '{"method": "tools/call", "params": "' + "x" * 1_000_000 + '", "jsonrpc": "2.0"}'
    verdict = judge(asked("POST", path="/rpc", bodies=(ends(body),)))
    assert verdict is not None and verdict.methods == {"tools/call"}


def test_each_known_endpoint_is_written_well_has_its_source_and_is_found_in_a_line() -> None:
    for endpoint in KNOWN_ENDPOINTS:
        assert read_authority(endpoint.host) == (endpoint.host, None)
        assert endpoint.vendor and endpoint.source.startswith("https://") and not endpoint.path.startswith("/")
        verdict = judge(asked("GET", endpoint.host, f"/{endpoint.path}" if endpoint.path else None))
        assert verdict is not None and verdict.endpoint == endpoint
        assert may_have_signs(f"CONNECT {endpoint.host}/{endpoint.path}")
    hosts = [endpoint.host for endpoint in KNOWN_ENDPOINTS]
    assert len(hosts) == len(set(hosts)) > 50
