"""Numbers that prove themselves: cards, bank accounts and national identifiers, by their published check digits.

Each function takes the digits and letters of a candidate without separators, letters in upper case.
"""

from __future__ import annotations

from datetime import date

# Issuers and lengths, ISO/IEC 7812-1. The ranges are those that the schemes publish: Visa 4; Mastercard 51-55 and
# 2221-2720; American Express 34, 37; Diners Club 30, 36, 38, 39; Discover 6011, 644-649, 65; JCB 35 (it has given out
# 3528-3589), and 2131 and 1800 with 15 digits; UnionPay 62, 81; Maestro 50, 56-58, 63, 67, and 0604 of older lists; Mir
# 2200-2204; Troy 9792; RuPay 60, 82.
_ISSUERS: tuple[tuple[int, int, frozenset[int]], ...] = (
    (4000, 4999, frozenset({13, 16, 19})),
    (5100, 5599, frozenset({16})),
    (2221, 2720, frozenset({16})),
    (3400, 3499, frozenset({15})),
    (3700, 3799, frozenset({15})),
    (3000, 3099, frozenset({14, 16})),
    (3600, 3699, frozenset({14, 16})),
    (3800, 3999, frozenset({14, 16})),
    (6011, 6011, frozenset({16, 19})),
    (6440, 6599, frozenset({16, 19})),
    (3500, 3599, frozenset({16, 19})),
    (2131, 2131, frozenset({15})),
    (1800, 1800, frozenset({15})),
    (6200, 6299, frozenset({16, 17, 18, 19})),
    (8100, 8199, frozenset({16, 17, 18, 19})),
    (5000, 5099, frozenset({12, 13, 15, 16, 19})),
    (5600, 5899, frozenset({12, 13, 15, 16, 19})),
    (6300, 6399, frozenset({12, 13, 15, 16, 19})),
    (6700, 6799, frozenset({12, 13, 15, 16, 19})),
    (604, 604, frozenset({12, 13, 15, 16, 19})),
    (2200, 2204, frozenset({16, 17, 18, 19})),
    (9792, 9792, frozenset({16})),
    (6000, 6099, frozenset({16})),
    (8200, 8299, frozenset({16})),
)

OF_SIXTEEN = frozenset(
    f"{prefix:04}" for first, last, lengths in _ISSUERS if 16 in lengths for prefix in range(first, last + 1)
)
"""The first four digits of cards that have sixteen."""

# The lengths of the IBAN registry (SWIFT, ISO 13616-1), by country.
_IBAN_LENGTHS = {
    **dict.fromkeys("NO".split(), 15),
    **dict.fromkeys("BE".split(), 16),
    **dict.fromkeys("DK FK FI FO GL NL SD".split(), 18),
    **dict.fromkeys("MK SI".split(), 19),
    **dict.fromkeys("AT BA EE KZ LT LU MN XK".split(), 20),
    **dict.fromkeys("CH CR HR LI LV".split(), 21),
    **dict.fromkeys("BG BH DE GB GE IE ME RS VA".split(), 22),
    **dict.fromkeys("AE GI IL IQ OM SO TL".split(), 23),
    **dict.fromkeys("AD CZ ES MD PK RO SA SE SK TN VG".split(), 24),
    **dict.fromkeys("LY PT ST".split(), 25),
    **dict.fromkeys("IS TR".split(), 26),
    **dict.fromkeys("BI DJ FR GR IT MC MR SM".split(), 27),
    **dict.fromkeys("AL AZ BY CY DO GT HU LB NI PL SV".split(), 28),
    **dict.fromkeys("BR EG PS QA UA".split(), 29),
    **dict.fromkeys("JO KW MU YE".split(), 30),
    **dict.fromkeys("MT SC".split(), 31),
    **dict.fromkeys("LC".split(), 32),
    **dict.fromkeys("RU".split(), 33),
}

# The ASCII digit whose value is the sum of the digits of twice the value of this one.
_DOUBLED = bytes(48 + int("0246813579"[byte - 48]) if 48 <= byte <= 57 else byte for byte in range(256))

