"""Tokens of a completed task without code mode: all tools listed under their own names, and one call."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks.agent import Agent
from benchmarks.cases import Reading
from benchmarks.subjects.task_searched import task_cases


def cases() -> Mapping[str, Reading]:
    return task_cases(Agent.listed)
