"""The access of one portal or one application, compiled from the configuration and the store.

Pure, except for `read_stored`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from portal.access import (
    KINDS,
    NOTHING_STORED,
    Access,
    BestCase,
    Decision,
    Objects,
    PolicyError,
    ServerAccess,
    Sources,
    UnreadablePolicy,
    attached_to,
    policies_of,
    portal_policies,
    read_document,
    read_objects,
    server_access,
)
from portal.app.definitions import OWN, PortalDefinition, definitions, own_hostname
from portal.app.document_stamps import LIST, POLICY, SERVER_POLICY, TOOL_POLICY, Stamps, stamped
from portal.config import Config, HttpServer, IdentitySection
from portal.identity import LOCAL_ACCOUNTS, Identity
from portal.objects import (
    FLOW_RULE,
    GATEWAY_RULE,
    IDENTITY_PROVIDER,
    PORTAL,
    QUOTA,
    SERVER,
    AppDocument,
    FlowRuleDocument,
    PortalDocument,
    PortalServer,
    QuotaDocument,
    RuleDocument,
    ServerDocument,
)

if TYPE_CHECKING:
    from portal.state import Broken, Store, Stored

SERVICE_TOKENS = "service_token"
ACCESS_KINDS = frozenset(
    {*KINDS, FLOW_RULE.name, GATEWAY_RULE.name, IDENTITY_PROVIDER.name, SERVICE_TOKENS, QUOTA.name, "settings"}
)
"""The kinds of stored objects that decisions or the names of portals depend on."""
ADMINISTRATORS_ONLY: Mapping[str, object] = {
    "id": "administrators",
    "name": "Administrators of this portal",
    "decision": "allow",
    "include": [{"login_method": {"id": LOCAL_ACCOUNTS}}],
}
EVERYONE: Mapping[str, object] = {
    "id": "whoever-may-use-the-portal",
    "name": "Whoever may use the portal",
    "decision": "bypass",
    "include": [{"everyone": {}}],
}


@dataclass(frozen=True, slots=True)
class StoredState:
    """The part of the store that decisions depend on. `providers` are the types of identity providers by id.

    `login_name` is the name of the document's own portal in the login settings, or "". `broken_quotas` and
    `unreadable_flow_rules` are the ids of those that cannot be read. `rules` are those of the gateway, `broken_rules`
    those that cannot be read. `stamps` are those of the entries of the document.
    """

    objects: Objects = NOTHING_STORED
    providers: Mapping[str, str] = field(default_factory=dict)
    service_tokens: frozenset[str] = frozenset()
    login_name: str = ""
    quotas: Sequence[Stored[QuotaDocument]] = ()
    broken_quotas: frozenset[str] = frozenset()
    rules: Sequence[Stored[RuleDocument]] = ()
    broken_rules: Sequence[Broken] = ()
    flow_rules: Sequence[Stored[FlowRuleDocument]] = ()
    unreadable_flow_rules: Sequence[str] = ()
    stamps: Stamps = field(default_factory=dict)


async def read_stored(store: Store) -> StoredState:
    """The current state of the store.

    Raises:
        StateUnavailable: the store does not answer.
    """
    # Imported here, because an instance without a database does not load the libraries of the login pages.
    from portal.login import stored_name
    from portal.oauth import SERVICE_TOKEN

    quotas = await store.scan(QUOTA)
    rules = await store.scan(GATEWAY_RULE)
    flow_rules = await store.scan(FLOW_RULE)
    return StoredState(
        await read_objects(store),
        {one.id: one.document.type for one in await store.list(IDENTITY_PROVIDER)},
        frozenset(one.id for one in await store.list(SERVICE_TOKEN)),
        await stored_name(store),
        quotas.stored,
        frozenset(one.id for one in quotas.broken),
        rules.stored,
        rules.broken,
        flow_rules.stored,
        [one.id for one in flow_rules.broken],
    )


def portal_access(definition: PortalDefinition, config: Config, stored: StoredState) -> Access:
    """The access of one portal.

    Raises:
        PolicyError: the policies cannot be compiled.
    """
    section = config.portal.identity
    own = stamped(stored.stamps, POLICY, definition.id, definition.policies)
    policies: list[object] = [*own, *portal_policies(stored.objects, definition.hostname)]
    if section is None:
        policies = [EVERYONE]
    policies += _unreadable_own(definition, config, stored.objects)
    return _compiled(
        {
            "name": definition.name,
            "policies": policies or [ADMINISTRATORS_ONLY],
            "tool_policies": [
                *stamped(stored.stamps, TOOL_POLICY, OWN, section.tool_policies if section is not None else ()),
                *stamped(stored.stamps, TOOL_POLICY, definition.id, definition.tool_policies),
            ],
            "servers": _settings_of_servers(definition, config, stored.objects),
        },
        _servers(definition, config, stored),
        config,
        stored,
    )


def access_of_portal(id: str, config: Config, stored: StoredState) -> Access | None:
    """The access of the portal of this id, "" for the document's own; None if there is no such portal.

    Raises:
        PolicyError: the policies cannot be compiled.
    """
    definition = definitions(config, stored.objects.portals, stored.login_name).get(id)
    return None if definition is None else portal_access(definition, config, stored)


def application_access(id: str, config: Config, stored: StoredState) -> Access:
    """The access of an application that has people sign in here.

    Raises:
        PolicyError: its policies cannot be compiled.
    """
    policies = [policy for one in stored.objects.apps if one.id == id for policy in policies_of(one.document)]
    return _compiled({"name": config.portal.name, "policies": policies}, [], config, stored)


def application_decision(access: Access, identity: Identity) -> Decision:
    """The decision whether somebody may sign in to an application. A sign-in is no call: nobody can approve one, so a
    policy that asks for that lets nobody in."""
    decision = access.portal(identity)
    if not decision.allowed or decision.approval is None:
        return decision
    name = repr(decision.policy_name or decision.policy)
    reason = f"Policy {name} asks for an approval, and none can be given for signing in to an application."
    return Decision("deny", reason, decision.policy, decision.policy_name)


def audiences(config: Config, stored: Iterable[Stored[ServerDocument]]) -> dict[str, str]:
    """The servers whose calls carry a signed assertion of the caller, with the audience of each.

    A configured server overrides a stored one of the same id.
    """
    audience_of = {entry.id: entry.document.assertion_audience for entry in stored}
    for server in config.servers.values():
        audience_of[server.id] = server.assertion_audience if isinstance(server, HttpServer) else ""
    return {server: audience for server, audience in audience_of.items() if audience}


def served_for_all(definition: PortalDefinition, config: Config, stored: StoredState) -> frozenset[str]:
    """The ids of the servers that everybody at a portal calls with the portal's own login, instead of one of their own.

    The entry of the server says so for all portals, the portal's entry of the server for this one: `on_behalf` is
    false. Whether a server wants a login at all is not asked here.
    """
    entries = _settings_of_servers(definition, config, stored.objects)
    here = {entry.server_id for entry in entries}
    of_portal = {entry.server_id for entry in entries if not entry.on_behalf}
    of_servers = {
        id
        for id, server in config.servers.items()
        if isinstance(server, HttpServer) and not server.on_behalf and (definition.servers is None or id in here)
    }
    return frozenset(of_portal | of_servers)


def could_enter(identity: Identity, best_case: BestCase, apps: Iterable[Stored[AppDocument]]) -> bool:
    """Whether a login could give access to the portal or to an application of type `saas`."""
    if best_case.allows(identity):
        return True
    for app in apps:
        if app.document.type != "saas":
            continue
        try:
            if best_case.allows(identity, tuple(policies_of(app.document))):
                return True
        except PolicyError:
            # Policies that cannot be read do not prevent a login: the application itself denies access.
            return True
    return False


def _compiled(
    portal: Mapping[str, object], servers: Sequence[ServerAccess | object], config: Config, stored: StoredState
) -> Access:
    section, objects = config.portal.identity, stored.objects
    reusable = {
        "policies": objects.reusable_policies,
        "groups": [*(section.groups if section is not None else ()), *objects.reusable_groups],
        "lists": [
            *stamped(stored.stamps, LIST, OWN, section.lists if section is not None else ()),
            *objects.reusable_lists,
        ],
    }
    providers = {**stored.providers, LOCAL_ACCOUNTS: LOCAL_ACCOUNTS}
    if section is not None and section.pin:
        providers["onetimepin"] = "onetimepin"
    sources = Sources(
        identity_providers=providers,
        service_tokens=stored.service_tokens,
        linked_apps=frozenset(audiences(config, objects.servers)),
    )
    document = read_document({"portal": portal, "servers": servers, **reusable})
    return Access(document, with_signals(section, sources) if section is not None else sources)


def with_signals(section: IdentitySection, sources: Sources) -> Sources:
    """These sources with those that the section configures."""
    return replace(
        sources,
        certificates=section.client_certificates and bool(section.trusted_proxies),
        geo=section.countries is not None,
        device_posture=frozenset(section.posture.integrations) if section.posture is not None else frozenset(),
        user_risk=section.posture is not None,
        external_evaluation=section.external_evaluation,
    )


def _settings_of_servers(definition: PortalDefinition, config: Config, objects: Objects) -> tuple[PortalServer, ...]:
    if definition.servers is not None:
        return definition.servers
    own = _stored_portal(config, objects)
    return own.servers if own is not None else ()


def _servers(definition: PortalDefinition, config: Config, state: StoredState) -> list[object]:
    """The servers of a portal with their policies. Other servers do not exist for the portal."""
    objects = state.objects
    stored = {server.id: server for server in objects.servers}
    # A configured server with unreadable stored settings is left out: it is unknown which tools they disable.
    broken = objects.broken_ids(SERVER.name)
    if definition.servers is not None:
        ids = [entry.server_id for entry in definition.servers]
    else:
        # The document's own portal has every configured server, and the stored ones attached to it.
        own = _stored_portal(config, objects)
        attached = list(stored) if own is None else [entry.server_id for entry in own.servers]
        ids = [*config.servers, *(id for id in attached if id not in config.servers)]
    return [
        _configured(id, definition, config, state) if id in config.servers else server_access(stored[id], objects)
        for id in ids
        if id not in broken and (id in config.servers or id in stored)
    ]


def _configured(id: str, definition: PortalDefinition, config: Config, state: StoredState) -> Mapping[str, object]:
    """A server of the document. A stored server of the same id has its settings, at the portals it is attached to."""
    section, objects = config.portal.identity, state.objects
    stored = next((one.document for one in objects.servers if one.id == id), None)
    own = _stored_portal(config, objects)
    if definition.id == OWN and own is not None and id not in {entry.server_id for entry in own.servers}:
        stored = None
    policies = section.server_policies.get(id, ()) if section is not None else ()
    return {
        "id": id,
        "updated_tools": stored.updated_tools if stored is not None else (),
        "updated_prompts": stored.updated_prompts if stored is not None else (),
        # A configured server without policies is open to everyone who may use the portal.
        "policies": [*stamped(state.stamps, SERVER_POLICY, id, policies), *attached_to(objects, id)] or [EVERYONE],
    }


def _stored_portal(config: Config, objects: Objects) -> PortalDocument | None:
    """The stored portal with the settings of the document's own portal, or None."""
    hostname = own_hostname(config)
    return next((one.document for one in objects.portals if one.document.hostname == hostname), None)


def _unreadable_own(definition: PortalDefinition, config: Config, objects: Objects) -> list[UnreadablePolicy]:
    """Policies that deny everyone at the document's own portal while its stored settings cannot be read.

    Those settings say which servers and tools are listed.
    """
    if definition.id != OWN:
        return []
    hostname = own_hostname(config)
    broken = [one for one in objects.broken if one.kind == PORTAL.name and _may_have(one, hostname)]
    return [UnreadablePolicy.with_id(one.id) for one in broken]


def _may_have(portal: Broken, hostname: str) -> bool:
    value = portal.members.get("hostname")
    return not isinstance(value, str) or value.lower() == hostname
