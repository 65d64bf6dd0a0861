"""The bodies and answers of profiles of detection, of their entries and of datasets, in Cloudflare's shapes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field, RootModel, field_validator, model_validator

from portal.admin.policies import Name
from portal.dlp import LONGEST_PATTERN
from portal.objects import Threshold

MAX_OWN_ENTRIES = 100
MAX_SHARED_ENTRIES = 1000
MAX_ALLOWED = 10_000
MAX_WORDS = 50_000
MAX_SAMPLE = 32 * 1024
"""Characters of a text in which a pattern is tried."""
MAX_MATCHES = 20
"""Matches of a trial that are shown."""

Description = Annotated[str, Field(max_length=4096)]
Words = Annotated[tuple[Annotated[str, Field(max_length=1024)], ...], Field(max_length=MAX_WORDS)]
AllowedCount = Annotated[int, Field(ge=0, le=MAX_ALLOWED)]
UploadStatus = Literal["empty", "complete"]


class SearchLimits(BaseModel):
    """What Cloudflare's profiles have besides and a portal does not do. Nothing is accepted that would not be done."""

    ocr_enabled: bool | None = None
    ai_context_enabled: bool | None = None
    context_awareness: Mapping[str, object] | None = None
    data_classes: tuple[object, ...] | None = None
    data_tags: tuple[object, ...] | None = None
    sensitivity_levels: tuple[object, ...] | None = None

    @field_validator("ocr_enabled")
    @classmethod
    def _no_images(cls, value: bool | None) -> bool | None:
        if value:
            raise ValueError("must be false: text in images is not read")
        return value

    @field_validator("ai_context_enabled")
    @classmethod
    def _no_models(cls, value: bool | None) -> bool | None:
        if value:
            raise ValueError("must be false: nothing of a value is given to a model")
        return value

    @field_validator("context_awareness")
    @classmethod
    def _no_context(cls, value: Mapping[str, object] | None) -> Mapping[str, object] | None:
        if value and value.get("enabled"):
            raise ValueError("must not be enabled: the words that a rule wants near a match are part of the rule")
        return value

    @field_validator("data_classes", "data_tags", "sensitivity_levels")
    @classmethod
    def _no_labels(cls, value: tuple[object, ...] | None) -> tuple[object, ...] | None:
        if value:
            raise ValueError("must be empty: profiles have no classes, tags and levels of sensitivity here")
        return value


class DlpPatternBody(BaseModel):
    """`regex` is in the syntax of RE2."""

    regex: Annotated[str, Field(min_length=1, max_length=LONGEST_PATTERN)]
    validation: Literal["luhn"] | None = None


class DlpEntryBody(BaseModel):
    """An entry of a profile: a pattern or words. With the id of one that is there, words that are left out stay."""

    name: Name
    enabled: bool
    entry_id: Annotated[str, Field(max_length=64)] | None = None
    description: Description | None = None
    pattern: DlpPatternBody | None = None
    words: Words | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _is_one_of_both(self) -> DlpEntryBody:
        if self.pattern is not None and self.words is not None:
            raise ValueError("has a pattern and words; make two entries")
        if self.pattern is None and self.words is None and self.entry_id is None:
            raise ValueError("has neither a pattern nor words")
        return self


class SharedEntryBody(BaseModel):
    entry_id: Annotated[str, Field(max_length=64)]
    enabled: bool


class DlpProfileBody(SearchLimits):
    """A profile. Entries that are left out stay as they are."""

    name: Name
    description: Description | None = None
    allowed_match_count: AllowedCount | None = None
    confidence_threshold: Threshold | None = None
    entries: Annotated[tuple[DlpEntryBody, ...], Field(max_length=MAX_OWN_ENTRIES)] | None = None
    shared_entries: Annotated[tuple[SharedEntryBody, ...], Field(max_length=MAX_SHARED_ENTRIES)] | None = None


class EntrySwitch(BaseModel):
    id: Annotated[str, Field(max_length=64)]
    enabled: bool


class PredefinedBody(SearchLimits):
    """`enabled_entries` are all that are on; `entries` changes those it names. What is left out stays."""

    allowed_match_count: AllowedCount | None = None
    confidence_threshold: Threshold | None = None
    enabled_entries: Annotated[tuple[Annotated[str, Field(max_length=64)], ...], Field(max_length=10_000)] | None = None
    entries: Annotated[tuple[EntrySwitch, ...], Field(max_length=10_000)] | None = None


class OwnEntryBody(BaseModel):
    """A pattern for the profile `profile_id`."""

    name: Name
    enabled: bool
    pattern: DlpPatternBody
    description: Description | None = None
    profile_id: Annotated[str, Field(max_length=64)] | None = None


class EntryChange(BaseModel):
    """What an entry becomes. Of a predefined one, only `enabled` can be changed."""

    type: Literal["custom", "predefined", "word_list"] = "custom"
    name: Name | None = None
    enabled: bool | None = None
    pattern: DlpPatternBody | None = None
    description: Description | None = None


class EntryOn(BaseModel):
    enabled: bool


class PredefinedEntryBody(EntryOn):
    entry_id: Annotated[str, Field(max_length=64)]


class PatternTrial(BaseModel):
    """`max_match_bytes` is not needed: what a match may be long is bounded anyway. `sample` and `validation` are ours:
    a text to search, and whether the digits of a match have a check digit."""

    regex: Annotated[str, Field(max_length=64 * 1024)]
    max_match_bytes: int | None = None
    sample: Annotated[str, Field(max_length=MAX_SAMPLE)] | None = Field(default=None, repr=False)
    validation: Literal["luhn"] | None = None


