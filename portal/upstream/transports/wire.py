"""Bytes to JSON values and back, for messages of servers that are not trusted.

It uses orjson, and the standard library for integers beyond 64 bits (`portal.exact`) and for texts that orjson refuses
and JavaScript servers do send: lone surrogates. They become U+FFFD, because the client that reads them later might
fail on them. So does a byte that is not UTF-8, as browsers and the official TypeScript clients read it: one letter of a
server that writes in the code page of its machine costs that letter alone.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

import orjson

from portal.errors import ResponseInvalid, RpcError
from portal.exact import beyond_64_bits, encode, end_of_value, parse
from portal.upstream.transports.bounds import INLINE_BYTES, MAX_ERROR_CHARS, aside, bounded_data, check_number

SNIPPET = 200
# Colours, cursor movements and titles that a program writes for a terminal, also when its output is a pipe.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]P^_X][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\-_])")
_BETWEEN_WORDS = re.compile(r"""[\s"'`<>,;|(){}\[\]]""")
MAX_DEPTH = 100
# Messages in one batch (2025-03-26). What has more is no message.
MAX_BATCH = 1000
# What a message has that no `maxResultBytes` bounds.
MAX_BYTES = 5 * 1024 * 1024
END_BYTES = 512
# In a line with several messages, or with words around one.
MAX_AMONG = 4
MAX_AMONG_BYTES = 256 * 1024
_MESSAGE_START = re.compile(r'\{\s*"(?:jsonrpc|id|result|error|method)"\s*:')
_BOM = b"\xef\xbb\xbf"
_VERSION = rb'"jsonrpc"\s*:\s*(?:"[\d.]{1,8}"|[\d.]{1,8})'
_ID = rb'"id"\s*:\s*"?(\d{1,18})(?:\.0+)?"?'
_ID_FIRST = re.compile(rb"\s*\{\s*(?:" + _VERSION + rb"\s*,\s*)?" + _ID + rb"\s*,")
_ID_LAST = re.compile(_ID + rb"\s*(?:,\s*" + _VERSION + rb"\s*)?\}\s*$")
_OUTCOME = rb'"(?:result|error)"\s*:'
_ANSWER_ID_FIRST = re.compile(_ID_FIRST.pattern + rb"\s*(?:" + _VERSION + rb"\s*,\s*)?" + _OUTCOME)
_ANSWER_ID_LAST = re.compile(rb"\s*\{\s*(?:" + _VERSION + rb"\s*,\s*)?" + _OUTCOME)
_ERROR_MEMBERS = ("code", "message", "data")
_MESSAGE_CHARS = 2_000
_ANSWER_MEMBERS = {"id", "result", "error", "method"}
_CODE_TEXT = re.compile(r"-?[0-9]{1,9}")
_ID_TEXT = re.compile(r"([0-9]{1,18})(?:\.0+)?")
_HEX = rb"[0-9a-fA-F]{2}"
_SURROGATES = re.compile(
    rb"\\u[dD](?:[89abAB]" + _HEX + rb"(?P<pair>\\u[dD][c-fC-F]" + _HEX + rb")?|[c-fC-F]" + _HEX + rb")"
)


def decode(data: bytes | bytearray | memoryview | str) -> object:
    """The JSON value in `data`.

    Raises:
        ValueError: `data` is not JSON, or nested too deeply.
    """
    raw = data.encode() if isinstance(data, str) else bytes(data)
    exactly = beyond_64_bits(raw)
    if not exactly:
        try:
            return orjson.loads(raw)
        except orjson.JSONDecodeError:
            pass
    # JSON has no byte order mark (RFC 8259, section 8.1, allows to ignore one). Servers on Windows write it.
    text = _as_text(_without_surrogates(raw.removeprefix(_BOM)))
    if exactly:
        return parse(text)
    # The same text again would only be refused again.
    repaired = text.encode()
    if repaired == raw:
        raise ValueError("not JSON")
    return orjson.loads(repaired)


