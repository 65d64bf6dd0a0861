"""An OpenAPI 3.0 or 3.1 document as an `Api`."""

from __future__ import annotations

from portal.openapi.operation import Api

MOST_OPERATIONS = 10_000


def read_api(document: object, *, location: str = "", most_operations: int = MOST_OPERATIONS) -> Api:
    """The API that a document describes. What cannot be read of it is left out and said in `Api.gaps`.

    `location` is the address of the document, which its own addresses may be relative to. It must be parsed JSON or
    YAML (`parse_document`), and no part of it may hold itself.

    Raises:
        InputError: this is no OpenAPI 3.0 or 3.1 document.
    """
    raise NotImplementedError
