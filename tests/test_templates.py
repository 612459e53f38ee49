"""The pages obey the policy they are sent with, and show only what is true."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.template import engines
from django.template.loader import get_template
from django.test import Client
from django.utils import timezone

from dashboard import formats
from jobs.models import Heartbeat, Job, Position, State, Worker
from tests.burning import burn
from tests.seed import seed

ROOT = Path(__file__).parents[1]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
SCRIPTS = sorted((ROOT / "static" / "nightdesk").glob("*.js"))
DASH = formats.NOT_APPLICABLE
SPRITE = (ROOT / "static" / "nightdesk" / "icons.svg").read_text()


def called(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", TEMPLATES, ids=called)
def test_a_template_can_be_read(path: Path) -> None:
    get_template(str(path.relative_to(ROOT / "templates")))


@pytest.mark.parametrize("path", TEMPLATES, ids=called)
def test_a_template_has_no_inline_style_script_or_handler(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|hx-on|hx-vals=.js", text)
    assert re.findall(r"<script(?![^>]*\ssrc=)", text) == []


@pytest.mark.parametrize("path", TEMPLATES, ids=called)
def test_a_template_never_switches_escaping_off(path: Path) -> None:
    assert not re.search(r"\|safe\b|autoescape off|safeseq", path.read_text())


@pytest.mark.parametrize("path", SCRIPTS, ids=called)
def test_a_script_writes_text_never_markup(path: Path) -> None:
    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|DOMParser",
        path.read_text(),
    )


def test_the_scripts_can_be_read_in_one_sitting() -> None:
    assert sum(len(path.read_text().splitlines()) for path in SCRIPTS) < 900


def test_the_sprite_holds_every_icon_and_no_other() -> None:
    source = "".join(path.read_text() for path in [*TEMPLATES, *(ROOT / "dashboard").rglob("*.py")])
    named = set(re.findall(r"{% icon .([a-z-]+). %}", source)) | set(
        re.findall(r'"((?:s|v|n)-[a-z]+)"', source)
    )
    assert set(re.findall(r'<symbol id="([a-z-]+)"', SPRITE)) == named


def page(visitor: Client, address: str, status: int = 200) -> str:
    response = visitor.get(address)
    assert response.status_code == status
    return response.content.decode()


def words(markup: str) -> str:
    """What a reader sees, roughly: without tags, in single spaces, and without what is hidden."""
    shown = re.sub(r"<(\w+)[^>]*\shidden(?:\s[^>]*)?>.*?</\1>", " ", markup, flags=re.S)
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", shown)).strip()


def test_the_first_start_says_what_to_do(visitor: Client, db: None) -> None:
    markup = page(visitor, "/")
    assert "Ready, and waiting for a first job" in markup
    assert ".venv/bin/celery -A workers worker -Q high,default,low" in markup
    assert ".venv/bin/python manage.py monitor" in markup
    assert "All of it at once" in words(markup)
    assert 'id="chart"' not in markup


def test_first_steps_do_not_offer_to_start_what_is_there(visitor: Client, db: None) -> None:
    Heartbeat.objects.create(name="monitor", at=timezone.now(), host="h", pid=1)
    assert "All of it at once" not in words(page(visitor, "/"))


def test_figures_that_do_not_apply_yet_are_a_dash_not_a_zero(visitor: Client, db: None) -> None:
    figures = re.findall(r'<dd class="value">(.*?)</dd>', page(visitor, "/"), flags=re.S)
    assert [words(figure)[:1] for figure in figures[:3]] == [DASH] * 3


def test_the_overview_shows_the_figures_without_script(visitor: Client, db: None) -> None:
    seed(timezone.now())
    markup = page(visitor, "/")
    assert "Quiet" in words(markup)
    figures = [words(figure) for figure in re.findall(r'<dd class="value">(.*?)</dd>', markup, flags=re.S)]
    assert re.match(r"\d[\d.]*[KM]?", figures[0])
    assert re.match(r"99\.\d ?%", figures[1])
    assert figures[3].startswith("3")
    assert "process_valuation" in markup
    assert "Nothing needs you." in words(markup)
    assert "As a table" in markup


def test_a_silent_monitor_makes_the_page_blind(visitor: Client, db: None) -> None:
    seed(timezone.now())
    Heartbeat.objects.filter(name="monitor").update(at=datetime(2026, 1, 1, tzinfo=UTC))
    markup = page(visitor, "/")
    assert re.search(r'class="verdict" data-state="blind"', markup)
    assert "python manage.py monitor" in markup
    assert 'id="chart"' in markup
    assert "First steps" not in markup
    assert "process_valuation" in markup
    assert "['" not in markup


def test_what_is_red_is_said_beside_the_word(visitor: Client, db: None) -> None:
    seed(timezone.now())
    Worker.objects.update(seen_at=timezone.now() - timedelta(seconds=60))
    markup = page(visitor, "/")
    said = words(re.findall(r'<div class="verdict".*?</div>', markup, flags=re.S)[0])
    assert said.startswith("Drifting since")
    assert "1 thing needs somebody." in said
    assert "3 workers are gone." in words(markup)


def test_a_shop_on_fire_is_told_worst_first_and_each_thing_once(visitor: Client, db: None) -> None:
    burn(timezone.now())
    markup = page(visitor, "/")
    assert "<title>(3) Burning · Nightdesk</title>" in markup
    rows = re.findall(r'<li data-row="([^"]+)" data-state="(\w+)"', markup.split("<template")[0])
    assert rows == [
        ("queue no consumer high", "page"),
        ("worker worker dead high@ams-1", "warn"),
        ("task failure rise workers.demo.tasks.process_valuation", "warn"),
        ("queue capacity default", "warn"),
        ("task new error workers.demo.tasks.sync_product", "info"),
        ("record gap gap", "info"),
        ("schedule missed tick nightly-report", "page"),
    ]


def test_the_summary_tells_how_things_stand_to_whoever_was_not_there(visitor: Client, db: None) -> None:
    burn(timezone.now())
    text = html.unescape(
        re.findall(r'<textarea[^>]* id="summary"[^>]*>(.*?)</textarea>', page(visitor, "/"), flags=re.S)[0]
    )
    assert text.startswith("**Burning since ")
    assert re.search(r"- Page: No worker reads `high`. \d,\d{3} wait, the oldest for 1\d min", text)
    assert "`ana` has it." in text
    assert "- queue `high`: No workers" in text
    assert "`ana: queue.pause low`" in text
    assert text.endswith("http://testserver/")


def test_a_name_in_the_summary_is_neither_markup_nor_a_mention(visitor: Client, db: None) -> None:
    burn(timezone.now())
    Worker.objects.filter(queues="high").update(name="w`@channel` **x**\n# <!here>")
    markup = page(visitor, "/")
    text = html.unescape(
        re.findall(r'<textarea[^>]* id="summary"[^>]*>(.*?)</textarea>', markup, flags=re.S)[0]
    )
    assert "`w'@channel' **x** # <!here>`" in text
    assert not re.search(r"^# ", text, flags=re.M)


def test_a_job_page_tells_its_attempts_and_its_error(visitor: Client, db: None) -> None:
    seed(timezone.now())
    markup = page(visitor, "/jobs/b7e4c1d2-58f0-4c7e-9d1b-3a60e2f9c814/")
    assert "Failed after 4 attempts in 1 min 9 s" in words(markup)
    assert "pricing.quote(valuation, rates)" in markup
    assert "secrets were hidden before storage" in markup
    assert "884213" in markup
    assert len(re.findall(r'<rect class="f-(?:warn|bad)"', markup)) == 4


def test_a_running_job_shows_how_much_is_done(visitor: Client, db: None) -> None:
    seed(timezone.now())
    markup = page(visitor, "/jobs/77c0e1ab-0000-4000-8000-000000000001/")
    assert "41.2 %" in markup
    assert re.search(r'data-share="progress.share" width="41.2"', markup)


def test_each_state_has_a_sentence_of_its_own(visitor: Client, db: None) -> None:
    job = seed(timezone.now(), jobs=1)[0]
    leads = set()
    for state in State:
        Job.objects.filter(pk=job.pk).update(state=state, eta=timezone.now())
        markup = page(visitor, f"/jobs/{job.task_id}/")
        assert f'data-state="{state}"' in markup
        leads.add(words(re.findall(r'<p class="lead">(.*?)</p>', markup, flags=re.S)[0]))
    assert len(leads) == len(State)


def test_a_filter_that_finds_nothing_says_which_to_drop(visitor: Client, db: None) -> None:
    seed(timezone.now())
    markup = page(visitor, "/jobs/?state=revoked&task=nothing.of.that.name")
    assert "No job matches" in markup
    assert "Any state" in words(markup)
    assert 'href="/jobs/?task=nothing.of.that.name"' in markup


def test_an_unknown_state_is_said_clearly(visitor: Client, db: None) -> None:
    assert "There is no state" in page(visitor, "/jobs/?state=exploded", status=400)


def test_an_empty_list_before_the_first_job_points_to_the_first_steps(visitor: Client, db: None) -> None:
    assert "No job yet" in page(visitor, "/jobs/")


def test_a_record_that_saw_a_worker_but_never_a_job_says_how_to_begin(visitor: Client, db: None) -> None:
    Position.objects.create(source="s", committed_at=timezone.now(), last_event_at=timezone.now())
    markup = page(visitor, "/jobs/")
    assert "No job yet" in markup
    assert "retention" not in markup


def test_an_attempt_to_come_after_an_unknown_error_has_no_question_mark(visitor: Client, db: None) -> None:
    job = seed(timezone.now(), jobs=1)[0]
    Job.objects.filter(pk=job.pk).update(state="retrying", exception=None)
    lead = re.findall(r'<p class="lead">(.*?)</p>', page(visitor, f"/jobs/{job.task_id}/"), flags=re.S)[0]
    assert words(lead) == "Waiting for another attempt."


def test_a_job_that_is_missing_is_said_with_a_way_back(visitor: Client, db: None) -> None:
    markup = page(visitor, "/jobs/unknown/", status=404)
    assert "No such job" in markup
    assert '<a class="button" href="/jobs/">' in markup


HOSTILE = "<img src=x onerror=alert(1)>"


def test_hostile_text_is_shown_as_text(visitor: Client, db: None) -> None:
    job = seed(timezone.now(), jobs=1)[0]
    Job.objects.filter(pk=job.pk).update(
        task=HOSTILE, queue=HOSTILE, worker=HOSTILE, exception=HOSTILE, task_id=HOSTILE
    )
    for address in ("/jobs/", f"/jobs/~{job.pk}/"):
        markup = page(visitor, address)
        assert "<img" not in markup
        assert "&lt;img src=x onerror=alert(1)&gt;" in markup


def render(source: str, **context: Any) -> str:
    return engines["django"].from_string("{% load nightdesk jobs %}" + source).render(context)


@pytest.mark.parametrize(
    ("state", "expected"),
    [("queued", DASH), ("revoked", DASH), ("running", DASH), ("succeeded", "?"), ("failed", "?")],
)
def test_a_missing_run_time_is_unknown_only_if_the_job_ran(state: str, expected: str) -> None:
    job = {"state": state, "run": None}
    assert render('{% fact job "run" "seconds" %}', job=job) == expected


@pytest.mark.parametrize(
    ("value", "mark", "shown"),
    [
        (0, "zero", True),
        (3, "some", True),
        (None, "unknown", True),
        (0.0, "known", True),
        (0, "some", False),
        (None, "zero", False),
        ([], "zero", True),
        ([1], "some", True),
        (1, "one", True),
        (2, "one", False),
        (2, "many", True),
        (1, "many", False),
        (None, "many", False),
        ("late", "late", True),
        ("late", "online", False),
    ],
)
def test_a_part_is_shown_while_its_value_is_so(value: Any, mark: str, shown: bool) -> None:
    markup = render("<p {% when data 'value' mark %}>", data={"value": value}, mark=mark)
    assert (" hidden" not in markup) is shown
