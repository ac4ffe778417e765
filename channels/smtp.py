"""E-mail through any SMTP relay (RFC 5321), with the same content as every other provider of e-mail.

A relay answers for what it takes, and tells nothing later: bounces come as mail to the return path. So this channel
reports nothing, and a journey that waits for a delivery takes silence for one (`check` says so).
"""

from __future__ import annotations

import hashlib
import hmac
import queue
import re
import smtplib
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime
from typing import Literal

import idna

from channels._http import only, required
from channels.base import (
    Event,
    EventKind,
    Forged,
    Inbound,
    Medium,
    Misconfigured,
    Outbound,
    Reason,
    Receipt,
    Site,
    Unavailable,
)

_NUMBERS = {"port": (1, 65535), "connections": (1, 50), "timeout": (1, 25)}
_OPTIONS = ("host", "security", "username", "password", "rate", "ca_file", *_NUMBERS)
_SECURITY = {"tls": 465, "starttls": 587, "none": 25}
_BAD = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_LATER = 300.0  # seconds until a message that nobody may sign yet is tried again
_POLICY = SMTP.clone(max_line_length=78)
_UNKNOWN = frozenset({"5.1.1", "5.1.10", "5.2.1", "5.1.6"})  # RFC 3463: no such mailbox, or it is closed
_ADDRESS = frozenset({"5.1.2", "5.1.3"})


def connect(medium: Medium, options: Mapping[str, object], site: Site) -> Smtp:
    """Options: `host`; `port`; `security` "starttls" (default), "tls" or "none" (only to this machine); `username` and
    `password`; `connections`, `rate` (messages a second), `timeout` (seconds), `ca_file`."""
    if medium is not Medium.EMAIL:
        raise Misconfigured(f"smtp carries e-mail, not {medium}")
    only(options, "smtp", _OPTIONS)
    (host,) = required(options, "smtp", "host")
    security = str(options.get("security", "starttls"))
    if security not in _SECURITY:
        raise Misconfigured('smtp: `security` is "starttls", "tls" or "none"')
    if security == "none" and (options.get("username") or host not in ("localhost", "127.0.0.1", "::1")):
        raise Misconfigured("smtp: without TLS only a relay on this machine is spoken to, and without a password")
    if bool(options.get("username")) != bool(options.get("password")):
        raise Misconfigured("smtp needs `username` and `password` together, or neither")
    usual = {"port": _SECURITY[security], "connections": 8, "timeout": 20}
    numbers = {name: _number(name, options.get(name, usual[name]), *_NUMBERS[name]) for name in _NUMBERS}
    rate = options.get("rate")
    return Smtp(
        host,
        int(numbers["port"]),
        security=security,  # type: ignore[arg-type]
        login=(str(options["username"]), str(options["password"])) if options.get("username") else None,
        connections=int(numbers["connections"]),
        rate=None if rate is None else _number("rate", rate, 0.01, 1_000_000),
        timeout=numbers["timeout"],
        ca_file=_certificates(str(options["ca_file"])) if options.get("ca_file") else None,
        clock=site.clock,
        secret=site.secret,
    )


def _certificates(path: str) -> str:
    """Read once when the channel is made, so that a wrong path is told before the first send."""
    try:
        ssl.create_default_context(cafile=path)
    except OSError:  # ssl.SSLError is one
        raise Misconfigured(f"smtp: `ca_file` {path} cannot be read, or holds no certificate (PEM)") from None
    return path


def _number(name: str, value: object, least: float, most: float) -> float:
    try:
        found = float(str(value))
    except ValueError:
        found = -1
    if not least <= found <= most:
        raise Misconfigured(f"smtp: `{name}` is a number from {least:g} to {most:g}")
    return found