class PatternJudged(BaseModel):
    """`reason` says why it is not valid. `matches` (ours) is what is found in the sample, at most `MAX_MATCHES`; null
    without a sample."""

    valid: bool
    reason: str | None = None
    matches: tuple[str, ...] | None = Field(default=None, repr=False)


class DlpLimits(BaseModel):
    max_custom_regex_entries: int
    max_dataset_cells: int
    max_document_fingerprints: int = 0
    used_custom_regex_entries: int
    used_dataset_cells: int
    used_document_fingerprints: int = 0


class DatasetBody(BaseModel):
    """A dataset before its values are uploaded. They are stored as keyed hashes whatever it says."""

    name: Name
    description: Description | None = None
    secret: bool | None = None
    case_sensitive: bool | None = None
    encoding_version: Annotated[int, Field(ge=0, le=100)] | None = None

    @field_validator("secret")
    @classmethod
    def _as_they_are(cls, value: bool | None) -> bool | None:
        if value:
            raise ValueError("must be false: values are uploaded as they are, and only keyed hashes of them are stored")
        return value

    @field_validator("case_sensitive")
    @classmethod
    def _in_any_case(cls, value: bool | None) -> bool | None:
        if value:
            raise ValueError("must be false: values are found in any case")
        return value

    @field_validator("encoding_version")
    @classmethod
    def _one_column(cls, value: int | None) -> int | None:
        if value is not None and value > 1:
            raise ValueError("must be 1: a dataset has one column, and each line of it is a value")
        return value


class DatasetChange(BaseModel):
    """What is left out stays."""

    name: Name | None = None
    description: Description | None = None
    case_sensitive: Literal[False] | None = None


# Answers


class ShownPattern(BaseModel):
    regex: str
    validation: Literal["luhn"] | None = None


class ShownPatternEntry(BaseModel):
    id: str
    type: Literal["custom"] = "custom"
    name: str
    enabled: bool
    pattern: ShownPattern
    description: str | None = None
    profile_id: str
    created_at: datetime
    updated_at: datetime


class WordCount(BaseModel):
    """Words are stored as hashes and never shown."""

    count: int


class ShownWordsEntry(BaseModel):
    id: str
    type: Literal["word_list"] = "word_list"
    name: str
    enabled: bool
    word_list: WordCount
    description: str | None = None
    profile_id: str
    created_at: datetime
    updated_at: datetime


class NoConfidence(BaseModel):
    ai_context_available: Literal[False] = False
    available: Literal[False] = False


class EntryVariant(BaseModel):
    """`description` has the name of the rule in findings."""

    type: Literal["General"] = "General"
    description: str


class ShownRuleEntry(BaseModel):
    id: str
    type: Literal["predefined"] = "predefined"
    name: str
    enabled: bool
    confidence: NoConfidence = NoConfidence()
    profile_id: str
    variant: EntryVariant


class ShownDatasetEntry(BaseModel):
    id: str
    type: Literal["exact_data"] = "exact_data"
    name: str
    enabled: bool
    case_sensitive: Literal[False] = False
    secret: Literal[False] = False
    description: str | None = None
    created_at: datetime
    updated_at: datetime


AnyEntry = ShownPatternEntry | ShownWordsEntry | ShownRuleEntry | ShownDatasetEntry


class ShownEntry(RootModel[AnyEntry]):
    """An entry of any type."""


class ShownCustomProfile(BaseModel):
    id: str
    type: Literal["custom"] = "custom"
    name: str
    description: str | None = None
    allowed_match_count: int
    confidence_threshold: Threshold | None = None
    ocr_enabled: Literal[False] = False
    ai_context_enabled: Literal[False] = False
    entries: tuple[ShownPatternEntry | ShownWordsEntry, ...]
    shared_entries: tuple[ShownRuleEntry | ShownDatasetEntry, ...]
    created_at: datetime
    updated_at: datetime


class ShownPredefinedProfile(BaseModel):
    id: str
    type: Literal["predefined"] = "predefined"
    name: str
    allowed_match_count: int
    confidence_threshold: Threshold | None = None
    ocr_enabled: Literal[False] = False
    ai_context_enabled: Literal[False] = False
    open_access: Literal[True] = True
    enabled_entries: tuple[str, ...]
    entries: tuple[ShownRuleEntry, ...]


class ShownProfile(RootModel[ShownCustomProfile | ShownPredefinedProfile]):
    """A profile of either type."""


class ShownUpload(BaseModel):
    num_cells: int
    status: UploadStatus
    version: int


class ShownDataset(BaseModel):
    id: str
    name: str
    description: str | None = None
    case_sensitive: Literal[False] = False
    secret: Literal[False] = False
    encoding_version: Literal[1] = 1
    columns: tuple[()] = ()
    num_cells: int
    status: UploadStatus
    uploads: tuple[ShownUpload, ...]
    created_at: datetime
    updated_at: datetime


class MadeDataset(BaseModel):
    """`version` is the one to upload next."""

    dataset: ShownDataset
    encoding_version: Literal[1] = 1
    max_cells: int
    version: int


class NewUpload(BaseModel):
    """`version` is the one to upload."""

    encoding_version: Literal[1] = 1
    max_cells: int
    version: int
    case_sensitive: Literal[False] = False
