"""The browser behind a request, signed in or not.

A random cookie names the browser. Whatever is begun in it (a login at a provider, a PIN, a consent) is bound to that
cookie's hash, so that nobody else can finish it, and its forms carry a token derived from it, so that no other site
can send them. Both include the address of the portal: what is begun at one portal is finished at no other.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from portal.http import Origins, PortalAddress, Proxies, client_ip, read_cookie, write_cookie

COOKIE = "portal_browser"
FORM_FIELD = "form_token"
_KEY = re.compile(r"[A-Za-z0-9_-]{43}")


@dataclass(frozen=True, slots=True)
class Visitor:
    """`key` is the cookie's value and known to that browser only; `new` when the answer must set it.

    `address` is where the browser reached the portal.
    """

    key: str
    new: bool
    address: PortalAddress
    ip: str

    @property
    def binding(self) -> str:
        """A hash of this browser at this portal, from which the cookie cannot be computed: what is stored about
        something begun here names its browser by it."""
        return hashlib.sha256(f"browser:{self.address.url()} {self.key}".encode()).hexdigest()

    def form_token(self, person: str = "") -> str:
        """What the forms of a page carry that was made for this browser. `person` names who the page is about, and for
        whom its forms act; "" where they act for whoever fills them in."""
        browser = self.sign("form")
        return f"{browser}.{self.sign(f'form of {person}')}" if person else browser

    def sign(self, text: str) -> str:
        """A keyed digest that only requests of this browser to this portal can reproduce."""
        return hmac.new(self.key.encode(), f"{self.address.url()} {text}".encode(), hashlib.sha256).hexdigest()

    def sent(self, form_token: str) -> bool:
        """Whether a form came from a page that this portal made for this browser, whoever the page was about."""
        browser, _, _ = form_token.partition(".")
        return not self.new and _same(self.form_token(), browser)

    def sent_by(self, person: str, form_token: str) -> bool:
        """Whether a form came from a page that this portal made for this browser about this person."""
        return not self.new and _same(self.form_token(person), form_token)

    def owns(self, binding: object) -> bool:
        """Whether something with this binding was begun in this browser at this portal."""
        return isinstance(binding, str) and hmac.compare_digest(self.binding.encode(), binding.encode())

    def remember(self, response: Response) -> Response:
        """The response, with the cookie if the browser does not have it yet."""
        if self.new:
            write_cookie(response, COOKIE, self.key, self.address)
        return response


@dataclass(frozen=True, slots=True)
class Visitors:
    """Recognises browsers. `proxies` are the networks whose `X-Forwarded-For` is believed."""

    origins: Origins
    proxies: Proxies = ()

    def of(self, request: Request) -> Visitor:
        """
        Raises:
            Refusal: nobody signs in at the host that the request names.
        """
        address = self.origins.address(request.scope)
        key = read_cookie(request, COOKIE, address)
        known = _KEY.fullmatch(key) is not None
        return Visitor(
            key if known else secrets.token_urlsafe(32), not known, address, client_ip(request.scope, self.proxies)
        )


def _same(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "surrogatepass"))
