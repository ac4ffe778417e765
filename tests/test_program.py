"""The programme as it is written in workspace.yaml, and what it is read as."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orchestrator import cli
from orchestrator.earning import split
from orchestrator.model import LOYALTY_EVENTS, Kind, Loyalty
from orchestrator.problems import ProjectError, render
from orchestrator.program import ClassProgram, Program
from orchestrator.project import Project, load_files, schemas
from orchestrator.scheme import conditions
from orchestrator.source import parse
from orchestrator.words import Duration
from tests.golden.workspace import GOOD

PATH = "journeys/workspace.yaml"
BASE = (
    GOOD[PATH]
    .replace(", points: number", ", status_protected_until: date")
    .replace(
        "events:\n",
        "events:\n"
        "  survey_completed: { minutes: number }\n"
        "  review_written:\n"
        "  order_refunded: { order_id: key, amount: money, reason: text }\n"
        "  startup_referred: { startup: key }\n",
    )
    .replace(
        "  b2b: { tiers: [standard, preferred], unit: account }\n",
        "  b2b: { tiers: [standard, preferred, strategic], unit: account }\n"
        "  partner: { tiers: [registered, silver, gold], unit: account }\n",
    )
    .replace(
        "records:\n", "records:\n  opportunity: { of: account, key: opportunity_id, amount: money, stage: text }\n"
    )
)
VOUCHERS = "vouchers: { welcome-voucher: { title: Welcome, valid: 90 days, warn_below: 50 }, pool-ten: {} }\n"
LANGUAGE = """\
program:                           # loyalty: facts derived from events, replayable
  b2c:
    membership: { joins: free, benefit: welcome-voucher }
    tier_by: points(365 days)      # any numeric expression
    thresholds: { bronze: 0, silver: 500, gold: 2000, platinum: 6000 }
    downgrade: { grace: 60 days, steps: one, review: monthly, protected_if: status_protected_until is in future }
    benefits: { silver: [free-shipping], gold: [early-access, event-invitations], platinum: [personal-shopper] }
    points:
      - 1 per 1 EUR of order_placed.amount
      - 50 for survey_completed, at most 1 per 30 days
      - 500 for referral_converted
    points_expire: 18 months
    challenges: { first-review: { when: "count(review_written) >= 1", points: 100, badge: critic, hidden: true } }
    rewards:
      tote-bag: { costs: 300, stock: 200, tiers: [silver, gold, platinum] }
      ten-off: { costs: 500, voucher: pool-ten }
    referral: { code: per customer, converts_on: order_placed, reward: { referrer: 500, referred: 200 } }
    draws: { summer: { entry: per challenge, closes: 2027-08-31 } }
  b2b:     { tier_by: "account.annual_value", thresholds: { standard: 0, preferred: 25000, strategic: 250000 } }
  partner:
    tier_by: "count(startup_referred, 365 days)"
    thresholds: { registered: 0, silver: 3, gold: 10 }
    commission: 5% of order_placed.amount
"""
"""What the language's own page shows."""


def workspace(program: str, base: str = BASE) -> dict[str, str]:
    return GOOD | {PATH: base + VOUCHERS + program}


def load(program: str) -> Project:
    files = workspace(program)
    try:
        return load_files(files)
    except ProjectError as error:
        raise AssertionError(render(error.problems, files)) from None


def b2c(lines: str) -> ClassProgram:
    return load("program:\n  b2c:\n" + "".join(f"    {line}\n" for line in lines.splitlines())).program.classes["b2c"]


def told(program: str) -> list[tuple[str, str]]:
    """Code and the marked text of each problem."""
    files = workspace(program)
    with pytest.raises(ProjectError) as caught:
        load_files(files)
    lines = files[PATH].splitlines()
    return [(p.code, lines[p.span.line - 1][p.span.col - 1 : p.span.end_col - 1]) for p in caught.value.problems]


@pytest.mark.parametrize("score", [".inf", ".nan", "1e400"])
def test_a_threshold_that_nothing_reaches_is_told(score: str) -> None:
    text = f"program: {{ b2c: {{ tier_by: points, thresholds: {{ bronze: 0, silver: {score} }} }} }}\n"
    assert [found for _, found in told(text)] == [score]