IBAN_COUNTRIES = tuple(_IBAN_LENGTHS)


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B)."""
    written = digits.encode()
    total = sum(written[::-2]) + sum(written[-2::-2].translate(_DOUBLED))
    return (total - 48 * len(written)) % 10 == 0


def mod_97(text: str) -> int:
    """The remainder by 97 of digits and letters, where A is 10 and Z is 35 (ISO/IEC 7064)."""
    return int("".join(str(int(character, 36)) for character in text)) % 97


def card(digits: str) -> bool:
    """A card of a known issuer, with its length and its check digit."""
    if not luhn(digits):
        return False
    prefix = int(digits[:4])
    return any(first <= prefix <= last and len(digits) in lengths for first, last, lengths in _ISSUERS)


def iban(text: str) -> bool:
    """An international bank account number of a country of the registry, with its length and check digits."""
    if _IBAN_LENGTHS.get(text[:2]) != len(text) or not "02" <= text[2:4] <= "98":
        return False
    return mod_97(text[4:] + text[:4]) == 1


def iban_length(country: str) -> int:
    """How long an IBAN of the country is, 0 for a country without."""
    return _IBAN_LENGTHS.get(country, 0)


def us_ssn(digits: str) -> bool:
    """A social security number that may have been given out (Social Security Administration, POMS RM 10201.035).

    The area is not 000, 666 or 900 and above, the group not 00, the serial number not 0000. It has no check digit.
    Three numbers that advertisements printed are nobody's.
    """
    area, group, serial = digits[:3], digits[3:5], digits[5:]
    printed = ("078051120", "219099999", "457555462")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000" and digits not in printed


def uk_nino(text: str) -> bool:
    """A UK national insurance number (HMRC, NIM39110): two letters, six digits, a suffix from A to D."""
    first, second = text[0], text[1]
    return (
        first not in "DFIQUV"
        and second not in "DFIOQUV"
        and text[:2] not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")
        and text[-1] in "ABCD"
    )


def ca_sin(digits: str) -> bool:
    """A Canadian social insurance number: the first digit neither 0 nor 8, Luhn (Service Canada)."""
    return digits[0] not in "08" and luhn(digits)


def es_dni(text: str) -> bool:
    """A Spanish DNI or NIE: the letter is the number modulo 23 (Ministerio del Interior)."""
    number = {"X": "0", "Y": "1", "Z": "2"}.get(text[0], text[0]) + text[1:-1]
    return text[-1] == "TRWAGMYFPDXBNJZSQVHLCKE"[int(number) % 23]


def it_codice_fiscale(text: str) -> bool:
    """An Italian codice fiscale: the last letter is a check of the fifteen before it (D.M. 23.12.1976)."""
    odd = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)
    total = 0
    for place, character in enumerate(text[:-1]):
        value = int(character) if character.isdigit() else ord(character) - ord("A")
        total += value if place % 2 else odd[value]
    return text[-1] == chr(ord("A") + total % 26)


def fr_nir(digits: str) -> bool:
    """A French NIR: sex, year, month, department, and a key that is 97 minus the rest modulo 97 (INSEE)."""
    month = int(digits[3:5])
    if digits[0] not in "12" or not (1 <= month <= 12 or 20 <= month <= 42 or month >= 50):
        return False
    return int(digits[13:]) == 97 - int(digits[:13]) % 97


def br_cpf(digits: str) -> bool:
    """A Brazilian CPF: two check digits modulo 11 (Receita Federal)."""
    if len(set(digits)) == 1:
        return False
    for place in (9, 10):
        weighed = sum(int(digit) * (place + 1 - at) for at, digit in enumerate(digits[:place]))
        if int(digits[place]) != weighed * 10 % 11 % 10:
            return False
    return True


def cn_resident(text: str) -> bool:
    """A Chinese resident identity number: a date of birth, and a check modulo 11-2 (GB 11643-1999, ISO/IEC 7064)."""
    if not _is_date(text[6:10], text[10:12], text[12:14]) or not "1900" <= text[6:10] <= "2099":
        return False
    total = sum(int(digit) * (1 << (17 - place)) for place, digit in enumerate(text[:17]))
    return text[-1] == "10X98765432"[total % 11]


def ch_ahv(digits: str) -> bool:
    """A Swiss AHV number: 756, and the check digit of EAN-13 (Zentrale Ausgleichsstelle)."""
    total = sum(int(digit) * (3 if place % 2 else 1) for place, digit in enumerate(digits[:12]))
    return digits.startswith("756") and int(digits[12]) == -total % 10


def in_aadhaar(digits: str) -> bool:
    """An Indian Aadhaar number: the first digit from 2 on, the check digit of Verhoeff (UIDAI)."""
    check = 0
    for place, digit in enumerate(reversed(digits)):
        check = _dihedral(check, _permuted(place % 8, int(digit)))
    return digits[0] not in "01" and check == 0


def pl_pesel(digits: str) -> bool:
    """A Polish PESEL: a date of birth, the century in its month, a check modulo 10 (Dz.U. 2010 nr 217 poz. 1427)."""
    century, month = divmod(int(digits[2:4]), 20)
    year = (1900, 2000, 2100, 2200, 1800)[century] + int(digits[:2])
    weights = (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)
    weighed = sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=True))
    return weighed % 10 == 0 and _is_date(str(year), str(month), digits[4:6])


def se_personnummer(digits: str) -> bool:
    """A Swedish personnummer of ten digits: a date of birth (the day plus 60 for a coordination number), Luhn."""
    day = int(digits[4:6])
    return luhn(digits) and _is_date("2000", digits[2:4], str(day - 60 if day > 60 else day))


def fi_hetu(text: str) -> bool:
    """A Finnish personal identity code without its sign: a date of birth, a number, a check modulo 31 (DVV)."""
    known = text[-1] == "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(text[:9]) % 31]
    return known and _is_date("2000", text[2:4], text[:2]) and 2 <= int(text[6:9]) <= 899


def be_national(digits: str) -> bool:
    """A Belgian national number: a key that is 97 minus the rest modulo 97, with a 2 before it from 2000 on."""
    key = int(digits[9:])
    return any(key == 97 - int(before + digits[:9]) % 97 for before in ("", "2"))


def nl_bsn(digits: str) -> bool:
    """A Dutch BSN: the test of eleven (Rijksdienst voor Identiteitsgegevens)."""
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return int(digits) > 0 and sum(int(d) * w for d, w in zip(digits, weights, strict=True)) % 11 == 0


def de_steuer_id(digits: str) -> bool:
    """A German tax identification number: no 0 first, a digit repeated, a check modulo 11, 10 (ISO/IEC 7064)."""
    repeated = sorted(map(digits[:10].count, set(digits[:10])))[-1]
    if digits[0] == "0" or repeated not in (2, 3):
        return False
    product = 10
    for digit in digits[:10]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return int(digits[10]) == (11 - product) % 10


def _is_date(year: str, month: str, day: str) -> bool:
    try:
        return bool(date(int(year), int(month), int(day)))
    except ValueError:
        return False


def _dihedral(one: int, other: int) -> int:
    """The product of two elements of the dihedral group of order ten, as Verhoeff numbers them."""
    if one < 5:
        return (one + other) % 5 + (5 if other >= 5 else 0)
    return (one - other) % 5 + (0 if other >= 5 else 5)


def _permuted(times: int, digit: int) -> int:
    for _ in range(times):
        digit = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)[digit]
    return digit
