"""The `portal.dlp` section: profiles of what is looked for in values on their way."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from portal.config.section import Section

# As in findings: portal/dlp/README.md.
_NAME = r"^[a-z0-9][a-z0-9-]{0,63}$"
_RuleName = Annotated[str, Field(pattern=_NAME)]
_Value = Annotated[str, Field(max_length=1024)]
_Values = Annotated[tuple[_Value, ...], Field(max_length=100_000)]
_PREDEFINED = ("credentials", "financial", "national", "personal")


class DlpPatternSection(Section):
    """A pattern of RE2. With `luhn` the last digit of a match has to be the check digit of the others."""

    pattern: Annotated[str, Field(min_length=1, max_length=1000)]
    luhn: bool = False


class DlpProfileSection(Section):
    """One profile. `patterns` and `lists` are by the names that findings have. A predefined profile has neither; `off`
    are rules of it that are not looked for. `shared` are rules of predefined profiles that are looked for here too."""

    name: Annotated[str, Field(max_length=255)] = ""
    confidence: Literal["low", "medium", "high"] = "medium"
    allowed: int = Field(default=0, ge=0, le=10_000)
    patterns: Annotated[Mapping[_RuleName, DlpPatternSection | _Value], Field(max_length=1000)] = Field(
        default_factory=dict
    )
    lists: Annotated[Mapping[_RuleName, _Values], Field(max_length=100)] = Field(default_factory=dict, repr=False)
    off: Annotated[tuple[_RuleName, ...], Field(max_length=1000)] = ()
    shared: Mapping[
        Literal["credentials", "financial", "national", "personal"],
        Annotated[tuple[_RuleName, ...], Field(max_length=1000)],
    ] = Field(default_factory=dict)


class DlpSection(Section):
    """`profiles` are by the ids that rules and findings have."""

    profiles: Annotated[Mapping[_RuleName, DlpProfileSection], Field(max_length=1000)] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _each_has_what_its_kind_has(self) -> DlpSection:
        for id, profile in self.profiles.items():
            own = profile.patterns or profile.lists or profile.shared
            if id in _PREDEFINED and (own or profile.name):
                raise ValueError(
                    f"has the predefined profile {id!r} with a name, patterns, lists or shared rules; write them into "
                    "one of another id"
                )
            if id not in _PREDEFINED and profile.off:
                raise ValueError(f"has `off` in the profile {id!r}, which is for the predefined profiles")
            if id not in _PREDEFINED and not own:
                raise ValueError(f"has the profile {id!r} with nothing to look for; write patterns, lists or shared")
        return self
