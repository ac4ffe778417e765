"""Texts through Twilio, both ways: messages out, their fate and what people text back in.

One request a message, all of a batch under way together: `deliver` looks at withdrawals just before the batch, so the
batch is no larger than what leaves at once. The attempt travels in the address that Twilio reports to; its signature
covers that address with its query. A message that may have been taken is never handed over again by this module.

Settings: `account_sid`, `auth_token` (also the key under every signature; while it is being changed, the other one is
`old_auth_token`), `api_key_sid` and `api_key_secret` to send with a key in place of the token, `messaging_service_sid`
or `from`, `smart_encoding`, `rate`, `concurrency`, `timeout` and `trace_after` (seconds), `base_url`.
"""

from __future__ import annotations

import json
import re
import unicodedata
from base64 import b64encode
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, Literal
from urllib.parse import parse_qs, parse_qsl, quote, urlencode, urlsplit

from twilio.request_validator import RequestValidator

from channels._http import Answer, Http, Request, only, required, retry_after
from channels.base import (
    ChannelError,
    Event,
    EventKind,
    Forged,
    Handed,
    Inbound,
    Medium,
    Misconfigured,
    Outbound,
    Reason,
    Receipt,
    Site,
    Unavailable,
)

_SETTINGS = (
    "account_sid",
    "api_key_secret",
    "api_key_sid",
    "auth_token",
    "base_url",
    "concurrency",
    "from",
    "messaging_service_sid",
    "old_auth_token",
    "rate",
    "smart_encoding",
    "timeout",
    "trace_after",
)
_E164 = re.compile(r"\+[1-9]\d{6,14}", re.ASCII)
_UNSEEN = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\u202a-\u202e]")
_SENDER = re.compile(r"\+[1-9]\d{6,14}|\d{3,8}|(?=.*[A-Za-z])[A-Za-z0-9 _&+-]{1,11}", re.ASCII)
_SID = re.compile(r"[A-Za-z]{2}[0-9a-fA-F]{32}", re.ASCII)
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
_LONGEST: Final = 1600  # characters of a body
_QUEUED: Final = 36_000  # seconds that Twilio keeps a message in its queue at most
_BRIEFEST: Final = 5  # seconds; Twilio advises against a validity that is not longer

_Row = Mapping[str, Any]

# ---- what Twilio's numbers mean -------------------------------------------------------------------------------------

_REFUSED: Mapping[int, Reason] = {
    21610: Reason.OPTED_OUT,
    21211: Reason.INVALID_ADDRESS,
    21214: Reason.INVALID_ADDRESS,
    21217: Reason.INVALID_ADDRESS,
    21265: Reason.INVALID_ADDRESS,  # a short code
    21268: Reason.INVALID_ADDRESS,  # a premium number
    21604: Reason.INVALID_ADDRESS,
    21614: Reason.INVALID_ADDRESS,
    21635: Reason.INVALID_ADDRESS,  # a landline
    21602: Reason.CONTENT,
    21619: Reason.CONTENT,
    30004: Reason.CONTENT,
    30007: Reason.CONTENT,
    21605: Reason.TOO_LARGE,
    21617: Reason.TOO_LARGE,
    # Of one country, or of one number: the rest of the channel works, so they stop nothing, and are listed.
    21408: Reason.CONFIGURATION,
    21608: Reason.CONFIGURATION,
    21612: Reason.CONFIGURATION,
    21266: Reason.CONFIGURATION,
    30034: Reason.CONFIGURATION,
    # Twilio's own quiet hours: ours should have held the message.
    30610: Reason.CONFIGURATION,
}
"""Refusals of one message."""

_BUSY = frozenset({14107, 20429, 21611})
"""Too many at once: certainly not taken."""

_SENDERS = frozenset({21212, 21267, 21401, 21603, 21606, 21607, 21659, 21660, 21661, 21701, 21702, 21703, 21704, 21705})
"""The sender is wrong: for everybody, or for one country only. 21401 sounds like a recipient's number, and is ours."""

