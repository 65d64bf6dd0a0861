"""How a portal shows itself for a URL: known values work, everything else is refused with what is allowed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.endpoint.modes import CodeModePolicy, Mode, ModeRefused, select_mode

POLICIES = list(CodeModePolicy)


@pytest.mark.parametrize(
    ("policy", "query", "mode"),
    [
        (CodeModePolicy.OPT_IN, b"", Mode.TOOLS),
        (CodeModePolicy.OPT_IN, b"codemode=search_and_execute", Mode.CODE),
        (CodeModePolicy.OPT_IN, b"codemode=off", Mode.TOOLS),
        (CodeModePolicy.DEFAULT_ON, b"", Mode.CODE),
        (CodeModePolicy.DEFAULT_ON, b"codemode=off", Mode.TOOLS),
        (CodeModePolicy.DEFAULT_ON, b"codemode=search_and_execute", Mode.CODE),
        (CodeModePolicy.OFF, b"codemode=search_and_execute", Mode.TOOLS),
        (CodeModePolicy.OFF, b"", Mode.TOOLS),
        (CodeModePolicy.ENFORCED, b"codemode=off", Mode.CODE),
        (CodeModePolicy.ENFORCED, b"optimize_context=minimize_tools", Mode.CODE),
        (CodeModePolicy.OPT_IN, b"optimize_context=minimize_tools", Mode.MINIMIZE_TOOLS),
        (CodeModePolicy.OFF, b"optimize_context=search_and_execute", Mode.QUERY_AND_EXECUTE),
        (CodeModePolicy.DEFAULT_ON, b"optimize_context=minimize_tools", Mode.MINIMIZE_TOOLS),
    ],
)
def test_the_url_and_the_policy_decide_together(policy: CodeModePolicy, query: bytes, mode: Mode) -> None:
    assert select_mode(query, policy) is mode


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize(
    ("query", "says"),
    [
        (b"codemode=on", "no value of 'codemode'"),
        (b"codemode=true", "no value of 'codemode'"),
        (b"codemode=", "no value of 'codemode'"),
        (b"codemode", "no value of 'codemode'"),
        (b"codemode=OFF", "no value of 'codemode'"),
        (b"codemode=off%20", "no value of 'codemode'"),
        (b"optimize_context=all", "no value of 'optimize_context'"),
        (b"CODEMODE=off", "lower case"),
        (b"CodeMode=search_and_execute", "lower case"),
        (b"codemode=off&codemode=off", "more than once"),
        (b"codemode=off&codemode=search_and_execute", "more than once"),
        (b"codemode=off&optimize_context=minimize_tools", "not both"),
        (b"a=1" + b"&a=1" * 60, "more than 50 parameters"),
        (b"a=" + b"x" * 9000, "longer than"),
    ],
)
def test_what_is_not_defined_is_refused_whatever_the_policy(query: bytes, says: str, policy: CodeModePolicy) -> None:
    with pytest.raises(ModeRefused, match=says):
        select_mode(query, policy)


def test_a_refusal_says_what_is_allowed() -> None:
    with pytest.raises(ModeRefused) as refused:
        select_mode(b"codemode=yes", CodeModePolicy.OPT_IN)
    assert "?codemode=search_and_execute or ?codemode=off" in str(refused.value)


def test_parameters_of_other_names_are_left_alone() -> None:
    assert select_mode(b"utm=x&codemode=search_and_execute&x=", CodeModePolicy.OPT_IN) is Mode.CODE


@given(st.binary(max_size=60), st.sampled_from(POLICIES))
def test_any_query_string_is_a_mode_or_a_refusal_and_never_opens_more(query: bytes, policy: CodeModePolicy) -> None:
    try:
        mode = select_mode(query, policy)
    except ModeRefused:
        return
    if policy is CodeModePolicy.ENFORCED:
        assert mode is Mode.CODE
    if policy is CodeModePolicy.OFF:
        assert mode is not Mode.CODE