@pytest.mark.parametrize(
    "lines",
    [
        "membership: { joins: free, term: 0 days }",
        "points_expire: 0 days",
        "challenges: { a: { when: count(review_written) >= 1, again: 0 days } }",
        "referral: { converts_on: order_placed, within: 0 days }",
    ],
)
def test_no_time_is_no_length_of_time(lines: str) -> None:
    assert told(f"program: {{ b2c: {{ {lines} }} }}\n") == [("wrong-type", "0 days")]


def test_an_event_does_not_take_back_itself() -> None:
    text = "program: { b2c: { refunds: [ order_placed takes back order_placed by order_id ] } }\n"
    assert told(text) == [("bad-refund", "order_placed")]


def test_an_event_in_place_of_its_property() -> None:
    assert told("program: { value: { orders: order_placed } }\n") == [("unknown-property", "order_placed")]


def test_thresholds_of_another_shape_are_one_mistake() -> None:
    assert len(told("program: { b2c: { tier_by: points, thresholds: [0, 1, 2] } }\n")) == 1


# ---- the whole of it ------------------------------------------------------------------------------------------------


def test_the_languages_example_is_read_whole() -> None:
    project = load(LANGUAGE)
    found = project.program.classes["b2c"]
    assert found.unit == "customer" and found.tiers == ("bronze", "silver", "gold", "platinum")
    assert found.membership is not None and (found.membership.joins, found.membership.benefit) == (
        "free",
        "welcome-voucher",
    )
    assert found.tier_by is not None and found.tier_by.text == "points(365 days)"
    assert dict(found.thresholds) == {"bronze": 0, "silver": 500, "gold": 2000, "platinum": 6000}
    assert (found.downgrade.grace, found.downgrade.steps, found.downgrade.review) == (
        Duration(days=60),
        "one",
        "monthly",
    )
    assert found.downgrade.protected_if is not None and found.expire == Duration(months=18)
    assert [rule.key for rule in found.points] == ["order_placed.amount:EUR", "survey_completed", "referral_converted"]
    (challenge,) = found.challenges
    assert (challenge.name, challenge.points, challenge.badge, challenge.hidden) == (
        "first-review",
        100,
        "critic",
        True,
    )
    assert challenge.when.text == "count(review_written) >= 1"
    assert (found.rewards["tote-bag"].kind, found.rewards["tote-bag"].stock) == ("merchandise", 200)
    assert (found.rewards["ten-off"].kind, found.rewards["ten-off"].voucher) == ("discount", "pool-ten")
    assert found.referral is not None and (found.referral.referrer, found.referral.referred) == (500, 200)
    (draw,) = found.draws
    assert (draw.name, draw.entry, draw.closes, draw.winners) == ("summer", "challenge", date(2027, 8, 31), 1)
    b2b, partner = project.program.classes["b2b"], project.program.classes["partner"]
    assert dict(b2b.thresholds) == {"standard": 0, "preferred": 2_500_000, "strategic": 25_000_000}, "in cents"
    assert b2b.tier_by is not None and b2b.tier_by.kind is Kind.MONEY and b2b.unit == "account"
    assert partner.commission is not None and partner.commission.share == Decimal("0.05")
    assert (partner.commission.event, partner.commission.of) == ("order_placed", "amount")
    assert b2b.tier_of(2_500_000) == "preferred" and b2b.tier_of(None) == "standard" and found.tier_of(1999) == "silver"


def test_check_passes_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path, text in workspace(LANGUAGE).items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, encoding="utf-8")
    code = cli.run(["check", str(tmp_path)])
    out, err = capsys.readouterr()
    assert code == 0, out + err


def test_it_satisfies_the_schema_and_a_slip_does_not() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    from orchestrator.problems import Problems

    def check(text: str) -> None:
        node = parse(BASE + VOUCHERS + text, PATH, Problems())
        assert node is not None
        jsonschema.validate(node.plain(), schemas()["workspace.schema.json"])

    check(LANGUAGE + "  value: { orders: order_placed.amount, bands: { top: 100% } }\n")
    for slip in ("treshold: { bronze: 0 }", "membership: { joins: never }", "rewards: { a: { cost: 5 } }"):
        with pytest.raises(jsonschema.ValidationError):
            check(f"program: {{ b2c: {{ {slip} }} }}\n")


