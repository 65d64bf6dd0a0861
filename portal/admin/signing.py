"""The rotation of the portal's signing keys: `access/keys`."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import BaseModel, Field

from portal.admin.api.operations import ApiRequest, NoBody, Operation
from portal.admin.api.permissions import ORGANIZATION
from portal.admin.api.revisions import whole
from portal.oauth import KEY_SETTINGS, KEY_SETTINGS_ID, KeySettings, SigningKeys
from portal.state import Clock, Store

_DAY = timedelta(days=1)


class RotationInterval(BaseModel):
    key_rotation_interval_days: Annotated[int, Field(ge=21, le=365)]


class ShownKeys(BaseModel):
    key_rotation_interval_days: int
    days_until_next_rotation: float
    last_key_rotation_at: datetime


class KeyOperations:
    """The `SigningKeys` of every process on the database read the interval that is set here."""

    def __init__(self, store: Store, keys: SigningKeys, clock: Clock) -> None:
        self._store = store
        self._keys = keys
        self._clock = clock

    def operations(self) -> list[Operation]:
        path, area = "/access/keys", ORGANIZATION
        of = whole(self._store, KEY_SETTINGS, "interval of the keys", lambda path: KEY_SETTINGS_ID, always=True)
        return [
            Operation("GET", path, "Show when keys are rotated", self._get, ShownKeys, area, of=of),
            Operation(
                "PUT", path, "Set how often keys are rotated", self._update, ShownKeys, area, RotationInterval, of=of
            ),
            Operation(
                "POST",
                f"{path}/rotate",
                "Rotate the keys now",
                self._rotate,
                ShownKeys,
                area,
                NoBody,
                body_required=False,
            ),
        ]

    async def _get(self, request: ApiRequest) -> ShownKeys:
        made_at, interval = (await self._keys.current()).made_at, await self._keys.rotation_interval()
        left = made_at + interval - self._clock()
        return ShownKeys(
            key_rotation_interval_days=interval // _DAY,
            days_until_next_rotation=max(0.0, round(left / _DAY, 3)),
            last_key_rotation_at=made_at,
        )

    async def _update(self, request: ApiRequest) -> ShownKeys:
        interval = request.read(RotationInterval).key_rotation_interval_days
        document = KeySettings(key_rotation_interval_days=interval)
        async with request.transaction(self._store) as transaction:
            is_new = await transaction.find(KEY_SETTINGS, KEY_SETTINGS_ID) is None
            write = transaction.create if is_new else transaction.replace
            await write(KEY_SETTINGS, KEY_SETTINGS_ID, document, by=request.by)
        return await self._get(request)

    async def _rotate(self, request: ApiRequest) -> ShownKeys:
        await self._keys.rotate(by=request.by)
        return await self._get(request)
