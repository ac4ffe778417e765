"""Numbers and instants kept under names: several are read and written as one would be."""

from datetime import UTC, datetime

from orchestrator.store import Store, versions
from orchestrator.store.database import insert_many
from orchestrator.store.tables import event

AT = datetime(2026, 11, 2, 9, 30, 0, 5, tzinfo=UTC)


def test_what_is_kept_is_read_alone_and_together(store: Store) -> None:
    with store.write() as conn:
        versions.set_number(conn, "seen", 3)
        versions.set_settings(conn, {"seen": 4, "looked": AT, "marked": -1})
        versions.set_settings(conn, {})
    with store.read() as conn:
        kept = versions.settings(conn, "seen", "looked", "never")
        assert kept.kept.keys() == {"seen", "looked"}
        assert (kept.number("seen"), kept.instant("looked")) == (4, AT)
        assert (kept.number("never"), kept.instant("never")) == (0, None)
        assert (versions.settings(conn, "marked").number("marked"), versions.setting_instant(conn, "looked")) == (
            -1,
            AT,
        )
        assert (versions.settings(conn, "never").number("never"), versions.setting_instant(conn, "never")) == (0, None)
        assert versions.settings(conn).kept == {}


def test_how_far_a_reader_of_events_has_looked(store: Store) -> None:
    with store.write() as conn:
        assert versions.seen_of_events(conn, "seen") == (0, 0)
        row = {"type": "t", "key": "k", "occurred_at": AT, "received_at": AT, "properties": {}}
        insert_many(conn, event, [{"id": 7, **row}])
        assert versions.seen_of_events(conn, "seen") == (0, 7)
        versions.set_number(conn, "seen", 7)
        assert versions.seen_of_events(conn, "seen") == (7, 7)
