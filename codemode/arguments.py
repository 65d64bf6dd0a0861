"""Checks the arguments of a call against the tool's `inputSchema` before the call leaves.

Schemas come from upstream servers and are hostile: references are never fetched, patterns run in linear time, and a
check that could take more than a few milliseconds is left to the upstream server. A keyword that does not compile, or a
reference that leads nowhere, is left out, and a schema that then does not compile is not checked: a broken schema must
not make a working tool unusable.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import orjson
from jsonschema_rs import RegexOptions, ValidationError, validator_for

from codemode.dialect import in_own_words
from codemode.schema_cost import MAX_COST, cost, nodes
from codemode.schema_repair import with_known_references, without_keyword
from stubs import without_defaulted

MAX_SHOWN = 3
_MOST_ERRORS = 200
_MOST_OPTIONS = 12
_MOST_COMPARED = 2_000
_MAX_VALUE_CHARS = 60
_MAX_LINE_CHARS = 200
_OPTIONS_CHARS = 130
_MANY_NODES = 1_000  # of larger arguments only the first mismatch is reported: listing all visits everything again
_MOST_REPAIRS = 20


class _Validator(Protocol):
    def is_valid(self, instance: Any) -> bool: ...
    def validate(self, instance: Any) -> None: ...
    def iter_errors(self, instance: Any) -> Iterator[ValidationError]: ...


class ArgumentCheck:
    """The compiled check of one tool. `note`: why the arguments are checked in part or not at all, else None."""

    def __init__(self, schema: Mapping[str, Any] | bool) -> None:
        self.note: str | None = None
        self._validator: _Validator | None = None
        self._properties = _properties(schema)
        schema, lost = with_known_references(schema)
        self._cost = max(1, cost(schema))
        if self._cost >= MAX_COST:
            self.note = "inputSchema is not checked: it is too complex, or refers outside itself"
            return
        self._compile(in_own_words(without_defaulted(schema)), lost)

    def _compile(self, schema: object, missing: list[str]) -> None:
        """Compile the schema, without the keywords that do not compile. `missing`: those that it lacks already."""
        for _ in range(_MOST_REPAIRS):
            try:
                self._validator = _compile(schema)
                break
            except ValidationError as error:
                problem = str(error).split("\n")[0]
                repaired = without_keyword(schema, error.instance_path)
            except (ValueError, RecursionError) as error:
                problem, repaired = str(error).split("\n")[0], None
            if repaired is None and isinstance(schema, dict) and "$schema" in schema:
                # A dialect that nobody knows is read as the newest.
                repaired = {key: value for key, value in schema.items() if key != "$schema"}, "$schema"
            if repaired is None:
                self.note = f"inputSchema is not checked: {problem}"[:_MAX_LINE_CHARS]
                return
            schema = repaired[0]
            missing.append(f"{repaired[1]} ({problem})")
        if self._validator is None:
            self.note = f"inputSchema is not checked: {missing[0]} and more"[:_MAX_LINE_CHARS]
        elif missing:
            self.note = f"inputSchema is checked without {', '.join(missing)}"[:_MAX_LINE_CHARS]

    def mismatches(self, arguments: Mapping[str, Any]) -> list[str]:
        """The mistakes, a line each, at most `MAX_SHOWN`; empty when the arguments match or cannot be checked."""
        validator = self._validator
        if validator is None:
            return []
        budget = MAX_COST // self._cost
        size = nodes(arguments, budget)
        if size >= budget or validator.is_valid(arguments):
            return []
        if size <= _MANY_NODES:
            return _lines(list(itertools.islice(validator.iter_errors(arguments), _MOST_ERRORS)), self._properties)
        try:
            validator.validate(arguments)
        except ValidationError as error:
            return _lines([error], self._properties)
        return []


def _compile(schema: Any) -> _Validator:
    # Without a retriever the library fetches references from the network and the disk.
    return validator_for(schema, retriever=_refuse_to_fetch, pattern_options=RegexOptions())


def _refuse_to_fetch(uri: str) -> Any:
    raise ValueError(f"references outside the schema are not followed: {uri}")


def _properties(schema: Any) -> list[str]:
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    names = itertools.islice(properties, _MOST_COMPARED) if isinstance(properties, Mapping) else ()
    return [name for name in names if isinstance(name, str)]


def _lines(errors: list[ValidationError], properties: list[str]) -> list[str]:
    """The first lines of what is wrong. Missing properties share one line; `properties` are those to suggest."""
    errors = list(itertools.chain.from_iterable(map(_nearest_errors, errors)))
    missing = [_path([*error.instance_path, error.kind.value]) for error in errors if error.kind.name == "required"]
    lines = [_line(error, properties) for error in errors if error.kind.name != "required"]
    if missing:
        lines.insert(0, f"{_enumerated(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    return lines[:MAX_SHOWN]


def _enumerated(paths: list[str]) -> str:
    """The paths that a line has room for, and how many more there are."""
    fitting = paths[:1]
    for path in paths[1:]:
        if sum(map(len, fitting)) + 2 * len(fitting) + len(path) > _MAX_LINE_CHARS - 30:
            break
        fitting.append(path)
    more = f" and {len(paths) - len(fitting)} more" if len(paths) > len(fitting) else ""
    return ", ".join(fitting)[: _MAX_LINE_CHARS - 30] + more


def _line(error: ValidationError, properties: list[str]) -> str:
    where = _path(error.instance_path)
    kind = error.kind.name
    value = error.kind.value
    got = _literal(error.instance)
    if kind == "type":
        types = sorted(value, key="null".__eq__) if isinstance(value, list) else [value]
        text = f"{where}: expected {' | '.join(types)}, got {got}"
    elif kind in ("additionalProperties", "unevaluatedProperties"):
        names = ", ".join(_path([*error.instance_path, name]) for name in value[:MAX_SHOWN])
        near = [] if error.instance_path else [_nearest(name, properties)[:1] for name in value[:MAX_SHOWN]]
        meant = ", ".join(_path(list(one)) for one in near if one)
        text = f"{names}: no such property" + (f", nearest: {meant}" if meant else "")
    elif kind in ("enum", "const") and value != []:
        text = f"{where}: expected {_options(value if kind == 'enum' else [value], error.instance)}, got {got}"
    elif kind in ("anyOf", "oneOf") and (same := _same_member(value, error.instance_path)) is not None:
        member, options = same
        text = f"{_path(list(member.instance_path))}: expected {_options(options, member.instance)}, got "
        text += _literal(member.instance)
    elif kind in ("anyOf", "oneOf") and (missing := _one_of_required(value, error.instance_path)):
        text = f"{' or '.join(missing)} is missing"
    elif kind in ("anyOf", "oneOf"):
        text = f"{where}: got {got}, which matches {_alternatives(value, error)}"
    elif kind == "propertyNames" and (allowed := _allowed(value)) is not None:
        name = value.instance
        text = f"{_path([*error.instance_path, name])}: no such property, expected {_options(allowed, name)}"
    else:
        text = f"{where}{_plain(error, got)}"
    return text if len(text) <= _MAX_LINE_CHARS else text[: _MAX_LINE_CHARS - 1] + "…"


def _plain(error: ValidationError, got: str) -> str:
    """What is wrong with a value, after its path, where a schema refuses it for something else than its type or its
    members."""
    kind, keyword = error.kind.name, error.schema_path[-1] if error.schema_path else ""
    if kind in ("falseSchema", "enum"):
        if kind == "falseSchema" and keyword == "propertyNames":
            return f": expected an object without properties, got {got}"
        return f": no value is allowed here, {'leave it out, ' if error.instance_path else ''}got {got}"
    if kind == "not":
        return f": expected {_excluded(error.kind.value)}, got {got}"
    if kind == "contains":
        many = {"maxContains": "fewer", "minContains": "more"}.get(str(keyword))
        wanted = "an item that its schema wants" if many is None else f"{many} items of those that its schema counts"
        return f": expected {wanted} (`contains`), got {got}"
    if kind == "uniqueItems":
        return f": expected items that all differ, got {got}"
    if kind in ("additionalItems", "unevaluatedItems"):
        most = f"at most {error.kind.value} items" if kind == "additionalItems" else "fewer items"
        return f": expected {most}, got {got}"
    if kind == "propertyNames":
        name = error.kind.value.instance
        inner = f".{name}" if isinstance(name, str) and name.isidentifier() else f"[{_literal(name)}]"
        return f"{inner}: no such property, {error.kind.value.message}"
    return f": {error.message}"


def _excluded(schema: object) -> str:
    """What a value must be that a schema of `not` excludes."""
    if not isinstance(schema, Mapping) or len(schema) != 1:
        return "another value, which its schema does not exclude (`not`)" if schema not in ({}, True) else "no value"
    [(keyword, value)] = schema.items()
    if keyword == "type":
        return f"anything but {' | '.join(map(str, value)) if isinstance(value, list) else value}"
    if keyword in ("enum", "const"):
        return f"anything but {_options(value if isinstance(value, list) and keyword == 'enum' else [value], None)}"
    if keyword == "required" and isinstance(value, list) and value:
        names = _enumerated([str(name) for name in value])
        return f"an object without {names}" if len(value) == 1 else f"an object without {names} together"
    if keyword == "pattern":
        return f"a text that does not match {_literal(value)}"
    return "another value, which its schema does not exclude (`not`)"


def _options(options: Sequence[object], got: object) -> str:
    """The allowed values; of many, the most similar to the given one."""
    choice = options[:_MOST_OPTIONS]
    if len(options) > len(choice) and isinstance(got, str):
        texts = [option for option in options[:_MOST_COMPARED] if isinstance(option, str)]
        near = _nearest(got, texts)
        choice = [*near, *(option for option in choice if option not in near)][: _MOST_OPTIONS // 2]
    return _joined([_literal(one) for one in choice], len(options))


def _allowed(error: ValidationError) -> list[object] | None:
    """The values that an error about one of them allows; None where it is about something else."""
    kind = error.kind.name
    if kind in ("enum", "const"):
        return list(error.kind.value) if kind == "enum" else [error.kind.value]
    if kind in ("anyOf", "oneOf"):
        parts = [_allowed(one) for errors in error.kind.value for one in errors[:1]]
        return [value for part in parts if part is not None for value in part] if None not in parts else None
    return None


def _joined(texts: list[str], count: int) -> str:
    """As many of the texts as have room, and how many there are in addition, of `count`."""
    shown = texts[:1]
    for text in texts[1:]:
        if sum(map(len, shown)) + 3 * len(shown) + len(text) > _OPTIONS_CHARS:
            break
        shown.append(text)
    more = f" | … {count - len(shown)} more" if len(shown) < count else ""
    return " | ".join(shown) + more


def _nearest(written: str, names: list[str]) -> list[str]:
    return difflib.get_close_matches(written[:_MAX_VALUE_CHARS], names, n=3, cutoff=0.6)


def _nearest_errors(error: ValidationError) -> list[ValidationError]:
    """The errors of that one alternative which a value was meant for, where its type, or a literal such as a `kind` in
    it, tells which; else the error itself."""
    if error.kind.name not in ("anyOf", "oneOf"):
        return [error]
    where, alternatives = error.instance_path, [errors for errors in error.kind.value if errors]
    meant = [
        errors for errors in alternatives if not any(one.instance_path == where and _is_flat(one) for one in errors)
    ]
    if len(meant) > 1:
        depth = len(where) + 1
        meant = [
            errors
            for errors in meant
            if not any(one.kind.name in ("const", "enum") and len(one.instance_path) == depth for one in errors)
        ]
    if len(meant) != 1 or len(alternatives) != len(error.kind.value):
        return [error]
    return list(itertools.chain.from_iterable(map(_nearest_errors, meant[0])))


def _same_member(
    alternatives: list[list[ValidationError]], where: list[str | int]
) -> tuple[ValidationError, list[object]] | None:
    """An error of the member that tells the alternatives apart, such as `kind`, and all its allowed values; None when
    no member does."""
    found: list[ValidationError] = []
    for errors in alternatives:
        literals = (one for one in errors if one.kind.name in ("const", "enum") and len(one.instance_path) > len(where))
        if (literal := next(literals, None)) is None or (found and literal.instance_path != found[0].instance_path):
            return None
        found.append(literal)
    options = [value for one in found for value in (one.kind.value if one.kind.name == "enum" else [one.kind.value])]
    return (found[0], options) if found else None


def _one_of_required(alternatives: list[list[ValidationError]], where: list[str | int]) -> list[str]:
    """The members of which each alternative misses its own; none where an alternative fails for something else."""
    groups = [
        [
            _path([*where, one.kind.value])
            for one in errors
            if one.kind.name == "required" and one.instance_path == where
        ]
        for errors in alternatives
    ]
    if any(len(group) < max(1, len(errors)) for group, errors in zip(groups, alternatives, strict=True)):
        return []
    return [" and ".join(group) for group in groups]


def _is_flat(error: ValidationError) -> bool:
    """Whether a value fails for what it is, and not for something in it."""
    return error.kind.name in ("type", "enum", "const", "falseSchema")


def _alternatives(alternatives: list[list[ValidationError]], whole: ValidationError) -> str:
    """What is expected, when every alternative failed for the type or the value alone."""
    expected: list[str] = []
    values: list[object] = []
    for errors in alternatives:
        flat = [error for error in errors if error.instance_path == whole.instance_path and _is_flat(error)]
        if not flat:
            return "none of the alternatives" if any(alternatives) else "more than one of the alternatives"
        # A wrong value says more than a wrong type.
        error = next((one for one in flat if one.kind.name != "type"), flat[0])
        value = error.kind.value
        if error.kind.name == "falseSchema":
            continue
        if error.kind.name == "type":
            expected += value if isinstance(value, list) else [value]
        else:
            values += value if error.kind.name == "enum" else [value]
            expected += map(_literal, value if error.kind.name == "enum" else [value])
    if len(values) == len(expected) > _MOST_OPTIONS:
        return f"none of {_options(values, whole.instance)}"
    shown = list(dict.fromkeys(expected))
    if not shown:
        return "none of the alternatives"
    return f"none of {_joined(shown[:_MOST_OPTIONS], len(shown))}"


def _path(parts: list[str | int]) -> str:
    path = "input"
    for part in parts:
        if isinstance(part, int):
            path += f"[{part}]"
        else:
            path += f".{part}" if part.isidentifier() else f"[{_literal(part)}]"
    return path


def _literal(value: object) -> str:
    """A value as JSON, cut to what a line has room for."""
    try:
        text = orjson.dumps(value).decode()
    except (TypeError, ValueError):
        text = repr(value)
    if len(text) <= _MAX_VALUE_CHARS:
        return text
    return text[: _MAX_VALUE_CHARS - 2] + ('…"' if isinstance(value, str) else "…")
