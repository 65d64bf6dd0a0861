"""The keyed hashes of the values of a list, in objects that are small enough for the store. Written once, then read or
removed: another upload has another holder."""

from __future__ import annotations

import base64
import binascii
from math import ceil
from typing import TYPE_CHECKING

from portal.dlp import PACKED
from portal.objects import DLP_VALUES, VALUES_PER_OBJECT, DlpValuesDocument

if TYPE_CHECKING:
    from portal.state import Store, Transaction

_BYTES = VALUES_PER_OBJECT * PACKED


def holder_of(entry: str, version: int) -> str:
    """The id under which the values of one upload are kept."""
    return f"{entry}.{version}"


async def write_values(transaction: Transaction, holder: str, packed: bytes, *, by: str) -> None:
    """Keep what `ExactList.packed` gives."""
    for number, start in enumerate(range(0, len(packed), _BYTES)):
        part = base64.b64encode(packed[start : start + _BYTES]).decode()
        await transaction.create(DLP_VALUES, f"{holder}.{number}", DlpValuesDocument(packed=part), by=by)


async def remove_values(transaction: Transaction, holder: str, cells: int, *, by: str) -> None:
    """Forget them, as far as they are there."""
    for number in range(_parts(cells)):
        if await transaction.find(DLP_VALUES, f"{holder}.{number}") is not None:
            await transaction.delete(DLP_VALUES, f"{holder}.{number}", by=by)


async def read_values(store: Store, holder: str, cells: int) -> bytes | None:
    """What was written, of so many values; None if a part of it is missing or cannot be read."""
    packed = b""
    for number in range(_parts(cells)):
        found = await store.find(DLP_VALUES, f"{holder}.{number}")
        document = getattr(found, "document", None)
        if not isinstance(document, DlpValuesDocument):
            return None
        try:
            packed += base64.b64decode(document.packed, validate=True)
        except binascii.Error:
            return None
    return packed if len(packed) == cells * PACKED else None


def _parts(cells: int) -> int:
    return ceil(cells / VALUES_PER_OBJECT)
