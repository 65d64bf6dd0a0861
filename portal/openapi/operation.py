"""What an OpenAPI document says, as values: an API, its operations as tools, how the input of each becomes a request.

Everything here is what the author of the document wrote, made safe to use: names are valid and unique, schemas are JSON
Schema 2020-12 and self-contained. Addresses are as written. Nobody has checked where they lead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Schema: TypeAlias = Mapping[str, object]
"""JSON Schema 2020-12. References lead to the `$defs` at its own root, and nowhere else."""
Location: TypeAlias = Literal["path", "query", "header", "cookie"]
Style: TypeAlias = Literal["matrix", "label", "simple", "form", "spaceDelimited", "pipeDelimited", "deepObject"]
BodyKind: TypeAlias = Literal["json", "form", "multipart", "text", "binary"]
ResultKind: TypeAlias = Literal["json", "text", "binary", "nothing"]
SchemeKind: TypeAlias = Literal["apiKey", "basic", "bearer", "http", "oauth2", "openIdConnect", "mutualTLS"]
FlowKind: TypeAlias = Literal["implicit", "password", "clientCredentials", "authorizationCode", "deviceAuthorization"]
_IN_BRACES = re.compile(r"\{([^{}]*)\}")
Requirement: TypeAlias = Mapping[str, tuple[str, ...]]
"""Names of security schemes that are needed together, each with its scopes. An empty one: no credential is needed."""


@dataclass(frozen=True, slots=True)
class Gap:
    """A part of the document that was left out: its place, as a JSON pointer (`/paths/~1pets/get`), and a sentence on
    the reason. `operation`: a whole operation is missing for it."""

    where: str
    why: str
    operation: bool = False


@dataclass(frozen=True, slots=True)
class UrlVariable:
    """A `{name}` in a base URL. `values`: the only ones that are allowed, () for any."""

    default: str
    values: tuple[str, ...] = ()
    description: str = ""


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """An address that paths are added to, without a slash at its end.

    It may have `{variables}`, each of which is in `variables`. It is absolute if the address of the document was given
    or the document says it in full; else it may be a path alone, "" too.
    """

    url: str
    description: str = ""
    variables: Mapping[str, UrlVariable] = field(default_factory=dict)

    @property
    def by_default(self) -> str:
        """The address with each variable's default."""
        # At once: a default that has a variable in it again is text.
        return _IN_BRACES.sub(lambda found: self._default(found[1], found[0]), self.url)

    def _default(self, name: str, otherwise: str) -> str:
        return self.variables[name].default if name in self.variables else otherwise


