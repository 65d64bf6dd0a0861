"""What a protocol generation can carry: definitions and results of upstreams, shaped for it.

The models of 2025 versions refuse shapes that are right in 2026-07-28, and both refuse what careless servers send. One
item that a model refuses would cost the client its whole list, and one member of a result would cost it the text of a
call that ran. So what is refused is shaped: optional members that do not fit are left out, schemas are widened, blocks
of an unknown type become text. What fits is passed on as it came, as the same object.

A program in code mode sees what a server sent, in the form of the protocol (`codemode.well_formed`): none of this is
for it.

Sources: MCP 2025-11-25 and 2026-07-28, schema reference; the models are those of the SDK (`mcp_types.methods`). The
official TypeScript clients refuse a little more, and with it the whole answer: property schemas that are booleans,
times that are not ISO 8601, data that is not base64 (`_is_sound`).
"""

import base64
import binascii
import json
import re
import string
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias, TypeVar

from mcp_types import methods
from mcp_types.version import LATEST_HANDSHAKE_VERSION, LATEST_MODERN_VERSION, MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from codemode import content_blocks, off_loop, well_formed
from portal.calls import Call
from portal.endpoint.output_schemas import compilable
from portal.errors import ResponseInvalid

T = TypeVar("T")

Generation: TypeAlias = Literal["2025", "2026"]
Item: TypeAlias = Mapping[str, Any]
Fits: TypeAlias = Callable[[Item], bool]

OLDER: Final[Generation] = "2025"
NEWER: Final[Generation] = "2026"
MAX_COMPLETIONS: Final = 100
"""The most values a completion may have (MCP, "Completion")."""

_VERSIONS: Mapping[Generation, str] = {OLDER: LATEST_HANDSHAKE_VERSION, NEWER: LATEST_MODERN_VERSION}
# Members of a result that the portal adds later; the models of 2026-07-28 want them in every one.
_ENVELOPE: Item = {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"}
_MEMBERS: Final = 32  # the most members of one object that are tried
_OBJECT: Item = {"type": "object"}
_SIGNATURES: Final = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"RIFF", ""),  # the bytes that follow say what it is
    (b"OggS", "audio/ogg"),
    (b"ID3", "audio/mpeg"),
    (b"fLaC", "audio/flac"),
)
_RIFF: Mapping[bytes, str] = {b"WEBP": "image/webp", b"WAVE": "audio/wav"}
_ESSENTIAL: Mapping[str, str] = {
    "tools/call": "content",
    "prompts/get": "messages",
    "resources/read": "contents",
    "completion/complete": "completion",
}
_LISTS: Mapping[str, str] = {
    "tools/list": "tools",
    "prompts/list": "prompts",
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
    "tools/call": "content",
    "prompts/get": "messages",
    "resources/read": "contents",
}
_TIME: Final = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])T([01]\d|2[0-3]):[0-5]\d(:[0-5]\d(\.\d+)?)?(Z|[+-]([01]\d|2[0-3]):?[0-5]\d)"
)
_BASE64: Final = (string.ascii_letters + string.digits + "+/").encode()
_URL_SAFE: Final = str.maketrans("-_", "+/")  # RFC 4648 section 5, which no client takes here
_DATA_URL: Final = re.compile(r"data:([\w.+-]{1,100}/[\w.+-]{1,100})[^,]{0,100};base64,")  # RFC 2397
_WHITE_SPACE: Final = b" \t\n\f\r"
_OPAQUE: Final = frozenset({"inputSchema", "outputSchema", "structuredContent", "_meta"})
"""Members with content of any form, in which null is a value."""
_LONG: Final = 250  # the most items that the models read at once
_UNKNOWN_TYPE: Final = "application/octet-stream"
_REQUIRED: Mapping[object, tuple[str, ...]] = {
    "text": ("type", "text"),
    "image": ("type", "data", "mimeType"),
    "audio": ("type", "data", "mimeType"),
    "resource_link": ("type", "uri", "name"),
    "resource": ("type", "resource"),
}


