"""What a request says of an object that is not its to say is not believed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.admin.api.permissions import PORTALS, group_id
from tests.portal.admin.conftest import Api

SERVERS, TOKENS = "/access/ai-controls/mcp/servers", "/tokens"
SAID: dict[str, Any] = {
    "id": "chosen",
    "status": "ready",
    "created_by": "somebody else",
    "modified_by": "somebody else",
    "created_at": "2001-01-01T00:00:00Z",
    "tools": [{"name": "planted"}],
    "hash": "0" * 64,
    "value": "cmp_mine",
    "issued_on": "2001-01-01T00:00:00Z",
    "account_id": "f" * 32,
    "client_id": "mine",
    "client_secret_sha256": "0" * 64,
    "secret_sha256": "0" * 64,
    "enabled": False,
    "revision": 99,
    "document": {"hash": "0" * 64},
}


def bodies(api: Api) -> dict[str, dict[str, Any]]:
    policy = {
        "effect": "allow",
        "permission_groups": [{"id": group_id(PORTALS.read)}],
        "resources": {f"com.cloudflare.api.account.{api.account}": "*"},
    }
    app = {"auth_type": "oidc", "redirect_uris": ["https://app.example/cb"]}
    return {
        TOKENS: {"name": "t", "policies": [policy]},
        SERVERS: {"id": "crm", "name": "CRM", "auth_type": "unauthenticated", "hostname": "https://crm.example/mcp"},
        "/access/service_tokens": {"name": "ci"},
        "/access/policies": {"name": "All", "decision": "allow", "include": [{"everyone": {}}]},
        "/access/identity_providers": {"name": "PIN", "type": "onetimepin", "config": {}},
        "/access/apps": {"name": "A", "type": "saas", "saas_app": {**app, **SAID}},
    }


@pytest.mark.parametrize(
    "path",
    [
        TOKENS,
        SERVERS,
        "/access/service_tokens",
        "/access/policies",
        "/access/identity_providers",
        "/access/apps",
    ],
)
def test_what_an_object_says_of_itself_is_not_believed(api: Api, tmp_path: Path, path: str) -> None:
    body = bodies(api)[path]
    answer = api.http.post(api.at(path), headers=api.headers(), json={**SAID, **body})
    assert answer.status_code in (200, 201), answer.text
    made = answer.json()["result"]
    assert made["id"] != "chosen"
    told = str(made)
    for planted in ("somebody else", "2001-01-01", "planted", "cmp_mine", "'mine'", "f" * 32):
        assert planted not in told
    assert made.get("status") in (None, "active", "waiting")
    again = api.http.put(api.at(f"{path}/{made['id']}"), headers=api.headers(), json={**SAID, **body}).json()
    if path != TOKENS:
        assert again["result"]["id"] == made["id"]
        assert "somebody else" not in str(again) and "2001-01-01" not in str(again) and "'mine'" not in str(again)
    stored = b"".join(file.read_bytes() for file in tmp_path.iterdir() if file.is_file())
    for planted in ("0" * 64, "somebody else", "planted"):
        assert planted.encode() not in stored
