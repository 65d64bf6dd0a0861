"""The configuration document: what an operator writes, checked, and turned into frozen values.

Read are the forms that MCP clients already use, JSON or TOML: `{"mcpServers": {...}}` (Claude, Cursor, Windsurf, ...),
VS Code's `{"servers": {...}}` and Codex's `mcp_servers`, with a `portal` section for the portal itself. Keys may be
written in camelCase or snake_case; what other clients write in their own way is in `clients`. Every error names the
file and the key and says what to do; no error and no `repr` shows a value, because any of them may be a secret.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from portal.config import secrets as config_secrets
from portal.config.approval_notices import ApprovalNoticesSection
from portal.config.clients import (
    MAX_ENV_FILE,
    SERVER_SECTIONS,
    TRANSPORTS,
    EntryUnusable,
    Notes,
    check_projects,
    editor_variables,
    foreign_at_top,
    in_our_words,
    input_values,
    is_for_this_portal,
    read_env_file,
    require_transport,
    without_wrapping,
    workspace_of,
)
from portal.config.credential_notices import CredentialNoticesSection
from portal.config.data_flow import DataFlowSection, Labels, LabelsOfTools
from portal.config.dlp import DlpSection
from portal.config.document import describe, load_document, read_text
from portal.config.expand import Expansion
from portal.config.exports import ExportSection
from portal.config.gateway import GatewaySection
from portal.config.identity import IdentitySection
from portal.config.logs import LogSection
from portal.config.observe import MetricsSection, TraceSection
from portal.config.own_code_mode import OwnCodeMode, asking_for_tools
from portal.config.portals import PORTAL_ID, RESERVED_IDS, CodeModePolicy, PortalEntry
from portal.config.quotas import HOUR, MAX_QUOTAS, QuotaSection
from portal.config.runs import RunSettings
from portal.config.section import Section, http_url
from portal.config.upstream_oauth import UpstreamOAuth
from portal.errors import ConfigError, InputError
from portal.misfits import misfits
from sandbox import LimitInvalid, Limits

TypeCheck = Literal["off", "warn", "enforce"]
Sharing = Literal["auto", "shared", "dedicated"]

LIMITS = {limit.name: limit.type == "int" for limit in fields(Limits) if limit.init}
"""The names of the limits, and whether each is a whole number."""
_RELATIVE_SQLITE = re.compile(r"^(?P<scheme>sqlite(?:\+\w+)?:///)(?P<path>[^/?:][^?]*)")
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
MAX_KEY = 200
TOO_DEEP = "is nested too deeply."
_POLICIES = {"policies", "serverPolicies", "toolPolicies", "groups", "lists", "oauth"}


def _file_name(value: Path) -> Path:
    if not value.name:
        raise ValueError("must name a file")
    return value


def _field_name(value: str) -> str:
    if not re.fullmatch(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", value):
        raise ValueError("must be the name of an HTTP header")
    return value


def _field_line(value: str) -> str:
    if any(character in value for character in "\r\n\0"):
        raise ValueError("must not contain line breaks or NUL")
    return value


Text = Annotated[str, Field(max_length=65536)]
Seconds = Annotated[float, Field(gt=0, le=86_400, allow_inf_nan=False)]
HeaderName = Annotated[str, AfterValidator(_field_name)]
HeaderValue = Annotated[str, AfterValidator(_field_line)]


Checked = TypeVar("Checked", bound=Section)


def _http_url_if_any(value: str) -> str:
    return http_url(value) if value else value


def _document_place(value: str) -> str:
    if "\0" in value or ("://" in value and not value.startswith(("http://", "https://"))):
        raise ValueError("must be a file, or an http:// or https:// URL")
    return http_url(value) if "://" in value else value


class PortalSettings(Section):
    """The `portal` section. `limits` holds the limits that were written; the others keep the sandbox's defaults."""

    name: str = "codemode-portal"
    instructions: Text | None = None
    host: str = "127.0.0.1"
    port: int = Field(default=8787, ge=0, le=65535)
    path: str = Field(default="/mcp", pattern=r"^/[A-Za-z0-9._~/-]*$")
    code_mode: CodeModePolicy = CodeModePolicy.OPT_IN
    type_check: TypeCheck = "off"
    limits: Mapping[str, float | int] = Field(default_factory=dict)
    runs: RunSettings = RunSettings()
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    allowed_hosts: tuple[str, ...] = ()
    allowed_origins: tuple[str, ...] = ()
    learned_shapes: Annotated[Path, AfterValidator(_file_name)] | None = None
    pinned: Annotated[Path, AfterValidator(_file_name)] | None = None
    state: str | None = Field(default=None, repr=False)
    identity: IdentitySection | None = None
    credential_notices: CredentialNoticesSection = CredentialNoticesSection()
    approval_notices: ApprovalNoticesSection = ApprovalNoticesSection()
    logs: LogSection | None = None
    traces: TraceSection | None = None
    metrics: MetricsSection | None = None
    quotas: Annotated[tuple[QuotaSection, ...], Field(max_length=MAX_QUOTAS)] = ()
    secure_web_gateway: bool = False
    gateway: GatewaySection = GatewaySection()
    dlp: DlpSection = DlpSection()
    data_flow: DataFlowSection = DataFlowSection()
    exports: ExportSection = ExportSection()

    @property
    def public_url(self) -> str:
        """The origin people and agents reach the instance by, "" without one."""
        return self.identity.public_url.rstrip("/") if self.identity is not None else ""

    @property
    def has_store(self) -> bool:
        """Whether there is a database beside the document."""
        return self.state is not None or self.identity is not None

    @property
    def has_log(self) -> bool:
        """Whether calls are written into a log: where there is a database, or where the document says so."""
        return self.logs.enabled if self.logs is not None else self.has_store


