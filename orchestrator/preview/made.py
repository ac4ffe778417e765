"""A recipient who is nobody, made of what the workspace declares; values as long, or as empty, as they come. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Final, Literal

from orchestrator.model import LOYALTY_FIELDS, SCORES, Field, Json, Kind, Vocabulary
from orchestrator.outbound import About

How = Literal["usual", "longest", "emptiest"]

_PEOPLE: Final[Mapping[str, tuple[str, str, str, str, str, str, str]]] = {
    # language: first name, last name, street, town, postcode, country, phone (numbers that are nobody's)
    "de": ("Hanna", "Tannberg", "Lindenweg 12", "Berlin", "10115", "DE", "+4915123456789"),
    "fr": ("Noémie", "Aubray", "4 rue des Tilleuls", "Lyon", "69002", "FR", "+33612345678"),
    "es": ("Lucía", "Peñaflor", "Calle Mayor 8", "Madrid", "28013", "ES", "+34612345678"),
    "it": ("Giulia", "Maristo", "Via dei Tigli 9", "Milano", "20121", "IT", "+393123456789"),
    "nl": ("Sanne", "Tolsma", "Lindelaan 7", "Utrecht", "3511 AB", "NL", "+31612345678"),
    "en": ("Freya", "Ashgrove", "12 Orchard Mews", "London", "E1 6AN", "GB", "+447400123456"),
}
_ZONES: Final = {
    "DE": "Europe/Berlin", "FR": "Europe/Paris", "ES": "Europe/Madrid", "IT": "Europe/Rome", "NL": "Europe/Amsterdam",
    "GB": "Europe/London",
}  # fmt: skip
_LONG: Final[Mapping[str, str]] = {
    "first_name": "Maximiliane-Alexandra Theodora Friederike",
    "last_name": "von Hohenstein-Waldenburg zu Schillingsfels",
    "company": "Donaudampfschifffahrtselektrizitätenhauptbetriebswerkbau und Söhne GmbH & Co. KGaA",
    "name": "Rindfleischetikettierungsüberwachungsgesellschaft für Norddeutschland mbH & Co. KG",
    "manager_name": "Prof. Dr. Karl-Theodor Freiherr von Birkenstein-Ehrenfels",
    "manager_email": "karl-theodor.freiherr-von-birkenstein-ehrenfels@example.com",
    "email": "maximiliane-alexandra.von.hohenstein-waldenburg@example.com",
    "street": "Untere Bischof-Ketteler-Gedächtnisstraße 1234a, Hinterhaus",
    "city": "Hellschen-Heringsand-Unterschaar",
}
_LONG_TEXT: Final = "Straßenentwässerungsinvestitionskostenschuldendienstumlage"
_LONG_NUMBER, _LONG_MONEY = 1_234_567, 987_654_321
_FORMS: Final = frozenset({"postcode", "region", "country", "locale", "timezone", "phone", "legal_form"})
"""What is as long as its form, and no longer."""
_REQUIRED: Final = frozenset(
    {"customer.key", "customer.class", "account.key", "account.class", "account.name", "account.country"}
    | {f"customer.{name}" for name in ("email", "phone", "street", "city", "postcode", "country", "locale", "timezone")}
)
"""What everybody has whom a message can go to, so that it is never empty."""


def language(locale: str) -> str:
    return locale.replace("_", "-").partition("-")[0].lower()


@dataclass(frozen=True, slots=True)
class Maker:
    """Makes people and things up. `locale`: whose language they speak; `today`: what dates are counted from."""

    vocabulary: Vocabulary
    locale: str
    today: date

    def about(self, class_name: str, event: str, record: str, named: Iterable[str]) -> About:
        """Somebody of a class, with a company where the class or a text asks for one, an event and a record of these
        types ("": none), and all that the programme may know of her."""
        kind = self.vocabulary.classes.get(class_name)
        by_company = kind is not None and kind.unit == "account"
        with_company = by_company or any(name.partition(".")[0] == "account" for name in named)
        return About(
            self.person(class_name),
            self.company(class_name) if with_company else None,
            self.event(event) if event else None,
            self.record(record) if record else None,
            record,
            ("a-device-of-nobody",),
            platforms={"a-device-of-nobody": "ios"},
            loyalty=self.loyalty(class_name),
            voucher=self.voucher(),
            referral="",
        )

    def person(self, class_name: str) -> Json:
        first, last, street, city, postcode, country, phone = _PEOPLE.get(language(self.locale), _PEOPLE["en"])
        own = {
            "id": 0, "key": "nobody-1", "class": class_name, "tier": self.tier(class_name), "account_id": None,
            "partner_id": None, "role": "decision_maker", "first_name": first, "last_name": last, "company": None,
            "email": f"{first.lower()}@example.com".replace("é", "e").replace("í", "i"), "phone": phone,
            "street": street, "city": city, "postcode": postcode, "region": None, "country": country,
            "locale": self.locale, "timezone": _ZONES[country], "phone_zones": None, "phone_places": None,
            "legal_form": None, "joined": self.today - timedelta(days=400), "left_at": None, "merged_into": None,
        }  # fmt: skip
        return {**self._declared(self.vocabulary.customer, own), **own}

    def company(self, class_name: str) -> Json:
        country = _PEOPLE.get(language(self.locale), _PEOPLE["en"])[5]
        own = {
            "id": 0, "key": "nobody-ltd", "class": class_name, "tier": self.tier(class_name), "name": "Tannwerk GmbH",
            "parent_id": None, "partner_id": None, "allows_contact": None, "country": country,
            "timezone": _ZONES[country], "annual_value": 4_800_000, "annual_value_currency": self.vocabulary.currency,
            "manager_name": "Mara Lindenau", "manager_email": "mara.lindenau@example.com",
            "joined": self.today - timedelta(days=800),
        }  # fmt: skip
        return {**self._declared(self.vocabulary.account, own), **own}

    def tier(self, class_name: str) -> str | None:
        """The one in the middle."""
        kind = self.vocabulary.classes.get(class_name)
        return kind.tiers[len(kind.tiers) // 2] if kind is not None and kind.tiers else None

    def event(self, name: str) -> Json:
        kind = self.vocabulary.events.get(name)
        return self._declared(kind.fields, {}) if kind is not None else {}

    def record(self, name: str) -> Json:
        kind = self.vocabulary.records.get(name)
        return {**self._declared(kind.fields, {}), kind.key: f"{name.upper()}-1042"} if kind is not None else {}

    def voucher(self) -> Json:
        pool = next(iter(self.vocabulary.loyalty.pools), "welcome")
        return {"code": "SAMPLE-CODE-42", "pool": pool, "expires": (self.today + timedelta(days=30)).isoformat()}

    def loyalty(self, class_name: str) -> Json:
        found: Json = {}
        for declared in LOYALTY_FIELDS.values():
            column = str(declared.column)
            found[column] = self.value(declared, "usual")
            if declared.kind is Kind.MONEY:
                found[f"{column}_currency"] = self.vocabulary.currency
        if self.vocabulary.loyalty.scores.get(class_name) is Kind.MONEY:
            found |= {str(declared.column): 4_990 for declared in SCORES.values()}
            found["score_currency"] = self.vocabulary.currency
        kind = self.vocabulary.classes.get(class_name)
        found["next_tier"] = kind.tiers[-1] if kind is not None and kind.tiers else None
        return found

    def _declared(self, fields: Mapping[str, Field], but: Mapping[str, Any]) -> Json:
        found: Json = {}
        for name, declared in fields.items():
            if name in but:
                continue
            found[name] = self.value(declared, "usual")
            if declared.kind is Kind.MONEY:
                found[f"{name}_currency"] = self.vocabulary.currency
        return found

    def value(self, declared: Field, how: How) -> Any:
        """A value of a declared kind, as rows have it."""
        name, long = declared.name.rpartition(".")[2], how == "longest"
        match declared.kind:
            case Kind.CHOICE | Kind.TIER:
                choices = declared.choices or tuple(sorted(self.vocabulary.tiers()))
                return max(choices, key=len) if choices and long else next(iter(choices), None)
            case Kind.NUMBER:
                return _LONG_NUMBER if long else 1240 if name in ("points", "balance", "earned") else 3
            case Kind.MONEY:
                return _LONG_MONEY if long else 4_990
            case Kind.YES_NO:
                return True
            case Kind.DATE:  # of all months and weekdays the longest names: Wednesday 29 September 2027
                return "2027-09-29" if long else (self.today + timedelta(days=30)).isoformat()
            case Kind.INSTANT:
                return f"{self.today.isoformat()}T09:30:00.000000Z"
            case Kind.KEY:
                return f"{name.upper()}-2027-000000123456" if long else f"{name.upper().removesuffix('_ID')}-1042"
            case _:
                return _LONG.get(name, _LONG_TEXT) if long else name.replace("_", " ")

    # ---- one name at a time

    def declared(self, name: str, event: str) -> Field | None:
        """What a dotted name is declared as; None for what is no field (`tier`, `links.…`)."""
        root, _, member = name.partition(".")
        vocabulary = self.vocabulary
        fields: Mapping[str, Field] = {}
        if name in LOYALTY_FIELDS:
            return LOYALTY_FIELDS[name]
        if root in ("customer", "account"):
            fields = vocabulary.customer if root == "customer" else vocabulary.account
        elif root == "event":
            types = [vocabulary.events[event]] if event in vocabulary.events else list(vocabulary.events.values())
            fields = next((t.fields for t in types if member in t.fields), {})
        elif root in vocabulary.records:
            kind = vocabulary.records[root]
            fields = {**kind.fields, kind.key: Field(kind.key, Kind.KEY)}
        return fields.get(member)

    def made(self, name: str, about: About, event: str, how: How) -> Any:
        """A made-up value for a dotted name; None where nothing can be made up, and for what is to be empty."""
        root, _, member = name.partition(".")
        if how == "emptiest":
            return None
        if name.endswith("_currency"):
            return self.vocabulary.currency
        if name == "tier":
            unit = about.customer or about.account or {}
            kind = self.vocabulary.classes.get(str(unit.get("class")))
            tiers = kind.tiers if kind is not None else tuple(sorted(self.vocabulary.tiers()))
            return (max(tiers, key=len) if how == "longest" else tiers[len(tiers) // 2]) if tiers else None
        if root == "voucher":
            long = {"code": "SOMMERSCHLUSSVERKAUF-2027-XXL", "expires": "2027-09-29"}
            return (long if how == "longest" else self.voucher()).get(member)
        if root == "customer" and how == "usual":
            own = self.person(str((about.customer or {}).get("class", "")))
            if own.get(member) is not None:
                return own[member]
        if root == "account" and how == "usual":
            own = self.company(str((about.account or {}).get("class", "")))
            if own.get(member) is not None:
                return own[member]
        declared = self.declared(name, event)
        return None if declared is None else self.value(declared, how)

    def has_a_form(self, name: str) -> bool:
        """Whether a value is as long as its form has it, and fits others beside it: a country, a postcode."""
        root, _, member = name.partition(".")
        return root in ("customer", "account") and member in _FORMS

    def can_be_empty(self, name: str) -> bool:
        """Whether there may be nothing under a name. What happened, and what a record says, is taken for whole."""
        return name.partition(".")[0] in ("customer", "account") and name not in _REQUIRED

    def put(self, about: About, name: str, value: Any) -> About:
        """The same with another value under a dotted name."""
        root, _, member = name.partition(".")
        if name == "tier":
            return replace(
                about,
                customer=None if about.customer is None else {**about.customer, "tier": value},
                account=None if about.account is None else {**about.account, "tier": value},
            )
        if root == "customer":
            return replace(about, customer={**(about.customer or {}), member: value})
        if root == "account":
            return replace(about, account={**(about.account or {}), member: value})
        if root == "event":
            return replace(about, event={**(about.event or {}), member: value})
        if root == "voucher":
            return replace(about, voucher={**(about.voucher or {}), member: value})
        if name.removesuffix("_currency") in SCORES and name.endswith("_currency"):
            return about  # a matter of the class, and there already
        if name.removesuffix("_currency") in LOYALTY_FIELDS:
            column = str(LOYALTY_FIELDS[name.removesuffix("_currency")].column)
            column += "_currency" if name.endswith("_currency") else ""
            return replace(about, loyalty={**(about.loyalty or {}), column: value})
        if root in self.vocabulary.records:
            return replace(about, record={**(about.record or {}), member: value}, record_type=root)
        return about
