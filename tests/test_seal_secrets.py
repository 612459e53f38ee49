"""What is sealed is read by nobody without SECRET_KEY, and changed by nobody unseen."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.sealing import Broken, seal, unseal

TEXT = "slack://T0/B0/a-token-of-ours"


@given(st.text(max_size=200))
def test_what_is_sealed_is_read_again(text: str) -> None:
    assert unseal(seal(text, "channels"), "channels") == text


def test_the_same_text_is_never_sealed_alike() -> None:
    assert seal(TEXT, "channels") != seal(TEXT, "channels")


def test_nothing_of_it_stands_in_what_is_sealed() -> None:
    raw = urlsafe_b64decode(seal(TEXT * 20, "channels"))
    assert b"token" not in raw
    assert len({raw[at : at + 32] for at in range(33, len(raw) - 32, 32)}) > 10, "the key stream repeats"


@given(st.data())
def test_whoever_changes_a_bit_is_found_out(data: st.DataObject) -> None:
    raw = bytearray(urlsafe_b64decode(seal(TEXT, "channels")))
    at = data.draw(st.integers(0, len(raw) * 8 - 1))
    raw[at // 8] ^= 1 << at % 8
    with pytest.raises(Broken):
        unseal(urlsafe_b64encode(bytes(raw)).decode(), "channels")


@pytest.mark.parametrize("sealed", ["", "x", "AAAA", "\N{SNOWMAN}", seal(TEXT, "channels")[:-8]])
def test_what_was_never_sealed_is_refused(sealed: str) -> None:
    with pytest.raises(Broken):
        unseal(sealed, "channels")


def test_another_purpose_is_another_lock() -> None:
    with pytest.raises(Broken):
        unseal(seal(TEXT, "channels"), "tokens")


def test_a_new_key_reads_what_an_old_one_sealed_while_that_is_named(settings: Any) -> None:
    sealed, old = seal(TEXT, "channels"), settings.SECRET_KEY
    settings.SECRET_KEY = "another secret that is long enough, too"
    with pytest.raises(Broken):
        unseal(sealed, "channels")
    settings.SECRET_KEY_FALLBACKS = [old]
    assert unseal(sealed, "channels") == TEXT