class _Server(Section):
    """What every server has. Times in seconds, sizes in bytes.

    `labels` say to data-flow rules what is read there, or who reads what is sent there; `tool_labels` say it of single
    tools, by the names that the server gives them.
    """

    id: str
    name: str
    description: Text | None = None
    enabled: bool = True
    prefix: bool = True
    timeout: Seconds = 60.0
    max_timeout: Seconds = 600.0
    connect_timeout: Seconds = 30.0
    resync: Seconds = 86_400.0
    max_result_bytes: int = Field(default=5 * 1024 * 1024, ge=1024, le=1024**3)
    max_items: int = Field(default=5000, ge=1, le=1_000_000)
    sessions: Sharing = "auto"
    learn_output: bool = False
    code_mode_upstream: OwnCodeMode = "advise"
    pin: bool = False
    secure_web_gateway: bool = False
    labels: Labels = ()
    tool_labels: LabelsOfTools = Field(default_factory=dict)
    expanded: tuple[str, ...] = Field(default=(), repr=False)


class StdioServer(_Server):
    """A program started by the portal that speaks MCP on its standard input and output."""

    command: str = Field(min_length=1)
    args: tuple[Text, ...] = Field(default=(), repr=False)
    env: Mapping[str, Text] = Field(default_factory=dict, repr=False)
    cwd: Path | None = None

    @property
    def transport_name(self) -> str:
        return "stdio"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that must not appear in a log, a reason or an error."""
        return config_secrets.of_process(self.expanded, self.env, self.args)


class HttpServer(_Server):
    """A server reached by URL. `transport` is "auto" when the document does not say: HTTP, then the older SSE.

    With `on_behalf` each person logs in to a server that wants a login; without, a login of the portal serves all.
    """

    url: Annotated[str, AfterValidator(http_url)] = Field(repr=False)
    headers: Mapping[HeaderName, HeaderValue] = Field(default_factory=dict, repr=False)
    transport: Literal["auto", "http", "sse"] = "auto"
    assertion_audience: str = Field(default="", max_length=200)
    oauth: UpstreamOAuth | None = Field(default=None, repr=False)
    on_behalf: bool = True

    @model_validator(mode="after")
    def _asks_for_whom_it_may(self) -> HttpServer:
        if self.oauth is not None and self.oauth.by_sign_in and not self.on_behalf:
            raise ValueError(f"has `onBehalf` false, and each person's own tokens by its grant {self.oauth.grant}")
        return self

    @property
    def transport_name(self) -> str:
        return "sse" if self.transport == "sse" else "http"

    @property
    def request_url(self) -> str:
        """Where requests go: the url, which asks for the server's own tools where the document says so."""
        return asking_for_tools(self.url) if self.code_mode_upstream == "off" else self.url

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that must not appear in a log, a reason or an error."""
        expanded = (*self.expanded, *(self.oauth.secrets if self.oauth is not None else ()))
        return config_secrets.of_address(expanded, self.url, self.headers)


class OpenApiServer(HttpServer):
    """An HTTP API, made into a server by its OpenAPI document.

    `openapi` is where the document is, a URL or a file; `text` is the document itself where it is neither. `url` is the
    base address of its paths, "" for the one that the document names: `server` chooses among several, by number from 0
    or by description. `credentials` are values by the names of its security schemes.
    """

    openapi: Annotated[Text, AfterValidator(_document_place)] = Field(default="", repr=False)
    text: str = Field(default="", repr=False)
    url: Annotated[str, AfterValidator(_http_url_if_any)] = Field(default="", repr=False)
    server: Annotated[int, Field(ge=0)] | Text | None = None
    credentials: Mapping[str, HeaderValue] = Field(default_factory=dict, repr=False)

    @model_validator(mode="after")
    def _names_where_tokens_go(self) -> OpenApiServer:
        if bool(self.openapi) == bool(self.text):
            raise ValueError("needs an `openapi`, the file or the URL of its document")
        if self.oauth is not None and not self.url:
            raise ValueError("needs its `url` beside `oauth`: a document does not choose where a token goes")
        if self.server is not None and self.url:
            raise ValueError("has both `url` and `server`, which chooses an address of the document; keep one of them")
        return self

    @property
    def transport_name(self) -> str:
        return "openapi"

    @property
    def document_url(self) -> str:
        """Where the document is fetched from, "" if it is not fetched."""
        return self.openapi if "://" in self.openapi else ""

    @property
    def request_url(self) -> str:
        return self.url

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that must not appear in a log, a reason or an error."""
        oauth = self.oauth.secrets if self.oauth is not None else ()
        return config_secrets.of_api(
            (*self.expanded, *oauth), (self.url, self.document_url), self.headers, self.credentials
        )


