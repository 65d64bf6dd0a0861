"""The result that an API's answer becomes: large answers of codecs that are slow do not make the event loop late."""

from __future__ import annotations

import pytest

from portal.upstream.transports.api_answer import ApiAnswer, result_of
from tests.hostile.lateness import lateness
from tests.portal.openapi.writing import answering, operation

pytestmark = pytest.mark.anyio
SIZE = 5 * 1024 * 1024
LATE = 0.02


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("text/plain", b"\xff" * SIZE),
        ("text/plain; charset=big5", b"\xff" * SIZE),
        ("text/plain; charset=gb18030", b"\x81\x30\x81\x30" * (SIZE // 4)),
    ],
    ids=["no UTF-8", "no Big5", "GB 18030"],
)
async def test_a_large_text_of_a_slow_codec_does_not_make_the_loop_late(kind: str, data: bytes) -> None:
    one = operation(answering({"type": "string"}, "text/plain"), method="get")
    async with lateness() as late:
        result = await result_of(ApiAnswer(200, "OK", {"content-type": kind}, data), one, "api", SIZE)
    assert len(str(result["structuredContent"])) >= SIZE // 4
    assert late.worst < LATE


async def test_a_character_between_two_pieces_is_read_whole() -> None:
    one = operation(answering({"type": "string"}, "text/plain"), method="get")
    text = "a" + "\u20ac" * 50_000
    kind = {"content-type": "text/plain; charset=utf-16"}
    result = await result_of(ApiAnswer(200, "OK", kind, text.encode("utf-16")), one, "api", SIZE)
    assert result["structuredContent"] == text
