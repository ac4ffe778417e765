"""The CDNOW history as import files: real orders, with contact data made up around them, the same every time.

    python -m benchmarks.cdnow FOLDER [CDNOW_master.txt]

writes customers.csv, orders.csv and consents.csv. The master file (Fader and Hardie; 23,570 customers, 69,659 orders of
1997 and 1998) lies at ../shared/data/cdnow beside a checkout that has it, or in the `lifetimes` package. It holds no
names or addresses; e-mail addresses made here end in example.com, numbers in the exchange 555-01xx kept for fiction.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

MASTER = Path(__file__).parents[2] / "shared" / "data" / "cdnow" / "CDNOW_master.txt"
FIRST = "Ada Ben Cleo Dan Eva Finn Gil Hana Ivo Jana Kai Lea Max Nia Oli Pia Quin Rosa Sam Tess Udo Vera Will Yara Zoe"
LAST = (
    "Adler Brook Clay Dahl Ekman Frost Grant Hale Irving Jensen Kern Lund Moss North Olsen Park Quist Reed Stone Thorn"
)
AREAS = (
    "201 202 203 205 206 207 208 209 210 212 213 214 215 216 217 218 219 224 225 228 229 231 234 239 240 248 251 252"
)
ZONES = (("US", "America/New_York"), ("US", "America/Chicago"), ("US", "America/Los_Angeles"), ("GB", "Europe/London"))


@dataclass(frozen=True, slots=True)
class Order:
    """One line of the master file. Lines may repeat exactly: `line` is what tells two orders of one day apart."""

    line: int
    customer: int
    day: date
    cds: int
    cents: int


def orders(path: Path = MASTER) -> Iterator[Order]:
    """Every order, in the file's order. Raises FileNotFoundError."""
    with path.open(encoding="ascii") as file:
        for number, line in enumerate(file, 1):
            cells = line.split()
            if not cells or not cells[0].isdigit():
                continue  # the header
            day = date(int(cells[1][:4]), int(cells[1][4:6]), int(cells[1][6:]))
            yield Order(number, int(cells[0]), day, int(cells[2]), round(float(cells[3]) * 100))


def _draw(customer: int, what: str) -> int:
    return int.from_bytes(hashlib.sha256(f"{what}:{customer}".encode()).digest()[:4])


def person(customer: int, joined: date) -> dict[str, str]:
    """One made-up row of customers.csv."""
    first, last, areas = FIRST.split(), LAST.split(), AREAS.split()
    country, zone = ZONES[_draw(customer, "zone") % len(ZONES)]
    slot = customer % (len(areas) * 100)
    phone = f"+1{areas[slot // 100]}55501{slot % 100:02d}" if _draw(customer, "phone") % 10 < 4 else ""
    return {
        "key": f"cd{customer:05d}",
        "class": "b2c",
        "tier": "bronze",
        "first_name": first[_draw(customer, "first") % len(first)],
        "last_name": last[_draw(customer, "last") % len(last)],
        "email": f"cd{customer:05d}@example.com",
        "phone": phone,
        "country": country,
        "locale": "en",
        "timezone": zone,
        "joined": joined.isoformat(),
    }


def write(folder: Path, path: Path = MASTER, *, moved: timedelta = timedelta(0)) -> tuple[int, int]:
    """Write the three files, every date `moved` on; returns how many customers and orders."""
    folder.mkdir(parents=True, exist_ok=True)
    first_seen: dict[int, date] = {}
    count = 0
    with (folder / "orders.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("type", "event_id", "customer", "occurred_at", "order_id", "amount", "channel"))
        for order in orders(path):
            day = order.day + moved
            first_seen.setdefault(order.customer, day)
            at = datetime.combine(day, time(12), UTC).isoformat()
            amount = f"{order.cents // 100}.{order.cents % 100:02d} USD"
            key = f"cdnow-{order.line}"
            rows.writerow(("order_placed", key, f"cd{order.customer:05d}", at, key, amount, "web"))
            count += 1
    people = [person(customer, joined) for customer, joined in sorted(first_seen.items())]
    with (folder / "customers.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, list(people[0]))
        table.writeheader()
        table.writerows(people)
    with (folder / "consents.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("customer", "medium", "topic", "action", "occurred_at", "method", "source"))
        for one in people:
            if _draw(int(one["key"][2:]), "consent") % 10 < 8:
                at = f"{one['joined']}T12:00:00+00:00"
                rows.writerow((one["key"], "email", "offers", "grant", at, "form", "checkout"))
    return len(people), count


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit(__doc__)
    source = Path(sys.argv[2]) if len(sys.argv) == 3 else MASTER
    if not source.is_file():
        raise SystemExit(f"there is no {source}: give the path of CDNOW_master.txt as the second argument")
    made = write(Path(sys.argv[1]), source)
    print(f"{made[0]:,} customers and {made[1]:,} orders in {sys.argv[1]}")
