"""DOMException (Web IDL, section 2.8.1)."""

from __future__ import annotations

import pytest

from sandbox import Failed, GuestException

from .web_program import outcome, thrown, value


def test_it_is_an_error_with_a_name_a_message_and_a_legacy_code() -> None:
    source = """
    const e = new DOMException("m", "NotFoundError"), plain = new DOMException();
    [e instanceof Error, e instanceof DOMException, Error.isError(e), e.name, e.message, e.code, String(e),
     plain.name, plain.message, plain.code, Object.keys(e), Object.prototype.toString.call(e), typeof e.stack]
    """
    assert value(source) == [
        *[True, True, True, "NotFoundError", "m", 8, "NotFoundError: m"],
        *["Error", "", 0, [], "[object DOMException]", "string"],
    ]


def test_the_legacy_constants_are_there() -> None:
    source = "[DOMException.ABORT_ERR, new DOMException().DATA_CLONE_ERR, Object.keys(DOMException).length]"
    assert value(source) == [20, 25, 25]


@pytest.mark.parametrize(
    "make", ['atob("*")', 'btoa("\\u2603")', "structuredClone(() => 1)", "AbortSignal.abort().throwIfAborted()"]
)
def test_every_dom_exception_is_of_the_one_class(make: str) -> None:
    source = f"let e; try {{ {make} }} catch (caught) {{ e = caught }}; [e instanceof DOMException, e instanceof Error]"
    assert value(source) == [True, True]


def test_thrown_out_of_the_program_it_keeps_its_name_and_place() -> None:
    found, _ = outcome('throw new DOMException("m", "DataError")')
    assert isinstance(found, Failed)
    assert isinstance(found.error, GuestException)
    assert (found.error.name, found.error.message, found.error.line) == ("DataError", "m", 2)


def test_a_program_can_extend_it() -> None:
    source = 'class Mine extends DOMException {}; const e = new Mine("m", "n"); [e instanceof Mine, e.name, e.message]'
    assert value(source) == [True, "n", "m"]


def test_it_needs_new() -> None:
    assert thrown("DOMException('m')")[0] == "TypeError"
