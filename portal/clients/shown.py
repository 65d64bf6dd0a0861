"""Shows what changes in a file as a diff, in which no value is readable that may be a secret. Pure.

The document of a client has keys and tokens next to what is changed, so a text is shown because it is known to be
harmless, and not hidden because it looks dangerous: names of members, commands, addresses without what opens them.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from pydantic import ValidationError

from portal.config import HttpServer, StdioServer, hide_in_comment, parse_document
from portal.errors import ConfigError

HIDDEN = "***"
CONTEXT = 3
MAX_LINE = 200
MOST_LINES = 400
_MOST_LOOKS = 400_000
_HARMLESS = frozenset("type transport transportType cwd envFile bearer_token_env_var $schema description".split())
_URLS = frozenset({"url", "httpUrl", "serverUrl", "serverURL", "baseUrl"})
_NUMBERS = frozenset(
    {"timeout", "port", "connectTimeout", "maxTimeout", "startup_timeout_sec", "tool_timeout_sec", "startup_timeout_ms"}
)
_STRING = r'"(?:[^"\\\n]|\\.)*"?'
# Lines of JSON are masked one by one, and one may begin within a comment: there is no other ink in JSON.
_TOKENS_OF_JSON = re.compile(
    rf"(?P<text>{_STRING})|(?P<comment>//[^\n]*|/\*(?:[^*]|\*(?!/))*(?:\*/)?"
    r"|(?!(?:true|false|null)\b)[^\s\"{}\[\],:\d.+-](?:[^*\n]|\*(?!/))*(?:\*/)?)"
    r"|(?P<number>(?<![\w.])-?\d[\d.eE+-]{3,})"
)
_TOKENS_OF_TOML = re.compile(
    r'(?P<long>"""(?:[^"\\]|\\.|"(?!""))*(?:"""|\Z)|' + r"'''(?:[^']|'(?!''))*(?:'''|\Z))"
    rf"|(?P<text>{_STRING}|'[^'\n]*'?)|(?P<comment>#[^\n]*)|(?P<number>(?<![\w.])-?\d[\w.:+-]{{3,}})",
    re.DOTALL,
)
# A word that is neither a path nor made of letters alone, and longer than names are.
_LIKE_A_KEY = re.compile(r"(?=[^/\\]*\d)(?=[^/\\]*[A-Za-z])[\w+=~.-]{20,}")
# Names of packages and files may be as long: words, numbers and versions between hyphens and dots.
_NAME = re.compile(r"(?:[A-Za-z]{1,20}|v?\d{1,8}[a-z]?)(?:(?:[-_.~+]|==(?=\d))(?:[A-Za-z]{1,20}|v?\d{1,8}[a-z]?))*")
_CONFIDENTIAL = re.compile(
    r"-{1,2}[\w.-]*(?:key|token|secret|pass|pwd|pin|auth|credential|bearer|pat)[\w.-]*", re.IGNORECASE
)
_PATH_WITH_BLANKS = re.compile(r"(?:[A-Za-z]:)?[/\\~](?:[\w./\\+()]|-(?<! -)| )*")
_PAIR = re.compile(r"(?P<name>-{0,2}[\w.-]+)(?P<sign>[:=]\s*)(?P<value>.+)", re.DOTALL)
# The mode of a portal's URL is in its query, where others have their keys.
_WORDS = frozenset({"search_and_execute", "minimize_tools"})
_REFERENCES = re.compile(r"(?:Bearer )?\$\{[^}]*\}")


def shown_diff(before: str, after: str, suffix: str) -> list[str]:
    """The lines that change, with some around them, each with its sign in front. Long diffs are cut, and a document
    that is written on few long lines is shown as people write it."""
    before, after = _readable(before, after, suffix)
    old, new = _lines(before), _lines(after)
    old_shown, new_shown = _masked_lines(before, old, suffix), _masked_lines(after, new, suffix)
    lines: list[str] = []
    for group in _groups(old, new):
        first, last = group[0], group[-1]
        lines.append(f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@")
        for kind, old_from, old_to, new_from, new_to in group:
            if kind == "equal":
                lines += [f" {_cut(line)}" for line in new_shown(new_from, new_to)]
                continue
            lines += [f"-{_cut(line)}" for line in old_shown(old_from, old_to)]
            lines += [f"+{_cut(line)}" for line in new_shown(new_from, new_to)]
    if len(lines) > MOST_LINES:
        lines = [*lines[:MOST_LINES], f"... and {len(lines) - MOST_LINES} lines more"]
    return lines


def masked(text: str, suffix: str) -> str:
    """The document in as many lines, with what may be a secret replaced by stars."""
    return _masking(text, suffix)(text)


def _masked_lines(text: str, lines: Sequence[str], suffix: str) -> Callable[[int, int], list[str]]:
    """The lines of a document from one number up to another, masked. In JSON no text has a line end, so that the rest
    of a large document need not be masked."""
    mask = _masking(text, suffix)
    if suffix == ".toml":
        whole = _lines(mask(text))
        return lambda start, end: whole[start:end]
    return lambda start, end: [mask(line) for line in lines[start : min(end, start + MOST_LINES + 1)]]


def _masking(text: str, suffix: str) -> Callable[[str], str]:
    """What masks the document or a part of it."""
    harmless = _harmless(_parsed(text, suffix))
    tokens = _TOKENS_OF_TOML if suffix == ".toml" else _TOKENS_OF_JSON

    def mask(found: re.Match[str]) -> str:
        token = found[0]
        if found.lastgroup == "number":
            return token if token in harmless else HIDDEN
        if found.lastgroup == "comment":
            return hide_in_comment(token, lambda text: _string(text, harmless))
        if found.lastgroup == "long":
            return token[:3] + HIDDEN + "\n" * token.count("\n") + token[:3]
        return _string(token, harmless)

    return lambda part: tokens.sub(mask, part)


def _string(token: str, harmless: Mapping[str, str]) -> str:
    value = _value(token)
    if value is None:
        return f"{token[0]}{HIDDEN}{token[0]}"
    seen = harmless.get(value, HIDDEN)
    return token if seen == value else json.dumps(seen, ensure_ascii=False)


def _readable(before: str, after: str, suffix: str) -> tuple[str, str]:
    """Both texts with a member on each line, if a line that changes is one that nobody could read."""
    if suffix == ".toml" or not any(len(line) > MAX_LINE for line in _changing(_lines(before), _lines(after))):
        return before, after
    found = [_parsed(text, suffix) for text in (before, after)]
    if not all(isinstance(one, dict) for one in found):
        return before, after
    old, new = (json.dumps(one, indent=2, ensure_ascii=False) + "\n" if one else "" for one in found)
    return old, new


def _lines(text: str) -> list[str]:
    """The lines by their line feeds alone: masking keeps these and no other character that ends a line."""
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    return lines[:-1] if lines[-1] == "" else lines


Group = list[tuple[str, int, int, int, int]]


def _changing(old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """The lines from the first that differs to the last."""
    head, tail = _equal_ends(old, new)
    yield from old[head : len(old) - tail]
    yield from new[head : len(new) - tail]


def _equal_ends(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    """How many lines at the beginning and at the end are equal."""
    most = min(len(old), len(new))
    head = next((at for at in range(most) if old[at] != new[at]), most)
    return head, next((at for at in range(most - head) if old[-1 - at] != new[-1 - at]), most - head)


def _groups(old: Sequence[str], new: Sequence[str]) -> Iterator[Group]:
    """What differs, with its surroundings. The rest of a large document is not compared line with line."""
    head, tail = _equal_ends(old, new)
    start, end = max(0, head - CONTEXT - 1), max(0, tail - CONTEXT - 1)
    inner_old, inner_new = old[start : len(old) - end], new[start : len(new) - end]
    if len(inner_old) + len(inner_new) > 20 * MOST_LINES:
        yield from _surrounded(_far_apart(old, new), len(old))
        return
    for group in difflib.SequenceMatcher(None, inner_old, inner_new, autojunk=False).get_grouped_opcodes(CONTEXT):
        yield [(kind, a + start, b + start, c + start, d + start) for kind, a, b, c, d in group]


def _far_apart(old: Sequence[str], new: Sequence[str]) -> Iterator[tuple[int, int, int, int]]:
    """The changes of a large document: each ends at the nearest lines from which both go on alike. Looking for those
    takes a bounded time, and what is left then is one change."""
    a = c = looks = 0
    while a < len(old) or c < len(new):
        if a < len(old) and c < len(new) and old[a] == new[c]:
            a, c = a + 1, c + 1
            continue
        end = None
        for distance in range(1, MOST_LINES):
            looks += distance
            pairs = ((a + more, c + distance - more) for more in range(distance + 1))
            end = next((pair for pair in pairs if _go_on_alike(old, new, *pair)), None)
            if end is not None or looks > _MOST_LOOKS:
                break
        b, d = end or (len(old), len(new))
        yield a, b, c, d
        a, c = b, d


def _go_on_alike(old: Sequence[str], new: Sequence[str], a: int, c: int) -> bool:
    if a > len(old) or c > len(new):
        return False
    return old[a : a + CONTEXT] == new[c : c + CONTEXT] and (a < len(old) or c == len(new))


def _surrounded(changes: Iterable[tuple[int, int, int, int]], length: int) -> Iterator[Group]:
    """The changes with the lines around them, in one group where these touch. `length` is that of the former lines."""
    group: Group = []
    before = after = 0
    for a, b, c, d in changes:
        if group and a - before > 2 * CONTEXT:
            yield [*group, ("equal", before, before + CONTEXT, after, after + CONTEXT)]
            group = []
        around = a - before if group else min(a, CONTEXT)
        group += [("equal", a - around, a, c - around, c), ("replace", a, b, c, d)]
        before, after = b, d
    if group:
        around = min(CONTEXT, length - before)
        yield [*group, ("equal", before, before + around, after, after + around)]


def _range(start: int, end: int) -> str:
    """Lines as a unified diff counts them: from 1, and the one before where there are none."""
    return f"{start + (end > start)},{end - start}"


def _parsed(text: str, suffix: str) -> object:
    """What the text says, None if it cannot be read."""
    try:
        return parse_document(text.removeprefix("\ufeff"), suffix, file="") if text.strip("\ufeff \t\r\n") else {}
    except ConfigError:
        return None


def _value(token: str) -> str | None:
    """The text that a token stands for; None if it is broken off."""
    if token.startswith("'"):
        return token[1:-1] if len(token) > 1 and token.endswith("'") else None
    try:
        value = json.loads(token)
    except ValueError:
        return None
    return value if isinstance(value, str) else None


def _harmless(document: object) -> dict[str, str]:
    """What may be shown of a document: each text or number, and how."""
    names: set[str] = set()
    values: dict[str, str] = {}
    for text, seen in _readable_values(document, names):
        # What is a secret at one place is not shown at another.
        values[text] = seen if values.get(text, seen) == seen else HIDDEN
    return values | {name: name for name in names}


def _readable_values(value: object, names: set[str]) -> Iterator[tuple[str, str]]:
    """The values that may be shown, and how; all names of members go to `names`."""
    for one in value if isinstance(value, list) else ():
        yield from _readable_values(one, names)
    if not isinstance(value, dict):
        return
    names.update(value)
    for name, one in value.items():
        if isinstance(one, str):
            if name in _HARMLESS or _REFERENCES.fullmatch(one):
                yield one, one
            elif name == "command":
                yield from _command(one)
            elif name in _URLS:
                yield one, _without_secrets(one, _secrets_of_url(one))
        elif name in _NUMBERS and isinstance(one, int | float):
            yield str(one), str(one)
        elif name in ("args", "command") and isinstance(one, list):
            yield from _words([word for word in one if isinstance(word, str)])
        else:
            yield from _readable_values(one, names)


def _command(text: str) -> Iterator[tuple[str, str]]:
    """A program and how it may be shown: clients have whole lines of a shell under the same name."""
    if not re.search(r"\s", text):
        yield from _words([text])
    elif _PATH_WITH_BLANKS.fullmatch(text):
        yield text, text


def _words(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """The words of a command, and each as it may be shown."""
    try:
        secrets: Sequence[str] = StdioServer(id="x", name="x", command="x", args=tuple(words)).secrets
    except ValidationError:
        # No server of anybody has such words.
        secrets = words
    for before, word in zip(("", *words), words, strict=False):
        if _CONFIDENTIAL.fullmatch(before) and not word.startswith("-") and not _REFERENCES.fullmatch(word):
            # However short it is.
            yield word, HIDDEN
        elif "://" in word:
            url = word[word.index("http") :] if "http" in word else word
            yield word, _without_secrets(word, (*secrets, *_secrets_of_url(url)))
        elif word in secrets or (_LIKE_A_KEY.fullmatch(word) and not _NAME.fullmatch(word)):
            yield word, HIDDEN
        elif _NAME.fullmatch(word):
            yield word, word
        elif (pair := _PAIR.fullmatch(word)) is not None and not _REFERENCES.fullmatch(pair["value"]):
            yield word, f"{pair['name']}{pair['sign']}{HIDDEN}"
        else:
            yield word, _without_secrets(word, secrets)


def _secrets_of_url(url: str) -> tuple[str, ...]:
    try:
        return HttpServer(id="x", name="x", url=url).secrets
    except (ValidationError, ValueError):
        return (url,)


def _without_secrets(text: str, secrets: Sequence[str]) -> str:
    for secret in secrets:
        if not _REFERENCES.fullmatch(secret) and secret not in _WORDS:
            text = text.replace(secret, HIDDEN)
    return text


def _cut(line: str) -> str:
    return line if len(line) <= MAX_LINE else f"{line[:MAX_LINE]} ..."
