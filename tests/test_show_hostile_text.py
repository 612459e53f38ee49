"""Every page stands, and shows as text, whatever jobs, processes and people have put into the record."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from jobs.models import Job, Notice, Payload, QueueSample
from jobs.values import name
from tests.channels import a_channel, fire
from tests.every_page import a_full_record, every_page
from tests.hostile import DEEP, EVERYTHING, LARGE, LINES, TURNED, dangers, fill_everywhere
from tests.test_authorise import Things, things  # noqa: F401 a fixture
from workers.notify import texts

# What a form sends back must be what was there.
SENT_BACK = re.compile(r'\svalue="[^"]*"|<textarea(?![^>]*\sreadonly)[^>]*>[^<]*')
pytestmark = pytest.mark.django_db


def looked_at(client: Client, things: Things) -> Iterator[tuple[str, str]]:  # noqa: F811
    """Each page, and what it is; none fails."""
    queues = QueueSample.objects.values_list("queue", flat=True).distinct()
    odd = [reverse("queue", args=[queue]) for queue in queues]
    for address in (*every_page(things), *odd):
        answer: HttpResponse = client.get(address)  # type: ignore[assignment]
        assert answer.status_code in (200, 302, 400, 404), address
        yield address, answer.content.decode()


def test_markup_is_text_on_every_page_and_nothing_turns_round(visitor: Client, things: Things) -> None:  # noqa: F811
    a_full_record(timezone.now())
    fill_everywhere(EVERYTHING)
    shown = 0
    for address, page in looked_at(visitor, things):
        assert dangers(page) == [], address
        assert TURNED[0] not in SENT_BACK.sub("", page), address
        shown += "&lt;script&gt;window.ran=1" in page
    assert shown > 20, "the texts are where pages show them"


@pytest.mark.parametrize("giants", [(DEEP,), (LINES, LARGE, "\x1b[2J\x07\x85")], ids=["deep", "large"])
def test_every_page_stands_whatever_a_job_carries(
    visitor: Client,
    things: Things,  # noqa: F811
    giants: tuple[str, ...],
) -> None:
    a_full_record(timezone.now())
    fill_everywhere(*giants, long_texts_only=True)
    for address, page in looked_at(visitor, things):
        assert len(page) < 2_000_000, address


@pytest.mark.parametrize("odd", ["(1, 2)", "{'a': <object>}", DEEP, "{", "7", ""])
def test_a_job_whose_arguments_are_no_json_can_be_edited_and_run_again(visitor: Client, odd: str) -> None:
    job = Job.objects.create(task_id="odd", task="t", queue="low", state="failed", seen_at=timezone.now())
    Payload.objects.create(job=job, args=odd, kwargs=odd)
    assert visitor.get("/jobs/odd/").status_code == 200
    assert visitor.get(f"/jobs/~{job.pk}/rerun/").status_code == 200


def test_a_mail_is_plain_lines_whatever_it_tells_of() -> None:
    a_channel("email", "ops@example.com")
    fire(name(EVERYTHING) or "")
    message = texts.Message("firing", [Notice.objects.get().facts], "site")
    told = f"{texts.subject(message)}\n{texts.text(message)}"
    assert "<script" not in told
    assert not [line for line in told.splitlines() if line.startswith("[CRITICAL]")]
    assert all(letter.isprintable() or letter in "\n\u200b" for letter in told)
