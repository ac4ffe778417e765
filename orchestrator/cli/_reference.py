"""The reference of the commands, made from the commands themselves: `python -m orchestrator.cli._reference`.

Prints docs/reference/cli.md; a test holds the page to it.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping

ORDER = (
    (
        "From an empty folder to a workspace in force",
        ("init", "check", "explain", "schema", "preview", "test", "simulate", "plan", "apply"),
    ),
    ("Versions, and a second person", ("versions", "diff", "rollback", "proposals", "approve", "reject")),
    ("Writing", ("new", "new journey", "draw")),
    ("Data in", ("import", "customer merge", "api create", "api list", "api revoke", "api openapi")),
    ("Running", ("run", "up", "serve", "pause", "resume", "demo")),
    (
        "Looking",
        ("why", "customer", "accounts", "segment", "journeys", "outbox", "log", "stats", "answers", "listening"),
    ),
    ("What customers are worth", ("value", "refresh", "metrics", "metrics what-if")),
    ("Experiments", ("experiments",)),
    ("Tiers", ("tiers",)),
    ("Points", ("points show", "points award", "points check")),
    ("Rewards", ("rewards", "rewards claim", "rewards cancel", "rewards fulfil")),
    ("Vouchers", ("vouchers import", "vouchers list", "vouchers redeem", "vouchers void")),
    (
        "Challenges, draws, referrals",
        ("challenges", "draws", "draws show", "draws verify", "leaderboard", "referrals", "commissions"),
    ),
    ("Uncertain sends", ("uncertain", "reconcile", "settle")),
    (
        "Auditing",
        (
            "audit verify",
            "audit report",
            "audit export",
            "audit proof",
            "audit leaves",
            "audit anchor",
            "audit seal",
            "audit key",
            "audit verifier",
        ),
    ),
    ("People's rights", ("customer export", "customer erase", "retain")),
    ("Letters", ("letters", "letters take-back", "letters approve")),
    ("Tasks and lists", ("tasks", "tasks digest", "audience")),
    ("The machine", ("db upgrade", "db check", "db stats", "keys rotate", "doctor")),
)
"""The page's chapters. A command that is in none of them is an error, so that none is forgotten."""

