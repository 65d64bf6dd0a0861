"""How a portal shows itself to one request: the decision on `?codemode=` and `?optimize_context=`.

Pure: the query string and the portal's policy in, one `Mode` out, or `ModeRefused` saying what is allowed. The
parameters and their values are those of Cloudflare's MCP server portals; what they leave undefined (unknown values,
repeats, other spellings, both at once) is refused here, so that a misspelt URL never shows more than was asked for.
"""

from enum import StrEnum
from functools import lru_cache
from urllib.parse import parse_qsl

CODEMODE = "codemode"
OPTIMIZE_CONTEXT = "optimize_context"
ALLOWED = {CODEMODE: ("search_and_execute", "off"), OPTIMIZE_CONTEXT: ("minimize_tools", "search_and_execute")}
MAX_PARAMETERS = 50
MAX_QUERY = 8192


class CodeModePolicy(StrEnum):
    """What a portal's owner decided about code mode. `default_on` and `opt_in` leave the choice to the URL."""

    OFF = "off"
    OPT_IN = "opt_in"
    DEFAULT_ON = "default_on"
    ENFORCED = "enforced"


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
    overrides is no error); otherwise the URL decides, and `default_on` without a word from it is code mode.
    Parameters of other names are none of ours and are ignored. Raises `ModeRefused`.
    """
    asked = _asked(query)
    if policy is CodeModePolicy.ENFORCED:
        return Mode.CODE
    if asked.get(OPTIMIZE_CONTEXT) == "minimize_tools":
        return Mode.MINIMIZE_TOOLS
    if asked.get(OPTIMIZE_CONTEXT) == "search_and_execute":
        return Mode.QUERY_AND_EXECUTE
    if policy is CodeModePolicy.OFF or asked.get(CODEMODE) == "off":
        return Mode.TOOLS
    if asked.get(CODEMODE) == "search_and_execute" or policy is CodeModePolicy.DEFAULT_ON:
        return Mode.CODE
    return Mode.TOOLS


def _asked(query: bytes) -> dict[str, str]:
    if not query:
        return {}
    if len(query) > MAX_QUERY:
        raise ModeRefused(f"The query string is longer than {MAX_QUERY} bytes.")
    try:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise ModeRefused(f"The query string has more than {MAX_PARAMETERS} parameters.") from None
    asked: dict[str, str] = {}
    for name, value in pairs:
        known = name.strip().lower()
        if known not in ALLOWED:
            continue
        if name != known:
            raise ModeRefused(f"Write the parameter {known!r} in lower case. {_help(known)}")
        if known in asked:
            raise ModeRefused(f"The parameter {known!r} is given more than once. {_help(known)}")
        if value not in ALLOWED[known]:
            raise ModeRefused(f"{value[:50]!r} is no value of {known!r}. {_help(known)}")
        asked[known] = value
    if len(asked) > 1:
        raise ModeRefused(f"Give {CODEMODE!r} or {OPTIMIZE_CONTEXT!r}, not both. {_help(*ALLOWED)}")
    return asked


def _help(*names: str) -> str:
    return " ".join(f"Allowed: {' or '.join(f'?{name}={value}' for value in ALLOWED[name])}." for name in names)
