"""Which words of a server's configuration are secrets, in every form in which they may come back to us.

A server that fails likes to repeat what it was sent: whatever it says is shown only with these words blotted out.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import zip_longest
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

# Shorter values are words and numbers; blotting those out would only garble messages.
_SHORTEST = 6
# No ordinary segment of a path is that long; several services put the key there.
_LONG_SEGMENT = 16
_CONFIDENTIAL = re.compile(
    r"-{1,2}[\w.-]*(?:key|token|secret|passw|pwd|auth|credential|bearer|pat)[\w.-]*", re.IGNORECASE
)


def of_process(expanded: Iterable[str], env: Mapping[str, str], args: Sequence[str]) -> tuple[str, ...]:
    """What came out of the environment, what goes into it, and the arguments named `--token`, `--api-key` and so on."""
    return _longest_first(expanded, env.values(), _confidential(args))


def of_address(expanded: Iterable[str], url: str, headers: Mapping[str, str]) -> tuple[str, ...]:
    """Header values, and of the URL: user and password (also as the header they become), query values, long segments
    of the path."""
    parts = urlsplit(url)
    words = [word for value in headers.values() for word in value.split()[1:]]  # without `Bearer`
    written = [value for pair in parts.query.split("&") for value in pair.split("=", 1)[1:]]
    in_query = [value for _, value in parse_qsl(parts.query)]
    in_path = [segment for segment in parts.path.split("/") if len(segment) >= _LONG_SEGMENT]
    return _longest_first(
        expanded, headers.values(), words, written, in_query, in_path, map(unquote, in_path), _login(parts.netloc)
    )


def of_api(
    expanded: Iterable[str], urls: Iterable[str], headers: Mapping[str, str], credentials: Mapping[str, str]
) -> tuple[str, ...]:
    """The same of the addresses of an API and of its document, and its credentials in the forms in which they are sent:
    as they are, percent-encoded, and as basic authorization."""
    values = [value for value in credentials.values() if value]
    sent = [form for value in values for form in (value, quote(value, safe=""), quote_plus(value))]
    words = [word for value in values for word in value.split()]
    pairs = [
        form
        for value in values
        if ":" in value
        for form in (b64encode(value.encode()).decode(), value.partition(":")[2])
    ]
    of_urls = [of_address((), url, headers) for url in urls]
    return _longest_first(expanded, *of_urls, sent, words, pairs)


def _login(netloc: str) -> Iterator[str]:
    login, found, _ = netloc.rpartition("@")
    if not found:
        return
    user, _, password = login.partition(":")
    yield from (login, user, password, unquote(user), unquote(password))
    for encoding in ("utf-8", "latin-1"):  # as RFC 7617 basic authorization, in both ways it is written
        yield b64encode(f"{unquote(user)}:{unquote(password)}".encode(encoding, "replace")).decode()


def _confidential(args: Sequence[str]) -> Iterator[str]:
    for argument, following in zip_longest(args, args[1:], fillvalue=""):
        name, written, value = argument.partition("=")
        if _CONFIDENTIAL.fullmatch(name):
            yield value if written else following


def _longest_first(*groups: Iterable[str]) -> tuple[str, ...]:
    values = [value for group in groups for value in group]
    # What comes back of a key of several lines comes line by line.
    values += [line.strip() for value in values if "\n" in value for line in value.splitlines()]
    found = {value for value in values if len(value) >= _SHORTEST}
    return tuple(sorted(found, key=len, reverse=True))
