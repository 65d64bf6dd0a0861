"""What rules make of a value, with a real detector: how often it is searched, what is taken out, what is never said."""

from __future__ import annotations

import base64
import random
from pathlib import Path
from typing import Any

import orjson
import pytest

from portal.dlp import Verdict
from portal.gateway import (
    MOST_FINDINGS,
    JudgedContent,
    LiveGateway,
    Rulebook,
    Ruling,
    ValueFacts,
    address_of,
    judge,
    log_entries,
    read_rules,
    reason_of,
)
from portal.identity import ANONYMOUS
from tests.portal.dlp.made_up import SECRETS
from tests.portal.gateway.searching import Searching

pytestmark = pytest.mark.anyio
CREDENTIALS = 'any(dlp.profiles[*] in {"credentials"})'
FACTS = ValueFacts(
    direction="incoming", method="tools/call", address=address_of("https://x.example/mcp"), identity=ANONYMOUS
)


def token(seed: int = 0) -> str:
    return SECRETS["github"](random.Random(seed))


def rule(action: str, traffic: str = CREDENTIALS, **more: Any) -> dict[str, Any]:
    return {"name": f"{action} {traffic}", "action": action, "traffic": traffic, **more}


async def ruled(detector: Searching | None, value: object, *rules: dict[str, Any], **content: Any) -> Ruling:
    book = Rulebook(tuple(read_rules(list(rules))))
    return await judge(book, detector, JudgedContent(value, "result", **content), FACTS)


def words(ruling: Ruling) -> str:
    """All that is said and written of a ruling."""
    said = orjson.dumps(log_entries(ruling.matches, ruling.block, "incoming")).decode()
    if ruling.block is not None:
        said += reason_of(ruling.block, "incoming") + reason_of(ruling.block, "outgoing")
    return said


async def test_a_value_is_searched_once_whatever_the_number_of_rules(searching: Searching) -> None:
    rules = [rule("log", f'{CREDENTIALS} and mcp.method != "{number}"') for number in range(50)]
    ruling = await ruled(searching, {"a": token()}, *rules)
    assert (len(ruling.matches), ruling.block, searching.asked) == (50, None, ["result"])
    entries = log_entries(ruling.matches, None, "incoming")
    assert sum(len(found) for entry in entries if isinstance(found := entry.get("findings"), list)) == MOST_FINDINGS


@pytest.mark.parametrize("kind", SECRETS)
async def test_no_secret_is_left_in_what_is_redacted_nor_in_what_is_said_of_it(searching: Searching, kind: str) -> None:
    secret = SECRETS[kind](random.Random(7))
    hidden = base64.b64encode(f"it is {secret}".encode()).decode()
    value = {"content": [{"type": "text", "text": f"see {secret}"}], "b": {secret: 1}, "c": hidden, "d": [secret]}
    ruling = await ruled(searching, value, rule("redact"))
    left = orjson.dumps(ruling.value).decode()
    assert ruling.block is None and secret not in left and hidden not in left and "see [redacted:" in left
    blocked = await ruled(searching, value, rule("block"))
    for text in (words(ruling), words(blocked)):
        assert secret not in text and hidden not in text


async def test_only_what_the_rule_asks_for_is_taken_out(searching: Searching) -> None:
    value = {"text": f"ada@example.com has {token()} and T-12345"}
    ruling = await ruled(searching, value, rule("redact"), rule("redact", 'any(dlp.profiles[*] == "own")'))
    assert isinstance(ruling.value, dict)
    text = ruling.value["text"]
    assert "ada@example.com" in text and "T-12345" not in text and token() not in text
    assert [match.findings[0].profile for match in ruling.matches] == ["credentials", "own"]


async def test_a_profile_is_meant_by_any_of_its_names(searching: Searching) -> None:
    named = 'any(dlp.profiles[*] in {"the credentials"})'
    ruling = await ruled(searching, {"text": f"{token()} T-12345"}, rule("redact", named), rule("block", named))
    assert ruling.block is None and [one.profile for one in ruling.matches[0].findings] == ["credentials"]


