"""The identity of a login as a part of stored documents, without the facts of later requests."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import PlainSerializer, PlainValidator

from portal.identity import Identity, identity_document, identity_from


def _read(value: object) -> Identity:
    return value if isinstance(value, Identity) else identity_from(value)


StoredIdentity: TypeAlias = Annotated[Identity, PlainValidator(_read), PlainSerializer(identity_document)]
