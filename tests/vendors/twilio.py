"""A Twilio of the test's own: takes messages, refuses as the vendor does, lists them, and reports on them, signed.

with Twilio() as twilio:
    account = twilio.account()              # an account with its token, and its own messages
    twilio.url                              # for `base_url`
    account.messages                        # what it took, as the API shows it
    account.reports("delivered")            # (url, headers, body) of the callbacks, as they would be posted
"""

from __future__ import annotations

import itertools
import json
import re
import secrets
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Self
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

from twilio.request_validator import RequestValidator

from channels.base import Inbound
from tests.vendors import published
from tests.vendors.server import Asked, Reply, Vendor

MAGIC = {
    # Twilio's own magic numbers for test credentials, and what they are refused with.
    "+15005550001": 21211,
    "+15005550002": 21612,
    "+15005550003": 21408,
    "+15005550004": 21610,
    "+15005550009": 21614,
}
HTTP = {20003: 401, 20404: 404, 20429: 429}
_PATH = re.compile(r"/2010-04-01/Accounts/(AC[0-9a-f]{32})/Messages\.json")


def sid(kind: str) -> str:
    return kind + secrets.token_hex(16)


@dataclass
class Account:
    """One customer of the vendor's. `refuses`: numbers, and the codes that they are refused with."""

    sid: str = field(default_factory=lambda: sid("AC"))
    token: str = field(default_factory=lambda: secrets.token_hex(16))
    keys: dict[str, str] = field(default_factory=dict)
    messages: list[dict[str, Any]] = field(default_factory=list)
    callbacks: dict[str, str] = field(default_factory=dict)  # message sid → StatusCallback
    forms: list[dict[str, str]] = field(default_factory=list)
    refuses: dict[str, int] = field(default_factory=lambda: dict(MAGIC))
    smart: bool = False
    now: datetime | None = None  # what it dates messages with; None: the machine's clock

    def attempts(self) -> list[str]:
        return [parse_qs(urlsplit(self.callbacks[m["sid"]]).query)["attempt"][0] for m in self.messages]

    def sign(self, url: str, form: Sequence[tuple[str, str]] | str, token: str | None = None) -> str:
        params = {} if isinstance(form, str) else dict(form)
        made: str = RequestValidator(token or self.token).compute_signature(url, params)
        return made

    def posted(self, url: str, form: Iterable[tuple[str, str]], token: str | None = None) -> Inbound:
        """A webhook as Twilio makes it."""
        pairs = list(form)
        headers = {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "I-Twilio-Idempotency-Token": secrets.token_hex(8),
            "X-Twilio-Signature": self.sign(url, pairs, token),
        }
        return Inbound(urlencode(pairs).encode(), headers, url)

    def report(self, message: Mapping[str, Any], status: str, code: int = 0, **more: str) -> Inbound:
        form = {
            "AccountSid": self.sid,
            "ApiVersion": "2010-04-01",
            "From": "+15005550006",
            "MessageSid": message["sid"],
            "MessageStatus": status,
            "SmsSid": message["sid"],
            "SmsStatus": status,
            "To": message["to"],
            **({"ErrorCode": str(code)} if code else {}),
            **more,
        }
        return self.posted(self.callbacks[message["sid"]], form.items())

    def text(self, url: str, sender: str, body: str, meaning: str = "", **more: str) -> Inbound:
        """What somebody texts to our number."""
        message: str = sid("SM")
        form = {
            "ToCountry": "US",
            "ToState": "",
            "SmsMessageSid": message,
            "NumMedia": "0",
            "ToCity": "",
            "SmsSid": message,
            "SmsStatus": "received",
            "Body": body,
            "To": "+15005550006",
            "NumSegments": "1",
            "MessageSid": message,
            "AccountSid": self.sid,
            "From": sender,
            "ApiVersion": "2010-04-01",
            **({"OptOutType": meaning} if meaning else {}),
            **more,
        }
        return self.posted(url, form.items())