def generation_of(version: str) -> Generation:
    return NEWER if version in MODERN_PROTOCOL_VERSIONS else OLDER


@dataclass(frozen=True, slots=True)
class ItemKind:
    """One of the lists: the method that lists it, its member in the result, and the members every item must have."""

    method: str
    member: str
    required: tuple[str, ...]

    @property
    def identity(self) -> str:
        """The member that is unique in a list."""
        return self.required[0]

    def fits(self, generation: Generation) -> Fits:
        return lambda item: _accepted(self.method, generation, {self.member: [item]})


TOOL = ItemKind("tools/list", "tools", ("name", "inputSchema"))
PROMPT = ItemKind("prompts/list", "prompts", ("name",))
RESOURCE = ItemKind("resources/list", "resources", ("uri", "name"))
TEMPLATE = ItemKind("resources/templates/list", "resourceTemplates", ("uriTemplate", "name"))


def definition_for(generation: Generation, kind: ItemKind, item: Item) -> Item:
    """The definition of a tool, prompt, resource or template as clients of a generation can read it.

    The same object if it fits. Members that are null are left out: official clients refuse them, the models do not.
    """
    fits = kind.fits(generation)
    if fits(item):
        return item
    kept = {
        name: value if name in _OPAQUE else _without_nulls(value) for name, value in item.items() if value is not None
    }
    if kind is TOOL:
        kept["inputSchema"] = _input_schema(kept.get("inputSchema"), fits)
        output = kept.get("outputSchema")
        if isinstance(output, Mapping) and output.get("type") == "object":
            output = _sound_schema(output)
        if isinstance(output, Mapping):
            kept["outputSchema"] = compilable(output)
    return _fitting_part(kept, kind.required, fits)


async def deliverable(generation: Generation, call: Call, result: dict[str, Any]) -> dict[str, Any]:
    """As `result_for`. A large result is shaped in a thread."""
    if call.method == "tools/call" and is_plain(result):
        return result
    return await off_loop(lambda: result_for(generation, call, result), result)


async def serialized(method: str, version: str, result: dict[str, Any]) -> dict[str, Any]:
    """The result of a request as the models of a version write it. A large one in a thread, and in short pieces.

    Raises:
        ValueError: it is none. Pydantic's `ValidationError` is such an error.
    """
    if method == "tools/call" and is_plain(result):
        return result
    return await off_loop(lambda: _serialized(method, version, result), result)


def _serialized(method: str, version: str, result: dict[str, Any]) -> dict[str, Any]:
    member = _LISTS.get(method, "")
    items = result.get(member)
    if not isinstance(items, list) or len(items) <= _LONG:
        return methods.serialize_server_result(method, version, result)
    whole = methods.serialize_server_result(method, version, {**result, member: []})
    written: list[Any] = []
    for part in _parts(items):
        written += methods.serialize_server_result(method, version, {**_ENVELOPE, member: part})[member]
    return {**whole, member: written}


def _parts(items: list[T]) -> Iterable[list[T]]:
    return (items[start : start + _LONG] for start in range(0, len(items), _LONG))


def result_for(generation: Generation, call: Call, result: dict[str, Any]) -> dict[str, Any]:
    """The result of a call as clients of a generation can read it; the same object if it fits.

    Raises:
        ResponseInvalid: there is nothing in it that the client could read. The call ran.
    """

    def fits(candidate: Item) -> bool:
        return _accepted(call.method, generation, candidate)

    kind = result.get("resultType", "complete")
    # The questions of an upstream are no result yet, and an extension's result is for the client that declared it.
    if kind == "input_required" or (
        generation == NEWER and isinstance(kind, str) and kind != "complete" and _ESSENTIAL[call.method] not in result
    ):
        return result
    if kind != "complete":
        result = {name: value for name, value in result.items() if name != "resultType"}
    if call.method == "tools/call":
        result = well_formed(result)
    if fits(result):
        return result
    shaped = _SHAPES[call.method](result, generation, call.name)
    if shaped is None:
        member = _ESSENTIAL[call.method]
        raise ResponseInvalid(
            f"The server {call.server!r} answered {call.method} without a list of `{member}`, so there is nothing to "
            "pass on. The call ran. The fault is in that server.",
            server=call.server,
        )
    return _fitting_part({**result, **shaped}, tuple(shaped), fits)


