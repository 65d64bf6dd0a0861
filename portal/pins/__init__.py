"""Pinned servers: what they offer is fixed at the first listing, and what is otherwise later waits for approval."""

from portal.pins.choosing import NotWaiting, chosen
from portal.pins.differences import in_words
from portal.pins.in_file import FilePlace
from portal.pins.in_store import StorePlace
from portal.pins.judging import Withheld, canonical, digest, judged
from portal.pins.pinning import Pinning, Screened, screened
from portal.pins.places import PinsUnusable, Place
from portal.pins.schema_changes import Difference, Level, Side, differences

__all__ = [
    "Difference",
    "FilePlace",
    "Level",
    "NotWaiting",
    "Pinning",
    "PinsUnusable",
    "Place",
    "Screened",
    "Side",
    "StorePlace",
    "Withheld",
    "canonical",
    "chosen",
    "differences",
    "digest",
    "in_words",
    "judged",
    "screened",
]
