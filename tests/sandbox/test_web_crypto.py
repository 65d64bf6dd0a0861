"""crypto.randomUUID and getRandomValues (Web Cryptography API, section 10)."""

from __future__ import annotations

import uuid

import pytest

from .web_program import thrown, value

INTEGERS = "Int8 Uint8 Uint8Clamped Int16 Uint16 Int32 Uint32 BigInt64 BigUint64".split()


def test_uuids_are_version_4_and_distinct() -> None:
    found = value("Array.from({length: 50}, () => crypto.randomUUID())")
    assert len(set(found)) == 50
    for text in found:
        assert uuid.UUID(text).version == 4
        assert uuid.UUID(text).variant == uuid.RFC_4122
        assert str(uuid.UUID(text)) == text


@pytest.mark.parametrize("element", INTEGERS)
def test_an_integer_array_is_filled_in_place(element: str) -> None:
    source = f"const a = new {element}Array(64); [crypto.getRandomValues(a) === a, new Set(a).size > 20]"
    assert value(source) == [True, True]


def test_only_the_view_is_filled() -> None:
    source = """
    const b = new Uint8Array(300), zero = (x) => x === 0;
    crypto.getRandomValues(b.subarray(100, 200));
    [b.slice(0, 100).every(zero), b.slice(100, 200).every(zero), b.slice(200).every(zero)]
    """
    assert value(source) == [True, False, True]


def test_the_seed_decides() -> None:
    source = "[crypto.randomUUID(), ...crypto.getRandomValues(new Uint32Array(4))]"
    assert value(source, seed=b"a" * 32) == value(source, seed=b"a" * 32)
    assert value(source, seed=b"a" * 32) != value(source, seed=b"b" * 32)


def test_the_quota_is_65536_bytes() -> None:
    assert value("crypto.getRandomValues(new Uint32Array(16384)).length") == 16384
    name, message, code = thrown("crypto.getRandomValues(new Uint8Array(65537))")
    assert (name, code) == ("QuotaExceededError", 22)
    assert "65536" in message


@pytest.mark.parametrize(
    "argument", ["new Float32Array(1)", "new Float64Array(1)", "new DataView(new ArrayBuffer(1))", "[1]", "null", "'x'"]
)
def test_other_arguments_are_a_type_mismatch(argument: str) -> None:
    assert thrown(f"crypto.getRandomValues({argument})")[0] == "TypeMismatchError"


def test_crypto_is_no_constructor() -> None:
    assert thrown("crypto.getRandomValues()")[0] == "TypeError"
    assert thrown("new Crypto()")[0] == "TypeError"
    assert value("[typeof crypto.subtle, Object.prototype.toString.call(crypto)]") == ["undefined", "[object Crypto]"]
