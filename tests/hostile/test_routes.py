"""No request of any form makes the portal fail: every route, with every kind of credential."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.deep import examples
from tests.hostile.client import RawAnswer, RawRequest
from tests.hostile.requests import requests
from tests.hostile.target import Target, target

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
EXAMPLES = settings(
    examples(4000),
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A portal that is served from another thread."""
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(target(tmp_path_factory.mktemp("attacked"))) as made:
            yield made


def answered(target: Target, request: RawRequest) -> RawAnswer | None:
    return target.attacker.send(request)


@EXAMPLES
@given(data=st.data())
def test_no_request_of_any_form_is_answered_with_a_fault_of_the_portal(attacked: Target, data: st.DataObject) -> None:
    request = data.draw(requests(attacked.known))
    answer = answered(attacked, request)
    assert answer is None or answer.status < 500, answer
    if answer is not None and answer.status >= 400 and answer.header("content-type") == "application/json":
        assert isinstance(json.loads(answer.body or b"{}"), dict)


def test_the_portal_goes_on_serving(attacked: Target) -> None:
    answer = answered(attacked, RawRequest(b"GET", b"/healthz"))
    assert answer is not None
    assert answer.status == 200
    assert len(attacked.known.doors) > 70
