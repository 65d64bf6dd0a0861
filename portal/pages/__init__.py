"""What a person sees in a browser: the pages, their design, and the browser behind a request."""

from portal.pages.assets import (
    ASSET_HEADERS,
    ASSETS_PATH,
    CHART_SCRIPTS,
    CONSOLE_POLICY,
    HTMX_CONFIG,
    HTMX_SCRIPTS,
    Asset,
    Assets,
)
from portal.pages.blocks import APP, block_of
from portal.pages.charts import ChartBar, ChartSlot, Drawing, LatencyPoint, bars, columns, lines, sparkline
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
from portal.pages.scales import bytes_words, duration_words, moment_words, number_words
from portal.pages.timeline import CallOutcome, ProgramTimeline, TimelineCall, listing, waterfall
from portal.pages.visitor import FORM_FIELD, Visitor, Visitors
from portal.pages.whole import whole_page

__all__ = [
    "APP",
    "ASSETS_PATH",
    "ASSET_HEADERS",
    "CHART_SCRIPTS",
    "CONSOLE_POLICY",
    "DENIED",
    "FORM_FIELD",
    "HOME",
    "HTMX_CONFIG",
    "HTMX_SCRIPTS",
    "STYLE_PATH",
    "Asset",
    "Assets",
    "Block",
    "CallOutcome",
    "ChartBar",
    "ChartSlot",
    "Design",
    "Drawing",
    "LatencyPoint",
    "LoginRules",
    "Pages",
    "ProgramTimeline",
    "RulesInvalid",
    "Surroundings",
    "TimelineCall",
    "Visitor",
    "Visitors",
    "bars",
    "block_of",
    "bytes_words",
    "columns",
    "duration_words",
    "lines",
    "listing",
    "moment_words",
    "notice",
    "number_words",
    "over",
    "read_defaults",
    "read_rules",
    "safe_return",
    "sparkline",
    "standing_page",
    "style",
    "waterfall",
    "whole_page",
    "with_application",
    "words_page",
]
