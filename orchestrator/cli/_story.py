"""A story on the terminal: each step and each message with its place, and why. Reads at 60 columns and in a file."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.text import Text

from orchestrator.cli._look import MARK, STYLE, fate, heard, listed, when

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.consider import Entry, Part
    from orchestrator.model import Json
    from orchestrator.why import Decision, Moment, Notice, Refusal, Run, Said, Sent, Story, Word

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def show_story(console: Console, story: Story) -> None:
    """The whole answer: what happened, then what is in the way of what did not."""
    account = f" of {story.account}" if story.account and story.account != story.key else ""
    about = f" · {story.journey}" if story.journey else ""
    console.print(Text.assemble((f"{story.key}{account}{about}", "bold"), ("   all times are UTC", "dim")))
    if story.merged_from:
        console.print(f"{story.merged_from} was merged into {story.key}", style="yellow", soft_wrap=True)
    for run in story.runs:
        console.print()
        show_run(console, run)
    if story.others:
        console.print("\n[bold]Messages of no journey[/]")
        for sent in story.others:
            show_message(console, sent, indent=2)
    for no in story.stops:
        console.print()
        show_refusal(console, no)
    if story.journey is not None:
        for entry in story.entries:
            console.print()
            show_entry(console, entry, again=bool(story.runs))
    elif story.entries:
        console.print("\n[bold]Not in[/]")
        for entry in story.entries:
            reason = entry.first_reason or "nothing is in the way: the next tick lets them in"
            _hang(console, Text(reason), 4, Text(f"{entry.journey}  ", style="cyan"))
        console.print(f"  [dim]more of one: orchestrator why {story.key} JOURNEY[/]", soft_wrap=True)


def _hang(console: Console, text: Text, indent: int, label: Text | None = None) -> None:
    """A paragraph behind its label, folded under its own beginning. No blanks at the ends of lines: it may be piped."""
    head = Text(" " * indent).append_text(label or Text(""))
    for line in text.wrap(console, max(24, console.width - head.cell_len)):
        line.rstrip()
        console.print(head.copy().append_text(line), soft_wrap=True)
        head = Text(" " * head.cell_len)


def _place(file: str, line: int | None) -> str:
    return f"{file}:{line}" if line else file


# ---- a run ----------------------------------------------------------------------------------------------------------


def show_run(console: Console, run: Run) -> None:
    """One way through a journey, from its trigger to where it stands."""
    console.print(Text.assemble((f"{run.journey}", "bold cyan"), f"  run {run.id}"))
    for label, text in _about(run):
        _hang(console, Text(text), 2, Text(f"{label:<9}", style="dim"))
    rest = list(run.messages)
    before: tuple[str, str] = ("", "")
    for moment in run.moments:
        mine = _planned_by(moment, rest)
        for sent in mine:
            rest.remove(sent)
        told = _moment(moment)
        if not mine and (moment.step, told) == before:
            continue  # woken for nothing, it waits on
        before = (moment.step, told)
        if mine or told:
            console.print()
            _headline(console, moment.at, moment.step, told, _place(moment.file, moment.line))
        for sent in mine:
            show_message(console, sent, indent=4, step=len(mine) > 1 or sent.step != moment.step)
    for sent in rest:
        console.print()
        _headline(console, sent.planned_at, sent.step, "", _place(sent.file, sent.line))
        show_message(console, sent, indent=4, step=False)


def _about(run: Run) -> Iterator[tuple[str, str]]:
    began = listed([run.began, run.because])
    yield "entered", f"{when(run.entered_at)}" + (f" by: {began}" if began else "")
    state = "in force" if run.current else "an earlier one"
    yield "version", f"{run.version[:7]} ({state})  {_place(run.file, run.line)}"
    if not run.readable:
        yield "parked", "this version cannot be read against the workspace in force; `orchestrator doctor` says more"
    if run.ended_at is not None:
        yield "ended", f"{when(run.ended_at)}: {_ENDS.get(run.ended_because, run.ended_because)}"
    else:
        at = f"at {run.step}, until {_until(run)}"
        yield "now", at if run.step else "before the first step: the next tick moves it"
    if run.paused:
        yield "paused", run.paused
    if run.note:
        yield "note", run.note


def _until(run: Run) -> str:
    """What a run waits for where it stands."""
    waiting = [sent.id for sent in run.messages if sent.state in ("planned", "held", "sending")]
    if run.wake_at is not None:
        return f"{when(run.wake_at)} or an event"
    if waiting:
        return f"message {', '.join(map(str, waiting))} is sent or refused"
    return "something happens"


_ENDS = {
    "completed": "completed, all steps are done",
    "goal": "the goal was reached",
    "exited": "exited",
    "holdout": "holdout: entered and sent nothing, to compare with",
    "failed": "failed",
    "merged": "the customer was merged into another, who is in this journey too",
    "edited": "the journey was edited, and its `in_flight` let this run go",
}


def _planned_by(moment: Moment, messages: Sequence[Sent]) -> list[Sent]:
    """The messages that a line of the diary planned."""
    if moment.what != "planned":
        return []
    named = {str(told).rpartition(" to ")[0] for told in moment.detail.get("sends", ())} or {moment.step}
    mine = [m for m in messages if m.visit == moment.visit and m.planned_at == moment.at]
    # What a step planned that an edit renamed goes by its new name: the instant tells whose it was.
    return [m for m in mine if m.step in named] or mine


def _headline(console: Console, at: datetime, step: str, told: str, place: str) -> None:
    console.print(
        Text.assemble((when(at), "dim"), "  ", (step or "(the beginning)", "bold"), "  ", (place, "blue")),
        soft_wrap=True,
    )
    if told:
        _hang(console, Text(told), 4)


def _moment(moment: Moment) -> str:
    """What a step did, in a sentence; "" where its messages say it all."""
    detail = moment.detail
    match moment.what:
        case "planned":
            return "the next by role takes the place of one who cannot be reached" if "because" in detail else ""
        case "left" if "messages" in detail:
            return ""
        case "left" if "outcome" in detail:
            return f"goes on: {_several(detail['outcome'])}"
        case "waits":
            until = f"until {when(_at(detail['until']))}" if detail.get("until") else ""
            zone = f"(the clock of {detail['zone']})" if until and detail.get("zone") else ""
            what = f"for {_condition(str(detail['for']))}" if "for" in detail else ""
            because = detail.get("because", "")
            return " ".join(p for p in ("waits", f"{what}," if what and until else what, until, zone, because) if p)
        case "woke":
            return f"goes on after {detail['waited']}" if "waited" in detail else "goes on"
        case "chose":
            return _chose(detail)
        case "ended":
            because = str(detail.get("ended", ""))
            return _with(f"ends: {_ENDS.get(because, because)}", {k: v for k, v in detail.items() if k != "ended"})
        case "timed out" if "for" in detail:
            return f"{_condition(str(detail['for']))} has not come within {detail.get('waited', 'its time')}"
        case "skipped":
            return _with("skipped", detail)
        case "moved":
            came = f" from {detail['from']}" if detail.get("from") not in ("", None, moment.step) else ""
            return f"moved{came} to the version of apply {detail.get('apply')}"
        case "came":
            what = _condition(str(detail.get("for", ""))) or "it"
            return f"{what} has come" + (" (it was so already)" if detail.get("already") else "")
        case "updated":
            return f"wrote {', '.join(map(str, detail.get('fields', ())))}"
        case "voucher":
            return f"asks for a code of the voucher pool `{detail.get('pool')}`"
        case "took_back":
            return f"a code of the voucher pool `{detail.get('pool')}` goes back"
        case "not_entered":
            because = {"paused": "is paused", "draft": "is a draft", "archived": "is archived"}
            return f"not into {detail['journey']}: it {because.get(detail['because'], 'is not in force any more')}"
        case "no_voucher" if "because" in detail:
            return f"no code of the voucher pool `{detail.get('pool')}` was there to go back"
        case "no_voucher":
            return f"no code was given: the voucher pool `{detail.get('pool')}` was empty"
        case _:
            return _with(moment.what, detail)


def _several(notes: Sequence[str]) -> str:
    """What became of each recipient's turn, the same said once."""
    turns = Counter(note.replace(": denied: ", " refused: ") for note in map(str, notes))
    return "; ".join(f"{note} ×{n}" if n > 1 else note for note, n in turns.items())


