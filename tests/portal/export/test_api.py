"""Cloudflare's own SDK makes, changes and removes jobs, which run meanwhile; no secret of a destination is shown."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import cloudflare
import pytest
from cloudflare import AsyncCloudflare
from starlette.applications import Starlette
from structlog.testing import capture_logs

from portal.admin import PREFIX, create_admin
from portal.config import ExportSection
from portal.export import FIELDS
from portal.http import running
from portal.http.edge import HttpSettings
from portal.logs import LogPlace
from tests.portal.export.exporting import FIRST, Exporting, exporting
from tests.portal.export.receivers import receiver

pytestmark = pytest.mark.anyio

HUSH = "hush-7f3a-5f0c"
FIELD_NAMES = ["RowID", "Datetime", "ToolCallName"]


@dataclass
class Served:
    sdk: AsyncCloudflare
    account: str
    portal: Exporting

    @property
    def jobs(self) -> Any:
        return self.sdk.logpush.jobs

    async def create(self, **members: Any) -> Any:
        return await self.jobs.create(account_id=self.account, **members)

    async def get(self, id: int) -> Any:
        return await self.jobs.get(id, account_id=self.account)


@asynccontextmanager
async def served(folder: Path, settings: ExportSection | None = None) -> AsyncIterator[Served]:
    place = LogPlace(url=f"sqlite:///{folder}/logs.db", folder=folder)
    async with exporting(place, folder, settings=settings) as portal:
        admin = await create_admin(portal.store, exports=portal.jobs)
        token = await admin.tokens.create_with_all("test", "test")
        app = Starlette(routes=[admin.route()])
        async with running(app, host="127.0.0.1", port=0, http=HttpSettings()) as url:
            async with AsyncCloudflare(api_token=token.value, base_url=f"{url}{PREFIX}", max_retries=0) as sdk:
                yield Served(sdk, admin.account_id, portal)


async def test_a_job_is_made_runs_is_changed_and_removed(tmp_path: Path) -> None:
    async with receiver() as sink, served(tmp_path) as api:
        await api.portal.write(0, 5)
        made = await api.create(
            name="siem",
            dataset="mcp_portal_logs",
            destination_conf=f"{sink.url}/{HUSH}/in?key={HUSH}&header_Authorization=Bearer%20{HUSH}",
            enabled=True,
            output_options={"field_names": FIELD_NAMES, "timestamp_format": "unixnano", "CVE-2021-44228": True},
            max_upload_records=1000,
            extra_body={"start_at": FIRST.isoformat()},
        )
        assert isinstance(made.id, int) and made.dataset == "mcp_portal_logs" and made.enabled is True
        assert made.destination_conf == f"{sink.url}/***?***&header_Authorization=***"
        await api.portal.all_delivered(str(made.id))
        assert (
            sink.stored[0].path == f"/{HUSH}/in?key={HUSH}"
            and sink.stored[0].headers["authorization"] == f"Bearer {HUSH}"
        )
        found = await api.get(made.id)
        assert found.error_message is None and found.last_complete is not None
        assert found.last_complete > datetime(2026, 11, 1, tzinfo=UTC)
        assert found.progress["delivered_rows"] == 5 and found.progress["lag_seconds"] == 0
        assert found.output_options.field_names == FIELD_NAMES and found.output_options.cve_2021_44228 is True

        # What was read can be sent back whole: the destination stays what it was.
        shown = found.to_dict()
        sent = {
            name: shown[name] for name in ("destination_conf", "output_options", "name", "filter", "max_upload_records")
        }
        changed = await api.jobs.update(made.id, account_id=api.account, **sent)
        assert changed.destination_conf == found.destination_conf and changed.enabled is True
        await api.portal.write(5, 7)
        await api.portal.all_delivered(str(made.id))
        assert sink.stored[-1].headers["authorization"] == f"Bearer {HUSH}"

        off = await api.jobs.update(made.id, account_id=api.account, enabled=False)
        assert off.enabled is False and off.name == "siem"
        listed = [job async for job in api.jobs.list(account_id=api.account)]
        assert [job.id for job in listed] == [made.id]
        of_dataset = [job async for job in api.sdk.logpush.datasets.jobs.get("mcp_portal_logs", account_id=api.account)]
        assert [job.id for job in of_dataset if job is not None] == [made.id]
        assert (await api.jobs.delete(made.id, account_id=api.account)).id == made.id
        with pytest.raises(cloudflare.NotFoundError):
            await api.get(made.id)


async def test_why_a_job_fails_is_said_without_its_secrets(tmp_path: Path) -> None:
    async with receiver(lambda number: 400) as sink, served(tmp_path) as api:
        await api.portal.write(0, 3)
        with capture_logs() as lines:
            made = await api.create(
                destination_conf=f"{sink.url}/{HUSH}?header_Authorization=Bearer%20{HUSH}",
                enabled=True,
                extra_body={"start_at": FIRST.isoformat()},
            )
            await api.portal.until(lambda found: found.refused_rows == 3, str(made.id))
        found = await api.get(made.id)
        assert found.error_message == "it answered with status 400" and found.last_error is not None
        assert [one["rows"] for one in found.refusals] == [3]
        raw = await api.jobs.with_raw_response.list(account_id=api.account)
        assert HUSH not in str(lines) + str(found) + await raw.text() and lines
        # Nor in a file: it is sealed in the store, and not in the log.
        async with receiver() as second:
            await api.jobs.update(made.id, account_id=api.account, destination_conf=f"{second.url}/{HUSH}2")
            await api.portal.write(3, 5)
            await api.portal.all_delivered(str(made.id))
    for file in tmp_path.iterdir():
        assert HUSH.encode() not in file.read_bytes(), file


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"destination_conf": "ftp://a.example/hush"}, "/destination_conf"),
        ({"destination_conf": "https://user:hush@a.example"}, "/destination_conf"),
        ({"destination_conf": "https://a.example/?header_Host=hush"}, "/destination_conf"),
        ({"destination_conf": "https://a.example/?header_X=hush%0d%0aY:z"}, "/destination_conf"),
        ({"destination_conf": "https://[hush"}, "/destination_conf"),
        ({"destination_conf": "s3://bucket/a?region=us-east-1&secret-access-key=hush"}, "/destination_conf"),
        ({"destination_conf": "file:///etc/hush"}, "/destination_conf"),
        ({"destination_conf": "http://a.example/hush"}, "/destination_conf"),
        ({"destination_conf": "otlp://a.example", "output_options": {"record_prefix": "hush"}}, "/destination_conf"),
        ({"dataset": "hush"}, "/dataset"),
        ({"kind": "edge"}, "/kind"),
        ({"filter_attack_traffic": True}, "/filter_attack_traffic"),
        ({"filter": "hush"}, "/filter"),
        ({"filter": '{"where": {"key": "hush", "operator": "eq", "value": 1}}'}, "/filter"),
        ({"max_upload_bytes": 17}, "/max_upload_bytes"),
        ({"max_upload_interval_seconds": 7}, "/max_upload_interval_seconds"),
        ({"max_upload_records": 1}, "/max_upload_records"),
        ({"logpull_options": "fields=hush"}, "/logpull_options"),
        ({"output_options": {"field_names": ["hush"]}}, "/output_options/field_names"),
        ({"output_options": {"timestamp_format": "hush"}}, "/output_options/timestamp_format"),
        ({"output_options": {"sample_rate": 2}}, "/output_options/sample_rate"),
        ({"output_options": {"record_template": "{{if .RowID}}hush{{end}}"}}, "/output_options/record_template"),
        ({"output_options": {"merge_subrequests": True}}, "/output_options"),
        ({"output_options": {"hush": 1}}, "/output_options"),
    ],
)
async def test_what_is_wrong_is_named_and_not_repeated(tmp_path: Path, wrong: dict[str, Any], pointer: str) -> None:
    async with served(tmp_path, ExportSection()) as api:
        with pytest.raises(cloudflare.BadRequestError) as refused:
            await api.create(**{"destination_conf": "https://a.example/in", "enabled": False, **wrong})
        [error] = refused.value.errors
        assert error.source is not None and error.source.pointer is not None
        assert error.source.pointer.startswith(pointer)
        assert "hush" not in (error.message or "")


async def test_fields_destinations_and_options_are_checked_by_the_sdk(tmp_path: Path) -> None:
    async with receiver() as sink, served(tmp_path) as api:
        logpush: Any = api.sdk.logpush
        fields = await logpush.datasets.fields.get("mcp_portal_logs", account_id=api.account)
        assert fields is not None and list(fields) == list(FIELDS)
        with pytest.raises(cloudflare.NotFoundError):
            await logpush.datasets.fields.get("http_requests", account_id=api.account)
        url = f"{sink.url}/in?header_K={HUSH}"

        async def validity(destination: str) -> Any:
            return await logpush.validate.destination(account_id=api.account, destination_conf=destination)

        assert (await validity(url)).valid is True and len(sink.requests) == 1
        sink.behaviour = lambda number: 403
        refused = await validity(url)
        assert (refused.valid, refused.message) == (False, "it answered with status 403")
        assert (await validity("https://127.0.0.1:9/")).valid is False
        assert (await validity("nonsense")).valid is False
        assert (await validity(f"file://{tmp_path}/logs")).valid is True
        exists = logpush.validate.destination_exists
        assert (await exists(account_id=api.account, destination_conf=url)).exists is False
        await api.create(destination_conf=url)
        assert (await exists(account_id=api.account, destination_conf=url)).exists is True
        origin = logpush.validate.origin
        good, bad = "fields=RowID,Datetime&timestamps=rfc3339&sample=0.5", "fields=RayID"
        assert (await origin(account_id=api.account, logpull_options=good)).valid is True
        assert (await origin(account_id=api.account, logpull_options=bad)).valid is False
        asked = await logpush.ownership.create(account_id=api.account, destination_conf=url)
        assert asked is not None and asked.valid is True
        owned = await logpush.ownership.validate(account_id=api.account, destination_conf=url, ownership_challenge="x")
        assert owned is not None and owned.valid is True


async def test_options_of_logpull_are_taken_and_null_removes_them(tmp_path: Path) -> None:
    async with served(tmp_path) as api:
        made = await api.create(
            destination_conf="https://a.example/", logpull_options="fields=RowID,Kind&timestamps=unix", filter=None
        )
        assert made.output_options.field_names == ["RowID", "Kind"] and made.output_options.timestamp_format == "unix"
        none = await api.jobs.update(made.id, account_id=api.account, output_options=None)
        assert none.output_options is None


async def test_there_are_at_most_twenty_jobs(tmp_path: Path) -> None:
    async with served(tmp_path) as api:
        for _ in range(20):
            await api.create(destination_conf="https://a.example/")
        with pytest.raises(cloudflare.ConflictError, match="20 jobs"):
            await api.create(destination_conf="https://a.example/")
    assert sqlite3.sqlite_version
