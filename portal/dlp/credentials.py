"""Our own rules for credentials: forms that the catalog of kingfisher does not have, or finds in few contexts only.

A rule is a form that a vendor publishes, with the randomness that a real one has, and stands with its source. One pass
of RE2 finds what begins like one of them; the rule itself then reads the candidate. Counts are in the rules only,
because a pattern with many counts that may begin anywhere is slow on hostile text.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import log2

from portal.dlp.expressions import Compiled
from portal.dlp.findings import Confidence
from portal.dlp.match import Match
from portal.dlp.names import CREDENTIALS


@dataclass(frozen=True, slots=True)
class Form:
    """A credential by its form: how it begins (for RE2), the whole of it, and its least entropy in bits a character."""

    rule: str
    confidence: Confidence
    begins: str
    whole: re.Pattern[bytes]
    entropy: float = 3.0


def _form(rule: str, begins: str, whole: str, *, entropy: float = 3.0, confidence: Confidence = "high") -> Form:
    return Form(rule, confidence, begins, re.compile(whole.encode()), entropy)


FORMS = (
    # Microsoft Purview, sensitive information type "Microsoft Entra client secret": 40 characters or a few less of
    # letters, digits and -_.~, the first three free, then a digit, then Q~.
    _form("azure-client-secret", r"[\w.~-]{3}\dQ~[\w.~-]+", r"[\w.~-]{3}\dQ~[\w.~-]{31,34}", entropy=3.5),
    # AWS, IAM User Guide, "IAM identifiers", unique ID prefixes: AKIA access key, ASIA temporary, ABIA and ACCA others.
    # The examples of AWS's own documentation end with EXAMPLE.
    _form(
        "aws-access-key-id", r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]+", r"(?:AKIA|ASIA|ABIA|ACCA)(?!\w*EXAMPLE)[0-9A-Z]{16}"
    ),
    # OpenAI, API reference, "Authentication", and GitHub's list of partners' patterns: project, service account, admin
    # and user keys, with and without the marker of the middle. Others use `sk-` too; they are random as well.
    _form(
        "openai-api-key",
        r"sk-[A-Za-z0-9_-]+",
        r"sk-(?:(?:proj|svcacct|admin|None)-(?!ant)[\w-]{32,200}|[A-Za-z0-9]{40,64})",
        entropy=3.8,
    ),
    # Anthropic, and GitHub's list of partners' patterns: the kind and its version, 93 characters, AA.
    _form("anthropic-api-key", r"sk-ant-[\w-]+", r"sk-ant-(?:api|oat|ort|sid)\d\d-[\w-]{93}AA", entropy=3.5),
    # Google Cloud, "Best practices for managing API keys": AIza and 35 characters. The catalog finds those that end in
    # a letter or a digit; these end in a dash.
    _form("google-api-key", r"AIza[\w-]+-", r"AIza[\w-]{34}-", entropy=4.0),
    # Google Identity, OAuth 2.0: client secrets GOCSPX-, access tokens ya29., refresh tokens 1//.
    _form("google-client-secret", r"GOCSPX-[\w-]+", r"GOCSPX-[\w-]{28}"),
    _form("google-access-token", r"ya29\.[\w.-]+", r"ya29\.[\w.-]{30,2048}", entropy=3.5),
    _form("google-refresh-token", r"1//0[\w-]+", r"1//0[\w-]{40,512}", entropy=3.5),
    # Sourcegraph, "Access tokens" (sourcegraph/sourcegraph, internal/accesstoken): sgp_, the instance or `local`, 40
    # hexadecimal digits; sgd_ of Sourcegraph.com; slk_ a license key.
    _form("sourcegraph-access-token", r"sgp_\w+", r"sgp_(?:(?:[0-9a-fA-F]{16}|local)_)?[0-9a-fA-F]{40}", entropy=3.3),
    _form("sourcegraph-access-token", r"s(?:gd|lk)_[0-9a-f]+", r"s(?:gd|lk)_[0-9a-f]{64}"),
    # Slack: the tokens of browsers, three numbers and 64 hexadecimal digits, and their cookie. The catalog has others.
    _form("slack-session", r"xox[cd]-[\w%-]+", r"xox(?:c(?:-\d{9,14}){3}-[0-9a-f]{64}|d-[\w%-]{100,400})", entropy=3.5),
    # Telegram, Bot API, "Authorizing your bot": the number of the bot, a colon, 35 characters.
    _form("telegram-bot-token", r"\d{8,10}:AA[\w-]+", r"\d{8,10}:AA[\w-]{33}", entropy=4.0),
    # Discord, "Reference: authentication": the id of the bot in base64, a time, a signature.
    _form(
        "discord-bot-token",
        r"[MNO][A-Za-z\d]+\.[\w-]{6}\.[\w-]+",
        r"[MNO][A-Za-z\d]{23,27}\.[\w-]{6}\.[\w-]{27,40}",
        entropy=4.0,
    ),
    # Tailscale, "Key prefixes".
    _form("tailscale-key", r"tskey-[a-z]+-[\w-]+", r"tskey-[a-z]+-\w{8,24}(?:-\w{16,64})?"),
    # New Relic, "API keys": NRAK- user, NRJS- browser, NRII- insert, NRIQ- query.
    _form("new-relic-key", r"NR(?:AK|II|IQ)-[\w-]+", r"NR(?:AK|II|IQ)-[\w-]{27,32}"),
    # Fly.io, "Access tokens": macaroons in base64 behind fm1_, fm2_, fo1_.
    _form("fly-access-token", r"f(?:m[12]r?|o1)_[\w+/=-]+", r"f(?:m[12]r?|o1)_[\w+/-]{40,4000}={0,3}", entropy=4.0),
    # Sentry, "Auth tokens": sntrys_ of an organisation, sntryu_ of a user.
    _form("sentry-auth-token", r"sntry[su]_[\w+/=-]+", r"sntry(?:s_eyJ[\w+/=-]{60,400}|u_[0-9a-f]{64})", entropy=3.3),
    # Mailgun, "API authentication": key- and 32 hexadecimal digits, in keys from before 2018. Other keys look so too.
    _form("mailgun-api-key", r"key-[0-9a-f]+", r"key-[0-9a-f]{32}", entropy=3.3, confidence="low"),
)

# What stands in documentation in place of a secret.
_PLACEHOLDER = re.compile(
    rb"(?i)x{5}|\*{3}|\.{3}|0{8}|1{8}|(.)\1{9}|example|placeholder|your[_-]?|changeme|dummy|redacted|sample|"
    rb"abcdefghij|0?123456789[0a]|<[^>]*>|\$\{|\{\{|\$\(|%\(|\$[A-Za-z_]"
)

# What a header, an address or a first line says is secret: RFC 6750 and RFC 7617 for headers, RFC 3986 for addresses,
# RFC 7468 for keys.
_SAID = (
    r"authorization[\"']?[ \t]*[:=][ \t]*[\"']?(?:bearer|basic|token)[ \t]+[A-Za-z0-9._~+/=-]+"
    r"|[a-z][a-z0-9+.-]*://[^\s/?#@:\"'<>\x60]*:[^\s/?#@\"'<>\x60]+@[\w\[]"
    r"|-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----"
    r"|sourcegraph[^\n]*?\b[0-9a-f]{40}\b"
)
# A name that says secret, a sign, and a value.
_NAMED = (
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|auth[_-]?key|private[_-]?key|account[_-]?key"
    r"|credential)s?[\"'\\\x60]*[ \t]*(?::=|=>|[:=])[ \t]*[\"'\\\x60]*[^\s\"'\\\x60,;&<>(){}\[\]]+"
)
_USERINFO = re.compile(rb"(?i)[a-z][a-z0-9+.-]*://[^:@]*:(?P<password>[^@]+)@")
_NO_PASSWORDS = {b"password", b"passwd", b"passw0rd", b"secret", b"mypassword", b"pass123", b"password123"}
_HEADER = re.compile(rb"(?is)authorization.*?(bearer|basic|token)[ \t]+([A-Za-z0-9._~+/=-]+)$")
_ASSIGNED = re.compile(rb"(?s)\w[\"'\\`]*[ \t]*(?::=|=>|[:=])[ \t]*[\"'\\`]*(?P<value>[^\s\"'\\`]+)$")
_KEY_BODY = re.compile(rb"(?:[A-Za-z0-9+/=]|\s|\\[rn])+")
_KEY_SPACE = re.compile(rb"\s|\\[rn]")
_KEY_END = re.compile(rb"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_LONGEST_KEY = 16 * 1024
# Names of code: dotted, in camel case, with dashes or underscores.
_CODE = re.compile(
    rb"[A-Za-z_$][\w$]*(?:\.[A-Za-z_$][\w$]*)+|[A-Za-z]+(?:[A-Z][a-z]+)+"
    rb"|[a-z]+(?:[_-][a-z]+)+|[A-Z]+(?:_[A-Z]+)+"
)
_LONGEST_FORM, _LONGEST_VALUE = 5_000, 512

RULES = frozenset(form.rule for form in FORMS) | {
    *("named-secret", "url-password", "bearer-authorization", "basic-authorization", "private-key"),
}
"""The names of our own rules."""


class OwnForms:
    """Looks for our own rules of the profile of credentials. Threads may share it."""

    def __init__(self, compiled: Callable[[str], Compiled], *, named: bool) -> None:
        """`named` says whether a value counts, with low confidence, that has but a name beside it that says secret."""
        begins = "|".join(form.begins for form in FORMS)
        said = f"{_SAID}|{_NAMED}" if named else _SAID
        self._candidates = compiled(rf"\b(?:{begins})|[.~-][\w.~-]{{2}}\dQ~[\w.~-]+|(?i:{said})")

    def matches(self, text: bytes) -> Iterator[Match]:
        """The matches in a text: what has one of the forms, and what something beside it says is secret."""
        for hit in self._candidates.finditer(text):
            start, end = hit.span()
            match = _of_form(text, start, end) or _as_said(text, start, end)
            if match is not None:
                yield match


def entropy(text: bytes) -> float:
    """Shannon's entropy of the bytes, in bits each."""
    size = len(text)
    counts = (text.count(bytes((byte,))) for byte in {*text})
    return -sum(count / size * log2(count / size) for count in counts)


