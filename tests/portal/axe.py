"""axe (https://github.com/dequelabs/axe-core) on a page in a real browser: what it finds against WCAG 2.2 A and AA."""

from __future__ import annotations

from tests.node_tools import install, needs

AXE = "axe-core@4.14.1"
RUN = """async () => {
  const options = { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] };
  const { violations } = await axe.run(document, options);
  return violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html}: ${node.failureSummary}`));
}"""
"""To be evaluated in a page after `axe_source()`. A line for each element with a violation."""


def axe_source() -> str:
    """The script that defines `axe`. Skips the test where npm is absent."""
    folder = needs(install, AXE)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")
