"""What the portals of an instance share, and what an embedding program may put in the place of its parts."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from codemode import Meanings
from portal.access import LiveAccess
from portal.app.code import Programs
from portal.approvals import Approvals
from portal.calls import Gate, Records
from portal.config import Config
from portal.credentials import ServerCredentials
from portal.dlp import LiveDetector
from portal.endpoint import CodeRunner, Contents
from portal.flows import Flows
from portal.gateway import Detecting, LiveGateway
from portal.http import Edge, HttpSettings
from portal.learning import Learning
from portal.logs import NO_EVENTS, EventSink
from portal.observe import Traces
from portal.pins import Pinning
from portal.quotas import Quotas
from portal.runs import WatchedRuns
from portal.servers import Servers
from portal.state import Clock, utc_now

if TYPE_CHECKING:
    from portal.admin import Admin
    from portal.app.identity import AdmissionPolicy, IdentitySettings, SharedIdentity
    from portal.approvals import ApprovalNotices
    from portal.elicitation import Choices
    from portal.export import ExportJobs
    from portal.login import Passwords
    from portal.logs import CallLog, ContentLog
    from portal.oauth import Fetch
    from portal.runs import DurableRuns
    from portal.state import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a program that embeds an instance may put in the place of the real parts.

    `code` runs programs: the instance's own workers, another runner, or None for portals without code mode. `records`
    takes rows of calls in the place of a log, `events` those of everything else. `learning` and `pins` are the
    embedding program's to open and close. `quotas` counts calls; what the quotas are is said by configuration and store
    all the same.

    At the document's own portal, `access` decides in the place of configuration and store, `gate` about calls, and
    `admission` who may sign in. `adjust_identity` changes the settings of a login before it is made. `detector`
    searches for secrets, for the rules of the gateway. `detection_rules` is the folder of the compiled rules of
    detection. `cold`: the instance begins with its client, which lists before any server is there.
    """

    now: Clock = utc_now
    http: HttpSettings = HttpSettings()
    code: CodeRunner | Literal["workers"] | None = "workers"
    records: Records | None = None
    events: EventSink | None = None
    learning: Learning | None = None
    pins: Pinning | None = None
    quotas: Quotas | None = None
    access: LiveAccess | None = None
    gate: Gate | None = None
    admission: AdmissionPolicy | None = None
    adjust_identity: Callable[[IdentitySettings], IdentitySettings] | None = None
    fetch: Fetch | None = None
    detection_rules: Path | None = None
    passwords: Passwords | None = None
    detector: Detecting | None = None
    cold: bool = False


@dataclass(slots=True)
class Shared:
    """The configuration in force, and the parts of an instance that every portal uses.

    Whoever needs a setting asks `config` for it and keeps no copy: a reload replaces it. `announce` shows the
    operator a message that is meant for nobody else. `meanings` is None where search goes by words alone. `store`,
    `identity` and `choices` are None where nobody signs in, `approvals` where there is no store, `notices` where
    nobody signs in, `log` where calls are not written into one, `exports` where there is no log or no store, `admin`
    where nobody signs in. `kept` keeps arguments, results and programs, where the operator says so. `runs` are those
    under way at all portals, `parked` those that go on from the store, None without one. `gateway` has the rules
    about what may pass, and what searches for secrets. `mark` tells this instance from others: a portal that is led
    back to itself sees it.
    """

    config: Config
    parts: Parts
    announce: Callable[[str], object]
    edge: Edge
    programs: Programs | None
    meanings: Meanings | None
    servers: Servers = field(init=False)
    credentials: ServerCredentials = field(init=False)
    records: Records = field(init=False)
    learning: Learning = field(init=False)
    flows: Flows = field(init=False)
    contents: Contents = field(default_factory=Contents)
    traces: Traces = field(default_factory=Traces)
    quotas: Quotas = field(default_factory=Quotas)
    runs: WatchedRuns = field(default_factory=WatchedRuns)
    gateway: LiveGateway = field(default_factory=LiveGateway)
    mark: str = field(default_factory=lambda: secrets.token_hex(8))
    store: Store | None = None
    parked: DurableRuns | None = None
    approvals: Approvals | None = None
    notices: ApprovalNotices | None = None
    log: CallLog | None = None
    events: EventSink = NO_EVENTS
    kept: ContentLog | None = None
    detector: LiveDetector = field(init=False)
    exports: ExportJobs | None = None
    admin: Admin | None = None
    identity: SharedIdentity | None = None
    choices: Choices | None = None

    @property
    def runner(self) -> CodeRunner | None:
        """What runs programs, or None without code mode."""
        return self.programs if self.parts.code == "workers" else self.parts.code

    def require_store(self) -> Store:
        assert self.store is not None, "identity needs a store, and only identity asks for one"
        return self.store
