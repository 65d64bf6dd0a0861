"""Lists of exact values for profiles of detection: `dlp/datasets`. Values are uploaded, one a line, and only keyed
hashes of them are stored."""

from __future__ import annotations

import uuid

from pydantic import BaseModel

from portal.admin.api.answers import ListAnswer
from portal.admin.api.collection import Removed
from portal.admin.api.errors import conflict, in_use, invalid, not_found
from portal.admin.api.operations import ApiRequest, NoBody, Operation, Uploaded
from portal.admin.api.permissions import ZERO_TRUST
from portal.admin.api.revisions import whole
from portal.admin.dlp_bounds import MAX_DATASETS, require_room
from portal.admin.dlp_own_entries import hashed, slugs
from portal.admin.dlp_shapes import (
    DatasetBody,
    DatasetChange,
    MadeDataset,
    NewUpload,
    ShownDataset,
    ShownUpload,
)
from portal.dlp import MOST_VALUES
from portal.objects import DATASET, DLP_PROFILE, DatasetDocument
from portal.profiles import holder_of, remove_values, write_values
from portal.state import Store, Stored, Transaction


class DatasetOperations:
    """A dataset counts in the profiles that share its id as an entry."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def operations(self) -> list[Operation]:
        path, area = "/dlp/datasets", ZERO_TRUST
        item, upload, shown = f"{path}/{{id}}", f"{path}/{{id}}/upload", ShownDataset
        of = whole(self._store, DATASET, "dataset")
        return [
            Operation("GET", path, "List datasets", self._list, shown, area, listed=True, whole=True),
            Operation("POST", path, "Make a dataset", self._create, MadeDataset, area, DatasetBody),
            Operation("GET", item, "Show a dataset", self._get, shown, area, of=of),
            Operation("PUT", item, "Change a dataset", self._update, shown, area, DatasetChange, of=of),
            Operation("DELETE", item, "Remove a dataset", self._delete, Removed, area, of=of),
            Operation("POST", upload, "Begin an upload", self._begin, NewUpload, area, NoBody, body_required=False),
            Operation("POST", f"{upload}/{{version}}", "Upload values", self._upload, shown, area, Uploaded),
        ]

    async def _list(self, request: ApiRequest) -> ListAnswer[BaseModel]:
        scan, search = await self._store.scan(DATASET), request.paging.search.lower()
        return ListAnswer([_shown(one) for one in scan.stored if search in one.document.name.lower()], scan.broken)

    async def _get(self, request: ApiRequest) -> ShownDataset:
        stored = await self._store.get(DATASET, request.path["id"])
        if stored is None:
            raise not_found("dataset")
        return _shown(stored)

    async def _create(self, request: ApiRequest) -> MadeDataset:
        body = request.read(DatasetBody)
        async with self._store.transaction() as transaction:
            scan = await transaction.scan(DATASET)
            if len(scan.stored) + len(scan.broken) >= MAX_DATASETS:
                raise in_use(f"there are already {MAX_DATASETS} datasets, the most allowed")
            await _require_own_name(transaction, body.name, "")
            document = DatasetDocument(
                name=body.name, rule=slugs([body.name])[0], description=body.description, version=1
            )
            created = await transaction.create(DATASET, str(uuid.uuid4()), document, by=request.by)
        return MadeDataset(dataset=_shown(created), max_cells=MOST_VALUES, version=1)

    async def _update(self, request: ApiRequest) -> ShownDataset:
        body = request.read(DatasetChange)
        async with request.transaction(self._store) as transaction:
            stored = await _stored(transaction, request.path["id"])
            said = {name: value for name in ("name", "description") if (value := getattr(body, name)) is not None}
            if body.name is not None:
                await _require_own_name(transaction, body.name, stored.id)
                said["rule"] = slugs([body.name])[0]
            document = stored.document.model_copy(update=said)
            replaced = await transaction.replace(DATASET, stored.id, document, by=request.by)
        return _shown(replaced)

    async def _delete(self, request: ApiRequest) -> Removed:
        id = request.path["id"]
        async with request.transaction(self._store) as transaction:
            found = await transaction.find(DATASET, id)
            if found is None:
                raise not_found("dataset")
            for profile in (await transaction.scan(DLP_PROFILE)).stored:
                if any(entry.id == id for entry in profile.document.shared_entries):
                    raise in_use(f"the profile {profile.document.name!r} uses this dataset")
            await transaction.delete(DATASET, id, by=request.by)
            if isinstance(found, Stored):
                await _forget(transaction, found, request.by)
        return Removed(id=id)

    async def _begin(self, request: ApiRequest) -> NewUpload:
        async with self._store.transaction() as transaction:
            stored = await _stored(transaction, request.path["id"])
            document = stored.document.model_copy(update={"version": stored.document.version + 1})
            await transaction.replace(DATASET, stored.id, document, by=request.by)
        return NewUpload(max_cells=MOST_VALUES, version=document.version)

    async def _upload(self, request: ApiRequest) -> ShownDataset:
        if await self._store.find(DATASET, request.path["id"]) is None:
            raise not_found("dataset")
        values = await hashed(self._store, "values", _lines(request.read(Uploaded).content))
        if not values.values:
            raise invalid("the upload has no value")
        async with self._store.transaction() as transaction:
            stored = await _stored(transaction, request.path["id"])
            document = stored.document
            # Compared as text: a number of many digits is no number to Python.
            if request.path["version"] != str(document.version) or document.version == document.uploaded:
                raise conflict(
                    "only the version that was begun last is uploaded, and once; begin another upload for a new one"
                )
            uploaded = document.model_copy(update={"uploaded": document.version, "cells": len(values.values)})
            replaced = await transaction.replace(DATASET, stored.id, uploaded, by=request.by)
            await _forget(transaction, stored, request.by)
            holder = holder_of(stored.id, document.version)
            await write_values(transaction, holder, values.packed(), by=request.by)
            await require_room(transaction)
        return _shown(replaced)


def _lines(content: bytes) -> list[str]:
    """The lines that have something, without their ends and a byte order mark.

    Raises:
        AdminError: it is not text in UTF-8.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise invalid("the upload is not text in UTF-8, one value a line") from None
    return [line for line in text.replace("\r\n", "\n").split("\n") if line.strip()]


async def _stored(transaction: Transaction, id: str) -> Stored[DatasetDocument]:
    stored = await transaction.get(DATASET, id)
    if stored is None:
        raise not_found("dataset")
    return stored


async def _forget(transaction: Transaction, stored: Stored[DatasetDocument], by: str) -> None:
    document = stored.document
    await remove_values(transaction, holder_of(stored.id, document.uploaded), document.cells, by=by)


async def _require_own_name(transaction: Transaction, name: str, id: str) -> None:
    if any(one.document.name == name and one.id != id for one in (await transaction.scan(DATASET)).stored):
        raise conflict("another dataset has this name already")


def _shown(stored: Stored[DatasetDocument]) -> ShownDataset:
    document = stored.document
    uploads = [ShownUpload(num_cells=document.cells, status="complete", version=document.uploaded)]
    if document.version > document.uploaded:
        uploads.append(ShownUpload(num_cells=0, status="empty", version=document.version))
    return ShownDataset(
        id=stored.id,
        name=document.name,
        description=document.description,
        num_cells=document.cells,
        status="complete" if document.uploaded else "empty",
        uploads=tuple(upload for upload in uploads if upload.version),
        created_at=stored.created_at,
        updated_at=stored.modified_at,
    )
