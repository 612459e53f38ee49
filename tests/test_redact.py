"""Nothing secret and nothing endless leaves a process."""

from __future__ import annotations

import pickle
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.message import Message

from nightdesk import dropped, redaction
from nightdesk.capture import captured_body
from nightdesk.options import SENSITIVE_KEYS
from nightdesk.redaction import HIDDEN, Redactor, shorten

redactor = Redactor(SENSITIVE_KEYS)
EMBED = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}


PIECES = (
    *SENSITIVE_KEYS, *(word.replace("_", "-").upper() for word in SENSITIVE_KEYS),
    "PA\u017f\u017fWORD", "to\u212aen", "://", "a:b@", ":", "=", " ", "'", '"', "\\", "{", "}", ",", ".",
    "Bearer ", "Basic ", "authorization", "Cookie", "eyJ", "sk_live_", "pk_test_", "sk-", "glpat-", "xoxb-",
    "AKIA", "ASIA", "AIza", "ghp_", "ghu_", "github_pat_", "-----BEGIN PRIVATE KEY-----", "-----END",
    "abcdefgh12345678", "ABCDEFGH12345678", "0" * 40,
)  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_the_quick_look_for_signs_of_a_secret_overlooks_none(text: str) -> None:
    hide: Any = redaction._hide
    thorough = redactor._pair.sub(hide, redaction._SECRET_TEXT.sub(hide, text))
    assert redactor.text(text) == thorough


@pytest.mark.parametrize(
    "text",
    [
        "postgres://app:hunter2@db/shop",
        "Authorization: Bearer abcdefgh12345678",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        "KeyError({'password': 'hunter2'})",
        "login(api_key=hunter2, n=1)",
        '{"client_secret": "hunter2"}',
        "-----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY-----",
        "{'password': b'hunter2'}",
        "{'password': ['x', 'hunter2']}",
        "password=SecretStr('hunter2')",
        "{'password':          'hunter2'}",
        r"{\"password\": \"hunter2\"}",
        "Authorization: Token hunter2",
        "Cookie: theme=dark; auth=hunter2",
        "postgres://app:p@hunter2@db/shop",
        "slack xoxb-123456789012-hunter2hunter2",
        "github_pat_11AAAAAAA0hunter2hunter2",
        "sk-proj-hunter2hunter2hunter2",
        f"token='{'hunter2' * 2000}'",
    ],
)
def test_secrets_in_text_are_hidden(text: str) -> None:
    clean = redactor.text(text)
    assert HIDDEN in clean
    assert "hunter2" not in clean
    assert "abcdefgh" not in clean
    assert "eyJ" not in clean


@pytest.mark.parametrize(
    "text",
    [
        "order 5519027 paid",
        "KeyError: 'currency'",
        "https://shop.example/hook?id=1",
        "https://shop.example:8000/a/@b",
        "BASIC AUTHENTICATION",
        "ask-me-anything-about-everything",
        "the author: Ann",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redactor.text(text) == text


@pytest.mark.parametrize(
    "piece",
    [
        "a", "_", "-", "'", '"', "\\", " ", "[", "token", "token=", "token='", "token=\\\"", "token:[", "://",
        "://a:", "eyJ", "-eyJ", "eyJaaaaaaaa.", "Bearer ", "cookie:", "-----BEGIN PRIVATE KEY-----",
        "-----BEGIN A ", "sk-a",
    ],
)  # fmt: skip
def test_no_text_takes_long(piece: str) -> None:
    text = (piece * 100_000)[:100_000]
    began = time.perf_counter()
    redactor.text(text)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("length", [9_000, 90_000])
def test_a_secret_is_hidden_before_a_text_is_cut(length: int) -> None:
    key = "-----BEGIN PRIVATE KEY-----\n" + "hunter2\n" * (length // 8)
    for text in (key, f"{'x' * 1_500} password='{key}'"):
        assert "hunter2" not in redactor.excerpt(text, 2_000)


def test_sensitive_keys_are_hidden_at_any_depth() -> None:
    clean = redactor.clean({"user": {"Password": "x", "tags": [{"API-Key": 7}]}, "n": 1}, 1000)
    assert clean.value == {"user": {"Password": HIDDEN, "tags": [{"API-Key": HIDDEN}]}, "n": 1}
    assert clean.hidden


def test_the_exact_body_is_kept_where_nothing_was_hidden() -> None:
    fields = captured_body(redactor, [5, None], {"k": "ü"}, EMBED, 64_000)
    assert fields["body"] == (
        '[[5, null], {"k": "\\u00fc"}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
    )
    assert "withheld" not in fields


def test_a_body_with_a_secret_is_withheld() -> None:
    fields = captured_body(redactor, [], {"token": "hunter2"}, EMBED, 64_000)
    assert fields == {"args": "[]", "kwargs": '{"token": "[hidden]"}', "withheld": "redacted"}


def test_a_giant_argument_costs_no_more_than_its_cap() -> None:
    fields = captured_body(redactor, ["x" * 20_000_000], {"deep": [[[[]]]] * 100_000}, EMBED, 64_000)
    assert fields["withheld"] == "too large"
    assert sum(len(text) for text in fields.values()) < 200_000


def test_what_nests_without_end_is_cut() -> None:
    value: list[Any] = []
    for _ in range(10_000):
        value = [value]
    assert redactor.clean(value, 64_000).cut


@pytest.mark.parametrize("size", [2_001, 50_000, 100_001, 3_000_000])
def test_an_excerpt_says_how_much_it_leaves_out_however_long_the_text(size: int) -> None:
    short = redactor.excerpt("x" * size, 2_000)
    shown = short.count("x")
    assert f"… {size - shown:,} characters left out …" in short


@given(st.text(max_size=2000), st.integers(10, 100))
def test_long_text_keeps_its_head_and_its_tail(text: str, longest: int) -> None:
    short = shorten(text, longest)
    assert short[:5] == text[:5]
    assert short[-3:] == text[-3:]
    assert len(short) < longest + 60


SECRET = {"password": "hunter2", "card": "x"}


@pytest.mark.parametrize(
    "content",
    [
        *(pickle.dumps(((), SECRET, {}), protocol=protocol) for protocol in (0, 2, 5)),
        b"\x93\x90\x82\xa8password\xa7hunter2\xa4card\xa1x\x80",
        b"<password>hunter2</password>",
        *(str(SECRET).encode(encoding) for encoding in ("utf-16", "utf-16-be", "utf-32")),
        *(f"redis://app:hunter2{each}@db".encode(each) for each in ("utf-16-le", "utf-16-be")),
    ],
)
def test_of_bytes_that_nobody_can_read_nothing_is_shown_beside_a_word_that_names_a_secret(
    content: bytes,
) -> None:
    info = {"routing_key": "default", "exchange": ""}
    as_it_came: Any = content
    message = Message(as_it_came, headers={"id": "a", "task": "t"}, delivery_info=info)
    told = dropped.unreadable(message, ValueError("no JSON"), redactor, 64_000)
    assert (told["withheld"], "raw" in told) == ("redacted", False)
    assert "hunter2" not in str(told).replace("\\x00", "")
    assert "hunter2" not in str(dropped.no_envelope(content, "default", redactor)).replace("\\x00", "")
