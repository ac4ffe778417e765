"""A small declared business for the importer's tests."""

from orchestrator.model import (
    ACCOUNT_FIELDS,
    CUSTOMER_FIELDS,
    CustomerClass,
    EventType,
    Field,
    Kind,
    Policies,
    RecordType,
    Topic,
    Vocabulary,
)
from orchestrator.store.keys import Keys

KEYS = Keys(b"a" * 32, b"t" * 32, b"s" * 32, b"c" * 32)


def fields(**kinds: Kind) -> dict[str, Field]:
    return {name: Field(name, kind) for name, kind in kinds.items()}


VOCABULARY = Vocabulary(
    workspace="acme",
    timezone="Europe/Berlin",
    currency="EUR",
    sender={},
    locale="en",
    customer={
        **CUSTOMER_FIELDS,
        **fields(birthday=Kind.DATE, size=Kind.NUMBER, vip=Kind.YES_NO, note=Kind.TEXT, seen=Kind.INSTANT),
        **fields(credit=Kind.MONEY),
        "colour": Field("colour", Kind.CHOICE, ("red", "green")),
    },
    account={**ACCOUNT_FIELDS, "industry": Field("industry", Kind.CHOICE, ("retail", "health"))},
    records={
        "contract": RecordType(
            "contract", "account", "contract_id", fields(ends=Kind.DATE, value=Kind.MONEY, auto_renew=Kind.YES_NO)
        ),
        "pet": RecordType("pet", "customer", "pet_id", fields(name=Kind.TEXT)),
    },
    events={
        "order_placed": EventType("order_placed", fields(amount=Kind.MONEY, channel=Kind.TEXT, order_id=Kind.KEY)),
        "signed_up": EventType("signed_up", {}),
    },
    classes={
        "b2c": CustomerClass("b2c", ("bronze", "silver", "gold")),
        "club": CustomerClass("club", ("bronze", "member")),
        "b2b": CustomerClass("b2b", ("standard", "strategic"), "account"),
    },
    topics={name: Topic(name, "marketing", name.title()) for name in ("offers", "loyalty")},
    policies=Policies(),
)