ANSWERS: Mapping[str, Mapping[str, str]] = {
    "preview": {
        "name": "what was looked at",
        "file": "the page",
        "at": "as of when",
        "who": "for whom, in words",
        "real": "whether that is a customer",
        "renderings": "`medium`, `text`, `step`, `locale`, `values` (usual, longest, emptiest), `own` (as she would "
        "get it), `refused`, `gaps` (names without a value), `made_up`, `parts` (without the page), "
        "`segments`, `encoding` "
        "each",
        "remarks": "`weight` (bad, doubt, note), `text`, `where` each",
        "extremes": "of the audience, by name: `name`, `of`, `missing`, `longest`, `shortest` each",
        "tests": "test sends, as messages' numbers",
    },
    "simulate": {
        "project": "the hash of what was played",
        "began": "the first instant",
        "ended": "the last",
        "seed": "as asked for",
        "customers": "how many were played",
        "scale": "how many real customers one of them stands for",
        "messages": "SHA-256 over all messages: the same for the same people, clock, behaviour and seed",
        "volumes": "what went out: `day`, `journey`, `step`, `medium`, `messages`, `cost`, `currency` each",
        "refusals": "`journey`, `medium`, `verdict` (hold, deny, expired, cancelled), `reason`, `messages` each",
        "replies": "`day`, `journey`, `medium`, `kind`, `count` each",
        "journeys": "journey → `entered`, `steps`, `inside`, `ended`, `sent`",
        "notes": "what could not be played, and what would have been paused, in words",
        "compared": "the same of the other, with `--compare`",
    },
    "draw": {"files": "the pictures that were written"},
    "new": {"recipes": "`recipe`, `group`, `title`, `about`, `unit` each"},
    "new journey": {
        "journey": "its name",
        "file": "its file",
        "class": "of whom it is",
        "topic": "of its messages",
        "written": "new files",
        "changed": "file → what was added to it, as a unified diff",
        "warnings": "what `check` will warn of, as there",
        "notes": "what is left to people, in words",
        "next": "commands to go on with",
        "error": "why nothing was written, with `problems` and `by_hand` (what to declare first); exit code 1",
    },
    "rewards": {
        "rewards": "`reward`, `class`, `kind`, `costs`, `tiers`, `left` (null: any number), `stock`, `voucher` (its "
        "pool), `claimed` (open), `handed_over`, `fulfilled`, `cancelled` each",
        "not_declared": "claims of rewards that are gone: `reward` and the same counts each",
    },
    "rewards claim": {
        "claim": "its number; null where it is refused",
        "reward": "its name",
        "cost": "points",
        "state": "claimed, or fulfilled by its voucher",
        "voucher": "`code` and `expires`, where it has one",
        "reason": "why it is refused, as a word; exit code 1",
        "text": "the same in words",
    },
    "rewards cancel": {
        "claim": "its number",
        "cancelled": "whether it is",
        "reason": "why not: unknown, redeemed, fulfilled; exit code 1",
    },
    "rewards fulfil": {
        "files": "file → claims in it",
        "claims": "handed over",
        "cancelled": "claims of people who were erased",
        "finished": "files of an earlier run that had died",
    },
    "vouchers import": {
        "kind": "vouchers",
        "rows": "inserted + quarantined",
        "inserted": "new codes",
        "quarantined": "put aside; exit code 1 when there are any",
        "updated": "none",
        "unchanged": "none",
        **dict.fromkeys(("already", "resumed_at", "quarantine_file", "reasons", "warnings"), "as of `import`"),
    },
    "vouchers list": {
        "pools": "`pool`, `declared`, `free`, `given` (with somebody, and good), `redeemed`, `expired`, `void`, "
        "`valid` (such as 90 days, or null), `warn_below` each",
        "problems": "pools that run short, in words; exit code 1 when there are any",
    },
    "vouchers redeem": {
        "done": "whether it is redeemed, by this receipt",
        "reason": "why not: unknown, not_given, expired, void, redeemed; exit code 1",
        "pool": "whose code it is",
        "expires_on": "its last day; null: for ever",
    },
    "vouchers void": {
        "done": "whether it is void",
        "reason": "why not: unknown, redeemed; exit code 1",
        "pool": "whose code it is",
        "expires_on": "null",
    },
    "tiers": {
        "classes": "without a key: `class`, `unit`, `tiers` (`tier`, `units`, `at_risk`, `protected`) each",
        "unit": "customer or account: whose the tier is",
        "key": "of that one",
        "class": "its class",
        "tier": "as it is now",
        "since": "when it was reached",
        "by": "what the class's tiers go by; null: they are imported",
        "score": "what that comes to now; null: not known",
        "next": "the next tier",
        "missing": "what is missing to it",
        "shortfall": "what is missing to keep the present one",
        "currency": "of the score and what is missing, which are money in minor units; null: they are none",
        "lost_on": "the review that would take it, as things stand; null: none",
        "grace_since": "the review on which the grace began",
        "held_until": "until then a lower tier that was imported stays",
        "held_below": "without reviews it stays until the score is enough for more than this tier",
        "protected": "whether no review takes it",
        "membership": "none, active or lapsed; null: the class has none",
        "member_since": "its first day",
        "member_until": "its last day",
        "changes": "newest first: `at`, `from`, `to`, `direction`, `why` (empty: an import) each",
        "replayed": "with `--replay`: the tier worked out from the first event",
    },
    "experiments": {
        "experiments": "`journey`, `split` (its id, or `holdout`), `state` (too early, gathering, decided), `by` (the "
        "event), `within_seconds`, `confidence`, `since`, `arms` (`name`, `share`, `runs`, `successes`, `rate`, "
        "`waiting` each), `comparisons` (`first`, `second`, `difference`, `low`, `high`, `e_value`, `p_value`, `clear` "
        "each), `leader`, `why`, `to_go` (runs; null: more than a million), `decision` (`id`, `at`, `winner`, `arms`; "
        "null: none yet) each",
    },
    "points show": {
        "unit": "customer or account: whose they are",
        "key": "of that one",
        "points": "to spend; negative: owed",
        "pending": "cannot be spent yet",
        "earned": "in all, net of what was taken back",
        "expiring": "how many go next",
        "expire_on": "at the end of which day; null: never",
        "without_account": "true: a customer whose points are an account's, and who belongs to none: she earns nothing",
        "entries": "newest first: `at`, `kind`, `points` (signed), `what`, `active_at`, `expires_on` each",
    },
    "points award": {
        "unit": "customer or account",
        "key": "as it was named",
        "written": "false: this key was used before",
        "points": "what there is now",
    },
    "points check": {
        "looked": "balances",
        "differences": "`unit`, `key`, `what`, `stored`, `ledger` each",
        "other_currency": "`rule`, `currency`, `events` each: money that earned nothing",
        "without_account": "`class`, `customers` each: whose points are an account's, and who belong to none",
        "rebuilt": "whether they were written anew",
    },
    "challenges": {
        "challenges": "`challenge`, `class`, `when`, `points`, `badge`, `hidden`, `again`, `until`, `done` each"
    },
    "draws": {
        "draws": "`draw`, `state` (to come, open, drawn, over), `entry`, `opens`, `closes`, `tickets`, `prizes`, "
        "`prize`, `commitment` each"
    },
    "draws show": {
        "draw": "its class and name",
        "opened_at": "when its seed was committed to",
        "commitment": "SHA-256 of the seed",
        "drawn_at": "when it was drawn; null before",
        "seed": "hexadecimal; null before",
        "entries": "SHA-256 of the list of entries; null before",
        "tickets": "how many; null before",
        "winners": "`ticket`, `hash`, with `--keys` `key`, in order",
        "alternates": "the same of those who are next",
    },
    "draws verify": {
        "draw": "its class and name",
        "tickets": "how many",
        "winners": "the numbers of their tickets, in order",
        "problems": "what does not fit",
    },
    "leaderboard": {
        "class": "whose",
        "since": "the first instant; null from the beginning",
        "until": "the first instant left out; null without end",
        "places": "`rank`, `name`, `points` each",
    },
    "referrals": {
        "counts": "`state`, `reason`, `referrals` each",
        "referrals": "`referrer`, `referred`, `class`, `state`, `reason`, `at`, `converted_at` each, newest first",
    },
    "commissions": {
        "period": "as it was typed",
        "since": "its first instant",
        "until": "the first instant behind it",
        "partners": "`partner`, `name`, `currency`, `sales`, `earned`, `taken_back`, `total` each, in minor units",
        "file": "what was written; null without `--out`",
    },
    "init": {"folder": "where", "files": "paths written", "next": "commands to go on with"},
    "check": {
        "workspace": "the folder",
        "errors": "how many",
        "warnings": "how many",
        "problems": "`code`, `severity`, `message`, `hint`, `file`, `line`, `column`, `end_line`, `end_column` each",
        "journeys": "names; null when there are errors",
        "hash": "of all files; null when there are errors",
    },
    "explain": {
        "codes": "`code`, `kind` (error, warning; of a reason its verdict), `section`, `rule`, `wrong`, `why`, `do`, "
        "`example` each",
    },
    "schema": {"files": "with `--to`: what was written; without it the schema itself"},
    "accounts": {
        "key": "the account's; beside it its own fields, `annual_value` in minor units, `attributes`",
        "partner": "key of the account it buys through; null",
        "partner_allows_contact": "whether that partner lets us write to its customers; null without one",
        "has_customers_of_its_own": "whether it is a partner; `allows_contact`: its own word; null: never said",
        "tree": "`key`, `name`, `class`, `tier`, `level`, `contacts`, `own` each, mothers before daughters",
        "contacts": "`key`, `role`, `left_at`, `reached_by` (medium → yes, no, suppressed), `said_yes`, `last_written`",
        "records": "`type`, `key`, `fields`, `stage`, `stage_since` each",
        "standing": "what the programme knows: `health`, `band`, `clv`, …",
        "runs": "journeys it is in: `journey`, `step`, `entered_at`, `wake_at`",
        "journeys": "those it is for: `journey`, `writes_to`, `then` (who stands in, in order)",
    },
    "value": {
        "at": "when it was ranked",
        "currency": "of all sums, which are minor units",
        "classes": "name → `units`, `clv`, `bands` (`band`, `units`, `share`, `clv`, `clv_share`, `spent`), `model` "
        "(`buying`: r, alpha, a, b; `spending`: p, q, v; null where too few came back)",
        "moved": "`from`, `to`, `units` each",
        "notes": "what was left out, and why",
    },
    "metrics": {
        "period": "`first`, `last`: days, both included",
        "by": "class, tier, band, cohort or null",
        "only": "`class`, `tier`, `band` (empty: all), `cohort` (null: all)",
        "currency": "of all sums, which are minor units",
        "figures": "measure → `value` (null: nothing to say), `n`, `of` (numerator or total), `low`, `high` (95 %)",
        "groups": "`group`, `figures` each",
        "cohorts": "`size`, `rows` (`cohort`, `n`, `cells`, a figure each)",
        "journeys": "`journey`, `figures` each",
        "experiments": "`journey`, `split` (its id, or holdout), `state`, `winner` (null: none yet), `best`, "
        "`arm_rate` (arm → figure), `arm_difference` (arm → figure: best − it) each",
        "definitions": "measure → what it is",
        "notes": "what was left out, and why",
    },
    "metrics what-if": {
        "period": "`first`, `last`",
        "points": "a share: 0.05 is five points",
        "currency": "of all sums, which are minor units",
        "classes": "class → `active`, `yearly` (what each of them brings a year), `retention` (a year's), `lifetime` "
        "(years), `value` (of a customer), `revenue`, `worth`, `saved`; `retention_then` and so on: with the change",
        "without": "class → why it cannot be told; in no sum",
        "active": "at the end of the period, of these classes",
        "revenue": "of next year from those who stay, now; `revenue_then`",
        "worth": "how many new customers would bring as much",
        "saved": "what they would cost to win; null where no costs were imported for one of them",
    },
    "refresh": {
        "ranked": "units",
        "moved": "to another band",
        "scored": "healths",
        "bands": "class → band → units",
        "notes": "what was left out, and why",
        "finished": "whether there was time for all",
    },
    "test": {
        "passed": "how many tests",
        "failed": "how many tests",
        "tests": "`test`, `file`, `line`, `journeys`, `passed`, `failures` (`kind`, `text`, `file`, `line`, `why`), "
        "`timeline` (`at`, `expected`, `got`, `good`) each",
        "coverage": "with --coverage: `journey`, `share`, `steps`, `unreached`, `ways`, `untaken` (`step`, `way`) each",
    },
    "uncertain": {
        "uncertain": "how many there are",
        "messages": "`message`, `attempt`, `since`, `hours`, `journey`, `step`, `medium`, `purpose`, `provider`, "
        "`reason`, `next` (ask, again, give_up), `at` each",
    },
    "reconcile": {
        "looked": "how many were uncertain",
        "left": "how many still are",
        "settled": "`state`, `reason`, `messages` each",
        "problems": "providers that could not be asked",
    },
    "settle": {"message": "its number", "state": "what it is now", "by": "who said so"},
    "plan": {
        "project": "hash of all files",
        "base": "the apply it was planned against; null before the first",
        "changes": "whether any file differs",
        "journeys": "`name`, `change` (added, edited, removed, same), `unit`, `audience`, `before`, `members`, "
        "`enters_now`, `inside` (step → runs), `becomes`, `steps` each; of the steps: `step`, `people`, `version`, "
        "`becomes` (finishes, stays, moves, leaves, stranded), `to`",
        "plan": "its id: `apply --plan` takes it",
        "texts": "`medium`, `name`, `change`, `people` (journey → how many are still to get it) each",
        "problems": "why an apply would be refused; exit code 1 when there are any",
        "segments": "`name`, `members`, `before` each",
        "files": "path → added, edited, removed, same",
        "forecast": "with `--forecast`: `began`, `days`, `people` played of `audience`, `scale`, `seed`, `same`; "
        "`sends` by `day` and `medium`, `costs` by `medium` (millionths of `currency`), `stopped` by `verdict` and "
        "`reason`, `journeys`: each with `before` and `after`, of the whole audience; `notes`",
        "warnings": "what `check` warns of, as its `problems`",
    },
    "apply": {
        "apply": "`changed`, `apply_id`, `added`, `edited`, `removed`, `migrated`, `exited`, `baselines`; null where "
        "it waits for approval",
        "proposal": "the number under which it waits; null where it does not",
        "plan": "as of `plan`",
    },
    "versions": {
        "applies": "`apply`, `at`, `author`, `approved_by`, `message`, `added`, `edited`, `removed`, `files` (how many)"
        " each",
        "journey": "of a journey: its name",
        "versions": "and its versions: `version`, `in_force`, `apply` (that brought it), `at`, `author`, `message`, "
        "`inside`, `ended` each",
    },
    "diff": {
        "a": "number of the apply; null before the first",
        "b": "number of the other; null: the folder",
        "journeys": "`name`, `change`, `differences` (`kind` + - ~, `what`, `was`, `now`) each",
        "files": "`path`, `diff` (unified) each",
    },
    "rollback": {"apply": "as of `apply`", "proposal": "as of `apply`", "plan": "as of `plan`"},
    "proposals": {
        "proposals": "`proposal`, `at`, `author`, `message`, `base`, `state` (waits, stale, approved, rejected), "
        "`answered_by`, `answered_at`, `answer`, `apply` each",
    },
    "approve": {"apply": "as of `apply`", "proposal": "its number", "plan": "as of `plan`"},
    "reject": {"proposal": "its number", "rejected": "true"},
    "import": {
        "kind": "of the rows",
        "rows": "inserted + updated + unchanged + quarantined",
        "inserted": "new",
        "updated": "known, and said otherwise",
        "unchanged": "known, and said the same",
        "quarantined": "put aside",
        "already": "whether this content had been imported before, so that nothing was done",
        "resumed_at": "rows that an earlier, interrupted import had done",
        "quarantine_file": "where bad rows are; null when there are none",
        "reasons": "`problem` (of the first), `rows`, `first_line`, `others_like_it` each",
        "warnings": "`warning`, `rows` each",
        "notes": "what to think of before the next run, in words",
    },
    "letters": {
        "jobs": "`id`, `house`, `cutoff`, `dropped_at`, `state`, `pieces`, `digest` (of the manifest), `updated_at`, "
        "`refused` (why → letters not made), `notes` each",
    },
    "tasks": {
        "tasks": "`task`, `whose`, `due`, `title`, `given`, `call`, `account_id`, `unit_id` each, by due date",
    },
    "audience": {
        "run": "its name",
        "members": "on the list",
        "left_out": "why → customers",
        "waiting": "not decided yet; then there is no job",
        "job": "the folder",
    },
    "tasks digest": {
        "planned": "e-mails",
        "tasks": "open",
        "nobody": "of these, of teams without an address",
        "early": "it is not time yet",
    },
    "letters take-back": {
        "files": "read",
        "new": "kind of feedback → letters",
        "refused": "rows put aside",
        "jobs": "known",
        "problems": "what to look at, in words",
    },
    "letters approve": {
        "id": "the job",
        "state": "approved",
        "pieces": "letters in it, seeds among them",
        "house": "the print house",
        "cutoff": "when it closed",
        "dropped_at": "when it was dropped",
        "digest": "of its manifest",
        "updated_at": "now",
        "refused": "why → letters not made",
        "notes": "what to look at, in words",
    },
    "api create": {"name": "what it is for", "key": "shown this once", "may": "what it may hand in"},
    "api list": {
        "name": "what it is for",
        "may": "what it may hand in",
        "created_at": "when it was made",
        "revoked_at": "when it was ended",
    },
    "api revoke": {"revoked": "the key's name"},
    "keys rotate": {"file": "the key file", "old": "how many earlier secrets it keeps"},
    "customer export": {
        "customer": "its number",
        "page": "the file to read",
        "file": "the same as JSON",
        "counts": "of each kind, how many are in it",
    },
    "customer erase": {
        "customer": "its number, as the log has it; with --replay `customers`, how many were erased again",
        "at": "when",
        "done": "what was emptied, ended, cancelled, suppressed and deleted, each with how many",
        "accounts": "keys of companies whose only contact it was",
        "left": "what is still to be done, each with how; exit code 1 when there is any",
        "entries": "with --replay: erasures of the list that were not known here",
    },
    "retain": {
        "counts": "kind of record → destroyed, or with --dry-run to be destroyed",
        "finished": "whether nothing too old is left",
        "dry_run": "whether it only counted",
    },
    "customer merge": {
        "keep": "key",
        "drop": "key",
        **dict.fromkeys(("events", "records", "devices"), "how many went over"),
        "enrollments_moved": "runs that went over",
        "enrollments_ended": "runs ended, because both were in the journey",
        "messages_cancelled": "withdrawn with those runs",
    },
    "audit verify": {
        "ok": "whether nothing is wrong",
        "verdict": "in a sentence, how much that is worth",
        "log": "the log's name",
        "size": "entries",
        "root": "of the tree over all of them, in hexadecimal",
        "entries": "ledger → how many",
        "checkpoints": "that agree",
        "anchors": "kept outside, that agree",
        "largest_anchor": "entries that an agreeing one covers",
        "findings": "`entry` (null where it is about none), `row`, `what`, `code` each: the first hundred",
        "wrong": "how many there are",
        "waiting": "rows not sealed yet",
        "lag": "seconds for which the oldest of them has waited",
        "judged": "what was judged again → how many",
        "notes": "what to know of it that is no fault",
        "unreadable": "places of checkpoints that cannot be read from here",
    },
    "audit proof": {
        "message": "number",
        "size": "entries of the checkpoint",
        "proofs": "`row`, `entry`, `file` each",
        "waiting": "lines that are not sealed yet",
    },
    "audit leaves": {"folder": "where", "size": "entries written", "checkpoints": "written"},
    "audit anchor": {
        "to": "where",
        "size": "entries of the checkpoint",
        "root": "in hexadecimal",
        "new": "whether it did not stand there already",
    },
    "audit export": {
        "file": "where",
        "manifest": "where",
        "rows": "written",
        "counts": "kind of line → how many",
        "unsealed": "of them without a leaf yet",
        "erased": "of which what was judged on is destroyed",
        "bytes": "of the file",
        "sha256": "of the file, in hexadecimal",
    },
    "audit report": {
        "file": "where",
        "headline": "numbers of the period, by name",
        "verification": "`ok`, `verdict`; null where it was not verified",
    },
    "audit seal": {
        "sealed": "rows, now",
        "size": "entries in all",
        "waiting": "rows left",
        "lag": "seconds for which the oldest of them has waited",
    },
    "audit key": {"key": "NAME+ID+KEY"},
    "audit verifier": {"verifier": "the file's text"},
    "listening": {
        "by": "week or month",
        "lines": "one a survey or an event: `name`, `kind` (nps or sentiment), `odd` (values that say nothing), and "
        "`points`: `begins`, `n`, `value`, `low` and `high` (null: nobody said anything, or too few)",
    },
    "answers": {
        "survey": "its name",
        "anonymous": "true or false",
        "answered": "how many answers",
        "questions": "`name`, `kind`, `answered`, and `counts`, `average`, `nps` or `texts` each",
    },
    "segment": {
        "name": "the segment's; null for a condition",
        "condition": "in its canonical form",
        "of": "customer or account",
        "asked_at": "as of when",
        "count": "of whom it is true",
        "total": "of all",
        "members": "`key`, `class`, `tier`, and of customers `account`, each; as many as `--limit`",
    },
    "customer": {
        "key": "the customer's",
        "merged_from": "the key asked for, when it was merged into this one",
        "account": "the account's key",
        "left_at": "when a contact left the company",
        "profile": "the fields that are set",
        "attributes": "as declared by the workspace",
        "zones": "`name`, `source` (stated, address, phone, account), `known` each",
        "places": "`country`, `region` (null: not known, or there are none), `source` (address, phone, account) each",
        "devices": "`platform`, `created_at`, `retired_at` each",
        "consents": "`medium`, `topic`, `state`, `since`, `until`, `basis`, `confirmed`, `event_id`, `method`, "
        "`source`, `sealed` (why its source cannot be told), `jurisdiction`, `wording`, `wording_hash`, "
        "`wording_version` each",
        "suppressions": "`medium`, `reason`, `since`, `until` each",
        "runs": "under way: `id`, `journey`, `unit`, `step`, `entered_at`, `wake_at` each",
        "timeline": "newest first: `at`, `kind`, `what`, and by kind `state`, `detail`, `journey`, `step`, `message`",
    },
    "why": {
        "key": "the customer's or the account's",
        "account": "the account's key",
        "merged_from": "the key asked for, when it was merged into this one",
        "journey": "the one asked for",
        "asked_at": "as of when conditions hold",
        "runs": "`journey`, `version`, `began`, `file`, `line`, `entered_at`, `ended_at`, `ended_because` … each, with "
        "`moments` (the diary) and `messages` (each with `state`, `reason`, `file`, `line`, `decisions` of all "
        "`verdicts`, `notices`, and `relied_on`, the consent events)",
        "entries": "what is in the way of a run: `triggers`, `audiences` (each of `parts` with `text` and `truth`), "
        "`blocks`, `notes` each",
        "others": "messages of no journey",
        "stops": "the newest noes: `at`, `medium`, `topic`, `method`, and the messages handed over in the day "
        "`before`, `stopped` by it, and handed over `after` it",
    },
    "journeys": {
        "asked_at": "as of when",
        "journeys": "`journey`, `file`, `version`, `unit`, `state` (live, paused, draft, archived, removed), `paused`, "
        "`resume` (what that would do), `triggers`, "
        "`inside`, `entered`, `ended`, `ended_because`, `sent_7_days` each",
    },
    "stats": {
        "by": "what is counted by",
        "journey": "which one; null: all",
        "since": "from when; null: from the beginning",
        "until": "up to when; null: to the end",
        "groups": "the `step` (`JOURNEY/STEP`), `medium`, `topic`, `journey` or `day`, and `sent`, `delivered`, "
        "`bounced`, `failed`, `uncertain`, `opened`, `machine`, `clicked`, `unsubscribed`, `complained`, `replied`, "
        "`returned` (messages), `base` (what rates are shares of), `people`, `rates` each",
        "total": "the same of all",
    },
    "outbox": {
        "folder": "of the sandbox",
        "page": "to open in a browser; null when nothing was kept",
        "kept": "how many deliveries",
        "newest": "`attempt`, `medium`, `template`, `locale`, `at`, `file`, `sha256`, `duplicate` each",
        "states": "messages by state",
        "waiting": "`due_at`, `state`, `journey`, `medium`, `reason`, `messages` each",
    },
    "log": {
        "lines": "newest first: `id`, `at`, `kind`, `message_id`, `attempt`, `verdict`, `reason`, `rule`, `journey`, "
        "`step`, `medium`, `addressee`, `to_key` each; with `--message` one message as of `why` instead",
    },
    "db upgrade": {"database": "where", "schema": "current"},
    "db check": {"damage": "what SQLite finds", "promises": "`promise`, `broken` each", "ok": "whether all is kept"},
    "db stats": {"database": "where", "bytes": "of a SQLite file; else null", "rows": "table → how many"},
    "doctor": {"ok": "whether nothing is bad", "findings": "`what`, `state` (ok, look, bad), `text`, `todo` each"},
    "run": {
        "tick": "its number",
        "now": "its instant",
        "seconds": "it took",
        "rounds": "of enroll, advance, deliver",
        "finished": "whether nothing was left",
        "summary": "in one line",
        "enrolled": "journey → how many",
        "moves": "how many",
        "planned": "messages",
        "ended": "why → runs",
        "messages": "`journey`, `medium`, `verdict`, `reason`, `count` each",
        "problems": "what to look at",
        "paused": "journeys that were stopped",
        "sealed": "rows of the ledgers, at the end",
        "seal_lag": "seconds for which the oldest that is not sealed has waited",
        "programme": "what loyalty and complaints came to: such as `points_earned`, `tiers_changed` → how many",
    },
    "pause": {
        "journey": "its name or *",
        "paused": "true",
        "changed": "whether it was not so before",
        "meanwhile": "what becomes of those who would enter: hold, discard",
        "outlook": "what a resume would do: `since`, `now`, `inside`, `due`, of them `waits` for a length of time, "
        "`messages` waiting",
    },
    "resume": {
        "journey": "its name or *",
        "paused": "false",
        "changed": "whether it was not so before",
        "resumed": "`outlook` as of `pause`, `how` (catch_up, shift), `shifted` runs, messages `put_off`; null where "
        "nothing was paused",
    },
}
"""The members of each command's JSON document. A change here is a change for whoever reads them."""

