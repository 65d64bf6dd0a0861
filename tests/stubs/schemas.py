"""Hypothesis strategies for JSON Schemas: honest ones with values to match, and garbage in the shape of schemas."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from hypothesis import strategies as st

Json = Any
Schema = dict[str, Any]


class Case(NamedTuple):
    """A schema, and values of which many, not all, are valid under it."""

    schema: Json
    values: list[Json]


WORDS = ("id", "name", "kind", "my-key", "délai", "x-a", "x-b", "new", "1st")
LITERALS = ("a", "b", "open", 'qu"ote', "*/", 1, 2.5, -3, 0, True, False, None)

words = st.sampled_from(WORDS)
scalars = st.one_of(
    st.sampled_from(LITERALS), st.text(max_size=4), st.integers(-5, 5), st.booleans(), st.none(), st.just(1e30)
)
anything = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=3)),
    max_leaves=5,
)


# ---- schemas TypeScript can say exactly: a value is valid if and only if it is assignable


@st.composite
def exact_scalars(draw: st.DrawFn) -> Schema:
    return draw(
        st.one_of(
            st.sampled_from(["string", "number", "boolean", "null"]).map(lambda name: {"type": name}),
            st.lists(st.sampled_from(["string", "number", "boolean", "null"]), min_size=1, max_size=3, unique=True).map(
                lambda names: {"type": names}
            ),
            st.lists(st.sampled_from(LITERALS), min_size=1, max_size=4).map(lambda values: {"enum": values}),
            st.sampled_from(LITERALS).map(lambda value: {"const": value}),
        )
    )


def _exact_containers(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    return st.one_of(
        st.builds(_object, st.dictionaries(words, inner, max_size=3), st.lists(words, max_size=2)),
        st.builds(_object, st.dictionaries(words, inner, max_size=3), st.lists(words, max_size=2)).map(
            lambda schema: {**schema, "type": ["object", "null", "string"]}
        ),
        inner.map(lambda items: {"type": "array", "items": items}),
        st.builds(_map, inner),
        st.builds(_tuple, st.lists(inner, min_size=1, max_size=3), st.integers(0, 3), st.none() | inner),
        st.lists(inner, min_size=1, max_size=3).map(lambda parts: {"anyOf": parts}),
        st.builds(lambda left, right: {"allOf": [left, right]}, inner, inner),
    )


def _object(properties: dict[str, Schema], required: list[str]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in _some(properties, required) if name in properties],
    }


def _some(properties: dict[str, Any], required: list[str]) -> list[str]:
    """Required names, at least one where any is declared.

    A type of optional properties only is "weak": TypeScript refuses values that share none of them (TS2559), which
    is its guard against misspelling and no statement about the values of a schema.
    """
    return list(dict.fromkeys([*list(properties)[:1], *required])) if properties else []


def _map(values: Schema) -> Schema:
    return {"type": "object", "additionalProperties": values}


def _tuple(items: list[Schema], least: int, rest: Schema | None) -> Schema:
    tuple_: Schema = {"type": "array", "prefixItems": items, "items": False if rest is None else rest}
    return tuple_ | ({"minItems": min(least, len(items))} if least else {})


exact_parts = st.recursive(exact_scalars(), _exact_containers, max_leaves=6)


@st.composite
def exact_documents(draw: st.DrawFn) -> Schema:
    """A document that refers to definitions, one of which contains itself."""
    references = st.sampled_from(["A", "B"]).map(lambda name: {"$ref": f"#/$defs/{name}"})
    follower: Schema = {"anyOf": [{"$ref": "#/$defs/B"}, {"type": "null"}]}
    chain: Schema = {"type": "object", "properties": {"id": draw(exact_parts), "kind": follower}, "required": ["kind"]}
    body = st.recursive(exact_scalars() | references, _exact_containers, max_leaves=6)
    return {**draw(body), "$defs": {"A": draw(exact_parts), "B": chain}}


exact_schemas = exact_parts | exact_documents()


# ---- what servers send: also what TypeScript can only say roughly


@st.composite
def honest_scalars(draw: st.DrawFn) -> Schema:
    kind = draw(st.sampled_from(["string", "integer", "number", "boolean", "enum", "ref", "any", "nullable"]))
    if kind == "enum":
        schema: Schema = {"enum": draw(st.lists(anything, min_size=1, max_size=5))}
    elif kind == "ref":
        schema = {"$ref": draw(st.sampled_from(["#/$defs/A", "#/$defs/B", "#/$defs/C~1d", "#", "#here", "other.json"]))}
    elif kind == "any":
        return draw(st.sampled_from([{}, {"not": {"type": "null"}}, {"not": {"const": "a"}}, {"minLength": 1}]))
    elif kind == "nullable":
        schema = {"type": ["string", "null"], "maxLength": 3}
    else:
        schema = {"type": kind}
    if kind in ("integer", "number"):
        schema |= draw(st.sampled_from([{}, {"minimum": 0}, {"exclusiveMaximum": 3}, {"multipleOf": 2}]))
    extra: Schema = draw(
        st.sampled_from([{}, {"description": "A */ thing\nwith lines"}, {"default": None}, {"title": "Name"}])
    )
    return schema | extra


def _honest_containers(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
    properties = st.dictionaries(words, inner | st.booleans(), max_size=3)
    others = st.sampled_from([{}, {"additionalProperties": True}, {"additionalProperties": False}]) | inner.map(
        lambda schema: {"additionalProperties": schema}
    )
    patterned = st.sampled_from([{}, {}, {"patternProperties": {"^x-": {"type": "string"}}}]) | inner.map(
        lambda schema: {"patternProperties": {"^[a-n]": schema, "^x-": True}}
    )
    objects = st.builds(
        lambda declared, required, more, patterns: {
            "type": "object", "properties": declared, "required": _some(declared, required), **more, **patterns
        },
        properties, st.lists(words, max_size=2), others, patterned,
    )  # fmt: skip
    sized = st.builds(
        lambda items, least, most: {"type": "array", "items": items} | least | most,
        inner, st.sampled_from([{}, {"minItems": 1}, {"minItems": 2}]), st.sampled_from([{}, {"maxItems": 2}]),
    )  # fmt: skip
    tuples = st.builds(
        lambda items, rest, size: {"type": "array", "prefixItems": items} | rest | size,
        st.lists(inner, min_size=1, max_size=3),
        st.sampled_from([{}, {"items": False}, {"items": {"type": "number"}}]),
        st.sampled_from([{}, {"minItems": 1}, {"minItems": 4}, {"maxItems": 1}]),
    )
    combined = st.builds(
        lambda keyword, parts, beside: {keyword: parts} | beside,
        st.sampled_from(["anyOf", "oneOf", "allOf"]),
        st.lists(inner | st.booleans(), min_size=1, max_size=3),
        st.sampled_from([{}, {"type": "object"}, {"type": ["object", "string"]}]) | objects,
    )
    conditional = st.builds(
        lambda parts, keyword, schema: schema | dict(zip(("if", "then", keyword), parts, strict=True)),
        st.tuples(inner, inner, inner), st.sampled_from(["else", "not"]), objects | st.just({}),
    )  # fmt: skip
    names = st.builds(
        lambda allowed, schema: {
            "type": "object", "propertyNames": {"enum": list(dict.fromkeys(allowed))}, "additionalProperties": schema
        },
        st.lists(words, min_size=1, max_size=3), inner,
    )  # fmt: skip
    unevaluated = objects.map(lambda schema: schema | {"unevaluatedProperties": False})
    return st.one_of(objects, objects, sized, tuples, combined, conditional, names, unevaluated)


honest_parts = st.recursive(honest_scalars(), _honest_containers, max_leaves=6)


def honest_schemas() -> st.SearchStrategy[Schema]:
    """A document with definitions that may refer to each other and to the whole.

    None of its schemas is valid only if it is valid itself: what such a schema allows is undefined (JSON Schema
    2020-12, core, section 9.4.1), and validators differ.
    """
    return _documents().filter(lambda root: not any(_leads_back(part, root) for part in _schemas_of(root)))


@st.composite
def _documents(draw: st.DrawFn) -> Schema:
    definitions = {name: draw(honest_parts) for name in ("A", "B", "C/d")}
    definitions["C/d"] = {**definitions["C/d"], "$anchor": "here"}
    return {**draw(honest_parts), "$defs": definitions}


# ---- values


def values_for(schema: Json, root: Json, depth: int = 5) -> st.SearchStrategy[Json]:
    """Values that try to be valid. Objects carry only properties the schema mentions somewhere."""
    if not isinstance(schema, dict) or depth == 0:
        return scalars
    choices: list[st.SearchStrategy[Json]] = []
    if "const" in schema:
        choices.append(st.just(schema["const"]))
    if isinstance(schema.get("enum"), list):
        choices.append(st.sampled_from(schema["enum"]))
    for keyword in ("anyOf", "oneOf", "allOf"):
        choices += [values_for(part, root, depth - 1) for part in schema.get(keyword, [])]
    for keyword in ("then", "else"):
        if keyword in schema:
            choices.append(values_for(schema[keyword], root, depth - 1))
    target = _target(schema.get("$ref"), root)
    if target is not None:
        choices.append(values_for(target, root, depth - 1))
    types = schema.get("type")
    for name in types if isinstance(types, list) else [types]:
        if name in _BY_TYPE:
            choices.append(_BY_TYPE[name])
    if types == "array" or "items" in schema or "prefixItems" in schema:
        choices.append(_arrays(schema, root, depth))
    if "properties" in schema or "additionalProperties" in schema or "patternProperties" in schema:
        choices += [_objects(schema, root, depth)] * 2
    return st.one_of(*choices) if choices else scalars


_BY_TYPE: dict[Any, st.SearchStrategy[Json]] = {
    "string": st.text(max_size=4) | st.sampled_from(["a", "open", ""]),
    "integer": st.integers(-4, 4),
    "number": st.integers(-4, 4) | st.sampled_from([0.5, 2.5, 1e30]),
    "boolean": st.booleans(),
    "null": st.none(),
    "object": st.just({}),
    "array": st.just([]),
}


def _target(reference: Any, root: Json) -> Json:
    if reference in ("#here", "#/$defs/C~1d"):
        return root.get("$defs", {}).get("C/d")
    if reference == "#":
        return root
    return root.get("$defs", {}).get(reference[-1]) if isinstance(reference, str) else None


def _schemas_of(root: Schema) -> list[Json]:
    return [root, *root["$defs"].values()]


def _leads_back(schema: Json, root: Json) -> bool:
    """Whether a schema holds for a value only if it holds for that very value."""
    waiting, visited = list(_in_place(schema, root)), list[Json]()
    while waiting:
        part = waiting.pop()
        if part is schema:
            return True
        if isinstance(part, dict) and not any(part is one for one in visited):
            visited.append(part)
            waiting += _in_place(part, root)
    return False


def _in_place(schema: Json, root: Json) -> Iterator[Json]:
    """The schemas that a schema puts to the same value."""
    if isinstance(schema, dict):
        yield from (part for keyword in ("anyOf", "oneOf", "allOf") for part in schema.get(keyword, []))
        yield from (schema[keyword] for keyword in ("if", "then", "else", "not") if keyword in schema)
        if (target := _target(schema.get("$ref"), root)) is not None:
            yield target


def _arrays(schema: Schema, root: Json, depth: int) -> st.SearchStrategy[Json]:
    items = values_for(schema.get("items"), root, depth - 1)
    prefix = [values_for(part, root, depth - 1) for part in schema.get("prefixItems", [])]
    rest = st.lists(items, max_size=2)
    whole = st.tuples(*prefix).flatmap(lambda first: rest.map(lambda more: [*first, *more]))
    return whole | st.integers(0, 3).flatmap(lambda size: whole.map(lambda value: value[:size]))


def _objects(schema: Schema, root: Json, depth: int) -> st.SearchStrategy[Json]:
    declared = schema.get("properties", {})
    required = {name: declared.get(name, True) for name in schema.get("required", [])}
    parts = {name: values_for(part, root, depth - 1) for name, part in declared.items()}
    parts |= {name: scalars for name in required if name not in parts}
    optional = {name: part for name, part in parts.items() if name not in required}
    base = st.fixed_dictionaries({name: parts[name] for name in required}, optional=optional)
    additional = schema.get("additionalProperties")
    if "patternProperties" not in schema and (additional is None or additional is False):
        return base
    more = st.dictionaries(words, values_for(additional, root, depth - 1) | scalars, max_size=2)
    return st.builds(lambda first, second: {**second, **first}, base, more)


@st.composite
def cases(draw: st.DrawFn, schemas: st.SearchStrategy[Schema]) -> Case:
    schema = draw(schemas)
    return Case(schema, draw(st.lists(values_for(schema, schema), min_size=2, max_size=4)))


# ---- garbage

KEYWORDS = (
    "type properties required items prefixItems additionalItems additionalProperties patternProperties propertyNames "
    "enum const anyOf oneOf allOf not if then else $ref $defs definitions $id $anchor $dynamicRef $dynamicAnchor "
    "$recursiveRef $schema nullable description title default examples example format pattern minimum maximum "
    "exclusiveMinimum exclusiveMaximum multipleOf minLength maxLength minItems maxItems uniqueItems minProperties "
    "maxProperties dependentRequired dependentSchemas dependencies unevaluatedProperties unevaluatedItems contains "
    "contentEncoding contentMediaType readOnly writeOnly deprecated"
).split()

hostile_text = st.one_of(
    st.text(max_size=12),
    st.sampled_from(
        ["*/", "/*", "\n", "\u2028", "\ud800", "`${", "\\", '"', "'", "__proto__", "@ts-ignore", "//", "\x00", "\u202e",
         "#/$defs/a", "#", "#/properties/a", "#a", "#/%", "%zz", "http://[", "object", "array", "string", "integer",
         "https://json-schema.org/draft/2020-12/schema", "http://json-schema.org/draft-07/schema#", "^x-", ".*", "(",
         "@ts-expect-error", "$&", "{{types}}", "constructor", "a"]
    ),
)  # fmt: skip
hostile_numbers = st.one_of(
    st.integers(-(10**25), 10**25), st.floats(), st.sampled_from([10**400, -(10**400), 0.0, -0.0, 1e22, 1e-9])
)
garbage = st.recursive(
    st.one_of(st.none(), st.booleans(), hostile_numbers, hostile_text),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=6),
        st.dictionaries(hostile_text, inner, max_size=3),
    ),
    max_leaves=24,
)
