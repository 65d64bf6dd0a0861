"""Documents that other MCP clients write: their spellings become ours, and what only they understand is passed over.

Read are the documents of Claude, Codex, Cursor, Gemini, OpenCode, VS Code, Windsurf and Zed, as their own documentation
has them, and the spellings of clients that keep close to these:

- https://code.claude.com/docs/en/mcp
- https://developers.openai.com/codex/mcp
- https://cursor.com/docs/context/mcp
- https://github.com/google-gemini/gemini-cli/blob/main/docs/tools/mcp-server.md
- https://opencode.ai/docs/mcp-servers/
- https://code.visualstudio.com/docs/copilot/reference/mcp-configuration
- https://docs.windsurf.com/windsurf/cascade/mcp
- https://zed.dev/docs/ai/mcp
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic.alias_generators import to_camel

from portal.config.document import read_text
from portal.config.upstream_oauth import UpstreamOAuth
from portal.errors import ConfigError, InputError

SERVER_SECTIONS = ("mcpServers", "servers", "mcp_servers", "context_servers")
"""Where the servers are: most clients, VS Code, Codex, Zed."""
MAX_ENV_FILE = 1024 * 1024
MAX_KEYS = 12
# Characters of a folder or a name in a message, and how many of them are named.
MAX_PATH = 100
_MAX_SHOWN = 5
# Approvals, pictures and versions: they change nothing about a server, so nobody needs to know.
SILENT = frozenset({"alwaysAllow", "autoApprove", "trust", "gallery", "version", "dev", "iconUrl", "icon"})
# What one client or another documents for a server, where it is close to a key of ours or limits what is offered.
LIMITING = frozenset(
    {"tools", "includeTools", "excludeTools", "enabledTools", "disabledTools", "enabled_tools", "disabled_tools"}
)
_CLIENT_KEYS = LIMITING | set(
    "headersHelper oauth sandbox sandboxEnabled scopes required extension authProviderType targetAudience "
    "targetServiceAccount initTimeout networkTimeout startupTimeout toolTimeout timeoutMs name comment tags".split()
)
ONLY_HERE = frozenset(
    {"prefix", "maxTimeout", "connectTimeout", "resync", "maxResultBytes", "maxItems", "sessions", "learnOutput"}
    | {"codeModeUpstream", "pin", "assertionAudience", "onBehalf", "secureWebGateway", "labels", "toolLabels"}
    | {"openapi", "server", "credentials"}
)
"""Keys of a server that this portal alone has: a document with one was written for it."""
# Of ours, at another place. Passed over at the top they would leave a portal open that its owner believes closed.
_PORTAL_KEYS = frozenset(
    {"identity", "policies", "serverPolicies", "toolPolicies", "publicUrl", "codeMode", "typeCheck", "limits"}
    | {"allowedHosts", "allowedOrigins", "pinned", "learnedShapes", "state"}
    | {"credentialNotices", "approvalNotices", "dataFlow", "gateway", "secureWebGateway"}
)
_OAUTH_KEYS = frozenset(to_camel(name) for name in UpstreamOAuth.model_fields)
_SPELLINGS = (
    ("httpUrl", "url"),
    ("serverUrl", "url"),
    ("serverURL", "url"),
    ("baseUrl", "url"),
    ("transport", "type"),
    ("transportType", "type"),
    ("disabled", "enabled"),
    ("isActive", "enabled"),
    ("working_directory", "cwd"),
    ("http_headers", "headers"),
    ("env_file", "envFile"),
    ("startup_timeout_sec", "connectTimeout"),
    ("tool_timeout_sec", "timeout"),
)
_IN_MILLISECONDS = {"httpUrl", "trust", "includeTools", "excludeTools", "authProviderType", "targetAudience"}
# Nearly three hours. Clients with a `timeout` in seconds let people write one hour at most.
_LONGEST_SECONDS = 9_999
_EXACT = 2**53
_ADDRESSES = ("command", "openapi", "url", "httpUrl", "serverUrl", "serverURL", "baseUrl")
TRANSPORTS = {
    "stdio": "stdio",
    "http": "http",
    "streamable-http": "http",
    "streamablehttp": "http",
    "streamable_http": "http",
    "sse": "sse",
    "local": "stdio",
    "remote": "auto",
    "openapi": "openapi",
}
"""What a server's `type` may be, in lower case, and the transport that it means."""
_ELSEWHERE = {"ws", "websocket", "sdk", "claudeai-proxy", "inprocess", "in-process", "builtin", "grpc"}
"""What `type` is for other clients. Only these are quoted: another value may be anything."""
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BARE = re.compile(r"(?P<before>Bearer )?\$(?P<name>[A-Za-z_][A-Za-z0-9_]*)")
_OPENCODE = re.compile(r"(?<!\$)\{env:([A-Za-z_][A-Za-z0-9_]*)\}")
_EDITORS_FOLDERS = {".vscode", ".cursor", ".claude", ".codex", ".gemini", ".windsurf"}
_ENV_LINE = re.compile(
    r"""^[^\S\n]*(?:export[^\S\n]+)?(?P<name>[A-Za-z_][A-Za-z0-9_.]*)[^\S\n]*=[^\S\n]*"""
    r"""(?:"(?P<double>(?:[^"\\]|\\.)*+)"|'(?P<single>[^']*+)'|(?P<plain>[^\n]*))""",
    re.MULTILINE | re.DOTALL,
)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t"}


