"""The parameters of an MCP endpoint's URL that choose its mode: `?codemode=` and `?optimize_context=`. Pure.

The parameters and their values are those of Cloudflare's MCP server portals. What these leave undefined (unknown
values, repeats, other spellings, both at once) is refused here, so that a misspelt URL never shows more than it was
meant to.
"""

from __future__ import annotations

from urllib.parse import parse_qsl

CODEMODE = "codemode"
OPTIMIZE_CONTEXT = "optimize_context"
ALLOWED = {CODEMODE: ("search_and_execute", "off"), OPTIMIZE_CONTEXT: ("minimize_tools", "search_and_execute")}
MAX_PARAMETERS = 50
MAX_QUERY = 8192


class ModeRefused(ValueError):
    """The URL asks for something that is not defined; the message says what is."""


def read_mode_query(query: bytes) -> dict[str, str]:
    """The mode's parameters in a query string, with their values. Parameters of other names are ignored.

    Raises:
        ModeRefused: a parameter is not one of those that are allowed.
    """
    if not query:
        return {}
    parameters: dict[str, str] = {}
    for name, value in _pairs(query):
        known = name.strip().lower()
        if known not in ALLOWED:
            continue
        if name != known:
            raise ModeRefused(f"Write the parameter {known!r} in lower case. {_help(known)}")
        if known in parameters:
            raise ModeRefused(f"The parameter {known!r} is given more than once. {_help(known)}")
        if value not in ALLOWED[known]:
            raise ModeRefused(f"{value[:50]!r} is no value of {known!r}. {_help(known)}")
        parameters[known] = value
    if len(parameters) > 1:
        raise ModeRefused(f"Give {CODEMODE!r} or {OPTIMIZE_CONTEXT!r}, not both. {_help(*ALLOWED)}")
    return parameters


def is_mode_query(query: bytes) -> bool:
    """Whether a query string chooses a mode and says nothing else: the endpoint with it is the endpoint without it."""
    try:
        return bool(read_mode_query(query)) and all(name in ALLOWED for name, _ in _pairs(query))
    except ModeRefused:
        return False


def _pairs(query: bytes) -> list[tuple[str, str]]:
    """Raises `ModeRefused`."""
    if len(query) > MAX_QUERY:
        raise ModeRefused(f"The query string is longer than {MAX_QUERY} bytes.")
    try:
        return parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise ModeRefused(f"The query string has more than {MAX_PARAMETERS} parameters.") from None


def _help(*names: str) -> str:
    return " ".join(f"Allowed: {' or '.join(f'?{name}={value}' for value in ALLOWED[name])}." for name in names)
