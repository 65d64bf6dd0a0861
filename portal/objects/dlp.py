"""Profiles of what is looked for in values on their way, and lists of exact values for them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from portal.objects.base import Document
from portal.objects.rules import Text
from portal.state import Kind

MAX_ENTRIES = 1000
VALUES_PER_OBJECT = 20_000

Threshold = Literal["low", "medium", "high"]


class DlpEntry(Document):
    """What a profile itself looks for: a pattern (`custom`), or words (`word_list`), of which only hashes are kept.

    `rule` is what findings say. `version` counts the uploads of words and `cells` their values; the hashes are objects
    of their own (`VALUES`).
    """

    id: Text
    type: Literal["custom", "word_list"]
    name: str
    rule: str
    enabled: bool = True
    description: str | None = None
    regex: str = ""
    validation: Literal["luhn"] | None = None
    version: int = 0
    cells: int = 0
    created_at: datetime
    updated_at: datetime


class SharedDlpEntry(Document):
    """What a profile takes from elsewhere: a rule of a predefined profile, or a dataset by its id."""

    id: Text
    type: Literal["predefined", "exact_data"]
    enabled: bool = True
    profile: str = ""
    rule: str = ""


class DlpProfileDocument(Document):
    """A profile that an administrator made. `confidence_threshold` None is `medium`."""

    name: str
    description: str | None = None
    allowed_match_count: Annotated[int, Field(ge=0)] = 0
    confidence_threshold: Threshold | None = None
    entries: Annotated[tuple[DlpEntry, ...], Field(max_length=MAX_ENTRIES)] = ()
    shared_entries: Annotated[tuple[SharedDlpEntry, ...], Field(max_length=MAX_ENTRIES)] = ()


class PredefinedDlpDocument(Document):
    """What an administrator changed of a predefined profile, under its UUID. `off` are the rules not looked for."""

    allowed_match_count: Annotated[int, Field(ge=0)] = 0
    confidence_threshold: Threshold | None = None
    off: Annotated[tuple[Text, ...], Field(max_length=10_000)] = ()


class DatasetDocument(Document):
    """A list of exact values. `version` counts its uploads; what is in force is `uploaded`, with `cells` values."""

    name: str
    rule: str
    description: str | None = None
    version: int = 0
    uploaded: int = 0
    cells: int = 0


class DlpValuesDocument(Document):
    """Some keyed hashes of the values of one upload, in base64."""

    packed: str = Field(repr=False)


class DlpKeyDocument(Document):
    """The key of all hashes of detection, which is the secret of this object."""


DLP_PROFILE = Kind("dlp_profile", DlpProfileDocument)
PREDEFINED_DLP = Kind("dlp_predefined", PredefinedDlpDocument)
DATASET = Kind("dlp_dataset", DatasetDocument)
DLP_VALUES = Kind("dlp_values", DlpValuesDocument)
DLP_KEY = Kind("dlp_key", DlpKeyDocument)
