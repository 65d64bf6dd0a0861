"""What a person sees in a browser: the pages, their design, and the browser behind a request."""

from portal.pages.blocks import APP, block_of
from portal.pages.notices import Surroundings, notice, standing_page, words_page
from portal.pages.pages import STYLE_PATH, Pages, style
from portal.pages.returns import HOME, safe_return
from portal.pages.rules import (
    DENIED,
    Block,
    Design,
    LoginRules,
    RulesInvalid,
    over,
    read_defaults,
    read_rules,
    with_application,
)
from portal.pages.visitor import FORM_FIELD, Visitor, Visitors
from portal.pages.whole import whole_page

__all__ = [
    "APP",
    "DENIED",
    "FORM_FIELD",
    "HOME",
    "STYLE_PATH",
    "Block",
    "Design",
    "LoginRules",
    "Pages",
    "RulesInvalid",
    "Surroundings",
    "Visitor",
    "Visitors",
    "block_of",
    "notice",
    "over",
    "read_defaults",
    "read_rules",
    "safe_return",
    "standing_page",
    "style",
    "whole_page",
    "with_application",
    "words_page",
]
