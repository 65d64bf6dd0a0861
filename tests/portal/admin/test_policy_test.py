"""The policy tester says what real clients see: the same lists, the same calls, and why not the rest."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from hypothesis import given
from hypothesis import strategies as st

from codemode import CodeTool
from portal.access import Access, Sources, read_document
from portal.app import Instance, Parts, serving
from portal.identity import Group, Identity
from portal.oauth import ServiceTokens
from portal.oauth.grants import ACCESS, REFRESH, Grant
from portal.state import utc_now
from tests.deep import examples
from tests.patience import PATIENCE
from tests.portal.access.test_policies import IN_GROUP, SIMPLE, ruled
from tests.portal.endpoint.test_express import CALL, HEAD, LIST, LIST_HEAD
from tests.portal.portals import Kept, opened
from tests.portal.state.databases import new_state
from tests.portal.upstreams.hosting import hosted
from tests.portal.upstreams.server import Behaviour

pytestmark = [
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]
OBJECT = {"type": "object"}
ADA = Identity(
    id="idp:ada",
    email="ada@example.com",
    groups=(Group("g1", "engineers"),),
    idp_id="idp",
    idp_type="oidc",
    login_method="idp",
    auth_methods=("mfa",),
    claims={"roles": ["dev"]},
)
BOB = Identity(
    id="idp:bob",
    email="bob@other.org",
    groups=(Group("engineers", "engineers"),),
    idp_id="idp",
    idp_type="oidc",
    login_method="idp",
)
EVERYONE: dict[str, Any] = {"everyone": {}}
STATED: dict[str, dict[str, Any]] = {
    # What is known of her is stored.
    "ada": {"email": "ADA@example.com"},
    # Nothing is stored of him.
    "bob": {"email": "bob@other.org", "groups": ["engineers"], "idp": "idp"},
    "robot": {"service_token_id": "token"},
}


@dataclass
class Tried:
    """A running portal over two servers, of which `two` is pinned and has one definition that waits."""

    url: str
    api: str
    instance: Instance
    api_token: str
    credentials: dict[str, dict[str, str]]
    robot: str

    def decide_by(self, document: dict[str, Any]) -> Access:
        """Other policies, from now on, and until something is stored that policies depend on. The service token has
        the name `token` in them."""
        live = self.instance.own.access
        assert live is not None
        written = json.loads(json.dumps(document).replace('"token_id": "token"', f'"token_id": "{self.robot}"'))
        sources = Sources(
            identity_providers={"idp": "oidc", "other": "okta"}, service_tokens=frozenset({self.robot}), geo=True
        )
        made = Access(read_document(written), sources)
        live.replace(made)
        return made

    @property
    def decides(self) -> Access:
        """The policies that decide now."""
        assert self.instance.own.access is not None
        return self.instance.own.access.current

    async def ask(self, who: str, **more: Any) -> Any:
        """The tester's answer."""
        asked = {**STATED[who], "ip": "127.0.0.1", **more}
        if who == "robot":
            asked["service_token_id"] = self.robot
        async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
            answer = await http.post(
                f"{self.api}/access/policies/test", headers={"Authorization": f"Bearer {self.api_token}"}, json=asked
            )
        assert answer.status_code == 200, answer.text
        return answer.json()["result"]

    async def see(self, who: str, query: str = "") -> tuple[list[str], str]:
        """The names in the list that a real client gets, or the error."""
        found = await self._send(who, query, LIST_HEAD, LIST)
        if "error" in found:
            return [], found["error"]["message"]
        return [tool["name"] for tool in found["result"]["tools"]], ""

    async def can_call(self, who: str, name: str) -> bool:
        """Whether a real client's call passes."""
        meta = CALL["params"]["_meta"]
        call = {**CALL, "params": {"name": name, "arguments": {"text": "x"}, "_meta": meta}}
        found = await self._send(who, "", {**HEAD, "mcp-name": name}, call)
        # The upstream's own error of a tool that it only lists has passed the portal.
        return "result" in found or "data" not in found["error"] or "policy" not in found["error"]["data"]

    async def _send(self, who: str, query: str, head: dict[str, str], message: dict[str, Any]) -> Any:
        async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE) as http:
            url = f"{self.url}/mcp" + (f"?{query}" if query else "")
            return (await http.post(url, headers={**head, **self.credentials[who]}, json=message)).json()


