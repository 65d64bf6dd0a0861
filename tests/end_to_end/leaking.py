"""Secrets on their way through a portal, in every kind of message there is, and the search for them afterwards."""

from __future__ import annotations

import base64
import html
import json
import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from portal.dlp import Detector, Profile
from tests.corpus import detection
from tests.corpus.detection import HALVES, AbsentTexts
from tests.portal.dlp.made_up import SECRETS
from tests.portal.upstreams.raw import Exchange, Raw

Message = tuple[str, dict[str, Any]]
"""The method and the params of a request."""
_SHORTEST = 12
"""Characters of a secret that are looked for: less may be there by accident."""


@dataclass(frozen=True)
class Sought:
    """A secret, and the text that it comes in."""

    secret: str
    text: str


def invented(seed: int = 13) -> list[Sought]:
    """One secret of each kind that has a form, none of them real."""
    source = random.Random(seed)
    return [Sought(secret := make(source), f"it is {secret} today") for make in SECRETS.values()]


def labelled(rules: Path) -> list[Sought]:
    """What is found in the texts that others have labelled; nothing where they are not there."""
    detector, found = Detector([Profile("credentials")], key=b"a key of sixteen", folder=rules), []
    try:
        texts = [one.text for half in HALVES for one in detection.secrets(half) if one.is_secret]
    except AbsentTexts:
        return []
    for text in texts:
        for finding in detector.scan({"text": text}).findings:
            secret = text[finding.start : finding.start + finding.length]
            if len(secret) >= _SHORTEST and not finding.leaf.is_name:
                found.append(Sought(secret, text))
    return found


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def halves(secret: str) -> tuple[str, str]:
    middle = len(secret) // 2
    return secret[:middle], secret[middle:]


# What goes out, as the arguments of a tool. `split` and `in a list` have no string with all of it.
ARGUMENTS: Mapping[str, Callable[[Sought], dict[str, Any]]] = {
    "text": lambda one: {"text": one.text},
    "nested": lambda one: {"rows": [None, {"row": [1, {"cell": one.text}]}]},
    "name of a member": lambda one: {"map": {one.secret: True}},
    "base64": lambda one: {"file": {"data": b64(f"the file: {one.text}")}},
    "JSON in a text": lambda one: {"body": json.dumps({"found": one.text})},
    "split": lambda one: {"first": halves(one.secret)[0], "second": halves(one.secret)[1]},
    "in a list": lambda one: {"parts": [*halves(one.secret)]},
}

# What goes out by other requests than those of tools, to the server `server`.
REQUESTS: Mapping[str, Callable[[str, Sought], Message]] = {
    "prompt": lambda server, one: ("prompts/get", {"name": f"{server}_greet", "arguments": {"who": one.text}}),
    "resource": lambda server, one: (
        "resources/read",
        {"uri": f"mcp-server://{server}/{quote('x://' + one.secret, '')}"},
    ),
    "completion": lambda server, one: (
        "completion/complete",
        {"ref": {"type": "ref/prompt", "name": f"{server}_greet"}, "argument": {"name": "who", "value": one.text}},
    ),
}


def text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


# What a tool gives back.
RESULTS: Mapping[str, Callable[[Sought], dict[str, Any]]] = {
    "text": lambda one: {"content": [text_block(one.text)]},
    "error of the tool": lambda one: {"content": [text_block(f"no: {one.text}")], "isError": True},
    "structure": lambda one: {"content": [], "structuredContent": {"rows": [{"cell": one.text}]}},
    "name in a structure": lambda one: {"content": [], "structuredContent": {"map": {one.secret: 1}}},
    "structure of an error": lambda one: {
        "content": [text_block("no")],
        "structuredContent": {"why": one.text},
        "isError": True,
    },
    "base64 in a text": lambda one: {"content": [text_block(b64(f"the file: {one.text}"))]},
    "embedded text": lambda one: {
        "content": [{"type": "resource", "resource": {"uri": "x://y", "text": one.text, "mimeType": "text/plain"}}]
    },
    "embedded bytes": lambda one: {
        "content": [{"type": "resource", "resource": {"uri": "x://y", "blob": b64(f"so: {one.text}")}}]
    },
    "link": lambda one: {
        "content": [{"type": "resource_link", "uri": f"x://{quote(one.secret, ':')}", "name": "link"}]
    },
    "description of a link": lambda one: {
        "content": [{"type": "resource_link", "uri": "x://y", "name": "link", "description": one.text}]
    },
    "beside the content": lambda one: {"content": [text_block("done")], "extra": {"more": one.text}},
    "_meta": lambda one: {"content": [text_block("done")], "_meta": {"more": one.text}},
}