def test_without_a_programme_there_is_none() -> None:
    project = load_files(GOOD)
    assert project.program == Program() and project.vocabulary.loyalty == Loyalty()
    assert not LOYALTY_EVENTS.keys() & project.vocabulary.events.keys()
    project = load("")
    assert set(project.vocabulary.loyalty.pools) == {"welcome-voucher", "pool-ten"}
    assert not project.vocabulary.loyalty.declared


def test_its_names_are_everybodys() -> None:
    loyalty = load(LANGUAGE).vocabulary.loyalty
    assert loyalty.declared and loyalty.badges == {"critic"}
    assert loyalty.benefits["b2c"]["gold"] == ("free-shipping", "early-access", "event-invitations")
    assert loyalty.benefits["b2c"]["bronze"] == () and loyalty.benefits["b2c"]["platinum"][-1] == "personal-shopper"
    assert loyalty.rewards == {"tote-bag": "b2c", "ten-off": "b2c"}
    assert (loyalty.challenges, loyalty.draws) == ({"first-review": "b2c"}, {"summer": "b2c"})
    pool = loyalty.pools["welcome-voucher"]
    assert (pool.valid, pool.warn_below, pool.title["en"]) == (Duration(days=90), 50, "Welcome")
    assert loyalty.pools["pool-ten"].valid is None


@pytest.mark.parametrize("said", ["2 hours", "0 days", "3 business days", "1 day 2 hours"])
def test_a_code_is_good_through_the_end_of_a_day(said: str) -> None:
    texts = workspace(LANGUAGE)
    path = "journeys/workspace.yaml"
    texts[path] = texts[path].replace("valid: 90 days", f"valid: {said}")
    with pytest.raises(ProjectError) as caught:
        load_files(texts)
    [problem] = caught.value.problems
    assert (problem.code, problem.hint) == ("wrong-type", "in days, weeks, months or years, such as `90 days`")
    texts[path] = texts[path].replace(f"valid: {said}", "valid: 18 months")
    assert load_files(texts).vocabulary.loyalty.pools["welcome-voucher"].valid == Duration(months=18)


def test_titles_by_language_fall_back_to_the_workspaces() -> None:
    loyalty = load(
        "program: { b2c: { benefits: { silver: [free-shipping, wi-fi] }, "
        "titles: { free-shipping: { en: Free shipping, de: Kostenloser Versand } } } }\n"
    ).vocabulary.loyalty
    assert loyalty.title("free-shipping", "de-AT") == "Kostenloser Versand"
    assert loyalty.title("free-shipping", "fr") == "Free shipping"
    assert loyalty.title("wi-fi", "fr") == "wi fi"


def test_events_of_the_programme_start_journeys_and_count_in_conditions() -> None:
    files = workspace(LANGUAGE)
    files["journeys/segments.yaml"] += 'critics: badge("critic") and points >= 100\n'
    files["journeys/more.yaml"] = (
        "journey: more\ntrigger: { event: challenge_completed, where: points > 50 }\n"
        "exit_when: [ value.band == top ]\nsteps: [ { email: welcome, only_if: progress.missing < 100 } ]\n"
    )
    project = load_files(files)
    assert project.segments["critics"].text.startswith("any(challenge_completed where badge")
    assert LOYALTY_EVENTS.keys() <= project.vocabulary.events.keys()


def test_the_hash_is_of_what_it_says() -> None:
    one = load(LANGUAGE).program.hash
    assert one == load(LANGUAGE.replace("  # any numeric expression", "").replace("{ grace", "{  grace")).program.hash
    swapped = LANGUAGE.replace("joins: free, benefit: welcome-voucher", "benefit: welcome-voucher, joins: free")
    assert one == load(swapped).program.hash
    assert one != load(LANGUAGE.replace("silver: 500", "silver: 501")).program.hash
    francs = BASE.replace("currency: EUR", "currency: CHF").replace("5 EUR", "5 CHF").replace("500 EUR", "500 CHF")
    assert one != load_files(workspace(LANGUAGE, francs)).program.hash, "thresholds of money are in another currency"


# ---- points ---------------------------------------------------------------------------------------------------------


def rule(line: str) -> Any:
    (found,) = b2c(f"points:\n  - {line}").points
    return found


