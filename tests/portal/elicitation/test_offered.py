"""What the page says of a server, and of the words of others in it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.credentials import OWN, STATES, CredentialDocument
from portal.elicitation.offered import OfferedServer, ServerOnPage, readable, shown_servers
from portal.elicitation.routes import MAX_PARAMETERS, _answer_in
from portal.state import CredentialKey, StoredCredential
from tests.portal.upstreams.watching import server_config

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


def offered(answers: bool = False, **entry: Any) -> OfferedServer:
    config = server_config({"url": "https://files.example.com/mcp", **entry})
    return OfferedServer("files", "Files", "", config, answers)


def login(subject: str = "local:ada", **document: Any) -> StoredCredential[CredentialDocument]:
    key = CredentialKey(subject, "files", "https://login.example.com/tenant", "https://files.example.com/mcp", "c")
    values = {"state": "ready", "scope": "read", "granted_at": NOW, "issued_at": NOW, **document}
    return StoredCredential(key, 1, CredentialDocument(**values), NOW, None)


def shown(
    server: OfferedServer,
    *logins: StoredCredential[CredentialDocument],
    connecting: bool = False,
    why: str | None = None,
) -> ServerOnPage:
    wanted = {} if why is None else {"files": why}
    (found,) = shown_servers([server], logins, ["files"] if connecting else [], wanted, NOW)
    return found


@pytest.mark.parametrize(
    ("document", "state", "connected"),
    [
        ({}, "ready", True),
        ({"expires_at": NOW + timedelta(hours=1)}, "ready", True),
        ({"issued_at": NOW - timedelta(hours=1), "expires_at": NOW}, "expiring", True),
        ({"state": "unknown", "reason": "It did not answer."}, "unknown", True),
        ({"state": "needs_reauth", "reason": "It was taken back."}, "needs_reauth", False),
        ({"state": "misconfigured", "reason": "It is wrong."}, "misconfigured", False),
        ({"wanted_scope": "read write"}, "ready", False),
        ({"wanted_scope": "read"}, "ready", True),
    ],
)
def test_a_login_has_its_state_in_the_words_of_everywhere(
    document: dict[str, Any], state: str, connected: bool
) -> None:
    found = shown(offered(), login(**document))
    assert (found.state, found.words, found.connected) == (state, STATES[state], connected)  # type: ignore[index]
    assert found.can == "renew" and found.issuer == "https://login.example.com"
    assert found.reason.startswith(document.get("reason", ""))


def test_what_a_server_wanted_beyond_a_login_is_said() -> None:
    wanting = login(wanted_scope="read write admin")
    assert shown(offered(), wanting).reason == "The server wants more permissions: admin write."
    limited = shown(offered(oauth={"scope": "read"}), wanting)
    assert limited.reason == "The server wants more permissions than an administrator allows: admin write."
    # A further login would not change it.
    assert limited.connected and not limited.chooses


def test_without_a_login_a_server_wants_one_unless_it_answers_everybody() -> None:
    assert (shown(offered()).state, shown(offered()).can) == ("absent", "connect")
    assert shown(offered(), connecting=True).state == "connecting"
    answering = shown(offered(answers=True))
    assert (answering.state, answering.can, answering.connected) == ("", "maybe", True)
    # It may answer because the portal is logged in, or only as long as nothing is called.
    assert shown(offered(answers=True), login(OWN)).can == "connect"
    wanted = shown(offered(answers=True), why="")
    assert (wanted.can, wanted.connected, wanted.wanted) == ("connect", False, True)


def test_the_login_of_the_portal_is_nobodys_to_end() -> None:
    entry = offered(onBehalf=False)
    assert [(one.state, one.can, one.connected) for one in (shown(entry), shown(entry, login(OWN)))] == [
        ("absent", "", False),
        ("ready", "", True),
    ]
    assert "which an administrator makes" in shown(entry).reason
    # The login of a person is not used there.
    assert shown(entry, login()).can == ""


@pytest.mark.parametrize(
    "entry",
    [
        {"headers": {"Authorization": "Bearer x"}},
        {"oauth": {"grant": "client_credentials", "clientId": "c", "clientSecret": "s"}},
    ],
)
def test_a_server_with_a_credential_of_its_own_needs_no_login(entry: dict[str, Any]) -> None:
    found = shown(offered(**entry), why="")
    assert (found.state, found.can, found.connected) == ("", "", True)


@given(st.text(max_size=2000), st.integers(2, 500))
def test_what_others_write_is_one_printable_line_of_bounded_length(text: str, length: int) -> None:
    line = readable(text, length)
    assert len(line) <= length and line.isprintable() and line == line.strip()
    assert readable(line, length) == line


@given(st.lists(st.tuples(st.sampled_from(["state", "iss", "code"]) | st.text(max_size=5), st.text(max_size=20))))
def test_an_answer_is_read_whole_or_not_at_all(pairs: list[tuple[str, str]]) -> None:
    names = [name for name, _ in pairs]
    fits = len(names) == len(set(names)) <= MAX_PARAMETERS
    assert _answer_in(pairs) == (dict(pairs) if fits else {})
