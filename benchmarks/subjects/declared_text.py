"""Tokens of tools as three texts a model might read: our declarations, the `tools/list` JSON, the original's types."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.cases import Measurement, Reading, Unavailable
from portal.cli.show.token_count import count_tokens
from tests.corpus import cloudflare
from tests.node_tools import NodeToolUnavailable
from tests.stubs.measured import declared, synthetic
from tests.upstreams.listed import read_published_tools
from tests.upstreams.packages import PythonToolUnavailable

Tools = list[dict[str, Any]]


def cases() -> Mapping[str, Reading]:
    return texts(declared)


def texts(written: Callable[[Tools], str]) -> Mapping[str, Reading]:
    """The cases of a subject: what it writes of each set of servers."""
    return {
        "tokens_published": Reading(lambda once: measured(written, published())),
        "tokens_large": Reading(lambda once: measured(written, [cloudflare.tools()])),
        "tokens_synthetic": Reading(lambda once: measured(written, [synthetic()])),
    }


def published() -> list[Tools]:
    try:
        return list(read_published_tools().values())
    except (NodeToolUnavailable, PythonToolUnavailable) as error:
        raise Unavailable(str(error)) from error


def measured(written: Callable[[Tools], str], servers: list[Tools]) -> Measurement:
    """Every server's text by itself, as an agent would ask for them."""
    try:
        counts = [count_tokens(written(tools)) for tools in servers]
    except NodeToolUnavailable as error:
        raise Unavailable(str(error)) from error
    total = float(sum(count.tokens for count in counts))
    note = f"{sum(map(len, servers)):,} tools, {len(servers)} server{'s' if len(servers) > 1 else ''}"
    return Measurement(total, total, "tokens", note if all(count.exact for count in counts) else f"{note}, estimated")
