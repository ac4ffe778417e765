"""The loyalty programme: points, tiers, rewards, vouchers, referrals, draws, value.

A `unit` is "customer" or "account", `unit_id` its id: whose points these are is the class's word (`classes.unit`).
Points are whole numbers. No table here holds a name or an address; codes that can be turned into money are secrets.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Column, ForeignKey, Index, Table, Text, UniqueConstraint

from orchestrator.store.tables.base import BigId, Json, UtcDateTime, metadata, new_id, one_of

UNITS = ("customer", "account")

point_entry = Table(  # append-only: every point there ever was; a balance is a sum over it
    "point_entry",
    metadata,
    new_id(),
    Column("key", Text, nullable=False, unique=True),  # what made it: a replay inserts nothing
    Column("unit", Text, nullable=False),
    Column("unit_id", BigId, nullable=False),
    Column("customer_id", BigId, ForeignKey("customer.id")),  # whose deed it was, where the points are an account's
    # earn (by a rule), award, deduct (a journey or a person), spend (a reward), expire, reverse (of the entry `of_id`)
    Column("kind", Text, nullable=False),
    Column("points", sa.BigInteger, nullable=False),  # signed: what it adds to the balance
    Column("rule", Text, nullable=False, server_default=""),  # the earn rule's key, the reward, the journey's step
    Column("event_id", BigId, ForeignKey("event.id")),
    Column("of_id", BigId, ForeignKey("point_entry.id")),
    Column("counts", sa.Boolean, nullable=False, server_default=sa.true()),  # towards `points(365 days)`, so to tiers
    Column("at", UtcDateTime, nullable=False),  # when it was earned or spent
    Column("received_at", UtcDateTime, nullable=False),
    Column("active_at", UtcDateTime, nullable=False),  # pending until then, and what is taken of them; else `at`
    Column("expires_on", sa.Date),  # the last day (the unit's own) on which they can be spent; NULL: never expire
    one_of("unit", UNITS),
    one_of("kind", ("earn", "award", "deduct", "spend", "expire", "reverse")),
    CheckConstraint("(of_id IS NOT NULL) OR kind NOT IN ('reverse')", name="reverses"),
    CheckConstraint("kind NOT IN ('earn', 'award') OR points > 0", name="adds"),
    CheckConstraint("kind NOT IN ('spend', 'expire') OR points < 0", name="takes"),
    CheckConstraint("kind <> 'deduct' OR points <= 0", name="deducts"),  # 0: there was nothing to take, and it is done
    Index(None, "unit", "unit_id", "at", "received_at"),
    Index(None, "event_id"),
    Index("ix_point_entry_of_id", "of_id", sqlite_where=sa.text("of_id IS NOT NULL"),
          postgresql_where=sa.text("of_id IS NOT NULL")),
)  # fmt: skip

loyalty = Table(  # derived, one row a unit: what conditions and texts name (model.LOYALTY_FIELDS); rebuildable
    "loyalty",
    metadata,
    Column("unit", Text, primary_key=True),
    Column("unit_id", BigId, primary_key=True, autoincrement=False),
    # points (accrue)
    Column("points", sa.BigInteger),  # active balance
    Column("points_pending", sa.BigInteger),
    Column("points_earned", sa.BigInteger),  # in all, net of what was reversed
    Column("points_expiring", sa.BigInteger),  # how many expire next
    Column("points_expire_on", sa.Date),  # … at the end of which day
    Column("points_due", UtcDateTime),  # when pending or expiry next changes something: accrue looks again then
    # membership and tier (grade)
    Column("member", Text),  # none, active, lapsed
    Column("member_since", sa.Date),
    Column("member_until", sa.Date),
    Column("score", sa.Double),  # what `tier_by` gives; money in minor units, as all that is missing of it
    Column("score_currency", Text),  # … where it is money
    Column("next_tier", Text),
    Column("missing", sa.Double),  # to the next tier
    Column("shortfall", sa.Double),  # to keep the present one at the next review; 0: kept
    Column("review_on", sa.Date),  # when the tier may be lost
    Column("protected", sa.Boolean),
    Column("tier_since", UtcDateTime),
    Column("below_since", sa.Date),  # the review on which the grace began
    Column("held_until", sa.Date),  # until this review a lower tier that was imported stays
    Column("held_below", Text),  # without reviews: it stays until the score is enough for more than this tier
    Column("reviewed_on", sa.Date),  # the last review day that is behind it; NULL: not looked at yet
    Column("graded_tier", Text),  # the tier as the programme left it: another one was set by somebody else
    Column("tier_due", UtcDateTime),  # when grade looks again without anything new: the next local midnight
    # value (rank)
    Column("band", Text),  # top, big, medium, small, inactive, prospect
    Column("clv", sa.BigInteger),  # expected of the time to come, minor units
    Column("clv_currency", Text),
    Column("spent", sa.BigInteger),  # of the time that is past
    Column("spent_currency", Text),
    Column("p_alive", sa.Double),
    Column("expected_orders", sa.Double),  # within a year
    Column("renewal", sa.Double),  # probability that the account's contracts go on
    Column("valued_at", UtcDateTime),
    # accounts (rank)
    Column("health", sa.Double),
    Column("updated_at", UtcDateTime, nullable=False),
    one_of("unit", UNITS),
    CheckConstraint("member IN ('none', 'active', 'lapsed')", name="member"),
    Index(None, "points_due"),
    Index(None, "tier_due"),
    Index(None, "review_on"),
    Index(None, "unit", "band"),
)

band_change = Table(  # append-only: movement in the customer pyramid
    "band_change",
    metadata,
    new_id(),
    Column("unit", Text, nullable=False),
    Column("unit_id", BigId, nullable=False),
    Column("from_band", Text),
    Column("to_band", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    one_of("unit", UNITS),
    Index(None, "unit", "unit_id", "at"),
)

# ---- rewards and vouchers -------------------------------------------------------------------------------------------

voucher = Table(
    "voucher",
    metadata,
    new_id(),
    Column("pool", Text, nullable=False),
    Column("code", Text, nullable=False, unique=True),  # the secret itself: shown to whom it is given, never logged
    Column("created_at", UtcDateTime, nullable=False),
    Column("unit", Text),
    Column("unit_id", BigId),
    Column("customer_id", BigId, ForeignKey("customer.id")),
    Column("given_key", Text, unique=True),  # what it was given for: giving it twice gives the same one
    Column("given_at", UtcDateTime),
    Column("enrollment_id", BigId, ForeignKey("enrollment.id")),  # whose step gave it: its texts name it
    Column("expires_on", sa.Date),  # the last day on which it can be redeemed
    Column("redeemed_at", UtcDateTime),
    Column("redeemed_key", Text),  # the till's own receipt, which may have several codes: telling it twice is once
    Column("void_at", UtcDateTime),
    CheckConstraint("(given_at IS NULL) = (given_key IS NULL)", name="given"),
    CheckConstraint("redeemed_at IS NULL OR given_at IS NOT NULL", name="redeemed_once_given"),
    Index("ix_voucher_free", "pool", "id", sqlite_where=sa.text("given_at IS NULL"),
          postgresql_where=sa.text("given_at IS NULL")),
    Index(None, "enrollment_id"),
    Index(None, "unit", "unit_id"),
)  # fmt: skip

claim = Table(  # a reward that somebody took
    "claim",
    metadata,
    new_id(),
    Column("key", Text, nullable=False, unique=True),
    Column("reward", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("unit_id", BigId, nullable=False),
    Column("customer_id", BigId, ForeignKey("customer.id")),
    Column("cost", sa.BigInteger, nullable=False),
    Column("voucher_id", BigId, ForeignKey("voucher.id")),
    Column("state", Text, nullable=False),  # claimed, handed_over (stands in a fulfilment file), fulfilled, cancelled
    Column("job", Text),  # the file that it was handed over in
    Column("at", UtcDateTime, nullable=False),
    Column("settled_at", UtcDateTime),
    one_of("unit", UNITS),
    one_of("state", ("claimed", "handed_over", "fulfilled", "cancelled")),
    Index(None, "reward", "state"),
    Index(None, "voucher_id"),
    Index(None, "unit", "unit_id"),
)

# ---- referral, commission, draws, leaderboards ----------------------------------------------------------------------

referral_code = Table(
    "referral_code",
    metadata,
    Column("code", Text, primary_key=True),
    Column("unit", Text, nullable=False),
    Column("unit_id", BigId, nullable=False),
    Column("customer_id", BigId, ForeignKey("customer.id")),  # the contact who hands it on, of an account
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("unit", "unit_id", "customer_id"),
)

referral = Table(
    "referral",
    metadata,
    new_id(),
    Column("key", Text, nullable=False, unique=True),
    Column("class", Text, nullable=False),  # of whoever referred: whose programme it is
    Column("unit", Text, nullable=False),
    Column("unit_id", BigId, nullable=False),
    Column("customer_id", BigId, ForeignKey("customer.id")),  # the contact who referred, where the unit is an account
    Column("referred_unit", Text, nullable=False),
    Column("referred_id", BigId, nullable=False),
    Column("state", Text, nullable=False),  # pending, converted, refused, lapsed
    Column("reason", Text, nullable=False, server_default=""),  # of a refusal: self, loop, known_before, …
    Column("at", UtcDateTime, nullable=False),
    Column("converted_at", UtcDateTime),
    Column("event_id", BigId, ForeignKey("event.id")),  # what converted it
    one_of("state", ("pending", "converted", "refused", "lapsed")),
    Index(None, "unit", "unit_id", "at"),
    Index(None, "referred_unit", "referred_id"),
    Index(None, "event_id"),
    Index("uq_referral_referred", "class", "referred_unit", "referred_id", unique=True,
          sqlite_where=sa.text("state IN ('pending', 'converted')"),
          postgresql_where=sa.text("state IN ('pending', 'converted')")),
)  # fmt: skip

commission = Table(  # append-only: what partners have earned; a refund is a line of its own, negative
    "commission",
    metadata,
    new_id(),
    Column("key", Text, nullable=False, unique=True),
    Column("account_id", BigId, ForeignKey("account.id"), nullable=False),
    Column("event_id", BigId, ForeignKey("event.id"), nullable=False),
    Column("of_id", BigId, ForeignKey("commission.id")),
    Column("amount", sa.BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("received_at", UtcDateTime, nullable=False),
    Index(None, "event_id"),
    Index(None, "of_id"),
    Index(None, "account_id", "at"),
)

achievement = Table(  # challenges that somebody has done
    "achievement",
    metadata,
    new_id(),
    Column("key", Text, nullable=False, unique=True),  # challenge:CLASS:NAME:UNIT:ID:how many times
    Column("challenge", Text, nullable=False),
    Column("unit", Text, nullable=False),
    Column("unit_id", BigId, nullable=False),
    Column("points", sa.BigInteger, nullable=False),
    Column("badge", Text, nullable=False, server_default=""),
    Column("silent", sa.Boolean, nullable=False),  # done before the challenge was there: no points, no event
    Column("at", UtcDateTime, nullable=False),
    one_of("unit", UNITS),
    Index(None, "unit", "unit_id"),
    Index(None, "challenge", "at"),
)

draw = Table(  # commit and reveal: the seed's hash is published before entries close, the seed after
    "draw",
    metadata,
    Column("name", Text, primary_key=True),  # the class and the draw's name: b2c/summer
    Column("opened_at", UtcDateTime, nullable=False),
    Column("seed", sa.LargeBinary, nullable=False),
    Column("commitment", Text, nullable=False),  # SHA-256 of the seed, hexadecimal
    Column("entries", Text),  # the root over all entries, when it was closed
    Column("drawn_at", UtcDateTime),
    Column("winners", Json),  # ticket numbers, in order
)

ticket = Table(  # one chance in a draw
    "ticket",
    metadata,
    new_id(),
    Column("draw", Text, ForeignKey("draw.name"), nullable=False),
    Column("number", sa.BigInteger),  # 0, 1, 2 … once it is closed
    Column("key", Text, nullable=False, unique=True),
    Column("unit", Text, nullable=False),
    Column("unit_id", BigId, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    one_of("unit", UNITS),
    Index(None, "draw", "number"),
)

player = Table(  # who wants to stand on a leaderboard, and under what name
    "player",
    metadata,
    Column("unit", Text, primary_key=True),
    Column("unit_id", BigId, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),  # chosen or drawn; personal where it was chosen
    Column("since", UtcDateTime, nullable=False),
    one_of("unit", UNITS),
)

# ---- measures -------------------------------------------------------------------------------------------------------

cost = Table(  # imported: what was spent on winning and on keeping customers
    "cost",
    metadata,
    new_id(),
    Column("key", Text, nullable=False, unique=True),
    Column("kind", Text, nullable=False),
    Column("class", Text),  # NULL: all of them
    Column("since", sa.Date, nullable=False),
    Column("until", sa.Date, nullable=False),  # the last day
    Column("amount", sa.BigInteger, nullable=False),
    Column("currency", Text, nullable=False),
    one_of("kind", ("acquisition", "retention")),
)