class EntryUnusable(Exception):
    """A server that this portal cannot use although its entry has no mistake. The text says why and what to do, as one
    or more sentences without the last full stop."""


@dataclass(slots=True)
class Notes:
    """What the operator should know about a document that can be used. `foreign_keys` are passed over."""

    sentences: list[str] = field(default_factory=list)
    foreign_keys: list[str] = field(default_factory=list)

    def add(self, others: Notes) -> None:
        self.sentences.extend(others.sentences)
        self.foreign_keys.extend(others.foreign_keys)

    def lines(self) -> tuple[str, ...]:
        """One sentence a line. All foreign keys share a line."""
        keys = list(dict.fromkeys(self.foreign_keys))
        if not keys:
            return tuple(self.sentences)
        more = f" and {len(keys) - MAX_KEYS} more" if len(keys) > MAX_KEYS else ""
        shown = ", ".join(f"`{key}`" for key in keys[:MAX_KEYS]) + more
        limits = any(key.rpartition(".")[2] in LIMITING for key in keys)
        offered = "; the portal offers all tools of a server, also those that a client leaves out" if limits else ""
        return (*self.sentences, f"Passed over, because only other clients understand it: {shown}{offered}.")


def workspace_of(folder: Path) -> Path:
    """The folder of the project that a document in `folder` is about: `.vscode/mcp.json` is about the one above."""
    folder = folder.absolute()
    return folder.parent if folder.name in _EDITORS_FOLDERS else folder


def editor_variables(workspace: Path | None, home: str) -> Mapping[str, str]:
    """What `${workspaceFolder}` and the like stand for in the documents of VS Code, Cursor and Windsurf.

    Those of the folder are missing without one (`workspace` is None), and the home folder without its name.
    """
    found = {"pathSeparator": "/", "/": "/"}
    if home:
        found["userHome"] = home
    if workspace is not None:
        found |= {
            "workspaceFolder": str(workspace),
            f"workspaceFolder:{workspace.name}": str(workspace),
            "workspaceFolderBasename": workspace.name,
            "workspaceRoot": str(workspace),
            "cwd": str(workspace),
        }
    return found


def input_values(inputs: object, environment: Mapping[str, str]) -> Mapping[str, str | None]:
    """VS Code's `inputs`, by id: what it asks a person for. Here the environment answers, `api-key` as `API_KEY`, else
    the default of the input; None without either."""
    found: dict[str, str | None] = {}
    for one in inputs if isinstance(inputs, list) else ():
        if isinstance(one, dict) and isinstance(id := one.get("id"), str):
            default = one.get("default")
            found[id] = environment.get(input_variable(id)) or (default if isinstance(default, str) else None)
    return found


def input_variable(id: str) -> str:
    """The environment variable that answers an input."""
    return re.sub(r"[^A-Za-z0-9]", "_", id).upper()


def without_wrapping(document: Mapping[str, object]) -> Mapping[str, object]:
    """The document, with the servers and inputs of a section `mcp` at its top: VS Code's settings have them there as
    `servers` and `inputs`, and OpenCode has the servers themselves."""
    inside = document.get("mcp")
    if not isinstance(inside, dict) or any(key in document for key in SERVER_SECTIONS):
        return document
    rest = {key: value for key, value in document.items() if key != "mcp"}
    if "servers" in inside:
        return {**rest, **{key: inside[key] for key in ("servers", "inputs") if key in inside}}
    return {**rest, SERVER_SECTIONS[0]: inside} if any(map(looks_like_server, inside.values())) else document