ServerConfig = StdioServer | HttpServer


class Omission(BaseModel):
    """A server of the document that is not served. `id` is "" if its name makes none; `why` is a sentence that names it
    and says what to do."""

    model_config = ConfigDict(frozen=True)

    id: str
    why: str


class Config(BaseModel):
    """A whole document. `servers` is in document order, by server id, the disabled ones included; `portals` are the
    further portals, by id. `omissions` are the servers that cannot be used. `notes` are sentences for the operator:
    what of the document is passed over or left out. `section` is the key under which the document has its servers.
    `expanded` are the values of variables in `portal` and `portals`: they are secrets until proven otherwise. `file` is
    the document's own, None for one that is in no file."""

    model_config = ConfigDict(frozen=True)

    portal: PortalSettings = PortalSettings()
    servers: Mapping[str, StdioServer | OpenApiServer | HttpServer] = Field(default_factory=dict)
    portals: Mapping[str, PortalEntry] = Field(default_factory=dict)
    omissions: tuple[Omission, ...] = ()
    notes: tuple[str, ...] = ()
    section: str = SERVER_SECTIONS[0]
    expanded: tuple[str, ...] = Field(default=(), repr=False)
    file: Path | None = None


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the entries of one document are read with, and those that are left out."""

    file: str
    environment: Mapping[str, str]
    folder: Path | None
    editor: Mapping[str, str]
    inputs: Mapping[str, str | None]
    notes: Notes
    omissions: list[Omission] = field(default_factory=list)

    def path(self, written: str) -> Path:
        """A file that an entry names: below the folder of the project that the document is about."""
        base = workspace_of(self.folder) if self.folder is not None else Path()
        return base / Path(written).expanduser()

    def text(self, written: str) -> str | None:
        """The text of a file that an entry names; None if it cannot be read."""
        try:
            return read_text(self.path(written), largest=MAX_ENV_FILE).strip()
        except (InputError, ValueError, RuntimeError):
            return None

    def leave_out(self, name: str, key: str, reason: str) -> None:
        why = f"{key[:MAX_KEY]} is left out: {reason}"
        self.notes.sentences.append(why)
        self.omissions.append(Omission(id=server_id(name), why=why))


def load_config(path: Path, env: Mapping[str, str] | None = None) -> Config:
    """Read, expand and check a `.json` or `.toml` document.

    Raises:
        ConfigError: it cannot be read or used.
    """
    config = parse_config(load_document(path), file=str(path), env=env, folder=path.parent)
    return config.model_copy(update={"file": path.absolute()})


def parse_config(
    document: Mapping[str, object],
    *,
    file: str = "<config>",
    env: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Config:
    """Check a document that is already a mapping. `folder` is what a relative `cwd` is relative to.

    Raises:
        ConfigError: it cannot be used.
    """
    try:
        return _parse(document, file, os.environ if env is None else env, folder)
    except RecursionError:
        raise ConfigError(TOO_DEEP, file=file) from None


def _parse(document: Mapping[str, object], file: str, environment: Mapping[str, str], folder: Path | None) -> Config:
    notes = Notes()
    document = without_wrapping(document)
    check_projects(document, file, notes)
    foreign_at_top(document, {"$schema", *SERVER_SECTIONS, "portal", "portals", "inputs"}, file, notes)
    empty = [key for key in SERVER_SECTIONS if key in document and document[key] is None]
    document = {key: value for key, value in document.items() if value is not None}
    spelled = [key for key in SERVER_SECTIONS if key in document] or empty[:1]
    if len(spelled) > 1:
        raise ConfigError(f"has both `{spelled[0]}` and `{spelled[1]}`.", file=file, fix="Keep one of them.")
    key = spelled[0] if spelled else SERVER_SECTIONS[0]
    workspace = None if folder is None else workspace_of(folder)
    editor = editor_variables(workspace, environment.get("HOME", ""))
    inputs = input_values(document.get("inputs"), environment)
    reading = _Reading(file, environment, folder, editor, inputs, notes)
    servers = _servers(document.get(key, {}), key, reading)
    expansion = Expansion(environment, file=file)
    portal = _portal(document.get("portal", {}), file, expansion, folder)
    _pins_have_a_place(portal, servers, key, file)
    _contents_have_a_key(portal, file)
    _recordings_have_a_place(portal, file)
    there = servers.keys() | {one.id for one in reading.omissions}
    portals = _portals(document.get("portals", {}), portal, there, file, expansion)
    return Config(
        portal=portal,
        servers=servers,
        portals=portals,
        omissions=tuple(reading.omissions),
        notes=notes.lines(),
        section=key,
        expanded=tuple(sorted(expansion.values)),
    )


def _servers(entries: object, key: str, reading: _Reading) -> dict[str, ServerConfig]:
    """The servers, by id. One that the portal cannot use, or in which there is a mistake, is left out alone.

    Raises:
        ConfigError: a mistake is in a key that this portal alone has, or mistakes leave no server, or two have one id.
    """
    file = reading.file
    if not isinstance(entries, dict):
        raise ConfigError(f"must be an object, found {describe(entries)}.", file=file, key=key)
    servers: dict[str, ServerConfig] = {}
    mistakes: list[ConfigError] = []
    for name, entry in entries.items():
        where = f"{key}.{name}"
        try:
            server = _server(name, entry, where, reading)
        except EntryUnusable as reason:
            reading.leave_out(name, where, f"{reason}.")
            continue
        except ConfigError as mistake:
            if is_for_this_portal(_member(mistake, where), entry, ENTRY_KEYS):
                raise
            mistakes.append(mistake)
            reading.leave_out(name, where, _sentence(mistake, where))
            continue
        except RecursionError:
            mistakes.append(ConfigError(TOO_DEEP, file=file, key=where))
            reading.leave_out(name, where, f"it {TOO_DEEP}")
            continue
        if (other := servers.get(server.id)) is not None:
            raise ConfigError(
                f"`{name}` and `{other.name}` would both be called `{server.id}`.",
                file=file,
                key=f"{key}.{name}",
                fix="Rename one of them.",
            )
        servers[server.id] = server
    if mistakes and not servers:
        # There would be nothing to serve: the first mistake is what the author needs to read.
        raise mistakes[0]
    return servers


def _member(mistake: ConfigError, where: str) -> str:
    """The key of the entry in which the mistake is, "" for the entry as a whole."""
    found = re.match(r"[^.\[]*", mistake.key.removeprefix(where).removeprefix("."))
    return found[0] if found is not None else ""


def _sentence(mistake: ConfigError, where: str) -> str:
    place = mistake.key.removeprefix(where).removeprefix(".")
    subject = f"its `{place[:MAX_KEY]}`" if place else "it"
    return f"{subject} {mistake.problem} {mistake.fix}".rstrip()


def _pins_have_a_place(portal: PortalSettings, servers: Mapping[str, ServerConfig], key: str, file: str) -> None:
    if portal.pinned is not None and portal.has_store:
        problem = "is for a portal without a database: with `state` or `identity` approvals are kept there."
        fix = "Remove it; what the servers offer at the next start is then approved as it is."
        raise ConfigError(problem, file=file, key="portal.pinned", fix=fix)
    for server in servers.values():
        if server.pin and server.enabled and portal.pinned is None and not portal.has_store:
            problem = "needs a place for what was approved, or every restart would approve whatever is offered then."
            fix = 'Name a file: `"portal": {"pinned": "pinned.json"}`; or set `portal.state`.'
            raise ConfigError(problem, file=file, key=f"{key}.{server.name}.pin", fix=fix)


def _contents_have_a_key(portal: PortalSettings, file: str) -> None:
    if portal.logs is not None and portal.logs.contents is not None and not portal.has_store:
        problem = "needs a database of the portal: arguments and results are sealed with its keys."
        fix = 'Set `portal.state`, for example `"state": "sqlite:///state.db"`, or remove this.'
        raise ConfigError(problem, file=file, key="portal.logs.contents", fix=fix)


def _recordings_have_a_place(portal: PortalSettings, file: str) -> None:
    if portal.runs.record == "off" or (portal.has_store and portal.has_log):
        return
    problem = "needs the log of calls and a database of the portal: recordings are with that log, sealed with its keys."
    fix = 'Set `portal.state`, for example `"state": "sqlite:///state.db"`, and do not switch `portal.logs` off.'
    raise ConfigError(problem, file=file, key="portal.runs.record", fix=fix)


def server_id(name: str) -> str:
    """The id of a server from the name in the document.

    Ids have letters, digits and hyphens only, because tools are named `{server}_{tool}` and split at the first
    underscore: runs of anything else become one hyphen ("my_server" is `my-server`). "" when nothing is left.
    """
    return re.sub(r"[^A-Za-z0-9-]+", "-", name).strip("-")


def _server(name: str, entry: object, key: str, reading: _Reading) -> ServerConfig:
    file, folder = reading.file, reading.folder
    if entry is None:
        raise EntryUnusable("it is null; write the server, or remove the key")
    if not isinstance(entry, dict):
        raise ConfigError(f"must be an object, found {describe(entry)}.", file=file, key=key)
    identifier = server_id(name)
    if not _ID.fullmatch(identifier):
        raise ConfigError(
            "is no name for a server.", file=file, key=key, fix="Use up to 64 letters, digits and hyphens."
        )
    notes = Notes()
    ours = in_our_words(entry, ENTRY_KEYS, key, file, reading.environment, notes)
    expansion = Expansion(
        reading.environment,
        file=file,
        editor=reading.editor,
        inputs=reading.inputs,
        read_file=reading.text,
        of_client=True,
    )
    written = expansion.expand_members(ours, key)
    env_file = written.pop("envFile", None)
    model = _transport(written, key, file)
    if env_file is not None:
        _add_env_file(written, env_file, model, key, reading, notes)
    given = {"id": identifier, "name": name, "expanded": tuple(sorted(expansion.values)), **written}
    server = _checked(model, given, key, file)
    if isinstance(server, StdioServer) and server.cwd is not None:
        cwd = server.cwd.expanduser()
        server = server.model_copy(update={"cwd": (folder / cwd if folder is not None else cwd)})
    if isinstance(server, OpenApiServer) and not server.document_url:
        path = Path(server.openapi).expanduser()
        server = server.model_copy(update={"openapi": str(folder / path if folder is not None else path)})
    if server.max_timeout < server.timeout:
        server = server.model_copy(update={"max_timeout": server.timeout})
    # Of an entry that is left out nothing else needs saying.
    reading.notes.add(notes)
    return server


def _add_env_file(
    written: dict[str, object], named: object, model: type[_Server], key: str, reading: _Reading, notes: Notes
) -> None:
    """Put the variables of an `envFile` into the environment of a program; what is in `env` wins."""
    if not isinstance(named, str) or not named or "\0" in named:
        problem = f"must name a file, found {describe(named)}."
        raise ConfigError(problem, file=reading.file, key=f"{key}.envFile")
    if model is not StdioServer:
        notes.foreign_keys.append(f"{key}.envFile")
        return
    found = read_env_file(reading.path(named))
    if found is None:
        notes.sentences.append(f"{key}.envFile cannot be read; the server starts without its variables.")
    elif isinstance(env := written.get("env", {}), dict):
        written["env"] = {**found, **env}


def _transport(given: dict[str, object], key: str, file: str) -> type[StdioServer] | type[HttpServer]:
    """Which kind of server this is; puts HTTP's flavour into `given`."""
    if "openapi" in given:
        return _of_document(given, key, file)
    written = given.pop("type", None)
    require_transport(written)
    kind = TRANSPORTS[written.lower()] if isinstance(written, str) else None
    if written is not None and kind is None:
        raise ConfigError("is not a transport.", file=file, key=f"{key}.type", fix="Use stdio, http or sse.")
    local, remote = "command" in given, "url" in given
    if local == remote:
        problem = "has both `command` and `url`." if local else "has neither `command` nor `url`."
        fix = "A local server needs `command`, a remote one `url`, an API `openapi`."
        raise ConfigError(problem, file=file, key=key, fix=fix)
    if kind == "openapi":
        fix = "Write the file or the URL of its OpenAPI document into `openapi`."
        raise ConfigError("has no `openapi`.", file=file, key=key, fix=fix)
    if kind is not None and (kind == "stdio") != local:
        problem = f"is `{written}`, but the server has `{'command' if local else 'url'}`."
        raise ConfigError(problem, file=file, key=f"{key}.type", fix="Correct one of the two.")
    for name in ("credentials", "server"):
        if name in given:
            raise ConfigError("is only for APIs, servers with `openapi`.", file=file, key=f"{key}.{name}")
    if local:
        _only_known(given, _names(StdioServer), file, key, why="is only for servers reached by `url`.")
        return StdioServer
    _only_known(given, _names(HttpServer), file, key, why="is only for servers started by `command`.")
    if isinstance(oauth := given.get("oauth"), dict):
        _only_known(oauth, _names(UpstreamOAuth), file, f"{key}.oauth")
    given["transport"] = kind or "auto"
    return HttpServer


