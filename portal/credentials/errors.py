"""What can stand between the portal and an access token.

    CredentialError
      LoginNeeded       only a person can help, who must log in
      NotAllowed        this person may not have one, and no login changes that
      Misconfigured     nothing will change until an administrator or the server's operator does something
      Refused           the authorization server answered with an OAuth error
      NoAnswer          it did not answer, or not with what can be used; it may have acted
        NoStore         it was not asked: the portal's own database does not answer

Texts are sentences without the name of the server, which whoever shows them knows. No text has a token, a secret or an
answer of the authorization server in it, except the code and the description of its error.
"""

from __future__ import annotations


class CredentialError(Exception):
    """There is no access token."""


class LoginNeeded(CredentialError):
    """The text says why, and how one logs in."""


class NotAllowed(CredentialError):
    """The text says who refuses, and whom to ask."""


class Misconfigured(CredentialError):
    """The text says what must be changed, and where."""


class Refused(CredentialError):
    """`code` is the error code of RFC 6749 5.2."""

    def __init__(self, text: str, code: str) -> None:
        super().__init__(text)
        self.code = code


class NoAnswer(CredentialError):
    """`arrived` is whether the request may have had an effect, as far as the connection tells; `status` is that of an
    answer that says nothing about it."""

    def __init__(self, text: str, *, arrived: bool = False, status: int | None = None) -> None:
        super().__init__(text)
        self.arrived = arrived
        self.status = status


class NoStore(NoAnswer):
    """The text says when to try again."""
