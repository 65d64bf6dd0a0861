"""`codemode tools --doc`: the catalog as Markdown that is the same each time, and that no server can break out of."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from portal.cli.exits import Exit
from portal.cli.show.markdown import code, fenced, inline, paragraphs, table
from tests.portal.cli.command import in_process as codemode

RENDERED = MarkdownIt("gfm-like", {"html": True, "linkify": False})
BREAKING = st.text(st.sampled_from("ab1 \t\n\r|\\`*_[]()<>#+-=~!&;:.$@/\u2028\u202e\ud800"), max_size=40)
HOSTILE = [
    "a | b | c\n| --- | --- |",
    "```\n# out\n````\n<script>alert(1)</script>",
    "\\|`|\\\\|",
    "<img src=x onerror=alert(1)>",
    "<!-- [x](javascript:alert(1)) ![y](http://evil.example/?q=1)",
    "# heading\n\n---\n\n- list\n1. one\n> quoted\n    code\n=====",
    "[a]: http://evil.example 'b'",
    "&lt;script&gt; &#60;b&#62;",
    "\u202e\u200b\x1b[31m\x00",
]


class Tags(HTMLParser):
    """The tags of a page, and its words."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.names: list[str] = []
        self.words = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.names.append(tag)

    def handle_data(self, data: str) -> None:
        self.words += data


def shown(text: str) -> str:
    """A text as somebody reads it: without what cannot be seen, and with one blank for many."""
    visible = re.sub("[\u200b\u2060-\u2064\ufeff\ud800-\udfff]", "", re.sub("[\u2028\u2029\x85\x0b\x0c]", " ", text))
    return " ".join(
        re.sub("[\x00-\x08\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]", "\ufffd", visible).split()
    )


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("write", [inline, code])
def test_what_a_server_writes_stays_in_its_cell_and_is_no_markup(text: str, write: Any) -> None:
    page = Tags(RENDERED.render(table(("A", "B"), [(write(text), "end")])))
    allowed = {"table", "thead", "tbody", "tr", "th", "td", "code"}
    assert set(page.names) <= allowed
    assert page.names.count("td") == 2 and page.names.count("tr") == 2
    assert " ".join(page.words.split()) == f"A B {shown(text)} end".replace("  ", " ")


@given(BREAKING)
def test_any_text_in_a_cell_is_what_somebody_reads(text: str) -> None:
    for write in (inline, code):
        page = Tags(RENDERED.render(table(("A", "B"), [(write(text), "end")])))
        assert page.names.count("td") == 2 and set(page.names) <= {"table", "thead", "tbody", "tr", "th", "td", "code"}
        assert " ".join(page.words.split()) == " ".join(f"A B {shown(text)} end".split())


@given(BREAKING)
def test_any_text_is_paragraphs_and_nothing_else(text: str) -> None:
    page = Tags(RENDERED.render(f"before\n\n{paragraphs(text)}\n\nafter"))
    assert set(page.names) <= {"p", "br"}
    assert "".join(page.words.split()) == "".join(f"before{shown(text)}after".split())


@given(BREAKING)
def test_any_text_stays_in_its_fence(text: str) -> None:
    page = Tags(RENDERED.render(f"{fenced(text, 'ts')}\n\nafter"))
    assert page.names == ["pre", "code", "p"]


@pytest.fixture
def folder(tmp_path: Path, shop: dict[str, Any]) -> Path:
    (tmp_path / "codemode.json").write_text(json.dumps({"mcpServers": {"shop": shop}}))
    return tmp_path


def test_the_document_has_each_server_and_tool_with_its_types_and_is_the_same_each_time(folder: Path) -> None:
    done = codemode(folder, "tools", "--doc")
    assert done.returncode == Exit.OK
    text = done.stdout
    assert text.startswith("# codemode-portal\n")
    for words in (
        "## shop",
        "Ready: 11 tools",
        "#### shop.list_orders",
        "`shop_list_orders`",
        "declare const codemode: {",
        "| `limit` | `number` |  | How many to return at most (default `100`) |",
        "| `order_id` | `string` | yes |",
    ):
        assert words in text
    assert codemode(folder, "tools", "--doc").stdout == text
    page = Tags(RENDERED.render(text))
    assert page.names.count("h4") == 11 and page.names.count("pre") == 11


def test_the_document_goes_to_a_file_for_one_server(folder: Path) -> None:
    done = codemode(folder, "tools", "shop", "-o", "tools.md")
    assert done.returncode == Exit.OK and done.stdout == "" and "Wrote tools.md" in done.stderr
    assert (folder / "tools.md").read_text().count("## shop\n") == 1
    assert codemode(folder, "tools", "--doc", "--json").returncode == Exit.USAGE
    assert codemode(folder, "tools", "--doc", "-o", "absent/tools.md").returncode == Exit.USAGE


def test_the_document_has_the_names_that_a_portal_shows(folder: Path, shop: dict[str, Any]) -> None:
    settings = {
        "server_id": "shop",
        "updated_tools": [
            {"name": "list_orders", "alias": "orders", "description": "Orders | of <b>everybody</b>."},
            {"name": "refund_order", "enabled": False},
        ],
    }
    document = {"mcpServers": {"shop": shop}, "portals": {"desk": {"servers": [settings]}}}
    (folder / "codemode.json").write_text(json.dumps(document))
    text = codemode(folder, "tools", "--doc", "--portal", "desk").stdout
    assert "`shop_orders` (alias of `list_orders`)" in text
    assert "`shop_refund_order` (hidden)" in text
    assert "Orders &#124; of &lt;b&gt;everybody&lt;/b&gt;." in text
    unknown = codemode(folder, "tools", "--doc", "--portal", "dsek")
    assert unknown.returncode == Exit.USAGE and "Did you mean desk?" in unknown.stderr


def test_prompts_resources_and_hostile_names_are_in_the_document_as_words(tmp_path: Path) -> None:
    program = Path(__file__).with_name("hostile_server.py")
    document = {"mcpServers": {"odd": {"command": sys.executable, "args": [str(program)]}}}
    (tmp_path / "codemode.json").write_text(json.dumps(document))
    done = codemode(tmp_path, "tools", "--doc")
    assert done.returncode == Exit.OK
    page = Tags(RENDERED.render(done.stdout))
    assert not {"script", "img", "b", "hr"} & set(page.names)
    assert page.names.count("h1") == 1 and page.names.count("h2") == 1 and page.names.count("h4") == 1
    assert "memo://{topic}" in page.words and "file:///a|b" in page.words and "odd_greet" in page.words
    assert "\x1b" not in done.stdout and "\u202e" not in done.stdout
