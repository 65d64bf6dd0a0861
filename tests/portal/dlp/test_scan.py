"""Where a value is looked through, and what a finding says of it."""

from __future__ import annotations

import base64
import json
import random
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.dlp import Detection, Detector, Profile, RuleRefused, Verdict, texts
from portal.dlp.sections import MOST_DECODED
from tests.deep import examples
from tests.portal.dlp import made_up
from tests.portal.dlp.conftest import KEY, Make
from tests.portal.dlp.made_up import SECRETS
from tests.strategies import json_values

TOKEN = SECRETS["github"](random.Random(1))
CARD = "4111111111111111"
WEIRD = st.text(st.characters(), max_size=12)
NUMBERS = st.integers() | st.floats() | st.integers(10**11, 10**19)


def at(value: Any, finding: Detection) -> str:
    """The text that a finding points at."""
    leaf = value
    steps = finding.leaf.steps
    for depth, step in enumerate(steps):
        if isinstance(leaf, dict):
            leaf = list(leaf)[step] if finding.leaf.is_name and depth == len(steps) - 1 else list(leaf.values())[step]
        else:
            leaf = leaf[step]
    text = leaf if isinstance(leaf, str) else json.dumps(leaf)
    return text[finding.start : finding.start + finding.length]


@pytest.mark.parametrize(
    "around", ["{}", "It is {}.", "({})", "https://a.example/?key={}&b=1", "[{}]", "a={},b", "{}\n"]
)
@pytest.mark.parametrize("kind", SECRETS)
def test_a_secret_is_found_in_every_surrounding(everything: Detector, kind: str, around: str) -> None:
    secret = SECRETS[kind](random.Random(7))
    text = around.format(secret)
    for value, root in ((text, "text"), ({"note": text}, "result")):
        places = [at(value, finding) for finding in everything.scan(value, root).findings]
        assert any(secret in place or place in secret and len(place) > 0.8 * len(secret) for place in places)


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ({"items": [1, {"token": TOKEN}]}, "result.items[1].token"),
        ({"a b": {"": TOKEN}}, 'result["a b"][""]'),
        ([[TOKEN]], "result[0][0]"),
        (TOKEN, "result"),
        ({"n": [{"card": int(CARD)}]}, "result.n[0].card"),
        ({"x": {TOKEN: 1}}, 'result.x["[redacted:github-pat]"]#'),
    ],
    ids=["nested", "odd names", "arrays", "text", "number", "name"],
)
def test_a_path_says_where_it_is(everything: Detector, value: Any, path: str) -> None:
    (finding,) = everything.scan(value, "result").findings
    assert finding.path == path
    assert at(value, finding) in (TOKEN, CARD)


def test_a_value_below_a_secret_name_does_not_show_that_name(everything: Detector) -> None:
    verdict = everything.scan({TOKEN: {"card": CARD}}, "result")
    assert [finding.path for finding in verdict.findings] == [
        'result["[redacted:github-pat]"]#',
        'result["[redacted:github-pat]"].card',
    ]


@given(value=json_values(WEIRD, NUMBERS, keys=WEIRD), secret=st.sampled_from([TOKEN, CARD, int(CARD)]), data=st.data())
def test_places_point_at_what_was_put_in(everything: Detector, value: Any, secret: Any, data: st.DataObject) -> None:
    before = data.draw(WEIRD)
    put = f"{before} {secret} " if isinstance(secret, str) else secret
    whole = {"before": value, "here": [put], "after": value}
    found = [one for one in everything.scan(whole, "r").findings if one.path == "r.here[0]"]
    assert str(secret) in [at(whole, finding) for finding in found]


@given(json_values(WEIRD, NUMBERS, keys=WEIRD))
def test_both_ways_to_a_text_give_the_same_places(value: Any) -> None:
    known = texts.written(value)
    if not known or isinstance(value, str):
        return
    compact, walked = texts.text_of(value, known), texts.Walked(value)
    assert compact.marked == walked.marked
    size = len(compact.marked)
    spans = [(start, min(start + length, size)) for start in range(0, size, 3) for length in (1, 5)]
    assert compact.pieces(spans) == walked.pieces(spans)


@examples(400)
@given(json_values(st.text(st.characters(exclude_categories=())), NUMBERS, keys=WEIRD), st.booleans())
def test_no_json_raises(everything: Detector, value: Any, as_arguments: bool) -> None:
    assert isinstance(everything.scan(value, as_arguments=as_arguments), Verdict)
    everything.redacted(value, as_arguments=as_arguments)


