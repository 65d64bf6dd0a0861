"""How many calls there may be in which time, for whom. Its chapter is `README.md`."""

from portal.quotas.keeping import KEPT_COUNTS, counts_kept
from portal.quotas.quota import CountedCall, Quota
from portal.quotas.quotas import OTHERS, OverLimit, Quotas, Used

__all__ = [
    "KEPT_COUNTS",
    "OTHERS",
    "CountedCall",
    "OverLimit",
    "Quota",
    "Quotas",
    "Used",
    "counts_kept",
]