@pytest.mark.parametrize(
    ("line", "points", "per", "currency"),
    [
        ("1 per 1 EUR of order_placed.amount", "1", 100, "EUR"),
        ("1.5 per EUR of order_placed.amount", "1.5", 100, "EUR"),
        ("1 per 0.50 EUR of order_placed.amount", "1", 50, "EUR"),
        ("3 per 100 JPY of order_placed.amount", "3", 100, "JPY"),
        ("2 per 10 of survey_completed.minutes", "2", 10, ""),
        ("50 for survey_completed", "50", 1, ""),
    ],
)
def test_how_many_points_for_what(line: str, points: str, per: int, currency: str) -> None:
    found = rule(line)
    assert (found.points, found.per, found.currency) == (Decimal(points), per, currency)
    assert (found.of != "") == (" of " in line) and found.text == line
    assert (found.where, found.at_most, found.times, found.pending, found.counts) == (None, None, {}, None, True)


def test_what_stands_behind_commas() -> None:
    line = (
        "5 for order_placed where channel in [store, web] "
        'and count(order_placed where order_id == "a, b", 30 days) > 1, '
        "after 14 days, times 2 for gold and platinum, times 1.5 for silver, at most 3 per month, not for tiers"
    )
    found = rule(line)
    assert found.where.text == (
        'channel in ["store", "web"] and count(order_placed where order_id == "a, b", 30 days) > 1'
    )
    assert found.pending == Duration(days=14) and found.at_most == (3, Duration(months=1)) and not found.counts
    assert found.times == {"gold": Decimal(2), "platinum": Decimal(2), "silver": Decimal("1.5")}
    assert rule("50 for review_written, once").at_most == (1, Duration(months=1_200))
    assert rule("50 for review_written, at most 2 per day").at_most == (2, Duration(days=1))


def test_the_key_of_a_rule_is_what_it_is_for() -> None:
    where = 'where channel == "web"'
    assert rule(f"50 for order_placed {where}").key == rule(f"70 for order_placed  {where}, once").key
    keys = [r.key for r in b2c(
        f"points:\n  - 50 for order_placed\n  - 50 for order_placed {where}\n"
        "  - 1 per 1 EUR of order_placed.amount\n  - 1 per 1 CHF of order_placed.amount"
    ).points]  # fmt: skip
    assert len(set(keys)) == 4
    assert told(
        "program:\n  b2c:\n    points:\n      - 5 for review_written\n      - 6 for review_written, once\n"
    ) == [("duplicate-rule", "6 for review_written, once")]


def test_commas_of_lists_calls_and_texts_part_nothing() -> None:
    text = "a [b, c] d(e, f), 'g, h' i, \"j, k\""
    assert [part for _, part in split(text)] == ["a [b, c] d(e, f)", " 'g, h' i", ' "j, k"']
    assert all(text[at : at + len(part)] == part for at, part in split(text))


@pytest.mark.parametrize(
    ("line", "code", "marked"),
    [
        ("fifty for review_written", "bad-points", "fifty for review_written"),
        ("0 for review_written", "bad-points", "0"),
        ("50 for order_placed.amount", "bad-points", "order_placed.amount"),
        ("1 per 0.001 EUR of order_placed.amount", "bad-points", "0.001 EUR"),
        ("1 per 1 XXQ of order_placed.amount", "unknown-currency", "1 XXQ"),
        ("1 per 1 EUR of order_placed.order_id", "type-mismatch", "1 EUR"),
        ("1 per 1 of order_placed.amount", "type-mismatch", "1"),
        ("1 per 1 EUR of order_placed.amonut", "unknown-property", "order_placed.amonut"),
        ("50 for reviw_written", "unknown-event", "reviw_written"),
        ("50 for review_written, at most 0 per day", "bad-points", "at most 0 per day"),
        ("50 for review_written, after 2 business days", "bad-points", "after 2 business days"),
        ("50 for review_written, once, once", "bad-points", "once"),
        ("50 for review_written, times 2 for gold, times 3 for gold", "bad-points", "times 3 for gold"),
        ("50 for review_written, times 2 for strategic", "unknown-tier", "strategic"),
        ("50 for order_placed where chanel == web", "unknown-field", "chanel"),
        ("{ review_written: 50 }", "bad-points", "{ review_written: 50 }"),
    ],
)
def test_a_wrong_rule_is_told_once_at_its_place(line: str, code: str, marked: str) -> None:
    assert told(f"program:\n  b2c:\n    points:\n      - {line}\n") == [(code, marked)]