# What a server says in other ways than by a result.
WAYS = (
    *("message of an error", "data of an error", "error with a status", "status", "page", "no JSON", "cut off"),
    *("log entry", "progress"),
)
# What comes back to other requests than those of tools.
ANSWERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "prompt": ("prompts/get", {"name": "greet", "arguments": {}}),
    "resource": ("resources/read", {"uri": "x://one"}),
    "bytes of a resource": ("resources/read", {"uri": "x://bytes"}),
    "completion": (
        "completion/complete",
        {"ref": {"type": "ref/prompt", "name": "greet"}, "argument": {"name": "who", "value": "a"}},
    ),
}


class Teller:
    """A server that tells the secret whose number it is asked for, in the way it is asked for."""

    def __init__(self, secrets: list[Sought]) -> None:
        self.secrets = secrets
        self.next = 0
        """The number of the secret in answers to requests that cannot name one."""

    def prepare(self, raw: Raw) -> None:
        anything = {"type": "object"}
        raw.tools = [{"name": name, "inputSchema": anything} for name in ("take", "tell")]
        raw.tools.append(
            {"name": "number", "inputSchema": {"type": "object", "properties": {"n": {"type": "integer"}}}}
        )
        raw.overrides |= {"server/discover": _discover, "prompts/list": _prompts, "resources/list": _resources}
        raw.overrides["resources/templates/list"] = _templates

    async def __call__(self, exchange: Exchange) -> None:
        params = exchange.message["params"]
        match exchange.message["method"]:
            case "tools/call" if params["name"] == "tell":
                asked = params["arguments"]
                await tell(exchange, asked["how"], self.secrets[asked["which"]])
            case "tools/call":
                await exchange.text("taken")
            case "prompts/get":
                content = text_block(self._text if not params.get("arguments") else "hello")
                await exchange.result(_kept({"messages": [{"role": "user", "content": content}]}))
            case "resources/read" if params["uri"] == "x://bytes":
                await exchange.result(_kept({"contents": [{"uri": params["uri"], "blob": b64(f"so: {self._text}")}]}))
            case "resources/read":
                text = self._text if params["uri"] == "x://one" else "nothing"
                await exchange.result(_kept({"contents": [{"uri": params["uri"], "text": text}]}))
            case "completion/complete":
                values = [self._text] if params["argument"]["value"] == "a" else ["nothing"]
                await exchange.result(_kept({"completion": {"values": values}}))
            case _:
                await exchange.error(-32601, "Method not found")

    @property
    def _text(self) -> str:
        return self.secrets[self.next].text


async def tell(exchange: Exchange, how: str, one: Sought) -> None:
    if how in RESULTS:
        await exchange.result(RESULTS[how](one))
        return
    error = {"code": -32050, "message": one.text if how != "data of an error" else "no", "data": {"why": [one.text]}}
    if how == "message of an error":
        del error["data"]
    body = {"jsonrpc": "2.0", "id": exchange.id, "error": error}
    match how:
        case "message of an error" | "data of an error":
            await exchange.answer(json.dumps(body).encode())
        case "error with a status":
            await exchange.answer(json.dumps(body).encode(), status=400)
        case "status":
            await exchange.answer(one.text.encode(), status=500, kind="text/plain")
        case "page":
            await exchange.answer(f"<h1>{one.text}</h1>".encode(), kind="text/html")
        case "no JSON":
            await exchange.answer(f"{{ {one.text}".encode())
        case "cut off":
            await exchange.head(200, "content-type: application/json", "content-length: 100000")
            await exchange.send(one.text.encode())
            exchange.abort()
        case "log entry":
            params: dict[str, Any] = {"level": "error", "logger": "l", "data": {"said": one.text}}
            await _after(exchange, "notifications/message", params)
        case "progress":
            token = exchange.message["params"]["_meta"].get("progressToken")
            params = {"progressToken": token, "progress": 1, "message": one.text}
            await _after(exchange, "notifications/progress", params)
        case _:
            raise ValueError(how)