_ACCOUNT = frozenset({10001, 20003, 20004, 20005, 20006, 20008, 21609, 30002})
"""The account, its keys, or the address for callbacks."""

_FATES: Mapping[int, tuple[EventKind, Reason | None]] = {
    30001: (EventKind.FAILED, Reason.RATE),
    30003: (EventKind.SOFT_BOUNCED, None),  # switched off, or out of reach: the number may be good
    30005: (EventKind.BOUNCED, Reason.UNKNOWN_ADDRESS),
    30006: (EventKind.BOUNCED, Reason.INVALID_ADDRESS),  # a landline
    30008: (EventKind.FAILED, Reason.PROVIDER),
    30010: (EventKind.FAILED, Reason.CONFIGURATION),
    30012: (EventKind.EXPIRED, None),
    30022: (EventKind.FAILED, Reason.RATE),
    30023: (EventKind.FAILED, Reason.RATE),
    30024: (EventKind.FAILED, Reason.CONFIGURATION),
    30032: (EventKind.FAILED, Reason.CONFIGURATION),
    30036: (EventKind.EXPIRED, None),  # its ValidityPeriod ended
    30410: (EventKind.FAILED, Reason.TIMEOUT),
    30453: (EventKind.BLOCKED, Reason.CONTENT),
}
"""What an undelivered message's ErrorCode says, beside those that refuse one at once: see `_fate`."""

_STATUSES: Mapping[str, EventKind] = {
    "accepted": EventKind.ACCEPTED,
    "scheduled": EventKind.ACCEPTED,
    "queued": EventKind.ACCEPTED,
    "sending": EventKind.ACCEPTED,
    "sent": EventKind.ACCEPTED,
    "partially_delivered": EventKind.ACCEPTED,
    "delivered": EventKind.DELIVERED,
    "read": EventKind.OPENED,  # RCS: it was on the screen
    "canceled": EventKind.FAILED,
}
_LOST = frozenset({"undelivered", "failed"})
_MEANINGS: Mapping[str, Literal["stop", "start", "help"]] = {"STOP": "stop", "START": "start", "HELP": "help"}


# ---- settings -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Account:
    """Who sends, and how."""

    sid: str
    authorization: str = field(repr=False)
    tokens: tuple[str, ...] = field(repr=False)
    sender: tuple[str, str]  # a parameter's name and value
    base_url: str
    smart: bool | None  # None: as the Messaging Service is set
    trace_after: timedelta


def connect(medium: Medium, options: Mapping[str, object], site: Site) -> Twilio:
    """Raises Misconfigured for what is wrong with the settings; asks Twilio nothing."""
    only(options, "twilio", _SETTINGS)
    if medium is not Medium.SMS:
        raise Misconfigured(f"twilio carries texts (sms), not {medium}")
    sid, token = required(options, "twilio", "account_sid", "auth_token")
    _like(sid, "AC", "account_sid")
    user, secret = sid, token
    if "api_key_sid" in options or "api_key_secret" in options:
        user, secret = required(options, "twilio", "api_key_sid", "api_key_secret")
        _like(user, "SK", "api_key_sid")
    tokens = (token, *required(options, "twilio", "old_auth_token")) if "old_auth_token" in options else (token,)
    base_url = _base_url(options)
    if not base_url.startswith("http://") and not _reachable(site.hook):
        raise Misconfigured(
            "twilio reports what becomes of texts, and every STOP, to `web.public_url`: give it the https address "
            "under which the internet reaches this installation, without an underscore in its name"
        )
    account = _Account(
        sid,
        "Basic " + b64encode(f"{user}:{secret}".encode()).decode(),
        tokens,
        _sender(options),
        base_url,
        _flag(options, "smart_encoding"),
        timedelta(seconds=_number(options, "trace_after", 300, 60, 86_400)),
    )
    rate = _number(options, "rate", 0, 0.01, 10_000) or None
    at_once = int(_number(options, "concurrency", 50, 1, 500))
    return Twilio(account, site, rate, at_once, _number(options, "timeout", 20, 1, 25))


