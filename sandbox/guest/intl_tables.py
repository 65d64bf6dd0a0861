"""Makes the tables of `Intl` from public data.

That is locales (CLDR, as Babel distributes it), time zones (IANA, compiled), and the order of characters (the default
table of the Unicode Collation Algorithm).

All three come out of source distributions whose hashes `build.py` checks. The result is one byte string, the passive
data segment that the guest reads piece by piece (`intl.c`): `size u32 | count u32 | count * (offset u32, size u32) |
pieces`. Piece 0 is a JSON index, piece 1 the order of characters, pieces 2 to 4 are names of time zones, and every
other one is a part of a locale, or a zone.
"""

from __future__ import annotations

import json
import pickle
import re
import struct
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

_Node: TypeAlias = Any  # a value of CLDR's tree, as Babel's pickles have it
Tree: TypeAlias = dict[_Node, _Node]

# The regions of other languages than English.
REGIONS = set("de_DE fr_FR fr_CA es_419 es_ES es_MX es_US it_IT nl_NL pt_BR pt_PT sv_SE nb_NO pl_PL".split())
# Regions of English whose numbers or dates V8 and the source have in different forms.
LEFT_OUT = set(
    "en_DK en_UA en_AE en_EE en_JP en_GE en_LV en_LT en_FI en_MV en_JM en_SE en_PT en_NL en_FR en_IT en_SK en_CH en_SI "
    "en_ES en_DE en_BE en_HK en_ID en_HU en_NO en_CZ en_150 en_PL en_RO en_AT".split()
)
LANGUAGES = ("en", "sv", "de", "fr", "es", "it", "nl", "pt", "no", "nb", "pl")
FULL = "en"  # the language whose names of zones, currencies and units are carried
NAMES = ("units", "metaZones", "zoneNames", "currencyNames", "currencyTitles")
# The spelling of a zone that CLDR keeps, and V8 shows, where the data has the newer one.
SPELLINGS = dict(pair.split("=") for pair in (
    "America/Argentina/Buenos_Aires=America/Buenos_Aires America/Argentina/Catamarca=America/Catamarca "
    "America/Argentina/Cordoba=America/Cordoba America/Argentina/Jujuy=America/Jujuy "
    "America/Argentina/Mendoza=America/Mendoza America/Indiana/Indianapolis=America/Indianapolis "
    "America/Kentucky/Louisville=America/Louisville America/Nuuk=America/Godthab "
        "America/Atikokan=America/Coral_Harbour "
    "Asia/Ho_Chi_Minh=Asia/Saigon Asia/Kathmandu=Asia/Katmandu Asia/Kolkata=Asia/Calcutta Asia/Yangon=Asia/Rangoon "
    "Atlantic/Faroe=Atlantic/Faeroe Europe/Kyiv=Europe/Kiev Pacific/Kanton=Pacific/Enderbury "
        "Africa/Asmara=Africa/Asmera "
    "Pacific/Chuuk=Pacific/Truk Pacific/Pohnpei=Pacific/Ponape Etc/UTC=UTC Etc/GMT=UTC"
).split())  # fmt: skip
# What stands between a date and a time in the styles "full" and "long" (CLDR's "atTime"); the source leaves it out.
AT = {(language, style): word for language, word in (
    ("en", "at"), ("sv", "kl."), ("de", "um"), ("fr", "à"), ("it", "alle ore"), ("nl", "om"), ("pt", "às"),
    ("no", "kl."), ("nb", "kl."),
) for style in ("full", "long")} | {("es", "long"): "a las"}  # fmt: skip
# Where the source has an alternative form, or that of an earlier CLDR, and V8 has another one.
PATCHES: dict[str, Tree] = {
    "en": {
        "skeletons": {"Eh": "E h\u202fa"},
        "metaZones": {
            "Africa_Western": {"long": {"standard": "West Africa Time"}},
            "Hovd": {"long": {"standard": "Khovd Standard Time", "daylight": "Khovd Summer Time"}},
            "Turkey": {"long": {"standard": "Türkiye Standard Time", "daylight": "Türkiye Summer Time"}},
        },
    },
    **{language: {"currencies": {"XXX": None}} for language in ("de", "nl", "no", "nb")},
    "it": {"skeletons": {"H": "H"}},
    "en_AU": {
        "skeletons": {"yMMMMEEEEd": "EEEE d MMMM y"},
        "months": {"stand-alone-abbreviated": "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec".split()},
    },
    "en_CA": {"skeletons": {"Md": "MM-dd", "MEd": "E, MM-dd", "yMd": "y-MM-dd", "yMEd": "E, y-MM-dd", "MMdd": "MM-dd"}},
    "pt": {"atTime": ["{1} 'às' {0}", "{1} 'às' {0}", "{1}, {0}", "{1}, {0}"]},
    "en_GB": {
        "compact": {
            "short": {count: [f"{'0' * (n % 3 + 1)}{sign}" for sign in ("k", "m", "bn", "tn") for n in range(3)]
                      for count in ("one", "other")},
            "currency": {count: [f"¤{'0' * (n % 3 + 1)}{sign}" for sign in ("k", "m", "bn", "tn") for n in range(3)]
                         for count in ("one", "other")},
        },
    },
}  # fmt: skip
# The zones whose names are those of other ones since CLDR 48, which V8 has.
META_ZONES = {
    zone: meta
    for meta, zones in {
        "Europe_Eastern": "Asia/Famagusta",
        "Kamchatka": "Asia/Anadyr",
        "Krasnoyarsk": "Asia/Barnaul Asia/Novosibirsk Asia/Tomsk",
        "Magadan": "Asia/Sakhalin Asia/Srednekolymsk",
        "Moscow": "Europe/Kirov Europe/Volgograd",
        "Samara": "Europe/Astrakhan Europe/Saratov Europe/Ulyanovsk",
        "Turkey": "Europe/Istanbul",
    }.items()
    for zone in zones.split()
}
# Zones that are their own to V8, and links in the source.
OWN_ZONES = {"CST6CDT", "EST5EDT", "MST7MDT", "PST8PDT"}
LAST_TENDER = 2019  # a currency that was legal tender in this year or later is one that V8 lists
LISTED_CURRENCIES = {"SVC", "XDR", "XSU"}  # listed too, without being legal tender anywhere
UNITS = (
    "acre bit byte celsius centimeter day degree fahrenheit fluid-ounce foot gallon gigabit gigabyte gram hectare "
    "hour inch kilobit kilobyte kilogram kilometer liter megabit megabyte meter microsecond mile mile-scandinavian "
    "milliliter millimeter millisecond minute month nanosecond ounce percent petabyte pound second stone terabit "
    "terabyte week yard year"
).split()
COMPOUND_UNITS = ("mile-per-hour", "kilometer-per-hour", "meter-per-second", "mile-per-gallon", "liter-per-kilometer")


