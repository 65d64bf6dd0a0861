"""The detector: profiles that were chosen, put together once, and asked about values."""

from __future__ import annotations

import asyncio
import hmac
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Lock

from codemode import heavy
from portal.dlp.catalog import SecretCatalog
from portal.dlp.credentials import RULES as FORMS
from portal.dlp.credentials import OwnForms
from portal.dlp.expressions import compiler
from portal.dlp.findings import CONFIDENCES, Detection, RuleRefused, Verdict
from portal.dlp.identifiers import RULES as IDENTIFIERS
from portal.dlp.identifiers import RULES_OF, Identifiers
from portal.dlp.lists import ExactLists
from portal.dlp.match import Match
from portal.dlp.names import CREDENTIALS, FINANCIAL, NATIONAL, PERSONAL, PREDEFINED, RuleOf
from portal.dlp.paths import Paths
from portal.dlp.patterns import checked_name
from portal.dlp.profile import Profile
from portal.dlp.redaction import redact
from portal.dlp.search import Looking, Rules, TextSearch
from portal.dlp.texts import Piece, Text, text_of, written

CACHE = 4 * 1024 * 1024
"""Bytes of verdicts that are kept."""
_SHORTEST_CACHED = 4 * 1024
_SHORTEST_KEY = 16
_LONGEST_ON_LOOP = 16 * 1024
_ROUNDS = 4
_ALL = 1 << 62


class Detector:
    """Looks for what its profiles say. Threads may share it. It never opens a connection, and keeps no text."""

    def __init__(
        self, profiles: Iterable[Profile], *, key: bytes, folder: Path, former: Detector | None = None
    ) -> None:
        """Takes seconds: see `made`. `folder` keeps compiled rules, for this user only. A `former` detector of the same
        folder lends the catalog that it has in memory.

        Raises:
            DetectionUnavailable: the extra is not installed, or the folder cannot be used.
            RuleRefused: profiles that cannot be used together.
        """
        self._profiles = _checked(profiles)
        self._findings_key = _derived(key, "findings")
        self._verdicts_key = _derived(key, "verdicts")
        self._secrets: SecretCatalog | None = former._secrets if former is not None else None
        if self._secrets is None and CREDENTIALS in _searched(self._profiles):
            self._secrets = SecretCatalog(folder)
        self._rules = _rules(self._profiles, lists_key(key), self._secrets)
        self._verdicts = _Verdicts(CACHE)

    @property
    def profiles(self) -> frozenset[str]:
        """The ids of its profiles."""
        return frozenset(self._profiles)

    @classmethod
    async def made(cls, profiles: Iterable[Profile], *, key: bytes, folder: Path) -> Detector:
        """A detector, put together in a thread."""
        return await asyncio.to_thread(lambda: cls(profiles, key=key, folder=folder))

    async def scanned(self, value: object, root: str = "value", *, as_arguments: bool = False) -> Verdict:
        """As `scan`; a large value in a thread, so that the loop is not late even if the value is made to be slow."""
        if heavy(value) or len(written(value)) > _LONGEST_ON_LOOP:
            return await asyncio.to_thread(lambda: self.scan(value, root, as_arguments=as_arguments))
        return self.scan(value, root, as_arguments=as_arguments)

    def scan(self, value: object, root: str = "value", *, as_arguments: bool = False) -> Verdict:
        """What is found in a text or a JSON value: strings, names, numbers, and the texts in base64.

        `root` is the first word of paths. With `as_arguments` a secret is found too that is split over several strings,
        as a program can put it together from pieces.
        """
        known = written(value)
        if len(known) < _SHORTEST_CACHED:
            return self._scan(value, text_of(value, known), root, as_arguments)
        key = hmac.digest(self._verdicts_key, repr((root, as_arguments)).encode() + known, "sha256")
        verdict = self._verdicts.get(key)
        if verdict is None:
            verdict = self._scan(value, text_of(value, known), root, as_arguments)
            self._verdicts.put(key, verdict)
        return verdict

    def redacted(self, value: object, root: str = "value", *, as_arguments: bool = False) -> tuple[object, Verdict]:
        """The value without what was found, and the verdict about the value as it was.

        A new scan of what is given back finds nothing: what only shows when something beside it is gone is replaced as
        well, at last whole strings. Where the verdict is not complete, neither is the redaction.
        """
        verdict = current = self.scan(value, root, as_arguments=as_arguments)
        for again in range(_ROUNDS):
            if not current.findings:
                break
            found = current.findings if again < _ROUNDS // 2 else [_of_all(finding) for finding in current.findings]
            value = redact(value, found)
            current = self.scan(value, root, as_arguments=as_arguments)
        return value, verdict

    async def cleaned(
        self, value: object, root: str = "value", *, as_arguments: bool = False
    ) -> tuple[object, Verdict]:
        """As `redacted`; a large value in a thread."""
        if heavy(value) or len(written(value)) > _LONGEST_ON_LOOP:
            return await asyncio.to_thread(lambda: self.redacted(value, root, as_arguments=as_arguments))
        return self.redacted(value, root, as_arguments=as_arguments)

    def _scan(self, value: object, text: Text, root: str, as_arguments: bool) -> Verdict:
        located, complete = TextSearch(self._rules, text.marked, CREDENTIALS).run(as_arguments=as_arguments)
        if not located:
            return Verdict(complete=complete)
        spans = sorted({span for one in located for span in one.spans})
        pieces = dict(zip(spans, text.pieces(spans), strict=True))
        found = [(one.match, [piece for span in one.spans for piece in pieces[span]]) for one in located]
        return self._judged(self._findings(found, value, root), complete)

    def _findings(self, found: Sequence[tuple[Match, list[Piece]]], value: object, root: str) -> Iterator[Detection]:
        hidden = {piece.leaf.steps: match.rule for match, pieces in found for piece in pieces if piece.leaf.is_name}
        paths = Paths(value, root, hidden)
        for match, pieces in found:
            digest = hmac.digest(self._findings_key, match.form, "sha256")[:16].hex()
            for number, piece in enumerate(pieces):
                yield Detection(
                    match.profile,
                    match.rule,
                    match.confidence,
                    paths.of(piece.leaf),
                    piece.start,
                    piece.length,
                    digest,
                    piece.leaf,
                    number,
                )

    def _judged(self, findings: Iterable[Detection], complete: bool) -> Verdict:
        """The verdict, after the numbers of matches that profiles allow."""
        found = tuple(findings)
        counts = Counter(finding.profile for finding in found if finding.piece == 0)
        let_pass = {profile for profile, count in counts.items() if count <= self._profiles[profile].allowed}
        return Verdict(
            tuple(finding for finding in found if finding.profile not in let_pass),
            tuple(finding for finding in found if finding.profile in let_pass),
            complete,
        )


