"""What of arguments and results may be kept: without what names or places say is secret, and not too much. Pure.

A rule is a name or a path. A name (`*password*`) is that of a member at any depth; letters count in any case, and `-`,
`_` and spaces do not count. A path (`customer.cards.*.number`) is the end of the way to a member, `*` any member or
item. What a rule names is `MASKED`, whatever its value is.

Names that commonly hold secrets are masked always (`ALWAYS`). So are secrets within a text: JSON in it is read as JSON,
and what follows `password=`, `token:` or `Bearer` is masked. It is a net and no wall: a secret in the middle of a
sentence stays.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from functools import lru_cache

MASKED = "[masked]"
CUT = "[cut]"
ALWAYS = (
    "*password*", "*passwd*", "*passphrase*", "*pwd*", "*secret*", "*token*", "*authorization*", "*apikey*",
    "*accesskey*", "*privatekey*", "*signingkey*", "*credential*", "*cookie*", "*jwt*", "auth", "pin", "otp",
    "sessionid", "bearer",
)  # fmt: skip
MAX_NAME = 200
"""Characters of the name of a member. What has a longer one is masked."""
_DEPTH = 60
_TEXTS_DEPTH = 3
_SKIPPED = str.maketrans("", "", "-_ ")
_WORDS = "password|passwd|passphrase|pwd|secret|token|authorization|api[-_ ]?key|access[-_ ]?key|credential|cookie"
_ASSIGNED = re.compile(
    rf"""((?:{_WORDS})[\w-]{{0,40}}["']?\s{{0,4}}[:=]\s{{0,4}})"""
    r"""(?:"[^"\n]{1,4000}"|'[^'\n]{1,4000}'|(?:(?:bearer|basic)\s{1,4})?[^\s&,;}\]]+)""",
    re.IGNORECASE,
)
_HINTS = (
    "passw", "passphrase", "pwd", "secret", "token", "authorization", "key", "credential", "cookie", "bearer", "basic",
)  # fmt: skip
_SCHEMED = re.compile(r"\b((?:bearer|basic)\s{1,4})[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
_USER_OF_URL = re.compile(r"(\b[a-z][a-z0-9+.-]{0,20}://)[^\s/@]{1,300}@", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Masks:
    """Rules, compiled. Use `Masks.of`."""

    names: re.Pattern[str]
    paths: tuple[tuple[re.Pattern[str] | None, ...], ...]

    @classmethod
    def of(cls, rules: Iterable[str] = ()) -> Masks:
        """`ALWAYS`, and these."""
        rules = tuple(rules)
        names = [*ALWAYS, *(rule for rule in rules if "." not in rule)]
        paths = [rule.split(".") for rule in rules if "." in rule]
        return cls(
            re.compile("|".join(translate(_normal(name)) for name in names)),
            tuple(tuple(_part(part) for part in path) for path in paths),
        )

    def hides(self, name: str, place: Sequence[str]) -> bool:
        """Whether the member or item of this name is masked, which is at this place. The place ends with the name."""
        return _is_hidden(self.names, name) or self.hides_place(place)

    def hides_place(self, place: Sequence[str]) -> bool:
        """Whether the place ends with one of the paths."""
        return any(_leads_to(path, place) for path in self.paths)


def _leads_to(path: Sequence[re.Pattern[str] | None], place: Sequence[str]) -> bool:
    end = place[-len(path) :]
    return len(end) == len(path) and all(
        part is None or part.match(_normal(at)) is not None for part, at in zip(path, end, strict=True)
    )


@lru_cache(maxsize=8192)
def _is_hidden(names: re.Pattern[str], name: str) -> bool:
    return names.match(_normal(name)) is not None


def masked(value: object, masks: Masks, room: int) -> object:
    """A copy of a JSON value that may be kept, of at most about `room` bytes: what does not fit is `CUT`."""
    return _Copy(masks, room).of(value, (), 0)


class _Copy:
    """Copies one value. `_room` is what is left for it."""

    def __init__(self, masks: Masks, room: int) -> None:
        self._masks = masks
        self._room = room

    def of(self, value: object, place: tuple[str, ...], texts: int) -> object:
        match value:
            case str():
                return self._text(value, place, texts)
            case None | bool() | float():
                self._room -= 8
                return value
            case int():
                self._room -= 8 + value.bit_length() // 3
                return value
        if len(place) > _DEPTH or self._room <= 0:
            return CUT
        self._room -= 2
        if isinstance(value, Mapping):
            return self._members(value, place, texts)
        if isinstance(value, Sequence):
            items: list[object] = []
            for at, item in enumerate(value):
                if self._room <= 0:
                    items.append(CUT)
                    break
                here = (*place, str(at))
                hidden = bool(self._masks.paths) and self._masks.hides_place(here)
                items.append(MASKED if hidden else self.of(item, here, texts))
            return items
        return CUT

    def _members(self, value: Mapping[object, object], place: tuple[str, ...], texts: int) -> object:
        members: dict[str, object] = {}
        for name, item in value.items():
            if self._room <= 0:
                members[CUT] = CUT
                break
            name = str(name)
            self._room -= min(len(name), MAX_NAME) + 4
            here = (*place, name[:MAX_NAME])
            hidden = len(name) > MAX_NAME or self._masks.hides(name, here)
            members[name[:MAX_NAME]] = MASKED if hidden else self.of(item, here, texts)
        return members

    def _text(self, value: str, place: tuple[str, ...], texts: int) -> object:
        text = value.lstrip()
        if text[:1] in ("{", "[") and len(value) > 1:
            if len(value) > self._room or texts >= _TEXTS_DEPTH:
                # A part of it is no JSON, and what is in it cannot be told.
                self._room -= len(CUT)
                return CUT
            try:
                inner = json.loads(text)
            except RecursionError:
                self._room -= len(CUT)
                return CUT
            except ValueError:
                pass
            else:
                return json.dumps(self.of(inner, place, texts + 1), ensure_ascii=False)
        kept = value[: max(0, self._room)]
        self._room -= len(kept) + 2
        kept = masked_text(kept)
        return kept if len(value) <= len(kept) or self._room > 0 else f"{kept}{CUT}"


def masked_text(text: str) -> str:
    """A text without the secrets that it says are some."""
    # Looking for plain words first is far quicker, and most texts have none of them.
    lower = text.lower()
    if any(word in lower for word in _HINTS):
        text = _ASSIGNED.sub(rf"\1{MASKED}", text)
        text = _SCHEMED.sub(rf"\1{MASKED}", text)
    if "://" in lower and "@" in lower:
        text = _USER_OF_URL.sub(rf"\1{MASKED}@", text)
    return text


def _part(part: str) -> re.Pattern[str] | None:
    return None if part == "*" else re.compile(translate(_normal(part)))


def _normal(name: str) -> str:
    return name.translate(_SKIPPED).lower()
