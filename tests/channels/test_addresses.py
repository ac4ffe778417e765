"""Addresses that come from outside: which are called, and that the one checked is the one connected to."""

import asyncio
import ipaddress
import socket
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from channels._addresses import PublicOnly, is_public
from channels._http import Http, Request
from channels.base import Unavailable
from tests.vendors.server import Reply, Vendor

PUBLIC = [
    *("8.8.8.8", "1.1.1.1", "93.184.216.34", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0"),
    *("169.253.1.1", "192.167.1.1", "198.17.255.255", "198.20.0.0", "223.255.255.255", "11.0.0.1", "126.1.1.1"),
    *("2606:4700:4700::1111", "2a00:1450:4001:81b::200e", "2003:1::1", "64:ff9b::8.8.8.8"),
]
PRIVATE = [
    # this host and this network
    *("0.0.0.0", "0.1.2.3", "127.0.0.1", "127.255.255.254", "::", "::1"),
    # private, shared, link-local (and the clouds' metadata), benchmarks
    *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "100.64.0.1", "100.127.255.255", "169.254.169.254"),
    *("198.18.0.1", "198.19.255.255", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "fec0::1"),
    # for papers and protocols
    *("192.0.0.1", "192.0.0.170", "192.0.2.1", "198.51.100.7", "203.0.113.9", "192.88.99.1", "2001:db8::1", "3fff::1"),
    # multicast, reserved, broadcast
    *("224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255", "ff02::1", "ff0e::1", "100::1", "5f00::1"),
    # IPv4 in IPv6: mapped, compatible, translated, 6to4, Teredo, NAT64 of a private address, local NAT64
    *("::ffff:127.0.0.1", "::ffff:8.8.8.8", "::127.0.0.1", "::ffff:0:127.0.0.1", "2002:7f00:1::", "2002:808:808::1"),
    *("2001::1", "2001:0:4136:e378:8000:63bf:3fff:fdd2", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1"),
    # no address
    *("", "localhost", "2130706433", "127.1", "0x7f.0.0.1"),
]


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address(address):
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_no_public_address(address):
    assert not is_public(address)


@given(st.ip_addresses())
def test_what_python_calls_special_is_never_public(address):
    v4 = isinstance(address, ipaddress.IPv6Address) and address in ipaddress.ip_network("64:ff9b::/96")
    if not address.is_global or address.is_multicast or address.is_reserved:
        assert v4 or not is_public(str(address))


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://push.example.com/a?b=c", ""),
        ("https://push.example.com:8443/a", ""),
        ("https://8.8.8.8/", ""),
        ("https://[2606:4700:4700::1111]/", ""),
        ("http://push.example.com/", "scheme"),
        ("file:///etc/passwd", "scheme"),
        ("gopher://push.example.com/", "scheme"),
        ("//push.example.com/", "scheme"),
        ("", "scheme"),
        ("https:///a", "form"),
        ("https://user@push.example.com/", "form"),
        ("https://push.example.com@10.0.0.1/", "form"),
        ("https://push.example.com:0/", "form"),
        ("https://push.example.com:99999/", "form"),
        ("https://push.example.com\\@10.0.0.1/", "form"),
        ("https://push.example.com/\r\nX: y", "form"),
        ("https://püsh.example.com/", "form"),
        ("https://127。0。0。1/", "form"),
        ("https://[fe80::1%25eth0]/", "form"),
        ("https://[::1", "form"),
        ("https://2130706433/", "form"),
        ("https://127.1/", "form"),
        ("https://0x7f.0.0.1/", "form"),
        ("https://0x7f000001/", "form"),
        ("https://0177.0.0.1/", "form"),
        ("https://127.0.0.1/", "private"),
        ("https://127.0.0.1./", "private"),
        ("https://169.254.169.254/latest/meta-data", "private"),
        ("https://[::1]/", "private"),
        ("https://[::ffff:127.0.0.1]/", "private"),
        ("https://localhost/", "private"),
        ("https://LOCALHOST./", "private"),
        ("https://a.localhost/", "private"),
        ("https://metadata.google.internal/", "private"),
        ("https://intranet/", "private"),
    ],
)
def test_what_the_text_of_a_url_says(url, why):
    assert PublicOnly().refuses(url) == why