def _of_document(given: dict[str, object], key: str, file: str) -> type[OpenApiServer]:
    """
    Raises:
        ConfigError: the entry has what an API has not.
    """
    kind = given.pop("type", None)
    if kind is not None and not (isinstance(kind, str) and kind.lower() in ("openapi", "http")):
        fix = "Remove it, or `openapi`."
        raise ConfigError("is not the kind of a server that has `openapi`.", file=file, key=f"{key}.type", fix=fix)
    for name, why in _NOT_OF_DOCUMENTS.items():
        if name in given or to_camel(name) in given:
            written = name if name in given else to_camel(name)
            raise ConfigError(why, file=file, key=f"{key}.{written}", fix="Remove it, or `openapi`.")
    _only_known(given, _names(OpenApiServer) - {"text", "transport"}, file, key)
    if isinstance(oauth := given.get("oauth"), dict):
        _only_known(oauth, _names(UpstreamOAuth), file, f"{key}.oauth")
    return OpenApiServer


_NOT_OF_DOCUMENTS = {
    **dict.fromkeys(("command", "args", "env", "cwd"), "is for a server that the portal starts, not for an API."),
    "sessions": "is for MCP servers: an API has no sessions.",
    "code_mode_upstream": "is for MCP servers: an API has no code mode of its own.",
}
"""What the entry of an API must not have, and why."""