def check_projects(document: Mapping[str, object], file: str, notes: Notes) -> None:
    """Say that servers of single projects are not served: Claude Code keeps them in `~/.claude.json`, where
    `claude mcp add` puts them, for use in one folder.

    Raises:
        ConfigError: the document has no others, and nothing else for this portal.
    """
    projects = document.get("projects")
    own = {
        path: list(servers)
        for path, project in (projects.items() if isinstance(projects, dict) else ())
        if isinstance(project, dict) and isinstance(servers := project.get("mcpServers"), dict) and servers
    }
    if not own:
        return
    if "portal" in document or any(document.get(section) for section in SERVER_SECTIONS):
        notes.sentences.append(
            f"Passed over, because Claude Code uses them in one folder only: the servers under {_shown(list(own))} of "
            f"`projects`. Write those that this portal is to serve into the section `{SERVER_SECTIONS[0]}` at the top."
        )
        return
    path, names = next(iter(own.items()))
    more = f" (one of {len(own)} such folders)" if len(own) > 1 else ""
    raise ConfigError(
        f"has the servers {_shown(names)}, which Claude Code uses in that folder only{more}.",
        file=file,
        key=f"projects.{path[:MAX_PATH]}.mcpServers",
        fix=f"Write those that this portal is to serve into a section `{SERVER_SECTIONS[0]}` at the top, here or in a "
        "file of its own; `claude mcp add --scope user` adds one there.",
    )


def _shown(names: list[str]) -> str:
    more = f" and {len(names) - _MAX_SHOWN} more" if len(names) > _MAX_SHOWN else ""
    return ", ".join(f"`{name[:MAX_PATH]}`" for name in names[:_MAX_SHOWN]) + more


def looks_like_server(value: object) -> bool:
    """Whether this may be the entry of a server, of any client."""
    return isinstance(value, dict) and any(name in value for name in _ADDRESSES)


def foreign_at_top(document: Mapping[str, object], known: set[str], file: str, notes: Notes) -> None:
    """Pass over what other clients have in the same file.

    Raises:
        ConfigError: a key looks like a mistake: it is nearly one of ours, belongs elsewhere, or nothing here is ours.
    """
    ours = any(key in document for key in known - {"$schema", "inputs"})
    for name in document:
        if name in known or _is_comment(name):
            continue
        if _camel(name) in _PORTAL_KEYS:
            fix = "Write it into the section `portal`, or into `portal.identity`."
            raise ConfigError("is not a key of the document itself.", file=file, key=name, fix=fix)
        spellings = sorted(known)
        if near := difflib.get_close_matches(name, spellings, n=1, cutoff=0.75 if ours else 0.6):
            raise ConfigError("is not a known key.", file=file, key=name, fix=f"Did you mean `{near[0]}`?")
        if not ours:
            fix = f"Known: {', '.join(spellings)}."
            if looks_like_server(document[name]):
                fix = f'Write the servers into a section: {{"{SERVER_SECTIONS[0]}": {{...}}}}.'
            raise ConfigError("is not a known key.", file=file, key=name, fix=fix)
        notes.foreign_keys.append(name)


def in_our_words(
    entry: Mapping[str, object], known: set[str], key: str, file: str, environment: Mapping[str, str], notes: Notes
) -> dict[str, object]:
    """An entry with other clients' spellings as ours, and without what only they understand. `known` are our keys.

    A member that is null counts as not written, also one of `env` and `headers`.

    Raises:
        ConfigError: it has two spellings of one thing, or a key that is nearly one of ours.
        EntryUnusable: it is a server of a kind that only its client reaches.
    """
    entry = _written(entry)
    ours = _with_one_command(entry)
    for foreign, own in _SPELLINGS:
        if foreign in ours:
            if own in ours:
                raise ConfigError(f"has both `{foreign}` and `{own}`.", file=file, key=key, fix="Keep one of them.")
            value = ours.pop(foreign)
            if foreign == "disabled":
                value = _enabled(value, f"{key}.disabled", file)
            ours[own] = value
    # First of all: a server of another kind has members of its own.
    require_transport(ours.get("type"))
    _take_codex(ours, key, file, environment)
    if isinstance(url := ours.get("url"), str) and url.startswith(("unix:", "pipe:")):
        raise EntryUnusable("a socket of this machine is not a URL that the portal can reach")
    if "tcp" in ours and not {"url", "command"} & ours.keys():
        raise EntryUnusable("the portal does not speak MCP over WebSocket")
    _in_seconds(ours, entry, key, notes)
    for name in ("env", "headers"):
        if isinstance(values := ours.get(name), dict):
            ours[name] = {member: _value(value, environment) for member, value in _written(values).items()}
    if isinstance(oauth := ours.get("oauth"), dict):
        ours["oauth"] = _our_oauth(oauth, key, notes)
    return {name: value for name, value in ours.items() if _is_ours(name, value, known, key, file, notes)}


