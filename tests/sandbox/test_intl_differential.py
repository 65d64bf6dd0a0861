"""`Intl` here and in Node, on the same options: the same text, unless it is refused here.

Needs Node with CLDR 48, which the tests' own Node 24 has; with another the test is skipped.
"""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.deep import examples
from tests.node_tools import NodeToolUnavailable, executable, install, needs

from .web_program import value

CLDR = "48"
EVALUATE = """
(cases) => cases.map(([service, locale, options, method, values]) => {
  try {
    const made = new Intl[service](locale, options);
    return made[method](...values);
  } catch (error) {
    return /is not carried/.test(error.message) ? "refused" : "threw " + error.name;
  }
})
"""
SERVE = f"""
const evaluate = {EVALUATE};
require("readline").createInterface({{ input: process.stdin }}).on("line", (line) => {{
  console.log(JSON.stringify(evaluate(JSON.parse(line))));
}});
console.log(process.versions.cldr);
"""

ENGLISH = ["en-US", "en-GB", "en-CA", "en-AU", "en-IN", "en-ZA", "en-NZ", "en-IE", "en-SG", "en-PH"]
OTHERS = ["sv-SE", "de-DE", "fr-FR", "fr-CA", "es-ES", "es-MX", "it-IT", "nl-NL", "pt-BR", "pt-PT", "nb", "pl-PL"]
LOCALES = st.sampled_from(ENGLISH * 2 + OTHERS)
ZONES = [
    "UTC", "America/New_York", "America/Los_Angeles", "America/Sao_Paulo", "Europe/London", "Europe/Paris",
    "Europe/Dublin",     "Asia/Tokyo", "Asia/Kolkata", "Australia/Sydney", "Australia/Lord_Howe", "Africa/Casablanca",
    "Pacific/Auckland", "+05:45",
]  # fmt: skip
WIDTHS, DIGITS, STYLES = ["narrow", "short", "long"], ["2-digit", "numeric"], ["full", "long", "medium", "short"]


