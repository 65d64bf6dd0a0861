"""How many profiles and datasets there may be, and how much they may have together."""

from __future__ import annotations

from portal.admin.api.errors import in_use
from portal.objects import DATASET, DLP_PROFILE, DatasetDocument, DlpProfileDocument
from portal.state import Scan, Transaction

MAX_PROFILES = 200
MAX_PATTERNS = 1_000
MAX_CELLS = 200_000
"""Values of all datasets and word lists together."""
MAX_DATASETS = 200


async def require_room(transaction: Transaction) -> None:
    """Require that all profiles and datasets together are within the bounds.

    Raises:
        AdminError: they are not.
    """
    patterns, cells = used(await transaction.scan(DLP_PROFILE), await transaction.scan(DATASET))
    if patterns > MAX_PATTERNS:
        raise in_use(f"all profiles together have at most {MAX_PATTERNS} patterns")
    if cells > MAX_CELLS:
        raise in_use(f"all datasets and word lists together have at most {MAX_CELLS} values")


def used(profiles: Scan[DlpProfileDocument], datasets: Scan[DatasetDocument]) -> tuple[int, int]:
    """How many patterns there are, and how many values of datasets and word lists."""
    entries = [entry for profile in profiles.stored for entry in profile.document.entries]
    cells = sum(entry.cells for entry in entries) + sum(one.document.cells for one in datasets.stored)
    return sum(entry.type == "custom" for entry in entries), cells
