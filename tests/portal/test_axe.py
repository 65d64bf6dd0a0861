"""What axe looks for in colours it also finds where only the rules about colours are tried."""

from __future__ import annotations

from tests.portal.axe import COLOUR_RULES, RUN, RUN_COLOURS, TAGS, axe_source
from tests.portal.browser import browser

# Only in the dark the first line cannot be read, and the link not be told from the words around it.
PAGE = """<!doctype html><html lang="en"><title>A page</title><style>
  a { color: #06f; text-decoration: none } body { color: #000; background: #fff }
  @media (prefers-color-scheme: dark) {
    body { color: #fff; background: #000 } p:first-of-type { color: #222 } a { color: #ddd }
  }
</style><main><h1>A page</h1><p>Here is a line.</p><p>Here is a <a href="/there">link</a> to somewhere.</p></main>"""


def test_colours_that_are_wrong_only_in_the_dark_are_found_there_and_a_new_rule_about_them_is_noticed() -> None:
    axe = axe_source()
    with browser() as opened:
        page = opened.new_page(color_scheme="light")
        page.set_content(PAGE)
        page.evaluate(axe)
        assert page.evaluate(RUN) == page.evaluate(RUN_COLOURS) == []
        page.emulate_media(color_scheme="dark")
        found = page.evaluate(RUN_COLOURS)
        assert found == page.evaluate(RUN)
        assert {one.partition(":")[0] for one in found} == set(COLOUR_RULES), found
        rules = page.evaluate("tags => axe.getRules(tags).map(one => [one.ruleId, one.description + one.help])", TAGS)
        about_colours = {id for id, words in rules if "color" in id + words or "contrast" in id + words}
        assert about_colours == set(COLOUR_RULES)
