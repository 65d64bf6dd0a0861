"""The error of a policy document."""

from __future__ import annotations


class PolicyError(ValueError):
    """A policy document that cannot be used. `str()` names the place and the problem."""

    def __init__(self, problem: str, *, where: str = "") -> None:
        self.problem = problem
        self.where = where
        super().__init__(f"{where}: {problem}" if where else problem)