def _portal(section: object, file: str, expansion: Expansion, folder: Path | None) -> PortalSettings:
    if not isinstance(section, dict):
        raise ConfigError(f"must be an object, found {describe(section)}.", file=file, key="portal")
    given = expansion.expand_members(_written(section), "portal")
    _only_known(given, _names(PortalSettings), file, "portal")
    if isinstance(limits := given.get("limits"), dict):
        spelled = {to_camel(name): name for name in LIMITS} | {name: name for name in LIMITS}
        _only_known(limits, set(spelled), file, "portal.limits")
        for name, value in limits.items():
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 2**53:
                problem = f"must be a number above 0, found {describe(value)}."
                raise ConfigError(problem, file=file, key=f"portal.limits.{name}")
            _check_limit(spelled[name], value, f"portal.limits.{name}", file)
        given = {**given, "limits": {spelled[name]: value for name, value in limits.items()}}
    settings = _checked(PortalSettings, given, "portal", file)
    _numbers_have_a_token(settings, file)
    _notices_have_a_mail_server(settings, file)
    if settings.state is not None and folder is not None:
        settings = settings.model_copy(update={"state": _RELATIVE_SQLITE.sub(_absolute_in(folder), settings.state)})
    if settings.logs is not None and settings.logs.database is not None and folder is not None:
        database = _RELATIVE_SQLITE.sub(_absolute_in(folder), settings.logs.database)
        settings = settings.model_copy(update={"logs": settings.logs.model_copy(update={"database": database})})
    if settings.exports.folders:
        folders = tuple((folder or Path()) / path.expanduser() for path in settings.exports.folders)
        settings = settings.model_copy(update={"exports": settings.exports.model_copy(update={"folders": folders})})
    for name in ("learned_shapes", "pinned"):
        written = getattr(settings, name)
        if written is not None:
            path = written.expanduser()
            settings = settings.model_copy(update={name: folder / path if folder is not None else path})
    _check_quotas(settings, file)
    return settings