def _like(sid: str, kind: str, name: str) -> None:
    if not (_SID.fullmatch(sid) and sid.startswith(kind)):
        raise Misconfigured(f"twilio: `{name}` is {kind} and 32 digits (0-9, a-f), as the console shows it")


def _sender(options: Mapping[str, object]) -> tuple[str, str]:
    if ("messaging_service_sid" in options) == ("from" in options):
        raise Misconfigured("twilio needs one of the settings messaging_service_sid (advised) and from")
    if "from" in options:
        (number,) = required(options, "twilio", "from")
        if not _SENDER.fullmatch(number):
            raise Misconfigured(
                "twilio: `from` is a number as +491511234567, a short code, or a name of up to 11 letters"
            )
        return "From", number
    (service,) = required(options, "twilio", "messaging_service_sid")
    _like(service, "MG", "messaging_service_sid")
    return "MessagingServiceSid", service


def _base_url(options: Mapping[str, object]) -> str:
    (url,) = required({"base_url": "https://api.twilio.com", **options}, "twilio", "base_url")
    parts = urlsplit(url)
    if parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        return url.rstrip("/")
    raise Misconfigured("twilio: `base_url` begins with https://: the account's secret travels there")


def _reachable(hook: str) -> bool:
    parts = urlsplit(hook)
    return parts.scheme == "https" and parts.hostname not in (None, *_LOOPBACK) and "_" not in (parts.hostname or "")


def _flag(options: Mapping[str, object], name: str) -> bool | None:
    value = options.get(name)
    known = {True: True, False: False, "true": True, "false": False, None: None}
    if not isinstance(value, bool | str | None) or value not in known:
        raise Misconfigured(f"twilio: `{name}` is true or false")
    return known[value]


def _number(options: Mapping[str, object], name: str, default: float, least: float, most: float) -> float:
    """From the environment it comes as a text."""
    value = options.get(name, default)
    try:
        number = float(value) if isinstance(value, int | float | str) and not isinstance(value, bool) else -1.0
    except ValueError:
        number = -1.0
    if name in options and not least <= number <= most:
        raise Misconfigured(f"twilio: `{name}` is a number from {least:g} to {most:g}")
    return number


# ---- the channel ----------------------------------------------------------------------------------------------------


