"""A small business, declared by hand: what the texts of these tests may name."""

from orchestrator.model import (
    ACCOUNT_FIELDS,
    CUSTOMER_FIELDS,
    EventType,
    Field,
    Kind,
    Policies,
    RecordType,
    Topic,
    Vocabulary,
)
from orchestrator.problems import Problems
from orchestrator.template import Template, Templates, load_templates


def fields(**kinds: str) -> dict[str, Field]:
    return {name: Field(name, Kind(kind)) for name, kind in kinds.items()}


VOCABULARY = Vocabulary(
    workspace="acme",
    timezone="Europe/Berlin",
    currency="EUR",
    sender={"name": "Acme", "postal_address": "Acme GmbH, Hauptstr. 1, 10115 Berlin, DE"},
    locale="en",
    customer={**CUSTOMER_FIELDS, **fields(birthday="date", favourite_store="text")},
    account={**ACCOUNT_FIELDS, **fields(industry="choice")},
    records={
        "contract": RecordType(
            "contract", "account", "contract_id", fields(contract_id="key", product="text", ends="date", value="money")
        )
    },
    events={"order_placed": EventType("order_placed", fields(order_id="key", amount="money", placed="instant"))},
    classes={},
    topics={
        name: Topic(name, "marketing", name)
        for name in ("loyalty", "offers", "contract-notices", "partner-news", "getting-started")
    },
    policies=Policies(),
)

CONTEXT = {
    "customer": {
        "first_name": "Ana",
        "last_name": "Sørensen",
        "joined": "2024-02-01",
        "birthday": "1990-02-28",
        "favourite_store": "Mitte",
        "street": "Hauptstr. 5",
        "postcode": "10115",
        "city": "Berlin",
        "country": "DE",
        "timezone": "Europe/Berlin",
    },
    "account": {"name": "Nord & Co", "manager_name": "Clara Weiss"},
    "contract": {
        "contract_id": "c1",
        "product": "Desk",
        "ends": "2027-04-10",
        "value": 1234567,
        "value_currency": "EUR",
    },
    "event": {"order_id": "o1", "amount": 4990, "amount_currency": "EUR", "placed": "2027-01-10T23:30:00.000000Z"},
    "tier": "gold",
    "benefits": ["early-access", "free-shipping"],
    "points": {"balance": 120},
    "today": "2027-01-11",
    "links": {
        "unsubscribe": "https://acme.example/u?a=1&b=2",
        "preferences": "https://acme.example/p",
        "confirm": "https://acme.example/c",
    },
}


def load(files: dict[str, str]) -> tuple[Templates, Problems]:
    problems = Problems()
    return load_templates({f"templates/{path}": text for path, text in files.items()}, VOCABULARY, problems), problems


def load_one(files: dict[str, str]) -> Template:
    """The one template of some files, which must be right."""
    templates, problems = load(files)
    assert not problems.found, problems.found
    (template,) = templates
    return template


def email(body: str, head: str = "subject: Hello\ntopic: loyalty", path: str = "email/hello.mjml") -> dict[str, str]:
    """An e-mail whose column holds `body`."""
    page = "<mjml>\n<mj-body><mj-section><mj-column>\n{}\n</mj-column></mj-section></mj-body>\n</mjml>\n"
    return {path: f"---\n{head}\n---\n" + page.format(body)}


def sms(body: str, head: str = "topic: loyalty", path: str = "sms/hello.txt") -> dict[str, str]:
    return {path: f"---\n{head}\n---\n{body}\n"}