_HEAD = """# Commands

Made from the commands themselves by `python -m orchestrator.cli._reference`; a test holds this page to them.

Every command takes `--workspace DIR` (`-w`): the folder with orchestrator.toml, journeys/ and templates/. Without it,
the folder that ORCHESTRATOR_WORKSPACE names, then the one you are in. `--json` makes it answer with one JSON document,
whose members are listed below and stay. Instants in it are ISO 8601. What is printed for people may change.

| Exit code | Means |
| --- | --- |
| 0 | Fine. |
| 1 | There are problems, and they were told: in a workspace, in rows of an import, in the database, with the machine. |
| 2 | Usage: the command does not take what it was given, or nobody is called that. |
| 3 | It could not run now: no database, a locked one, no answer. The message says what to do. |

Personal data is shown by `customer` alone, which is asked for one person's record; everything else shows keys. An error
is one JSON document, too: `{"error": …}`, or `{"problems": […]}`.
"""


def reference() -> str:
    """The whole page. Raises LookupError for a command without a chapter, or a chapter without its command."""
    sections = _sections()
    placed = [name for _, names in ORDER for name in names]
    if set(placed) != set(sections):
        raise LookupError(f"not in both: {', '.join(sorted(set(placed) ^ set(sections)))}")
    parts = [_HEAD]
    for title, names in ORDER:
        parts.append(f"## {title}\n")
        parts += [_section(name, sections[name]) for name in names]
    return "\n".join(parts)


def _sections() -> dict[str, str]:
    """What cyclopts says of each command, by its name."""
    from orchestrator.cli import build

    arguments, sys.argv = sys.argv, ["orchestrator"]  # cyclopts takes the name in usage lines from here
    try:
        text = build().generate_docs()
    finally:
        sys.argv = arguments
    found = {}
    for section in re.split(r"\n#{2,4} orchestrator ", text)[1:]:
        name, _, body = section.partition("\n")
        found[name.strip()] = body.strip()
    for group in ("db", "audit", "keys", "api", "points", "vouchers"):  # they only hold others
        found.pop(group, None)
    return found


def _section(name: str, body: str) -> str:
    body = re.sub(r"\*\*Commands\*\*:\n\n(?:\* .*\n?)+\n*", "", body)
    body = re.sub(r" \*\[default: False\]\*", "", body)
    parts = [f"### `{name}`\n", body, ""]
    if name in ANSWERS:
        parts += ["With `--json`:\n", "| Member | |", "| --- | --- |"]
        parts += [f"| `{member}` | {text} |" for member, text in ANSWERS[name].items()]
        parts.append("")
    return "\n".join(parts)


if __name__ == "__main__":
    print(reference(), end="")