@asynccontextmanager
async def tried(folder: Path) -> AsyncIterator[Tried]:
    one = Behaviour(more=[{"name": "wipe", "inputSchema": OBJECT, "annotations": {"destructiveHint": True}}])
    two = Behaviour(more=[{"name": "late", "description": "As approved.", "inputSchema": OBJECT}])
    async with hosted(one) as first, hosted(two) as second:
        document = {
            "mcpServers": {"one": {"url": first.url}, "two": {"url": second.url, "pin": True}},
            "portal": {"state": new_state(folder), "identity": {}},
        }
        async with opened(document, lambda line: None, parts=Parts(code=None, records=Kept())) as instance:
            await instance.servers.settled()
            two.more[:] = [{"name": "late", "description": "Not as approved.", "inputSchema": OBJECT}]
            await instance.servers.refresh("two")
            store, admin = instance.shared.require_store(), instance.admin
            assert admin is not None
            api_token = (await admin.tokens.create_with_all("test", "test")).value
            robot = await ServiceTokens(store, utc_now).create("robot", by="test")
            async with serving(instance) as url:
                for person, kinds in ((ADA, (ACCESS, REFRESH)), (BOB, (ACCESS,))):
                    until = utc_now() + timedelta(hours=1)
                    grant = Grant(person, "client", f"{url}/mcp", ("mcp",), until, person.id)
                    for kind in kinds:
                        await store.tokens.issue(
                            kind,
                            f"{kind.name} {person.id}",
                            subject=person.id,
                            document=grant.document(),
                            expires_at=until,
                            family=person.id,
                        )
                credentials = {
                    "ada": {"Authorization": f"Bearer access {ADA.id}"},
                    "bob": {"Authorization": f"Bearer access {BOB.id}"},
                    "robot": {
                        "CF-Access-Client-Id": robot.stored.document.client_id,
                        "CF-Access-Client-Secret": robot.client_secret,
                    },
                }
                # What was stored is taken up first: it would replace the policies of a test.
                await admin.settings.in_force(PATIENCE)
                api = f"{url}/client/v4/accounts/{admin.account_id}"
                yield Tried(url, api, instance, api_token, credentials, robot.stored.id)


@pytest.fixture(scope="module")
def loop() -> Iterator[BlockingPortal]:
    with start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def portal(loop: BlockingPortal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tried]:
    with loop.wrap_async_context_manager(tried(tmp_path_factory.mktemp("tried"))) as found:
        yield found


TOOLS = st.sampled_from(["echo", "wipe", "late", "fail", "*", "e*"])
RULE = SIMPLE | IN_GROUP | st.just(EVERYONE) | st.just(EVERYONE)


def policies(prefix: str) -> st.SearchStrategy[list[dict[str, Any]]]:
    decision = st.sampled_from(["allow", "allow", "allow", "bypass", "non_identity", "deny"])
    rules = {**ruled(RULE), "exclude": st.lists(RULE, max_size=1), "require": st.lists(RULE, max_size=1)}
    one = st.fixed_dictionaries({"decision": decision, **rules})
    return st.lists(one, min_size=1, max_size=3).map(
        lambda found: [{"id": f"{prefix}{n}", **each} for n, each in enumerate(found)]
    )