def lists_key(key: bytes) -> bytes:
    """The key of the hashes of exact lists, from the key of a detector."""
    return _derived(key, "lists")


def _derived(key: bytes, use: str) -> bytes:
    if len(key) < _SHORTEST_KEY:
        raise ValueError(f"the key of detection has {len(key)} bytes; at least {_SHORTEST_KEY} are needed")
    return hmac.digest(key, f"dlp {use}".encode(), "sha256")


def _checked(profiles: Iterable[Profile]) -> dict[str, Profile]:
    chosen: dict[str, Profile] = {}
    for profile in profiles:
        checked_name(profile.id)
        if profile.id in chosen:
            raise RuleRefused(f"the profile {profile.id!r} is chosen twice")
        own = [*profile.patterns, *profile.lists, *profile.shared]
        if profile.id in PREDEFINED and own:
            raise RuleRefused(
                f"the profile {profile.id!r} is predefined: patterns and lists belong into one of another id"
            )
        if profile.id not in PREDEFINED and profile.off:
            raise RuleRefused(f"the profile {profile.id!r} is not predefined, so none of its rules can be off")
        if any(origin not in PREDEFINED for origin, _ in profile.shared):
            raise RuleRefused(f"the profile {profile.id!r} shares a rule of a profile that is not predefined")
        if profile.id not in PREDEFINED and not own:
            known = ", ".join(PREDEFINED)
            raise RuleRefused(
                f"the profile {profile.id!r} has no pattern and no list, and is none of the predefined {known}"
            )
        if profile.allowed < 0:
            raise RuleRefused(f"the profile {profile.id!r} allows {profile.allowed} matches; the least number is 0")
        chosen[profile.id] = profile
    if not chosen:
        raise RuleRefused("no profile is chosen, so nothing would ever be found")
    return chosen