class Twilio:
    """Texts by one account and one sender, or one Messaging Service."""

    name = "twilio"
    medium = Medium.SMS
    resend: Literal["safe", "never"] = "never"  # there is no idempotency key for messages (2026-04)
    reports = frozenset(
        {
            EventKind.ACCEPTED,
            EventKind.DELIVERED,
            EventKind.BOUNCED,
            EventKind.SOFT_BOUNCED,
            EventKind.BLOCKED,
            EventKind.FAILED,
            EventKind.EXPIRED,
            EventKind.REPLIED,
        }
    )

    def __init__(self, account: _Account, site: Site, rate: float | None, at_once: int, timeout: float) -> None:
        self.rate = rate
        self.batch_size = at_once  # so that all of a batch leaves within a moment of the last look
        self._account = account
        self._hook = site.hook
        self._clock: Callable[[], datetime] = site.clock
        self._http = Http(at_once=at_once, total_seconds=timeout, connect_seconds=min(timeout, 10))
        self._validators = [RequestValidator(token) for token in account.tokens]
        self._url = f"{account.base_url}/2010-04-01/Accounts/{account.sid}/Messages.json"
        self._headers = {"Authorization": account.authorization, "Accept": "application/json"}

    def close(self) -> None:
        self._http.close()

    # ---- out

    def send(self, batch: Sequence[Outbound]) -> Iterator[Receipt]:
        """All of them at once. Raises Unavailable or Misconfigured behind the receipts of all that were answered."""
        now = self._clock()
        requests: list[Request] = []
        refused: list[Receipt] = []
        for outbound in batch:
            made = self._request(outbound, now)
            if isinstance(made, Receipt):
                refused.append(made)
            else:
                requests.append(made)
        failures: list[ChannelError] = []
        senders: list[tuple[str, int]] = []
        accepted = False
        for answer in self._http.all(requests) if requests else ():
            outcome = _outcome(answer, now)
            if isinstance(outcome, Receipt):
                accepted |= outcome.status == "accepted"
                yield outcome
            elif isinstance(outcome, _BadSender):
                senders.append((answer.key, outcome.code))
            else:
                failures.append(outcome)
        yield from refused
        if senders and accepted:
            # The sender carried others of this very batch: it is wrong for these destinations only, and must not stop
            # the channel for everybody.
            for attempt, code in senders:
                yield Receipt(attempt, "rejected", "", Reason.CONFIGURATION, str(code))
        elif senders:
            said = f"Twilio refuses the sender (code {senders[0][1]}): check `messaging_service_sid` or `from`"
            failures.append(Misconfigured(said))
        if failures:
            raise max(failures, key=_weight)

    def _request(self, outbound: Outbound, now: datetime) -> Request | Receipt:
        attempt, number = outbound.attempt, outbound.to.get("number", "")
        if not _E164.fullmatch(number):
            return Receipt(attempt, "rejected", "", Reason.INVALID_ADDRESS, "no number in E.164")
        body = outbound.part("text") or outbound.part("body")
        if not body.strip():
            return Receipt(attempt, "rejected", "", Reason.CONTENT, "no text")
        if _UNSEEN.search(body):
            return Receipt(attempt, "rejected", "", Reason.CONTENT, "a control character in the text")
        if len(body) > _LONGEST:
            return Receipt(attempt, "rejected", "", Reason.TOO_LARGE, f"longer than {_LONGEST} characters")
        form = {"To": number, self._account.sender[0]: self._account.sender[1], "Body": body}
        if own := outbound.sender.get("number"):
            # A named sender of the settings: of the service's numbers this one, so that its opt-outs hold.
            if not _SENDER.fullmatch(own):
                return Receipt(attempt, "rejected", "", Reason.CONFIGURATION, "the sender's number")
            form["From"] = own
        if self._hook:
            # `at` comes back with every report: see `_at`.
            form["StatusCallback"] = f"{self._hook}?attempt={quote(attempt, safe='')}&at={_millis(now)}"
        if outbound.valid_until is not None:
            left = int((outbound.valid_until - now).total_seconds())
            if left <= _BRIEFEST:
                # It would lie in Twilio's queue when it may not ring any more: judged again, it is held or expires.
                return Receipt(attempt, "retry", detail="hours_over", retry_after=float(max(left, 0) + 1))
            form["ValidityPeriod"] = str(min(_QUEUED, left))
        if self._account.smart is not None:
            form["SmartEncoded"] = "true" if self._account.smart else "false"
        headers = {**self._headers, "Content-Type": "application/x-www-form-urlencoded"}
        return Request(attempt, "POST", self._url, headers, urlencode(form, errors="replace").encode("ascii"))

    # ---- back

    def events(self, inbound: Inbound) -> list[Event]:
        """A report on a message, or a text that somebody sent us; none where it is about neither. Raises Forged."""
        fields = self._verified(inbound)
        status = (fields.first("MessageStatus") or fields.first("SmsStatus")).lower()
        if status in ("received", "receiving") or (not fields.first("MessageStatus") and "Body" in fields):
            return self._texted(fields)
        query = dict(parse_qsl(urlsplit(inbound.url).query))
        attempt, code = query.get("attempt", ""), fields.number("ErrorCode")
        kind, reason = _fate(code) if status in _LOST else (_STATUSES.get(status), None)
        if not attempt or kind is None:
            return []  # of a message that is none of ours, or a status that Twilio has made since
        return [Event(attempt, kind, self._at(query), fields.sid(), reason, detail=str(code) if code else "")]

    def _at(self, query: Mapping[str, str]) -> datetime:
        """When the message was handed over: that is what every report on it is dated.

        Twilio dates no report (RawDlrDoneDate is there for some carriers only, to the minute, in an unknown zone), and
        sends one again when it doubts our answer. Feedback is known again by its attempt, kind and instant, so the
        instant must be the same however often and however late it comes: then a message has one `accepted`, one
        `delivered`. It travels in the address that we gave, under Twilio's signature, so any worker can take it in.
        The log notes beside it when the report arrived.
        """
        text = query.get("at", "")
        if text.isascii() and text.isdigit() and len(text) <= 13:
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=int(text))
        return self._clock()

    def _texted(self, fields: _Form) -> list[Event]:
        channel, _, number = fields.first("From").rpartition(":")
        meaning: Literal["", "stop", "start", "help"] = _MEANINGS.get(fields.first("OptOutType").upper(), "")
        if not _E164.fullmatch(number):
            return []  # a short code, or a sender's name: no customer has it
        if channel not in ("", "rcs") and meaning != "stop":
            # RCS and texts share the number and the opt-out (2026-03-16). A yes by WhatsApp is none to texts; a no is.
            return []
        text = fields.first("Body")
        return [Event("", EventKind.REPLIED, self._clock(), fields.sid(), address=number, text=text, meaning=meaning)]

    def _verified(self, inbound: Inbound) -> _Form:
        """The parameters, when one of our tokens signed them with the address they came to."""
        headers = {name.lower(): value for name, value in inbound.headers.items()}
        signature, kind = headers.get("x-twilio-signature", ""), headers.get("content-type", "")
        if not signature or not inbound.url:
            raise Forged("the request has no signature of Twilio's")
        try:
            if kind.partition(";")[0].strip().lower() == "application/json":
                text = inbound.body.decode("utf-8")
                # Without the body's hash in the address the signature would cover nothing of it.
                hashed = "bodySHA256" in parse_qs(urlsplit(inbound.url).query)
                genuine = hashed and self._signed(inbound.url, text, signature)
                form = _json_form(text) if genuine else _Form(())
            else:
                form = _Form(_pairs(inbound.body, kind))
                genuine = self._signed(inbound.url, form, signature)
        except ValueError:  # no UTF-8, no JSON, an impossible address
            raise Forged("the request is none of Twilio's") from None
        if not genuine:
            raise Forged("the signature does not fit the address and the parameters")
        return form

    def _signed(self, url: str, params: object, signature: str) -> bool:
        return any(each.validate(url, params, signature) for each in self._validators)

    # ---- tracing

    def trace(self, handed: Sequence[Handed]) -> Iterator[Receipt]:
        """Looks for each in Twilio's list of what went to its number: by its words and its time.

        Of one that is found once the id is known; of one that is not there after `trace_after`, that it was never
        taken. Where it cannot be told (equal words twice, words not known any more, a list that cannot be read to its
        end) there is no receipt. Raises Unavailable or Misconfigured.
        """
        now = self._clock()
        known = [h for h in handed if h.body and _E164.fullmatch(h.to.get("number", ""))]
        lists, failures = self._lists({h.to["number"] for h in known})
        for one in known:
            number = one.to["number"]
            twins = [o for o in known if o.to["number"] == number and _near(o.at, one.at) and o.body == one.body]
            rows = lists.get(number)
            if rows is None or len(twins) > 1:
                continue
            receipt = self._found(one, rows, now)
            if receipt is not None:
                yield receipt
        if failures:
            raise max(failures, key=_weight)

    def _found(self, one: Handed, rows: Iterable[_Row], now: datetime) -> Receipt | None:
        near = [row for row in rows if _outgoing(row) and _about(row, one.at)]
        same = [row for row in near if self._same(one.body, str(row.get("body") or ""))]
        if len(same) == 1:
            return Receipt(one.attempt, "accepted", str(same[0].get("sid") or ""))
        if same or any(self._may_be(one.body, str(row.get("body") or "")) for row in near):
            return None
        if now - one.at < self._account.trace_after:
            return None  # it may yet come
        return Receipt(one.attempt, "rejected", detail="never_taken")

    def _same(self, ours: str, theirs: str) -> bool:
        if ours == theirs or ours.strip() == theirs.strip():
            return True
        return self._account.smart is not False and bool(_plain(ours)) and _plain(ours) == _plain(theirs)

    def _may_be(self, ours: str, theirs: str) -> bool:
        """Whether it cannot be ruled out: words that were removed, framed (a trial account, a footer), or rewritten."""
        rewritten = self._account.smart is not False and not ours.isascii()
        return not theirs or rewritten or _plain(ours) in _plain(theirs)

    def _lists(self, numbers: Iterable[str]) -> tuple[dict[str, list[_Row]], list[ChannelError]]:
        """All that was sent to each number, page by page; numbers whose list could not be read to its end are left out.

        Not by DateSent: what still lies in Twilio's queue has none yet, and would be taken for never taken.
        """
        found: dict[str, list[_Row]] = defaultdict(list)
        failures: list[ChannelError] = []
        done: dict[str, list[_Row]] = {}
        pages = {n: f"{self._url}?{urlencode({'To': n, 'PageSize': _PAGE})}" for n in sorted(numbers)}
        for _ in range(_PAGES):
            asked = [Request(number, "GET", url, self._headers) for number, url in pages.items()]
            pages = {}
            for answer in self._http.all(asked) if asked else ():
                page = _page(answer, self._clock())
                if isinstance(page, ChannelError):
                    failures.append(page)
                elif page is not None:
                    found[answer.key] += page[0]
                    if not page[1]:
                        done[answer.key] = found[answer.key]
                    elif page[1].startswith(f"/2010-04-01/Accounts/{self._account.sid}/Messages.json?"):
                        pages[answer.key] = self._account.base_url + page[1]
        return done, failures


