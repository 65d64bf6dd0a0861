"""Rows of runs as values, and where each sealed value belongs."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import orjson
import structlog
from sqlalchemy import RowMapping

from portal.state.clock import from_stored
from portal.state.documents import check_name
from portal.state.envelope import FindKey, Place, unseal
from portal.state.errors import DocumentInvalid
from portal.state.kinds import ShapeInvalid
from portal.state.run_values import (
    MAX_RUN_DOCUMENT_BYTES,
    RUN,
    Parking,
    RunDocument,
    StoredCall,
    StoredResume,
    StoredRun,
)


def place_of_run(row: RowMapping | Parking, column: Literal["checkpoint", "result"], revision: int) -> Place:
    """Where the sealed value of a run belongs: to whose run it is too, so that it opens in nobody else's."""
    portal, subject, client = (
        (row.portal, row.subject, row.client)
        if isinstance(row, Parking)
        else (row["portal"], row["subject"], row["client"])
    )
    whose = [column, revision, portal, subject, client]
    return Place("runs", "run", row.id if isinstance(row, Parking) else row["id"], _written(whose))


def place_of_call(run: str, call: int, revision: int, column: Literal["arguments", "answer"]) -> Place:
    return Place("run_calls", "run", run, _written([column, revision, call]))


def place_of_resume(run: str, number: int, revision: int) -> Place:
    return Place("run_resumes", "run", run, _written(["resume", revision, number]))


def _written(parts: list[object]) -> str:
    return orjson.dumps(parts).decode()


def document_text(document: RunDocument) -> str:
    """The text to store.

    Raises:
        DocumentInvalid: it is over its bound, or no document of a run.
    """
    text = RUN.text(document)
    if (size := len(text.encode())) > MAX_RUN_DOCUMENT_BYTES:
        raise DocumentInvalid(f"the document of a run has {size} bytes, over the limit of {MAX_RUN_DOCUMENT_BYTES}")
    return text


def check_parking(parking: Parking) -> None:
    """
    Raises:
        DocumentInvalid: a name cannot be stored.
    """
    if not parking.id.isascii() or len(parking.id) > 64:
        raise DocumentInvalid("the id of a run is at most 64 ASCII characters")
    check_name(parking.id)
    check_name(parking.portal, "portal")
    check_name(parking.subject, "subject")
    check_name(parking.client, "client")


def read_document(row: RowMapping) -> RunDocument:
    """What may be shown. One that cannot be read is empty: it is for people, and costs nobody the run."""
    try:
        return RUN.read(row["document"])
    except ShapeInvalid as error:
        structlog.get_logger("portal.state").error(
            "the document of a run cannot be read", run=row["id"], why=error.code
        )
        return RunDocument()


def read_run(row: RowMapping) -> StoredRun:
    return StoredRun(
        id=row["id"],
        portal=row["portal"],
        subject=row["subject"],
        client=row["client"],
        state=row["state"],
        reason=row["reason"],
        revision=row["revision"],
        owner=row["owner"],
        lease_until=_time(row["lease_until"]),
        created_at=from_stored(row["created_at"]),
        updated_at=from_stored(row["updated_at"]),
        wake_at=_time(row["wake_at"]),
        expires_at=from_stored(row["expires_at"]),
        size=row["size"],
        document=read_document(row),
    )


def read_call(row: RowMapping, find: FindKey | None = None) -> StoredCall:
    """A call; with `find` also the answer that a person gave for it.

    Raises:
        SecretUnreadable: the answer does not open.
    """
    answer = None
    if find is not None and row["state"] == "happened" and row["secret"] is not None:
        answer = unseal(bytes(row["secret"]), place_of_call(row["run"], row["call"], row["revision"], "answer"), find)
    return StoredCall(
        call=row["call"],
        seq=row["seq"],
        server=row["server"],
        tool=row["tool"],
        effect=row["effect"],
        state=row["state"],
        revision=row["revision"],
        digest=bytes(row["arguments"]),
        at=from_stored(row["at"]),
        us=row["us"],
        answer=answer,
    )


def read_resume(row: RowMapping, find: FindKey) -> StoredResume:
    """
    Raises:
        SecretUnreadable: it does not open.
    """
    place = place_of_resume(row["run"], row["number"], row["revision"])
    return StoredResume(row["number"], unseal(bytes(row["secret"] or b""), place, find))


def _time(value: int | None) -> datetime | None:
    return None if value is None else from_stored(value)
