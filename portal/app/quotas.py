"""The quotas in force, from the configuration and the store. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from portal.app.access import StoredState
from portal.config import QuotaSection
from portal.quotas import Quota


def quotas_in_force(sections: Sequence[QuotaSection], stored: StoredState, former: Sequence[Quota]) -> list[Quota]:
    """Those of the document, then those of the database. One that cannot be read stays as it was before, if it was
    there: nobody may do more because of it."""
    broken = [quota for quota in former if quota.id in stored.broken_quotas]
    return [
        *map(Quota.of_section, sections),
        *(Quota.of_stored(one.id, one.document) for one in stored.quotas),
        *broken,
    ]