def _accepted(method: str, generation: Generation, result: Item) -> bool:
    member = _LISTS.get(method, "")
    if isinstance(items := result.get(member), list) and len(items) > _LONG:
        # In pieces, between which other threads get the interpreter.
        whole = _accepted(method, generation, {**result, member: []})
        return whole and all(_accepted(method, generation, {member: part}) for part in _parts(items))
    if isinstance(result.get("structuredContent"), Mapping):
        # Any object will do, and it may be large.
        result = {**result, "structuredContent": {}}
    try:
        read = methods.serialize_server_result(method, _VERSIONS[generation], {**_ENVELOPE, **result})
    except (ValidationError, ValueError, RecursionError):
        return False
    # In 2026-07-28 a result that is not right is still read as one that asks for input: without what it should have.
    if method in _ESSENTIAL and _ESSENTIAL[method] not in read:
        return False
    return _is_unchanged(read, result) and all(_is_sound(method, item, generation) for item in _objects(method, result))


def _is_unchanged(read: object, given: object) -> bool:
    """Whether a model has read a value as it is. Models take "yes" for true, and leave out null; clients do not."""
    if isinstance(read, Mapping) and isinstance(given, Mapping):
        return all(
            value is not None if name not in read else name in _OPAQUE or _is_unchanged(read[name], value)
            for name, value in given.items()
        )
    if isinstance(read, list) and isinstance(given, list):
        return len(read) == len(given) and all(map(_is_unchanged, read, given))
    return isinstance(read, bool) == isinstance(given, bool) and read == given


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nulls(member) for name, member in value.items() if member is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _objects(method: str, result: Item) -> Iterable[Item]:
    """The definitions, blocks or contents in a result that has the right types."""
    items = result.get(_LISTS.get(method, ""), ())
    return (item["content"] for item in items) if method == "prompts/get" else items


def _is_sound(method: str, item: Item, generation: Generation) -> bool:
    """Whether the official TypeScript clients take an item whose members have the right types."""
    annotations = item.get("annotations")
    modified = annotations.get("lastModified") if isinstance(annotations, Mapping) else None
    if isinstance(modified, str) and _TIME.fullmatch(modified) is None:
        return False
    if method == "tools/list":
        output = item.get("outputSchema")
        if isinstance(output, Mapping) and compilable(output) is not output:
            return False
        return all(_is_sound_schema(item.get(name), generation) for name in ("inputSchema", "outputSchema"))
    if not method.endswith("/list"):
        resource = item.get("resource")
        parts = (item, resource) if isinstance(resource, Mapping) else (item,)
        return all(_is_base64(part[name]) for part in parts for name in ("data", "blob") if name in part)
    return True


def _is_sound_schema(schema: Item | None, generation: Generation) -> bool:
    if schema is None or (generation == NEWER and schema.get("type") != "object"):
        return True
    if any(schema.get(name, "") is None for name in ("$schema", "title", "description")):
        return False
    properties, required = schema.get("properties", {}), schema.get("required", [])
    kinds: tuple[type, ...] = (Mapping,) if generation == OLDER else (Mapping, bool)
    return (
        isinstance(properties, Mapping)
        and all(isinstance(one, kinds) for one in properties.values())
        and isinstance(required, list)
        and all(isinstance(name, str) for name in required)
    )


def _is_base64(data: object) -> bool:
    """Whether this is base64 as browsers read it: with white space, and with or without its padding."""
    if not isinstance(data, str) or not data.isascii():
        return False
    code = data.encode().translate(None, _WHITE_SPACE)
    bare = code.rstrip(b"=") if len(code) % 4 == 0 else code
    return len(code) - len(bare) <= 2 and len(bare) % 4 != 1 and not bare.translate(None, _BASE64)