def message_in(data: bytes | bytearray) -> dict[str, object] | None:
    """The JSON-RPC message in `data`, or None if `data` is not a JSON object."""
    try:
        message = decode(data)
    except ValueError:
        return None
    return message if isinstance(message, dict) else None


def messages_in(data: bytes | bytearray, max_bytes: int = MAX_BYTES) -> list[dict[str, object]]:
    """The JSON-RPC messages in `data`: one message, or a batch of them (an array; MCP 2025-03-26). [] for none.

    Raises:
        ResponseTooLarge: it has more values than a text that may have `max_bytes`.
    """
    check_number(data, max_bytes)
    try:
        value = decode(data)
    except ValueError:
        return []
    if isinstance(value, dict):
        return [value]
    if isinstance(value, list) and len(value) <= MAX_BATCH:
        return [message for message in value if isinstance(message, dict)]
    return []


async def read_messages(data: bytes | bytearray, max_bytes: int) -> list[dict[str, object]]:
    """As `messages_in`, which reads a large text in a thread."""
    if len(data) <= INLINE_BYTES:
        return messages_in(data, max_bytes)
    return await aside(lambda: messages_in(data, max_bytes), len(data))


def messages_among(data: bytes) -> Iterator[tuple[dict[str, object], bool]]:
    """The messages in a line or body that is none as a whole: several of them, or words around one.

    With each comes whether nothing but messages is in front of it; otherwise it may be one that the words quote. Only
    the first `MAX_AMONG` places where one may begin are tried, in `MAX_AMONG_BYTES`.
    """
    if len(data) > MAX_AMONG_BYTES or b'"jsonrpc"' not in data:
        return
    text = data.decode("utf-8", "replace")
    at, alone = 0, True
    for _ in range(MAX_AMONG):
        if (start := _MESSAGE_START.search(text, at)) is None:
            return
        alone = alone and not text[at : start.start()].strip("\ufeff \t\r\n")
        try:
            at = end_of_value(text, start.start())
        except ValueError:
            at, alone = start.end(), False
            continue
        for message in messages_in(text[start.start() : at].encode()):
            yield message, alone


Kind = Literal["request", "notification", "answer"]


def kind_of(message: Mapping[str, object]) -> Kind | None:
    """What kind of message a JSON object is, or None if it is none: a keep-alive, say, or a line of a log.

    Some servers leave `jsonrpc` out of answers, repeat the method in them, or give a notification the id null.
    """
    outcome = "result" in message or "error" in message
    if "jsonrpc" not in message:
        return "answer" if outcome and message.keys() <= _ANSWER_MEMBERS else None
    if outcome:
        return "answer"
    if isinstance(message.get("method"), str):
        return "notification" if message.get("id") is None else "request"
    return "answer" if "id" in message else None


def is_outcome(message: Mapping[str, object]) -> bool:
    """Whether this is an answer with a result or an error as they should be."""
    return kind_of(message) == "answer" and (
        isinstance(message.get("result"), dict) or rpc_error(message.get("error")) is not None
    )


def params_of(message: Mapping[str, object]) -> dict[str, object]:
    """The params of a message, {} if it has none."""
    params = message.get("params")
    return params if isinstance(params, dict) else {}


def result_in(message: Mapping[str, object], request_id: int, secrets: Sequence[str] = ()) -> dict[str, object] | None:
    """The result of the request with this id, or None if the message is not its answer.

    Raises:
        RpcError: the answer is an error. Its id may be null, from a server that could not read the request.
        ResponseInvalid: the answer has neither an object as its result nor a JSON-RPC error.
    """
    answered = same_id(message.get("id"), request_id)
    # Next to a result null, {}, [] and "" are how some servers write that there is no error.
    failed = bool(message.get("error"))
    error = rpc_error(message.get("error"))
    if error is not None and (answered or message.get("id") is None):
        raise error
    if not answered:
        return None
    result = message.get("result")
    if isinstance(result, dict) and not failed:
        return result
    failed = failed or "result" not in message
    what = "the answer's `error` is not a JSON-RPC error" if failed else "the answer's `result` is not an object"
    raise invalid_response(what, encode(message), secrets)


