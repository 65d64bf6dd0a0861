"""The rules of the gateway of an instance, compiled from the configuration and the store.

Rules of the document come before those of the store. A mistake in the document is refused; a stored rule that cannot be
used blocks what it could be about.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import structlog

from portal.access import RuleApprovals
from portal.app.access import StoredState
from portal.app.document_stamps import GATEWAY_RULE, Stamps, stamp_of
from portal.app.flows import lists_of
from portal.config import Config
from portal.dlp import detection_installed
from portal.gateway import (
    Detecting,
    HttpRule,
    HttpRuleRefused,
    Rulebook,
    compile_rule,
    in_order,
    read_rules,
    unreadable_rule,
)

KEY = "portal.gateway"


def checked_rules(
    config: Config, detector: Detecting | None, approvals: RuleApprovals | None = None, stamps: Stamps | None = None
) -> list[HttpRule]:
    """The rules of the document.

    Raises:
        HttpRuleRefused: one cannot be used, or asks for secrets and nothing searches for them.
    """
    stamp_of_rule = partial(stamp_of, stamps or {}, GATEWAY_RULE, "")
    rules = read_rules(config.portal.gateway.rules, f"{KEY}.rules", approvals, stamp_of_rule)
    searches = detector is not None and detection_installed()
    if not searches and (asking := next((rule for rule in rules if rule.profiles), None)) is not None:
        problem = "asks for secrets, and nothing searches for them here: pip install 'codemode-portal[dlp]'"
        raise HttpRuleRefused("traffic", problem, f"{KEY}.rules, {asking.name!r}")
    return rules


def rulebook(config: Config, stored: StoredState, detector: Detecting | None) -> Rulebook:
    """All rules of an instance, those of the document first.

    Raises:
        HttpRuleRefused: as `checked_rules`.
    """
    approvals = RuleApprovals(lists_of(config, stored))
    rules = (*checked_rules(config, detector, approvals, stored.stamps), *in_order(_stored(stored, approvals)))
    log = structlog.get_logger("portal.gateway")
    for mistake in approvals.mistakes:
        log.warning("a rule asks people who are not there", reason=mistake)
    for rule in rules:
        missing = [profile for profile in rule.profiles if detector is None or not detector.knows(profile)]
        if missing:
            log.error(
                "a rule asks for a profile that is not there; what it could be about is blocked",
                rule=rule.id,
                profiles=sorted(missing),
            )
    return Rulebook(rules)


def _stored(stored: StoredState, approvals: RuleApprovals) -> Iterator[HttpRule]:
    log = structlog.get_logger("portal.gateway")
    for one in stored.rules:
        if not one.document.enabled:
            continue
        try:
            yield compile_rule(one.id, one.document, one.stamp, approvals)
        except HttpRuleRefused as refused:
            log.error("a stored rule cannot be used; what it could be about is blocked", rule=one.id, why=str(refused))
            members = one.document.model_dump()
            if (rule := unreadable_rule(one.id, members, str(refused))) is not None:
                yield rule
    for broken in stored.broken_rules:
        if (rule := unreadable_rule(broken.id, broken.members, broken.problem)) is not None:
            yield rule
