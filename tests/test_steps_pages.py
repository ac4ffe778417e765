"""A step's docstring is its page: what it shows can be written like that."""

import inspect
import re
import textwrap
from dataclasses import fields as options
from dataclasses import replace

import pytest

from orchestrator.journey import read_journey
from orchestrator.model import CustomerClass, EventType, RecordType
from orchestrator.problems import Problems, render
from orchestrator.source import parse
from orchestrator.steps import kinds
from tests.making import WORDS, fields

PAGES = {k: inspect.getdoc(kind) or "" for k, kind in kinds().items() if k not in ("points", "voucher", "survey")}
HEADS = (
    "journey: j\nunit: account\ntrigger: { date: 90 days before contract.ends }\nsteps:\n",
    "journey: j\nunit: account\ntrigger: { date: invoice.due }\nsteps:\n",
    "journey: j\ntrigger: { event: order_placed }\nsteps:\n",
)
SHOP = replace(
    WORDS,
    customer={**WORDS.customer, **fields(favourite_store="text", newsletter_series="text")},
    records={**WORDS.records, "invoice": RecordType("invoice", "account", "id", fields(id="key", due="date"))},
    events={
        **WORDS.events,
        "renewal_quote_opened": EventType("renewal_quote_opened", fields(contract_id="key")),
        "contract_renewed": EventType("contract_renewed", {}),
        "contract_signed": EventType("contract_signed", {}),
        "renewal_at_risk": EventType("renewal_at_risk", fields(contract_id="key", reason="text")),
    },
    classes={
        "b2c": CustomerClass("b2c", ("silver", "gold", "platinum")),
        "b2b": CustomerClass("b2b", ("standard", "preferred"), "account"),
    },
    segments=frozenset({"vip-club"}),
)


def mistakes(head: str, step: str) -> str:
    text = head + step
    if "renewal-notice" in step and "is: opened" in step:
        text = text.replace("steps:\n", "steps:\n  - email: renewal-notice\n")
    problems = Problems()
    node = parse(text, "j.yaml", problems)
    assert node is not None, render(problems.sorted(), {"j.yaml": text})
    read_journey(node, "j.yaml", SHOP, {}, problems)
    return render(problems.errors, {"j.yaml": text})


@pytest.mark.parametrize("keyword", sorted(PAGES))
def test_what_a_page_shows_is_right(keyword: str) -> None:
    shown = re.findall(r"```yaml\n(.*?)```", PAGES[keyword], re.DOTALL)
    assert len(shown) == 1, "one example"
    example = textwrap.indent(shown[0], "  ")
    steps = [example]
    if keyword not in ("goto",):  # whose example is one journey's; others' are alternatives
        steps = re.split(r"(?m)^(?=  - )", example)[1:]
    for step in steps:
        found = [mistakes(head, step) for head in HEADS]
        assert "" in found, "\n\n".join(found)
    assert re.search(rf"^- {keyword}\b", shown[0], re.MULTILINE) or keyword == "exit"


@pytest.mark.parametrize("keyword", sorted(kinds()))
def test_every_option_says_what_it_is(keyword: str) -> None:
    for option in options(kinds()[keyword]):
        meta = option.metadata.get("orchestrator.reading")
        assert option.name in ("id", "span") or (meta is not None and (meta.doc or meta.skip)), option.name
