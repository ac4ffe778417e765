"""A small business with a preference centre and surveys, and somebody who got a message from it."""

from __future__ import annotations

from typing import Any

from tests.outgoing import POLICIES, WORKSPACE, World, email, files, journey

HELLO = journey("hello", "- email: hello", more="reentry: always")
CENTRE = """
preferences:
  fields: [first_name, last_name, street, postcode, city, country, town, birthday]
  labels: { town: { en: Favourite town, de: Lieblingsort } }
  languages: [en, de]
  call_me: service
  overwrite: after 12 months
surveys:
  nps:
    title: { en: How are we doing?, de: Wie zufrieden sind Sie? }
    questions:
      recommend: { kind: nps, needed: yes, ask: { en: Would you recommend us?, de: Würden Sie uns empfehlen? } }
      bought: { kind: choice, ask: Where do you buy?, choices: { store: In a shop, web: On the web } }
      why: { kind: text, ask: Why is that? }
    thanks: { en: We read every answer., de: Wir lesen jede Antwort. }
    closes: 2027-12-31
  secret:
    title: Between us
    anonymous: yes
    questions: { mood: { kind: scale, up_to: 5, ask: How do you feel? }, more: { kind: text, ask: More? } }
"""
OPT_IN = "  double_opt_in: { template: please-confirm, within: 7 days }\n"


def texts(*, more: str = "", policies: str = POLICIES) -> dict[str, str]:
    """The workspace's files."""
    ask = email("Please confirm", 'Confirm: <a href="{{ links.confirm }}">yes</a>', "service")
    answer = '<a href="{{ links.survey(&quot;nps&quot;) }}?score=9">9</a>'
    found = files(
        {"hello": HELLO, "asking": journey("asking", "- email: asking", "{ event: bought }", "reentry: always")},
        policies + OPT_IN,
        **{
            "templates/email/please-confirm.mjml": ask,
            "templates/email/asking.mjml": email("Tell us", answer.replace("&quot;", "'")),
        },
    )
    path = "journeys/workspace.yaml"
    whole = (
        found[path]
        .replace("  customer: { town: text }", "  customer: { town: text, birthday: date, vip: yes_no }")
        .replace("title: Offers }", "title: { en: Offers, de: Angebote } }")
    )
    assert WORKSPACE[:20] in whole
    return found | {path: whole.replace("\npolicies:", f"{CENTRE}{more}\npolicies:")}


def written_to(world: World, **person: Any) -> tuple[int, int]:
    """(customer, message) of somebody who got an offer by e-mail."""
    [customer_id] = world.people(1, **person)
    world.event([customer_id])
    world.tick()
    [message] = [m for m in world.messages() if m.customer_id == customer_id]
    assert message.state in ("sent", "delivered"), (message.state, message.reason)
    return customer_id, message.id


def page(world: World, message_id: int, letter: str = "p") -> str:
    return f"/{letter}/{world.keys.link_token(message_id, letter)}"