# ---- other lines ----------------------------------------------------------------------------------------------------


def test_refunds() -> None:
    lines = "refunds:\n  - order_refunded takes back order_placed by order_id of amount"
    (found,) = b2c(lines).refunds
    assert (found.event, found.takes_back, found.match, found.of) == (
        "order_refunded",
        "order_placed",
        "order_id",
        "amount",
    )
    assert b2c(lines.replace(" of amount", "")).refunds[0].of == ""


@pytest.mark.parametrize(
    ("program", "code", "marked"),
    [
        ("b2c: { refunds: [ order_refunded takes back order_placed by reason ] }", "unknown-property", "reason"),
        ("b2c: { refunds: [ order_refunded takes back order_plced by order_id ] }", "unknown-event", "order_plced"),
        ("b2c: { refunds: [ order_refunded ] }", "bad-refund", "order_refunded"),
        ("partner: { commission: 0% of order_placed.amount }", "bad-commission", "0% of order_placed.amount"),
        ("partner: { commission: 5% of order_placed.order_id }", "type-mismatch", "order_placed.order_id"),
        (
            "partner: { commission: { share: 5% of order_placed.amount, tiers: { glod: 8% } } }",
            "unknown-tier",
            "glod",
        ),
        ("b2c: { draws: { d: { entry: each, closes: 2027-01-01, opens: 2027-02-01 } } }", "bad-draw", "2027-01-01"),
        ("b2c: { rewards: { r: { costs: -5 } } }", "wrong-type", "-5"),
        ("b2c: { rewards: { r: { costs: 5, kind: gift } } }", "wrong-choice", "gift"),
        ("b2c: { rewards: { r: { costs: 5, only_if: points > } } }", "bad-condition", ">"),
        ("b2c: { challenges: { c: { when: points } } }", "type-mismatch", "points"),
        ("b2c: { challenges: { Bad Name: { when: points > 5 } } }", "bad-name", "Bad Name"),
        ("b2c: { referral: { converts_on: order_placd } }", "unknown-event", "order_placd"),
        (
            "b2c: { referral: { converts_on: order_placed, reward: { referrer: pool-tn } } }",
            "unknown-voucher-pool",
            "pool-tn",
        ),
        ("b2c: { referral: { converts_on: order_placed, where: amount > 5 } }", "", ""),
        ("b2c: { referral: { converts_on: order_placed, where: amont > 5 } }", "unknown-field", "amont"),
        ("b2c: { points_expire: 36 hours }", "wrong-type", "36 hours"),
        ("b2c: { membership: { joins: free, event: order_placed } }", "bad-program", "order_placed"),
        ("b2c: { membership: { renews: auto } }", "bad-program", "auto"),
        ("b2c: { thresholds: { gold: 5 } }", "bad-program", "thresholds"),
        ("b2c: { tier_by: points, thresholds: { gold: 5 EUR } }", "wrong-type", "5 EUR"),
        ("b2b: { tier_by: annual_value, thresholds: { preferred: 5 CHF } }", "wrong-type", "5 CHF"),
        ("b2b: { tier_by: annual_value, thresholds: { preferred: 5 EUR } }", "", ""),
        ("b2b: { health: annual_value }", "type-mismatch", "annual_value"),
        ("b2b: { downgrade: { protected_if: birthday is set } }", "not-in-scope", "birthday"),
        ("b2c: { downgrade: { protected_if: in segment(active-companies) } }", "bad-condition", "active-companies"),
        (
            'b2c: { downgrade: { protected_if: in segment("active-companies") } }',
            "segment-unit",
            'in segment("active-companies")',
        ),
        ("b2c: 5", "wrong-type", "5"),
        ("b2c:", "empty-value", "b2c"),
        ("value: { orders: order_placed.order_id }", "type-mismatch", "order_placed.order_id"),
        ("value: { contracts: contract.value until opportunity.stage }", "unknown-property", "opportunity.stage"),
        ("value: { contracts: { value: contract.value, ends: contract.end } }", "unknown-property", "contract.end"),
        ("value: { opportunities: { value: opportunity.amount, stages: { open: 5% } } }", "missing-key", ""),
        ("value: { horison: 1 year }", "unknown-key", "horison"),
    ],
)
def test_what_does_not_fit_is_told_once_at_its_place(program: str, code: str, marked: str) -> None:
    text = f"program:\n  {program}\n"
    if not code:
        load(text)
        return
    (found,) = told(text)
    assert found[0] == code and (not marked or found[1] == marked), found


