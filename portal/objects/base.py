"""The base of all stored documents."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Document(BaseModel):
    """A frozen model. Unknown members are kept when the document is read and written."""

    model_config = ConfigDict(frozen=True, extra="allow", populate_by_name=True)
