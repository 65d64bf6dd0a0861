"""The profiles of detection as the document and the store have them. Its chapter is `portal/dlp/README.md`."""

from portal.profiles.documented import documented_definitions
from portal.profiles.key import detection_key, key_of_ring
from portal.profiles.stored import PROFILE_KINDS, StoredProfiles
from portal.profiles.values import holder_of, remove_values, write_values

__all__ = [
    "PROFILE_KINDS",
    "StoredProfiles",
    "detection_key",
    "documented_definitions",
    "holder_of",
    "key_of_ring",
    "remove_values",
    "write_values",
]