TOOL_POLICIES = st.lists(
    st.fixed_dictionaries(
        {
            "decision": st.sampled_from(["allow", "deny"]),
            "include": st.lists(RULE, min_size=1, max_size=2),
            "tools": st.fixed_dictionaries({"names": st.lists(TOOLS, min_size=1, max_size=2)})
            | st.just({"annotations": {"destructiveHint": True}}),
        }
    ),
    max_size=2,
).map(lambda found: [{"id": f"t{n}", **each} for n, each in enumerate(found)])
SETTINGS = st.lists(
    st.fixed_dictionaries(
        {
            "name": st.sampled_from(["echo", "wipe", "late"]),
            "enabled": st.sampled_from([None, True, False]),
            "alias": st.sampled_from([None, "say", "fail"]),
        }
    ),
    max_size=3,
    unique_by=lambda one: str(one["name"]),
)
DOCUMENTS = st.fixed_dictionaries(
    {
        "portal": st.fixed_dictionaries(
            {
                "policies": policies("p"),
                "tool_policies": TOOL_POLICIES,
                "servers": st.tuples(st.booleans(), SETTINGS).map(
                    lambda drawn: [{"server_id": "one", "default_disabled": drawn[0], "updated_tools": drawn[1]}]
                ),
            }
        ),
        "servers": st.tuples(policies("o"), SETTINGS, TOOL_POLICIES, policies("w")).map(
            lambda drawn: [
                {"id": "one", "policies": drawn[0], "updated_tools": drawn[1], "tool_policies": drawn[2]},
                {"id": "two", "policies": drawn[3]},
            ]
        ),
        "groups": st.just([{"id": "inner", "include": [{"email": {"email": "ada@example.com"}}]}]),
    }
)
QUERIES = st.sampled_from(["", "", "optimize_context=minimize_tools", "optimize_context=search_and_execute"])


@examples(160)
@given(DOCUMENTS, st.sampled_from(sorted(STATED)), QUERIES)
def test_the_tester_s_answer_is_what_a_client_of_that_identity_sees(
    loop: BlockingPortal, portal: Tried, document: dict[str, Any], who: str, query: str
) -> None:
    async def compare() -> None:
        answer = await portal.ask(who, query=query)
        names, error = await portal.see(who, query)
        assert (answer["listed"], answer["refusal"]) == (names, error)
        tools = {(server["id"], tool["name"]): tool for server in answer["servers"] for tool in server["tools"]}
        shown = {tool["listed_as"] for tool in tools.values() if tool["shown"]}
        if not query:
            assert {name for name in names if not name.startswith("portal_")} == shown
        for tool in tools.values():
            assert tool["shown"] == (tool["hidden_by"] is None) and tool["reason"]
        for place in (("one", "echo"), ("one", "wipe"), ("two", "late")):
            tool = tools[place]
            name = tool["listed_as"] or "_".join(place)
            if name in shown and not tool["shown"]:
                continue  # Another tool has this name as its alias.
            assert await portal.can_call(who, name) == tool["callable"], (place, tool)

    async def compare_by_the_same_policies() -> None:
        for _ in range(5):
            made = portal.decide_by(document)
            try:
                await compare()
            except AssertionError:
                # The first use of a token is stored, and then the stored policies are taken up in between.
                if portal.decides is made:
                    raise
            if portal.decides is made:
                return
        raise AssertionError("the policies of the example never stay")

    loop.call(compare_by_the_same_policies)


OPEN: dict[str, Any] = {
    "portal": {
        "policies": [
            {
                "id": "staff",
                "name": "Staff",
                "decision": "allow",
                "include": [{"email_domain": {"domain": "example.com"}}],
            }
        ],
        "servers": [{"server_id": "one", "updated_tools": [{"name": "echo", "alias": "say"}]}],
        "tool_policies": [
            {"id": "calm", "name": "Calm", "decision": "deny", "include": [EVERYONE], "tools": {"names": ["fail"]}}
        ],
    },
    "servers": [
        {
            "id": "one",
            "policies": [
                {
                    "id": "dev",
                    "name": "Developers",
                    "decision": "allow",
                    "include": [{"okta": {"name": "engineers", "identity_provider_id": "idp"}}],
                    "exclude": [{"geo": {"country_code": "RU"}}],
                }
            ],
            "updated_tools": [{"name": "wipe", "enabled": False}],
        },
        {"id": "two", "policies": [{"id": "all", "decision": "bypass", "include": [EVERYONE]}]},
        {"id": "gone", "policies": [{"id": "all-too", "decision": "bypass", "include": [EVERYONE]}]},
    ],
}


