"""Somebody who signed in, as a part of stored documents: what the login said, and nothing of later requests."""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import PlainSerializer, PlainValidator

from portal.identity import Identity, identity_document, identity_from


def _read(given: object) -> Identity:
    return given if isinstance(given, Identity) else identity_from(given)


StoredIdentity: TypeAlias = Annotated[Identity, PlainValidator(_read), PlainSerializer(identity_document)]
