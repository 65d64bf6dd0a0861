"""Objects in a real S3 server: one for each batch, with the same key each time it is sent."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3  # type: ignore[import-untyped]
import pytest
from moto.server import ThreadedMotoServer

from portal.logs import LogPlace
from tests.portal.export.exporting import HURRY, exporting
from tests.portal.export.receivers import receiver

pytestmark = pytest.mark.anyio

KEY, SECRET = "AKIAEXAMPLE", "a/secret+key-5f0c"
OPTIONS = {"field_names": ["RowID", "ServerID"]}
SOON = 1


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """The URL of a server of its own."""
    running = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    yield f"http://{host}:{port}"
    running.stop()


def bucket_of(server: str, name: str) -> Any:
    client = boto3.resource(
        "s3", endpoint_url=server, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET
    )
    return client.create_bucket(Bucket=name)


def destination(server: str, bucket: str, path: str = "portal/{DATE}") -> str:
    keys = f"access-key-id={KEY}&secret-access-key={SECRET.replace('/', '%2F').replace('+', '%2B')}"
    return f"s3://{bucket}/{path}?region=us-east-1&endpoint={server}&{keys}"


def records(bucket: Any) -> list[dict[str, Any]]:
    texts = [gzip.decompress(each.get()["Body"].read()).decode() for each in bucket.objects.all()]
    return [json.loads(line) for text in texts for line in text.splitlines()]


async def test_batches_are_objects_by_day(
    server: str, place: LogPlace, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    bucket = bucket_of(server, f"day-{os.urandom(4).hex()}")
    async with exporting(place, tmp_path) as portal:
        await portal.write(0, 25)
        await portal.make(
            "1",
            destination(server, bucket.name),
            output_options=OPTIONS,
            max_upload_interval_seconds=SOON,
            max_upload_records=10,
        )
        done = await portal.all_delivered()
    assert (done.rows, done.batches) == (25, 3)
    keys = [each.key for each in bucket.objects.all()]
    assert all(key.startswith("portal/20261130/20261130T") for key in keys) and len(keys) == 3
    assert all(key.endswith(".ndjson.gz") and "mcp_portal_logs-1_" in key for key in keys)
    ids = sorted(record["RowID"] for record in records(bucket))
    assert len(set(ids)) == 25


async def test_a_batch_that_is_sent_again_overwrites_itself(server: str, place: LogPlace, tmp_path: Path) -> None:
    bucket = bucket_of(server, f"again-{os.urandom(4).hex()}")
    async with exporting(place, tmp_path) as portal:
        await portal.write(0, 5)
        await portal.make(
            "1", destination(server, bucket.name, ""), output_options=OPTIONS, max_upload_interval_seconds=SOON
        )
        await portal.all_delivered()
        # As after an answer that was lost: the cursor is where it was, with the batch named.
        before = [each.key for each in bucket.objects.all()]
        first, last = (int(part) for part in before[0].split("_")[-1].split(".")[0].split("-"))
        text = f"UPDATE exports SET cursor = 0, first = {first}, last = {last}, holder = ''"
        await portal.log.database.write(lambda connection: connection.exec_driver_sql(text))
    async with exporting(place, tmp_path) as portal:
        await portal.write(5, 8)
        await portal.all_delivered()
    after = [each.key for each in bucket.objects.all()]
    assert len(after) == 2 and before[0] in after and len(records(bucket)) == 8


async def test_a_bucket_that_is_not_there_costs_no_row(server: str, place: LogPlace, tmp_path: Path) -> None:
    name = f"later-{os.urandom(4).hex()}"
    async with exporting(place, tmp_path) as portal:
        await portal.write(0, 5)
        await portal.make("1", destination(server, name), output_options=OPTIONS, max_upload_interval_seconds=SOON)
        failing = await portal.until(lambda found: bool(found.error))
        assert failing.error == "it answered with status 404" and failing.refused_rows == 0
        bucket = bucket_of(server, name)
        assert (await portal.all_delivered()).rows == 5
    assert len(records(bucket)) == 5 and HURRY.refusals > 0


async def test_nothing_of_the_environment_is_sent(
    place: LogPlace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hush = "of-the-machine-5f0c"
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.setenv(name, hush)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_SKIP_SIGNATURE", "true")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with receiver() as sink, exporting(place, tmp_path) as portal:
        await portal.write(0, 2)
        await portal.make(
            "1", destination(sink.url, "bucket"), output_options=OPTIONS, max_upload_interval_seconds=SOON
        )
        await portal.all_delivered()
    [sent] = sink.requests
    assert "X-Amz-Signature" in sent.path and KEY in sent.path and SECRET not in sent.path
    assert hush not in sent.path + str(sent.headers)