def test_all_mistakes_are_told_at_once() -> None:
    text = (
        "program:\n  b2c:\n    points:\n      - 5 of nothing\n      - 5 for nothng\n    tier_by: pionts\n"
        "    thresholds: { gold: 5 }\n    rewards: { r: { costs: 5, voucher: none } }\n  b2x: {}\n"
    )
    codes = [code for code, _ in told(text)]
    assert codes == ["bad-points", "unknown-event", "unknown-field", "unknown-voucher-pool", "unknown-class"]


# ---- value, commission, referral ------------------------------------------------------------------------------------


def test_value_in_full() -> None:
    project = load(
        """\
program:
  value:
    orders: order_placed.amount
    contracts:
      value: contract.value
      ends: contract.ends
      renews: contract.auto_renew
      renewed: contract_renewed
      term: 2 years
    opportunities: { value: opportunity.amount, stage: opportunity.stage, stages: { open: 20%, offered: 60% } }
    inactive_after: 6 months
    bands: { small: 70%, medium: 20%, big: 8%, top: 2% }
    margin: 37.5%
    horizon: 1 year
    training: { began: signed_up, completed: review_written }
"""
    )
    found = project.program.value
    assert found is not None and (found.event, found.of) == ("order_placed", "amount")
    assert (found.contract, found.contract_value, found.contract_ends) == ("contract", "value", "ends")
    assert (found.contract_renews, found.renewed, found.cancelled, found.term_days) == (
        "auto_renew", "contract_renewed", "", 730,
    )  # fmt: skip
    assert (found.opportunity, found.opportunity_stage, dict(found.stages)) == (
        "opportunity", "stage", {"open": 0.2, "offered": 0.6},
    )  # fmt: skip
    assert list(found.bands.items()) == [("top", 0.02), ("big", 0.08), ("medium", 0.2), ("small", 0.7)]
    assert (found.margin, found.horizon_days, found.inactive_after) == (Decimal("0.375"), 365, Duration(months=6))
    assert found.training == ("signed_up", "review_written")
    short = load("program: { value: { contracts: contract.value until contract.ends } }\n").program.value
    assert short is not None and (short.contract, short.contract_ends, short.margin) == ("contract", "ends", Decimal(1))
    assert project.program.classes == {}


def test_commission_by_tier_and_referral_of_accounts() -> None:
    project = load(
        "program:\n  partner:\n    commission: { share: 2.5% of order_placed.amount, tiers: { gold: 8% } }\n"
        "    referral: { converts_on: contract_renewed, where: contract_id is set, within: 90 days, "
        "reward: { referrer: pool-ten, referred: 5 } }\n    leaderboard: yes\n"
    )
    found = project.program.classes["partner"]
    assert found.commission is not None and found.commission.share == Decimal("0.025")
    assert dict(found.commission.times) == {"gold": Decimal("0.08")} and found.leaderboard
    assert found.referral is not None and (found.referral.code, found.referral.within) == ("account", Duration(days=90))
    assert (found.referral.referrer, found.referral.referred) == ("pool-ten", 5)
    assert [c.text for c in conditions(project.program)] == ["contract_id is set"]


def test_draws_give_tickets_for_what_they_say() -> None:
    draws = {d.name: d for d in b2c(
        "draws:\n  a: { entry: per 100 points, closes: 2027-08-31, winners: 3, prize: pool-ten }\n"
        "  b: { entry: each, closes: 2027-08-31, open_to: tier >= gold }"
    ).draws}  # fmt: skip
    assert (draws["a"].entry, draws["a"].per_points, draws["a"].winners, draws["a"].prize) == (
        "points",
        100,
        3,
        "pool-ten",
    )
    assert draws["b"].entry == "each" and draws["b"].open_to is not None


def test_every_condition_of_the_programme_is_given() -> None:
    texts = {c.text for c in conditions(load(LANGUAGE).program)}
    assert texts == {"status_protected_until is in future", "count(review_written) >= 1"}
