"""The mode in which a portal shows itself to one request: the decision on `?codemode=` and `?optimize_context=`.

Pure: the query string and the portal's policy in, one `Mode` out, or `ModeRefused` saying what is allowed.
"""

from enum import StrEnum
from functools import lru_cache

from portal.config import CodeModePolicy
from portal.http import CODEMODE, OPTIMIZE_CONTEXT, ModeRefused, read_mode_query

__all__ = ["Mode", "ModeRefused", "select_mode"]


class Mode(StrEnum):
    """What one request sees."""

    TOOLS = "tools"
    CODE = "code"
    MINIMIZE_TOOLS = "minimize_tools"
    QUERY_AND_EXECUTE = "query_and_execute"


@lru_cache(maxsize=256)
def select_mode(query: bytes, policy: CodeModePolicy) -> Mode:
    """The mode for a raw query string under a policy.

    `enforced` always gives code mode and `off` never does, whatever the URL says (a known value that the policy
    overrides is no error). Otherwise the URL decides; without either parameter, `default_on` gives code mode.
    Parameters of other names are ignored.

    Raises:
        ModeRefused: a parameter is not one of those that are allowed.
    """
    parameters = read_mode_query(query)
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
