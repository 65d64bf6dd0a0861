"""One call to an upstream server, and what stands between the two: three questions.

    Admission     may this caller make this call?
    Screening     may this content go out, or come back?
    Credentials   which HTTP headers does the call carry?

Each question is answered by a sequence of small classes. A policy, an approval, a filter against data loss, a
credential: each is one class with one method. `Gate` holds the sequences and asks them; `Caller` says in which order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeAlias

from portal.errors import CallDenied, Ran, RpcError, UpstreamError
from portal.gateway import Direction
from portal.logs import Kind
from portal.upstream import CallContext

Members: TypeAlias = dict[str, Any]
"""An object of the protocol, as raw JSON."""
# Methods that change nothing, so that a server may be asked twice.
READS = frozenset({"prompts/get", "resources/read", "completion/complete"})
# Ending a subscription needs no permission: the portal does it after the client, and its login, are gone.
RELEASES = frozenset({"resources/unsubscribe"})
# What carries nothing: a log level is one of eight words. Nobody approves it, and no label follows it.
WITHOUT_CONTENT = RELEASES | {"logging/setLevel"}
_KINDS: Mapping[str, Kind] = {
    "tools/call": "tool",
    "prompts/get": "prompt",
    "resources/read": "resource",
    "completion/complete": "completion",
    "resources/subscribe": "subscription",
    "resources/unsubscribe": "subscription",
    "logging/setLevel": "setting",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call. `server` is a configured id, `name` the raw name of a tool or prompt, or a URI.

    `params` are the raw MCP params, without `_meta`.
    """

    server: str
    method: str
    name: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def kind(self) -> Kind:
        return _KINDS.get(self.method, "tool")

    @classmethod
    def tool(cls, server: str, name: str, arguments: Mapping[str, object] | None = None) -> Call:
        params: Members = {"name": name, "arguments": arguments if arguments is not None else {}}
        return cls(server=server, method="tools/call", name=name, params=params)

    @classmethod
    def prompt(cls, server: str, name: str, arguments: Mapping[str, str] | None = None) -> Call:
        params: Members = {"name": name, "arguments": arguments if arguments is not None else {}}
        return cls(server=server, method="prompts/get", name=name, params=params)

    @classmethod
    def resource(cls, server: str, uri: str) -> Call:
        return cls(server=server, method="resources/read", name=uri, params={"uri": uri})


@dataclass(frozen=True, slots=True)
class Denial:
    """Why a call may not be made. The caller reads `reason`; `policy` names the rule."""

    reason: str
    policy: str | None = None


# The params that say which tool, prompt or resource a call is for. Admissions have decided about these.
TARGET = ("name", "uri", "ref")


class Admission(Protocol):
    async def admit(self, call: Call, context: CallContext) -> Denial | None:
        """A denial, or None to let the call go on. Raises a `CallDenied` of its own where it has more to say."""


class Screening(Protocol):
    async def screen(
        self, content: Members, direction: Direction, call: Call, context: CallContext
    ) -> Members | Denial:
        """The content that may pass, changed or not, or a denial.

        `content` is the call's params on the way out and its result on the way back. A screening that is about one
        direction returns the content of the other as it is. It must not change which tool, prompt or resource the
        params name: admissions have decided about that one.
        """


class ProgramScreening(Protocol):
    async def screen_program(self, program: str, context: CallContext) -> Denial | None:
        """Why a program may not run, or None."""

    async def hides(self, text: str) -> bool:
        """Whether a text that is neither a program nor of a call, such as the name of no tool, must not be kept."""


