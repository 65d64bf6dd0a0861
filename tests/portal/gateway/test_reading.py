"""The language of rules: what is read, what is refused and where, and what is true of a value."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portal.gateway.fields import FIELDS, ValueFacts, address_of
from portal.gateway.matching import PatternRefused, Searched, Test, compiled, profiles_in
from portal.gateway.reading import (
    MAX_COMPARISONS,
    MAX_DEPTH,
    All,
    Comparison,
    Either,
    ExpressionRefused,
    Node,
    Not,
    read_expression,
)
from portal.identity import ANONYMOUS, Group, Identity

ADA = Identity(id="1", email="Ada@Example.com", name="Ada", groups=(Group(id="g1", name="finance", email="F@x.com"),))


def facts(**changes: object) -> ValueFacts:
    usual: dict[str, object] = {
        "direction": "outgoing",
        "method": "tools/call",
        "server": "crm",
        "name": "delete-all",
        "address": address_of("https://user:pw@API.Example.com:8443/v1/mcp?key=1"),
        "identity": ADA,
    }
    return ValueFacts(**{**usual, **changes})  # type: ignore[arg-type]


def says(source: str, family: str = "traffic", searched: Searched | None = None, **changes: object) -> bool | None:
    return test_of(source, family)(facts(**changes), searched)


def test_of(source: str, family: str = "traffic") -> Test:
    return compiled(read_expression(source, family))


test_of.__test__ = False  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("source", "truth"),
    [
        ("", True),
        ('http.request.host == "api.example.com"', True),
        ('http.request.host == "API.example.com."', True),
        ('http.request.host != "api.example.com"', False),
        ('any(http.request.domains[*] == "example.com")', True),
        ('any(http.request.domains[*] in {"ample.com" "com"})', True),
        ('any(http.request.domains[*] == "ample.com")', False),
        ('http.request.uri == "https://api.example.com:8443/v1/mcp"', True),
        ('http.request.uri contains "key"', False),
        ('http.request.uri.path matches "^/v[0-9]+/"', True),
        ('http.request.uri.path matches r"\\d/mcp$"', True),
        ('http.request.method == "POST"', True),
        ('mcp.server.id in {"mail" "crm"} and mcp.tool.name contains "delete"', True),
        ('mcp.server.id in {"mail"} or mcp.prompt.name == "x"', False),
        ('mcp.tool.name matches "^del" && !(mcp.method eq "prompts/get")', True),
        ('not mcp.server.id == "crm" || mcp.direction ne "incoming"', True),
        ('mcp.resource.uri == ""', True),
    ],
)
def test_what_is_true_of_a_call(source: str, truth: bool) -> None:
    assert says(source) is truth


@pytest.mark.parametrize(
    ("source", "truth"),
    [
        ('identity.email == "ada@example.com"', True),
        ('identity.email in {"ADA@example.com"}', True),
        ('identity.email matches "@example[.]com$"', True),
        ('any(identity.groups.name[*] in {"finance"})', True),
        ('any(identity.groups[*].email == "f@x.com")', True),
        ('any(identity.groups[*] == "g1")', True),
        ('any(identity.groups.id[*] == "finance")', False),
    ],
)
def test_what_is_true_of_a_caller(source: str, truth: bool) -> None:
    assert says(source, "identity") is truth


def test_a_server_that_is_a_program_has_no_host_and_that_of_one_that_is_gone_is_not_known() -> None:
    source = 'http.request.host == "api.example.com"'
    assert says(source, address=address_of("")) is False
    assert says(f"not {source}", address=address_of("")) is True
    assert says(source, address=None) is None
    assert says(f'{source} and mcp.server.id == "other"', address=None) is False
    assert says(f'{source} or mcp.server.id == "crm"', address=None) is True


def test_profiles_are_known_after_a_search_that_was_whole() -> None:
    source = 'any(dlp.profiles[*] in {"a" "b"})'
    whole = Searched(frozenset({"b", "c"}), True, {"a": "a", "b": "b", "c": "c"}.get)
    assert says(source) is None
    assert says(source, searched=whole) is True
    assert says('any(dlp.profiles[*] == "a")', searched=whole) is False
    assert says('any(dlp.profiles[*] == "gone")', searched=whole) is None
    cut = Searched(frozenset({"b"}), False, whole.id_of)
    assert says(source, searched=cut) is True
    assert says('any(dlp.profiles[*] == "a")', searched=cut) is None
    assert profiles_in(read_expression(f'not {source} or any(dlp.profiles[*] == "c")', "traffic")) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("source", "column"),
    [
        ('http.request.hots == "a"', 1),
        ("http.request.host == a", 22),
        ('http.request.host = "a"', 19),
        ('http.request.host == "a', 22),
        ('http.request.host == "a" mcp.method == "b"', 26),
        ("http.request.host in {}", 23),
        ('http.request.host in {"a"', 26),
        ("http.request.host in $abc", 22),
        ("http.request.host == 5", 22),
        ('any(http.request.host == "a")', 5),
        ('dlp.profiles[*] == "a"', 1),
        ('any(dlp.profiles[*] != "a")', 21),
        ('any(dlp.profiles == "a")', 5),
        ('identity.email == "a"', 1),
        ('mcp.direction == "out"', 18),
        ('mcp.method == "\\n"', 16),
        ('(mcp.method == "a"', 19),
        ("and", 1),
        ('mcp.method == "a" and', 22),
    ],
)
def test_a_mistake_is_refused_with_its_column(source: str, column: int) -> None:
    with pytest.raises(ExpressionRefused) as refused:
        read_expression(source, "traffic")
    assert str(refused.value).startswith(f"column {column}: ")


def test_an_expression_is_bounded() -> None:
    fine = "(" * (MAX_DEPTH - 1) + 'mcp.method == "a"' + ")" * (MAX_DEPTH - 1)
    assert read_expression(fine, "traffic") is not None
    for source in (f"({fine})", "not " * 5000 + fine, "(" * 100_000):
        with pytest.raises(ExpressionRefused):
            read_expression(source, "traffic")
    one = 'mcp.method == "a"'
    assert read_expression(" or ".join([one] * MAX_COMPARISONS), "traffic") is not None
    with pytest.raises(ExpressionRefused):
        read_expression(" or ".join([one] * (MAX_COMPARISONS + 1)), "traffic")
    with pytest.raises(ExpressionRefused):
        read_expression("mcp.method in {" + " ".join(f'"{number}"' for number in range(3000)) + "}", "traffic")


@pytest.mark.parametrize("pattern", ["(", "(?=a)", "a{900}{900}", "x" * 1001])
def test_a_pattern_that_is_not_of_re2_or_too_large_is_refused(pattern: str) -> None:
    with pytest.raises(PatternRefused):
        test_of(f'mcp.method matches "{pattern}"')


PROFILES = ("p", "q", "r")
TEXT = st.text(st.characters(codec="utf-8"), max_size=5)
PLAIN = [FIELDS[name] for name in ("mcp.server.id", "mcp.tool.name", "mcp.method", "http.request.uri.path")]
SEVERAL = [FIELDS["http.request.domains"], FIELDS["dlp.profiles"]]
COMPARISON = st.one_of(
    st.builds(
        lambda field, operator, text: Comparison(field, operator, (text,)),
        st.sampled_from(PLAIN),
        st.sampled_from(["==", "!=", "contains"]),
        TEXT,
    ),
    st.builds(
        lambda field, texts: Comparison(field, "in", tuple(texts)),
        st.sampled_from(PLAIN),
        st.lists(TEXT, min_size=1, max_size=3, unique=True),
    ),
    st.builds(
        lambda texts: Comparison(FIELDS["dlp.profiles"], "in", tuple(texts)),
        st.lists(st.sampled_from(PROFILES), min_size=1, unique=True),
    ),
    st.builds(lambda text: Comparison(FIELDS["http.request.domains"], "==", (text,)), TEXT),
)
NODE: st.SearchStrategy[Node] = st.recursive(
    COMPARISON,
    lambda inner: st.one_of(
        st.builds(Not, inner),
        st.builds(lambda parts: All(tuple(parts)), st.lists(inner, min_size=2, max_size=3)),
        st.builds(lambda parts: Either(tuple(parts)), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=8,
)


def quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def written(node: Node) -> str:
    match node:
        case Comparison():
            texts = " ".join(map(quoted, node.texts))
            inside = f"{node.field.shown} {node.operator} {f'{{{texts}}}' if node.operator == 'in' else texts}"
            return f"any({inside})" if node.field.several else inside
        case Not():
            return f"not ({written(node.part)})"
        case All():
            return " and ".join(f"({written(part)})" for part in node.parts)
        case Either():
            return " or ".join(f"({written(part)})" for part in node.parts)


@settings(max_examples=150)
@given(NODE)
def test_what_is_written_is_read_as_it_was_meant(node: Node) -> None:
    assert read_expression(written(node), "traffic") == node


@settings(max_examples=300)
@given(st.text(st.sampled_from('abr_.[*]"\\ {}()!=&|~#$\n0') | st.characters(), max_size=40))
def test_any_text_is_read_or_refused_at_a_place_in_it(source: str) -> None:
    try:
        read_expression(source, "traffic")
    except ExpressionRefused as refused:
        column = int(str(refused).split()[1].rstrip(":"))
        assert 1 <= column <= len(source) + 1


@settings(max_examples=150)
@given(NODE, st.sampled_from(["", "a"]))
def test_what_is_known_without_a_search_holds_whatever_a_search_finds(node: Node, server: str) -> None:
    test = compiled(node)
    known = test(facts(server=server, identity=ANONYMOUS), None)
    for chosen in product((False, True), repeat=len(PROFILES)):
        found = frozenset(profile for profile, there in zip(PROFILES, chosen, strict=True) if there)
        whole = test(facts(server=server, identity=ANONYMOUS), Searched(found, True, str))
        assert whole is not None
        assert known is None or known is whole
        cut = test(facts(server=server, identity=ANONYMOUS), Searched(frozenset(), False, str))
        assert cut is None or cut is whole