def tables(babel: Path, zoneinfo: Path, allkeys: Path) -> bytes:
    """`babel`: Babel's package folder; `zoneinfo`: compiled zones and `tzdata.zi`; `allkeys`: the collation table."""
    world = _load(babel / "global.dat")
    pieces: list[bytes] = [b"", _order(allkeys), b"", b"", b""]
    index: Tree = {"locales": {}}

    def add(piece: bytes) -> int:
        pieces.append(piece)
        return len(pieces) - 1

    for language, (base, names, regions) in _languages(babel, world).items():
        index["locales"][language] = [add(_json(base)), add(_json(names)), add(_lines(regions)), " ".join(regions)]
    zones, index["deltas"] = _zones(zoneinfo)
    index["firstZone"] = len(pieces)
    pieces += [text.encode() for _, text in zones]
    known = {name for spellings, _ in zones for name in spellings}
    aliases = {**world["zone_aliases"], "Antarctica/South_Pole": "Antarctica/McMurdo"}
    usual = ((_spelled(aliases.get(name, name)), name) for name in known - OWN_ZONES)
    metas = (
        (meta, _spelled(zone))
        for zone, meta in {**world["meta_zones"], **META_ZONES}.items()
        if zone in known - OWN_ZONES
    )
    pieces[2] = _lists((str(place), name) for place, (spellings, _) in enumerate(zones) for name in spellings)
    pieces[3] = _lists(sorted((name, other) for name, other in usual if name != other))
    pieces[4] = _lists(sorted(metas))
    index["fractions"] = {code: f[0] for code, f in world["currency_fractions"].items() if f[0] != 2}
    index["currencies"] = " ".join(sorted(_tenders(world) | LISTED_CURRENCIES))
    pieces[0] = _json(index)
    pieces = [_packed(piece) for piece in pieces]
    at, directory = 8 + 8 * len(pieces), b""
    for piece in pieces:
        directory += struct.pack("<II", at, len(piece))
        at += len(piece)
    return struct.pack("<II", at, len(pieces)) + directory + b"".join(pieces)


