"""How a rule changes its place among others whose order is that of a number each. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from portal.admin import PRECEDENCE_STEP
from portal.objects import MAX_PRECEDENCE


class PlacedRule(NamedTuple):
    id: str
    precedence: int


def moves(order: Sequence[PlacedRule], id: str, *, up: bool) -> list[PlacedRule]:
    """The numbers to write, one after the other, so that a rule stands before (`up`) or behind its neighbour. Whatever
    was written by then, the rules have the order from before or the one that is wanted. Nothing for a rule at the end.

    `order` has each rule once, in its order.
    """
    at = next((place for place, one in enumerate(order) if one.id == id), -1)
    neighbour = at - 1 if up else at + 1
    if at < 0 or not 0 <= neighbour < len(order):
        return []
    numbers = [one.precedence for one in order]
    number = _between(numbers, neighbour, up=up)
    if number is not None:
        return [PlacedRule(id, number)]
    wide = [PRECEDENCE_STEP * (place + 1) for place in range(len(order))]
    again = _between(wide, neighbour, up=up)
    assert again is not None
    return [*_spread(order, wide), PlacedRule(id, again)]


def _between(numbers: Sequence[int], neighbour: int, *, up: bool) -> int | None:
    """A number between those around the new place; None if there is no room."""
    if up:
        low, high = numbers[neighbour - 1] if neighbour else -1, numbers[neighbour]
    else:
        low = numbers[neighbour]
        high = (
            numbers[neighbour + 1]
            if neighbour + 1 < len(numbers)
            else min(low + 2 * PRECEDENCE_STEP, MAX_PRECEDENCE + 1)
        )
    middle = (low + high) // 2
    return middle if low < middle < high else None


def _spread(order: Sequence[PlacedRule], wide: Sequence[int]) -> list[PlacedRule]:
    """What to write so that the rules have these numbers, and are in their order after each of it: those that rise from
    the last on, then those that sink from the first on."""
    targets = [(one, PlacedRule(one.id, number)) for one, number in zip(order, wide, strict=True)]
    rising = [after for before, after in reversed(targets) if after.precedence > before.precedence]
    sinking = [after for before, after in targets if after.precedence < before.precedence]
    return [*rising, *sinking]
