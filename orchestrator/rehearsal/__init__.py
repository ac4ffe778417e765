"""Tests of journeys as they are written: who is given, what happens, what is expected. How they are run: `rehearse`.

A `.test.yaml` file holds one test, or a list of them. Everything in it is checked against the workspace as any other
file is: rows by the importer's own reader, events by their properties, conditions by the condition language.
"""

from orchestrator.rehearsal.form import ENDING, RehearsalForm, rehearsal_schema, rehearsals
from orchestrator.rehearsal.parts import Change, Deed, Given, Person, Reaction, Rehearsal, Row

__all__ = [
    "ENDING",
    "Change",
    "Deed",
    "Given",
    "Person",
    "Reaction",
    "Rehearsal",
    "RehearsalForm",
    "Row",
    "rehearsal_schema",
    "rehearsals",
]
