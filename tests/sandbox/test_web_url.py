"""URL against our own sample of what the WHATWG URL Standard says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.deep import examples

from .web_program import DATA, thrown, value

FIELDS = "href origin protocol username password host hostname port pathname search hash".split()
PARSED: dict[str, list[dict[str, Any]]] = json.loads((DATA / "urls.json").read_text())
SETTERS: dict[str, list[tuple[str, str, dict[str, str]]]] = json.loads((DATA / "url_setters.json").read_text())


def case_name(case: dict[str, Any]) -> str:
    return ascii(case["input"]) + (" on " + ascii(case["base"]) if "base" in case else "")


@pytest.mark.parametrize("area", PARSED)
def test_urls_parse_as_the_standard_says(area: str) -> None:
    cases = PARSED[area]
    found = value(
        """given.cases.map(({input, base}) => {
             const url = URL.parse(input, base);
             return url && Object.fromEntries(given.fields.map((field) => [field, url[field]]));
           })""",
        {"cases": cases, "fields": FIELDS},
    )
    for case, url in zip(cases, found, strict=True):
        if case["href"] is None:
            assert url is None, case_name(case)
        else:
            assert url is not None, case_name(case)
            expected = {field: case[field] for field in FIELDS if field in case}
            assert {field: url[field] for field in expected} == expected, case_name(case)


def test_the_sample_of_urls_is_a_fair_one() -> None:
    assert len(PARSED) >= 14
    assert sum(len(cases) for cases in PARSED.values()) >= 250


@pytest.mark.parametrize("field", SETTERS)
def test_setters_change_a_url_as_the_standard_says(field: str) -> None:
    cases = SETTERS[field]
    found = value(
        """given.cases.map(([href, text, expected]) => {
             const url = new URL(href);
             try { url[given.field] = text; } catch (error) { if (given.field !== "origin") throw error; }
             return Object.fromEntries(Object.keys(expected).map((name) => [name, url[name]]));
           })""",
        {"cases": cases, "field": field},
    )
    for case, fields in zip(cases, found, strict=True):
        assert fields == case[2], case[:2]


def test_constructor_parse_and_can_parse_agree() -> None:
    cases = [case for area in PARSED.values() for case in area]
    found = value(
        """given.map(({input, base}) => {
             let built = null;
             try { built = new URL(input, base).href; }
             catch (error) { if (!(error instanceof TypeError)) throw error; }
             return [built, URL.parse(input, base)?.href ?? null, URL.canParse(input, base)];
           })""",
        cases,
    )
    for case, answers in zip(cases, found, strict=True):
        assert answers == [case["href"], case["href"], case["href"] is not None], case_name(case)


def test_a_serialised_url_parses_to_itself() -> None:
    hrefs = [case["href"] for area in PARSED.values() for case in area if case["href"]]
    assert value("given.map((href) => new URL(href).href)", hrefs) == hrefs


def test_an_invalid_url_is_a_type_error_that_quotes_it() -> None:
    assert thrown('new URL("nope")') == ["TypeError", 'Invalid URL: "nope"', "ERR_INVALID_URL"]
    assert thrown('new URL("c", "nope")') == ["TypeError", 'Invalid URL: "c" with the base "nope"', "ERR_INVALID_URL"]
    assert thrown('new URL("http://h/").href = "nope"')[0] == "TypeError"


def test_an_invalid_url_is_quoted_only_in_part_when_it_is_long() -> None:
    assert len(thrown('new URL("x".repeat(1e6))')[1]) < 300


@pytest.mark.parametrize("expression", ["URL('http://h/')", "new URL()", "URL.canParse()", "new URL(Symbol())"])
def test_misuse_of_url_is_a_type_error(expression: str) -> None:
    assert thrown(expression)[0] == "TypeError"


def test_a_refused_href_leaves_the_url_as_it_was() -> None:
    assert value(
        'const u = new URL("http://h/x?a=1"); try { u.href = ":" } catch {}; [u.href, u.searchParams.get("a")]'
    ) == [
        "http://h/x?a=1",
        "1",
    ]


def test_arguments_are_converted_to_strings_once() -> None:
    source = """
    let reads = 0;
    const input = { toString() { reads++; return "/x"; } };
    const url = new URL(input, new URL("http://h/y"));
    url.hash = 12;
    [url.href, reads]
    """
    assert value(source) == ["http://h/x#12", 1]


def test_lone_surrogates_become_replacement_characters() -> None:
    assert value('new URL("http://h/\\ud800?\\udc00#\\ud83d").href') == "http://h/%EF%BF%BD?%EF%BF%BD#%EF%BF%BD"


def test_a_url_is_text_in_json_and_templates() -> None:
    assert value('const u = new URL("http://h"); [JSON.stringify({u}), `${u}`, u + ""]') == [
        '{"u":"http://h/"}',
        "http://h/",
        "http://h/",
    ]


def test_search_params_and_url_follow_each_other() -> None:
    source = """
    const url = new URL("http://h/?a=1&b=2#f");
    const params = url.searchParams;
    const seen = [params === url.searchParams];
    params.append("c", "x y"); seen.push(url.href);
    params.delete("a"); seen.push(url.search);
    url.search = "?q=%20"; seen.push([...params]);
    url.href = "http://other/?z=9"; seen.push(params.toString(), params === url.searchParams);
    params.delete("z"); seen.push(url.href);
    params.set("a&", "b="); seen.push(url.href);
    params.append("0", ""); params.sort(); seen.push(url.search);
    seen
    """
    assert value(source) == [
        True,
        "http://h/?a=1&b=2&c=x+y#f",
        "?b=2&c=x+y",
        [["q", " "]],
        "z=9",
        True,
        "http://other/",
        "http://other/?a%26=b%3D",
        "?0=&a%26=b%3D",
    ]


def test_a_url_does_not_rewrite_its_query_until_the_params_change() -> None:
    assert value('const u = new URL("http://h/?a=~b%20c"); u.searchParams.get("a"); u.href') == "http://h/?a=~b%20c"


@examples(300)
@given(
    st.text(st.characters(codec="utf-8"), max_size=40),
    st.sampled_from(["", "http://", "foo://h/", "file:", "http://h/"]),
)
def test_whatever_is_parsed_either_fails_or_is_a_fixed_point(text: str, before: str) -> None:
    first, second = value("const u = URL.parse(given); [u && u.href, u && new URL(u.href).href]", before + text)
    assert first == second
    assert first is None or first.isascii()


@examples(200)
@given(
    st.sampled_from(FIELDS[2:]),
    st.text(max_size=30),
    st.sampled_from(["http://u:p@h:81/x?y#z", "foo:/x", "mailto:x", "file:///C:/x"]),
)
def test_whatever_is_set_leaves_a_url_that_parses_to_itself(field: str, text: str, href: str) -> None:
    source = "const u = new URL(given.href); u[given.field] = given.text; [u.href, new URL(u.href).href]"
    first, second = value(source, {"href": href, "field": field, "text": text})
    assert first == second
