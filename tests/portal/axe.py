"""axe (https://github.com/dequelabs/axe-core) on a page in a real browser: what it finds against WCAG 2.2 A and AA."""

from __future__ import annotations

import json
from collections.abc import Sequence

from tests.node_tools import install, needs

AXE = "axe-core@4.14.1"
TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")
COLOUR_RULES = ("color-contrast", "link-in-text-block")
"""The rules among them that look at colours."""


def _run(only: Sequence[str]) -> str:
    options = json.dumps({"runOnly": only})
    return f"""async () => {{
  const {{ violations }} = await axe.run(document, {options});
  const said = (id, node) => `${{id}}: ${{node.html}}: ${{node.failureSummary}}`;
  return violations.flatMap(({{ id, nodes }}) => nodes.map((node) => said(id, node)));
}}"""


RUN = _run(TAGS)
"""To be evaluated in a page after `axe_source()`. A line for each element with a violation."""
RUN_COLOURS = _run(COLOUR_RULES)
"""The same with the rules about colours alone: for a page that `RUN` has seen in other colours at this width."""


def axe_source() -> str:
    """The script that defines `axe`. Skips the test where npm is absent."""
    folder = needs(install, AXE)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
