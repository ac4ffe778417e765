"""`test --record`: tests written from a simulation, which pass, say who went where, and overwrite nothing."""

from __future__ import annotations

import pytest


@pytest.mark.slow
def test_what_is_written_passes_and_what_it_leaves_out_is_told(small):
    said = small("test", "--record", "hello", "--customers", "100", "--days", "200")
    assert said.code == 0, said
    assert "journeys/hello.test.yaml" in said.out and "never branch → if 1" in said.out  # nobody new is gold at once
    path = small.folder / "journeys" / "hello.test.yaml"
    text = path.read_text(encoding="utf-8")
    assert text.startswith("# Written from a simulation")
    assert "email hello to customer-" in text
    again = small("test")
    assert again.code == 0 and "passed" in again.out, again
    # The same seed and the same day give the same tests; nothing is written over.
    other = small("test", "--record", "hello", "--customers", "100", "--days", "200")
    assert other.code == 2 and "is there already" in other.err
    assert path.read_text(encoding="utf-8") == text


def test_what_cannot_be_recorded_is_said(small):
    said = small("test", "--record", "helo")
    assert said.code == 2 and "did you mean `hello`?" in said.err
    said = small("test", "--record", "hello", "--coverage")
    assert said.code == 2 and "--record" in said.err
