"""The store against a dictionary: any sequence of operations leaves the same, also when it is opened again."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from portal.state import KEEP, AlreadyExists, Conflict, Keep, KeyRing, NotFound, Store, Stored, plain
from tests.strategies import FINITE, SHORT, json_values

KINDS = st.sampled_from(["server", "portal"])
IDS = st.sampled_from(["a", "b", "ü", "a b"])
JSON = json_values(st.integers(-(2**63), 2**63 - 1), FINITE, SHORT, size=3, leaves=6)
DOCUMENTS = st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), JSON, max_size=3)
REVISIONS = st.none() | st.integers(1, 3)
SECRETS = st.none() | st.binary(max_size=20)


@dataclass
class Known:
    document: dict[str, Any]
    secret: bytes | None
    revision: int
    order: int


class Against(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.keys = KeyRing.in_memory()
        self.model: dict[tuple[str, str], Known] = {}
        self.told: set[str] = set()
        self.created = 0
        self._enter()

    def _enter(self) -> None:
        context: AbstractAsyncContextManager[Store] = Store.open(f"sqlite:///{self.folder.name}/s.db", self.keys)
        self.context = context
        self.store = self.runner.run(context.__aenter__())
        self.store.subscribe(self.told.update)

    @rule(kind=KINDS, id=IDS, document=DOCUMENTS, secret=SECRETS)
    def create(self, kind: str, id: str, document: dict[str, Any], secret: bytes | None) -> None:
        self.told.clear()
        try:
            self.runner.run(self.store.create(plain(kind), id, document, by="t", secret=secret))
        except AlreadyExists:
            assert (kind, id) in self.model and not self.told
        else:
            assert (kind, id) not in self.model and self.told == {kind}
            self.created += 1
            self.model[kind, id] = Known(document, secret, 1, self.created)

    @rule(
        kind=KINDS, id=IDS, document=DOCUMENTS, secret=SECRETS | st.just(KEEP), revision=st.none() | st.integers(1, 3)
    )
    def replace(
        self, kind: str, id: str, document: dict[str, Any], secret: bytes | None | Keep, revision: int | None
    ) -> None:
        known = self.model.get((kind, id))
        try:
            self.runner.run(self.store.replace(plain(kind), id, document, by="t", secret=secret, revision=revision))
        except NotFound:
            assert known is None
        except Conflict:
            assert known is not None and revision != known.revision
        else:
            assert known is not None and revision in (None, known.revision)
            known.document = document
            known.revision += 1
            if not isinstance(secret, Keep):
                known.secret = secret

    @rule(kind=KINDS, id=IDS)
    def delete(self, kind: str, id: str) -> None:
        try:
            gone = self.runner.run(self.store.delete(plain(kind), id, by="t"))
        except NotFound:
            assert (kind, id) not in self.model
        else:
            assert isinstance(gone, Stored) and gone.document == self.model.pop((kind, id)).document

    @rule()
    def open_again(self) -> None:
        self.runner.run(self.context.__aexit__(None, None, None))
        self._enter()

    @rule()
    def rotate(self) -> None:
        rotation = self.runner.run(self.store.rotate_keys(forget=True))
        assert rotation.rewrapped == sum(known.secret is not None for known in self.model.values())
        assert self.keys.kids == (rotation.kid,)

    @invariant()
    def the_same_is_there(self) -> None:
        if not hasattr(self, "store"):
            return
        for kind in ("server", "portal"):
            known = {key[1]: value for key, value in self.model.items() if key[0] == kind}
            listed = self.runner.run(self.store.list(plain(kind)))
            assert [stored.id for stored in listed] == sorted(known, key=lambda name: known[name].order)
            for stored in listed:
                expected = known[stored.id]
                assert (stored.document, stored.revision) == (expected.document, expected.revision)
                assert stored.has_secret == (expected.secret is not None)
                assert self.runner.run(self.store.secret(plain(kind), stored.id)) == expected.secret

    def teardown(self) -> None:
        if hasattr(self, "store"):
            self.runner.run(self.context.__aexit__(None, None, None))
            self.runner.close()
            self.folder.cleanup()


Against.TestCase.settings = settings(max_examples=10, stateful_step_count=25)
TestStoreAgainstADictionary = Against.TestCase
