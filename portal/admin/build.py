"""Builds the admin API over a store."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.routing import Mount

from portal.admin.analytics import AnalyticsOperations
from portal.admin.api.actions import Operations
from portal.admin.api.application import PREFIX, AdminSettings, EventsInForce, create_admin_app
from portal.admin.api.operations import Operation
from portal.admin.approvals import CallApprovalOperations
from portal.admin.apps import AppOperations
from portal.admin.assessments import AssessmentApi
from portal.admin.configured import ConfiguredOperations
from portal.admin.deciding import Deciding
from portal.admin.dlp_datasets import DatasetOperations
from portal.admin.dlp_entries import DlpEntryOperations
from portal.admin.dlp_profiles import DlpProfileOperations, ProfileUses, no_uses
from portal.admin.dlp_rules import RuleSource
from portal.admin.exports import ExportOperations
from portal.admin.flows import FlowRuleOperations, ReadOperations, check_flow_rules
from portal.admin.gateway import GatewayRuleOperations
from portal.admin.kept_runs import EndRun, OutlivingRuns
from portal.admin.lists import ListOperations
from portal.admin.log_reading import LogReading
from portal.admin.login_settings import OrganizationOperations
from portal.admin.logs import LogOperations
from portal.admin.members import MemberOperations
from portal.admin.names import NameOperations
from portal.admin.organization import CustomPages, IdentityProviders, ServiceTokenApi
from portal.admin.overview import OverviewOperations
from portal.admin.policies import GroupOperations, PolicyOperations, check_decisions
from portal.admin.policy_test import PolicyTester, PolicyTestOperations
from portal.admin.portals import PortalOperations
from portal.admin.quotas import QuotaOperations
from portal.admin.replays import ReplayOperations
from portal.admin.role_guard import RoleGuard
from portal.admin.role_rules import RoleRulesOperations
from portal.admin.roles import AdministratorRoles
from portal.admin.runs import RunOperations
from portal.admin.served import ServedOperations, Serving
from portal.admin.servers import ServerOperations
from portal.admin.signing import KeyOperations
from portal.admin.tokens import ApiTokens
from portal.admin.upstreams import NotRunning, Upstreams
from portal.admin.users import UserOperations
from portal.approvals import Approvals
from portal.dlp import rules_folder
from portal.export import ExportJobs
from portal.home import Holdings
from portal.login import People
from portal.oauth import ServiceTokens, SigningKeys
from portal.objects import Document
from portal.quotas import Quotas
from portal.runs import RunHistory, RunReplays, RunsPrograms, WatchedRuns
from portal.sdk import mount_any_path
from portal.state import AlreadyExists, Clock, Kind, Store, utc_now

if TYPE_CHECKING:
    from portal.logs import CallLog, ContentLog


class InstanceAccount(Document):
    """The one account of an instance: 32 hexadecimal digits."""

    id: str


ACCOUNT, ACCOUNT_ID = Kind("settings", InstanceAccount), "account"


@dataclass(frozen=True, slots=True)
class Admin:
    """The API of one account. `tokens` creates the first API token; `settings` may change while the API serves.
    `roles` says which role somebody has who has signed in. `close_streams` ends the answers that would go on for ever.
    """

    app: Starlette
    account_id: str
    tokens: ApiTokens
    operations: Sequence[Operation]
    settings: AdminSettings
    close_streams: Callable[[], None]
    roles: AdministratorRoles

    def actions(self) -> Operations:
        """The operations for who uses them in this process."""
        return Operations(self.operations, self.account_id, self.settings)

    def route(self) -> Mount:
        """The application at `PREFIX`."""
        # An id in a path may be any text, even with a line break.
        return mount_any_path(PREFIX, self.app)


async def create_admin(
    store: Store,
    upstreams: Upstreams | None = None,
    *,
    clock: Clock = utc_now,
    settings: AdminSettings | None = None,
    log: CallLog | None = None,
    quotas: Quotas | None = None,
    exports: ExportJobs | None = None,
    rules: Path | None = None,
    profile_uses: ProfileUses = no_uses,
    tester: PolicyTester | None = None,
    holdings: Holdings | None = None,
    runs: WatchedRuns | None = None,
    contents: ContentLog | None = None,
    serving: Serving | None = None,
    approvals: Approvals | None = None,
    programs: RunsPrograms | None = None,
    end_run: EndRun | None = None,
) -> Admin:
    """The admin API over this store, and the log if there is one. Without `upstreams` the status of every server is
    `waiting`, without `quotas` no call was counted, without `exports` no job of the export runs, without `runs` no
    program is under way, without `contents` no program of a run is shown.

    `tester` answers what policies say of somebody, and `serving` what is in service; without them no portal runs in
    this process. `rules` is the folder of the compiled rules of detection. `profile_uses` says what uses a profile of
    detection: that one is not removed. `holdings` are what people have begun, and are the caller's to close.
    `approvals` are those of the instance; without them decisions are made here, over the same store. `programs` repeats
    recorded runs. `end_run` ends a run that is parked, and has its row written.
    """
    settings = settings or AdminSettings()
    account_id = await read_account_id(store)
    tokens = ApiTokens(store, account_id, clock)
    detection = RuleSource(rules or rules_folder())
    upstreams = upstreams or NotRunning()
    servers = ServerOperations(store, upstreams, clock, settings)
    reading = LogReading(store, log, settings)
    held, people = holdings or Holdings.over(store, clock), People(store, clock)
    roles = AdministratorRoles(store, lambda: settings.identity)
    deciding, approvals = Deciding(people, roles), approvals or Approvals(store, EventsInForce(settings), clock)
    kept, history = OutlivingRuns(store, people, end_run), RunHistory(runs or WatchedRuns(), log, contents)
    guard = RoleGuard(lambda: settings.identity).require
    operations = [
        *servers.operations(),
        *PortalOperations(store, servers).operations(),
        *ServedOperations(serving, upstreams).operations(),
        *ConfiguredOperations(settings).operations(),
        *PolicyOperations(store, check_decisions).operations(),
        *PolicyTestOperations(tester).operations(),
        *GroupOperations(store, check_decisions, guard).operations(),
        *AppOperations(store, check_decisions).operations(),
        *IdentityProviders(store, settings, guard).operations(),
        *ServiceTokenApi(store, ServiceTokens(store, clock)).operations(),
        *CustomPages(store, check_decisions).operations(),
        *ListOperations(store, check_decisions, clock, guard).operations(),
        *GatewayRuleOperations(store, settings).operations(),
        *DlpProfileOperations(store, detection, settings, clock, profile_uses).operations(),
        *DlpEntryOperations(store, detection, settings, clock).operations(),
        *DatasetOperations(store).operations(),
        *FlowRuleOperations(store, check_flow_rules).operations(),
        *ReadOperations(store, clock).operations(),
        *KeyOperations(store, SigningKeys(store, clock), clock).operations(),
        *AssessmentApi(store, clock, settings).operations(),
        *QuotaOperations(store, quotas or Quotas()).operations(),
        *OrganizationOperations(store, settings).operations(),
        *MemberOperations(store, clock, settings).operations(),
        *RoleRulesOperations(store, check_decisions).operations(),
        *UserOperations(store, people, held, tokens, settings).operations(),
        *NameOperations(store, people).operations(),
        *LogOperations(reading).operations(),
        *RunOperations(reading, history, runs, kept, deciding, settings).operations(),
        *ReplayOperations(reading, RunReplays(log, contents, programs)).operations(),
        *CallApprovalOperations(approvals, deciding, reading, settings, clock).operations(),
        *AnalyticsOperations(reading, clock).operations(),
        *OverviewOperations(reading, clock).operations(),
        *ExportOperations(store, exports).operations(),
        *tokens.operations(),
    ]
    app = create_admin_app(operations, tokens, account_id, settings)
    return Admin(app, account_id, tokens, operations, settings, reading.close, roles)


async def read_account_id(store: Store) -> str:
    """The id of the one account, 32 hexadecimal digits chosen at random on the first start."""
    # A start that is not the first writes nothing: the database may take nothing just then.
    if (account := await store.get(ACCOUNT, ACCOUNT_ID)) is not None:
        return account.document.id
    made = InstanceAccount(id=secrets.token_hex(16))
    try:
        await store.create(ACCOUNT, ACCOUNT_ID, made, by="first start")
    except AlreadyExists:
        # Another process was faster.
        account = await store.get(ACCOUNT, ACCOUNT_ID)
        assert account is not None
        return account.document.id
    return made.id