def _searched(profiles: Mapping[str, Profile]) -> frozenset[str]:
    """The profiles whose rules are looked for: those that are chosen, and those that others share rules of."""
    return frozenset(profiles) | {origin for profile in profiles.values() for origin, _ in profile.shared}


def _rules(profiles: Mapping[str, Profile], key: bytes, secrets: SecretCatalog | None) -> Rules:
    compiled = compiler()
    chosen = _searched(profiles)
    _check_shared(profiles.values(), secrets)
    catalog: list[Looking] = []
    everywhere: list[Looking] = []
    lists: list[Looking] = []
    names = {*IDENTIFIERS, *FORMS}
    if CREDENTIALS in chosen:
        assert secrets is not None
        names |= secrets.rules
        catalog.append(secrets.matches)
        named = any(
            profile.confidence == "low"
            for profile in profiles.values()
            if profile.id == CREDENTIALS or any(origin == CREDENTIALS for origin, _ in profile.shared)
        )
        everywhere.append(OwnForms(compiled, named=named).matches)
    if chosen & {FINANCIAL, NATIONAL, PERSONAL}:
        everywhere.append(Identifiers(chosen, compiled).matches)
    bounded = []
    for profile in profiles.values():
        names |= {pattern.rule for pattern in profile.patterns} | {one.rule for one in profile.lists}
        bounded += [partial(pattern.matches, profile.id) for pattern in profile.patterns]
        if profile.lists:
            lists.append(ExactLists(profile.id, profile.lists, key).matches)
    return Rules(
        tuple(catalog),
        tuple(everywhere),
        tuple(lists),
        tuple(bounded),
        {profile.id: CONFIDENCES.index(profile.confidence) for profile in profiles.values()},
        frozenset(name.encode() for name in names),
        frozenset((profile.id, rule) for profile in profiles.values() for rule in profile.off),
        _shared(profiles.values()),
    )


def _check_shared(profiles: Iterable[Profile], secrets: SecretCatalog | None) -> None:
    """Require that every rule that is shared is one: otherwise nothing would ever be found by it.

    Raises:
        RuleRefused: one is not.
    """
    rules = {CREDENTIALS: FORMS | secrets.rules if secrets is not None else FORMS, **RULES_OF}
    for profile in profiles:
        for origin, rule in sorted(profile.shared):
            if rule not in rules[origin]:
                raise RuleRefused(
                    f"the profile {profile.id!r} shares {rule[:64]!r}, which is no rule of {origin!r}", profile.id
                )


def _shared(profiles: Iterable[Profile]) -> Mapping[RuleOf, tuple[str, ...]]:
    """The profiles that look for a rule beside the one it is of. A profile that is not chosen itself finds nothing."""
    shared: dict[RuleOf, tuple[str, ...]] = {}
    for profile in profiles:
        for rule in profile.shared:
            shared[rule] = (*shared.get(rule, ()), profile.id)
    return shared


def _of_all(finding: Detection) -> Detection:
    """A finding that stands for all of its leaf."""
    return replace(finding, start=0, length=_ALL)


class _Verdicts:
    """The verdicts of texts that were scanned, by keyed hashes of the texts; the one used least recently goes first."""

    def __init__(self, most: int) -> None:
        self._left = most
        self._known: OrderedDict[bytes, Verdict] = OrderedDict()
        self._lock = Lock()

    def get(self, key: bytes) -> Verdict | None:
        with self._lock:
            verdict = self._known.get(key)
            if verdict is not None:
                self._known.move_to_end(key)
            return verdict

    def put(self, key: bytes, verdict: Verdict) -> None:
        with self._lock:
            if key in self._known:
                return
            self._known[key] = verdict
            self._left -= _weight(verdict)
            while self._left < 0:
                self._left += _weight(self._known.popitem(last=False)[1])


def _weight(verdict: Verdict) -> int:
    """About how many bytes a verdict takes."""
    return 400 + sum(500 + len(one.path) + 8 * len(one.leaf.steps) for one in (*verdict.findings, *verdict.allowed))