def _numbers_have_a_token(settings: PortalSettings, file: str) -> None:
    section = settings.metrics
    if section is not None and section.enabled and section.token is None and settings.identity is not None:
        problem = "needs a `token`: with `portal.identity` others reach the portal, and the numbers name its servers."
        fix = 'Give one of at least 16 characters, as in `"token": "${METRICS_TOKEN}"`.'
        raise ConfigError(problem, file=file, key="portal.metrics", fix=fix)


def _notices_have_a_mail_server(settings: PortalSettings, file: str) -> None:
    wanted = settings.approval_notices
    if wanted.mails and (settings.identity is None or settings.identity.smtp is None):
        key = "mail" if wanted.mail else "toPerson"
        fix = "Set `portal.identity.smtp`."
        raise ConfigError("needs a mail server.", file=file, key=f"portal.approvalNotices.{key}", fix=fix)


def _check_quotas(settings: PortalSettings, file: str) -> None:
    seen: set[str] = set()
    for index, quota in enumerate(settings.quotas):
        key = f"portal.quotas[{index}]"
        if quota.name in seen:
            raise ConfigError("is the name of another quota.", file=file, key=f"{key}.name", fix="Choose another name.")
        if quota.period > HOUR and not settings.has_store:
            problem = "is over an hour and needs a database, or every restart would begin to count again."
            raise ConfigError(problem, file=file, key=f"{key}.period", fix="Set `portal.state`.")
        seen.add(quota.name)


