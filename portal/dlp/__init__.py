"""Looks for secrets and personal data in texts and JSON values, and takes them out."""

from portal.dlp.detector import PREDEFINED, Detector, Profile, lists_key
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
from portal.dlp.lists import ExactList
from portal.dlp.patterns import Pattern
from portal.dlp.redaction import redact

__all__ = [
    "CONFIDENCES",
    "PREDEFINED",
    "Confidence",
    "Detection",
    "DetectionUnavailable",
    "Detector",
    "ExactList",
    "Leaf",
    "Pattern",
    "Profile",
    "RuleRefused",
    "Verdict",
    "compiler",
    "detection_installed",
    "lists_key",
    "redact",
]
