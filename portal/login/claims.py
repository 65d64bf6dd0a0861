"""The claims of a provider about a person, checked before anything is made of them. Pure.

What a provider says is stored with each session and token, compared by policies, shown on pages and sent to servers.
A claim that does not fit ends the sign-in with a sentence that names it and the provider, and never its value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import orjson

from portal.identity import Group
from portal.login.remote import LoginRefused

MAX_SUBJECT = 255
"""OpenID Connect Core section 2."""
MAX_EMAIL = 254
MAX_NAME, MAX_GROUP, MAX_METHOD = 500, 512, 100
MAX_GROUPS, MAX_METHODS = 2000, 50
# Of the groups, and of all claims that are kept: an identity must fit into a document of the state.
MAX_CLAIMS_BYTES, MAX_DEPTH = 128 * 1024, 20
# Also characters that turn the text around them (Unicode, bidirectional formatting), as names are shown to people.
_UNSEEN = re.compile("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class ClaimUnfit(LoginRefused):
    """What a provider says of somebody cannot be used. The text is for the person who signs in."""

    def __init__(self, provider: str, claim: str, problem: str) -> None:
        named = repr(claim[:100]) if claim.isprintable() else "a claim"
        super().__init__(f"{provider} says something of you that this portal cannot use: {named} {problem}.")


class Claims:
    """The claims of one person at the provider of this name."""

    def __init__(self, provider: str, claims: Mapping[str, object]) -> None:
        self._provider = provider
        self._claims = claims

    def unfit(self, claim: str, problem: str) -> ClaimUnfit:
        return ClaimUnfit(self._provider, claim, problem)

    def subject(self) -> str:
        """Who it is: the claim `sub`.

        Raises:
            ClaimUnfit: as all methods do, if the claim does not fit.
        """
        subject = self._claims.get("sub")
        if not isinstance(subject, str) or not 0 < len(subject) <= MAX_SUBJECT:
            raise self.unfit("sub", f"is not a text of 1 to {MAX_SUBJECT} characters")
        if not subject.isprintable() or not subject.strip():
            raise self.unfit("sub", "has characters that cannot be printed, or no others than spaces")
        return subject

    def number(self, name: str) -> int:
        """A positive integer of 63 bits, as plain OAuth providers number people."""
        value = self._claims.get(name)
        if type(value) is not int or not 0 < value < 2**63:
            raise self.unfit(name, "is not a positive whole number")
        return value

    def text(self, name: str, most: int = MAX_NAME) -> str:
        """A text, "" where there is none."""
        value = self._claims.get(name)
        return "" if value is None else self.checked(name, value, most)

    def email(self, name: str = "email") -> str:
        """An address as it is compared, "" where there is none."""
        return self.text(name, MAX_EMAIL).strip().lower()

    def methods(self) -> tuple[str, ...]:
        """How the person signed in: the claim `amr`."""
        return tuple(self.checked("amr", method, MAX_METHOD) for method in self.entries("amr", MAX_METHODS))

    def groups(self, name: str) -> tuple[Group, ...]:
        """Groups as providers write them: names, or objects with `id`, `name`, `email`."""
        groups = tuple(self._group(name, entry) for entry in self.entries(name, MAX_GROUPS))
        if (
            sum(len(text.encode()) for group in groups for text in {group.id, group.name, group.email})
            > MAX_CLAIMS_BYTES
        ):
            raise self.unfit(name, f"has more than {MAX_CLAIMS_BYTES} bytes")
        return groups

    def entries(self, name: str, most: int) -> list[object]:
        """The members of a list of at most so many."""
        value = self._claims.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self.unfit(name, "is not a list")
        if len(value) > most:
            raise self.unfit(name, f"has more than {most} entries")
        return value

    def kept(self, claims: dict[str, object]) -> dict[str, object]:
        """These claims, which are kept for policies."""
        if _deeper(claims, MAX_DEPTH):
            raise self.unfit(next(name for name in claims if _deeper(claims[name], MAX_DEPTH - 1)), "nests too deeply")
        sizes = {name: len(orjson.dumps([name, value])) for name, value in claims.items()}
        if sum(sizes.values()) > MAX_CLAIMS_BYTES:
            largest = max(sizes, key=lambda name: sizes[name])
            raise self.unfit(largest, f"is too large, with the others more than {MAX_CLAIMS_BYTES} bytes")
        return claims

    def checked(self, name: str, value: object, most: int) -> str:
        """A text of the claim `name`."""
        if not isinstance(value, str):
            raise self.unfit(name, "is, or has, something else than text")
        if len(value) > most:
            raise self.unfit(name, f"is, or has, a text of more than {most} characters")
        if _UNSEEN.search(value):
            raise self.unfit(name, "has control characters")
        return value

    def _group(self, claim: str, entry: object) -> Group:
        if isinstance(entry, str):
            name = self.checked(claim, entry, MAX_GROUP)
            return Group(id=name, name=name)
        if not isinstance(entry, Mapping):
            raise self.unfit(claim, "has entries that are neither texts nor objects")
        # Some providers number their groups.
        texts = {name: str(value) if type(value) is int else value for name, value in entry.items()}
        found = {name: self.checked(claim, texts.get(name) or "", MAX_GROUP) for name in ("id", "name", "email")}
        return Group(id=found["id"] or found["name"], name=found["name"], email=found["email"])


def _deeper(value: object, depth: int) -> bool:
    """Whether a JSON value nests deeper than this. What `orjson` has read nests 1,024 levels at most."""
    level: list[object] = [value]
    for _ in range(depth):
        level = [
            inner
            for one in level
            if isinstance(one, Mapping | list)
            for inner in (one.values() if isinstance(one, Mapping) else one)
        ]
    return any(isinstance(one, Mapping | list) for one in level)
