"""An application that signs people in by itself has policies of its own; the portal's are not asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from portal.access.identity import Identity
from portal.cli.identity import identified
from portal.config import parse_config

pytestmark = pytest.mark.anyio
ADA = Identity(id="okta:1", email="ada@example.com", idp_id="okta", login_method="okta")
ADMINISTRATOR = Identity(id="local:1", email="root@example.com", idp_id="local", login_method="local")


def document(**more: Any) -> dict[str, Any]:
    return {"name": "Tickets", "type": "saas", "saas_app": {"auth_type": "oidc"}, **more}


async def test_the_policies_of_an_application_decide_who_gets_through_to_it(tmp_path: Path) -> None:
    portal = {"state": f"sqlite:///{tmp_path / 'state.db'}", "identity": {}}
    async with identified(parse_config({"mcpServers": {}, "portal": portal}), print) as found:
        staff = {"name": "Staff", "decision": "allow", "include": [{"email_domain": {"domain": "example.com"}}]}
        await found.store.create(
            "policy", "staff", {**staff, "exclude": [{"email": {"email": "root@example.com"}}]}, by="t"
        )
        await found.store.create("app", "tickets", document(policies=[{"id": "staff", "precedence": 1}]), by="t")
        await found.store.create("app", "bare", document(), by="t")
        allowed = await found.admit(ADA, "app:tickets")
        assert (allowed.effect, allowed.policy_name) == ("allow", "Staff")
        assert (await found.admit(ADMINISTRATOR, "app:tickets")).effect == "deny"
        for app in ("app:bare", "app:nothing"):
            assert (await found.admit(ADA, app)).effect == "deny"
        assert (await found.admit(ADA, "/mcp")).effect == "deny"
        assert (await found.admit(ADMINISTRATOR, "/mcp")).effect == "allow"
