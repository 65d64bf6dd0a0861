"""Looks for secrets and personal data in texts and JSON values, and takes them out."""

from typing import TYPE_CHECKING

from portal.dlp.definitions import (
    PREDEFINED_BY_UUID,
    PatternDefinition,
    ProfileDefinition,
    predefined_definitions,
    predefined_uuid,
)
from portal.dlp.expressions import compiler, detection_installed
from portal.dlp.findings import (
    CONFIDENCES,
    Confidence,
    Detection,
    DetectionUnavailable,
    Leaf,
    RuleRefused,
    Verdict,
)
from portal.dlp.live import LiveDetector, rules_folder
from portal.dlp.names import LONGEST_PATTERN, MOST_VALUES, PACKED, PREDEFINED
from portal.dlp.profile import Profile
from portal.lazy import lazily

if TYPE_CHECKING:
    from portal.dlp.building import made
    from portal.dlp.detector import Detector, lists_key
    from portal.dlp.entries import PredefinedRule, predefined_rules
    from portal.dlp.lists import ExactList
    from portal.dlp.patterns import Pattern, checked_name
    from portal.dlp.redaction import redact
else:
    # A portal whose rules need no profile starts without the engine and its expressions.
    __getattr__ = lazily(
        __name__,
        {
            "Detector": "detector",
            "ExactList": "lists",
            "Pattern": "patterns",
            "PredefinedRule": "entries",
            "checked_name": "patterns",
            "lists_key": "detector",
            "made": "building",
            "predefined_rules": "entries",
            "redact": "redaction",
        },
    )

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
    "compiler",
    "detection_installed",
    "lists_key",
    "made",
    "predefined_definitions",
    "predefined_rules",
    "predefined_uuid",
    "redact",
    "rules_folder",
]
