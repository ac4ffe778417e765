"""Connections to addresses that come from outside: only to public ones, and to the very address that was checked.

Somebody who may name a URL that we call could else have us call our own machines (SSRF). A name is resolved here, its
addresses are judged, and the connection goes to one of those and is made without asking again: a name that means
something else a moment later gains nothing. What is about to be connected is judged once more, at the socket.

    guard = PublicOnly()
    if why := guard.refuses(url): …              # said of the text of a URL alone: no look-up
    http = Http(connector=guard.connector)       # answers `failed` for a name that leads to a private address;
    if guard.private(url): …                     # then this is true
"""

from __future__ import annotations

import ipaddress
import re
import socket
import threading
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

_GLOBAL_6: Final = ipaddress.ip_network("2000::/3")
"""What IANA has given out as global unicast; everything else of IPv6 is special."""
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_NO_4: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("192.175.48.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
    )
)
# Written out: what Python's own `is_global` knows differs between its releases.
_NO_6: Final = tuple(
    ipaddress.ip_network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)
_MOST_NOTED = 10_000


def is_public(address: str) -> bool:
    """Whether an IP address, as text, is one of the public internet.

    An IPv6 address that stands for one of IPv4 is judged by that one where it is NAT64's (networks without IPv4 reach
    everybody so), and refused otherwise (mapped, compatible, 6to4, Teredo)."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFF_FFFF)))
        return found in _GLOBAL_6 and not any(found in net for net in _NO_6)
    return not any(found in net for net in _NO_4)


_RUNS: Final = frozenset({"javascript", "vbscript", "data", "blob", "file", "content", "intent", "about"})
"""Schemes that run or read something on the device. An app's own are as good as https."""


def opens(url: str) -> bool:
    """Whether a link may be opened by a tap: a URL with a scheme, of the web or an app's own, or none at all."""
    if not url:
        return True
    scheme = re.match(r"([a-z][a-z0-9+.-]*):", url, re.ASCII | re.IGNORECASE)
    plain = not any(c <= " " or "\x7f" <= c <= "\xa0" or c in "\\\u2028\u2029" for c in url)
    return plain and scheme is not None and scheme[1].lower() not in _RUNS


class PrivateAddress(OSError):
    """A name that leads to no public address. The text names neither."""

    def __init__(self) -> None:
        super().__init__("the address is not a public one")


class PublicOnly:
    """Judges URLs, and makes connectors that reach public addresses alone. Threads may share one.

    `allow_private`: every address, and plain http too; for tests and for systems of the house's own network.
    """

    def __init__(self, *, allow_private: bool = False, at_once: int = 100) -> None:
        self._open, self._at_once = allow_private, at_once
        self._noted: set[str] = set()
        self._lock = threading.Lock()

    def refuses(self, url: str) -> str:
        """Why a URL is not called, in a word: scheme, form, private; "" when nothing in its text speaks against it."""
        if not url.isascii() or any(c <= " " or c in "\\\x7f" for c in url):
            return "form"
        try:
            parts = urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError:
            return "form"
        if parts.scheme != "https" and not (self._open and parts.scheme == "http"):
            return "scheme"
        if not host or "%" in host or port == 0 or parts.username is not None or parts.password is not None:
            return "form"
        return "" if self._open else _private(parts, host)

    def private(self, url: str) -> bool:
        """Whether its name was last found to lead to no public address."""
        host = urlsplit(url).hostname or ""
        with self._lock:
            return host.rstrip(".") in self._noted

    def connector(self) -> aiohttp.BaseConnector:
        """On the loop it is for. Nothing of a look-up is kept: what is checked is what is connected."""
        if self._open:
            return aiohttp.TCPConnector(limit=self._at_once)
        return aiohttp.TCPConnector(
            limit=self._at_once,
            resolver=_Resolver(self._note),
            use_dns_cache=False,
            socket_factory=_socket,
        )

    def _note(self, host: str, private: bool) -> None:
        with self._lock:
            if not private:
                self._noted.discard(host.rstrip("."))
            elif len(self._noted) < _MOST_NOTED:
                self._noted.add(host.rstrip(".").lower())


def _private(parts: SplitResult, host: str) -> str:
    name = host.rstrip(".")
    if name == "localhost" or name.endswith((".localhost", ".local", ".internal", ".home.arpa")):
        return "private"
    if ":" in name:
        return "" if is_public(name) else "private"
    if _is_number(name):
        # Only four decimal parts are an address for everybody; 0x7f.1, 2130706433 and 0177.0.0.1 are for some.
        try:
            ipaddress.IPv4Address(name)
        except ValueError:
            return "form"
        return "" if is_public(name) else "private"
    return "" if "." in name else "private"  # a bare name is one of our own network


def _is_number(name: str) -> bool:
    last = name.rpartition(".")[2]
    return last.isdigit() or last[:2].lower() == "0x"


class _Resolver(AbstractResolver):
    """The system's, without the addresses that are not public."""

    def __init__(self, note: Callable[[str, bool], None]) -> None:
        self._note = note
        self._system = aiohttp.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._system.resolve(host, port, family)
        public = [result for result in found if is_public(result["host"])]
        self._note(host, not public and bool(found))
        if not public:
            raise PrivateAddress
        return public

    async def close(self) -> None:
        await self._system.close()


def _socket(info: tuple[Any, ...]) -> socket.socket:
    """The last look, whatever way an address came: aiohttp asks no resolver for one that is written out."""
    family, kind, protocol, _, address = info
    if not is_public(str(address[0])):
        raise PrivateAddress
    return socket.socket(family, kind, protocol)
