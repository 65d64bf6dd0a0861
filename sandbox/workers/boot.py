"""The two messages at a worker's start, as JSON: its settings from the portal, then its report. Shared by both ends."""

import json
from dataclasses import dataclass, fields

from sandbox.limits import Limits, MiB
from sandbox.workers.confinement import Confinement
from sandbox.workers.frames import ProtocolViolation


def most_output(limits: Limits) -> int:
    """More bytes than any output batch has under these limits. A longer one comes from a guest that has broken its
    limits, and is not passed on."""
    escaped = 8 * limits.log_bytes + 64 * limits.log_lines
    return 5 * limits.arguments + limits.result + escaped + MiB


def most_memory(limits: Limits) -> int:
    """More bytes than any frozen run or image has, even of memory that cannot be compressed."""
    return 2 * limits.memory + 16 * MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """A worker's settings. `isolates`: how many are live at a time; `frozen_bytes`: for suspended runs that have none;
    `image_bytes`: for the cache of images; `cache`, `common`: as for `Engine`."""

    limits: Limits
    isolates: int
    frozen_bytes: int
    image_bytes: int
    cache: str | None
    common: str = ""

    def to_json(self) -> bytes:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values["limits"] = {field.name: getattr(self.limits, field.name) for field in fields(self.limits) if field.init}
        return json.dumps(values).encode()

    @classmethod
    def from_json(cls, payload: bytes) -> "Boot":
        fields = json.loads(payload)
        return cls(**{**fields, "limits": Limits(**fields["limits"])})


@dataclass(frozen=True, slots=True)
class Report:
    """A worker's report before its first program. `threads`: the system's ids of its lanes' threads, in order."""

    build_id: str
    confinement: Confinement
    threads: tuple[int, ...]

    def to_json(self) -> bytes:
        return json.dumps(
            {
                "build_id": self.build_id,
                "in_force": dict(self.confinement.in_force),
                "missing": dict(self.confinement.missing),
                "threads": self.threads,
            }
        ).encode()

    @classmethod
    def from_json(cls, payload: bytes) -> "Report":
        """
        Raises:
            ProtocolViolation: not a report.
        """
        try:
            report = json.loads(payload)
            build_id, in_force, missing = report["build_id"], report["in_force"], report["missing"]
            texts = [build_id, *in_force.keys(), *in_force.values(), *missing.keys(), *missing.values()]
            threads = tuple(report["threads"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ProtocolViolation("a malformed report") from None
        if not all(isinstance(text, str) for text in texts) or not all(type(thread) is int for thread in threads):
            raise ProtocolViolation("a malformed report")
        return cls(build_id, Confinement(in_force, missing), threads)