class Twilio:
    """Any number of accounts behind one address."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.server = Vendor(self._answer)
        self.url = self.server.url
        self._count = itertools.count()

    def __enter__(self) -> Self:
        self.server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.server.__exit__(*error)

    def account(self, **more: Any) -> Account:
        made = Account(**more)
        self.accounts[made.sid] = made
        return made

    def _answer(self, asked: Asked) -> Reply:
        parts = urlsplit(asked.path)
        found = _PATH.fullmatch(unquote(parts.path))
        account = self.accounts.get(found[1]) if found else None
        if account is None:
            return error(20404, "The requested resource was not found")
        users = {account.sid: account.token, **account.keys}
        good = {"Basic " + b64encode(f"{user}:{key}".encode()).decode() for user, key in users.items()}
        if asked.headers.get("authorization") not in good:
            return error(20003, "Authenticate")
        if asked.method == "POST":
            return self._take(account, asked)
        return _listed(account, parts.path, dict(parse_qsl(parts.query)))

    def _take(self, account: Account, asked: Asked) -> Reply:
        assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
        form = dict(parse_qsl(asked.body.decode("ascii"), keep_blank_values=True, strict_parsing=True))
        account.forms.append(form)
        published.twilio(form)
        code = refusal(form) or account.refuses.get(form.get("To", ""), 0)
        if code:
            return error(code, f"Unable to create record: something about {form.get('To')}")
        made = datetime.now(UTC) if account.now is None else account.now
        body = form["Body"].replace("’", "'").replace("“", '"') if account.smart else form["Body"]
        message: dict[str, Any] = {
            "account_sid": account.sid,
            "api_version": "2010-04-01",
            "body": body,
            "date_created": format_datetime(made),
            "date_sent": None,
            "date_updated": format_datetime(made),
            "direction": "outbound-api",
            "error_code": None,
            "error_message": None,
            "from": form.get("From"),
            "messaging_service_sid": form.get("MessagingServiceSid"),
            "num_media": "0",
            "num_segments": "0" if "MessagingServiceSid" in form else "1",
            "price": None,
            "price_unit": None,
            "sid": sid("SM"),
            "status": "accepted" if "MessagingServiceSid" in form else "queued",
            "subresource_uris": {},
            "to": form["To"],
            "uri": "",
        }
        message["uri"] = f"/2010-04-01/Accounts/{account.sid}/Messages/{message['sid']}.json"
        account.messages.append(message)
        if "StatusCallback" in form:
            account.callbacks[str(message["sid"])] = form["StatusCallback"]
        return Reply(201, {"Content-Type": "application/json"}, json.dumps(message).encode())


def refusal(form: Mapping[str, str]) -> int:
    """The code that a request's own mistakes are refused with."""
    period = form.get("ValidityPeriod", "36000")
    callback = urlsplit(form.get("StatusCallback", "https://example.com/"))
    checks = {
        21604: not form.get("To"),
        21211: not re.fullmatch(r"\+[1-9]\d{6,14}", form.get("To", "")),
        21603: not (form.get("From") or form.get("MessagingServiceSid")),
        21602: not form.get("Body"),
        21617: len(form.get("Body", "")) > 1600,
        21609: callback.scheme not in ("http", "https") or not callback.hostname or "_" in callback.hostname,
        21612: not period.isdigit() or not 1 <= int(period) <= 36_000,
    }
    return next((code for code, wrong in checks.items() if wrong), 0)


def error(code: int, message: str, **headers: str) -> Reply:
    """A refusal as the API makes it: it repeats what was asked."""
    status = HTTP.get(code, 400)
    said = {"code": code, "message": message, "more_info": f"https://www.twilio.com/docs/errors/{code}"}
    body = json.dumps({**said, "status": status}).encode()
    return Reply(status, {"Content-Type": "application/json", **headers}, body, taken=False)


def _listed(account: Account, path: str, query: Mapping[str, str]) -> Reply:
    assert query.keys() <= {"To", "From", "DateSent", "DateSent<", "DateSent>", "PageSize", "Page", "PageToken"}
    rows = [m for m in reversed(account.messages) if query.get("To") in (None, m["to"])]
    if any(name.startswith("DateSent") for name in query):
        rows = [m for m in rows if m["date_sent"]]
    size, page = int(query.get("PageSize", 50)), int(query.get("Page", 0))
    shown = rows[page * size : (page + 1) * size]
    kept = {"PageSize": str(size), **{k: v for k, v in query.items() if k in ("To", "From")}}

    def link(number: int) -> str:
        return f"{path}?{urlencode({**kept, 'Page': number, 'PageToken': f'PA{number}'})}"

    more = (page + 1) * size < len(rows)
    said = {
        "first_page_uri": link(0),
        "end": page * size + max(len(shown) - 1, 0),
        "next_page_uri": link(page + 1) if more else None,
        "page": page,
        "page_size": size,
        "previous_page_uri": link(page - 1) if page else None,
        "start": page * size,
        "uri": link(page),
        "messages": shown,
    }
    return Reply(200, {"Content-Type": "application/json"}, json.dumps(said).encode())


def post(inbound: Inbound) -> tuple[int, bytes]:
    """Send a webhook off to where it goes; the status and the body that it was answered with."""
    request = urllib.request.Request(inbound.url, inbound.body, dict(inbound.headers))
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, refused.read()


def earlier(message: dict[str, Any], **span: float) -> None:
    """Make a message one of before."""
    made = datetime.strptime(message["date_created"], "%a, %d %b %Y %H:%M:%S %z")
    message["date_created"] = format_datetime(made - timedelta(**span))
