"""Puts a detector together from definitions, and says which of them cannot be used."""

from __future__ import annotations

from pathlib import Path

import structlog

from portal.dlp.build import Build
from portal.dlp.definitions import ProfileDefinition
from portal.dlp.detector import Detector, lists_key
from portal.dlp.findings import DetectionUnavailable, RuleRefused
from portal.dlp.lists import ExactList
from portal.dlp.patterns import Pattern
from portal.dlp.profile import Profile


def made(definition: ProfileDefinition, key: bytes) -> Profile:
    """The profile of a definition, with patterns that are compiled and lists that are hashed with the key of lists.

    Raises:
        RuleRefused: a pattern or a list cannot be used.
        DetectionUnavailable: the extra is not installed.
    """
    return Profile(
        definition.id,
        definition.confidence,
        definition.allowed,
        tuple(Pattern(one.rule, one.pattern, luhn=one.luhn) for one in definition.patterns),
        (
            *(ExactList.unpacked(rule, packed) for rule, packed in definition.lists),
            *(ExactList.of(rule, values, key) for rule, values in definition.words),
        ),
        definition.off,
        definition.shared,
    )


def built(chosen: tuple[ProfileDefinition, ...], key: bytes, folder: Path, former: Detector | None) -> Build:
    """A detector of these profiles. One that cannot be used costs itself alone. Never raises."""
    refused: dict[str, str] = {}
    profiles: list[Profile] = []
    try:
        for definition in chosen:
            if definition.is_empty:
                continue
            try:
                profiles.append(made(definition, lists_key(key)))
            except RuleRefused as error:
                refused[definition.id] = f"the profile {definition.id!r} cannot be used: {error}"
        detector = None
        while profiles and detector is None:
            try:
                detector = Detector(profiles, key=key, folder=folder, former=former)
            except RuleRefused as error:
                if not error.profile:
                    raise
                refused[error.profile] = str(error)
                profiles = [one for one in profiles if one.id != error.profile]
    except (DetectionUnavailable, RuleRefused) as error:
        return Build(chosen, None, refused, str(error))
    except Exception as error:
        # A fault of a library or of ours must close the way, not open it.
        structlog.get_logger("portal.dlp").exception("putting a detector together failed")
        return Build(chosen, None, refused, f"detection could not be put together ({type(error).__name__})")
    return Build(chosen, detector, refused)
