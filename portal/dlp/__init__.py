"""Looks for secrets and personal data in texts and JSON values, and takes them out."""

from portal.dlp.catalog import rules_folder
from portal.dlp.definitions import (
    PREDEFINED_BY_UUID,
    PatternDefinition,
    ProfileDefinition,
    predefined_definitions,
    predefined_uuid,
)
from portal.dlp.detector import PREDEFINED, Detector, Profile, lists_key
from portal.dlp.entries import PredefinedRule, predefined_rules
from portal.dlp.findings import (
    CONFIDENCES,
    Confidence,
    Detection,
    DetectionUnavailable,
    Leaf,
    RuleRefused,
    Verdict,
)
from portal.dlp.lists import MOST_VALUES, PACKED, ExactList
from portal.dlp.live import LiveDetector
from portal.dlp.patterns import LONGEST_PATTERN, Pattern, checked_name
from portal.dlp.redaction import redact

__all__ = [
    "CONFIDENCES",
    "LONGEST_PATTERN",
    "MOST_VALUES",
    "PACKED",
    "PREDEFINED",
    "PREDEFINED_BY_UUID",
    "Confidence",
    "Detection",
    "DetectionUnavailable",
    "Detector",
    "ExactList",
    "Leaf",
    "LiveDetector",
    "Pattern",
    "PatternDefinition",
    "PredefinedRule",
    "Profile",
    "ProfileDefinition",
    "RuleRefused",
    "Verdict",
    "checked_name",
    "lists_key",
    "predefined_definitions",
    "predefined_rules",
    "predefined_uuid",
    "redact",
    "rules_folder",
]