class Smtp:
    """A relay. Raises Misconfigured for a refused login or certificate, Unavailable where it cannot be reached."""

    name = "smtp"
    medium = Medium.EMAIL
    resend: Literal["safe", "never"] = "never"
    reports: frozenset[EventKind] = frozenset()

    def __init__(
        self,
        host: str,
        port: int,
        *,
        security: Literal["starttls", "tls", "none"],
        clock: Callable[[], datetime],
        secret: bytes,
        login: tuple[str, str] | None = None,
        connections: int = 8,
        rate: float | None = None,
        timeout: float = 20.0,
        ca_file: str | None = None,
    ) -> None:
        self.batch_size = (
            connections  # all begin at once, right behind the last look: a STOP holds from the next second
        )
        self.rate = rate
        self._host, self._port, self._security, self._login = host, port, security, login
        self._connections, self._timeout, self._ca_file = connections, timeout, ca_file
        self._clock, self._secret = clock, secret
        self._lock = threading.Lock()
        self._idle: list[smtplib.SMTP] = []  # opened, and used by what is sent next

    def ready(self, count: int) -> None:
        """Opens the connections: a greeting, TLS and a login may take longer than a no may be overlooked."""
        with self._lock:
            old, self._idle = self._idle, []
        for relay in old:
            _close(relay)
        wanted = min(self._connections, count)
        if wanted:
            with ThreadPoolExecutor(wanted, "smtp") as pool:
                opened = [relay for relay in pool.map(lambda _: self._tried(), range(wanted)) if relay is not None]
            with self._lock:
                self._idle += opened

    def _tried(self) -> smtplib.SMTP | None:
        try:
            return self._open()
        except (Unavailable, Misconfigured):
            return None

    def _opened(self) -> smtplib.SMTP:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._open()

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        """Each over a connection of its own; receipts as they come."""
        try:
            yield from self._sent(batch)
        finally:
            self.ready(0)

    def _sent(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        waiting: queue.SimpleQueue[tuple[Outbound, bytes]] = queue.SimpleQueue()
        count = 0
        for outbound in batch:
            try:
                waiting.put((outbound, self.written(outbound)))
                count += 1
            except _Unfit as unfit:
                if unfit.reason is Reason.CONFIGURATION:  # ours to mend: the message waits for that
                    yield Receipt(outbound.attempt, "retry", "", unfit.reason, unfit.detail, _LATER)
                    continue
                yield Receipt(outbound.attempt, "rejected", "", unfit.reason, unfit.detail)
        if not count:
            return
        told: queue.SimpleQueue[Receipt | Exception | None] = queue.SimpleQueue()
        stop = threading.Event()
        lines = min(self._connections, count)
        with ThreadPoolExecutor(lines, "smtp") as pool:
            for _ in range(lines):
                pool.submit(self._line, waiting, told, stop)
            broken: Exception | None = None
            try:
                while lines:
                    said = told.get()
                    if isinstance(said, Receipt):
                        yield said
                    elif said is None:
                        lines -= 1
                    else:
                        broken = broken or said
            finally:
                stop.set()
        if broken is not None:
            raise broken

    def events(self, inbound: Inbound) -> list[Event]:
        """Raises Forged: a relay reports nothing, so nothing can have come from it."""
        raise Forged("an SMTP relay reports nothing")

    # ---- one connection

    def _line(
        self,
        waiting: queue.SimpleQueue[tuple[Outbound, bytes]],
        told: queue.SimpleQueue[Receipt | Exception | None],
        stop: threading.Event,
    ) -> None:
        relay: smtplib.SMTP | None = None
        try:
            relay = self._opened()
            while not stop.is_set():
                try:
                    outbound, data = waiting.get_nowait()
                except queue.Empty:
                    break
                receipt, good = _hand_over(relay, outbound, data)
                told.put(receipt)
                if not good:
                    relay.close()
                    relay = self._open()
        except Exception as error:
            stop.set()  # what stands in the queue was never handed over: the batch's error says so
            told.put(error if isinstance(error, Unavailable | Misconfigured) else _cannot(error))
        finally:
            if relay is not None:
                _close(relay)
            told.put(None)

    def _open(self) -> smtplib.SMTP:
        context = ssl.create_default_context(cafile=self._ca_file)
        try:
            if self._security == "tls":
                relay: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, timeout=self._timeout, context=context)
            else:
                relay = smtplib.SMTP(self._host, self._port, timeout=self._timeout)
            if self._security == "starttls":
                relay.starttls(context=context)
            relay.ehlo_or_helo_if_needed()
            if self._login is not None:
                self._log_in(relay, *self._login)
        except (OSError, smtplib.SMTPException) as error:
            raise _cannot(error) from None
        return relay

    def _log_in(self, relay: smtplib.SMTP, username: str, password: str) -> None:
        try:
            relay.login(username, password)
        except smtplib.SMTPServerDisconnected:  # some hang up instead of saying no to the last way of logging in
            raise Misconfigured("the relay hangs up at the login: check `username` and `password`") from None

    # ---- one message

    def written(self, outbound: Outbound) -> bytes:
        """The message as it goes over the wire. Raises _Unfit."""
        sender, to = outbound.sender, outbound.to
        subject = outbound.part("subject")
        named = (subject, *sender.values(), *to.values(), *outbound.headers.keys(), *outbound.headers.values())
        if any(_BAD.search(text) for text in named):
            raise _Unfit(Reason.CONTENT, "a line break or a control character in a header")
        if not to.get("address"):
            raise _Unfit(Reason.INVALID_ADDRESS, "no address")
        if not sender.get("address"):
            raise _Unfit(Reason.CONFIGURATION, "no sender's address")
        wide = not all(_wire(text).isascii() for text in (sender["address"], to["address"]))
        message = EmailMessage(SMTPUTF8 if wide else _POLICY)
        message["From"] = _address(sender.get("name", ""), sender["address"])
        message["To"] = _address(to.get("name", ""), to["address"])
        if sender.get("reply_to"):
            message["Reply-To"] = _address("", sender["reply_to"])
        message["Subject"] = subject
        message["Date"] = format_datetime(self._clock())
        mark = hmac.digest(self._secret, outbound.attempt.encode(), hashlib.sha256)[:10].hex()
        message["Message-ID"] = f"<{outbound.attempt}.{mark}@{sender['address'].rpartition('@')[2]}>"
        for name, value in outbound.headers.items():
            message[name] = value
        self._body(message, outbound)
        try:
            return message.as_bytes(policy=message.policy.clone(cte_type="7bit"))
        except (ValueError, UnicodeError):
            raise _Unfit(Reason.CONTENT, "the text cannot be encoded") from None

    def _body(self, message: EmailMessage, outbound: Outbound) -> None:
        text, html = outbound.part("text"), outbound.part("html")
        message.set_content(text or "\n")
        if html:
            message.add_alternative(html, subtype="html")
        for attachment in outbound.attachments:
            content = outbound.part(attachment.part).encode() if attachment.part else attachment.content
            kind, _, parameters = attachment.type.partition(";")
            main, _, sub = kind.strip().partition("/")
            extra = dict(p.strip().partition("=")[::2] for p in parameters.split(";") if "=" in p)
            message.add_attachment(content, main, sub or "octet-stream", filename=attachment.name, params=extra)


