"""No request of any form makes the portal fail: every route, with every kind of credential."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.deep import examples
from tests.hostile.client import RawAnswer, RawRequest
from tests.hostile.requests import requests
from tests.hostile.target import Target, target

pytestmark = pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
EXAMPLES = settings(
    examples(3000),
    database=None,
    # What the portal answers depends on what it was asked before, so a request that failed cannot be made simpler.
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A portal that is served from another thread."""
    with start_blocking_portal() as portal:
        with portal.wrap_async_context_manager(target(tmp_path_factory.mktemp("attacked"))) as made:
            yield made


def is_fault_of_the_server(request: RawRequest, answer: RawAnswer) -> bool:
    """Whether it is a login at the server, which has no authorization server."""
    return answer.status == 502 and request.target.startswith(b"/servers/connect")


@EXAMPLES
@given(data=st.data())
def test_no_request_of_any_form_is_answered_with_a_fault_of_the_portal_or_kept_by_a_cache(
    attacked: Target, data: st.DataObject
) -> None:
    request = data.draw(requests(attacked.known))
    answer = attacked.attacker.send(request)
    if answer is None:
        return
    assert answer.status < 500 or is_fault_of_the_server(request, answer), (request, answer)
    # What may be public says so. Nobody keeps anything else.
    assert any(word in answer.header("cache-control") for word in ("no-store", "public")), (request, answer)
    if answer.status >= 400 and answer.header("content-type") == "application/json":
        assert isinstance(json.loads(answer.body or b"{}"), dict)


def test_the_portal_goes_on_serving(attacked: Target) -> None:
    answer = attacked.attacker.send(RawRequest(b"GET", b"/healthz"))
    assert answer is not None
    assert answer.status == 200
    assert len(attacked.known.doors) > 70