_PAGE, _PAGES = 200, 25


# ---- answers --------------------------------------------------------------------------------------------------------


class _BadSender(ChannelError):
    """The sender is refused, for this destination or for all."""

    def __init__(self, code: int) -> None:
        super().__init__(f"sender refused (code {code})")
        self.code = code


def _outcome(answer: Answer, now: datetime) -> Receipt | ChannelError:
    """What an answer to a message means. Nothing of its text goes on: it repeats the number."""
    attempt, status = answer.key, answer.status
    if answer.failed is not None:
        return answer.failed if isinstance(answer.failed, Unavailable) else Receipt(attempt, "uncertain")
    said = _json(answer.body)
    if status in (200, 201):
        sid = said.get("sid")
        good = isinstance(sid, str) and _SID.fullmatch(sid)
        return Receipt(attempt, "accepted", str(sid)) if good else Receipt(attempt, "uncertain")
    code = said.get("code")
    code = code if isinstance(code, int) and not isinstance(code, bool) else 0
    if status < 300 or status >= 500 or status == 408:
        return Receipt(attempt, "uncertain")
    if code in _REFUSED:
        return Receipt(attempt, "rejected", "", _REFUSED[code], str(code))
    if code in _SENDERS:
        return _BadSender(code)
    if (failure := _failure(status, code, answer.headers, now)) is not None:
        return failure
    if status == 413:
        return Receipt(attempt, "rejected", "", Reason.TOO_LARGE, "413")
    # A number that we do not know is a refusal all the same; what has none may be another machine's on the way.
    return Receipt(attempt, "rejected", "", Reason.PROVIDER, str(code)) if code else Receipt(attempt, "uncertain")


