"""The HTTP request that a call of an API's operation becomes. Pure.

Nothing that an agent writes can become more than the value of its parameter: no other segment of a path, no other
parameter, no header, no part of a body. What a value cannot be is refused before anything is sent.

Source: OpenAPI 3.1.1 "Parameter Object", "Encoding Object"; RFC 6570 (styles), RFC 3986, RFC 7578 (multipart).
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote, quote_plus, unquote

from portal.exact import encode
from portal.openapi import ApiBody, ApiOperation, FieldEncoding, Parameter

# Of the reserved characters (RFC 3986 2.2) those that mean nothing to a query or a form.
_RESERVED = ":/?@!$'()*,;="
_TRIPLET = re.compile(r"%[0-9A-Fa-f]{2}")
_BETWEEN_SEGMENTS = re.compile(r"[/\\]")
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_MEDIA_TYPE = re.compile(r"[!#$&^_.+\-0-9A-Za-z]+/[!#$&^_.+\-0-9A-Za-z]+(?:;[\x20\t-~]*)?")
_CONTROLS = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
# What stays as it is in what a document wrote; all else is percent-encoded, and so cannot end the line of a request.
_IN_URL = "/%:@!$&'()*+,;=?-._~"
# What belongs to the connection, to the body's length, or to whoever shows a credential.
NEVER_SENT = frozenset(
    "accept-encoding authorization connection content-encoding content-length cookie expect host keep-alive "
    "proxy-authenticate proxy-authorization proxy-connection te trailer transfer-encoding upgrade".split()
)
_BINARY = "application/octet-stream"


class ArgumentRefused(Exception):
    """A value that cannot be sent. The text is a sentence for whoever made the call."""


@dataclass(frozen=True, slots=True)
class OperationRequest:
    """A request without its base address and its credentials: `path` and `query` are percent-encoded."""

    method: str
    path: str
    query: tuple[str, ...]
    headers: Mapping[str, str]
    cookies: tuple[str, ...]
    body: bytes | None


def request_of(
    operation: ApiOperation, arguments: Mapping[str, object], *, boundary: str, fixed: Sequence[str] = ()
) -> OperationRequest:
    """The request for a call with these arguments. `boundary` separates the parts of a multipart body, and is in none
    of them. `fixed` are names of headers, in lower case, that the configuration has: its values go, not the caller's.

    Raises:
        ArgumentRefused: a value cannot be sent.
    """
    # Some documents write a fixed query behind the path.
    template, _, written = operation.path.partition("#")[0].partition("?")
    path, query, cookies = template, [quote(written, safe=_IN_URL)] if written else [], list[str]()
    headers = {"accept": _CONTROLS.sub("", operation.result.accept) or "*/*"}
    for parameter in operation.parameters:
        value = arguments.get(parameter.property)
        value = parameter.default if value is None else value
        if parameter.location == "path":
            path = path.replace("{" + parameter.name + "}", _in_path(parameter, value))
        elif value is None:
            continue
        elif parameter.location == "query":
            query += _in_query(parameter, value)
        elif parameter.location == "cookie":
            cookies += _in_cookie(parameter, value)
        elif (name := parameter.name.lower()) not in fixed:
            headers[name] = _in_header(parameter, value)
    _require_safe(path, template)
    body = None
    if operation.body is not None:
        found = _body_value(operation, operation.body, arguments)
        if found is not None:
            body, kind = _body(operation.body, found[0], boundary)
            headers["content-type"] = _CONTROLS.sub("", kind)
    return OperationRequest(operation.method, quote(path, safe=_IN_URL), tuple(query), headers, tuple(cookies), body)


# Values as text


def _text(value: object, name: str) -> str:
    """A plain value as text. What is nested deeper than its style can say is JSON."""
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case None:
            return ""
        case float() if math.isfinite(value) and value.is_integer() and abs(value) < 2**53:
            return str(int(value))
        case _:
            try:
                return encode(value).decode()
            except (TypeError, ValueError):
                raise ArgumentRefused(f"`{name}` is no JSON value.") from None


def _items(value: object) -> list[object] | None:
    return [one for one in value if one is not None] if isinstance(value, list | tuple) else None


def _members(value: object) -> list[tuple[str, object]] | None:
    return [(key, one) for key, one in value.items() if one is not None] if isinstance(value, Mapping) else None


def _escaped(text: str, *, reserved: bool = False) -> str:
    """The text percent-encoded as UTF-8. With `reserved` also as it was, where it was percent-encoded already."""
    data = text.encode("utf-8", "replace")
    if not reserved:
        return quote(data, safe="")
    pieces, at = [], 0
    for found in _TRIPLET.finditer(text):
        pieces += [quote(text[at : found.start()].encode("utf-8", "replace"), safe=_RESERVED), found[0]]
        at = found.end()
    return "".join([*pieces, quote(text[at:].encode("utf-8", "replace"), safe=_RESERVED)])


# Parameters


def _in_path(parameter: Parameter, value: object) -> str:
    name = parameter.property
    if value is None:
        raise ArgumentRefused(f"`{name}` is missing: it is a part of the path.")
    if parameter.media_type is not None:
        texts = [encode(value).decode()]
        written = _escaped(texts[0])
    else:
        texts = list(_leaves(value, name))
        written = _expanded_path(parameter, value)
    for text in texts:
        for segment in _BETWEEN_SEGMENTS.split(text):
            if segment.partition(";")[0].strip() in (".", ".."):
                raise ArgumentRefused(f"`{name}` must not lead to another path, with `.` or `..` between slashes.")
    if not written.strip(".;=,"):
        raise ArgumentRefused(f"`{name}` must not be empty: it is a part of the path.")
    return written


def _leaves(value: object, name: str) -> Iterator[str]:
    if (members := _members(value)) is not None:
        for key, one in members:
            yield key
            yield _text(one, name)
    elif (items := _items(value)) is not None:
        yield from (_text(one, name) for one in items)
    else:
        yield _text(value, name)


def _expanded_path(parameter: Parameter, value: object) -> str:
    name, explode = parameter.property, parameter.explode
    begin, between = {"label": (".", "."), "matrix": (";", ";")}.get(parameter.style, ("", ","))
    of_name = f"{_escaped(parameter.name)}=" if parameter.style == "matrix" else ""
    if (members := _members(value)) is not None:
        pairs = [(_escaped(key), _escaped(_text(one, name))) for key, one in members]
        if explode:
            return begin + between.join(f"{key}={one}" for key, one in pairs)
        return begin + of_name + ",".join(part for pair in pairs for part in pair)
    if (items := _items(value)) is not None:
        texts = [_escaped(_text(one, name)) for one in items]
        if explode:
            return begin + between.join(of_name + one for one in texts)
        return begin + of_name + ",".join(texts)
    return begin + of_name + _escaped(_text(value, name))


def _require_safe(path: str, template: str) -> None:
    """
    Raises:
        ArgumentRefused: values make a segment one that leads elsewhere.
    """
    for segment, written in zip(path.split("/"), template.split("/"), strict=False):
        if segment != written and unquote(segment) in ("", ".", ".."):
            raise ArgumentRefused("A part of the path must not become empty, `.` or `..`.")


def _in_query(parameter: Parameter, value: object) -> list[str]:
    name, reserved = parameter.property, parameter.allow_reserved
    key = _escaped(parameter.name)
    if parameter.media_type is not None:
        return [f"{key}={_escaped(_content(parameter.media_type, value, name))}"]
    return [
        f"{_escaped(one)}={separator.join(_escaped(text, reserved=reserved) for text in texts)}"
        for one, texts, separator in _pairs(parameter.name, value, parameter.style, parameter.explode, name)
    ]


def _content(media_type: str, value: object, name: str) -> str:
    is_text = isinstance(value, str) and "json" not in media_type
    return _text(value, name) if is_text else encode(value).decode()


_SEPARATORS = {"spaceDelimited": "%20", "pipeDelimited": "%7C"}


def _pairs(
    name: str, value: object, style: str, explode: bool, property_name: str
) -> Iterator[tuple[str, Sequence[str], str]]:
    """The pairs that a value becomes in a query or a form: their names, the parts of their values, and what is between
    these."""
    members, items = _members(value), _items(value)
    between = _SEPARATORS.get(style, ",")
    if style == "deepObject" and (members is not None or items is not None):
        yield from ((key, (text,), "") for key, text in _deep(name, value, property_name))
    elif members is not None:
        if explode:
            yield from ((key, (_text(one, property_name),), "") for key, one in members)
        elif members:
            yield name, [part for key, one in members for part in (key, _text(one, property_name))], between
    elif items is not None:
        if explode:
            yield from ((name, (_text(one, property_name),), "") for one in items)
        elif items:
            yield name, [_text(one, property_name) for one in items], between
    else:
        yield name, (_text(value, property_name),), ""


def _deep(key: str, value: object, name: str) -> Iterator[tuple[str, str]]:
    """`key[member][member]=value`; items are numbered where they are objects, and unnumbered where they are values."""
    if (members := _members(value)) is not None:
        for member, one in members:
            yield from _deep(f"{key}[{member}]", one, name)
    elif (items := _items(value)) is not None:
        for number, one in enumerate(items):
            plain = _members(one) is None and _items(one) is None
            yield from _deep(f"{key}[]" if plain else f"{key}[{number}]", one, name)
    else:
        yield key, _text(value, name)


def _in_cookie(parameter: Parameter, value: object) -> list[str]:
    name = parameter.property
    if not TOKEN.fullmatch(parameter.name):
        raise ArgumentRefused(f"`{name}` cannot be sent: `{parameter.name[:80]}` is no name of a cookie.")
    if parameter.media_type is not None:
        return [f"{parameter.name}={_escaped(_content(parameter.media_type, value, name))}"]
    pairs = _pairs(parameter.name, value, "form", parameter.explode, name)
    return [f"{_escaped(key)}={'%2C'.join(map(_escaped, texts))}" for key, texts, _ in pairs]


def _in_header(parameter: Parameter, value: object) -> str:
    name, sent = parameter.property, parameter.name.lower()
    if not TOKEN.fullmatch(sent) or sent in NEVER_SENT or sent.startswith(("proxy-", "sec-")):
        raise ArgumentRefused(f"`{name}` cannot be sent: the header `{parameter.name[:80]}` is not a caller's.")
    if parameter.media_type is not None:
        text = _content(parameter.media_type, value, name)
    elif (members := _members(value)) is not None:
        between = "=" if parameter.explode else ","
        text = ",".join(f"{key}{between}{_text(one, name)}" for key, one in members)
    elif (items := _items(value)) is not None:
        text = ",".join(_text(one, name) for one in items)
    else:
        text = _text(value, name)
    if _CONTROLS.search(text):
        raise ArgumentRefused(f"`{name}` is sent as a header and must have no line breaks or control characters.")
    return text.encode("utf-8", "replace").decode()


# Bodies


def _body_value(operation: ApiOperation, body: ApiBody, arguments: Mapping[str, object]) -> tuple[object] | None:
    """The value of the body, None if none is sent. It may be null."""
    if body.property is not None:
        if body.property in arguments:
            return (arguments[body.property],)
        return ({},) if body.required and body.kind in ("json", "form", "multipart") else None
    value = {sent: arguments[given] for given, sent in body.fields.items() if given in arguments}
    if body.rest:
        taken = {*body.fields, *(parameter.property for parameter in operation.parameters)}
        value |= {name: one for name, one in arguments.items() if name not in taken}
    return (value,) if value or body.required else None


def _body(body: ApiBody, value: object, boundary: str) -> tuple[bytes, str]:
    """The bytes of a body, and its content type."""
    match body.kind:
        case "json":
            return encode(value), body.media_type
        case "form":
            return _form(body, value).encode(), body.media_type
        case "multipart":
            kind = body.media_type.partition(";")[0]
            return _multipart(body, value, boundary), f"{kind}; boundary={boundary}"
        case "text":
            text = _text(value, body.property or "body").encode("utf-8", "replace")
            kind = body.media_type
            return text, kind if "charset" in kind.lower() else f"{kind}; charset=utf-8"
        case _:
            data, said = _file(value, body.property or "body")
            return data, said if said and _allowed(said, body) else body.media_type


def _allowed(kind: str, body: ApiBody) -> bool:
    """Whether the document allows a body of this media type."""
    given = kind.partition(";")[0].strip().lower()
    allowed = [one.partition(";")[0].strip().lower() for one in (body.media_type, *body.media_types)]
    ranges = (one[:-1] for one in allowed if one.endswith("/*"))
    return given in allowed or "*/*" in allowed or any(given.startswith(one) for one in ranges)


def _fields(value: object) -> list[tuple[str, object]]:
    members = _members(value)
    if members is None:
        raise ArgumentRefused("The body must be an object: it is sent as the fields of a form.")
    return members


def _form(body: ApiBody, value: object) -> str:
    pairs: list[str] = []
    for name, one in _fields(value):
        encoding = body.encoding(name)
        if encoding.content_type and "json" in encoding.content_type:
            pairs.append(f"{quote_plus(name)}={quote_plus(encode(one).decode())}")
            continue
        for key, texts, between in _pairs(name, one, encoding.style, encoding.explode, name):
            pairs.append(f"{quote_plus(key)}={between.join(_in_form(text, encoding) for text in texts)}")
    return "&".join(pairs)


def _in_form(text: str, encoding: FieldEncoding) -> str:
    if encoding.allow_reserved:
        return _escaped(text, reserved=True)
    return quote_plus(text.encode("utf-8", "replace"))


def _multipart(body: ApiBody, value: object, boundary: str) -> bytes:
    parts: list[bytes] = []
    for name, one in _fields(value):
        encoding = body.encoding(name)
        several = one if encoding.files and isinstance(one, list) else [one]
        parts += [_part(name, item, encoding, boundary) for item in several]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()])


def _part(name: str, value: object, encoding: FieldEncoding, boundary: str) -> bytes:
    disposition = f'form-data; name="{_quoted(name)}"'
    if encoding.file or encoding.files:
        data, kind = _file(value, name)
        filename = value.get("filename") if isinstance(value, Mapping) else None
        # Without a file name many servers take the part for a plain field.
        disposition += f'; filename="{_quoted(filename if isinstance(filename, str) and filename else "file")}"'
        kind = kind or encoding.content_type.partition(",")[0].strip() or _BINARY
        kind = _BINARY if "*" in kind else kind
    elif isinstance(value, list | tuple | Mapping):
        data, kind = encode(value), encoding.content_type or "application/json"
    else:
        data, kind = _text(value, name).encode("utf-8", "replace"), encoding.content_type or "text/plain; charset=utf-8"
    head = f"--{boundary}\r\ncontent-disposition: {disposition}\r\ncontent-type: {_CONTROLS.sub('', kind)}\r\n\r\n"
    return head.encode("utf-8", "replace") + data + b"\r\n"


def _quoted(name: str) -> str:
    """A name as browsers write it in a part's head (WHATWG HTML, "multipart/form-data encoding algorithm")."""
    return re.sub(r'[\x00-\x1f"\x7f]', lambda found: f"%{ord(found[0]):02X}", name)


def _file(value: object, name: str) -> tuple[bytes, str]:
    """The bytes of a file in the input, and what it says of its media type, "" for nothing."""
    if isinstance(value, str):
        value = {"text": value}
    if not isinstance(value, Mapping):
        raise ArgumentRefused(f"`{name}` must be a file: an object with `base64` or `text`.")
    kind = value.get("mediaType")
    kind = kind if isinstance(kind, str) else ""
    if kind and not _MEDIA_TYPE.fullmatch(kind):
        raise ArgumentRefused(f"`{name}.mediaType` is no media type, such as image/png.")
    given, text = value.get("base64"), value.get("text")
    if isinstance(text, str) and given is None:
        return text.encode("utf-8", "replace"), kind
    if not isinstance(given, str) or text is not None:
        raise ArgumentRefused(f"`{name}` must have either `base64` or `text`.")
    try:
        return base64.b64decode("".join(given.split()), validate=True), kind
    except (binascii.Error, ValueError):
        raise ArgumentRefused(f"`{name}.base64` is not base64.") from None
