"""What all stored documents have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """Frozen. Members that nobody here interprets are kept and given back."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)
