"""The tree of errors says whose fault it was."""

import pytest

from sandbox import EngineError, GuestError, GuestException, LimitExceeded, SandboxError
from sandbox.errors import PROGRAM_ERRORS


def test_every_kind_belongs_to_the_program_or_to_its_limits() -> None:
    assert set(PROGRAM_ERRORS) == {
        "syntax", "exception", "deadlock", "cpu_time", "wall_time", "memory", "stack", "calls", "size",
    }  # fmt: skip
    for kind, error in PROGRAM_ERRORS.items():
        assert error.kind == kind
        assert issubclass(error, GuestError | LimitExceeded)
        assert not issubclass(error, EngineError)


def test_the_three_branches_are_apart() -> None:
    for branch in (GuestError, LimitExceeded, EngineError):
        assert issubclass(branch, SandboxError)
        assert [other for other in (GuestError, LimitExceeded, EngineError) if issubclass(branch, other)] == [branch]


def test_errors_of_a_program_are_values() -> None:
    one = GuestException("m", name="E", line=1, column=2, stack="s")
    assert one == GuestException("m", name="E", line=1, column=2, stack="s")
    assert one != GuestException("m", name="E", line=1, column=3, stack="s")
    assert len({one, GuestException("m", name="E", line=1, column=2, stack="s")}) == 1
    assert "E" in repr(one)
    with pytest.raises(SandboxError, match="m"):
        raise one