async def _after(exchange: Exchange, method: str, params: dict[str, Any]) -> None:
    """The result, after something that is told meanwhile."""
    await exchange.stream()
    await exchange.event({"jsonrpc": "2.0", "method": method, "params": params})
    await exchange.event({"jsonrpc": "2.0", "id": exchange.id, "result": {"content": [text_block("done")]}})
    exchange.close()


def _kept(result: dict[str, Any]) -> dict[str, Any]:
    return {**result, "ttlMs": 0, "cacheScope": "private", "resultType": "complete"}


async def _discover(exchange: Exchange) -> None:
    capabilities: dict[str, Any] = {"tools": {}, "prompts": {}, "resources": {}, "completions": {}, "logging": {}}
    await exchange.result({"supportedVersions": ["2026-07-28"], "capabilities": capabilities})


async def _prompts(exchange: Exchange) -> None:
    await exchange.result(_kept({"prompts": [{"name": "greet", "arguments": [{"name": "who"}]}]}))


async def _resources(exchange: Exchange) -> None:
    await exchange.result(_kept({"resources": [{"uri": uri, "name": uri} for uri in ("x://one", "x://bytes")]}))


async def _templates(exchange: Exchange) -> None:
    await exchange.result(_kept({"resourceTemplates": [{"uriTemplate": "x://{name}", "name": "any"}]}))


def literal(value: object) -> str:
    """An expression of a program whose value this is, and whose text has nothing of it."""
    return f"JSON.parse(String.fromCharCode({','.join(str(ord(sign)) for sign in json.dumps(value))}))"


CAUGHT = "[e.name, e.message, e.code ?? null, e.data ?? null, String(e.stack), e.kind ?? null]"


def calling(server: str, tool: str, arguments: object, *, caught: bool) -> str:
    call = f"await codemode.{server}.{tool}({literal(arguments)})"
    return f"try {{ return {call} }} catch (e) {{ console.error(e); return {CAUGHT} }}" if caught else f"return {call}"


def at_server(server: str, params: dict[str, Any]) -> dict[str, Any]:
    if "uri" in params:
        return {"uri": f"mcp-server://{server}/{quote(params['uri'], '')}"}
    if "ref" in params:
        return {**params, "ref": {**params["ref"], "name": f"{server}_{params['ref']['name']}"}}
    return {**params, "name": f"{server}_{params['name']}"}


def shapes(secret: str) -> frozenset[bytes]:
    """The bytes that a secret may be somewhere: as it is, in JSON, in URLs, in pages, in base64 wherever it begins."""
    raw = secret.encode()
    in_json = json.dumps(secret)[1:-1]
    found = {raw, in_json.encode(), json.dumps(in_json)[1:-1].encode(), html.escape(secret).encode()}
    found |= {quote(secret).encode(), quote(secret, "").encode(), quote(quote(secret, ""), "").encode()}
    found |= {raw.hex().encode(), raw.hex().upper().encode(), secret.encode("utf-16-le")}
    found.add("".join(f"\\u{ord(sign):04x}" for sign in secret).encode())
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            text = encode(bytes(before) + raw)
            # The signs at the ends have bits of what stands beside it.
            found.add(text[(0, 2, 3)[before] : len(text) - (0 if not text.endswith(b"=") else 4)])
    return frozenset(one for one in found if len(one) >= _SHORTEST)


def leaks(places: Mapping[str, bytes], secrets: Iterable[Sought], *, split: bool = False) -> list[tuple[str, str]]:
    """Where a secret is: the place, and the secret with what stands around it. `split`: halves are looked for too."""
    found = []
    sought = {one.secret for one in secrets}
    if split:
        sought |= {half for one in set(sought) for half in halves(one) if len(half) >= _SHORTEST}
    shaped = [(secret, shape) for secret in sorted(sought) for shape in sorted(shapes(secret))]
    for place, data in places.items():
        for secret, shape in shaped:
            if (at := data.find(shape)) >= 0:
                found.append((place, f"{secret} in {data[max(0, at - 150) : at + len(shape) + 50]!r}"))
    return found
