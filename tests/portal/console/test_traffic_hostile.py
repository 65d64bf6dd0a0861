"""Whatever an administrator types into the forms of the traffic, no page is a fault of the portal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deep import WHOLE, sixth
from tests.portal.console.test_traffic_read_only import FORMS, PAGES, UNLINKED, filled
from tests.portal.login.browser import browser_at
from tests.portal.login.guarded import guarded_portal, sign_in

pytestmark = pytest.mark.anyio
FIELDS = (
    *("name", "description", "action", "block_reason", "traffic", "identity", "device_posture", "host", "server"),
    *("tool", "method", "direction", "email", "group", "precedence", "enabled", "to", "calls", "period", "unit"),
    *("per-person", "portals", "servers", "tools", "when", "target", "exempt", "all", "url", "header_name"),
    *("header_value", "bucket", "path", "region", "endpoint", "receiver", "folder", "conf", "rows", "filter"),
    *("field_names", "sample_rate", "output_type", "frequency", "on_refused", "start_at", "max_upload_bytes", "do"),
    *("allowed_match_count", "confidence_threshold", "regex", "validation", "sample", "words", "values", "entry"),
    "dataset",
)
TEXTS = (
    *("", "\0", "²", "-1", "9" * 400, "1e999", "nan", "<script>alert(1)</script>", "\u202e\u2028", "try"),
    *('{"where": ' * 40, "[" * 900, '"' * 300, "(" * 300, "\\" * 99, "a" * 700, "2026-02-30T99:99:99Z", "%00%f0"),
)
# What is checked first is right in every second form, so that what comes behind it is tried too.
RIGHT = {
    **{"action": "block", "calls": "5", "period": "1", "unit": "60", "when": "a", "target": "b", "precedence": "1"},
    **{"rows": "all", "filter": "", "on_refused": "skip", "allowed_match_count": "1", "confidence_threshold": "low"},
    **{"url": "https://collector.example.com", "start_at": "", "sample_rate": "", "output_type": "", "frequency": ""},
    **{"max_upload_bytes": "", "field_names": "", "regex": "a+b", "validation": "", "traffic": "", "identity": ""},
    **{"device_posture": "", "header_value": "", "direction": ""},
}
MORE = ("/gateway/g1/move", "/dlp/profiles/d1/switch", "/dlp/profiles/d1/share", "/dlp/profiles/d1/words")


@WHOLE
async def test_no_text_in_a_form_of_the_traffic_is_a_fault_of_the_portal(whole: bool, tmp_path: Path) -> None:
    pytest.importorskip("re2")
    async with guarded_portal(tmp_path, has_log=True) as portal, browser_at(portal.url) as person:
        await portal.account()
        await sign_in(person, await person.open("/admin"))
        await filled(portal)
        token = (await person.open("/logout")).form("/logout").fields
        forms = (*FORMS, *MORE, "/dlp/profiles/d1/patterns/new", "/logpush/1/destination")
        for place, path in enumerate(forms):
            for turn, text in enumerate(sixth(TEXTS, place, whole)):
                query = "?as=text" if len(text) % 2 else "?kind=s3&page=1"
                sent = dict.fromkeys(FIELDS, text) | (RIGHT if turn % 2 else {}) | token
                answer = await person.client.post(f"{portal.url}/admin{path}{query}", data=sent)
                assert answer.status_code < 500, (path, text[:40], answer.status_code)
                assert "<script>alert" not in answer.text
        for place, path in enumerate((*PAGES, *UNLINKED)):
            for text in sixth(TEXTS, place, whole):
                asked = dict.fromkeys(("search", "as", "kind", "person", "said"), text)
                asked["page"] = text if len(text) % 2 else "1"
                answer = await person.client.get(f"{portal.url}/admin{path.split('?')[0]}", params=asked)
                assert answer.status_code < 500, (path, text[:40], answer.status_code)
                assert "<script>alert" not in answer.text
