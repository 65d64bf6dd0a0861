"""Numbers that prove themselves: drawn ones are known, and one wrong digit is noticed."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.dlp import numbers
from tests.portal.dlp import made_up

# From the documents that define each, or from the pages of its office; none belongs to anybody.
PUBLISHED: tuple[tuple[Callable[[str], bool], str], ...] = (
    (numbers.card, "4111111111111111"),
    (numbers.card, "5555555555554444"),
    (numbers.card, "378282246310005"),
    (numbers.card, "30569309025904"),
    (numbers.card, "6011111111111117"),
    (numbers.card, "3530111333300000"),
    (numbers.card, "2223003122003222"),
    (numbers.iban, "GB82WEST12345698765432"),
    (numbers.iban, "DE89370400440532013000"),
    (numbers.iban, "NO9386011117947"),
    (numbers.es_dni, "12345678Z"),
    (numbers.es_dni, "X1234567L"),
    (numbers.it_codice_fiscale, "RSSMRA85T10A562S"),
    (numbers.fr_nir, "255081416802538"),
    (numbers.br_cpf, "52998224725"),
    (numbers.cn_resident, "11010519491231002X"),
    (numbers.ch_ahv, "7569217076985"),
    (numbers.in_aadhaar, "234123412346"),
    (numbers.pl_pesel, "44051401359"),
    (numbers.se_personnummer, "8112189876"),
    (numbers.fi_hetu, "131052308T"),
    (numbers.be_national, "85073003328"),
    (numbers.nl_bsn, "111222333"),
    (numbers.de_steuer_id, "86095742719"),
    (numbers.ca_sin, "130692544"),
)


@pytest.mark.parametrize(("check", "text"), PUBLISHED, ids=[text for _, text in PUBLISHED])
def test_a_published_number_is_known(check: Callable[[str], bool], text: str) -> None:
    assert check(text)


@given(st.randoms(use_true_random=False))
def test_drawn_cards_accounts_and_security_numbers_are_known(source: random.Random) -> None:
    assert numbers.card(made_up.card(source))
    assert numbers.iban(made_up.iban(source))
    assert numbers.us_ssn(made_up.us_ssn(source).replace("-", ""))


@pytest.mark.parametrize(("check", "text"), PUBLISHED, ids=[text for _, text in PUBLISHED])
def test_one_wrong_digit_is_noticed(check: Callable[[str], bool], text: str) -> None:
    place = max(at for at, sign in enumerate(text[:-1]) if sign.isdigit())
    others = [text[:place] + digit + text[place + 1 :] for digit in "0123456789" if digit != text[place]]
    # Modulo 11 with a remainder that stands for two digits lets one through.
    assert sum(map(check, others)) <= 1


@given(st.text("0123456789", min_size=1, max_size=18))
def test_exactly_one_digit_satisfies_luhn(digits: str) -> None:
    assert [digit for digit in "0123456789" if numbers.luhn(digits + digit)] == [made_up.with_check_digit(digits)[-1]]


@given(st.sampled_from(["000", "666", "900", "987", "999"]), st.integers(1, 99), st.integers(1, 9999))
def test_areas_that_were_never_given_out_are_no_security_numbers(area: str, group: int, serial: int) -> None:
    assert not numbers.us_ssn(f"{area}{group:02}{serial:04}")


@pytest.mark.parametrize("digits", ["123004567", "123450000", "078051120"])
def test_empty_parts_and_printed_numbers_are_no_security_numbers(digits: str) -> None:
    assert not numbers.us_ssn(digits)


@pytest.mark.parametrize("text", ["AB123456C", "JG103759A"])
def test_insurance_numbers_have_a_prefix_that_is_given_out(text: str) -> None:
    assert numbers.uk_nino(text)
    for prefix in ("BG", "GB", "NK", "DA", "AO", "QQ"):
        assert not numbers.uk_nino(prefix + text[2:])
