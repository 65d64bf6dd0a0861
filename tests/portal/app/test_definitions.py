"""Which portals there are, and which one a request is for."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.app.asgi import split_prefix
from portal.app.definitions import OWN, definitions, host_url
from portal.app.reload import takeable
from portal.config import RESERVED_IDS, Config, parse_config
from portal.errors import ConfigError

WIKI = {"url": "http://127.0.0.1:9/wiki"}


def config(portals: Any = None, **portal: Any) -> Config:
    return parse_config(
        {"mcpServers": {"wiki": WIKI}, "portal": portal, "portals": {} if portals is None else portals}, env={}
    )


def test_every_instance_has_the_documents_own_portal_with_every_server() -> None:
    found = definitions(config(name="Acme", instructions="Be kind.", codeMode="enforced"))
    own = found[OWN]
    assert list(found) == [OWN]
    assert (own.name, own.instructions, own.code_mode, own.servers) == ("Acme", "Be kind.", "enforced", None)


def test_a_portal_of_the_document_has_what_is_written_of_it() -> None:
    entry = {
        "name": "Docs",
        "hostname": "Docs.Example.com",
        "codeMode": "off",
        "servers": [{"server_id": "wiki", "default_disabled": True, "updated_tools": [{"name": "read", "alias": "r"}]}],
    }
    docs = definitions(config({"docs": entry}))["docs"]
    assert (docs.name, docs.hostname, docs.code_mode, docs.prefix) == ("Docs", "docs.example.com", "off", "/docs")
    assert docs.servers is not None and docs.servers[0].default_disabled is True
    assert docs.servers[0].updated_tools[0].alias == "r"


def test_a_server_may_be_named_alone_and_as_it_is_written_in_the_document() -> None:
    document = {"mcpServers": {"my wiki": WIKI}, "portals": {"docs": {"servers": ["my wiki"]}}}
    docs = definitions(parse_config(document, env={}))["docs"]
    assert docs.servers is not None and docs.servers[0].server_id == "my-wiki"


@pytest.mark.parametrize(
    ("portals", "key", "problem"),
    [
        ([], "portals", "must be an object"),
        ({"a b": {}}, "portals.a b", "is no id"),
        ({"login": {}}, "portals.login", "is taken"),
        ({"docs": 3}, "portals.docs", "must be an object, found a number"),
        ({"docs": {"server": []}}, "portals.docs.server", "Did you mean `servers`?"),
        ({"docs": {"servers": ["nothing"]}}, "portals.docs.servers[0]", "which is not there"),
        ({"docs": {"servers": ["wiki", "wiki"]}}, "portals.docs.servers[1]", "a second time"),
        ({"docs": {"hostname": "https://docs"}}, "portals.docs.hostname", "must be a host name"),
        ({"docs": {"codeMode": "on"}}, "portals.docs.codeMode", "must be"),
        ({"docs": {"policies": [{"id": "x"}]}}, "portals.docs.policies", "needs `portal.identity`"),
        ({"a": {"hostname": "x.example"}, "b": {"hostname": "x.example"}}, "portals.b.hostname", "`a` too"),
    ],
)
def test_a_portal_that_cannot_be_used_is_refused_by_its_key(portals: Any, key: str, problem: str) -> None:
    with pytest.raises(ConfigError) as refused:
        config(portals)
    assert refused.value.key == key and problem in str(refused.value)


def test_the_host_name_of_the_instance_belongs_to_the_documents_own_portal() -> None:
    identity = {"publicUrl": "https://mcp.example.com"}
    with pytest.raises(ConfigError, match="is taken"):
        config({"docs": {"hostname": "mcp.example.com"}}, identity=identity)


@pytest.mark.parametrize(
    ("public_url", "hostname", "url"),
    [
        ("https://mcp.example.com", "docs.example.com", "https://docs.example.com"),
        ("https://mcp.example.com:8443", "docs.example.com", "https://docs.example.com:8443"),
        ("", "docs.example.com", "https://docs.example.com"),
        ("", "docs.localhost", ""),
        ("https://mcp.example.com", "", ""),
    ],
)
def test_a_host_name_has_the_scheme_and_the_port_of_the_instance(public_url: str, hostname: str, url: str) -> None:
    docs = definitions(config({"docs": {"hostname": hostname}}))["docs"]
    assert host_url(docs, public_url) == url


@pytest.mark.parametrize(
    ("path", "prefix", "within"),
    [
        ("/docs/mcp", "/docs", "/docs/mcp"),
        ("/docs", "/docs", "/docs"),
        ("/mcp", "/mcp", "/mcp"),
        ("/", "/", "/"),
        ("/.well-known/name/docs/mcp", "/docs", "/docs/.well-known/name/mcp"),
        ("/.well-known/name/docs", "/docs", "/docs/.well-known/name"),
        ("/docs/.well-known/name", "/docs", "/docs/.well-known/name"),
    ],
)
def test_the_first_segment_of_a_path_names_a_portal(path: str, prefix: str, within: str) -> None:
    assert split_prefix(path) == (prefix, within)


@given(st.text(max_size=60))
def test_no_path_is_too_odd_to_have_a_first_segment(path: str) -> None:
    prefix, within = split_prefix(f"/{path}")
    assert prefix.startswith("/") and within.startswith(prefix)


def test_no_portal_of_the_document_can_stand_where_the_instances_own_paths_are() -> None:
    for id in RESERVED_IDS:
        with pytest.raises(ConfigError):
            config({id: {}})


def test_what_waits_for_the_next_start_is_named_and_keeps_its_running_value() -> None:
    running = config(port=8000, codeMode="off")
    takes, waiting = takeable(running, config(port=9000, codeMode="enforced", path="/agents"))
    assert waiting == ("portal.port", "portal.path")
    assert (takes.portal.port, takes.portal.path, takes.portal.code_mode) == (8000, "/mcp", "enforced")
    assert takeable(running, config(port=8000)) == (config(port=8000), ())


def test_identity_is_neither_begun_nor_given_up_while_an_instance_runs() -> None:
    bare, guarded = config(), config(identity={})
    assert takeable(bare, guarded)[1] == ("portal.identity",) and takeable(bare, guarded)[0].portal.identity is None
    assert takeable(guarded, bare)[1] == ("portal.identity",) and takeable(guarded, bare)[0].portal.identity is not None