def _wire(address: str) -> str:
    """An address with its domain as the wire has it (IDNA 2008), so that only its local part may need SMTPUTF8."""
    local, _, domain = address.rpartition("@")
    try:
        return address if domain.isascii() else f"{local}@{idna.encode(domain, uts46=True).decode()}"
    except idna.IDNAError:
        return address


def _address(name: str, address: str) -> Address:
    local, _, domain = _wire(address).rpartition("@")
    if not local or not domain or " " in address or any(c in local + domain for c in '<>(),;:\\"@'):
        raise _Unfit(Reason.INVALID_ADDRESS, "not an address that a header can hold")
    return Address(name, local, domain)


class _Unfit(Exception):
    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


def _hand_over(relay: smtplib.SMTP, outbound: Outbound, data: bytes) -> tuple[Receipt, bool]:
    """One transaction, and whether the connection is still good. Before the end of DATA nothing was taken (RFC 5321
    4.1.1.4); from there until the answer nobody can know."""
    attempt = outbound.attempt
    try:
        # A sender or recipient beyond ASCII needs SMTPUTF8 (RFC 6531); smtplib would raise in the middle otherwise.
        sender, to = _wire(outbound.sender["address"]), _wire(outbound.to["address"])
        wide = not (sender.isascii() and to.isascii())
        if wide and not relay.has_extn("smtputf8"):
            return Receipt(
                attempt, "rejected", "", Reason.INVALID_ADDRESS, "the relay takes no address beyond ASCII"
            ), True
        if wide:
            relay.command_encoding = "utf-8"
        code, said = relay.mail(sender, ["SMTPUTF8"] if wide else [])
        if code != 250:
            relay.rset()
            return _refused(attempt, code, said, of_address=False), True
        code, said = relay.rcpt(to)
        if code not in (250, 251):
            relay.rset()
            return _refused(attempt, code, said, of_address=True), True
        code, said = relay.docmd("data")
        if code != 354:
            relay.rset()
            return _refused(attempt, code, said, of_address=False), True
    except (OSError, smtplib.SMTPException):
        return Receipt(attempt, "retry", detail="unavailable"), False
    try:
        relay.send(_dotted(data))
        code, said = relay.getreply()
    except (OSError, smtplib.SMTPException):
        return Receipt(attempt, "uncertain", reason=Reason.TIMEOUT), False
    if code == 250:
        # What the relay calls it may be the same twice; with the attempt it is one of a kind.
        queued = re.sub(r"[^\w.@<>+=/-]", " ", said.decode("ascii", "replace")).split()
        return Receipt(attempt, "accepted", f"{attempt}/{queued[-1][:60]}" if queued else attempt), True
    return _refused(attempt, code, said, of_address=False), True