def test_each_hidden_tool_has_its_reason_and_each_rule_its_outcome_in_words(
    loop: BlockingPortal, portal: Tried
) -> None:
    loop.call(portal.decide_by, OPEN)
    answer = loop.call(partial(portal.ask, "ada", country="DE"))
    assert (answer["decision"], answer["policy"], answer["policy_name"]) == ("allow", "staff", "Staff")
    one, two, gone = answer["servers"]
    assert (one["decision"], one["policy"], one["available"]) == ("allow", "dev", True)
    [developers] = one["considered"]
    assert [(rule["part"], rule["rule"], rule["outcome"]) for rule in developers["rules"]] == [
        ("include", "okta engineers at idp", "matches"),
        ("exclude", "geo RU", "does not match"),
    ]
    tools = {tool["name"]: tool for tool in one["tools"]}
    assert (tools["echo"]["listed_as"], tools["echo"]["alias"], tools["echo"]["shown"]) == ("one_say", "say", True)
    assert (tools["wipe"]["hidden_by"], tools["wipe"]["policy"]) == ("setting", "tool-settings")
    assert (tools["fail"]["hidden_by"], tools["fail"]["policy"]) == ("policy", "calm")
    assert tools["fail"]["reason"] == "Policy 'Calm' denies one.fail to ada@example.com."
    late = next(tool for tool in two["tools"] if tool["name"] == "late")
    assert late["hidden_by"] == "approval" and "waits for the approval" in late["reason"]
    assert not gone["available"] and "does not run" in gone["unavailable"]
    facts = {fact["fact"]: fact for fact in answer["facts"]}
    assert (facts["groups"]["source"], facts["groups"]["value"]) == ("stored", ["engineers"])
    assert (facts["country"]["source"], facts["email"]["source"], facts["id"]["source"]) == (
        "stated",
        "stated",
        "stored",
    )
    assert facts["device_posture"]["source"] == "unknown" and facts["certificate"]["source"] == "assumed"
    # Where the country is not known the exclusion stands, and the answer says so.
    without = loop.call(portal.ask, "ada")
    assert without["servers"][0]["decision"] == "deny"
    assert without["servers"][0]["considered"][0]["why"] == "exclude geo cannot be known"


def test_a_stranger_is_answered_with_what_is_assumed_and_a_question_that_fits_nothing_is_refused(
    loop: BlockingPortal, portal: Tried
) -> None:
    loop.call(portal.decide_by, OPEN)
    asked = loop.call(partial(portal.ask, "ada", email="eve@elsewhere.example"))
    assert (asked["decision"], asked["listed"]) == ("deny", [])
    assert asked["refusal"] == asked["reason"] == "No policy of this portal allows eve@elsewhere.example."
    facts = {fact["fact"]: fact for fact in asked["facts"]}
    assert facts["id"]["source"] == "assumed" and "Nobody with this address" in facts["id"]["words"]
    assert facts["groups"]["source"] == "unknown"
    head = {"Authorization": f"Bearer {portal.api_token}"}
    with httpx2.Client(trust_env=False, timeout=PATIENCE) as http:
        for body, status, pointer in (
            ({"portal_id": "nowhere"}, 404, None),
            ({"server_id": "nowhere"}, 400, "/server_id"),
            ({"server_id": "one", "tool": "nothing"}, 400, "/tool"),
            ({"query": "codemode=perhaps"}, 400, "/query"),
            ({"email": "a@b.example", "service_token_id": "x"}, 400, ""),
            ({"ip": "not-an-address"}, 400, ""),
            ({"tool": "echo"}, 400, ""),
        ):
            answer = http.post(f"{portal.api}/access/policies/test", headers=head, json=body)
            assert answer.status_code == status, (body, answer.text)
            if pointer:
                assert answer.json()["errors"][0]["source"]["pointer"] == pointer


def test_a_call_with_arguments_and_what_may_block_it_later_are_answered(loop: BlockingPortal, portal: Tried) -> None:
    small = {"names": ["echo"], "expression": "arguments.text == 'no'"}
    rule = {"id": "small", "decision": "deny", "include": [EVERYONE], "tools": small}
    loop.call(portal.decide_by, {**OPEN, "portal": {**OPEN["portal"], "tool_policies": [rule]}})
    for text, may in (("yes", True), ("no", False)):
        call = {"server_id": "one", "tool": "echo", "arguments": {"text": text}}
        asked = loop.call(partial(portal.ask, "ada", country="DE", **call))
        [server] = asked["servers"]
        [tool] = server["tools"]
        assert (tool["shown"], tool["callable"]) == (True, may)