def _chose(detail: Mapping[str, Any]) -> str:
    tried = [f"{t['condition']} is {_TRUTH[t['truth']]}" for t in detail.get("tried", ())]
    arm = detail.get("arm")
    told = f"takes `{arm}`" if arm is not None else "takes none of its ways"
    if "decided" in detail:
        told += f", which won the experiment: decision {detail['decided']}"
    rest = {k: v for k, v in detail.items() if k not in ("tried", "arm", "cards", "decided")}
    return _with(told + (f": {'; '.join(tried)}" if tried else ""), rest)


_HAPPENED = re.compile(r"happened\((\w+)(?: where (.*?))? since (\w+)(?: within (\d+)s)?\)$")


def _condition(text: str) -> str:
    """A condition as a person would say it: what is canonical for an event is not how one writes it."""
    found = _HAPPENED.match(text)
    if found is None:
        return text
    event, where, since, within = found.groups()
    parts = [f"the event {event}", f"where {where}" if where else "", "" if since == "ever" else f"since the {since}"]
    if within:
        parts[2] = f"within {int(within) / 86400:g} days of the {since}"
    return " ".join(part for part in parts if part)


_TRUTH = {True: "true", False: "false", None: "not known"}


def _with(told: str, detail: Mapping[str, Any]) -> str:
    if set(detail) == {"because"}:
        return f"{told}: {detail['because']}"
    rest = "; ".join(_condition(str(v)) if k == "condition" else f"{k} {_value(v)}" for k, v in detail.items())
    return f"{told} ({rest})" if rest else told


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value))
    if isinstance(value, dict):
        return ", ".join(f"{k} {_value(v)}" for k, v in value.items())
    return _TRUTH[value] if value is None or isinstance(value, bool) else str(value)


