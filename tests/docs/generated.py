"""The parts of pages that are made of the program: tables of keys, step kinds, settings.

A part stands between `<!-- made of: NAME -->` and `<!-- /made -->`. REGEN_GOLDEN=1 writes them anew:

    REGEN_GOLDEN=1 python -m pytest tests/docs/test_generated.py
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import Any

from pydantic_core import PydanticUndefined

from channels.base import Medium
from orchestrator import settings
from orchestrator.centre import PreferencesEntry, QuestionEntry, SurveyEntry
from orchestrator.journey import GoalForm, JourneyForm, MissedForm, RecipientsForm
from orchestrator.listening import ComplaintsEntry
from orchestrator.listening import TaskEntry as ComplaintTask
from orchestrator.metrics import MEASURES, OF_EXPERIMENTS, OF_JOURNEYS, Measure
from orchestrator.model import ACCOUNT_FIELDS, CUSTOMER_FIELDS, LOYALTY_EVENTS, LOYALTY_FIELDS, Field
from orchestrator.policies import (
    IfUncertain,
    MediumHours,
    Minors,
    OptIn,
    PolicyEntries,
    QuietHours,
    Retention,
    TrackingEntry,
)
from orchestrator.reading import _Map, _map_shape
from orchestrator.rules import reasons, rules
from orchestrator.scheme import (
    ChallengeEntry,
    ClassEntry,
    CommissionEntry,
    ContentEntry,
    DowngradeEntry,
    DrawEntry,
    MembershipEntry,
    ReferralEntry,
    ReferralRewards,
    RewardEntry,
    VoucherEntry,
)
from orchestrator.shapes import ListShape
from orchestrator.steps import Step, kinds
from orchestrator.steps.sending import SendStep
from orchestrator.trigger import _GOES_WITH, TriggerForm
from orchestrator.words import Duration
from orchestrator.workspace import Class, Record, Reviewed, SegmentEntry, Sender, TopicEntry, Workspace
from orchestrator.worth import ContractsEntry, OpportunitiesEntry, TrainingEntry, ValueEntry
from tests.docs.legal_hours import legal_hours
from tests.docs.recipes import all_recipes

PART = re.compile(r"(?P<begin><!-- made of: (?P<name>[\w. ]+) -->\n)(?P<text>.*?)(?P<end><!-- /made -->)", re.DOTALL)

GROUPS: Mapping[str, tuple[str, ...]] = {
    "send": ("email", "sms", "push", "mail", "task", "webhook", "survey"),
    "fallback": ("first_of",),
    "time": ("wait", "wait_until", "wait_for"),
    "flow": ("branch", "split", "goto", "enter", "exit"),
    "data": ("update", "emit", "points", "voucher"),
}
"""Where each step kind stands on its page."""


def regenerated(text: str) -> str:
    """A page with its generated parts as they must be."""
    return PART.sub(lambda m: f"{m['begin']}{PARTS[m['name']]()}{m['end']}", text)


# ---- declarations ---------------------------------------------------------------------------------------------------


def keys_of(cls: type[Any], without: Iterable[str] = ()) -> str:
    """A table of a declaration's keys."""
    return _table(_map_shape(cls), frozenset(without))


def _table(shape: _Map, without: frozenset[str]) -> str:
    defaults = {f.name: _default(f) for f in dataclasses.fields(shape.cls)}
    lines = ["| Key | Takes | Without it | What it is |", "| --- | --- | --- | --- |"]
    for key, plan in shape.plan.items():
        if key in without:
            continue
        shown = shape.noun if plan is shape.head else key
        absent = "needed" if plan.required else defaults[plan.name]
        lines.append(_row(f"`{shown}`", _takes(plan.shape), absent, plan.meta.doc))
    return "\n".join(lines) + "\n"


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _takes(shape: Any) -> str:
    words = str(shape.expects)
    if isinstance(shape, ListShape):
        return f"one, or a list; each {shape.item.expects}"
    return re.sub(r"^a map of names; each: ", "names, each with ", words)


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default if field.default is not dataclasses.MISSING else None
    match value:
        case None | "" | () | 0.0 if value is not False:
            return "—"
        case bool():
            return f"`{str(value).lower()}`"
        case frozenset():
            return "every day"
        case timedelta():
            return f"`{Duration(seconds=int(value.total_seconds()))}`"
        case _ if dataclasses.is_dataclass(value):
            return "—"
        case float():
            return f"`{value:.0%}`"
        case _:
            return f"`{value}`"


# ---- steps ----------------------------------------------------------------------------------------------------------


def steps_of(group: str) -> str:
    return "\n".join(_step(kinds()[keyword]) for keyword in GROUPS[group])