def _tenders(world: Tree) -> set[str]:
    """The currencies that are legal tender of a territory, or were a short time ago."""
    periods = (period for periods in world["territory_currencies"].values() for period in periods)
    return {code for code, _, end, tender in periods if tender and (end is None or end[0] >= LAST_TENDER)}


def _lines(trees: Tree) -> bytes:
    """One tree a line behind its name, so that one is read without the others."""
    return b"".join(f"\n{name}\t".encode() + _json(tree) for name, tree in trees.items()) + b"\n"


def _packed(data: bytes) -> bytes:
    """`length u32`, then packed: each step a byte with two counts, literal bytes, and a copy of earlier ones.

    The high half of the byte counts literals, the low half copied bytes less 4; 15 goes on in the next bytes, up to one
    that is below 255. A copy begins so many bytes back as the two bytes say. `unpack` in intl.c reads this.
    """
    out = bytearray(struct.pack("<I", len(data)))
    seen: dict[bytes, list[int]] = {}
    at = literal = 0

    def step(distance: int, copied: int) -> None:
        counts = (at - literal, max(0, copied - 4))
        out.append(min(counts[0], 15) << 4 | min(counts[1], 15))
        out.extend(_rest(counts[0]))
        out.extend(data[literal:at])
        if copied:
            out.extend(struct.pack("<H", distance) + _rest(counts[1]))

    while at < len(data):
        start, length = _longest(data, at, seen.get(data[at : at + 4], ()))
        if length >= 5:
            step(at - start, length)
        for place in range(at, at + (length if length >= 5 else 1)):
            recent = seen.setdefault(data[place : place + 4], [])
            recent.append(place)
            del recent[:-24]
        at += length if length >= 5 else 1
        literal = at if length >= 5 else literal
    step(0, 0)
    return bytes(out)


