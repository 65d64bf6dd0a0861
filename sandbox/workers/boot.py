"""What the two sides tell each other once: how the worker is to be, and what it has become. JSON, shared by both."""

import json
from dataclasses import dataclass, fields

from sandbox.limits import Limits
from sandbox.workers.confinement import Confinement
from sandbox.workers.frames import ProtocolViolation


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
    """The worker's word, before its first program."""

    build_id: str
    confinement: Confinement

    def to_json(self) -> bytes:
        return json.dumps(
            {
                "build_id": self.build_id,
                "in_force": dict(self.confinement.in_force),
                "missing": dict(self.confinement.missing),
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
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise ProtocolViolation("a malformed report") from None
        if not all(isinstance(text, str) for text in texts):
            raise ProtocolViolation("a malformed report")
        return cls(build_id, Confinement(in_force, missing))