def _step(kind: type[Step]) -> str:
    doc = (inspect.getdoc(kind) or "").strip()
    shared = set(_map_shape(SendStep).plan) if issubclass(kind, SendStep) else set()
    table = _table(_map_shape(kind), frozenset(shared))
    return f"### `{kind.keyword}`\n\n{doc}\n\n{table}"


def send_options() -> str:
    return _table(_map_shape(SendStep), frozenset())


# ---- triggers -------------------------------------------------------------------------------------------------------


def triggers() -> str:
    plan = _map_shape(TriggerForm).plan
    lines = ["| Trigger | Takes | Who enters | Goes with |", "| --- | --- | --- | --- |"]
    for key, options in _GOES_WITH.items():
        beside = ", ".join(f"`{option}`" for option in options) or "—"
        lines.append(_row(f"`{key}`", _takes(plan[key].shape), plan[key].meta.doc, beside))
    return "\n".join(lines) + "\n"


def trigger_options() -> str:
    return keys_of(TriggerForm, [k for k in _GOES_WITH if k != "at"])


# ---- fields ---------------------------------------------------------------------------------------------------------


def _fields(fields: Mapping[str, Field]) -> str:
    lines = ["| Field | Kind |", "| --- | --- |"]
    lines += [f"| `{name}` | {field.kind.value} |" for name, field in fields.items()]
    return "\n".join(lines) + "\n"


_SCORED = "; [money](tiers.md#scores-in-money) where all classes that may be meant score in it"

LOYALTY_MEANS: Mapping[str, str] = {
    "points": "The balance: points that can be spent.",
    "points.balance": "The same.",
    "points.pending": "Earned, and not to be spent yet.",
    "points.earned": "Earned in all, less those taken back.",
    "points.expiring": "How many expire next.",
    "points.expire_on": "The day at whose end they do.",
    "membership.state": "`none`, `active` or `lapsed`.",
    "membership.since": "Since when.",
    "membership.until": "Its last day, where it has a term.",
    "progress.score": f"What `tier_by` gives{_SCORED}.",
    "progress.next": "The next tier; unknown at the highest.",
    "progress.missing": f"How much is missing to the next tier{_SCORED}.",
    "progress.shortfall": f"How much is missing to keep the present tier; 0 when it is kept{_SCORED}.",
    "progress.review_on": "The day on which the tier may be lost.",
    "progress.protected": "Whether the tier is protected.",
    "value.band": "Where in the pyramid: `top`, `big`, `medium`, `small`, `inactive`, `prospect`.",
    "value.clv": "What is expected of the time to come.",
    "value.spent": "What came in so far.",
    "value.p_alive": "How likely it is that a customer is still one, 0 to 1.",
    "value.expected_orders": "Purchases expected within a year.",
    "value.renewal": "How likely it is that an account's contracts go on, 0 to 1.",
    "health": "An account's `health`, as the programme reckons it.",
}


def loyalty_fields() -> str:
    lines = ["| Name | Kind | What it is |", "| --- | --- | --- |"]
    lines += [_row(f"`{name}`", field.kind.value, LOYALTY_MEANS[name]) for name, field in LOYALTY_FIELDS.items()]
    return "\n".join(lines) + "\n"


LOYALTY_HAPPENS: Mapping[str, str] = {
    "membership_started": "Somebody became a member.",
    "membership_renewed": "A membership with a term goes on.",
    "membership_ended": "A membership's term is over.",
    "points_expired": "Points expired.",
    "challenge_completed": "A challenge was done.",
    "reward_claimed": "A reward was taken.",
    "reward_fulfilled": "A reward was handed over.",
    "voucher_given": "A voucher was given.",
    "voucher_redeemed": "A voucher was redeemed.",
    "voucher_returned": "A journey took a voucher back into its pool.",
    "referral_made": "Somebody came by a referral code.",
    "referral_converted": "A referral counts; once for each `side`, `referrer` and `referred`.",
    "commission_earned": "A partner earned a commission.",
    "draw_won": "A draw was won.",
    "band_changed": "The place in the customer pyramid changed.",
}


def loyalty_events() -> str:
    lines = ["| Event | When | Its properties |", "| --- | --- | --- |"]
    for name, event in LOYALTY_EVENTS.items():
        properties = ", ".join(f"`{field.name}` ({field.kind.value})" for field in event.fields.values())
        lines.append(_row(f"`{name}`", LOYALTY_HAPPENS[name], properties))
    return "\n".join(lines) + "\n"


def measures_of(measures: Mapping[str, Measure]) -> str:
    """Measures: name, title, what `n` counts, what it is."""
    lines = ["| Measure | `--json` | n | What it is |", "| --- | --- | --- | --- |"]
    lines += [_row(m.title, f"`{m.name}`", m.of or "—", m.definition) for m in measures.values()]
    return "\n".join(lines) + "\n"