class CallCredentials(Protocol):
    async def headers(self, call: Call, context: CallContext) -> Mapping[str, str]:
        """HTTP headers for this call, {} for none. Raises `CallError` if the call cannot be made without them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The classes that decide about the calls of one portal, in the order in which they are asked.

    Without any the gate is open: that is a portal without identity, which serves its operator on loopback. An
    admission that waits, for a person's approval say, belongs before those that decide by the moment, such as
    policies. Screenings see results in reverse order, so that the first one has the last word in both directions.
    """

    admissions: Sequence[Admission] = ()
    screenings: Sequence[Screening] = ()
    programs: Sequence[ProgramScreening] = ()
    credentials: Sequence[CallCredentials] = ()

    async def admit(self, call: Call, context: CallContext) -> None:
        """Raises `CallDenied` for the first denial; the admissions after it are not asked."""
        for admission in self.admissions:
            refuse(await admission.admit(call, context), call)

    async def screen_params(self, call: Call, context: CallContext) -> Call:
        """The call as it may go out. Raises `CallDenied`."""
        for screening in self.screenings:
            params = _passed(await screening.screen(dict(call.params), "outgoing", call, context), call, ran="no")
            if params == call.params:
                continue
            for member in TARGET:
                if params.get(member) != call.params.get(member):
                    raise RuntimeError(f"{type(screening).__name__} has changed {member!r}, which names the target")
            call = replace(call, params=params)
        return call

    async def screen_result(self, call: Call, result: Members, context: CallContext) -> Members:
        """The result as it may come back. Raises `CallDenied`, which says that the call ran."""
        for screening in reversed(self.screenings):
            result = _passed(await screening.screen(result, "incoming", call, context), call, ran="yes")
        return result

    async def screen_error(self, call: Call, error: UpstreamError, context: CallContext) -> UpstreamError:
        """An error as it may come back: what a server answers with, or says of itself, may have anything in it. One
        without words of the server is not asked about.

        Raises:
            CallDenied: it may not.
        """
        if not self.screenings or not (isinstance(error, RpcError) or error.quotes):
            return error
        content: Members = {"message": error.message}
        if isinstance(error, RpcError):
            content["data"] = error.data
        screened = _passed(await self.screened(dict(content), "incoming", call, context), call, ran=error.ran)
        if screened == content:
            return error
        message = str(screened.get("message"))
        if isinstance(error, RpcError):
            return RpcError(error.code, message, screened.get("data"), server=error.server)
        return error.in_other_words(message)

    async def screened(
        self, content: Members, direction: Direction, call: Call, context: CallContext
    ) -> Members | Denial:
        """What may pass of content that is no call's params or result, such as a question of a server."""
        for screening in self.screenings if direction == "outgoing" else reversed(self.screenings):
            verdict = await screening.screen(content, direction, call, context)
            if isinstance(verdict, Denial):
                return verdict
            content = verdict
        return content

    async def screen_program(self, program: str, context: CallContext) -> Denial | None:
        """The first denial of a program that is about to run."""
        for screening in self.programs:
            if (denial := await screening.screen_program(program, context)) is not None:
                return denial
        return None

    async def hides(self, text: str) -> bool:
        """Whether a text that no call is made with must not be in a row."""
        for screening in self.programs:
            if await screening.hides(text):
                return True
        return False

    async def headers(self, call: Call, context: CallContext) -> Mapping[str, str]:
        """The headers of all credentials. Header names are compared without case.

        None takes precedence: two that set the same header would have one server receive what is meant for another.

        Raises:
            CallDenied: two set the same header.
            CallError: as the credentials raise.
        """
        merged: dict[str, str] = {}
        names: set[str] = set()
        for credentials in self.credentials:
            for name, value in (await credentials.headers(call, context)).items():
                if name.lower() in names:
                    reason = (
                        f"The portal would send two credentials to the server {call.server!r} in the same header, "
                        f"{name}. The call was not sent. Ask the portal's operator to remove one of them."
                    )
                    raise CallDenied(reason, policy="credentials", server=call.server)
                names.add(name.lower())
                merged[name] = value
        return merged


def refuse(denial: Denial | None, call: Call, ran: Ran = "no") -> None:
    """Raises `CallDenied` if there is a denial."""
    if denial is not None:
        raise CallDenied(denial.reason, policy=denial.policy, server=call.server, ran=ran)


def _passed(verdict: Members | Denial, call: Call, *, ran: Ran) -> Members:
    if isinstance(verdict, Denial):
        refuse(verdict, call, ran)
    assert isinstance(verdict, dict)
    return verdict
