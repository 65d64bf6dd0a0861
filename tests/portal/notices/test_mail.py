"""Mail over real servers that are named: the address is checked, and the certificate is that of the name."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import pytest
from aiosmtpd.smtp import SMTP

from portal.egress import NameResolver, resolving_by
from portal.notices import MailFailed, Message, Smtp
from tests.certificates import server_named
from tests.portal.egress.name_server import NameServer, name_server

pytestmark = pytest.mark.anyio
LETTER = Message("ada@example.com", "Hello", "A letter.")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Post:
    """Keeps who letters are for, and whether they came encrypted."""

    def __init__(self) -> None:
        self.letters: list[tuple[list[str], bool]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        encrypted = session.ssl is not None or server.transport.get_extra_info("sslcontext") is not None
        self.letters.append((envelope.rcpt_tos, encrypted))
        return "250 OK"


@pytest.fixture
async def names() -> AsyncIterator[NameServer]:
    with name_server() as server, resolving_by(NameResolver([server.address])):
        server.addresses |= {"mail.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]}
        yield server


@pytest.fixture
def tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ssl.SSLContext:
    """What a server shows that is `mail.example`; this process trusts it."""
    pem = tmp_path / "mail.pem"
    context = server_named("mail.example", pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(pem))
    return context


@pytest.mark.parametrize("security", ["none", "starttls", "tls"])
async def test_a_letter_reaches_a_server_by_its_name(
    names: NameServer, tls: ssl.SSLContext, security: Literal["none", "starttls", "tls"]
) -> None:
    post = Post()
    context = tls if security == "starttls" else None
    server = await asyncio.get_running_loop().create_server(
        lambda: SMTP(post, tls_context=context), "127.0.0.1", 0, ssl=tls if security == "tls" else None
    )
    async with server:
        port = server.sockets[0].getsockname()[1]
        mail = Smtp(host="mail.example", port=port, sender="portal@example.com", security=security)
        await mail.send(LETTER)
        assert post.letters == [([LETTER.to], security != "none")]
        if security != "none":
            # The same server, under a name that its certificate does not have.
            another = Smtp(host="other.example", port=port, sender="portal@example.com", security=security)
            with pytest.raises(MailFailed, match="SSLCertVerificationError"):
                await another.send(LETTER)
        assert len(post.letters) == 1


@pytest.mark.parametrize("host", ["169.254.169.254", "cloud.example"])
async def test_no_letter_goes_to_an_address_no_service_may_have(names: NameServer, host: str) -> None:
    names.addresses["cloud.example"] = ["169.254.169.254"]
    with pytest.raises(MailFailed, match="AddressRefused"):
        await Smtp(host=host, sender="portal@example.com").send(LETTER)