def rpc_error(error: object) -> RpcError | None:
    """The exception for a JSON-RPC error object, or None if `error` is not one."""
    if not isinstance(error, dict) or (code := _code_in(error)) is None:
        return None
    message = error.get("message")
    words = message if isinstance(message, str) else _message_of(error)
    return RpcError(code, first_words(words, MAX_ERROR_CHARS), bounded_data(error.get("data")))


def refusal_in(
    messages: Sequence[Mapping[str, object]], request_id: int | None = None
) -> dict[str, object] | RpcError | None:
    """What the body of an HTTP error says: the result of a tool that failed, or a JSON-RPC error, or None.

    What answers the request comes first. A server may also refuse what it did not read, under any id. A result that
    does not say itself that it failed contradicts the status, and the official clients take none.
    """
    answers = [message for message in messages if same_id(message.get("id"), request_id)]
    for message in answers:
        result = message.get("result")
        if isinstance(result, dict) and result.get("isError") is True and not message.get("error"):
            return result
    return next((error for message in (*answers, *messages) if (error := rpc_error(message.get("error")))), None)


def _code_in(error: Mapping[str, object]) -> int | None:
    """The code of an error. Some servers write the number as text, which the official Python client takes."""
    code = error.get("code")
    return int(code) if isinstance(code, str) and _CODE_TEXT.fullmatch(code) else whole_number(code)


def _message_of(error: Mapping[str, object]) -> str:
    """What an error says whose message is no text: the JSON of the message, or of the members that nobody has defined.

    "" if it says nothing.
    """
    message = error.get("message")
    if message is None:
        message = {name: value for name, value in error.items() if name not in _ERROR_MEMBERS}
        if not message:
            return ""
    text = encode(message).decode()
    return first_words(text, _MESSAGE_CHARS)


def invalid_response(
    what: str, data: bytes, secrets: Sequence[str] = (), *, status: int | None = None
) -> ResponseInvalid:
    """The error for data that is not MCP, with the beginning of it. `status` is its HTTP status, if it has one."""
    beginning = snippet(data, secrets)
    return ResponseInvalid(f"{what}: {beginning}" if beginning else what, status=status)


def read_id(received: object) -> int | None:
    """The number in the id of a server's message. Some servers turn numbers into strings or floats."""
    if isinstance(received, str):
        match = _ID_TEXT.fullmatch(received)
        return int(match[1]) if match else None
    return whole_number(received)


def same_id(received: object, sent: int | None) -> bool:
    """Whether the id in a server's message is the one we sent."""
    return sent is not None and read_id(received) == sent


def whole_number(value: object) -> int | None:
    """`value` as an int. Some servers write whole numbers as floats, which are the same number in JSON."""
    if isinstance(value, int):
        return None if isinstance(value, bool) else value
    return int(value) if isinstance(value, float) and value.is_integer() else None


def id_of_answer(beginning: bytes, end: bytes) -> int | None:
    """The id of an answer that was not kept, from its first and last bytes, or None if they do not show it.

    Servers write it first (`{"jsonrpc":"2.0","id":7,"result":...`) or last (`...,"jsonrpc":"2.0","id":7}`).
    """
    match = _ID_FIRST.match(beginning) or _ID_LAST.search(end)
    return int(match[1]) if match else None


def id_of_damaged_answer(data: bytes) -> int | None:
    """The id of an answer that is not JSON (NaN in it, say), or None if `data` does not begin as an answer does."""
    beginning = data[:END_BYTES].removeprefix(_BOM)
    if match := _ANSWER_ID_FIRST.match(beginning):
        return int(match[1])
    # With as many braces closed as opened the answer is whole, and the last member is its own.
    whole = _ANSWER_ID_LAST.match(beginning) and data.count(b"{") == data.count(b"}")
    match = _ID_LAST.search(data[-END_BYTES:]) if whole else None
    return int(match[1]) if match else None