@dataclass(frozen=True, slots=True)
class OAuthFlow:
    """One way to a token of an `oauth2` scheme. Addresses are "" where the document has none. `scopes`: what each
    means."""

    kind: FlowKind
    authorization_url: str = ""
    token_url: str = ""
    refresh_url: str = ""
    scopes: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SecurityScheme:
    """How a caller shows who it is.

    `name` and `location`: of an `apiKey`, the parameter it is sent in. `scheme`: of `http`, the word that begins the
    Authorization header, in small letters; `basic` and `bearer` are kinds of their own. `discovery_url`: of
    `openIdConnect`.
    """

    kind: SchemeKind
    description: str = ""
    name: str = ""
    location: Location | None = None
    scheme: str = ""
    discovery_url: str = ""
    flows: tuple[OAuthFlow, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value of the input that goes into the path, the query, a header or a cookie.

    `property` is its name in the input, `name` on the wire. With a `media_type` the value is written in it as one text
    (`content` of OpenAPI; JSON nearly always), and `style` and `explode` mean nothing. `default`: what to send if the
    input has no such property; None for nothing. It is set for required ones alone, which the input may then leave out.
    """

    property: str
    name: str
    location: Location
    required: bool
    style: Style
    explode: bool
    allow_reserved: bool = False
    media_type: str | None = None
    default: object = None


@dataclass(frozen=True, slots=True)
class FieldEncoding:
    """How one field of a form or a multipart body is written (`encoding` of OpenAPI).

    `content_type`: of the part; "" means text/plain for plain values, application/json for objects and arrays, and
    application/octet-stream for a file. `file`: the value of the field is a `FILE`; `files`: it is an array of them,
    each a part of its own. `style`, `explode` and `allow_reserved` are of a form.
    """

    content_type: str = ""
    style: Style = "form"
    explode: bool = True
    allow_reserved: bool = False
    file: bool = False
    files: bool = False


PLAIN_FIELD = FieldEncoding()


@dataclass(frozen=True, slots=True)
class ApiBody:
    """The body of a request, and where in the input its value is.

    Either `property` names the one property that is the whole body, or `property` is None and `fields` are the
    properties of the input that make the body's object: by their names in the input, their names in the body. With
    `rest` every property of the input that is neither in there nor a parameter is a field too, under its own name.

    `media_type` is what to send, without parameters other than the document's own. `media_types`: all that the document
    allows and that are of the same kind; a range such as `image/*` stands there as it is, and `media_type` is then
    `application/octet-stream` or `text/plain`, unless a `FILE` says what it is.

    `kind`: `json`, `form` and `multipart` are values written in these; `text` is one text; `binary` is one `FILE`.
    `encodings`: of form and multipart, by the fields' names in the body; a field that is not there is a `PLAIN_FIELD`.

    A body that is not `required` and for which the input has no property is not sent. A required one of which the input
    has no field is an empty object.
    """

    kind: BodyKind
    media_type: str
    required: bool
    property: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    rest: bool = False
    media_types: tuple[str, ...] = ()
    encodings: Mapping[str, FieldEncoding] = field(default_factory=dict)

    def encoding(self, name: str) -> FieldEncoding:
        """How the field of that name in the body is written."""
        return self.encodings.get(name, PLAIN_FIELD)


FILE: Schema = {
    "type": "object",
    "description": "A file: its bytes as base64, or its text.",
    "properties": {
        "base64": {"type": "string", "contentEncoding": "base64"},
        "text": {"type": "string"},
        "filename": {"type": "string"},
        "mediaType": {"type": "string"},
    },
    "additionalProperties": False,
}
"""The schema of a file in an input. Exactly one of `base64` and `text` is there, which the caller checks: alternatives
would make the type twice as long. It stands in place or as `$defs/File`."""


@dataclass(frozen=True, slots=True)
class Result:
    """What an operation answers when it worked.

    `accept` is the value of the Accept header. `kinds`: what its 2xx answers may be, best first; the media type of the
    answer decides. `statuses`: those that the document has for success, such as "200", "2XX" or "default".
    """

    accept: str
    kinds: tuple[ResultKind, ...]
    statuses: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ApiOperation:
    """One operation as a tool, and how its request is made.

    `name`: of the tool, at most 64 characters of `A-Za-z0-9_-`, unique in its API. `operation_id` is what the document
    calls it, "" if it has no name. `method` is in capital letters. `path` begins with a slash and has a `{name}` for
    each path parameter, whose `name` that is; a few documents have a fixed query in it, behind `?`. `base_urls` are the
    operation's own, or else those of its path or its API; there is always one.

    `security`: alternatives, of which one is enough; () means that no credential is needed. A requirement may name a
    scheme that `Api.schemes` does not have, when the document does not describe it or not well.

    `input_schema` is an object whose root has no `anyOf` and the like. `output_schema` is of the value in a JSON answer
    (of any type, not always an object), or of the text; None if nothing is said about it. An answer without a body is
    null. `annotations` are those of an MCP tool.
    """

    name: str
    title: str
    description: str
    operation_id: str
    method: str
    path: str
    base_urls: tuple[BaseUrl, ...]
    parameters: tuple[Parameter, ...]
    body: ApiBody | None
    security: tuple[Requirement, ...]
    result: Result
    input_schema: Schema
    output_schema: Schema | None
    annotations: Mapping[str, bool]
    deprecated: bool = False
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Api:
    """An OpenAPI document. `openapi` is the version of the specification, `version` that of the API.

    `gaps`: what was left out, in the order of the document; at most some hundred are kept, `gaps_not_kept` counts the
    rest.
    """

    title: str
    version: str
    description: str
    openapi: str
    base_urls: tuple[BaseUrl, ...]
    schemes: Mapping[str, SecurityScheme]
    operations: tuple[ApiOperation, ...]
    gaps: tuple[Gap, ...] = ()
    gaps_not_kept: int = 0
