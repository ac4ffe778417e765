"""What is encoded once and filled in is, byte for byte, what encoding each line by itself gives."""

from __future__ import annotations

import hmac
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.decision import Form, as_json
from orchestrator.store.keys import Keys

NAMES = st.text(st.sampled_from("abcxyz_"), min_size=1, max_size=5)
VALUES = st.none() | st.integers(-(2**40), 2**40) | st.text(max_size=10) | st.lists(st.text(max_size=3), max_size=3)


@given(shared=st.dictionaries(NAMES, VALUES), own=st.dictionaries(NAMES, VALUES), left_out=st.sets(NAMES))
def test_a_filled_form_is_canonical_json(shared: dict[str, Any], own: dict[str, Any], left_out: set[str]) -> None:
    shared = {name: value for name, value in shared.items() if name not in own}
    names = sorted(own)
    filled = Form(shared, names).filled(*(None if n in left_out else as_json(own[n]) for n in names))
    kept = {name: value for name, value in own.items() if name not in left_out}
    assert filled == msgspec.json.encode({**shared, **kept}, order="deterministic")


def test_own_names_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="in order"):
        Form({}, ("b", "a"))


@pytest.mark.parametrize("key", [b"k" * 32, b"k" * 64, b"k" * 100], ids=len)
def test_keyed_hashes_are_hmac_sha_256(key: bytes) -> None:
    made = Keys(key, key, key, key).dedupe_key("address", "template", "business")
    assert made == hmac.digest(key, b"content\0address\0template\0business", "sha256")[:16].hex()
