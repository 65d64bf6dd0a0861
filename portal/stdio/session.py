"""What is known of the session of a 2025 client at the portal, and what makes it again where the portal has lost it."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mcp.shared.inbound import MCP_PROTOCOL_VERSION_HEADER

from portal.exact import encode
from portal.stdio.messages import ClientMessage
from portal.upstream import SESSION_HEADER

MAX_KEPT = 1000
# Ids of requests that are none of the client's. No client has such ones.
_OWN = "codemode-stdio/"
LIST = f"{_OWN}list"
_SESSION_ID = re.compile(r"[\x21-\x7e]{1,1024}")
INITIALIZED = encode({"jsonrpc": "2.0", "method": "notifications/initialized"})


@dataclass(slots=True)
class SessionSettings:
    """What a client has set in its session, so that another session can have it too: the level of logs, and what it
    watches."""

    level: Mapping[str, object] | None = None
    watched: OrderedDict[str, None] = field(default_factory=OrderedDict)

    def note(self, message: ClientMessage) -> None:
        """A request of the client has its result."""
        uri = message.params.get("uri")
        if message.method == "logging/setLevel":
            self.level = dict(message.params)
        elif message.method == "resources/subscribe" and isinstance(uri, str) and len(self.watched) < MAX_KEPT:
            self.watched[uri] = None
        elif message.method == "resources/unsubscribe" and isinstance(uri, str):
            self.watched.pop(uri, None)

    def requests(self) -> Iterator[bytes]:
        """The requests that set it again."""
        wanted: list[tuple[str, Mapping[str, object]]] = []
        if self.level is not None:
            wanted.append(("logging/setLevel", self.level))
        wanted += [("resources/subscribe", {"uri": uri}) for uri in self.watched]
        for number, (method, params) in enumerate(wanted):
            yield encode({"jsonrpc": "2.0", "id": f"{_OWN}{number}", "method": method, "params": params})


@dataclass(frozen=True, slots=True)
class PortalSession:
    """A session: its id ("" where the portal has given none), its version, and what the portal says that it can do."""

    id: str
    version: str
    capabilities: Mapping[str, object]

    @classmethod
    def of(cls, id: str, result: Mapping[str, object]) -> PortalSession:
        """The session that this result of `initialize` begins."""
        version, capabilities = result.get("protocolVersion"), result.get("capabilities")
        return cls(
            id if _SESSION_ID.fullmatch(id) else "",
            version if isinstance(version, str) and version.isascii() and version.isprintable() else "",
            capabilities if isinstance(capabilities, dict) else {},
        )

    @property
    def headers(self) -> dict[str, str]:
        headers = {MCP_PROTOCOL_VERSION_HEADER: self.version} if self.version else {}
        return {**headers, SESSION_HEADER: self.id} if self.id else headers

    def changes(self) -> Iterator[bytes]:
        """That its lists may have changed: a client that was not told meanwhile lists them again."""
        for name in ("tools", "prompts", "resources"):
            told = self.capabilities.get(name)
            if isinstance(told, dict) and told.get("listChanged"):
                yield encode({"jsonrpc": "2.0", "method": f"notifications/{name}/list_changed"})