def _written(section: Mapping[str, object]) -> dict[str, object]:
    """A section of ours without the members that are null, at any depth: null stands for what is not written.

    What policies are made of stays as it is: nothing there may be lost on the way to what reads them.
    """

    def of(value: object) -> object:
        if isinstance(value, list):
            return [of(one) for one in value]
        return _written(value) if isinstance(value, dict) else value

    return {
        name: value if to_camel(name) in _POLICIES else of(value)
        for name, value in section.items()
        if value is not None
    }


def _absolute_in(folder: Path) -> Callable[[re.Match[str]], str]:
    return lambda found: f"{found['scheme']}{folder.absolute() / found['path']}"


def _portals(
    section: object,
    portal: PortalSettings,
    servers: Collection[str],
    file: str,
    expansion: Expansion,
) -> dict[str, PortalEntry]:
    """The further portals, by id. A server may be one of the database, where there is one."""
    if not isinstance(section, dict):
        raise ConfigError(f"must be an object, found {describe(section)}.", file=file, key="portals")
    portals: dict[str, PortalEntry] = {}
    hosts: dict[str, str] = {}
    for id, given in section.items():
        key = f"portals.{id}"
        if given is None:
            continue
        if not PORTAL_ID.fullmatch(id):
            fix = "Use up to 64 letters, digits and hyphens."
            raise ConfigError("is no id for a portal.", file=file, key=key, fix=fix)
        if id.lower() in RESERVED_IDS:
            raise ConfigError("is the name of a path that is taken.", file=file, key=key, fix="Choose another id.")
        if not isinstance(given, dict):
            raise ConfigError(f"must be an object, found {describe(given)}.", file=file, key=key)
        written = expansion.expand_members(_written(given), key)
        _only_known(written, _names(PortalEntry) - {"id"}, file, key)
        entry = _checked(PortalEntry, {**written, "id": id}, key, file)
        # A server may be named as in the document or by its id.
        named = [one.model_copy(update={"server_id": server_id(one.server_id)}) for one in entry.servers]
        entry = entry.model_copy(update={"servers": tuple(named)})
        _check_portal(entry, portal, servers, file, key)
        if entry.hostname and entry.hostname in hosts:
            problem = f"is the host name of the portal `{hosts[entry.hostname]}` too."
            raise ConfigError(problem, file=file, key=f"{key}.hostname", fix="Each portal needs its own.")
        hosts[entry.hostname] = id
        portals[id] = entry
    return portals