def _of_form(text: bytes, start: int, end: int) -> Match | None:
    if end - start > _LONGEST_FORM:
        return None
    word = text[start:end]
    for form in FORMS:
        found = form.whole.match(word)
        if found is None or _goes_on(word, found.end()):
            continue
        secret = found[0]
        if entropy(secret) >= form.entropy and not _PLACEHOLDER.search(secret):
            return Match(CREDENTIALS, form.rule, form.confidence, start, start + len(secret), secret)
    return None


def _goes_on(word: bytes, at: int) -> bool:
    """Whether a letter, a digit or an underscore follows: what stands there is longer than the form."""
    return at < len(word) and (word[at : at + 1].isalnum() or word[at] == 0x5F)


def _as_said(text: bytes, start: int, end: int) -> Match | None:
    written = text[start:end]
    if written.startswith(b"-----"):
        return _private_key(text, start, end)
    if written[:11].lower() == b"sourcegraph" and b"://" not in written:
        # Tokens of versions before 5.1 are 40 hexadecimal digits alone.
        known = len(written) < 200 and entropy(written[-40:].lower()) >= 3.3
        return _match("sourcegraph-access-token", "medium", text, end - 40, end) if known else None
    if (userinfo := _USERINFO.match(written)) is not None:
        secret = userinfo["password"]
        if (
            6 <= len(secret) <= _LONGEST_VALUE
            and not _PLACEHOLDER.search(secret)
            and secret.lower() not in _NO_PASSWORDS
        ):
            return _match("url-password", "medium", text, start + userinfo.start(1), start + userinfo.end(1))
        return None
    if (header := _HEADER.match(written)) is not None:
        return _header(text, start, header)
    if (assigned := _ASSIGNED.search(written)) is not None:
        secret = assigned["value"].rstrip(b".-")
        at = start + assigned.start("value")
        if _is_random(secret):
            return _of_form(text, at, end) or _match("named-secret", "low", text, at, at + len(secret))
    return None


