"""An approval as its row has it, and the arguments of a call in the one form that is hashed and shown. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError

from portal.access import ApprovalRule
from portal.approvals.errors import ApprovalImpossible, ApprovalUnknown
from portal.approvals.model import Approval, ApprovalState, ApprovalVote
from portal.state import ApprovalRow

MAX_ARGUMENTS = 1024 * 1024
"""Bytes of the arguments of a call that people can be shown."""
_STATE: TypeAdapter[ApprovalState] = TypeAdapter(ApprovalState)


def canonical(arguments: Mapping[str, object]) -> str:
    """The arguments as JSON, with sorted keys, no blanks, and every number as it was: equal texts are equal calls.

    Raises:
        ApprovalImpossible: nobody could be shown them.
    """
    try:
        text = json.dumps(arguments, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        try:
            size = len(text.encode())
        except UnicodeEncodeError:
            # Half of a pair of surrogates, which is no character.
            text = json.dumps(arguments, sort_keys=True, separators=(",", ":"), allow_nan=False)
            size = len(text)
    except (ValueError, TypeError, RecursionError):
        raise ApprovalImpossible(
            "This call needs the approval of people, who cannot be shown its arguments: they are nested too deeply, or "
            "no JSON. It did not run."
        ) from None
    if size > MAX_ARGUMENTS:
        raise ApprovalImpossible(
            f"This call needs the approval of people, and its arguments are larger than they can be shown: over "
            f"{MAX_ARGUMENTS} bytes. It did not run."
        )
    return text


def digest_of(method: str, text: str) -> bytes:
    """The SHA-256 of canonical arguments. What is no tool has its method before them, so that neither is the other."""
    return hashlib.sha256((text if method == "tools/call" else f"{method}\n{text}").encode()).digest()


def sealed(arguments: str, justification: str) -> bytes:
    return orjson.dumps({"arguments": arguments, "justification": justification})


def unsealed(secret: bytes | None) -> tuple[str | None, str]:
    """The canonical arguments, None where they are erased, and what the call is for."""
    if secret is None:
        return None, ""
    value = orjson.loads(secret)
    return value["arguments"], value["justification"]


class _Document(BaseModel):
    """What the row of an approval has besides its columns."""

    email: str
    method: str
    destructive: bool
    rule: ApprovalRule
    votes: tuple[ApprovalVote, ...]
    rounds: int = 0


def document_of(approval: Approval) -> str:
    """What its row has besides its columns, as JSON."""
    return _Document(
        email=approval.email,
        method=approval.method,
        destructive=approval.destructive,
        rule=approval.rule,
        votes=approval.votes,
        rounds=approval.rounds,
    ).model_dump_json()


def mention_of(email: str) -> str:
    """How a document names this address, and no other one that ends or begins like it."""
    return json.dumps(email, ensure_ascii=False)


def approval_of(row: ApprovalRow, justification: str = "") -> Approval:
    """
    Raises:
        ApprovalUnknown: the row is damaged.
    """
    try:
        document, state = _Document.model_validate_json(row.document), _STATE.validate_python(row.state)
    except ValidationError:
        raise ApprovalUnknown from None
    return Approval(
        id=row.id,
        portal=row.portal,
        subject=row.subject,
        email=document.email,
        client=row.client,
        run=row.run,
        call=row.call,
        server=row.server,
        tool=row.tool,
        digest=row.digest,
        rule=document.rule,
        destructive=document.destructive,
        justification=justification,
        state=state,
        revision=row.revision,
        created_at=row.created_at,
        expires_at=row.expires_at,
        decided_at=row.decided_at,
        votes=document.votes,
        method=document.method,
        rounds=document.rounds,
    )