def chosen(**values: list[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the options, each with one of its values."""
    return st.fixed_dictionaries(
        {}, optional={key: st.sampled_from(given_values) for key, given_values in values.items()}
    )


COMPONENTS = chosen(
    weekday=WIDTHS, year=DIGITS, month=[*DIGITS, *WIDTHS], day=DIGITS, hour=DIGITS, minute=DIGITS, second=DIGITS,
    timeZoneName=["short", "long", "shortOffset", "longOffset"], hour12=[True, False], fractionalSecondDigits=[1, 2, 3],
)  # fmt: skip
DATE_OPTIONS = st.builds(
    lambda options, zone: {**options, "timeZone": zone},
    chosen(dateStyle=STYLES, timeStyle=STYLES, hour12=[True, False]) | COMPONENTS,
    st.sampled_from(ZONES),
)
# The moments of all of IANA's rules, and of what has no rule yet.
MOMENTS = st.integers(min_value=-2_208_988_800_000, max_value=2_556_143_999_999)
NUMBER_OPTIONS = st.builds(
    lambda *parts: {key: value for part in parts for key, value in part.items()},
    st.sampled_from([
        {}, {"style": "percent"}, {"style": "currency", "currency": "USD"}, {"style": "currency", "currency": "EUR"},
        {"style": "currency", "currency": "JPY"}, {"style": "currency", "currency": "CHF", "currencyDisplay": "code"},
        {"style": "currency", "currency": "GBP", "currencyDisplay": "name"}, {"style": "unit", "unit": "kilobyte"},
        {"style": "unit", "unit": "mile-per-hour", "unitDisplay": "long"}, {"notation": "scientific"},
    ]),
    chosen(notation=["standard", "compact", "engineering"], compactDisplay=["short", "long"]),
    chosen(
        currencySign=["accounting"], signDisplay=["auto", "never", "always", "exceptZero", "negative"],
        useGrouping=[True, False, "always", "min2"], 
        roundingMode=["ceil", "floor", "expand", "trunc", "halfEven", "halfTrunc"],
        trailingZeroDisplay=["stripIfInteger"], minimumIntegerDigits=[1, 4],
    ),
    st.sampled_from([
        {}, {"maximumFractionDigits": 0}, {"minimumFractionDigits": 2}, {"maximumFractionDigits": 5},
        {"maximumSignificantDigits": 3}, {"minimumSignificantDigits": 4}, 
        {"minimumFractionDigits": 3, "maximumFractionDigits": 1},
    ]),
)  # fmt: skip
NUMBERS = st.one_of(
    st.integers(-(10**15), 10**15),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e21, max_value=1e21),
    st.sampled_from(["12345678901234567890.125", "1e5", "-0", "0.5", "1.5", "2.5", "999999", "1.005"]),
)
# Beyond 2^53 ICU counts with doubles, so that a category is chance there.
COUNTS = st.integers(-(10**15), 10**15) | st.floats(-1e6, 1e6) | st.sampled_from(["1.0", "1e3"])
TEXTS = st.text(alphabet="aAbBzZéÉèñöØßæœ0129 -_.,'$€~\tёеЕαΑあア한ｆ²½\u0301", max_size=6)
COLLATION = chosen(
    numeric=[True, False], sensitivity=["base", "accent", "case", "variant"], caseFirst=["upper", "lower"],
    ignorePunctuation=[True],
)  # fmt: skip
CASES = st.one_of(
    st.tuples(st.just("DateTimeFormat"), LOCALES, DATE_OPTIONS, st.just("format"), st.tuples(MOMENTS)),
    st.tuples(st.just("NumberFormat"), LOCALES, NUMBER_OPTIONS, st.just("format"), st.tuples(NUMBERS)),
    st.tuples(
        st.just("Collator"), st.sampled_from(["en", "de", "fr", "it"]), COLLATION, st.just("compare"),
        st.tuples(TEXTS, TEXTS),
    ),
    st.tuples(
        st.just("PluralRules"), LOCALES, chosen(type=["cardinal", "ordinal"]), st.just("select"), st.tuples(COUNTS),
    ),
    st.tuples(
        st.just("RelativeTimeFormat"), LOCALES, chosen(numeric=["auto", "always"], style=WIDTHS), st.just("format"),
        st.tuples(
            st.integers(-3, 3) | st.floats(-1e6, 1e6),
            st.sampled_from(["second", "hours", "day", "week", "quarter", "years"]),
        ),
    ),
    st.tuples(
        st.just("ListFormat"), LOCALES, chosen(type=["conjunction", "disjunction", "unit"], style=WIDTHS),
        st.just("format"),
        st.tuples(st.lists(st.sampled_from(["a", "b", "c, d", ""]), max_size=5)),
    ),
)  # fmt: skip


class Node:
    """A Node process that evaluates cases, a batch a line."""

    def __init__(self, binary: str) -> None:
        self.process = subprocess.Popen(
            [binary, "-e", SERVE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )
        self.cldr = self._line()

    def evaluate(self, cases: list[Any]) -> list[Any]:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(cases) + "\n")
        self.process.stdin.flush()
        values = json.loads(self._line())
        assert isinstance(values, list)
        return values

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()


def newest_node() -> str:
    """The Node 24 that npm carries: an older one on PATH has older data."""
    machine = {"x86_64": "x64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine())
    system = {"Linux": "linux", "Darwin": "darwin"}.get(platform.system())
    if machine is None or system is None:
        raise NodeToolUnavailable("npm has no Node binary for this machine")
    return str(executable(install(f"node-{system}-{machine}@24"), "node").resolve())


@pytest.fixture(scope="module")
def node() -> Iterator[Node]:
    made = Node(needs(newest_node))
    try:
        if made.cldr.split(".")[0] != CLDR:
            pytest.skip(f"this Node has CLDR {made.cldr}, the table of differences is for {CLDR}")
        yield made
    finally:
        made.close()


def differences(node: Node, cases: list[Any]) -> list[Any]:
    ours = value(f"({EVALUATE})(given)", cases)
    return [
        (case, here, there)
        for case, here, there in zip(cases, ours, node.evaluate(cases), strict=True)
        if here != there and here != "refused"
    ]


@examples(200, settings(deadline=None))
@given(cases=st.lists(CASES, min_size=1, max_size=25))
def test_what_is_formatted_is_what_node_formats(node: Node, cases: list[Any]) -> None:
    assert differences(node, cases) == []


@pytest.mark.parametrize("locale", [*ENGLISH, *OTHERS])
def test_the_usual_formats_of_each_locale_are_nodes_and_not_refused(node: Node, locale: str) -> None:
    at = 1_736_953_445_678
    dates: list[dict[str, Any]] = [
        {}, {"dateStyle": "full"}, {"dateStyle": "long"}, {"dateStyle": "medium", "timeStyle": "short"},
        {"dateStyle": "short", "timeStyle": "medium"}, {"timeStyle": "short"}, {"year": "numeric", "month": "long"},
        {"weekday": "long", "year": "numeric", "month": "long", "day": "numeric"}, {"month": "short", "day": "numeric"},
        {"year": "numeric", "month": "2-digit", "day": "2-digit"}, {"hour": "2-digit", "minute": "2-digit"},
        {"year": "numeric", "month": "numeric", "day": "numeric", "hour": "numeric", "minute": "numeric"},
        {"weekday": "short"}, {"month": "long"}, {"year": "numeric"},
    ]  # fmt: skip
    numbers: list[dict[str, Any]] = [
        {}, {"style": "percent"}, {"style": "currency", "currency": "EUR"}, {"style": "currency", "currency": "USD"},
        {"maximumFractionDigits": 1}, {"minimumFractionDigits": 2, "maximumFractionDigits": 2}, {"useGrouping": False},
    ]  # fmt: skip
    cases: list[Any] = [["DateTimeFormat", locale, {**o, "timeZone": "Europe/Paris"}, "format", [at]] for o in dates]
    cases += [["NumberFormat", locale, o, "format", [n]] for o in numbers for n in (0, -1234.567, 1234567.891, 12, 0.5)]
    cases += [["PluralRules", locale, {}, "select", [n]] for n in (0, 1, 2, 5, 1.5, 22, 1_000_000)]
    assert differences(node, cases) == []
    assert "refused" not in value(f"({EVALUATE})(given)", cases)


def test_every_zone_has_nodes_clock_through_a_century(node: Node) -> None:
    zones = value("Intl.supportedValuesOf('timeZone')")
    moments = [(year - 1970) * 31_556_952_000 + (year * 37 % 365) * 86_400_000 for year in range(1910, 2045, 15)]
    options: dict[str, Any] = {"dateStyle": "short", "timeStyle": "medium"}
    cases: list[Any] = [
        ["DateTimeFormat", "en-US", {**options, "timeZone": zone}, "format", [m]] for zone in zones for m in moments
    ]
    assert len(zones) > 400
    wrong = [found for at in range(0, len(cases), 1000) for found in differences(node, cases[at : at + 1000])]
    assert wrong == []