async def test_the_detector_is_told_what_the_rules_name_before_they_decide(searching: Searching) -> None:
    live = LiveGateway(searching)
    live.replace(Rulebook(tuple(read_rules([rule("block"), rule("log", 'any(dlp.profiles[*] == "own")')]))))
    assert searching.needed == {"credentials", "own"}


async def test_a_rule_after_one_that_redacts_sees_what_is_left(searching: Searching) -> None:
    value = {"text": token()}
    assert (await ruled(searching, value, rule("redact"), rule("block"))).block is None
    both = rule("block", 'any(dlp.profiles[*] in {"credentials" "own"})')
    left = await ruled(searching, {"text": f"{token()} T-12345"}, rule("redact"), both)
    assert left.block is not None and [one.profile for one in left.block.findings] == ["own"]


async def test_what_must_stay_is_not_redacted_but_blocked(searching: Searching) -> None:
    ruling = await ruled(searching, {"uri": f"x://{token()}"}, rule("redact"), fixed=("name", "uri"))
    assert ruling.block is not None and ruling.block.why == "not redacted" and token() not in words(ruling)
    other = await ruled(searching, {"uri": "x://y", "arguments": {"a": token()}}, rule("redact"), fixed=("uri",))
    assert other.block is None
    program = await ruled(searching, f'return "{token()}"', rule("redact"), whole=True)
    assert program.block is not None


async def test_matches_that_a_profile_allows_do_not_count(searching: Searching) -> None:
    asks = rule("block", 'any(dlp.profiles[*] in {"two"})')
    assert (await ruled(searching, ["C-11111", "C-22222"], asks)).block is None
    over = await ruled(searching, ["C-11111", "C-22222", "C-33333"], asks)
    assert over.block is not None and len(over.block.findings) == 3


async def test_a_value_that_was_not_searched_to_its_end_is_blocked(searching: Searching) -> None:
    many = base64.b64encode(b"x" * 3_000_000).decode()
    ruling = await ruled(searching, {"data": many}, rule("allow"))
    assert ruling.block is not None and ruling.block.why == "incomplete"
    assert (await ruled(searching, {"data": many}, rule("block", 'mcp.server.id == "x"'))).block is None


async def test_nothing_that_could_be_meant_passes_without_a_search_or_a_profile(searching: Searching) -> None:
    for action in ("allow", "block", "log", "redact"):
        without = await ruled(None, {"a": 1}, rule(action))
        assert without.block is not None and without.block.why == "unavailable"
        gone = await ruled(searching, {"a": 1}, rule(action, 'any(dlp.profiles[*] == "gone")'))
        assert gone.block is not None and gone.block.why == "unknown profile"
    assert (await ruled(None, {"a": 1}, rule("block", f'{CREDENTIALS} and mcp.method == "x"'))).block is None


async def test_the_reason_says_where_a_caller_finds_it_in_what_it_sent_and_not_in_what_was_kept_from_it(
    searching: Searching,
) -> None:
    ruling = await ruled(searching, {"Ada Lovelace": {"key": token()}}, rule("block"))
    assert ruling.block is not None
    out, back = reason_of(ruling.block, "outgoing"), reason_of(ruling.block, "incoming")
    assert "Ada Lovelace" in out and "Ada Lovelace" not in back
    assert "Credentials and Secrets (" in back and "The call was made." in back and "was not sent" in out


class Renaming(Searching):
    """A detector where `own` is another profile after each search: the name was given to another one meanwhile."""

    searches = 0

    async def scanned(self, value: object, root: str = "value", *, as_arguments: bool = False) -> Verdict:
        verdict = await super().scanned(value, root, as_arguments=as_arguments)
        self.searches += 1
        return verdict

    def profile(self, name: str) -> str | None:
        return ("credentials" if self.searches else "personal") if name == "mine" else super().profile(name)


async def test_a_name_that_becomes_another_profiles_during_the_search_lets_nothing_pass(folder: Path) -> None:
    ruling = await ruled(Renaming(folder), {"a": "ada@example.com"}, rule("block", 'any(dlp.profiles[*] == "mine")'))
    assert ruling.block is not None and ruling.block.why == "unknown profile"
