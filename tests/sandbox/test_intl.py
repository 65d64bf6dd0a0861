"""`Intl` and the methods that take a locale or a zone: V8's values, or an error that says what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox import Completed, Engine, Failed, Settlement, Suspended
from sandbox.frozen import unpack
from tests.sandbox.programs import NOW, SEED, Programs

from .web_program import thrown, value

AT = 'new Date("2025-01-15T15:04:05.678Z")'
VALUES: dict[str, Any] = {
    # dates: the locale, the options, the zone
    f"{AT}.toLocaleString()": "1/15/2025, 3:04:05 PM",
    f'{AT}.toLocaleString("en-US", {{ timeZone: "America/New_York" }})': "1/15/2025, 10:04:05 AM",
    f'{AT}.toLocaleTimeString("en-US", {{ hour12: false, timeZone: "UTC" }})': "15:04:05",
    f'{AT}.toLocaleDateString("en-GB")': "15/01/2025",
    f'{AT}.toLocaleDateString("en-CA")': "2025-01-15",
    f'{AT}.toLocaleDateString("sv-SE")': "2025-01-15",
    f'{AT}.toLocaleString("sv-SE")': "2025-01-15 15:04:05",
    f'{AT}.toLocaleDateString("de-DE")': "15.1.2025",
    f'{AT}.toLocaleDateString("fr-FR", {{ dateStyle: "full" }})': "mercredi 15 janvier 2025",
    f'{AT}.toLocaleDateString("en-US", {{ weekday: "long" }})': "Wednesday",
    f'{AT}.toLocaleDateString("en-US", {{ year: "numeric", month: "long", day: "numeric" }})': "January 15, 2025",
    f'{AT}.toLocaleDateString("en-US", {{ month: "2-digit", day: "2-digit", year: "numeric" }})': "01/15/2025",
    f'{AT}.toLocaleTimeString("en-US", {{ hour: "2-digit", minute: "2-digit" }})': "03:04 PM",
    f'{AT}.toLocaleTimeString("en-GB", {{ hour: "numeric", minute: "2-digit" }})': "15:04",
    f'{AT}.toLocaleString("en-US", {{ dateStyle: "medium", timeStyle: "short" }})': "Jan 15, 2025, 3:04 PM",
    f'{AT}.toLocaleString("en-US", {{ dateStyle: "long", timeStyle: "long", timeZone: "Europe/Paris" }})': (
        "January 15, 2025 at 4:04:05 PM GMT+1"
    ),
    f'{AT}.toLocaleTimeString("en-US", {{ timeStyle: "full", timeZone: "America/Los_Angeles" }})': (
        "7:04:05 AM Pacific Standard Time"
    ),
    f'{AT}.toLocaleTimeString("en-US", {{ timeZoneName: "short", timeZone: "America/New_York" }})': "10:04:05 AM EST",
    f'{AT}.toLocaleTimeString("en-US", {{ timeZoneName: "longOffset", timeZone: "Asia/Kolkata" }})': (
        "8:34:05 PM GMT+05:30"
    ),
    f'{AT}.toLocaleTimeString("en-US", {{ minute: "numeric", second: "numeric", fractionalSecondDigits: 3 }})': (
        "04:05.678"
    ),
    f'{AT}.toLocaleString("en-US", {{ hourCycle: "h23", hour: "numeric", timeZone: "+09:00" }})': "00",
    'new Date("2025-07-01T12:00:00Z").toLocaleTimeString("en-US", { timeZone: "Europe/London" })': "1:00:00 PM",
    'new Date("1950-07-01T12:00:00Z").toLocaleTimeString("en-US", { timeZone: "America/Chicago" })': "7:00:00 AM",
    'new Date("2040-07-01T12:00:00Z").toLocaleTimeString("en-US", { timeZone: "Australia/Sydney" })': "10:00:00 PM",
    "new Date(NaN).toLocaleDateString()": "Invalid Date",
    "Intl.DateTimeFormat().resolvedOptions().timeZone": "UTC",
    f'new Intl.DateTimeFormat("en-US").formatToParts({AT}).map((p) => p.type + "=" + p.value).join()': (
        "month=1,literal=/,day=15,literal=/,year=2025"
    ),
    f'new Intl.DateTimeFormat("en-US", {{ dateStyle: "medium" }}).formatRange({AT}, {AT})': "Jan 15, 2025",
    'new Date("2025-07-05").toLocaleDateString("en-AU", { month: "short" })': "Jul",
    'new Date("2025-06-05").toLocaleDateString("en-AU", { month: "short", weekday: "short" })': "Jun Thu",
    'new Date("2025-07-05").toLocaleDateString("en-AU", { month: "short", day: "numeric" })': "5 July",
    'new Date("2025-07-05").toLocaleDateString("en-GB", { month: "short" })': "Jul",
    f'{AT}.toLocaleTimeString("en-US", {{ timeZoneName: "short", timeZone: "PST8PDT" }})': "7:04:05 AM GMT-8",
    f'{AT}.toLocaleTimeString("en-US", {{ timeZoneName: "long", timeZone: "EST5EDT" }})': "10:04:05 AM GMT-05:00",
    'Intl.DateTimeFormat("en-US", { timeZone: "PST8PDT" }).resolvedOptions().timeZone': "PST8PDT",
    f'{AT}.toLocaleTimeString("en-GB", {{ timeZoneName: "short", timeZone: "Pacific/Honolulu" }})': "5:04:05 GMT-10",
    f'{AT}.toLocaleTimeString("en-GB", {{ timeZoneName: "short", timeZone: "Etc/Greenwich" }})': "15:04:05 GMT",
    f'{AT}.toLocaleTimeString("en-US", {{ timeZoneName: "long", timeZone: "Africa/Lagos" }})': (
        "4:04:05 PM West Africa Time"
    ),
    f'{AT}.toLocaleTimeString("en-US", {{ timeZoneName: "long", timeZone: "Europe/Istanbul" }})': (
        "6:04:05 PM Türkiye Standard Time"
    ),
    f"String({AT})": "Wed Jan 15 2025 15:04:05 GMT+0000 (Coordinated Universal Time)",
    f"{AT}.toTimeString()": "15:04:05 GMT+0000 (Coordinated Universal Time)",
    "String(new Date(-8.64e15))": "Tue Apr 20 -271821 00:00:00 GMT+0000 (Coordinated Universal Time)",
    f"Date.parse(String({AT}))": 1736953445000,
    # numbers
    "(1234567.891).toLocaleString()": "1,234,567.891",
    '(1234.5).toLocaleString("de-DE", { style: "currency", currency: "XXX" })': "1.234,50\u00a0XXX",
    '(1234.5).toLocaleString("nb", { style: "currency", currency: "XXX" })': "1\u00a0234,50\u00a0XXX",
    '(1234.5).toLocaleString("en-US", { style: "currency", currency: "XXX" })': "¤1,234.50",
    'Intl.supportedValuesOf("currency").length': 162,
    '["DEM", "EUR", "XDR"].map((code) => Intl.supportedValuesOf("currency").includes(code))': [False, True, True],
    "new Intl.PluralRules().resolvedOptions().locale": "en-US",
    'new Intl.PluralRules("en-US").resolvedOptions().locale': "en",
    '(0.5).toLocaleString("default", { style: "percent" })': "50%",
    '(1.5).toLocaleString(["und", "de"])': "1,5",
    '(1234567.891).toLocaleString("en-US", { style: "currency", currency: "USD" })': "$1,234,567.89",
    '(-5).toLocaleString("en-US", { style: "currency", currency: "USD", currencySign: "accounting" })': "($5.00)",
    '(5).toLocaleString("en-US", { style: "currency", currency: "JPY" })': "¥5",
    '(5).toLocaleString("en-US", { style: "currency", currency: "CHF" })': "CHF\u00a05.00",
    '(1).toLocaleString("en-US", { style: "currency", currency: "EUR", currencyDisplay: "name" })': "1.00 euros",
    '(1234.5).toLocaleString("de-DE", { style: "currency", currency: "EUR" })': "1.234,50\u00a0€",
    '(1234.5).toLocaleString("fr-FR")': "1\u202f234,5",
    '(12345678).toLocaleString("en-IN")': "1,23,45,678",
    '(1234.5).toLocaleString("es-ES")': "1234,5",
    '(0.256).toLocaleString("en-US", { style: "percent" })': "26%",
    '(0.2567).toLocaleString("en-US", { style: "percent", minimumFractionDigits: 1 })': "25.7%",
    '(1.005).toLocaleString("en-US", { maximumFractionDigits: 2 })': "1.01",
    '(1234567).toLocaleString("en-US", { notation: "compact" })': "1.2M",
    '(999950).toLocaleString("en-US", { notation: "compact", compactDisplay: "long" })': "1 million",
    '(16).toLocaleString("en-US", { style: "unit", unit: "liter", unitDisplay: "long" })': "16 liters",
    '(50).toLocaleString("en-US", { style: "unit", unit: "kilometer-per-hour" })': "50 km/h",
    '(5).toLocaleString("en-US", { minimumIntegerDigits: 3, signDisplay: "always" })': "+005",
    '(123456).toLocaleString("en-US", { maximumSignificantDigits: 2, useGrouping: false })': "120000",
    '(12345).toLocaleString("en-US", { notation: "scientific" })': "1.235E4",
    '12345678901234567890n.toLocaleString("en-US")': "12,345,678,901,234,567,890",
    'new Intl.NumberFormat("en-US").format("123456789012345678901234.5")': "123,456,789,012,345,678,901,234.5",
    '[1234.5, null, 2e6, "x"].toLocaleString("en-US", { minimumFractionDigits: 1 })': "1,234.5,,2,000,000.0,x",
    'new Float64Array([1234.5, 2]).toLocaleString("de-DE")': "1.234,5,2",
    # text
    '["b10", "b9", "A", "a"].sort((x, y) => x.localeCompare(y, "en", { numeric: true, sensitivity: "base" })).join()': (
        "A,a,b9,b10"
    ),
    '"resume".localeCompare("Résumé", "en", { sensitivity: "base" })': 0,
    '["b", "a", "C", "é", "Z", "e", "_", "1"].sort((x, y) => x.localeCompare(y)).join("")': "_1abCeéZ",
    '["b", "a", "C"].sort(new Intl.Collator("en", { caseFirst: "upper" }).compare).join()': "a,b,C",
    '"co-op".localeCompare("coop", "en", { ignorePunctuation: true })': 0,
    '"i".toLocaleUpperCase("tr") + "I".toLocaleLowerCase("tr") + "i".toLocaleUpperCase("en")': "İıI",
    'new Intl.PluralRules("en", { type: "ordinal" }).select(22)': "two",
    'new Intl.ListFormat("en", { type: "disjunction" }).format(["a", "b", "c"])': "a, b, or c",
    'new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(-1, "day")': "yesterday",
    'new Intl.RelativeTimeFormat("en").format(3, "hours")': "in 3 hours",
    '[...new Intl.Segmenter("en").segment("e\\u0301👨‍👩‍👧🇩🇪x")].map((s) => s.segment).length': 4,
    '[...new Intl.Segmenter("en", { granularity: "word" }).segment("Don\'t stop, 3.14!")].filter((s) => s.isWordLike)'
    '.map((s) => s.segment).join("|")': "Don't|stop|3.14",
    'Intl.getCanonicalLocales(["EN-us", "sr-latn-rs"]).join()': "en-US,sr-Latn-RS",
    'Intl.supportedValuesOf("timeZone").includes("Asia/Tokyo")': True,
    'Intl.DateTimeFormat.supportedLocalesOf(["en-US", "hi-IN"]).join()': "en-US",
    'new Intl.Locale("en", { region: "gb" }).toString()': "en-GB",
    "typeof Intl": "object",
    "String(Intl)": "[object Intl]",
}

REFUSED = {
    'new Date(0).toLocaleString("hi-IN")': 'write "en-US"',
    'new Date(0).toLocaleDateString("de-AT")': 'write "en-US"',
    '(1).toLocaleString("ar-EG")': 'write "en-US"',
    '(1).toLocaleString("en-US-u-nu-deva")': 'leave it out (it is "latn")',
    'new Date(0).toLocaleDateString("en-US", { calendar: "buddhist" })': 'leave it out (it is "gregory")',
    '"ä".localeCompare("z", "sv")': 'use the order of "en"',
    '"中".localeCompare("文")': "compare such text with < and >",
    '"ก".localeCompare("ข")': "compare such text with < and >",
    '(1e6).toLocaleString("de-DE", { notation: "compact" })': 'write "en-US"',
    'new Date(0).toLocaleTimeString("de-DE", { timeStyle: "full" })': 'use "medium" or "short"',
    'new Date(0).toLocaleTimeString("en-US", { timeZone: "Europe/Paris", timeZoneName: "longGeneric" })': (
        'use "short" or "long"'
    ),
    'new Intl.DateTimeFormat("en-US").formatRange(0, 1e12)': "format both ends",
    'new Intl.NumberFormat("en-US").formatRange(1, 2)': "format both ends",
    "new Intl.DisplayNames('en', { type: 'region' })": "write a table",
    "new Intl.DurationFormat('en')": 'style "unit"',
    'new Intl.RelativeTimeFormat("fr", { numeric: "auto" }).format(-1, "day")': 'use numeric "always"',
    'new Intl.Segmenter("en", { granularity: "sentence" })': "split the text yourself",
    'new Intl.Segmenter("ja", { granularity: "word" })': 'write "en-US"',
    '[...new Intl.Segmenter("en", { granularity: "word" }).segment("日本語")]': 'granularity "grapheme"',
    '"ά".toLocaleUpperCase("el")': "use toUpperCase()",
}


@pytest.mark.parametrize("program", VALUES)
def test_a_value_is_that_of_v8(program: str) -> None:
    assert value(program) == VALUES[program]


# A region, the language or region whose data it builds on, and its own date.
BUILT_ON = {
    "en-CA": ("en", "2025-01-15, 3:04:05 p.m."),
    "en-GB": ("en", "15/01/2025, 15:04:05"),
    "fr-CA": ("fr", "2025-01-15 15 h 04 min 05 s"),
}


@pytest.mark.parametrize("region", BUILT_ON)
def test_a_region_has_its_own_formats_also_after_those_of_its_language(region: str) -> None:
    language, own = BUILT_ON[region]
    shown = f'{AT}.toLocaleString("{region}")'
    assert value(f'[{AT}.toLocaleString("{language}"), {shown}][1]') == value(shown)
    assert value(shown) == own


@pytest.mark.parametrize("program", REFUSED)
def test_what_is_not_carried_is_refused_with_advice_and_never_a_wrong_value(program: str) -> None:
    name, message, _ = thrown(program)
    assert name == "RangeError"
    assert "is not carried in this environment" in message
    assert REFUSED[program] in message


@pytest.mark.parametrize(
    ("program", "name"),
    [
        ('new Date(0).toLocaleString("en_US")', "RangeError"),
        ('new Date(0).toLocaleString("en-US", { timeZone: "Mars/Base" })', "RangeError"),
        ('(1).toLocaleString("en-US", { style: "currency" })', "TypeError"),
        ('(1).toLocaleString("en-US", { maximumFractionDigits: 101 })', "RangeError"),
        ("Intl.DateTimeFormat().format(NaN)", "RangeError"),
        ("Intl.PluralRules()", "TypeError"),
        ("Intl.NumberFormat.prototype.formatToParts.call({}, 1)", "TypeError"),
        ("Date.prototype.toLocaleString.call({})", "TypeError"),
        ('new Intl.DateTimeFormat("en", { dateStyle: "short", year: "numeric" })', "TypeError"),
    ],
)
def test_a_wrong_argument_is_an_error_of_the_usual_kind(program: str, name: str) -> None:
    assert thrown(program)[0] == name


def test_everything_that_comes_out_belongs_to_the_programs_own_realm() -> None:
    source = """
    const parts = new Intl.NumberFormat("en-US").formatToParts(1234);
    let error; try { new Intl.NumberFormat("en", { style: "x" }) } catch (e) { error = e }
    let own; try { new Intl.NumberFormat("en", { get style() { throw new TypeError("mine") } }) } catch (e) { own = e }
    let engine; try { new Intl.NumberFormat("en", { style: Symbol() }) } catch (e) { engine = e }
    [parts instanceof Array, parts[0] instanceof Object, error instanceof RangeError, own.message,
     engine instanceof TypeError,
     Intl instanceof Object, Intl.NumberFormat instanceof Function, Intl.NumberFormat.prototype instanceof Object,
     new Intl.NumberFormat().resolvedOptions() instanceof Object, Intl.NumberFormat.constructor === Function,
     Object.getPrototypeOf(new Intl.Segmenter().segment("a")[Symbol.iterator]().next()) === Object.prototype]
    """
    assert value(source) == [True, True, True, "mine", True, True, True, True, True, True, True]


def test_subclasses_and_bound_functions_work() -> None:
    source = """
    class Money extends Intl.NumberFormat { constructor() { super("en-US", { style: "currency", currency: "USD" }) } }
    const { format } = new Intl.DateTimeFormat("en-US");
    [new Money().format(2), new Money() instanceof Intl.NumberFormat, [0, 864e5].map(format),
     Intl.NumberFormat().format(1)]
    """
    assert value(source) == ["$2.00", True, ["1/1/1970", "1/2/1970"], "1"]


VANDALISM = """
const { defineProperty, getOwnPropertyNames, getOwnPropertyDescriptor } = Object;
const bad = function () { throw new Error("vandalised") };
for (const holder of [Object, Array, String, Number, RegExp, Map, WeakMap, Date, JSON, Math, Reflect, Symbol, BigInt,
                      Object.prototype, Array.prototype, String.prototype, RegExp.prototype, Map.prototype,
                      WeakMap.prototype,
                      Function.prototype]) {
  for (const name of getOwnPropertyNames(holder)) {
    const found = getOwnPropertyDescriptor(holder, name);
    if (!found.configurable || name === "toLocaleString" || name === "localeCompare") continue;
    if (name === "constructor") continue;
    if (typeof found.value === "function") defineProperty(holder, name, { value: bad });
    else if (found.get) defineProperty(holder, name, { get: bad });
  }
}
"""


def test_a_program_that_replaced_every_builtin_gets_the_same_values() -> None:
    source = """
    const n = (1234.5).toLocaleString("en-US", { style: "currency", currency: "USD" });
    const c = "b9".localeCompare("b10", "en", { numeric: true });
    const f = new Intl.DateTimeFormat("en-US", { timeZone: "America/New_York", dateStyle: "medium" });
    n + " " + c + " " + f.format(0)
    """
    assert value(VANDALISM + source) == "$1,234.50 -1 Dec 31, 1969"


def test_a_program_may_replace_intl_and_its_own_errors_pass_through() -> None:
    assert value("Intl = 5; Intl") == 5
    assert value("delete globalThis.Intl; typeof Intl") == "undefined"
    source = 'let e; try { (1).toLocaleString({ get length() { throw "mine" } }) } catch (x) { e = x } e'
    assert value(source) == "mine"


def test_a_frozen_program_goes_on_with_the_formats_that_it_made(programs: Programs, engine: Engine) -> None:
    source = """
    const f = new Intl.DateTimeFormat("en-US", { timeZone: "Asia/Tokyo", dateStyle: "long" });
    const before = f.format(0) + (1234.5).toLocaleString();
    await host.pause({});
    const german = new Intl.NumberFormat("de-DE");
    [before, f.format(0) + (1234.5).toLocaleString(), "a".localeCompare("B"), german.format(1.5)]
    """

    def play() -> None:
        with engine.isolate() as isolate:
            assert isinstance(isolate.start(source, NOW, SEED), Suspended)
            frozen = isolate.freeze()
        with engine.thaw(frozen) as isolate:
            outcome = isolate.resume([Settlement.value(1, None)], NOW)
        assert outcome == Completed(["January 1, 19701,234.5", "January 1, 19701,234.5", -1, "1,5"])

    programs.on_thread(play)


def test_the_same_start_gives_the_same_run_with_the_part_in_it(programs: Programs, engine: Engine) -> None:
    source = "new Intl.DateTimeFormat('en-US').format(); await host.pause({})"

    def play() -> None:
        memories = []
        for _ in range(2):
            with engine.isolate() as isolate:
                isolate.start(source, NOW, SEED)
                header_and_memory = unpack(isolate.freeze(), build=engine.build_id, kind="program", largest=1 << 30)
                memories.append(header_and_memory[1])  # the header has the time that was used
        assert memories[0] == memories[1]

    programs.on_thread(play)


def test_a_program_that_needs_neither_locale_nor_zone_does_not_make_the_part(
    programs: Programs, engine: Engine
) -> None:
    """The part would be in the frozen bytes."""

    def size_of(source: str) -> int:
        with engine.isolate() as isolate:
            assert isinstance(isolate.start(source, NOW, SEED), Suspended)
            return len(isolate.freeze())

    def play() -> None:
        without = size_of("await host.pause({})")
        assert size_of("[3, 1].sort(); String(new Date(0)); (1.5).toFixed(1); await host.pause({})") < without + 4000
        assert size_of("typeof Intl; await host.pause({})") > without + 10_000

    programs.on_thread(play)


@pytest.mark.parametrize(
    "program",
    [
        "(1e300).toLocaleString('en-US', { minimumFractionDigits: 100 }).length",
        "new Intl.NumberFormat('en').format('9'.repeat(2e5))",
        "new Intl.NumberFormat('en').format('1e' + '9'.repeat(50))",
        "'9'.repeat(1e5).localeCompare('9'.repeat(1e5) + '1', 'en', { numeric: true })",
        "'é'.repeat(2e5).localeCompare('é'.repeat(2e5) + 'a', 'en', { sensitivity: 'base' })",
        "[...new Intl.Segmenter('en').segment('\\u0301'.repeat(3e4))].length",
        "Intl.getCanonicalLocales('en-' + 'x'.repeat(1e5))",
        "Intl.getCanonicalLocales(Array.from({ length: 1e5 }, () => 'en')).length",
        "new Intl.ListFormat('en').format(Array.from({ length: 2e3 }, (_, i) => '' + i)).length",
        "const a = [1]; a.push(a); a.toLocaleString('en')",
        "new Intl.DateTimeFormat('en', { timeZone: 'x'.repeat(1e6) })",
        "Reflect.construct(Intl.NumberFormat, [], (function () {}).bind())",
        "new Intl.NumberFormat('en', new Proxy({}, { get: () => ({}) }))",
    ],
)
def test_hostile_arguments_end_in_a_value_or_an_error_of_the_program(program: str, with_limits: Any) -> None:
    outcome = with_limits(cpu_time=5.0, memory=32 << 20).run(program)
    assert isinstance(outcome, (Completed, Failed))
    if isinstance(outcome, Failed):
        assert outcome.error.kind in {"exception", "memory", "stack", "cpu_time"}


def test_memory_that_ends_while_the_part_is_made_is_a_catchable_error(with_limits: Any) -> None:
    source = """
    const hoard = [];
    try { for (;;) hoard.push(new Uint8Array(1 << 16)) } catch {}
    hoard.length = 3 < hoard.length ? hoard.length - 3 : 0;
    let first; try { new Intl.DateTimeFormat("en-US", { timeZone: "America/New_York" }) } catch (e) { first = e.name }
    hoard.length = 0;
    [first ?? "made", new Date(0).toLocaleDateString("en-US", { timeZone: "America/New_York" })]
    """
    outcome = with_limits(memory=8 << 20).run(source)
    assert isinstance(outcome, Completed), outcome
    assert outcome.value[1] == "12/31/1969"