def snippet(data: bytes | str, secrets: Sequence[str] = ()) -> str:
    """The beginning of unexpected data on one line, without secrets, for an error message."""
    text = data[: 4 * SNIPPET].decode("utf-8", "replace") if isinstance(data, bytes) else data[: 4 * SNIPPET]
    # What is left of the text may end within a word too.
    return first_words(_one_line(redact(text, secrets)), SNIPPET, whole=len(data) <= 4 * SNIPPET)


def first_words(text: str, length: int, *, whole: bool = True) -> str:
    """The beginning of `text`, with at most `length` characters. It ends between words: what searches for secrets does
    not find half of one. `whole` says whether `text` is all there was."""
    if len(text) <= length and whole:
        return text
    kept = text[: length - 1]
    end = max((found.end() for found in _BETWEEN_WORDS.finditer(kept)), default=0)
    return kept[:end].rstrip() + "…"


def tail(text: str, length: int) -> str:
    """The end of `text` on one line, with at most `length` characters: and whole words, as `first_words`."""
    line = _one_line(text)
    if len(line) <= length:
        return line
    kept = line[len(line) - length + 1 :]
    found = _BETWEEN_WORDS.search(kept)
    return "…" + (kept[found.end() :] if found is not None else "")


def without_escapes(text: str) -> str:
    """`text` without the escape sequences of terminals."""
    return _ESCAPES.sub("", text)


def redact(text: str, secrets: Sequence[str]) -> str:
    """`text` with every configured secret replaced by "[redacted]"."""
    for secret in secrets:
        text = text.replace(secret, "[redacted]")
    return text


def redact_cut(text: str, secrets: Sequence[str], *, at_start: bool = False, at_end: bool = False) -> str:
    """As `redact`, for a piece that was cut out of a longer text: no part of a secret is left where it was cut."""
    # A character of several bytes may be cut too.
    text = text.lstrip("\ufffd") if at_start else text
    text = text.rstrip("\ufffd") if at_end else text
    if any(len(text) < len(secret) and text in secret for secret in secrets):
        return "[redacted]" if text else ""
    text = redact(text, secrets)
    for secret in secrets:
        parts = range(min(len(secret) - 1, len(text)), 0, -1)
        if at_end and (cut := next((n for n in parts if text.endswith(secret[:n])), 0)):
            text = text[:-cut]
        if at_start and (cut := next((n for n in parts if text.startswith(secret[-n:])), 0)):
            text = text[cut:]
    return text


def redact_value(value: object, secrets: Sequence[str], depth: int = MAX_DEPTH) -> object:
    """A JSON value with `redact` applied to all its strings and member names. Values nested too deeply become null."""
    if isinstance(value, str):
        return redact(value, secrets)
    if not isinstance(value, list | dict):
        return value
    if not depth:
        return None
    if isinstance(value, list):
        return [redact_value(item, secrets, depth - 1) for item in value]
    return {redact(name, secrets): redact_value(item, secrets, depth - 1) for name, item in value.items()}


def _one_line(text: str) -> str:
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip()


def _without_surrogates(text: bytes) -> bytes:
    """JSON text with its lone surrogates replaced. Replacing them in the parsed value would take far longer."""
    if b"\\ud" not in text and b"\\uD" not in text:
        return text
    # First write escaped backslashes in another way. What still looks like an escape then is one.
    text = text.replace(rb"\\", rb"\u005c")
    # Replaced by a function, between whose calls other threads get the interpreter: there may be a million.
    return _SURROGATES.sub(_known, text)


def _known(surrogate: re.Match[bytes]) -> bytes:
    """Two surrogates that are a character, or U+FFFD for one alone."""
    return surrogate[0] if surrogate["pair"] else rb"\ufffd"


def _as_text(data: bytes) -> str:
    """The text with U+FFFD for what is not UTF-8. In pieces, between which other threads get the interpreter."""
    if len(data) <= INLINE_BYTES:
        return data.decode("utf-8", "replace")
    decoder = getincrementaldecoder("utf-8")("replace")
    pieces = [decoder.decode(data[at : at + INLINE_BYTES]) for at in range(0, len(data), INLINE_BYTES)]
    return "".join([*pieces, decoder.decode(b"", final=True)])