def _dotted(data: bytes) -> bytes:
    """With dots doubled at the beginning of lines, and the end (RFC 5321 4.5.2)."""
    lines = re.sub(rb"\r\n|\r|\n", b"\r\n", data)
    lines = re.sub(rb"(?m)^\.", b"..", lines)
    return lines + (b".\r\n" if lines.endswith(b"\r\n") else b"\r\n.\r\n")


def _refused(attempt: str, code: int, said: bytes, *, of_address: bool) -> Receipt:
    """A reply code, and the enhanced one of RFC 3463. The text is not kept: relays repeat the address in it."""
    enhanced = re.match(rb"[245]\.\d{1,3}\.\d{1,3}", said)
    status = enhanced[0].decode() if enhanced else ""
    detail = f"{code} {status}".strip()
    if code < 500:
        return Receipt(attempt, "retry", "", Reason.RATE if code in (421, 450, 451, 452) else None, detail)
    if status in _ADDRESS or code == 553:
        return Receipt(attempt, "rejected", "", Reason.INVALID_ADDRESS, detail)
    # Without an enhanced code a 550 to RCPT may as well be about us (a blocklist, no authentication): the address is
    # not given up for that.
    if of_address and status in _UNKNOWN:
        return Receipt(attempt, "rejected", "", Reason.UNKNOWN_ADDRESS, detail)
    if code == 552 or status in ("5.3.4", "5.2.3"):
        return Receipt(attempt, "rejected", "", Reason.TOO_LARGE, detail)
    if status.startswith("5.7.") or code in (530, 535):
        return Receipt(attempt, "rejected", "", Reason.CONFIGURATION, detail)
    return Receipt(attempt, "rejected", "", Reason.PROVIDER if of_address else Reason.CONTENT, detail)


def _cannot(error: Exception) -> Unavailable | Misconfigured:
    """Why no connection came about: nothing was handed over. The relay's own words are not repeated."""
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return Misconfigured(f"the relay refuses the login ({error.smtp_code}): check `username` and `password`")
    if isinstance(error, ssl.SSLCertVerificationError):
        return Misconfigured("the relay's certificate is not valid for its name: check `host`, or name its `ca_file`")
    if isinstance(error, smtplib.SMTPNotSupportedError):
        return Misconfigured("the relay does not offer what `security` or `username` asks for")
    return Unavailable(f"the relay cannot be spoken to ({type(error).__name__})")


def _close(relay: smtplib.SMTP) -> None:
    try:
        relay.quit()
    except (OSError, smtplib.SMTPException):
        relay.close()
