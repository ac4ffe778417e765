"""A mail relay of the test's own (aiosmtpd on the loopback): keeps what it takes, and answers as it is told."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Self

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

GONE = "gone"  # in place of a reply: the line breaks
HANGS = "hangs"  # in place of a reply: none for a time that nobody should wait


@dataclass
class Relay:
    """`at_rcpt`, `at_data`: replies by recipient, in place of 250. `taken`: (recipient, message as parsed)."""

    at_rcpt: dict[str, str] = field(default_factory=dict)
    at_data: dict[str, str] = field(default_factory=dict)
    certificate: tuple[Path, Path] | None = None
    login: tuple[str, str] | None = None
    smtputf8: bool = True
    taken: list[tuple[str, EmailMessage]] = field(default_factory=list)
    sessions: int = 0
    outwaited: bool = False  # whether anybody waited till the end of HANGS
    port: int = 0

    def __enter__(self) -> Self:
        context = None
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.certificate)
        relay = self

        class Server(SMTP):
            def connection_made(self, transport: Any) -> None:
                relay.sessions += 1
                super().connection_made(transport)

        class Listening(Controller):
            def factory(self) -> SMTP:
                return Server(
                    self.handler,
                    tls_context=context,
                    require_starttls=context is not None,
                    authenticator=relay._allowed if relay.login else None,
                    auth_required=relay.login is not None,
                    enable_SMTPUTF8=relay.smtputf8,
                    timeout=30,
                )

            def _trigger_server(self) -> None:
                listening: Any = self.server  # asked for port 0: any that is free
                self.port = listening.sockets[0].getsockname()[1]
                super()._trigger_server()

        self._controller = Listening(self, hostname="127.0.0.1", port=0, ready_timeout=10)
        self._controller.start()
        self.port = int(self._controller.port)
        self.sessions = 0
        return self

    def __exit__(self, *_: object) -> None:
        self._controller.stop(no_assert=True)

    def _allowed(self, server: Any, session: Any, envelope: Any, mechanism: str, auth: LoginPassword) -> AuthResult:
        return AuthResult(success=(auth.login.decode(), auth.password.decode()) == self.login)

    async def handle_RCPT(self, server: SMTP, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        reply = self.at_rcpt.get(address)
        if reply is not None and not await self._odd(server, reply):
            return reply
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        to = envelope.rcpt_tos[0]
        reply = self.at_data.get(to, "250 2.0.0 Ok: queued as 4XyZ")
        if reply.startswith("250") or reply in (GONE, HANGS):
            parsed = message_from_bytes(envelope.original_content, policy=policy.default)
            assert isinstance(parsed, EmailMessage)
            self.taken.append((to, parsed))
        await self._odd(server, reply)
        return reply

    async def _odd(self, server: SMTP, reply: str) -> bool:
        if reply == GONE:
            transport: Any = server.transport
            transport.abort()
        elif reply == HANGS:
            await asyncio.sleep(15)
            self.outwaited = True  # whoever has hung up has ended this by then
        return reply in (GONE, HANGS)


def certificate(folder: Path, host: str = "127.0.0.1") -> tuple[Path, Path]:
    """A certificate and its key for the loopback, signed by itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "relay")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(host))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    one, other = folder / "relay.crt", folder / "relay.key"
    one.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    other.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return one, other
