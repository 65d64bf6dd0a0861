"""The names of attributes and metrics, each written once.

Those of OpenTelemetry's conventions for generative AI and MCP may still change; what is ours begins with `codemode`.
"""

from __future__ import annotations

from typing import Final

# Resource and scope (OpenTelemetry, "Resource semantic conventions").
SERVICE_NAME: Final = "service.name"
SERVICE_VERSION: Final = "service.version"
SERVICE_INSTANCE: Final = "service.instance.id"
SCOPE: Final = "codemode-portal"

# OpenTelemetry's conventions: MCP, generative AI, JSON-RPC, general attributes.
METHOD: Final = "mcp.method.name"
PROTOCOL: Final = "mcp.protocol.version"
SESSION: Final = "mcp.session.id"
TOOL: Final = "gen_ai.tool.name"
PROMPT: Final = "gen_ai.prompt.name"
OPERATION: Final = "gen_ai.operation.name"
EXECUTES_TOOL: Final = "execute_tool"
STATUS_CODE: Final = "rpc.response.status_code"
ERROR_TYPE: Final = "error.type"
ADDRESS: Final = "server.address"
PORT: Final = "server.port"

# Ours.
CLIENT: Final = "codemode.client.name"
CLIENT_VERSION: Final = "codemode.client.version"
PORTAL: Final = "codemode.portal"
SERVER: Final = "codemode.server"
RUN: Final = "codemode.run"
CALL: Final = "codemode.call"
OUTCOME: Final = "codemode.outcome"
POLICY: Final = "codemode.policy"
FINDINGS: Final = "codemode.findings"
LABELS: Final = "codemode.labels"
BYTES_IN: Final = "codemode.bytes_in"
BYTES_OUT: Final = "codemode.bytes_out"
TOKENS_SAVED: Final = "codemode.tokens_saved"
LEFT_OUT: Final = "codemode.calls_left_out"

# Metrics. Counters have `_total` behind their name where they are read.
CALLS: Final = "codemode_calls"
CALL_SECONDS: Final = "codemode_call_duration_seconds"
TOOL_CALLS: Final = "codemode_tool_calls"
CALL_BYTES: Final = "codemode_call_bytes"
CALLS_WITH_FINDINGS: Final = "codemode_calls_with_findings"
RUNS: Final = "codemode_runs"
RUN_SECONDS: Final = "codemode_run_duration_seconds"
RUN_TOKENS_SAVED: Final = "codemode_tokens_saved"
EVENTS: Final = "codemode_events"
LOOP_SECONDS: Final = "codemode_event_loop_late_seconds"
UPSTREAMS: Final = "codemode_upstreams"
UPSTREAM_READY: Final = "codemode_upstream_ready"
SESSIONS: Final = "codemode_sessions"
PROGRAMS: Final = "codemode_programs"
WORKERS: Final = "codemode_sandbox_workers"
STORE_OK: Final = "codemode_store_ok"
LOG_OK: Final = "codemode_log_ok"
LOG_WAITING: Final = "codemode_log_rows_waiting"
LOG_DROPPED: Final = "codemode_log_rows_dropped"
SPANS_WAITING: Final = "codemode_spans_waiting"
SPANS: Final = "codemode_spans"
NOTICES: Final = "codemode_approval_notices"
