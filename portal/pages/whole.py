"""A page that is one file: to keep, to send, to open without a portal. It has no script and asks for nothing."""

from __future__ import annotations

from portal.pages.pages import script_text, source_of, templates


def whole_page(template: str, sheet: str, **values: object) -> str:
    """The text of a page. `sheet` is the name of a style sheet in the folder of the templates.

    The policy in the page itself (CSP Level 3) allows this style sheet and nothing else: whatever a text in the page
    were taken for, it runs and loads nothing.
    """
    # Normalised as the browser does it, which computes the hash of what it has read.
    style = script_text(sheet).replace("\r\n", "\n")
    policy = f"default-src 'none'; style-src {source_of(style)}; base-uri 'none'; form-action 'none'"
    return templates().get_template(template).render(style=style, policy=policy, **values)
