"""How often one may ask: counted in memory, for each process on its own, and never for more than so many at a time."""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict
from dataclasses import dataclass, field

_KEPT = 10_000


@dataclass(slots=True)
class Limits:
    """Buckets by name: each holds `most` and fills within a minute. The oldest are forgotten beyond `kept`."""

    kept: int = _KEPT
    _buckets: OrderedDict[str, tuple[float, float]] = field(default_factory=OrderedDict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def take(self, name: str, most: int, at: float) -> bool:
        """Take one from a bucket; False when it is empty. `at`: monotonic seconds."""
        with self._lock:
            left, since = self._buckets.pop(name, (float(most), at))
            left = min(float(most), left + (at - since) * most / 60)
            taken = left >= 1
            self._buckets[name] = (left - 1 if taken else left, at)
            while len(self._buckets) > self.kept:
                self._buckets.popitem(last=False)
        return taken


def network(address: str) -> str:
    """Whom an address stands for: itself, or its /64 where one connection has a whole network (IPv6)."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if found.version == 6:
        mapped = found.ipv4_mapped
        return str(mapped or ipaddress.ip_network((found, 64), strict=False).network_address)
    return str(found)