def _check_portal(entry: PortalEntry, portal: PortalSettings, servers: Collection[str], file: str, key: str) -> None:
    identity = portal.identity
    for name in ("policies", "tool_policies"):
        if getattr(entry, name) and identity is None:
            fix = "Without `portal.identity` nobody signs in, and a portal is for everybody who reaches it."
            raise ConfigError("needs `portal.identity`.", file=file, key=f"{key}.{to_camel(name)}", fix=fix)
    if entry.hostname and identity is not None and entry.hostname == urlsplit(identity.public_url).hostname:
        fix = "The document's own portal has it, from `portal.identity.publicUrl`."
        raise ConfigError("is taken.", file=file, key=f"{key}.hostname", fix=fix)
    seen: set[str] = set()
    for index, server in enumerate(entry.servers):
        where = f"{key}.servers[{index}]"
        if server.server_id in seen:
            raise ConfigError(f"names `{server.server_id}` a second time.", file=file, key=where)
        if server.server_id not in servers and not portal.has_store:
            known = ", ".join(servers) or "none"
            fix = f"There are: {known}."
            raise ConfigError(
                f"names the server `{server.server_id}`, which is not there.", file=file, key=where, fix=fix
            )
        seen.add(server.server_id)


def _check_limit(name: str, value: float, key: str, file: str) -> None:
    if LIMITS[name] and not isinstance(value, int):
        raise ConfigError("must be a whole number.", file=file, key=key)
    try:
        Limits(**{name: value})  # type: ignore[arg-type]
    except LimitInvalid as error:
        raise ConfigError(f"must lie between {error.low} and {error.high}.", file=file, key=key) from None


def _checked(model: type[Checked], given: Mapping[str, object], key: str, file: str) -> Checked:
    try:
        return model.model_validate(given)
    except ValidationError as error:
        first = misfits(error, given)[0]
        where = key + "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first.place)
        found = f", found {describe(first.value)}" if first.problem.startswith("must") else ""
        raise ConfigError(f"{first.problem}{found}.", file=file, key=where) from None


def _only_known(found: Mapping[str, object], known: set[str], file: str, key: str, why: str = "") -> None:
    for name in found:
        if name in known:
            continue
        spellings = sorted(spelling for spelling in known if "_" not in spelling)
        near = difflib.get_close_matches(name, spellings, n=1)
        fix = "" if why else (f"Did you mean `{near[0]}`?" if near else f"Known: {', '.join(spellings)}.")
        raise ConfigError(why or "is not a known key.", file=file, key=f"{key}.{name}".lstrip("."), fix=fix)


def _names(model: type[Section]) -> set[str]:
    return {spelling for name in model.model_fields for spelling in (name, to_camel(name))}


ENTRY_KEYS = (_names(StdioServer) | _names(OpenApiServer) | {"type", "envFile"}) - {
    *("id", "name", "expanded", "transport", "text")
}
"""What the entry of a server may have, in both spellings."""
