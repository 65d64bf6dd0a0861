"""What an operation answers when it worked: the media types to ask for, and the schema of a JSON answer."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from portal.openapi.document import OpenApiDocument, described
from portal.openapi.media import accept, best, media_types
from portal.openapi.operation import Result, ResultKind, Schema
from portal.openapi.schemas import Conversion, Json, SchemaReader

LARGEST_OUTPUT = 15_000
"""The most that an output's own schema weighs, and that its definitions do, in characters of JSON, roughly."""
MOST_ANSWERS = 20
"""Of an operation with more answers nothing is said of what it answers."""
_SUCCESS = re.compile(r"2(?:[0-9]{2}|XX)", re.IGNORECASE)


@dataclass(slots=True)
class _Answers:
    """The answers of an operation, put together."""

    schemas: list[object]
    kinds: dict[ResultKind, None]
    media: list[str]
    statuses: list[str]
    known: bool = True


def read_result(
    document: OpenApiDocument, reader: SchemaReader, value: object, where: tuple[str, ...]
) -> tuple[Result, Schema | None]:
    """The result of an operation by its `responses`, and the schema of what it answers, None for nothing to say."""
    answers = _Answers([], {}, [], [])
    run = Conversion("".join(f"/{part.replace('~', '~0').replace('/', '~1')}" for part in where), LARGEST_OUTPUT)
    if isinstance(value, dict):
        successes = _successes(value)
        answers.known = len(successes) <= MOST_ANSWERS
        for status in successes[:MOST_ANSWERS]:
            _answer(document, reader, value[status], (*where, str(status)), answers, run)
            answers.statuses.append(str(status))
    elif value is not None:
        document.gap(where, f"must be an object, found {described(value)}")
    result = Result(accept(answers.media), tuple(answers.kinds), tuple(answers.statuses))
    if not answers.known or not answers.schemas or "binary" in answers.kinds:
        return result, None
    schema = _union(answers.schemas + ([{"type": "null"}] if "nothing" in answers.kinds else []))
    if schema is None:
        return result, None
    definitions = reader.definitions(run.references, LARGEST_OUTPUT)
    return result, {**schema, "$defs": definitions} if definitions else schema


def _successes(responses: Mapping[str, object]) -> list[str]:
    """The keys of the answers that mean success; without one, what is said of all answers."""
    # YAML that another reader parsed may have numbers as keys.
    found = [status for status in responses if _SUCCESS.fullmatch(str(status))]
    return found or [status for status in responses if status == "default"]


def _answer(
    document: OpenApiDocument,
    reader: SchemaReader,
    value: object,
    where: tuple[str, ...],
    answers: _Answers,
    run: Conversion,
) -> None:
    holder = document.follow(value, where)
    if holder is None:
        answers.known = False
        return
    if not holder.get("content"):
        answers.kinds["nothing"] = None
        return
    found = media_types(holder["content"], document, (*where, "content"))
    if not found:
        answers.known = False
        return
    kind, names = best(found, document)
    # Another media type of the same kind may have another schema.
    answers.media.append(names[0])
    if kind == "json":
        answers.kinds["json"] = None
        answers.schemas.append(reader.convert(found[names[0]].get("schema", {}), run))
    elif kind in ("form", "text"):
        answers.kinds["text"] = None
        answers.schemas.append({"type": "string"})
    else:
        answers.kinds["binary"] = None


def _union(schemas: list[object]) -> Json | None:
    """A schema of values that any of these allows; None if that is every value."""
    several: list[object] = []
    for one in schemas:
        if one is True or one == {}:
            return None
        if one is not False and one not in several:
            several.append(one)
    if len(several) == 1 and isinstance(several[0], dict):
        return several[0]
    return {"anyOf": several} if several else None