def _fitting_part(item: Item, required: tuple[str, ...], fits: Fits) -> dict[str, Any]:
    """The required members, and those of the others with which the item still fits. Order is kept."""
    if fits(item):
        return dict(item)
    kept = {name: item[name] for name in required if name in item}
    for name, value in list(item.items())[:_MEMBERS]:
        if name in kept or value is None:
            continue
        if fits({**kept, name: value}):
            kept[name] = value
        elif isinstance(value, Mapping):
            part = _fitting_members(value, lambda part, name=name: fits({**kept, name: part}))  # type: ignore[misc]
            if part:
                kept[name] = part
    return {name: kept[name] for name in [*item, *required] if name in kept}


def _fitting_members(value: Item, fits: Fits) -> dict[str, Any]:
    kept: dict[str, Any] = {}
    for name, member in list(value.items())[:_MEMBERS]:
        if member is not None and fits({**kept, name: member}):
            kept[name] = member
    return kept


def _input_schema(schema: object, fits: Fits) -> Item:
    """A schema that a generation accepts, and that allows all that this one allows. The upstream checks by its own."""

    def accepts(candidate: Item) -> bool:
        return fits({"name": "t", "inputSchema": candidate})

    if not isinstance(schema, Mapping):
        return _OBJECT
    typed = {"type": "object", **{name: value for name, value in schema.items() if value is not None}}
    if isinstance(typed["type"], list) and "object" in typed["type"]:
        typed["type"] = "object"
    if accepts(typed):
        return typed
    sound = _sound_schema(typed)
    return sound if accepts(sound) else _OBJECT


def _sound_schema(schema: Item) -> Item:
    return {name: _SOUND[name](value) if name in _SOUND else value for name, value in schema.items()}


def _properties(value: object) -> dict[str, Any]:
    items = value.items() if isinstance(value, Mapping) else ()
    return {
        name: schema if isinstance(schema, Mapping) else {"not": {}} if schema is False else {}
        for name, schema in items
    }


def _required(value: object) -> list[str]:
    return [name for name in value if isinstance(name, str)] if isinstance(value, list) else []


_SOUND: Mapping[str, Callable[[object], object]] = {
    "properties": _properties,
    "required": _required,
    "$schema": lambda value: value if isinstance(value, str) else "https://json-schema.org/draft/2020-12/schema",
}


def is_plain(result: Item) -> bool:
    """Whether a tool's result certainly fits every generation. Quick, so that ordinary results are not read twice."""
    content = result.get("content")
    return (
        result.keys() <= {"content", "structuredContent", "isError", "resultType"}
        and type(content) is list
        and type(result.get("structuredContent", {})) is dict
        and type(result.get("isError", False)) is bool
        and result.get("resultType", "complete") == "complete"
        and all(type(block) is dict and block.keys() == {"type", "text"} and _is_text(block) for block in content)
    )


def _is_text(block: Item) -> bool:
    return block["type"] == "text" and type(block["text"]) is str


def _tool_result(result: Item, generation: Generation, target: str) -> Item | None:
    blocks, value = _blocks(result.get("content"), generation), result.get("structuredContent")
    # Left out of the result below, and this would be all that there is.
    if not blocks and generation == OLDER and value is not None and not isinstance(value, Mapping):
        blocks = [_text(value)]
    return {"content": blocks}


def _prompt_result(result: Item, generation: Generation, target: str) -> Item | None:
    messages = result.get("messages")
    if isinstance(messages, str | Mapping):
        messages = [messages]
    if not isinstance(messages, list):
        return None
    # Each message has one block in every generation. Servers that send several mean several messages.
    return {
        "messages": [
            {"role": "assistant" if message.get("role") == "assistant" else "user", "content": block}
            for message in map(_message, messages)
            for block in _blocks(message.get("content"), generation)
        ]
    }


def _message(value: object) -> Item:
    """A message, or one of a user that says this value."""
    return value if isinstance(value, Mapping) and "content" in value else {"content": value}


def _resource_result(result: Item, generation: Generation, target: str) -> Item | None:
    contents = result.get("contents")
    if isinstance(contents, str | Mapping):
        contents = [contents]
    if not isinstance(contents, list):
        return None
    return {"contents": [_resource_contents(one, generation, target) for one in contents]}