def _rest(count: int) -> bytes:
    return b"" if count < 15 else b"\xff" * ((count - 15) // 255) + bytes([(count - 15) % 255])


def _longest(data: bytes, at: int, places: Iterable[int]) -> tuple[int, int]:
    best, longest = 0, 0
    for place in places:
        if at - place > 0xFFFF or data[place + longest : place + longest + 1] != data[at + longest : at + longest + 1]:
            continue
        length = 0
        while at + length < len(data) and data[place + length] == data[at + length]:
            length += 1
        if length > longest:
            best, longest = place, length
    return best, longest


def _spelled(zone: str) -> str:
    return SPELLINGS.get(zone, zone)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _lists(pairs: Iterable[tuple[str, str]]) -> bytes:
    """Names by their keys, as lines `key TAB " name name "`."""
    groups: dict[str, list[str]] = {}
    for key, name in pairs:
        groups.setdefault(key, []).append(name)
    return "".join(f"\n{key}\t {' '.join(names)} " for key, names in groups.items()).encode()


# --- locales ---


class _Record:
    """Stands for every class of Babel's: only its state is wanted."""

    state: _Node = None

    def __init__(self, *arguments: _Node) -> None:
        self.arguments = arguments

    def __setstate__(self, state: _Node) -> None:
        self.state = state[1] if isinstance(state, tuple) and len(state) == 2 and state[0] is None else state


class _Alias(_Record):
    @property
    def path(self) -> tuple[_Node, ...]:
        return tuple(self.state["keys"])


class _Reader(pickle.Unpickler):
    """Reads Babel's data without running code of its own choice: every class is one of the two above."""

    def find_class(self, module: str, name: str) -> _Node:
        if module == "copyreg" and name == "_reconstructor":
            return lambda kind, _base, _state: kind.__new__(kind)
        if not module.startswith("babel.") and (module, name) not in {("datetime", "date"), ("builtins", "object")}:
            raise pickle.UnpicklingError(f"{module}.{name} is not expected in locale data")
        return _Alias if name == "Alias" else object if name == "object" else _Record


def _load(path: Path) -> Tree:
    with path.open("rb") as file:
        tree: Tree = _Reader(file).load()
    return tree


def _merge(under: Tree, over: Tree) -> Tree:
    """`over` laid over `under`. An alias with own entries becomes a pair of both."""
    merged = dict(under)
    for key, value in over.items():
        if value is None:
            continue
        below = merged.get(key)
        if isinstance(value, dict):
            if isinstance(below, _Alias):
                value = (below, value)
            elif isinstance(below, tuple):
                value = (below[0], _merge(below[1], value))
            else:
                value = _merge(below or {}, value)
        merged[key] = value
    return merged


def _resolved(root: Tree, node: _Node) -> _Node:
    if isinstance(node, _Alias):
        target: _Node = root
        for key in node.path:
            target = _resolved_once(root, target)[key]
        return _resolved(root, target)
    if isinstance(node, tuple):
        if isinstance(node[0], _Alias):
            return {**_resolved(root, node[0]), **_resolved(root, node[1])}
        return list(node)
    if isinstance(node, dict):
        return {key: _resolved(root, value) for key, value in node.items()}
    return node


def _resolved_once(root: Tree, node: _Node) -> _Node:
    return _resolved(root, node) if isinstance(node, (_Alias, tuple)) else node


def _languages(babel: Path, world: Tree) -> dict[str, tuple[Tree, Tree, Tree]]:
    """Each language as its own data, its long lists of names, and what its regions change (by tag, parents first)."""
    folder = babel / "locale-data"
    merged: dict[str, Tree] = {"root": _load(folder / "root.dat")}

    def parent(name: str) -> str:
        return str(world["parent_exceptions"].get(name) or (name.rpartition("_")[0] if "_" in name else "root"))

    def merge(name: str) -> Tree:
        if name not in merged:
            merged[name] = _merge(merge(parent(name)), _load(folder / f"{name}.dat"))
        return merged[name]

    def locale(name: str) -> Tree:
        language = name.split("_")[0]
        tree = _patched(_locale(_resolved(merge(name), merge(name)), language), PATCHES.get(language, {}))
        return _patched(tree, PATCHES.get(name, {}))

    languages = {}
    for language in LANGUAGES:
        trees = {language: locale(language)}
        regions: Tree = {}
        names = [path.stem for path in folder.glob(f"{language}_*.dat")]
        for name in sorted(filter(_is_carried, names), key=_parents_first):
            trees[name] = locale(name)
            if name == "en_CA":  # the source has short names of zones that V8 does not have
                trees[name]["metaZones"] = trees[language]["metaZones"]
            above = parent(name) if parent(name) in trees else language
            regions[name.replace("_", "-")] = {"parent": above.replace("_", "-"), **_changes(trees[above], trees[name])}
        base = trees[language]
        languages[language] = (
            {key: value for key, value in base.items() if key not in NAMES},
            {key: base[key] for key in NAMES if key in base},
            regions,
        )
    return languages


def _is_carried(name: str) -> bool:
    english = name.startswith("en_") and name not in LEFT_OUT
    return name in REGIONS or (english and re.fullmatch(r"[a-z]+_([A-Z]{2}|[0-9]{3})", name) is not None)


def _patched(tree: Tree, patch: Tree) -> Tree:
    patched = {**tree, **{k: _patched(tree.get(k, {}), v) if isinstance(v, dict) else v for k, v in patch.items()}}
    return {key: value for key, value in patched.items() if value is not None}


def _parents_first(name: str) -> tuple[bool, bool, str]:
    return name.partition("_")[2] not in {"001", "419"}, name.partition("_")[2] not in {"150", "PT"}, name


def _changes(before: Tree, after: Tree) -> Tree:
    changed: Tree = {key: None for key in before if key not in after}
    for key, value in after.items():
        if key not in before:
            changed[key] = value
        elif isinstance(value, dict) and isinstance(before[key], dict):
            if below := _changes(before[key], value):
                changed[key] = below
        elif value != before[key]:
            changed[key] = value
    return changed


def _locale(d: Tree, language: str) -> Tree:
    """What the guest carries of one locale."""
    symbols = d["number_symbols"]["latn"]
    tree: Tree = {
        "symbols": {k: symbols[k] for k in ("decimal", "group", "percentSign", "plusSign", "minusSign", "exponential")},
        "patterns": {
            "decimal": _number(d["decimal_formats"][None]),
            "percent": _number(d["percent_formats"][None]),
            "currency": _number(d["currency_formats"]["standard"]),
            "accounting": _number(d["currency_formats"]["accounting"]),
        },
        "compact": {
            "short": _compact(d["compact_decimal_formats"]["short"]),
            "long": _compact(d["compact_decimal_formats"].get("long") or d["compact_decimal_formats"]["short"]),
            "currency": _compact(d["compact_currency_formats"]["short"]),
        },
        "currencies": {code: s for code, s in d["currency_symbols"].items() if s != code},
        "plural": _plural(d["plural_form"]),
        "ordinal": _plural(d["ordinal_form"]),
        "months": _names(d["months"], range(1, 13)),
        "days": _names(d["days"], (6, 0, 1, 2, 3, 4, 5)),
        "eras": {width: [names[0], names[1]] for width, names in d["eras"].items()},
        "periods": _periods(d["day_periods"]),
        "periodRules": _period_rules(d["day_period_rules"].get(None, {})),
        "date": [_pattern(d["date_formats"][style]) for style in ("full", "long", "medium", "short")],
        "time": [_pattern(d["time_formats"][style]) for style in ("full", "long", "medium", "short")],
        "glue": [_pattern(d["datetime_formats"][style]) for style in ("full", "long", "medium", "short")],
        "atTime": [
            f"{{1}} '{AT[language, style]}' {{0}}"
            if (language, style) in AT
            else _pattern(d["datetime_formats"][style])
            for style in ("full", "long", "medium", "short")
        ],
        "skeletons": {
            key: _narrowed(_pattern(p))
            for key, p in d["datetime_skeletons"].items()
            if not re.search("Q|w|W|Y|ddd|yy", key)
        },
        "intervals": {
            key or "": {field: "\0".join(p) for field, p in value.items()} if key else value
            for key, value in d["interval_formats"].items()
        },
        "lists": {
            key + width: [_list_part(d["list_patterns"], key, width, part) for part in ("start", "middle", "end", "2")]
            for key in ("standard", "or", "unit")
            for width in ("", "-short", "-narrow")
        },
        "relative": {
            unit + width: _relative(d["date_fields"], unit, width)
            for unit in ("year", "quarter", "month", "week", "day", "hour", "minute", "second")
            for width in ("", "-short", "-narrow")
        },
        "week": [(d["week_data"]["first_day"] + 1), d["week_data"]["min_days"]],
    }
    if language == FULL:
        tree["units"] = _units(d)
        tree["metaZones"] = {
            zone: {width: _named(names) for width, names in widths.items()} for zone, widths in d["meta_zones"].items()
        }
        tree["zoneNames"] = {
            _spelled(zone): {width: _named(names[width]) for width in ("short", "long") if width in names}
            for zone, names in d["time_zones"].items()
            if set(names) & {"short", "long"}
        }
        tree["currencyNames"] = {
            code: [names["one"], names["other"]]
            for code, names in d["currency_names_plural"].items()
            if "one" in names and not re.search(r"\d{4}", names["other"])
        }
        tree["currencyTitles"] = {
            code: name for code, name in d["currency_names"].items() if code in tree["currencyNames"]
        }
    return tree


def _named(names: Tree) -> Tree:
    """The names of a zone that are there: "∅∅∅" says that there is none."""
    return {kind: name for kind, name in names.items() if kind != "generic" and name != "∅∅∅"}


def _list_part(lists: Tree, key: str, width: str, part: str) -> str:
    """One pattern of a list, or that of the next wider list, as CLDR's root inherits them."""
    wider = {"": ("",), "-short": ("-short", ""), "-narrow": ("-narrow", "-short", "")}[width]
    keys = [key + w for w in (*wider, "-short")] + ["standard" + w for w in wider]
    return str(next(lists[k][part] for k in keys if part in lists.get(k, {})))


def _relative(fields: Tree, unit: str, width: str) -> list[Tree]:
    """The patterns for the past and for the future; a narrow form inherits the wider one."""
    merged: Tree = {}
    for key in {"": [unit], "-short": [unit, unit + "-short"]}.get(width, [unit, unit + "-short", unit + "-narrow"]):
        merged |= fields.get(key, {})
    return [merged["past"], merged["future"]]


def _pattern(value: _Node) -> str:
    return value if isinstance(value, str) else str(value.state["pattern"])


def _narrowed(pattern: str) -> str:
    """With the space before AM that the styles of the time have too, as V8 writes it."""
    return re.sub(r"([hK](?::mm(?::ss)?)?) a", "\\1\u202fa", pattern)


def _number(value: _Node) -> str:
    return str(value.state["pattern"])


def _compact(forms: Tree) -> Tree:
    """By plural category, the patterns of 10^3 to 10^14."""
    return {
        count: [_number(p.get(str(10**n)) or forms["other"][str(10**n)]) for n in range(3, 15)]
        for count, p in forms.items()
    }


def _plural(rule: _Node) -> str:
    """The rules in the syntax of CLDR, such as `one: i = 1 and v = 0`."""
    return "; ".join(f"{tag}: {_condition(node)}" for tag, node in rule.state)


def _condition(node: _Node) -> str:
    kind, rest = node
    if kind in {"and", "or"}:
        return f" {kind} ".join(map(_condition, rest))
    if kind == "not":
        return _condition(rest[0]).replace(" = ", " != ", 1)
    method, left, (_, ranges) = rest
    if method not in {"in", "within", "is"}:
        raise ValueError(f"a plural rule with {method}")
    spans = (f"{low[1][0]}..{high[1][0]}" if low != high else str(low[1][0]) for low, high in ranges)
    return f"{_operand(left)} = {','.join(spans)}"


def _operand(node: _Node) -> str:
    kind, rest = node
    return f"{_operand(rest[0])} % {rest[1][1][0]}" if kind == "mod" else str(kind)


def _names(d: Tree, keys: Iterable[int]) -> Tree:
    return {
        f"{form}-{width}": [names[key] for key in keys]
        for form, widths in d.items()
        for width, names in widths.items()
        if width != "short" and len(names) >= 7
    }


def _periods(d: Tree) -> Tree:
    return {f"{form}-{width}": names for form, widths in d.items() for width, names in widths.items() if names}


def _period_rules(d: Tree) -> list[list[_Node]]:
    """Each flexible period of the day as its name, first minute and end; `noon` and `midnight` end where they begin."""
    rules = []
    for name, spans in d.items():
        for span in spans:
            start = span.get("from", span.get("at"))
            rules.append([name, start // 60, span.get("before", span.get("at")) // 60])
    return rules


def _units(d: Tree) -> Tree:
    found: Tree = {}
    for key, widths in d["unit_patterns"].items():
        name = key.partition("-")[2]
        if name in UNITS or name in COMPOUND_UNITS:
            found[name] = {
                w: [p.get("one", p["other"]), p["other"], p.get("per")]
                if p.get("per")
                else [p.get("one", p["other"]), p["other"]]
                for w, p in widths.items()
                if "other" in p
            }
    per = d["compound_unit_patterns"]["per"]
    found["per"] = {width: p["compound"] if isinstance(p, dict) else p for width, p in per.items()}
    return found


# --- time zones ---


def _zones(folder: Path) -> tuple[list[tuple[list[str], str]], list[int]]:
    """Each zone as its names and its text, and the usual distances between transitions in seconds.

    The text is `types;transitions;rule`: types `offset,dst|...` in seconds; a transition one character for its type and
    one for its distance from the one before (`}` and a base 36 number with `.` behind it for an unusual one); the rule
    is the POSIX TZ string that holds after the last (RFC 9636).
    """
    names: dict[bytes, list[str]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and (data := path.read_bytes()).startswith(b"TZif") and name != "Factory":
            names.setdefault(data, []).append(name)
    parsed = [(spellings, _zone(data)) for data, spellings in names.items()]
    counts = Counter(
        after[0] - before[0] for _, (_, moves, _) in parsed for before, after in zip(moves, moves[1:], strict=False)
    )
    usual = [delta for delta, _ in counts.most_common(88)]
    letters = {delta: chr(36 + place) for place, delta in enumerate(usual)}  # "$" to "{"
    zones = []
    for spellings, (first, moves, rule) in parsed:
        types, text, before = [first], "", 0
        for time, kind in moves:
            if kind not in types:
                types.append(kind)
            text += chr(36 + types.index(kind)) + letters.get(time - before, f"}}{_base36(time - before)}.")
            before = time
        zones.append((spellings, ";".join(("|".join(f"{offset},{int(dst)}" for offset, dst in types), text, rule))))
    return zones, usual


def _base36(number: int) -> str:
    sign, number, text = "-" if number < 0 else "", abs(number), ""
    while number or not text:
        number, digit = divmod(number, 36)
        text = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + text
    return sign + text


_Kind: TypeAlias = tuple[int, bool]  # the offset in seconds, and whether it is daylight time


def _zone(data: bytes) -> tuple[_Kind, list[tuple[int, _Kind]], str]:
    """The first kind of time, each transition with the kind after it, the rule for later (RFC 9636, second block)."""

    def header(at: int) -> tuple[int, ...]:
        return struct.unpack(">6I", data[at + 20 : at + 44])

    utc, std, leaps, times, types, chars = header(0)
    second = 44 + times * 5 + types * 6 + chars + leaps * 8 + std + utc
    utc, std, leaps, times, types, chars = header(second)
    at = second + 44
    moments = struct.unpack_from(f">{times}q", data, at)
    which = data[at + 8 * times : at + 9 * times]
    at += 9 * times
    kinds = [
        (int(offset), bool(dst)) for offset, dst in (struct.unpack_from(">iB", data, at + 6 * n) for n in range(types))
    ]
    at += 6 * types + chars + leaps * 12 + std + utc
    moves: list[tuple[int, _Kind]] = []
    previous, negative = kinds[0], False
    for moment, (offset, dst) in zip(moments, (kinds[n] for n in which), strict=True):
        # A "daylight" time behind its standard time, as Ireland's in winter: CLDR names the two the other way round.
        if dst and offset < previous[0]:
            negative, kind = True, (offset, False)
        else:
            kind = (offset, dst or (negative and offset > previous[0]))
            negative = False
        moves.append((moment, kind))
        previous = (offset, dst)
    return kinds[0], moves, data[at:].decode().strip()


# --- the order of characters ---

# The blocks whose order is carried; of Han characters it is that of their numbers, for which no table is needed.
BLOCKS = (
    (0x0000, 0x058F), (0x0590, 0x06FF), (0x10A0, 0x11FF), (0x1D00, 0x1FFF), (0x2000, 0x22FF), (0x2300, 0x23FF),
    (0x2460, 0x27BF), (0x2C60, 0x2C7F), (0x3000, 0x30FF), (0xA720, 0xA7FF), (0xFB00, 0xFB06), (0xFF01, 0xFFEF),
    (0x1F300, 0x1F64F), (0x1F680, 0x1F6FF), (0x1F900, 0x1F9FF),
)  # fmt: skip
# Characters whose place is another one in CLDR's root.
MOVED = {
    0x1A6, 0x2B9, 0x374, 0x2187, 0x5F3, 0x5F4, *range(0x675, 0x679), 0x1D89, 0x1D98, 0x1DE3, 0x20A7, 0x2188,
    *range(0x2488, 0x249C), *range(0x3038, 0x303B),
    0xFF5F, 0xFF60,
}  # fmt: skip
_Element: TypeAlias = tuple[int, int, int, int]  # group, primary, secondary and tertiary weight


def _order(allkeys: Path) -> bytes:
    """The order of CLDR's root: that of the Unicode Collation Algorithm with its symbols grouped (UTS 35, part 5).

    `ranges u16 | characters u16 | elements u16 | last punctuation u16`, and in columns, which pack well: the first
    character of each range (u32), how many there are in it (u16); of each character how many elements it has (u8); of
    each element the primary weight's low and high byte, the secondary and the tertiary weight.
    """
    found: dict[int, list[_Element]] = {}
    for line in allkeys.read_text(encoding="utf-8").splitlines():
        match = re.match(r"([0-9A-F]+)\s*;\s*((?:\[[.*][0-9A-F.]+\])+)", line)
        if match and any(low <= int(match[1], 16) <= high for low, high in BLOCKS):
            elements = re.findall(r"\[[.*](\w+)\.(\w+)\.(\w+)\]", match[2])
            weights = [(int(p, 16), int(s, 16), int(t, 16)) for p, s, t in elements]
            found[int(match[1], 16)] = [(0, p, s, t) for p, s, t in weights]
    groups = _groups(found)
    found = {c: elements for c, elements in found.items() if c not in MOVED}
    found = {c: [(groups.get(p, 5), p, s, t) for _, p, s, t in elements] for c, elements in found.items()}
    primaries = sorted({(group, p) for elements in found.values() for group, p, _, _ in elements if p})
    rank = {p: place for place, (_, p) in enumerate(primaries, 1)}
    secondaries = {
        s: n for n, s in enumerate(sorted({s for elements in found.values() for _, _, s, _ in elements} | {0}))
    }
    table: list[_Element] = []
    ranges: list[list[int]] = []
    counts = bytearray()
    for character, elements in sorted(found.items()):
        if ranges and character == sum(ranges[-1]):
            ranges[-1][1] += 1
        else:
            ranges.append([character, 1])
        counts.append(len(elements))
        table += [(rank.get(p, 0), 0, secondaries[s], t) for _, p, s, t in elements]
    last = max(rank[p] for group, p in primaries if group <= 1)
    columns = ([p & 255 for p, _, _, _ in table], [p >> 8 for p, _, _, _ in table], [s for _, _, s, _ in table])
    return b"".join((
        struct.pack("<HHHH", len(ranges), len(found), len(table), last),
        *(struct.pack("<I", first) for first, _ in ranges),
        *(struct.pack("<H", count) for _, count in ranges),
        counts,
        *map(bytes, columns),
        bytes(t for _, _, _, t in table),
    ))  # fmt: skip


def _groups(found: dict[int, list[_Element]]) -> dict[int, int]:
    """The group of each primary weight: 0 spaces, 1 punctuation, 2 symbols, 3 currency signs, 4 digits, 5 letters."""
    groups: dict[int, int] = {}
    for character, elements in found.items():
        if len(elements) != 1 or not elements[0][1] or elements[0][3] != 2:
            continue
        kind = unicodedata.category(chr(character))
        group = {"Z": 0, "C": 0, "P": 1, "S": 2, "N": 4}.get(kind[0], 5)
        groups.setdefault(elements[0][1], 3 if kind == "Sc" else group)
    return groups
