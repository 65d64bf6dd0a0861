"""HTTP policies in Cloudflare's shape: what may pass between callers and servers. Its chapter is `README.md`."""

from portal.gateway.fields import NO_ADDRESS, Direction, ServerAddress, ValueFacts, address_of
from portal.gateway.judging import Detecting, JudgedContent, RuleBlock, RuleMatch, Ruling, judge, masked
from portal.gateway.live import LiveGateway
from portal.gateway.plain import PlainConditions, plain_conditions, profiles_asked, written_conditions
from portal.gateway.rules import (
    NO_RULES,
    HttpRule,
    HttpRuleRefused,
    Rulebook,
    WrittenRule,
    compile_rule,
    in_order,
    read_rules,
    rule_place,
    unknown_profiles,
    unreadable_rule,
    written_rules,
)
from portal.gateway.wording import MOST_FINDINGS, log_entries, reason_of, reason_to_ask

__all__ = [
    "MOST_FINDINGS",
    "NO_ADDRESS",
    "NO_RULES",
    "Detecting",
    "Direction",
    "HttpRule",
    "HttpRuleRefused",
    "JudgedContent",
    "LiveGateway",
    "PlainConditions",
    "RuleBlock",
    "RuleMatch",
    "Rulebook",
    "Ruling",
    "ServerAddress",
    "ValueFacts",
    "WrittenRule",
    "address_of",
    "compile_rule",
    "in_order",
    "judge",
    "log_entries",
    "masked",
    "plain_conditions",
    "profiles_asked",
    "read_rules",
    "reason_of",
    "reason_to_ask",
    "rule_place",
    "unknown_profiles",
    "unreadable_rule",
    "written_conditions",
    "written_rules",
]
