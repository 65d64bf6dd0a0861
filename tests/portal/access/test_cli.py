"""`codemode policy test`: decisions with their reasons, for people and for programs, and mistakes with their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from portal.access import read_document
from portal.access.assumed import assumed_sources
from portal.cli.commands.policy import PolicyQuery, read_identity, read_policies
from portal.cli.commands.policy import test as policy_test
from portal.cli.exits import CommandError, Exit
from portal.identity import Group, Identity
from tests.portal.cli.command import as_forked, in_process
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.server import Behaviour

DOCUMENT = """
portal:
  name: acme
  policies:
    - {id: staff, name: Staff, decision: allow, include: [{email_domain: {domain: example.com}}]}
servers:
  - id: tickets
    policies: [{id: engineers, precedence: 1}]
    updated_tools: [{name: list_tickets}, {name: purge, enabled: false}]
    tool_policies:
      - id: small
        name: Small refunds
        decision: deny
        include: [{everyone: {}}]
        tools: {names: [refund], expression: "arguments.amount > 100"}
  - {id: payroll, policies: []}
policies:
  - id: engineers
    name: Engineers
    decision: allow
    include: [{okta: {name: engineers, identity_provider_id: okta}}]
    exclude: [{geo: {country_code: RU}}]
"""
ADA = '{"email": "ada@example.com", "groups": ["engineers"], "idp_id": "okta", "country": "DE"}'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    written = tmp_path / "access.yaml"
    written.write_text(DOCUMENT)
    return written


async def asked(capsys: pytest.CaptureFixture[str], file: Path, identity: str, **more: Any) -> tuple[Exit, Any]:
    code = await policy_test(PolicyQuery(file, identity, as_json=True, **more))
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.anyio
async def test_every_server_and_tool_has_its_decision_reason_and_policy(
    capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    code, found = await asked(capsys, file, ADA)
    assert code is Exit.OK
    tickets, payroll = found["servers"]["tickets"], found["servers"]["payroll"]
    assert (found["portal"]["effect"], found["portal"]["policy"]) == ("allow", "staff")
    assert (tickets["effect"], tickets["policy"], tickets["policy_name"]) == ("allow", "engineers", "Engineers")
    assert tickets["considered"][0]["why"] == "include okta matches"
    assert {name: one["effect"] for name, one in tickets["tools"].items()} == {
        "list_tickets": "allow",
        "purge": "deny",
        "refund": "allow",
    }
    assert tickets["tools"]["purge"]["policy"] == "tool-settings"
    assert (payroll["effect"], payroll["policy"]) == ("deny", "default-deny")
    assert payroll["reason"] == "No policy of the server 'payroll' allows ada@example.com."
    assert found["warnings"] == []


@pytest.mark.anyio
async def test_a_call_is_decided_with_its_arguments_and_is_the_exit_code(
    capsys: pytest.CaptureFixture[str], file: Path
) -> None:
    code, found = await asked(capsys, file, ADA, call="tickets.refund", arguments='{"amount": 500}')
    assert (code, found["call"]["policy"]) == (Exit.PROGRAM_FAILED, "small")
    assert found["call"]["reason"] == "Policy 'Small refunds' denies tickets.refund to ada@example.com."
    code, found = await asked(capsys, file, ADA, call="tickets.refund", arguments='{"amount": 5}')
    assert (code, found["call"]["effect"]) == (Exit.OK, "allow")
    code, found = await asked(capsys, file, ADA, call="tickets.refund")
    assert code is Exit.PROGRAM_FAILED and "could not be evaluated" in found["call"]["reason"]
    code, found = await asked(capsys, file, "eve@elsewhere.example")
    assert (code, found["portal"]["policy"]) == (Exit.PROGRAM_FAILED, "default-deny")
    assert found["portal"]["considered"][0]["why"] == "nobody of include"


def test_the_command_shows_it_to_people(file: Path, tmp_path: Path) -> None:
    words = ("policy", "test", str(file), "--identity")
    shown = as_forked(tmp_path, *words, ADA)
    assert (shown.returncode, shown.stderr) == (0, "")
    for part in ("ada@example.com", "tickets", "Policy 'Engineers' allows", "payroll", "deny", "include okta matches"):
        assert part in shown.stdout
    wrong = in_process(tmp_path, *words, '{"mail": "x"}')
    assert wrong.returncode == 2 and "does not know mail" in wrong.stderr


def test_an_identity_is_an_address_an_object_a_file_or_nobody(tmp_path: Path) -> None:
    assert read_identity("ada@example.com") == Identity(id="ada@example.com", email="ada@example.com")
    assert read_identity("") == Identity()
    written = tmp_path / "ada.json"
    written.write_text(ADA)
    ada = read_identity(f"@{written}")
    assert ada.groups == (Group(name="engineers"),) and ada.logged_in and ada.country == "DE"
    for wrong in ('{"ip": 3}', '{"groups": [{"nam": "x"}]}', "{", '{"certificate": "yes"}', "@"):
        with pytest.raises(CommandError, match="--identity"):
            read_identity(wrong)
    with pytest.raises(CommandError, match="There is no file nowhere.json"):
        read_identity("@nowhere.json")


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("portal: [", "is not YAML"),
        ("portal: {policies: [{id: x, decision: allow, include: []}]}", r"portal\.policies"),
        ("a: 1", "access.yaml: a"),
    ],
)
def test_a_mistake_in_the_file_is_one_sentence_with_its_place(tmp_path: Path, content: str, problem: str) -> None:
    file = tmp_path / "access.yaml"
    file.write_text(content)
    with pytest.raises(CommandError, match=problem):
        read_policies(file)


def test_what_a_document_refers_to_counts_as_configured(file: Path) -> None:
    sources = assumed_sources(read_policies(file))
    assert set(sources.identity_providers) == {"okta"} and sources.geo
    rules = [
        {"service_token": {"token_id": "t"}},
        {"linked_app_token": {"app_uid": "a"}},
        {"device_posture": {"integration_uid": "d"}},
        {"login_method": {"id": "l"}},
        {"auth_method": {"auth_method": "mfa"}},
    ]
    found = assumed_sources(read_document({"groups": [{"id": "g", "include": rules}]}))
    assert [set(one) for one in (found.service_tokens, found.linked_apps, found.device_posture)] == [
        {"t"},
        {"a"},
        {"d"},
    ]
    assert "l" in found.identity_providers


@pytest.mark.anyio
@pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning")
async def test_with_a_configuration_each_tool_has_the_name_that_a_client_would_have(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    async with hosted(Behaviour()) as upstream:
        config = tmp_path / "codemode.json"
        config.write_text(json.dumps({"mcpServers": {"tickets": {"url": upstream.url}}}))
        policies = tmp_path / "access.yaml"
        policies.write_text(DOCUMENT.replace("name: list_tickets", "name: echo, alias: say"))
        _, found = await asked(capsys, policies, ADA, config=config)
        tools = found["servers"]["tickets"]["tools"]
        assert (tools["echo"]["listed_as"], tools["echo"]["hidden_by"]) == ("tickets_say", None)
        assert tools["fail"]["listed_as"] == "tickets_fail"
        # Named by the policies, and listed by nobody.
        assert "listed_as" not in tools["purge"]
        _, found = await asked(capsys, policies, "eve@elsewhere.example", config=config)
        assert found["servers"]["tickets"]["tools"]["echo"]["hidden_by"] == "policy"
