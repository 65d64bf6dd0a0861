"""A member of a body that is null was not sent: infrastructure tools write null for what was taken out of a file."""

from __future__ import annotations

from typing import Any

import pytest

from tests.portal.admin.conftest import Api

EVERYONE: list[dict[str, Any]] = [{"everyone": {}}]
MADE: dict[str, dict[str, Any]] = {
    "/access/policies": {"name": "p", "decision": "allow", "include": EVERYONE},
    "/access/groups": {"name": "g", "include": EVERYONE},
    "/access/apps": {"name": "a", "type": "self_hosted"},
    "/access/identity_providers": {"name": "i", "type": "onetimepin"},
    "/access/custom_pages": {"name": "c", "type": "forbidden", "custom_html": "<p>No</p>"},
    "/access/service_tokens": {"name": "s"},
    "/gateway/lists": {"name": "l", "type": "EMAIL"},
    "/access/ai-controls/mcp/servers": {
        "id": "tickets",
        "name": "T",
        "auth_type": "unauthenticated",
        "hostname": "https://a.example/mcp",
    },
    "/access/ai-controls/mcp/portals": {"id": "team", "name": "T", "hostname": "team.example.com"},
}
# Every change sets these.
OWN = {"updated_at", "modified_at"}


@pytest.mark.parametrize("path", MADE)
def test_null_in_every_member_that_may_be_left_out_makes_and_changes_the_same(api: Api, path: str) -> None:
    body = MADE[path]
    operations = {one.method: one for one in api.admin.operations if one.path in (path, f"{path}/{{id}}") and one.body}
    made, changed = operations["POST"].body, operations["PUT"].body
    assert made is not None and changed is not None
    nulls = dict.fromkeys(set(made.model_fields) - set(body))
    answer = api.http.post(api.at(path), headers=api.headers(), json={**nulls, **body})
    assert answer.status_code in (200, 201), answer.text
    shown = answer.json()["result"]
    id = shown.get("id") or shown["uid"]
    sent = {name: value for name, value in body.items() if name in changed.model_fields and name != "id"}
    nulls = dict.fromkeys(set(changed.model_fields) - set(sent) - {"id", "description"})
    answer = api.http.put(api.at(f"{path}/{id}"), headers=api.headers(), json={**nulls, **sent})
    assert answer.status_code == 200, answer.text
    replaced = answer.json()["result"]
    same = replaced.keys() & shown.keys() - OWN
    assert {name: replaced[name] for name in same} == {name: shown[name] for name in same}


def test_errors_of_a_body_are_in_our_words_at_their_places(api: Api) -> None:
    body = {"name": "a", "type": "self_hosted", "policies": [{"id": "x", "zz": 1}], "destinations": 3, "tags": [None]}
    answer = api.http.post(api.at("/access/apps"), headers=api.headers(), json=body)
    errors = {error["source"]["pointer"]: error["message"] for error in answer.json()["errors"]}
    assert answer.status_code == 400
    assert errors == {
        "/policies/0/zz": "is not known here",
        "/destinations": "must be a list",
        "/tags/0": "must be text",
    }
