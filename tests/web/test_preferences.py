"""The preference centre: what it shows, what it records, and what a forwarded mail is not good for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import sqlalchemy as sa

from channels.base import Medium
from orchestrator.erase import Places, erase
from orchestrator.store import consents
from orchestrator.store import tables as t
from orchestrator.store.keys import Keys
from tests.outgoing import POLICIES, World, audit, world_of
from tests.web.choosing_world import page, texts, written_to
from tests.web.site import Asked


@pytest.fixture
def world(database_url: str) -> Iterator[World]:
    made = world_of(database_url)
    made.apply(texts())
    yield made
    audit(made)
    made.store.close()


def form_of(html: str) -> dict[str, list[str]]:
    """The first form of a page (topics and the rest) as a browser would send it untouched."""
    first = html[html.index("<form") : html.index("</form>")]
    sent: dict[str, list[str]] = {}
    for tag in re.findall(r"<input[^>]*>", first):
        told = dict(re.findall(r'(\w+)="([^"]*)"', tag))
        if told["type"] in ("checkbox", "radio") and " checked" not in tag:
            continue
        sent.setdefault(told["name"], []).append(told["value"])
    for name, inside in re.findall(r'<select name="(\w+)".*?>(.*?)</select>', first, re.DOTALL):
        chosen = re.search(r'<option value="([^"]*)"[^>]* selected', inside) or re.search(r'value="([^"]*)"', inside)
        assert chosen is not None
        sent[name] = [chosen[1]]
    return sent


def said(world: World, customer_id: int) -> list[tuple[str, str, str]]:
    """What was said on the preference centre."""
    c = t.consent_event.c
    query = sa.select(c.action, c.medium, c.topic).where(c.customer_id == customer_id, c.method == "preference_centre")
    return [tuple(row) for row in world.rows(query.order_by(c.id))]


def switched(form: dict[str, list[str]], *names: str) -> dict[str, list[str]]:
    """The form with these switches moved."""
    on = set(form.get("on", []))
    return {**form, "on": sorted(on ^ set(names))}


def moved_to(answer: Any) -> str:
    assert answer.status_code == 303, answer.text
    return str(answer.headers["location"]).partition("?done=")[2]


# ---- topics ---------------------------------------------------------------------------------------------------------


def test_the_page_shows_what_is_written_where_and_changes_nothing(world: World) -> None:
    customer_id, message = written_to(world, locale="de-DE")
    asked = Asked(world)
    found = asked.get(page(world, message))
    assert found.status_code == 200 and '<html lang="de">' in found.text and "<script" not in found.text
    assert "Angebote" in found.text and "Your account" in found.text and "News" not in found.text
    form = form_of(found.text)
    shown = {f"offers:{m}" for m in ("email", "sms", "push", "mail")} | {"service:email"}
    assert set(form["shown"]) == shown == set(form["on"])
    assert moved_to(asked.post(page(world, message), data=form)) == "same#done"
    assert said(world, customer_id) == []
    assert "c1@example.com" not in found.text and "c…@example.com" in found.text
    assert asked.get(page(world, message, "u").replace("/u/", "/p/")).status_code == 404, "another page's token"


def test_who_cannot_be_reached_on_a_medium_is_not_asked_about_it(world: World) -> None:
    _, message = written_to(world, phone=None, street=None)
    form = form_of(Asked(world).get(page(world, message)).text)
    assert set(form["shown"]) == {"offers:email", "offers:push", "service:email"}


def test_only_moved_switches_are_recorded_with_their_words(world: World) -> None:
    customer_id, message = written_to(world)
    asked, path = Asked(world), page(world, message)
    form = form_of(asked.get(path).text)
    world.pass_time(minutes=1)
    assert moved_to(asked.post(path, data=switched(form, "offers:sms", "service:email"))) == "saved#done"
    assert sorted(said(world, customer_id)) == [("withdraw", "email", "service"), ("withdraw", "sms", "offers")]
    with world.store.read() as conn:
        ids = conn.execute(sa.select(t.consent_event.c.id).where(t.consent_event.c.method == "preference_centre"))
        words = consents.words_of(conn, world.keys, ids.scalars().all())
        known = consents.evidence_of(conn, world.keys, words)
    assert {w["wording"].rpartition("\n")[2] for w in words.values()} == {
        "Offers – text message: off",
        "Your account – e-mail: off",
    }
    told = next(iter(known.values())).evidence
    assert told is not None and told["ip"] == "203.0.113.9" and told["source_url"] == "https://small.example/p/"


def test_a_page_left_open_takes_back_nothing_that_was_said_since(world: World) -> None:
    customer_id, message = written_to(world)
    asked, path = Asked(world), page(world, message)
    old = form_of(asked.get(path).text)
    world.pass_time(hours=1)
    world.consent([customer_id], "sms", "*", "withdraw")
    world.pass_time(hours=1)
    assert moved_to(asked.post(path, data=switched(old, "offers:push"))) == "saved#done"
    assert said(world, customer_id) == [("withdraw", "push", "offers")]
    now = form_of(asked.get(path).text)
    assert "offers:sms" not in now["on"]


def test_a_yes_by_the_mailbox_it_is_for_is_proven_and_sends_again(world: World) -> None:
    """Germany wants e-mail confirmed: the link was sent to that very address."""
    customer_id, message = written_to(world)
    asked, path = Asked(world), page(world, message)
    asked.post(path, data=switched(form_of(asked.get(path).text), "offers:email"))
    world.pass_time(days=3)
    world.event([customer_id])
    assert world.tick()["deny consent_withdrawn"] == 1
    asked.post(path, data=switched(form_of(asked.get(path).text), "offers:email"))
    assert said(world, customer_id)[-1] == ("confirm", "email", "offers")
    world.pass_time(days=3)
    world.event([customer_id])
    assert world.tick()["allow"] == 1


def test_a_yes_by_another_road_is_asked_to_be_confirmed(world: World) -> None:
    customer_id, message = written_to(world)
    asked, path = Asked(world), page(world, message)
    world.consent([customer_id], "email", "offers", "withdraw")
    world.pass_time(minutes=1)
    with world.store.write() as conn:  # the mail went to an address that is hers no more
        conn.execute(t.customer.update().values(email="new@example.com"))
    form = form_of(asked.get(path).text)
    assert "offers:email" not in form["on"]
    assert moved_to(asked.post(path, data=switched(form, "offers:email"))) == "asked#done"
    assert said(world, customer_id) == [("request", "email", "offers")]
    assert "Please confirm by the link" in asked.get(path).text
    world.deliver()
    question = world.messages()[-1]
    assert (question.origin, question.state) == ("confirmation", "sent")
    asked.post(page(world, question.id, "c"))
    assert "offers:email" in form_of(asked.get(path).text)["on"]


def test_an_old_link_says_no_for_ever_and_proves_nothing(world: World) -> None:
    customer_id, message = written_to(world)
    world.pass_time(days=90)
    asked, path = Asked(world), page(world, message)
    found = asked.get(path).text
    assert 'name="first_name"' not in found and "Ann1" not in found and "three months old" in found
    form = form_of(found)
    asked.post(path, data=switched(form, "offers:email"))
    assert said(world, customer_id) == [("withdraw", "email", "offers")]
    world.pass_time(minutes=1)
    form = form_of(asked.get(path).text)
    assert moved_to(asked.post(path, data=switched(form, "offers:email"))) == "asked#done"
    assert asked.post(path, data={"do": "tell", "first_name": "Eve"}).status_code == 400
    assert moved_to(asked.post(path, data={"do": "fresh"})) == "fresh#done"
    world.deliver()
    [fresh] = [m for m in world.messages() if m.origin == "fresh_link"]
    mail = world.opened(next(k for k in world.outbox() if k.attempt.startswith(f"m{fresh.id}a")))
    assert "Your settings" in mail and "/p/v1.m" in mail.replace("=\n", "")
    assert 'name="first_name"' in asked.get(page(world, fresh.id)).text


def test_what_the_law_wants_otherwise_is_not_offered(world: World) -> None:
    """Texts to the United States need a consent in writing: a switch is none."""
    world.pass_time(hours=6)  # noon in New York
    customer_id, message = written_to(
        world, country="US", region="NY", phone="+12125550123", timezone="America/New_York"
    )
    asked, path = Asked(world), page(world, message)
    asked.post(path, data=switched(form_of(asked.get(path).text), "offers:sms"))
    world.pass_time(minutes=1)
    found = asked.get(path).text
    assert "in another form" in found
    form = form_of(found)
    assert moved_to(asked.post(path, data=switched(form, "offers:sms"))) == "refused#done"
    assert said(world, customer_id) == [("withdraw", "sms", "offers")]


def test_nothing_at_all(world: World) -> None:
    customer_id, message = written_to(world)
    asked, path = Asked(world), page(world, message)
    assert moved_to(asked.post(path, data={"do": "nothing"})) == "nothing#done"
    assert {(a, tp) for a, _, tp in said(world, customer_id)} == {("withdraw", "*")}
    assert form_of(asked.get(path).text)["on"] == ["service:email"], "what the contract needs still goes"


# ---- how much, in what form -----------------------------------------------------------------------------------------


def test_a_break_holds_everything_back_and_ends_by_itself(world: World) -> None:
    customer_id, message = written_to(world)
    asked, path = Asked(world), page(world, message)
    assert moved_to(asked.post(path, data={"do": "pause"})) == "paused#done"
    assert "31 March 2027" in asked.get(path).text or "March 31, 2027" in asked.get(path).text
    world.pass_time(days=29, hours=23)
    world.event([customer_id])
    assert world.tick()["deny customer_paused"] == 1
    assert moved_to(asked.post(path, data={"do": "resume"})) == "resumed#done"
    world.event([customer_id])
    assert world.tick()["allow"] == 1
    asked.post(path, data={"do": "pause"})
    world.pass_time(days=30)
    world.event([customer_id])
    assert world.tick()["allow"] == 1


def test_at_most_once_a_week(world: World) -> None:
    customer_id, message = written_to(world)
    asked, path = Asked(world), page(world, message)
    form = form_of(asked.get(path).text) | {"often": ["1 week"]}
    assert moved_to(asked.post(path, data=form)) == "saved#done"
    assert form_of(asked.get(path).text)["often"] == ["1 week"]
    world.pass_time(days=2)
    world.event([customer_id])
    assert world.tick()["deny customer_frequency"] == 1, "Monday's counts, though no cap of the house's was there"
    world.pass_time(days=5)
    world.event([customer_id])
    assert world.tick()["allow"] == 1
    asked.post(path, data=form | {"often": [""]})
    world.event([customer_id])
    assert world.tick()["allow"] == 1


def test_two_at_once_are_one_when_one_is_wanted(world: World) -> None:
    customer_id, message = written_to(world)
    world.pass_time(days=7)
    asked = Asked(world)
    asked.post(page(world, message), data={"do": "save", "often": "1 week", "format": "html"})
    world.event([customer_id])
    world.event([customer_id], "bought")
    counts = world.tick()
    assert counts["allow"] == 1 and counts["deny customer_frequency"] == 1


def test_plain_text_has_no_page(world: World) -> None:
    customer_id, message = written_to(world)
    asked = Asked(world)
    first = world.opened(world.outbox()[0])
    assert "text/html" in first
    asked.post(page(world, message), data={"do": "save", "often": "", "format": "text"})
    world.pass_time(days=3)
    world.event([customer_id])
    world.event(world.people(1))
    world.tick()
    mails = {k.attempt: world.opened(k) for k in world.outbox()}
    plain = [text for text in mails.values() if "text/html" not in text]
    assert len(mails) == 3 and len(plain) == 1, "the other customer's stays as it was made"
    assert "Good to see you" in plain[0] and "List-Unsubscribe:" in plain[0]


def test_the_language_of_messages(world: World) -> None:
    _, message = written_to(world)
    asked, path = Asked(world), page(world, message)
    asked.post(path, data={"do": "save", "language": "de"})
    assert world.one(sa.select(t.customer.c.locale)) == "de"
    assert '<html lang="de">' in asked.get(path).text
    asked.post(path, data={"do": "save", "language": "fr"})
    assert world.one(sa.select(t.customer.c.locale)) == "de", "French is not offered"


# ---- own data -------------------------------------------------------------------------------------------------------


def test_own_data_is_checked_and_kept_with_its_date(world: World) -> None:
    _, message = written_to(world)
    asked, path = Asked(world), page(world, message)
    wrong = asked.post(path, data={"do": "tell", "first_name": "=HYPERLINK()", "birthday": "yesterday", "town": "Ulm"})
    assert wrong.status_code == 422 and wrong.text.count('aria-invalid="true"') == 2
    assert 'value="Ulm"' in wrong.text, "what was typed is not lost"
    assert world.one(sa.select(t.customer.c.first_name)) == "Ann1"
    right = {"do": "tell", "first_name": "  Anna  ", "street": "Am Markt 2", "town": "Ulm", "birthday": "1980-05-06"}
    assert moved_to(asked.post(path, data=right | {"email": "eve@example.com", "vip": "yes"})) == "told#done"
    [row] = world.rows(sa.select(t.customer))
    assert (row.first_name, row.street, row.email) == ("Anna", "Am Markt 2", "c1@example.com")
    assert row.attributes == {"town": "Ulm", "birthday": "1980-05-06"}, "vip is not open to people"
    fields = world.rows(sa.select(t.declared.c.field, t.declared.c.at, t.declared.c.source))
    assert {f.field for f in fields} == {"first_name", "town", "birthday", "street", "postcode", "city", "country"}
    assert {(f.at, f.source) for f in fields} == {(world.now, "preference_centre")}


def test_an_age_once_given_is_not_given_again(sqlite_database_url: str) -> None:
    world = world_of(sqlite_database_url)
    world.apply(texts(policies=POLICIES + "  minors: { born: birthday }\n"))
    _, message = written_to(world)
    asked, path = Asked(world), page(world, message)
    assert moved_to(asked.post(path, data={"do": "tell", "birthday": "2012-05-06"})) == "told#done"
    assert "readonly" in asked.get(path).text
    assert moved_to(asked.post(path, data={"do": "tell", "birthday": "1980-05-06"})) == "same#done"
    assert world.one(sa.select(t.customer.c.attributes)) == {"birthday": "2012-05-06"}
    world.store.close()


def test_what_is_asked_of_a_post_is_one_of_a_few_things(world: World) -> None:
    _, message = written_to(world)
    asked, path = Asked(world), page(world, message)
    assert asked.post(path, data={"do": "everything"}).status_code == 400
    assert asked.post(path, data={}).status_code == 400
    assert asked.post(path, data={"do": "save", "shown": "nothing:email", "on": "nothing:email"}).status_code == 303
    assert asked.post(path, data={"do": "save", "often": "9999 week"}).status_code == 303
    assert asked.get(path + "?done=told-<b>&done=x").status_code == 200


# ---- what is asked for ----------------------------------------------------------------------------------------------


def test_a_call_is_a_task_in_calling_hours_once_a_day(world: World) -> None:
    customer_id, message = written_to(world)
    asked, path = Asked(world), page(world, message)
    for _ in range(2):
        assert moved_to(asked.post(path, data={"do": "call"})) == "called#done"
    world.deliver()
    [task] = [m for m in world.messages() if m.origin == "call_me"]
    assert (task.medium, task.addressee, task.state, task.customer_id) == ("task", "staff", "sent", customer_id)
    [given] = [k for k in world.outbox() if k.medium is Medium.TASK]
    text = world.opened(given)
    assert "service" in text and "+49171390000" in text and "c1" in text
    world.now = datetime(2027, 3, 2, 21, 30, tzinfo=UTC)
    asked.post(path, data={"do": "call"})
    assert world.deliver().total("hold", "quiet_hours") == 1


def test_own_data_comes_by_mail_and_for_an_hour(world: World) -> None:
    _, message = written_to(world)
    asked, path = Asked(world), page(world, message)
    for _ in range(2):
        assert moved_to(asked.post(path, data={"do": "data"})) == "data#done"
    world.deliver()
    [loan] = [m for m in world.messages() if m.origin == "data_link"]
    assert loan.state == "sent"
    door = page(world, loan.id, "d")
    mail = world.opened(next(k for k in world.outbox() if k.attempt.startswith(f"m{loan.id}a")))
    assert f"https://small.example{door}" in mail.replace("=\n", "").replace("=3D", "=")
    assert "Subject: Your data" in mail
    found = asked.get(door)
    assert "c1@example.com" not in found.text and found.status_code == 200, "a scanner of links sees nothing"
    plain = asked.post(door, data={"as": "json"})
    assert plain.headers["content-disposition"] == 'attachment; filename="my-data.json"'
    held = json.loads(plain.text)
    assert held["profile"][0]["email"] == "c1@example.com" and held["key"] == "c1"
    assert "What is held about you" in asked.post(door, data={"as": "html"}).text
    assert asked.post(page(world, message, "d")).status_code == 410, "another message's link is no key to it"
    world.pass_time(hours=1)
    assert asked.get(door).status_code == asked.post(door).status_code == 410


def test_whoever_is_erased_leaves_no_choice_behind(world: World, tmp_path: Any) -> None:
    _, message = written_to(world)
    asked, path = Asked(world), page(world, message)
    asked.post(path, data={"do": "save", "often": "1 week", "format": "text", "language": "de"})
    erase(world.store, world.keys, "c1", Places(tmp_path / "list.jsonl"), now=world.now, by="me")
    assert world.one(sa.select(sa.func.count()).select_from(t.preference)) == 0
    assert world.one(sa.select(sa.func.count()).select_from(t.declared)) == 0
    assert "Nothing is held about you" in asked.get(path).text
    assert asked.post(path, data={"do": "pause"}).status_code == 200
    assert world.one(sa.select(sa.func.count()).select_from(t.preference)) == 0


def test_an_old_secret_still_opens_the_page(world: World) -> None:
    _, message = written_to(world)
    path = page(world, message)
    k = world.keys
    world.keys = Keys(k.address, b"n" * 32, k.seal, k.sign, (k.token,))
    assert Asked(world).get(path).status_code == 200
    world.keys = k


def test_everything_is_in_both_languages_and_nothing_else_is_asked_for(world: World) -> None:
    _, message = written_to(world)
    for language in ("en", "de"):
        found = Asked(world).get(page(world, message), headers={"Accept-Language": language})
        assert f'<html lang="{language}">' in found.text
        assert "set-cookie" not in found.headers and "http://" not in found.text
        assert found.headers["referrer-policy"] == "no-referrer"
