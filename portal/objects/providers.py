"""Stored identity providers. `portal/login` interprets their `config`."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from portal.objects.base import Document
from portal.state import Kind


class ProviderDocument(Document):
    """`config` is without the client secret, which is stored as the secret of the object."""

    name: str = ""
    type: str = ""
    config: Mapping[str, object] = Field(default_factory=dict, repr=False)


IDENTITY_PROVIDER = Kind("identity_provider", ProviderDocument)