def _failure(status: int, code: int, headers: Mapping[str, str], now: datetime) -> ChannelError | None:
    """Why nothing can go out at the moment, or until somebody acts."""
    named = f"HTTP {status}, code {code}" if code else f"HTTP {status}"
    if status == 429 or code in _BUSY:
        return Unavailable(f"Twilio asks to wait ({named})", retry_after(headers, now.timestamp()))
    if code == 21609:
        return Misconfigured(f"Twilio cannot use our address for reports ({named}): check `web.public_url`")
    if status in (401, 403) or code in _ACCOUNT:
        return Misconfigured(f"Twilio refuses the account or its key ({named}): check `account_sid` and the secrets")
    if status in (404, 405) or 300 <= status < 400:
        return Misconfigured(f"Twilio is not where we look for it ({named}): check `base_url` and `account_sid`")
    return None


def _weight(failure: ChannelError) -> tuple[bool, float]:
    """Which of several says what to do: an operator must act, or the longest wait."""
    return isinstance(failure, Misconfigured), getattr(failure, "retry_after", None) or 0.0


def _page(answer: Answer, now: datetime) -> tuple[list[_Row], str] | ChannelError | None:
    """A page of the list of messages with the path of the next; None where it cannot be read."""
    if answer.failed is not None:
        return answer.failed if isinstance(answer.failed, Unavailable) else None
    said = _json(answer.body)
    code = said.get("code")
    if answer.status != 200:
        return _failure(answer.status, code if isinstance(code, int) else 0, answer.headers, now)
    rows, following = said.get("messages"), said.get("next_page_uri")
    if not isinstance(rows, list) or "next_page_uri" not in said or not all(isinstance(row, dict) for row in rows):
        return None
    return rows, str(following or "")


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _fate(code: int) -> tuple[EventKind, Reason | None]:
    """What became of a message that Twilio had taken. A Messaging Service takes it before it looks at the number, and
    reports later what a single sender refuses at once."""
    if code in _FATES:
        return _FATES[code]
    if (reason := _REFUSED.get(code)) is not None:
        kinds = {Reason.INVALID_ADDRESS: EventKind.BOUNCED, Reason.CONTENT: EventKind.BLOCKED}
        return kinds.get(reason, EventKind.FAILED), reason
    if code in _SENDERS | _ACCOUNT:
        return EventKind.FAILED, Reason.CONFIGURATION
    return EventKind.FAILED, Reason.RATE if code in _BUSY else Reason.PROVIDER


