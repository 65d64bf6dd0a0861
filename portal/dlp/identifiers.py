"""Looks for cards, bank accounts, national identifiers, e-mail addresses, IP addresses and telephone numbers in a text.

Every candidate has the shape of its kind and stands alone: no letter, digit or longer number goes on beside it. Then
its check digits decide, where it has any. Kinds without enough check digits need a word before them that names them.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain

from portal.dlp import numbers
from portal.dlp.expressions import Compiled
from portal.dlp.findings import Confidence
from portal.dlp.match import Match
from portal.dlp.names import FINANCIAL, NATIONAL, PERSONAL

_NEAR = 48
"""So many bytes before a number may have the word that names it."""


@dataclass(frozen=True, slots=True)
class NumberKind:
    """A kind of number: its rule, the check of the digits and letters, and the words of which one must be near, in
    lower case, where the check alone is not enough."""

    profile: str
    rule: str
    confidence: Confidence
    check: Callable[[str], bool]
    words: re.Pattern[bytes] | None = None


def _words(*words: str) -> re.Pattern[bytes]:
    return re.compile(rb"(?<![a-z])(?:" + "|".join(words).encode() + rb")(?![a-z])")


_CARD = NumberKind(FINANCIAL, "card", "high", numbers.card)
# With twelve to fourteen digits, or more than sixteen, other numbers are as long and the issuers' ranges are wider.
_CARD_OF_LENGTH = NumberKind(FINANCIAL, "card", "medium", numbers.card)
_IBAN = NumberKind(FINANCIAL, "iban", "high", numbers.iban)
_SSN = NumberKind(NATIONAL, "us-ssn", "high", numbers.us_ssn)
_SSN_NAMED = NumberKind(NATIONAL, "us-ssn", "medium", numbers.us_ssn, _words("ssn", "social security", "tax ?id"))
_SIN = NumberKind(
    NATIONAL, "ca-sin", "medium", numbers.ca_sin, _words("sin", "social insurance", "nas", "assurance sociale")
)
_BSN = NumberKind(NATIONAL, "nl-bsn", "medium", numbers.nl_bsn, _words("bsn", "burgerservicenummer", "sofi"))
_PESEL = NumberKind(NATIONAL, "pl-pesel", "medium", numbers.pl_pesel, _words("pesel"))
_STEUER = NumberKind(
    NATIONAL,
    "de-steuer-id",
    "medium",
    numbers.de_steuer_id,
    _words("steuer[a-z-]*", "idnr", "tin", r"tax (?:id|number)"),
)
_CPF_NAMED = NumberKind(NATIONAL, "br-cpf", "medium", numbers.br_cpf, _words("cpf"))
_AADHAAR = NumberKind(NATIONAL, "in-aadhaar", "medium", numbers.in_aadhaar, _words("aadhaar", "aadhar", "uidai", "uid"))
_NIR = NumberKind(NATIONAL, "fr-nir", "high", numbers.fr_nir)
_SPANISH = _words("dni", "nif", "nie", "documento", "identidad")
_AHV = NumberKind(NATIONAL, "ch-ahv", "high", numbers.ch_ahv)

_PERSONNUMMER_WITH_CENTURY = NumberKind(
    NATIONAL, "se-personnummer", "high", lambda digits: numbers.se_personnummer(digits[2:])
)

# By the shape of a candidate: every digit is 0, every separator but a stop is a dash. Bare digits are by length.
_SHAPES: dict[str, tuple[NumberKind, ...]] = {
    "000-00-0000": (_SSN,),
    "000-000-000": (_SIN,),
    "0000-0000-0000": (_CARD_OF_LENGTH, _AADHAAR),
    "0000-0000-0000-0000": (_CARD,),
    "0000-0000-0000-0": (_CARD_OF_LENGTH,),
    "0000-0000-0000-0000-000": (_CARD,),
    "0000-000000-00000": (_CARD,),
    "0000-000000-0000": (_CARD,),
    "000.000.000-00": (NumberKind(NATIONAL, "br-cpf", "high", numbers.br_cpf),),
    "000.0000.0000.00": (_AHV,),
    "00.00.00-000.00": (NumberKind(NATIONAL, "be-national", "high", numbers.be_national),),
    "0-00-00-00-000-000-00": (_NIR,),
    "000000-0000": (NumberKind(NATIONAL, "se-personnummer", "medium", numbers.se_personnummer),),
    "00000000-0000": (_PERSONNUMMER_WITH_CENTURY,),
}
_BARE: dict[int, tuple[NumberKind, ...]] = {
    9: (_SSN_NAMED, _SIN, _BSN),
    11: (_PESEL, _STEUER, _CPF_NAMED),
    12: (_CARD_OF_LENGTH, _AADHAAR),
    13: (_CARD_OF_LENGTH, NumberKind(NATIONAL, "ch-ahv", "medium", numbers.ch_ahv)),
    14: (_CARD_OF_LENGTH,),
    15: (_CARD, NumberKind(NATIONAL, "fr-nir", "medium", numbers.fr_nir)),
    16: (_CARD,),
    17: (_CARD_OF_LENGTH,),
    18: (NumberKind(NATIONAL, "cn-resident", "high", numbers.cn_resident), _CARD_OF_LENGTH),
    19: (_CARD_OF_LENGTH,),
}
# By the shape of a candidate with letters, in which every letter is A.
_LETTERED: dict[str, NumberKind] = {
    "00000000A": NumberKind(NATIONAL, "es-dni", "medium", numbers.es_dni, _SPANISH),
    "A0000000A": NumberKind(NATIONAL, "es-nie", "medium", numbers.es_dni, _SPANISH),
    "AAAAAA00A00A000A": NumberKind(NATIONAL, "it-codice-fiscale", "high", numbers.it_codice_fiscale),
    "AA000000A": NumberKind(
        NATIONAL,
        "uk-nino",
        "medium",
        numbers.uk_nino,
        _words("nino", "ni number", "national insurance", "ni no", "insurance"),
    ),
    "00000000000000000A": NumberKind(NATIONAL, "cn-resident", "high", numbers.cn_resident),
}
_GROUPED_NINO = NumberKind(NATIONAL, "uk-nino", "high", numbers.uk_nino)

# One pass finds all of them. Each begins and ends at the boundary of a word, and no count is large: patterns with many
# counts that may begin anywhere cost seconds on a megabyte of digits.
_NUMBERS = (
    r"(?i)\b(?:"
    + "|".join(
        (
            r"\d{17}X",
            r"\d{8}[A-Z]",
            r"\d{4}(?:[ -]\d{4}){2,}(?:[ -]\d{1,3})?",
            r"\d{4}[ -]\d{6}[ -]\d{4,5}",
            r"\d{3}[ -]\d{2}[ -]\d{4}",
            r"\d{3}[ -]\d{3}[ -]\d{3}",
            r"\d{3}\.\d{3}\.\d{3}-\d{2}",
            r"756\.\d{4}\.\d{4}\.\d{2}",
            r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}",
            r"[12] \d{2} \d{2} \d{2} \d{3} \d{3} \d{2}",
            r"\d{6}(?:\d{2})?[-+]\d{4}",
            r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]",
            r"\d{9,}",
            rf"(?:{'|'.join(numbers.IBAN_COUNTRIES)})\d{{2}}(?: ?[A-Z0-9]{{4}}){{2,7}}(?: ?[A-Z0-9]{{1,3}})?",
            r"[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]",
            r"[A-Z]{2} ?\d{2} ?\d{2} ?\d{2} ?[A-D]",
            r"[XYZ]\d{7}[A-Z]",
        )
    )
    + r")\b"
)
_LONGEST_NUMBER = 27
_SHAPE = {**dict.fromkeys(map(ord, "123456789"), "0"), ord(" "): "-", ord("+"): "-"}
_LETTERED_SHAPE = {**_SHAPE, **dict.fromkeys(range(ord("A"), ord("Z") + 1), "A")}
_HETU = NumberKind(NATIONAL, "fi-hetu", "high", numbers.fi_hetu)
_HETU_SHAPE = re.compile(r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]", re.IGNORECASE)

# Lengths are checked afterwards, see above.
_EMAIL = r"[A-Za-z0-9._%+'-]+@(?:[A-Za-z0-9-]+\.)+[A-Za-z0-9-]+"
_LONGEST_EMAIL, _LONGEST_LOCAL, _LONGEST_LABEL = 254, 64, 63  # RFC 5321, section 4.5.3.1; RFC 1035, section 2.3.4
_TOP_LEVEL = re.compile(rb"[A-Za-z]{2,24}|xn--[a-z0-9-]{2,59}")
_IPV4 = r"\b\d{1,3}(?:\.\d{1,3}){3,}\b"
# Two colons together, or three of them: RFC 4291, section 2.2. A time of day has two apart.
_IPV6 = r"[0-9A-Fa-f]*:(?::|[0-9A-Fa-f]+:[0-9A-Fa-f]*:)[0-9A-Fa-f:]*"
# ITU-T E.164: a plus, 8 to 15 digits with the country's. The North American plan: area and exchange begin with 2 to 9.
_PHONE = (
    r"\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){1,4}"
    r"|(?:\b1[ .-])?(?:\([2-9]\d{2}\) ?|\b[2-9]\d{2}[.-])[2-9]\d{2}[.-]\d{4}"
)
_PERSONAL = "|".join((_EMAIL, _IPV4, _IPV6, _PHONE))
_WORD_BYTES = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
_DIGITS = frozenset(b"0123456789")


_KINDS = (*chain(*_SHAPES.values(), *_BARE.values()), *_LETTERED.values(), _IBAN, _HETU)
RULES_OF: Mapping[str, frozenset[str]] = {
    FINANCIAL: frozenset(kind.rule for kind in _KINDS if kind.profile == FINANCIAL),
    NATIONAL: frozenset(kind.rule for kind in _KINDS if kind.profile == NATIONAL),
    PERSONAL: frozenset({"email", "ip-address", "phone"}),
}
"""The names of the rules of each profile."""
RULES = frozenset(chain(*RULES_OF.values()))

Judge = Callable[[bytes, int, int], Iterator[Match]]


class Identifiers:
    """Looks for the kinds of the profiles that it is made for. Threads may share it."""

    def __init__(self, profiles: frozenset[str], compiled: Callable[[str], Compiled]) -> None:
        self._profiles = profiles
        self._numbers = compiled(_NUMBERS)
        self._personal = compiled(_PERSONAL)

    def matches(self, text: bytes) -> Iterator[Match]:
        """The matches in a text: numbers, then what belongs to a person."""
        if self._profiles & {FINANCIAL, NATIONAL}:
            yield from self._found(text, self._numbers, _number)
        if PERSONAL in self._profiles:
            yield from self._found(text, self._personal, _personal)

    def _found(self, text: bytes, pattern: Compiled, judge: Judge) -> Iterator[Match]:
        for hit in pattern.finditer(text):
            for match in judge(text, *hit.span()):
                if match.profile in self._profiles:
                    yield match
                    break


def _stands_alone(text: bytes, start: int, end: int) -> bool:
    """Whether no word and no number goes on beside these bytes: not `x41...`, `0.41...`, `41...-1`.

    Letters beyond ASCII may stand there, because many scripts put no space before a number.
    """
    before = text[start - 1] if start else 0x20
    after = text[end] if end < len(text) else 0x20
    if before in _WORD_BYTES or after in _WORD_BYTES:
        return False
    if before in b".-" and start > 1 and text[start - 2] in _DIGITS:
        return False
    return not (after in b".-" and end + 1 < len(text) and text[end + 1] in _DIGITS)


def _named(text: bytes, start: int, kind: NumberKind) -> bool:
    """Whether one of the words of the kind stands before the number."""
    if kind.words is None:
        return True
    before = text[max(start - _NEAR, 0) : start].lower().replace(b"_", b" ")
    return kind.words.search(before) is not None


def _match(kind: NumberKind, start: int, end: int, form: str) -> Match:
    return Match(kind.profile, kind.rule, kind.confidence, start, end, form.encode())


def _number(text: bytes, start: int, end: int) -> Iterator[Match]:
    if text[start] not in _DIGITS:
        yield from _by_letters(text, start, end)
        return
    if end - start > _LONGEST_NUMBER:
        yield from _in_groups(text, start, end)
        return
    if not _stands_alone(text, start, end):
        return
    written = text[start:end].decode()
    if _HETU_SHAPE.fullmatch(written) and numbers.fi_hetu((written[:6] + written[7:]).upper()):
        yield _match(_HETU, start, end, written.upper())
    if written.isdigit():
        kinds, form = _BARE.get(len(written), ()), written
    elif written[-1].isalpha():
        lettered = _LETTERED.get("0" * (len(written) - 1) + "A")
        kinds, form = (lettered,) if lettered is not None else (), written.upper()
    elif " " in written and "-" in written:
        return
    else:
        shape = written.translate(_SHAPE)
        kinds, form = _SHAPES.get(shape, ()), re.sub(r"\D", "", written)
    for kind in kinds:
        if kind.check(form) and _named(text, start, kind):
            yield _match(kind, start, end, form)
            return
    if written[4] in " -" and written[9:10] == written[4]:
        yield from _in_groups(text, start, end)


def _in_groups(text: bytes, start: int, end: int) -> Iterator[Match]:
    """The first card of sixteen digits among groups of four, with other groups before or behind it."""
    separators = {*text[start + 4 : end : 5]}
    if len(separators) > 1 or separators & _DIGITS:
        return
    digits = text[start:end].translate(None, b" -").decode()
    for at in range(0, len(digits) - 15, 4):
        if digits[at : at + 4] in numbers.OF_SIXTEEN and numbers.card(form := digits[at : at + 16]):
            first = start + at // 4 * 5
            yield _match(_CARD, first, first + 19, form)
            return


def _by_letters(text: bytes, start: int, end: int) -> Iterator[Match]:
    written = text[start:end].decode()
    form = written.replace(" ", "").upper()
    if length := numbers.iban_length(form[:2]):
        # What follows an account number may look like a part of it: `GB42 NAWI ... 8619 for`.
        cut = _end_of(written, length)
        if cut and numbers.iban(form[:length]) and _stands_alone(text, start, start + cut):
            yield _match(_IBAN, start, start + cut, form[:length])
    if not _stands_alone(text, start, end):
        return
    kind = _LETTERED.get(form.translate(_LETTERED_SHAPE))
    if kind is not None and kind.check(form):
        if kind.rule == "uk-nino" and " " in written:
            kind = _GROUPED_NINO
        if _named(text, start, kind):
            yield _match(kind, start, end, form)


def _end_of(written: str, length: int) -> int:
    """How much of it has so many letters and digits; 0 if it has fewer."""
    count = 0
    for at, character in enumerate(written, 1):
        count += character != " "
        if count == length:
            return at
    return 0


def _personal(text: bytes, start: int, end: int) -> Iterator[Match]:
    written = text[start:end]
    if b"@" in written:
        yield from _email(text, start, end)
    elif b":" in written:
        yield from _ipv6(text, start, end)
    elif written.translate(None, b"0123456789") == b"..." and written[-1] in _DIGITS:
        yield from _ipv4(text, start, end)
    else:
        yield from _phone(text, start, end)


def _email(text: bytes, start: int, end: int) -> Iterator[Match]:
    # A sentence may put a stop or a quote before it, and a dash or another sign behind.
    start += len(text[start:end]) - len(text[start:end].lstrip(b".'-%+"))
    address = text[start:end].rstrip(b"-")
    local, _, domain = address.partition(b"@")
    labels = domain.split(b".")
    if (
        1 <= len(local) <= _LONGEST_LOCAL
        and len(address) <= _LONGEST_EMAIL
        and all(len(label) <= _LONGEST_LABEL and label.strip(b"-") == label for label in labels)
        and _TOP_LEVEL.fullmatch(labels[-1])
    ):
        yield Match(PERSONAL, "email", "high", start, start + len(address), address.lower())


def _ipv4(text: bytes, start: int, end: int) -> Iterator[Match]:
    if not _stands_alone(text, start, end) or text[start - 1 : start] in (b"/", b"v", b"V"):
        return
    yield from _address(text, start, end)


def _ipv6(text: bytes, start: int, end: int) -> Iterator[Match]:
    if _stands_alone(text, start, end):
        yield from _address(text, start, end)


def _address(text: bytes, start: int, end: int) -> Iterator[Match]:
    try:
        address = ipaddress.ip_address(text[start:end].decode())
    except ValueError:
        return
    # An address of a network at home says nothing about anybody, and version numbers look like one.
    confidence: Confidence = "medium" if address.is_global else "low"
    yield Match(PERSONAL, "ip-address", confidence, start, end, address.compressed.encode())


def _phone(text: bytes, start: int, end: int) -> Iterator[Match]:
    if not _stands_alone(text, start, end):
        return
    written = text[start:end].decode()
    digits = re.sub(r"\D", "", written)
    international = written.startswith("+")
    if 8 <= len(digits) <= 15 if international else len(digits) in (10, 11):
        yield Match(PERSONAL, "phone", "medium" if international else "low", start, end, digits.encode())
