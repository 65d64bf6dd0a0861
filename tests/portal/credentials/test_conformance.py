"""The client scenarios of the official MCP conformance suite, through the portal's own upstream code."""

from __future__ import annotations

import asyncio
import re
import sys

import pytest

from tests.node_tools import install, needs, node
from tests.portal.endpoint.conformance import PACKAGE, SUITE_SECONDS, output_of

pytestmark = [pytest.mark.anyio, pytest.mark.conformance, pytest.mark.timeout(600)]
RELEASE = "0.2.0-alpha.12"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# All of the authorization of 2025-11-25 and 2026-07-28, and of two extensions (client credentials, enterprise-managed
# authorization). Not here: endpoints that are guessed without any metadata (2025-03-26), and extensions that the portal
# does not have (DPoP, workload identity).
ALWAYS = ["basic-cimd", "scope-step-up", "client-credentials-jwt", "enterprise-managed-authorization"]
DEEP = """
    metadata-default metadata-var1 metadata-var2 metadata-var3 metadata-issuer-mismatch resource-mismatch
    2025-03-26-oauth-metadata-backcompat authorization-server-migration
    pre-registration token-endpoint-auth-basic token-endpoint-auth-post token-endpoint-auth-none
    scope-from-www-authenticate scope-from-scopes-supported scope-omitted-when-undefined
    scope-retry-limit offline-access-scope offline-access-not-supported
    iss-supported iss-not-advertised iss-supported-missing iss-wrong-issuer iss-unexpected iss-normalized
    client-credentials-basic
""".split()


@pytest.mark.parametrize("scenario", [*ALWAYS, *(pytest.param(name, marks=pytest.mark.deep) for name in DEEP)])
async def test_every_check_of_a_client_scenario_passes(scenario: str) -> None:
    await asyncio.to_thread(needs, install, f"{PACKAGE}@{RELEASE}")
    await asyncio.to_thread(needs, node)
    command = f"{sys.executable} -m tests.portal.credentials.conformance_client"
    patience = ("--timeout", str(SUITE_SECONDS * 1000))
    output = await output_of(RELEASE, "client", "--scenario", f"auth/{scenario}", "--command", command, *patience)
    found = re.search(r"Passed: (\d+)/(\d+), (\d+) failed, (\d+) warnings", output)
    assert found is not None, output[-6000:]
    passed, checks, failed, warnings = map(int, found.groups())
    assert (passed, failed, warnings) == (checks, 0, 0) and checks > 0, output[-6000:]
