"""atob and btoa (HTML Standard, section 8.3) against Python."""

from __future__ import annotations

import base64
import string

from hypothesis import given
from hypothesis import strategies as st

from tests.deep import examples

from .web_program import thrown, value

ALPHABET = string.ascii_letters + string.digits + "+/"


def forgiving_decode(text: str) -> bytes | None:
    """Infra Standard, forgiving-base64 decode."""
    data = "".join(c for c in text if c not in "\t\n\f\r ")
    if len(data) % 4 == 0:
        data = data[:-2] if data.endswith("==") else data.removesuffix("=")
    if len(data) % 4 == 1 or any(c not in ALPHABET for c in data):
        return None
    return base64.b64decode(data + "=" * (-len(data) % 4))


@examples(300)
@given(st.binary(max_size=60))
def test_btoa_and_atob_are_base64(data: bytes) -> None:
    text = data.decode("latin-1")
    assert value("[btoa(given), atob(btoa(given))]", text) == [base64.b64encode(data).decode(), text]


@examples(500)
@given(
    st.one_of(
        st.text(st.sampled_from("AQ/+zw=\t\n\f\r \v-_\u00e9\u2003"), max_size=12),
        st.text(st.sampled_from(ALPHABET), max_size=12).flatmap(
            lambda t: st.sampled_from([t, t + "=", t + "==", " " + t, t + "==="])
        ),
    )
)
def test_atob_forgives_what_the_standard_forgives(text: str) -> None:
    expected = forgiving_decode(text)
    source = "let r; try { r = atob(given); } catch (e) { r = [e.name, e instanceof DOMException]; }; r"
    assert value(source, text) == (["InvalidCharacterError", True] if expected is None else expected.decode("latin-1"))


def test_btoa_refuses_what_is_no_byte() -> None:
    assert thrown('btoa("\\u0100")')[0] == "InvalidCharacterError"
    assert value('btoa("\\u00ff")') == "/w=="


def test_arguments_become_strings() -> None:
    assert value("[btoa(null), btoa(12), atob(btoa(undefined)), btoa('')]") == ["bnVsbA==", "MTI=", "undefined", ""]