def _at(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(str(value))
    except ValueError:
        return None


# ---- a message ------------------------------------------------------------------------------------------------------


def show_message(console: Console, sent: Sent, *, indent: int, step: bool = True) -> None:
    """What became of one message: its state, then each decision with every rule's word, then what was heard."""
    whom = sent.to or sent.whom or (sent.addressee if sent.addressee != "customer" else "")
    to = f" to {whom}" if whom else ""
    head = fate(sent.state)
    head.append(f"  {sent.medium} {sent.template}".rstrip() + to, style="default")
    if sent.state in ("planned", "held") and sent.next_at is not None:
        head.append(f", until {when(sent.next_at)}", style="yellow")
        opens = sent.decisions[-1].until if sent.decisions else None
        if opens is not None and sent.next_at > opens:
            head.append(f": its turn after {opens:%H:%M}, `release` spreads what was held", style="dim")
    head.append(f"  (message {sent.id}, topic {sent.topic or 'none'}: {sent.purpose})", style="dim")
    _hang(console, head, indent)
    if step:
        _hang(console, Text(f"{sent.step}  {_place(sent.file, sent.line)}", style="blue"), indent + 2)
    for decision in sent.decisions:
        show_decision(console, decision, sent, indent + 2)
    for notice in _once(sent.notices):
        _notice(console, notice, sent, indent + 2)
    if not sent.decisions:
        told = "it has not been judged yet" if sent.state in ("planned", "held") else "it was never judged"
        told += f": {sent.reason}" if sent.reason else ""
        _hang(console, Text(told, style="dim"), indent + 2)


def _once(notices: Sequence[Notice]) -> Iterator[Notice]:
    """Without the feedback that an outcome of the same name and instant repeats."""
    outcomes = {(n.at, n.what) for n in notices if n.kind == "outcome"}
    for notice in notices:
        if notice.kind == "outcome" or (notice.at, notice.what) not in outcomes:
            yield notice


_SEALED = {
    "erased": "what it was judged on has been erased",
    "damaged": "what it was judged on does not open: it was changed, or the keys were: `orchestrator audit verify`",
    "closed": "what it was judged on is sealed, and the key file is not here; restore it from its backup",
}
_SAYS = {"allow": "allowed", "hold": "held", "deny": "refused"}


def show_decision(console: Console, decision: Decision, sent: Sent, indent: int) -> None:
    """One judgement: what it came to and by which rule, then every rule that was heard."""
    head = fate(decision.say, f"{_SAYS.get(decision.say, decision.say)} {when(decision.at)}")
    if decision.rule:
        head.append(" by the rule ", style="default")
        head.append(decision.rule, style="bold")
        if decision.reason != decision.rule:
            head.append(": ", style="default")
            head.append(decision.reason, style="bold")
    if decision.until is not None:
        head.append(f", until {when(decision.until)}", style="yellow")
    _hang(console, head, indent)
    if decision.meaning:
        _hang(console, Text(decision.meaning), indent + 2)
    if decision.segments:
        _hang(console, Text(_segments(decision.segments)), indent + 2)
    if decision.where:
        _hang(console, Text(f"in the text: {decision.where}"), indent + 2)
    if decision.verdicts is None:
        told = _SEALED.get(decision.sealed, "what it was judged on is not there")
        _hang(console, Text(told, style="dim"), indent + 2)
        return
    if len(decision.places) > 1:
        _hang(console, Text(f"may be in {', '.join(f'{p} ({source})' for p, source in decision.places)}"), indent + 2)
    quiet = [v for v in decision.verdicts if not _told(v, sent)]
    if quiet:
        words = Text("heard: ", style="dim")
        for verdict in quiet:
            words.append(f"{verdict.rule} ", style="default")
            words.append(f"{MARK.get(verdict.say, '✗')}  ", style=STYLE.get(verdict.say, "red"))
        _hang(console, words, indent + 2)
    for verdict in decision.verdicts:
        lines = _told(verdict, sent)
        for number, line in enumerate(lines):
            mark = Text(f"{MARK.get(verdict.say, '✗')} " if number == 0 else "  ", style=STYLE.get(verdict.say, "red"))
            name = f"{verdict.rule}: " if number == 0 else ""
            _hang(console, Text.assemble((name, "bold"), line), indent + 2, mark)


def _told(verdict: Said, sent: Sent) -> list[str]:
    """What a rule weighed, in words; nothing where it had nothing to look at."""
    inputs = verdict.inputs
    match verdict.rule:
        case "consent":
            return _consent(verdict, sent)
        case "quiet_hours" if "zones" in inputs:
            return _hours(verdict, sent.medium)
        case "frequency_cap" if "caps" in inputs:
            first = [f"made way for {listed(f'message {i}' for i in inputs['first'])}"] if "first" in inputs else []
            return [*first, *(_cap(cap) for cap in inputs["caps"])]
        case "budget" if "budget" in inputs:
            return [_budget(inputs)]
        case "pause" if verdict.say != "allow":
            return [f"the customer asked for a rest until {_short(inputs['paused_until'])}"]
        case "partner" if verdict.say != "allow":
            said = " never" if inputs["policy"] == "never" else ", where the partner allows it: it has not"
            return [f"the customer buys through a partner, and gets marketing{said}"]
        case "open_case" if verdict.say != "allow":
            return ["a case is open with support"]
        case "suppression" if "suppressions" in inputs:
            return [_suppressed(one) for one in inputs["suppressions"]]
        case "dedupe" if "last_sent_at" in inputs:
            hours = inputs["within_seconds"] / 3600
            return [f"the same went to the same address at {_short(inputs['last_sent_at'])}, within {hours:g} hours"]
        case "expiry" if "expires_at" in inputs:
            return [f"its time was over at {_short(inputs['expires_at'])}"]
        case "address" if verdict.say == "deny":
            return [f"no address for {inputs.get('medium', sent.medium)}"]
    told = [f"{name} {_value(value)}" for name, value in inputs.items()]
    return [listed([verdict.reason, *told])] if told or verdict.say != "allow" else []


def _consent(verdict: Said, sent: Sent) -> list[str]:
    inputs = verdict.inputs
    where = ", ".join("a country not known" if c == "unknown" else c for c in inputs.get("countries", ()))
    rules = listed(f"`{row}`" for row in inputs.get("rules", ()))
    if verdict.reason == "no_consent_needed":
        return [f"none is needed for {sent.medium} in {where}, and none is on record (by the ruleset's {rules})"]
    law = [f"judged for {where}, by the ruleset's {rules}"] if where and rules else []
    if not inputs.get("states"):
        if verdict.reason in ("transactional", "not_applicable", "no_consent_rule"):
            return [verdict.meaning]
        return [f"there is no yes to {inputs.get('topic', sent.topic)} on {inputs.get('medium', sent.medium)}", *law]
    words = {word.id: word for word in sent.relied_on}
    told = []
    for number, state in zip(inputs.get("events", ()), inputs["states"], strict=False):
        told += _state(number, state, words.get(number), sent)
    return [*told, *law]


def _state(number: int, state: Json, word: Word | None, sent: Sent) -> list[str]:
    """One consent that was weighed: the ground, how it is known, and the words that were shown."""
    topic = "everything" if state["topic"] == "*" else state["topic"]
    ground = str(state.get("basis", "")).replace("_", " ") + (", confirmed" if state.get("confirmed") else "")
    until = f"until {_short(state['until'])}" if state.get("until") else ""
    how = sealed = ""
    if word is not None:
        how = listed([word.method or "", word.source or ""])
        sealed = f"its source is {word.sealed}" if word.sealed else ""
    known = "; ".join(part for part in (ground, until, how, sealed, f"consent event {number}") if part)
    told = [f"{state['state']} for {topic} on {sent.medium} since {_short(state['since'])} ({known})"]
    if word is not None and word.wording:
        text = word.wording if len(word.wording) <= 160 else f"{word.wording[:157]}…"
        version = f"version {word.wording_version}, " if word.wording_version else ""
        told.append(f"shown: “{text}” ({version}SHA-256 {(word.wording_hash or '')[:12]}…)")
    return told


def _hours(verdict: Said, medium: str) -> list[str]:
    inputs = verdict.inputs
    zones = [f"{z['name']} ({z['source']})" for z in inputs["zones"]]
    where = ", ".join(zones[:4]) + (f" and {len(zones) - 4} more" if len(zones) > 4 else "")
    if unknown := inputs.get("unknown"):
        return [f"unknown: {', '.join(unknown)}; candidates: {where}"]
    if not zones:
        return ["no time zone is known: none stated, none by address, phone number or account"]
    state = verdict.reason.replace("_", " ")
    told = [f"{state}: {where}"]
    if "window" in inputs:
        window = inputs["window"]
        days = "every day" if len(window["days"]) == 7 else " ".join(_DAYS[d] for d in window["days"])
        told = [f"{state}: {medium} {window['open']}–{window['close']}, {days}, in {where}"]
    if inputs.get("rules"):
        told.append(f"law and custom: {', '.join(inputs['rules'])} (ruleset {inputs['ruleset']})")
    if inputs.get("without_rule"):
        told.append(f"no legal hours are known for {', '.join(inputs['without_rule'])}")
    if "next_open" in inputs:
        told.append(f"opens {_short(inputs['next_open'])} UTC{_there(inputs['next_open'], inputs['zones'][0]['name'])}")
    return told


def _there(at: str, name: str) -> str:
    """The same instant on the recipient's own clock."""
    from orchestrator.zones import local

    found = local(datetime.fromisoformat(at), name)
    return f" ({found:%a %H:%M} in {name})" if found is not None else ""


def _suppressed(one: Mapping[str, Any]) -> str:
    return f"{one['reason']}, " + (f"until {_short(one['until'])}" if one["until"] else "for good")


def _cap(cap: Mapping[str, Any]) -> str:
    return f"{cap['counted']} of {cap['allowed']} since {_short(cap['since'])}, by `{cap['line']}`"


def _budget(inputs: Mapping[str, Any]) -> str:
    from orchestrator.outbound import price_text

    spent, limit, price = (price_text(inputs[name]) for name in ("spent", "budget", "price"))
    one = f"its {inputs['segments']} segments cost" if "segments" in inputs else "one costs"
    return f"{spent} of {limit} {inputs['currency']} were spent this {inputs['per']}; {one} {price}"


def _segments(told: Mapping[str, Any]) -> str:
    """As what a text went out, and what that costs."""
    from orchestrator.outbound import price_text

    several = "segment" if told["count"] == 1 else "segments"
    cost = f", {price_text(told['cost'])} {told['currency']}" if "cost" in told else ""
    return f"as {told['count']} {several} ({told['encoding']}){cost}"


def show_refusal(console: Console, no: Refusal) -> None:
    """A no, what had gone out before it, and what it stopped."""
    what = f"every {'text' if no.medium == 'sms' else no.medium}" if no.topic == "*" else f"{no.topic} on {no.medium}"
    how = f" ({no.method})" if no.method else ""
    _hang(console, Text.assemble((f"No to {what}", "bold"), f" {when(no.at)}{how}"), 0)
    for title, sents, style in (
        ("handed over in the day before", no.before, "default"),
        ("stopped by it", no.stopped, "green"),
        ("handed over after it", no.after, "red"),
    ):
        for sent in sents:
            last = next((n.at for n in sent.notices if n.kind == "outcome"), sent.settled_at)
            at = f" {when(last)}" if last is not None else ""
            _hang(console, Text(f"{title}: message {sent.id}, {sent.step}, {sent.state}{at}", style=style), 2)
    if not no.before:
        _hang(console, Text("nothing was handed over in the day before it", style="dim"), 2)


def _short(stamp: str) -> str:
    return stamp[:16].replace("T", " ")


def _notice(console: Console, notice: Notice, sent: Sent, indent: int) -> None:
    text = fate(notice.what, f"{notice.what} {when(notice.at)}")
    if notice.kind == "feedback":
        text = heard(notice.what, f"{notice.what} {when(notice.at)}")
    elif notice.what == "sent" and sent.provider:
        text.append(f" through {sent.provider}", style="default")
    if notice.reason:
        text.append(f": {notice.reason}", style="bold")
    if notice.meaning:
        text.append(f" — {notice.meaning}", style="default")
    if notice.again is not None:
        text.append(f" again {when(notice.again)}", style="yellow")
    _hang(console, text, indent)


# ---- an entry -------------------------------------------------------------------------------------------------------


def show_entry(console: Console, entry: Entry, *, again: bool) -> None:
    """Whether a journey would let somebody in now: its triggers, its audience part by part, what is in the way."""
    title = "Would there be another run now?" if again else f"Why there is no run of {entry.journey}"
    console.print(Text.assemble((title, "bold"), "  ", (_place(entry.file, entry.line), "blue")), soft_wrap=True)
    for block in entry.blocks:
        _hang(console, Text(block), 2, Text("✗ ", style="red"))
    for asked in entry.triggers:
        mark, style = {True: ("✓ ", "green"), False: ("✗ ", "red"), None: ("· ", "dim")}[asked.holds]
        place = _place(asked.file, asked.line)
        words = Text.assemble(("trigger ", "dim"), (asked.words, "bold"), "  ", (place, "blue"))
        _hang(console, words, 2, Text(mark, style=style))
        for line in asked.told:
            _hang(console, Text(line), 6)
        _parts(console, asked.parts, 6)
    for audience in entry.audiences:
        mark, style = ("✓ ", "green") if audience.holds else ("✗ ", "red")
        about = f" for {audience.about}" if audience.about else ""
        _hang(console, Text.assemble(("audience", "dim"), about), 2, Text(mark, style=style))
        _parts(console, audience.parts, 6)
    if not entry.audiences and entry.triggers:
        _hang(console, Text("everybody may enter who sets off a trigger", style="dim"), 4)
    for note in entry.notes:
        _hang(console, Text(note), 2, Text("! ", style="yellow"))


def _parts(console: Console, parts: Sequence[Part], indent: int) -> None:
    for part in parts:
        mark, style = {True: ("✓", "green"), False: ("✗", "red"), None: ("?", "yellow")}[part.truth]
        _hang(console, Text(part.text), indent, Text(f"{mark} {_TRUTH[part.truth]:<9}  ", style=style))
