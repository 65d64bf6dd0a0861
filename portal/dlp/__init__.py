"""Looks for secrets and personal data in texts and JSON values, and takes them out."""

from portal.dlp.detector import PREDEFINED, Detector, Profile, lists_key
from portal.dlp.findings import (
    CONFIDENCES,
    Confidence,
    DetectionUnavailable,
    Finding,
    Place,
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
    "DetectionUnavailable",
    "Detector",
    "ExactList",
    "Finding",
    "Pattern",
    "Place",
    "Profile",
    "RuleRefused",
    "Verdict",
    "lists_key",
    "redact",
]
