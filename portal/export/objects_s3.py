"""Objects in a bucket of S3, or of a store that speaks its protocol: one for each batch.

The library signs the URL of an object, and the request goes where all requests of the portal go: so the addresses are
checked, and nothing of the machine's own (credentials, proxies, endpoints) is used. Needs the extra `s3`.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

from obstore import sign
from obstore.exceptions import BaseError
from obstore.store import S3Store

from portal.export.destination import S3Destination
from portal.export.output import Writer
from portal.export.over_http import Requests, compressed
from portal.export.sending import ExportBatch, NotTaken, moment

if TYPE_CHECKING:
    from obstore.store import S3Credential

SIGNED_FOR = timedelta(minutes=10)
"""How long a signed URL is good: longer than a request, and than clocks differ."""


class S3Sender:
    """`kind` is how the names of objects end. A batch that is sent again overwrites itself."""

    def __init__(self, destination: S3Destination, requests: Requests, writer: Writer, *, kind: str) -> None:
        self._destination = destination
        self._writer = writer
        self._requests = requests
        self._kind = kind
        self._store = _store(destination)

    async def send(self, batch: ExportBatch) -> int:
        body = await asyncio.to_thread(lambda: compressed(self._writer.batch([row.text for row in batch.rows])))
        await self._put(object_key(self._destination.path, batch, self._kind), body)
        return 0

    async def try_out(self) -> None:
        await self._put(_join(self._destination.path.replace("{DATE}", "test"), "test.txt.gz"), compressed(b"test\n"))

    async def aclose(self) -> None:
        await self._requests.aclose()

    async def _put(self, key: str, body: bytes) -> None:
        try:
            url = await asyncio.to_thread(sign, self._store, "PUT", key, SIGNED_FOR)
        except BaseError as error:
            # Its text has the whole configuration.
            raise NotTaken(f"the URL of an object cannot be signed ({type(error).__name__})", "place") from None
        await self._requests.send("PUT", url, {}, body)


def object_key(path: str, batch: ExportBatch, kind: str) -> str:
    """The key of the object of a batch: the same each time it is sent."""
    first, last = moment(batch.first), moment(batch.last)
    stamp = "%Y%m%dT%H%M%SZ"
    name = f"{first:{stamp}}_{last:{stamp}}_{batch.stream}_{batch.first}-{batch.last}.{kind}.gz"
    return _join(path.replace("{DATE}", f"{first:%Y%m%d}"), name)


def _join(path: str, name: str) -> str:
    return f"{path}/{name}" if path else name


def _store(destination: S3Destination) -> S3Store:
    # A provider and not two keys: else a session token of the environment would be sent with them.
    keys: S3Credential = {
        "access_key_id": destination.access_key_id,
        "secret_access_key": destination.secret_access_key,
        "expires_at": None,
    }
    return S3Store(
        destination.bucket,
        region=destination.region,
        endpoint=destination.endpoint,
        virtual_hosted_style_request=False,
        skip_signature=False,
        client_options={"allow_http": True},
        credential_provider=lambda: keys,
    )