def _with_one_command(entry: Mapping[str, object]) -> dict[str, object]:
    """An entry whose `command` is a text, and without an address that is empty next to one that is not.

    OpenCode writes command and arguments as one list and its variables as `environment`; Zed wrote an object.
    """
    addressed = any(entry.get(name) for name in _ADDRESSES)
    ours = {name: value for name, value in entry.items() if not (addressed and name in _ADDRESSES and value == "")}
    command, arguments = ours.get("command"), ours.get("args", [])
    if isinstance(command, dict) and isinstance(command.get("path"), str):
        ours |= {"command": command["path"], **{name: command[name] for name in ("args", "env") if command.get(name)}}
    elif isinstance(command, list) and command and isinstance(arguments, list):
        ours |= {"command": command[0], "args": [*command[1:], *arguments]}
    if isinstance(ours.get("environment"), dict) and "env" not in ours:
        ours["env"] = ours.pop("environment")
    if ours.get("type") in ("local", "remote"):
        for name in ("env", "headers", "oauth"):
            if isinstance(values := ours.get(name), dict):
                ours[name] = {
                    key: _OPENCODE.sub(r"${env:\1}", value) if isinstance(value, str) else value
                    for key, value in values.items()
                }
    return ours


def require_transport(written: object) -> None:
    """Raises `EntryUnusable` for a `type` of which the portal has no transport. What is no text is another mistake."""
    if not isinstance(written, str) or "${" in written or written.lower() in TRANSPORTS:
        return
    if written.lower() in _ELSEWHERE:
        problem = f"its `type` is `{written}`, which the portal does not serve"
    else:
        problem = "its `type` is none that the portal serves" if written else "its `type` is empty"
    raise EntryUnusable(f"{problem}; write stdio, http or sse, or leave the server to its client")


def is_for_this_portal(name: str, entry: object, known: set[str]) -> bool:
    """Whether a key of an entry is one that only this portal has, misspells such a key, or belongs into `portal`.

    Its author meant this portal, and perhaps its security. `known` are our keys. A key that the entry does not have
    came from another client's spelling of it.
    """
    if not isinstance(entry, dict) or _camel(name) not in {_camel(key) for key in entry}:
        return False
    if name in known:
        return _camel(name) in ONLY_HERE
    near = _nearest(name, known)
    return name in ("id", "expanded") or _camel(name) in _PORTAL_KEYS or (near is not None and near in ONLY_HERE)


def read_env_file(path: Path) -> dict[str, str] | None:
    """The variables of an `envFile`, by name; None if there is no such file, or none that can be read.

    Lines are `NAME=value`; `export` in front, quotes and comments are understood as by the editors.
    """
    try:
        text = read_text(path, largest=MAX_ENV_FILE)
    except InputError:
        return None
    return {found["name"]: _env_value(found) for found in _ENV_LINE.finditer(text.replace("\r\n", "\n"))}


def _env_value(found: re.Match[str]) -> str:
    if found["double"] is not None:
        return re.sub(r"\\(.)", lambda one: _ESCAPES.get(one[1], one[1]), found["double"], flags=re.DOTALL)
    if found["single"] is not None:
        return found["single"]
    return re.sub(r"(?:^|\s+)#.*", "", found["plain"]).strip()