# ---- words and times ------------------------------------------------------------------------------------------------

_EARLIER, _LATER = timedelta(minutes=2), timedelta(minutes=15)
"""Around the decision, when Twilio may have got it: clocks differ, and a batch waits its turn."""


def _millis(at: datetime) -> int:
    return (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _near(one: datetime, other: datetime) -> bool:
    return abs(one - other) <= _EARLIER + _LATER


def _about(row: _Row, at: datetime) -> bool:
    """Whether a listed message may be of that time; one without a readable date may."""
    try:
        made = parsedate_to_datetime(str(row.get("date_created") or ""))
    except ValueError:
        return True
    made = made if made.tzinfo is not None else made.replace(tzinfo=UTC)
    return at - _EARLIER <= made <= at + _LATER


def _outgoing(row: _Row) -> bool:
    return not str(row.get("direction") or "").startswith("inbound")


def _plain(text: str) -> str:
    """Letters and digits without accents: what smart encoding leaves alone."""
    return "".join(c for c in unicodedata.normalize("NFKD", text) if c.isalnum())


# ---- what comes in --------------------------------------------------------------------------------------------------


class _Form:
    """Parameters with all their values, as RequestValidator reads them: a name may come more than once."""

    def __init__(self, pairs: Iterable[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = defaultdict(list)
        for name, value in pairs:
            self._values[name].append(value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def getlist(self, name: str) -> list[str]:
        return self._values[name]

    def first(self, name: str) -> str:
        return self._values[name][0] if name in self._values else ""

    def number(self, name: str) -> int:
        text = self.first(name)
        return int(text) if re.fullmatch(r"\d{1,9}", text, re.ASCII) else 0

    def sid(self) -> str:
        return self.first("MessageSid") or self.first("SmsMessageSid") or self.first("SmsSid")


def _pairs(body: bytes, kind: str) -> list[tuple[str, str]]:
    named = re.search(r"charset=\"?([\w-]+)", kind, re.ASCII | re.IGNORECASE)
    text, charset = body.decode("utf-8", "replace"), named[1] if named else "utf-8"
    try:
        return parse_qsl(text, keep_blank_values=True, encoding=charset, errors="replace", max_num_fields=500)
    except LookupError:
        return parse_qsl(text, keep_blank_values=True, errors="replace", max_num_fields=500)


def _json_form(text: str) -> _Form:
    said = json.loads(text)
    return _Form((name, str(value)) for name, value in said.items()) if isinstance(said, dict) else _Form(())
