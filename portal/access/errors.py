"""What is wrong with policies somebody wrote."""

from __future__ import annotations


class PolicyError(ValueError):
    """A policy document that cannot be used. `str()` says where, what is wrong and what to do."""

    def __init__(self, problem: str, *, where: str = "") -> None:
        self.problem = problem
        self.where = where
        super().__init__(f"{where}: {problem}" if where else problem)