def _completion_result(result: Item, generation: Generation, target: str) -> Item | None:
    completion = result.get("completion")
    if isinstance(completion, list):
        completion = {"values": completion}
    values = completion.get("values") if isinstance(completion, Mapping) else None
    if isinstance(values, str):
        values = [values]
    if not isinstance(completion, Mapping) or not isinstance(values, list):
        return None
    texts = [value if isinstance(value, str) else _json(value) for value in values if value is not None]
    kept = {"values": texts[:MAX_COMPLETIONS]}
    if len(texts) > MAX_COMPLETIONS:
        return {"completion": {**kept, "hasMore": True}}

    def fits(candidate: Item) -> bool:
        return _accepted("completion/complete", generation, {"completion": candidate})

    return {"completion": _fitting_part({**completion, **kept}, ("values",), fits)}


_SHAPES: Mapping[str, Callable[[Item, Generation, str], Item | None]] = {
    "tools/call": _tool_result,
    "prompts/get": _prompt_result,
    "resources/read": _resource_result,
    "completion/complete": _completion_result,
}


def _blocks(content: object, generation: Generation) -> list[Item]:
    """Content as a list of blocks that fit. No content is an empty list."""
    return [_block(one, generation) for one in content_blocks(content)]


def _block(block: Item, generation: Generation) -> Item:
    """A block that fits: the block, its required members and those of the others that fit, or its text."""

    def fits(candidate: Item) -> bool:
        return _accepted("tools/call", generation, {"content": [candidate]})

    if fits(block):
        return block
    kind = block.get("type")
    required = _REQUIRED.get(kind) if isinstance(kind, str) else None
    if required is None:
        return _text(block)
    kept = {name: value for name, value in block.items() if value is not None}
    if isinstance(kept.get("data"), str):
        if (url := _DATA_URL.match(kept["data"])) is not None:
            kept["mimeType"], kept["data"] = url[1], kept["data"][url.end() :]
        kept["data"] = kept["data"].translate(_URL_SAFE)
        if not isinstance(kept.get("mimeType"), str):
            kept["mimeType"] = media_type(kept["data"])
    if isinstance(kept.get("resource"), Mapping):
        kept["resource"] = _resource_contents(kept["resource"], generation, "")
    if kept.get("type") == "resource_link" and not isinstance(kept.get("name"), str):
        kept["name"] = kept.get("uri")
    shaped = _fitting_part(kept, required, fits)
    return shaped if fits(shaped) else _text(block)


def _resource_contents(contents: object, generation: Generation, target: str) -> Item:
    def fits(candidate: Item) -> bool:
        return _accepted("resources/read", generation, {"contents": [candidate]})

    if not isinstance(contents, Mapping):
        return {"uri": target, **_text_member(contents)}
    kept = {name: value for name, value in contents.items() if value is not None}
    if not isinstance(kept.get("uri"), str):
        kept["uri"] = target
    if isinstance(kept.get("blob"), str):
        kept["blob"] = kept["blob"].translate(_URL_SAFE)
    if not isinstance(kept.get("text"), str) and not _is_base64(kept.get("blob")):
        kept |= _text_member(kept.get("text", kept.get("blob", contents)))
    body = "text" if isinstance(kept.get("text"), str) else "blob"
    return _fitting_part(kept, ("uri", body), fits)


def _text(value: object) -> Item:
    return {"type": "text", **_text_member(value)}


def _text_member(value: object) -> dict[str, str]:
    return {"text": value if isinstance(value, str) else _json(value)}


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def media_type(data: str) -> str:
    """The media type of base64 data by its first bytes, for a block that does not say it."""
    try:
        head = base64.b64decode(data[:16].ljust(16, "A"))
    except (binascii.Error, ValueError):
        return _UNKNOWN_TYPE
    for signature, known in _SIGNATURES:
        if head.startswith(signature):
            return known or _RIFF.get(head[8:12], _UNKNOWN_TYPE)
    return _UNKNOWN_TYPE
