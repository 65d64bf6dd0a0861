"""The names of the predefined profiles, and bounds, for whoever needs no engine."""

from __future__ import annotations

from collections.abc import Mapping

CREDENTIALS, FINANCIAL, NATIONAL, PERSONAL = "credentials", "financial", "national", "personal"
PACKED = 19
"""Bytes that are kept of a value of a list."""
LONGEST_PATTERN = 1_000
"""Characters of a pattern."""
MOST_VALUES = 100_000
"""Of a list."""

RuleOf = tuple[str, str]
"""A profile, and one of its rules."""

PREDEFINED: Mapping[str, str] = {
    CREDENTIALS: "Credentials and Secrets",
    FINANCIAL: "Financial Information",
    NATIONAL: "National identifiers",
    PERSONAL: "Personal: e-mail, IP, phone",
}
"""The profiles that are there from the start, by their ids."""