# ---- settings -------------------------------------------------------------------------------------------------------


def setting_keys() -> str:
    """Every setting with a section of its own: key, what it is when it is not said, its variable."""
    lines = ["| Setting | Without it | From the environment |", "| --- | --- | --- |"]
    for section, model in SECTIONS.items():
        for name, found in model.model_fields.items():
            default = "needed" if found.default is PydanticUndefined else f"`{found.default}`" if found.default else "—"
            variable = f"{settings.PREFIX}{section.upper()}__{name.upper()}"
            lines.append(_row(f"`{section}.{name}`", default, f"`{variable}`"))
    for medium in Medium:
        variable = f"{settings.PREFIX}CHANNELS__{medium.upper()}__PROVIDER"
        lines.append(_row(f"`channels.{medium}`", "`sandbox`", f"`{variable}`"))
    return "\n".join(lines) + "\n"


SECTIONS = {
    name: type(found.default)
    for name, found in settings.Settings.model_fields.items()
    if hasattr(type(found.default), "model_fields")
}
"""Sections of orchestrator.toml with fixed keys, and their models."""


def rules_heard() -> str:
    """Each rule in the order in which it is heard, in its own words."""
    found = []
    for name, rule in rules().items():
        text = inspect.cleandoc(inspect.getmodule(rule).__doc__ or "")
        codes = ", ".join(f"`{code}`" for code in sorted(reasons()[name]))
        found.append(f"## {name}\n\n{text}\n\nReasons: {codes}\n")
    return "\n".join(found)


PARTS: Mapping[str, Callable[[], str]] = {
    "rules": rules_heard,
    **{f"steps {group}": partial(steps_of, group) for group in GROUPS},
    "send options": send_options,
    "triggers": triggers,
    "trigger options": trigger_options,
    "journey keys": lambda: keys_of(JourneyForm),
    "goal keys": lambda: keys_of(GoalForm),
    "recipients keys": lambda: keys_of(RecipientsForm),
    "missed_runs keys": lambda: keys_of(MissedForm),
    "workspace keys": lambda: keys_of(Workspace),
    "sender keys": lambda: keys_of(Sender),
    "record keys": lambda: keys_of(Record),
    "class keys": lambda: keys_of(Class),
    "topic keys": lambda: keys_of(TopicEntry),
    "reviewed keys": lambda: keys_of(Reviewed),
    "if_uncertain keys": lambda: keys_of(IfUncertain),
    "policy keys": lambda: keys_of(PolicyEntries),
    "quiet_hours keys": lambda: keys_of(QuietHours),
    "hours keys": lambda: keys_of(MediumHours),
    "minors keys": lambda: keys_of(Minors),
    "double_opt_in keys": lambda: keys_of(OptIn),
    "tracking keys": lambda: keys_of(TrackingEntry),
    "retention keys": lambda: keys_of(Retention),
    "preferences keys": lambda: keys_of(PreferencesEntry),
    "complaint keys": lambda: keys_of(ComplaintsEntry),
    "complaint task keys": lambda: keys_of(ComplaintTask),
    "survey keys": lambda: keys_of(SurveyEntry),
    "question keys": lambda: keys_of(QuestionEntry),
    "segment keys": lambda: keys_of(SegmentEntry),
    "customer fields": lambda: _fields(CUSTOMER_FIELDS),
    "account fields": lambda: _fields(ACCOUNT_FIELDS),
    "loyalty fields": loyalty_fields,
    "loyalty events": loyalty_events,
    "program keys": lambda: keys_of(ClassEntry),
    "membership keys": lambda: keys_of(MembershipEntry),
    "downgrade keys": lambda: keys_of(DowngradeEntry),
    "challenge keys": lambda: keys_of(ChallengeEntry),
    "reward keys": lambda: keys_of(RewardEntry),
    "voucher keys": lambda: keys_of(VoucherEntry),
    "content keys": lambda: keys_of(ContentEntry),
    "referral keys": lambda: keys_of(ReferralEntry),
    "referral reward keys": lambda: keys_of(ReferralRewards),
    "commission keys": lambda: keys_of(CommissionEntry),
    "draw keys": lambda: keys_of(DrawEntry),
    "value keys": lambda: keys_of(ValueEntry),
    "contracts keys": lambda: keys_of(ContractsEntry),
    "opportunities keys": lambda: keys_of(OpportunitiesEntry),
    "training keys": lambda: keys_of(TrainingEntry),
    "measures": lambda: measures_of(MEASURES),
    "measures of journeys": lambda: measures_of(OF_JOURNEYS),
    "measures of experiments": lambda: measures_of(OF_EXPERIMENTS),
    "settings": setting_keys,
    "legal hours": legal_hours,
    "recipes": all_recipes,
}
