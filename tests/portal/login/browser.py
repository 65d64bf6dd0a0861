"""A person's browser for tests: a cookie jar, redirects followed by hand, forms found in the page and filled in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urljoin, urlsplit

import httpx2

from tests.patience import PATIENCE


@dataclass
class Form:
    """A form of a page: where it goes, its fields with their values, its buttons."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self.links: list[tuple[str, str]] = []
        self.words: list[str] = []
        self._href: str | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.forms.append(Form(values.get("action", ""), values.get("method", "get")))
        elif tag == "input" and self.forms and "name" in values:
            self.forms[-1].fields[values["name"]] = values.get("value", "")
        elif tag == "button" and self.forms and "name" in values:
            self.forms[-1].buttons.append((values["name"], values.get("value", "")))
        elif tag == "a":
            self._href = values.get("href", "")

    def handle_endtag(self, tag: str) -> None:
        if tag == "a":
            self._href = None

    def handle_data(self, data: str) -> None:
        if text := " ".join(data.split()):
            self.words.append(text)
            if self._href is not None:
                self.links.append((text, self._href))


@dataclass
class Page:
    """What the browser shows. `left_for` is a URL of another site it was sent to and did not open."""

    url: str
    status: int
    headers: httpx2.Headers
    html: str
    left_for: str = ""

    def __post_init__(self) -> None:
        reader = _Reader()
        reader.feed(self.html)
        self.forms, self.links, self.text = reader.forms, reader.links, " ".join(reader.words)

    def form(self, action: str) -> Form:
        return next(form for form in self.forms if urlsplit(form.action).path == action)

    def link(self, text: str) -> str:
        return next(href for shown, href in self.links if text in shown)


class Browser:
    """Stays on the sites it is told of; a redirect elsewhere ends in `Page.left_for`."""

    def __init__(self, client: httpx2.AsyncClient, sites: Sequence[str]) -> None:
        self.client = client
        self.sites = list(sites)

    @property
    def home(self) -> str:
        return self.sites[0]

    async def open(self, url: str) -> Page:
        return await self._load("GET", urljoin(self.home, url))

    async def submit(self, page: Page, action: str, button: str = "", **values: str) -> Page:
        """Fill in the form that goes to `action` and send it, by the button of this value if there are several."""
        return await self.send(page, page.form(action), button, **values)

    async def send(self, page: Page, form: Form, button: str = "", **values: str) -> Page:
        """As `submit`, for one form of a page."""
        fields = {**form.fields, **values}
        fields |= {name: value for name, value in form.buttons if value == button}
        headers = {"Origin": "{0.scheme}://{0.netloc}".format(urlsplit(page.url))}
        return await self._load(form.method.upper(), urljoin(page.url, form.action), fields, headers)

    async def _load(
        self, method: str, url: str, data: dict[str, str] | None = None, headers: dict[str, str] | None = None
    ) -> Page:
        for _ in range(20):
            response = await self.client.request(method, url, data=data, headers=headers)
            if not response.has_redirect_location:
                return Page(url, response.status_code, response.headers, response.text)
            method, data, headers = "GET", None, None
            url = urljoin(url, response.headers["location"])
            if not any(url.startswith(site + "/") for site in self.sites):
                return Page(url, response.status_code, response.headers, "", left_for=url)
        raise AssertionError(f"the redirects do not end: {url}")


def sent_here(request: httpx2.Request, **changes: Any) -> httpx2.Request:
    """The same request, but to this machine, with further `changes` of its URL. Its Host header stays."""
    url = request.url.copy_with(host="127.0.0.1", **changes)
    here = httpx2.Request(request.method, url, headers=request.headers, stream=request.stream)
    here.extensions = request.extensions
    return here


@asynccontextmanager
async def browser_at(*sites: str) -> AsyncIterator[Browser]:
    async with httpx2.AsyncClient(follow_redirects=False, timeout=PATIENCE, trust_env=False) as client:
        yield Browser(client, sites)