@pytest.mark.parametrize(
    "value",
    [
        10**5000,
        {"a": "\ud800" + TOKEN},
        {1: TOKEN},
        [2**70, TOKEN],
        (TOKEN,),
        {"a": float("nan"), "b": TOKEN},
    ],
    ids=["long number", "lone surrogate", "number as name", "beyond 64 bits", "tuple", "not a number"],
)
def test_what_is_no_plain_json_is_looked_through_too(everything: Detector, value: Any) -> None:
    rules = [finding.rule for finding in everything.scan(value).findings]
    assert rules == ([] if isinstance(value, int) else ["github-pat"])


def test_deep_values_are_looked_through_to_the_ground(everything: Detector) -> None:
    for depth in (200, 900):
        value: Any = CARD
        for _ in range(depth):
            value = [value]
        (finding,) = everything.scan(value).findings
        assert len(finding.leaf.steps) == depth


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("variant", ["standard", "urlsafe", "without padding", "utf-16"])
def test_what_base64_hides_is_found_and_stands_for_all_of_it(everything: Detector, layers: int, variant: str) -> None:
    hidden = f"the token is {TOKEN}".encode("utf-16-le" if variant == "utf-16" else "utf-8")
    for _ in range(layers):
        hidden = base64.urlsafe_b64encode(hidden) if variant == "urlsafe" else base64.b64encode(hidden)
    text = hidden.decode().rstrip("=" if variant == "without padding" else "")
    value = {"data": f"data:text/plain;base64,{text}"}
    verdict = everything.scan(value)
    assert {finding.rule for finding in verdict.findings} == {"github-pat"}
    assert [at(value, finding) for finding in verdict.findings] == [text]
    plain = everything.scan(TOKEN).findings
    assert {finding.digest for finding in verdict.findings} == {finding.digest for finding in plain}