@pytest.mark.anyio
async def test_what_an_administrator_stores_decides_the_tester_s_next_answer_in_code_mode_too(
    tmp_path: Path, code_tool: CodeTool
) -> None:
    async with hosted(Behaviour()) as upstream:
        document = {
            "mcpServers": {"one": {"url": upstream.url, "labels": ["external"]}},
            "portal": {
                "state": new_state(tmp_path),
                "identity": {"posture": {"integrations": ["disk"]}},
                "quotas": [{"name": "Few", "calls": 5, "period": 60, "per": ["person"], "tools": ["echo"]}],
                "dataFlow": {"rules": [{"name": "no-leaks", "when": ["secret"], "target": ["external"]}]},
                "secureWebGateway": True,
                "gateway": {
                    "rules": [{"id": "calm", "name": "Calm", "action": "block", "traffic": 'mcp.tool.name == "wipe"'}]
                },
            },
        }
        parts = Parts(code=code_tool, records=Kept())
        async with opened(document, lambda line: None, parts=parts) as instance, serving(instance) as url:
            await instance.servers.settled()
            assert instance.admin is not None
            token = (await instance.admin.tokens.create_with_all("test", "test")).value
            at = f"{url}/client/v4/accounts/{instance.admin.account_id}"
            head = {"Authorization": f"Bearer {token}"}
            async with httpx2.AsyncClient(trust_env=False, timeout=PATIENCE, headers=head) as http:

                async def post(path: str, body: dict[str, Any]) -> Any:
                    answer = await http.post(f"{at}{path}", json=body)
                    assert answer.status_code in (200, 201), answer.text
                    return answer.json()["result"]

                ann = {"email": "ann@example.com"}
                # Nobody but its administrators may use a portal without policies.
                nobody = await post("/access/policies/test", ann)
                assert (nobody["decision"], nobody["considered"][0]["id"]) == ("deny", "administrators")
                rule = {"device_posture": {"integration_uid": "disk"}}
                body = {"name": "Ann", "decision": "allow", "include": [{"email": ann}], "require": [rule]}
                policy = await post("/access/policies", body)
                app = {"type": "mcp_portal", "name": "Here", "domain": "localhost", "policies": [{"id": policy["id"]}]}
                await post("/access/apps", app)
                denied = await post("/access/policies/test", ann)
                [considered] = denied["considered"]
                assert (denied["decision"], considered["outcome"]) == ("deny", "cannot be known")
                pushed = {"subject": "ann@example.com", "device_posture": {"disk": True}}
                await post("/access/assessments", {"assessments": [pushed]})
                allowed = await post("/access/policies/test", {**ann, "query": "codemode=search_and_execute"})
                assert (allowed["decision"], allowed["mode"], allowed["listed"]) == ("allow", "code", ["code"])
                facts = {fact["fact"]: fact for fact in allowed["facts"]}
                assert (facts["device_posture"]["source"], facts["device_posture"]["value"]) == (
                    "known",
                    {"disk": True},
                )
                [server] = allowed["servers"]
                assert all(tool["shown"] for tool in server["tools"])
                guards = {guard["guard"]: guard for guard in server["may_also_block"]}
                assert {kind: guard["name"] for kind, guard in guards.items()} == {
                    "quota": "Few",
                    "data_flow": "no-leaks",
                    "gateway": "Calm",
                }
                assert (guards["quota"]["tools"], guards["data_flow"]["tools"]) == (["echo"], [])


@pytest.mark.anyio
async def test_a_person_who_turned_a_server_off_is_answered_so(tmp_path: Path) -> None:
    async with tried(tmp_path) as portal:
        portal.decide_by(OPEN)
        choices = portal.instance.shared.choices
        assert choices is not None
        await choices.choose("", ADA.key, {"two": False})
        answer = await portal.ask("ada", country="DE")
        two = next(server for server in answer["servers"] if server["id"] == "two")
        assert not two["available"] and "turned the server off" in two["unavailable"]
        # What a policy denies would not be there either if it were on.
        assert {tool["name"] for tool in two["tools"] if tool["hidden_by"] != "person"} == {"fail"}
        assert not any(name.startswith("two_") for name in answer["listed"])
