"""The exceptions of this package. A mistake of a program is never one of them: it is part of the answer.

CodemodeError
├── CatalogError        a question that a catalog cannot answer: an unknown path or server, a wrong limit
├── CheckUnavailable    types cannot be checked, or the compiler cannot be installed
├── MeaningUnavailable  tools cannot be searched by meaning
├── NotRecordable       a run of which no recording can be made
└── ParkedUnreadable    bytes that are no parked program of this version
"""


class CodemodeError(Exception):
    """The root of the exceptions that this package raises."""


class CatalogError(CodemodeError):
    """A question that a catalog cannot answer. The message names what exists, so that the reader can repair it."""


class CheckUnavailable(CodemodeError):
    """Types cannot be checked, or the compiler cannot be installed. The message gives the reason and the remedy."""


class MeaningUnavailable(CodemodeError):
    """Tools cannot be searched by meaning. The message gives the reason and the remedy."""


class ParkedUnreadable(CodemodeError):
    """Bytes that are no parked program of this version, or damaged ones. The message says what is wrong with them."""


class NotRecordable(CodemodeError):
    """No recording can be made of a run. The message says why, in a clause that begins with "it"."""