def test_more_base64_than_the_bound_makes_a_verdict_incomplete(everything: Detector) -> None:
    part = base64.b64encode(b"nothing of interest stands here " * 1024).decode()
    few, many = [part] * 10, [part] * (MOST_DECODED // (32 * 1024) + 1)
    assert everything.scan(few) == Verdict()
    verdict = everything.scan(many)
    assert (verdict.findings, verdict.complete, bool(verdict)) == ((), False, True)


@pytest.mark.parametrize("cuts", [[20], [8, 25], [5, 15, 30]], ids=["two", "three", "four"])
def test_a_secret_split_over_arguments_is_found_in_each_of_them(everything: Detector, cuts: list[int]) -> None:
    pieces = [TOKEN[first:last] for first, last in zip([0, *cuts], [*cuts, len(TOKEN)], strict=True)]
    value = {"head": "hello", "parts": pieces, "tail": "world"}
    assert not everything.scan(value)
    found = everything.scan(value, "arguments", as_arguments=True).findings
    assert [at(value, finding) for finding in found] == pieces
    assert [finding.piece for finding in found] == list(range(len(pieces)))
    assert {finding.digest for finding in found} == {everything.scan(TOKEN).findings[0].digest}


def test_a_split_token_that_says_whose_it_is_is_found_whatever_the_confidence_of_its_rule(everything: Detector) -> None:
    token = "npm_" + "eMJfnwKwmQMPTqyrScEjpxLTMqObl5amaCL5"
    (whole,) = everything.scan(token).findings
    assert whole.confidence == "medium"
    found = everything.scan({"a": token[:20], "b": token[20:]}, as_arguments=True).findings
    assert [finding.rule for finding in found] == [whole.rule] * 2


def test_arguments_with_one_whole_secret_have_one_finding(everything: Detector) -> None:
    (finding,) = everything.scan({"a": TOKEN, "b": "next", "c": "more"}, as_arguments=True).findings
    assert finding.path == "value.a"


def test_the_same_secret_has_the_same_digest_and_another_key_gives_another(everything: Detector, rules: Any) -> None:
    digests = {finding.digest for finding in everything.scan([CARD, "4111 1111 1111 1111", int(CARD)]).findings}
    assert len(digests) == 1
    other = Detector([Profile("financial")], key=KEY[::-1], folder=rules)
    assert {finding.digest for finding in other.scan(CARD).findings}.isdisjoint(digests)


@given(st.randoms(use_true_random=False))
def test_cards_and_accounts_are_found_however_they_are_grouped(everything: Detector, source: random.Random) -> None:
    card, account = made_up.card(source), made_up.iban(source)
    grouped = " ".join(account[at : at + 4] for at in range(0, len(account), 4))
    value = [card, account, account.lower(), f"IBAN {grouped} please", int(card), {"n": f"{card}."}]
    found = {(finding.leaf.steps[0], finding.rule) for finding in everything.scan(value).findings}
    assert found >= {(0, "card"), (1, "iban"), (2, "iban"), (3, "iban"), (4, "card"), (5, "card")}


@pytest.mark.parametrize(
    "text",
    [
        "0.4111111111111111",
        "4111111111111112",
        "1234567812345670",
        "0000000000000000",
        "4111 1111-1111 1111",
        "x4111111111111111",
        "order 41111111111111110",
        "1764460800000",
        "550e8400-e29b-41d4-a716-446655440000",
        "version 1.2.3",
        "2026-11-30T10:12:33Z",
        "123-45-6789-1",
        "user@localhost",
        "GB82 WEST 1234 5698 7654 33",
        "sha256:" + "ab12" * 16,
    ],
)
def test_numbers_that_prove_nothing_are_left_alone(everything: Detector, text: str) -> None:
    assert everything.scan({"text": text}) == Verdict()


def test_a_password_at_the_end_of_a_command_is_found(make: Make) -> None:
    command = 'curl https://a.example -u "bob:d2LkV78zLx!t"'
    detector = make("credentials")
    assert [at(value, *detector.scan(value).findings) for value in (command, {"run": [command]})] == [
        "bob:d2LkV78zLx!t"
    ] * 2


def test_a_card_among_other_groups_of_four_is_found(everything: Detector) -> None:
    value = "codes 1234 5678 4111 1111 1111 1111 9999"
    assert [at(value, finding) for finding in everything.scan(value).findings] == ["4111 1111 1111 1111"]


def test_up_to_the_allowed_number_matches_are_let_pass(make: Make) -> None:
    detector = make(Profile("financial", allowed=2), "national")
    two, three = [CARD, CARD], [CARD] * 3
    assert (detector.scan(two).findings, len(detector.scan(two).allowed)) == ((), 2)
    assert (len(detector.scan(three).findings), detector.scan(three).allowed) == (3, ())
    assert [finding.rule for finding in detector.scan([*two, "514-69-0360"]).findings] == ["us-ssn"]


def test_matches_below_the_confidence_do_not_count(make: Make) -> None:
    text = "call +1 415 555 2671 or (415) 555-2671"
    counts = [
        len(make(Profile("personal", confidence=least)).scan(text).findings) for least in ("low", "medium", "high")
    ]
    assert counts == [2, 1, 0]


@pytest.mark.parametrize(
    ("profiles", "reason"),
    [
        ([], "no profile"),
        ([Profile("financial"), Profile("financial")], "twice"),
        ([Profile("own")], "no pattern and no list"),
        ([Profile("Own")], "name"),
        ([Profile("financial", allowed=-1)], "least number"),
    ],
)
def test_profiles_that_cannot_be_used_are_refused(rules: Any, profiles: list[Profile], reason: str) -> None:
    with pytest.raises(RuleRefused, match=reason):
        Detector(profiles, key=KEY, folder=rules)


def test_a_short_key_is_refused(rules: Any) -> None:
    with pytest.raises(ValueError, match="at least 16"):
        Detector([Profile("financial")], key=b"short", folder=rules)


def test_a_text_that_comes_again_is_not_scanned_again(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    detector = make("financial")
    value = {"page": ["filler"] * 1000, "card": CARD}
    first = detector.scan(value)
    monkeypatch.setattr(Detector, "_scan", None)
    assert detector.scan(json.loads(json.dumps(value))) is first
    with pytest.raises(TypeError):
        detector.scan({**value, "card": "5555555555554444"})
    with pytest.raises(TypeError):
        detector.scan(value, "other")


def test_verdicts_that_are_kept_are_bounded_in_bytes(make: Make) -> None:
    detector = make("financial")
    for number in range(40):
        detector.scan([number, *[CARD] * 300])
    kept = detector._verdicts
    assert 0 < len(kept._known) < 40
    assert kept._left >= 0


@pytest.mark.anyio
async def test_a_large_value_is_scanned_in_a_thread_and_a_small_one_at_once(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    detector = make("financial")
    threads: list[threading.Thread] = []
    scan = Detector.scan

    def noted(self: Detector, *args: Any, **options: Any) -> Verdict:
        threads.append(threading.current_thread())
        return scan(self, *args, **options)

    monkeypatch.setattr(Detector, "scan", noted)
    values = [CARD], ["x" * 20_000, CARD], ["x" * 70_000, CARD]
    assert [len((await detector.scanned(value)).findings) for value in values] == [1, 1, 1]
    assert [thread is threading.main_thread() for thread in threads] == [True, False, False]


@pytest.mark.anyio
async def test_a_detector_is_put_together_in_a_thread(rules: Any) -> None:
    detector = await Detector.made([Profile("credentials")], key=KEY, folder=rules)
    assert detector.scan(TOKEN)
