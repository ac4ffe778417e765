"""Tests of journeys, run: the real verbs on a scratch database, and a clock that jumps to what is due next.

Nothing here is a model of the engine: rows come in by the importer, points by `accrue`, people by `enroll`, and every
message passes the gate. Only time is invented, and what comes back of messages.
"""

from orchestrator.rehearse.stage import Stage
from orchestrator.rehearse.verdict import Coverage, Failure, Got, Reached, Turn, Verdict, coverage, ways

__all__ = ["Coverage", "Failure", "Got", "Reached", "Stage", "Turn", "Verdict", "coverage", "ways"]
