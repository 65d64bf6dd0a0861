"""Pinned servers: what they offer is fixed at the first listing, and what is otherwise later waits for approval."""

from portal.pins.judging import Judgement, Withheld, canonical, digest, judged
from portal.pins.pinning import Pinning
from portal.pins.places import PinsUnusable, Place

__all__ = ["Judgement", "Pinning", "PinsUnusable", "Place", "Withheld", "canonical", "digest", "judged"]
