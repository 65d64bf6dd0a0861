"""The mode in which a portal shows itself to one request: the decision on `?codemode=` and `?optimize_context=`.

Pure: the query string and the portal's policy in, one `Mode` out, or `ModeRefused` saying what is allowed. The
parameters and their values are those of Cloudflare's MCP server portals. What these leave undefined (unknown values,
repeats, other spellings, both at once) is refused here, so that a misspelt URL never shows more than it was meant to.
"""

from enum import StrEnum
from functools import lru_cache
from urllib.parse import parse_qsl

from portal.config import CodeModePolicy

CODEMODE = "codemode"
OPTIMIZE_CONTEXT = "optimize_context"
ALLOWED = {CODEMODE: ("search_and_execute", "off"), OPTIMIZE_CONTEXT: ("minimize_tools", "search_and_execute")}
MAX_PARAMETERS = 50
MAX_QUERY = 8192


class Mode(StrEnum):
    """What one request sees."""

    TOOLS = "tools"
    CODE = "code"
    MINIMIZE_TOOLS = "minimize_tools"
    QUERY_AND_EXECUTE = "query_and_execute"


class ModeRefused(ValueError):
    """The URL asks for something that is not defined; the message says what is."""


@lru_cache(maxsize=256)
def select_mode(query: bytes, policy: CodeModePolicy) -> Mode:
    """The mode for a raw query string under a policy.

    `enforced` always gives code mode and `off` never does, whatever the URL says (a known value that the policy
    overrides is no error). Otherwise the URL decides; without either parameter, `default_on` gives code mode.
    Parameters of other names are ignored.

    Raises:
        ModeRefused: a parameter is not one of those that are allowed.
    """
    parameters = _parameters(query)
    if policy is CodeModePolicy.ENFORCED:
        return Mode.CODE
    if parameters.get(OPTIMIZE_CONTEXT) == "minimize_tools":
        return Mode.MINIMIZE_TOOLS
    if parameters.get(OPTIMIZE_CONTEXT) == "search_and_execute":
        return Mode.QUERY_AND_EXECUTE
    if policy is CodeModePolicy.OFF or parameters.get(CODEMODE) == "off":
        return Mode.TOOLS
    if parameters.get(CODEMODE) == "search_and_execute" or policy is CodeModePolicy.DEFAULT_ON:
        return Mode.CODE
    return Mode.TOOLS


def _parameters(query: bytes) -> dict[str, str]:
    """Our parameters of a query string, with their values. Raises `ModeRefused`."""
    if not query:
        return {}
    if len(query) > MAX_QUERY:
        raise ModeRefused(f"The query string is longer than {MAX_QUERY} bytes.")
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise ModeRefused(f"The query string has more than {MAX_PARAMETERS} parameters.") from None
    parameters: dict[str, str] = {}
    for name, value in pairs:
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


def _help(*names: str) -> str:
    return " ".join(f"Allowed: {' or '.join(f'?{name}={value}' for value in ALLOWED[name])}." for name in names)