def _match(rule: str, confidence: Confidence, text: bytes, start: int, end: int) -> Match:
    return Match(CREDENTIALS, rule, confidence, start, end, text[start:end])


def _header(text: bytes, start: int, header: re.Match[bytes]) -> Match | None:
    scheme, secret = header[1].lower(), header[2].rstrip(b".-")
    at = start + header.start(2)
    if scheme == b"basic":
        try:
            user, colon, password = base64.b64decode(secret + b"=" * (-len(secret) % 4), validate=True).partition(b":")
        except binascii.Error:
            return None
        known = colon and len(password) >= 4 and not _PLACEHOLDER.search(password) and user.isascii()
        return _match("basic-authorization", "medium", text, at, at + len(secret)) if known else None
    if len(secret) >= 16 and _is_random(secret):
        return _of_form(text, at, start + header.end(2)) or _match(
            "bearer-authorization", "medium", text, at, at + len(secret)
        )
    return None


def _private_key(text: bytes, start: int, end: int) -> Match | None:
    """A key goes from its first line to its last, or, where that is cut off, as far as its base64."""
    body = _KEY_BODY.match(text, end, end + _LONGEST_KEY)
    if body is None:
        return None
    size = len(_KEY_SPACE.sub(b"", body[0]))
    if size < 64 or size * 4 <= len(body[0]) * 3 or entropy(body[0]) < 4.0:
        return None
    last = _KEY_END.match(text, body.end())
    return _match("private-key", "high", text, start, last.end() if last is not None else body.end())


def _is_random(value: bytes) -> bool:
    """Whether a value looks drawn at random: long enough, of several kinds of characters, no name of code."""
    if not 10 <= len(value) <= _LONGEST_VALUE or _PLACEHOLDER.search(value) or _CODE.fullmatch(value):
        return False
    has_digit = any(48 <= byte <= 57 for byte in value)
    return has_digit and any(chr(byte).isalpha() for byte in value) and entropy(value) >= 3.0
