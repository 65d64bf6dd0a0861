"""What a browser would send of the forms of a page as they stand: boxes that are ticked, options that are chosen."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urlsplit


@dataclass
class FilledForm:
    """Where a form goes, and its fields with what is in them. `labels` are the words of its buttons."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)

    @property
    def path(self) -> str:
        return urlsplit(self.action).path


def filled_forms(html: str) -> list[FilledForm]:
    """The forms of a page."""
    reader = _Reader()
    reader.feed(html)
    return reader.forms


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[FilledForm] = []
        self._open = False
        self._select, self._area, self._in_button = "", "", False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(FilledForm(values.get("action", ""), values.get("method", "get")))
            self._open = True
        if not self._open:
            return
        fields, name = self.forms[-1].fields, values.get("name", "")
        is_off = values.get("type") in ("checkbox", "radio") and "checked" not in values
        if tag == "input" and name and not is_off:
            fields[name] = values.get("value", "")
        elif tag == "textarea":
            self._area, fields[name] = name, ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and ("selected" in values or self._select not in fields):
            fields[self._select] = values.get("value", "")
        elif tag == "button":
            self._in_button = True

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = False
        elif tag == "textarea":
            self._area = ""
        elif tag == "select":
            self._select = ""
        elif tag == "button":
            self._in_button = False

    def handle_data(self, data: str) -> None:
        if self._area:
            self.forms[-1].fields[self._area] += data
        elif self._in_button and self._open:
            self.forms[-1].labels.append(data.strip())
