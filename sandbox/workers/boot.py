"""What the two sides tell each other once: how the worker is to be, and what it has become. JSON, shared by both."""

import json
from dataclasses import dataclass, fields

from sandbox.limits import Limits, MiB
from sandbox.workers.confinement import Confinement
from sandbox.workers.frames import ProtocolViolation


def most_output(limits: Limits) -> int:
    """The longest output batch (bytes) a program can have under these limits, generously. Longer ones come from a guest
    that has got round its limits; they are not carried."""
    escaped = 8 * limits.log_bytes + 64 * limits.log_lines
    return 5 * limits.arguments + limits.result + escaped + MiB


def most_memory(limits: Limits) -> int:
    """The longest frozen run or image (bytes), generously: the guest's memory, not compressible at all."""
    return 2 * limits.memory + 16 * MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """The parent's word. Sizes in bytes; `isolates` live at a time, `frozen_bytes` for suspended runs without one,
    `image_bytes` for images kept."""

    limits: Limits
    isolates: int
    frozen_bytes: int
    image_bytes: int
    cache: str | None

    def to_json(self) -> bytes:
        said = {field.name: getattr(self, field.name) for field in fields(self)}
        said["limits"] = {field.name: getattr(self.limits, field.name) for field in fields(self.limits) if field.init}
        return json.dumps(said).encode()

    @classmethod
    def from_json(cls, payload: bytes) -> "Boot":
        fields = json.loads(payload)
        return cls(**{**fields, "limits": Limits(**fields["limits"])})


@dataclass(frozen=True, slots=True)
class Report:
    """The worker's word, before its first program. `threads`: the system's ids of its lanes' threads, in order."""

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
            said = json.loads(payload)
            build_id, in_force, missing = said["build_id"], said["in_force"], said["missing"]
            texts = [build_id, *in_force.keys(), *in_force.values(), *missing.keys(), *missing.values()]
            threads = tuple(said["threads"])
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ProtocolViolation("a malformed report") from None
        if not all(isinstance(text, str) for text in texts) or not all(type(thread) is int for thread in threads):
            raise ProtocolViolation("a malformed report")
        return cls(build_id, Confinement(in_force, missing), threads)