def test_where_private_addresses_are_allowed():
    guard = PublicOnly(allow_private=True)
    assert guard.refuses("http://127.0.0.1:8400/hook") == "" and guard.refuses("https://crm/hook") == ""
    assert guard.refuses("ftp://crm/") == "scheme" and guard.refuses("http://a:b@crm/") == "form"


# ---- connecting -----------------------------------------------------------------------------------------------------


def names(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> list[str]:
    """What every name means, look-up by look-up; the last answer stays."""
    asked: list[str] = []

    async def resolve(self: Any, host: str, port: int = 0, family: Any = socket.AF_INET) -> list[Any]:
        found = answers[min(len(asked), len(answers) - 1)]
        asked.append(host)
        return [
            {"hostname": host, "host": ip, "port": port, "family": socket.AF_INET, "proto": 0, "flags": 0}
            for ip in found
        ]

    monkeypatch.setattr(aiohttp.ThreadedResolver, "resolve", resolve)
    return asked


def ask(guard: PublicOnly, url: str) -> Any:
    http = Http(connector=guard.connector, total_seconds=3.0, connect_seconds=0.2)
    try:
        return http.one(Request(0, "GET", url))
    finally:
        http.close()


@pytest.mark.parametrize("ip", ["127.0.0.1", "10.0.0.1", "169.254.169.254"])
def test_a_name_that_leads_to_a_private_address_is_not_called(monkeypatch, ip):
    names(monkeypatch, [ip])
    guard = PublicOnly()
    with Vendor(lambda asked: Reply(200)) as vendor:
        port = vendor.url.rpartition(":")[2]
        answer = ask(guard, f"http://push.example.com:{port}/")
        assert vendor.asked == []
    assert type(answer.failed) is Unavailable and guard.private("https://push.example.com/")
    assert "example" not in str(answer.failed) and ip not in str(answer.failed)


def test_a_name_that_means_another_address_a_moment_later_gains_nothing(monkeypatch):
    """DNS rebinding: public at the check, ours at the connection. There is one look-up, and what it said is used."""
    asked = names(monkeypatch, ["203.0.114.1"], ["127.0.0.1"])
    connected: list[Any] = []

    async def connect(self: Any, sock: socket.socket, address: Any) -> None:
        connected.append(address[0])
        raise ConnectionRefusedError

    monkeypatch.setattr(asyncio.SelectorEventLoop, "sock_connect", connect)
    guard = PublicOnly()
    ask(guard, "http://rebind.example.com/")
    assert asked == ["rebind.example.com"] and connected == ["203.0.114.1"]
    ask(guard, "http://rebind.example.com/")
    assert len(asked) == 2 and connected == ["203.0.114.1"], "asked anew, and refused"
    assert guard.private("http://rebind.example.com/")


def test_of_several_addresses_only_the_public_are_used(monkeypatch):
    names(monkeypatch, ["127.0.0.1", "203.0.114.1", "10.0.0.1"])
    resolver: Any = None

    async def look() -> list[str]:
        nonlocal resolver
        connector: Any = PublicOnly().connector()
        try:
            return [found["host"] for found in await connector._resolve_host("push.example.com", 443)]
        finally:
            await connector.close()

    assert asyncio.run(look()) == ["203.0.114.1"]


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_an_address_that_is_written_out_is_judged_at_the_socket(host):
    with Vendor(lambda asked: Reply(200)) as vendor:
        port = vendor.url.rpartition(":")[2]
        assert type(ask(PublicOnly(), f"http://{host}:{port}/").failed) is Unavailable
        assert vendor.asked == []


def test_a_redirect_leads_nowhere():
    with Vendor(lambda asked: Reply(302, {"Location": "http://169.254.169.254/"})) as vendor:
        assert ask(PublicOnly(allow_private=True), vendor.url).status == 302
        assert len(vendor.asked) == 1