def _take_codex(ours: dict[str, object], key: str, file: str, environment: Mapping[str, str]) -> None:
    """Codex names environment variables where other clients write `${NAME}`."""
    if "startup_timeout_ms" in ours:
        written = ours.pop("startup_timeout_ms")
        ours.setdefault("connectTimeout", written / 1000 if _is_number(written) else written)  # type: ignore[operator]
    headers: dict[str, object] = {}
    if (variable := ours.pop("bearer_token_env_var", None)) is not None:
        headers["Authorization"] = f"Bearer ${{env:{_variable(variable, f'{key}.bearer_token_env_var', file)}}}"
    named = ours.pop("env_http_headers", None)
    for name, variable in _written(named).items() if isinstance(named, dict) else ():
        headers[name] = f"${{env:{_variable(variable, f'{key}.env_http_headers.{name}', file)}}}"
    if headers and isinstance(written := ours.get("headers", {}), dict):
        ours["headers"] = {**written, **headers}
    forwarded = ours.pop("env_vars", None)
    entries = forwarded if isinstance(forwarded, list) else []
    names = [one.get("name") if isinstance(one, dict) else one for one in entries]
    variables = [name for name in names if isinstance(name, str) and _VARIABLE.fullmatch(name) and name in environment]
    passed = {name: f"${{{name}}}" for name in variables}
    if passed and isinstance(written := ours.get("env", {}), dict):
        ours["env"] = {**passed, **written}


def _in_seconds(ours: dict[str, object], entry: Mapping[str, object], key: str, notes: Notes) -> None:
    """Read a `timeout` in milliseconds as seconds: Gemini writes it so, and other clients whose value is too large.

    An entry with a key of this portal alone is left as it is: its author wrote seconds.
    """
    written = ours.get("timeout")
    if not _is_number(written) or "timeout" not in entry or ONLY_HERE & {_camel(name) for name in entry}:
        return
    assert isinstance(written, int | float)
    if written > _LONGEST_SECONDS or (written >= 1000 and _IN_MILLISECONDS & entry.keys()):
        ours["timeout"] = written / 1000
        notes.sentences.append(f"{key}.timeout is read as milliseconds: {written / 1000:g} s.")


def _is_ours(name: str, value: object, known: set[str], key: str, file: str, notes: Notes) -> bool:
    """Whether a key of an entry is one of ours; what only another client understands is noted.

    Raises:
        ConfigError: it looks like a mistake.
    """
    if name in known and not (name == "oauth" and not isinstance(value, dict)):
        return True
    if name in SILENT or _is_comment(name):
        return False
    if name not in _CLIENT_KEYS:
        near = _nearest(name, known)
        if near or name in ("id", "expanded") or _camel(name) in _PORTAL_KEYS:
            fix = f"Did you mean `{near}`?" if near else f"Known: {', '.join(_camel_ones(known))}."
            raise ConfigError("is not a known key.", file=file, key=f"{key}.{name}", fix=fix)
    notes.foreign_keys.append(f"{key}.{name}")
    return False


def _our_oauth(oauth: Mapping[str, object], key: str, notes: Notes) -> dict[str, object]:
    """The section `oauth` without what only another client understands. One with a `grant` was written for this portal,
    and every member of it counts."""
    if "grant" in oauth:
        return dict(oauth)
    written = _written(oauth)
    ours = {name: value for name, value in written.items() if _camel(name) in _OAUTH_KEYS}
    notes.foreign_keys.extend(f"{key}.oauth.{name}" for name in written if name not in ours)
    return ours


def _enabled(disabled: object, key: str, file: str) -> bool:
    """What `disabled` means for `enabled`: text is taken as it is there, and what is neither cannot be turned round."""
    word = disabled.lower() if isinstance(disabled, str) else disabled
    if word not in (True, False, "true", "false"):
        raise ConfigError("must be a boolean, true or false.", file=file, key=key)
    return word in (False, "false")


def _nearest(name: str, known: set[str]) -> str | None:
    return next(iter(difflib.get_close_matches(name, _camel_ones(known), n=1)), None)


def _camel_ones(known: set[str]) -> list[str]:
    return sorted(spelling for spelling in known if "_" not in spelling)


def _variable(value: object, key: str, file: str) -> str:
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise ConfigError("must be the name of an environment variable.", file=file, key=key)
    return value


def _written(members: Mapping[str, object]) -> dict[str, object]:
    """The members that are not null: programs that write documents write null for what is not there."""
    return {name: value for name, value in members.items() if value is not None}


def _value(value: object, environment: Mapping[str, str]) -> object:
    """A value of an environment or a header: a number or boolean as the text that other clients make of it, Gemini's
    `$NAME` as the variable if there is one."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < _EXACT:
        return str(int(value))
    if _is_number(value):
        return str(value)
    found = _BARE.fullmatch(value) if isinstance(value, str) else None
    return (
        f"{found['before'] or ''}${{{found['name']}}}" if found is not None and found["name"] in environment else value
    )


def _is_comment(name: str) -> bool:
    """Whether a key is how people write a comment into JSON."""
    return name.startswith(("_", "//", "#", "$"))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)
