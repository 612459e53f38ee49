"""Times in UTC or in the visitor's zone: chosen, shown, written into forms, and never stored otherwise."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import orjson
import pytest
from django import forms
from django.conf import LazySettings
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, IntervalSchedule, PeriodicTask
from hypothesis import given
from hypothesis import strategies as st

from dashboard import alert_text, formats, moments, zones
from dashboard.middleware import TheirZone
from dashboard.moment_fields import Moment
from jobs.models import Action, Bulk, Job, Pause, Rule
from jobs.models.alerts import Kind
from tests.alerting import an_alert
from tests.seed import seed
from tests.test_act_on_jobs import recorded
from tests.test_read_audit import exported

BERLIN, KOLKATA = "Europe/Berlin", "Asia/Kolkata"
ONCE = "0123456789abcdef0123456789abcdef"
LIES = ("../../etc/passwd", "localtime", "Factory", "Europe/berlin\0", "x" * 10_000, "UTC+1")


@pytest.fixture
def indian(visitor: Client) -> Client:
    """`ops` in a browser in which Kolkata was chosen."""
    visitor.cookies[zones.COOKIE] = KOLKATA
    return visitor


def said_by(client: Client, address: str, status: int = 200) -> str:
    response = client.get(address)
    assert response.status_code == status
    return response.content.decode()


def text_of(html: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", "", html).split())


# The switch


def test_times_are_in_utc_until_somebody_chooses(visitor: Client) -> None:
    said = said_by(visitor, "/")
    assert 'data-zone="UTC"' in said
    assert re.search(r'id="clock">\d\d:\d\d UTC<', said)


def test_the_chosen_zone_is_kept_in_a_cookie_and_named_in_the_menu(visitor: Client) -> None:
    response = visitor.post("/zone/", {"zone": KOLKATA, "next": "/jobs/?state=failed"})
    assert (response.status_code, response["Location"]) == (302, "/jobs/?state=failed")
    cookie = response.cookies[zones.COOKIE]
    assert (cookie.value, cookie["httponly"], cookie["samesite"], cookie["path"]) == (
        KOLKATA,
        True,
        "Lax",
        "/",
    )
    assert cookie["max-age"] == 365 * 86_400
    said = said_by(visitor, "/jobs/")
    assert f'data-zone="{KOLKATA}"' in said
    assert f"Times in {KOLKATA}" in said
    assert re.search(r'id="clock">\d\d:\d\d UTC\+5:30<', said)


def test_a_secure_installation_keeps_the_choice_securely(visitor: Client, settings: LazySettings) -> None:
    settings.SESSION_COOKIE_SECURE = True
    assert visitor.post("/zone/", {"zone": BERLIN}).cookies[zones.COOKIE]["secure"] is True


@pytest.mark.parametrize(
    "address",
    [
        "https://elsewhere.example/", "//elsewhere.example", "javascript:alert(1)", "", "/" + "x" * 9_000,
        "foo", "admin:index",
    ],
)  # fmt: skip
def test_choosing_leads_back_to_addresses_of_ours_alone(visitor: Client, address: str) -> None:
    assert visitor.post("/zone/", {"zone": BERLIN, "next": address})["Location"] == "/"
    assert visitor.post("/theme/", {"theme": "dark", "next": address})["Location"] == "/"


@pytest.mark.parametrize("name", LIES)
def test_a_zone_that_is_none_is_refused_in_a_line(visitor: Client, name: str) -> None:
    response = visitor.post("/zone/", {"zone": name})
    assert response.status_code == 400
    assert zones.COOKIE not in response.cookies
    assert "There is no time zone" in response.content.decode()


@pytest.mark.parametrize("name", LIES)
def test_a_cookie_that_names_no_zone_is_as_none(visitor: Client, name: str) -> None:
    visitor.cookies[zones.COOKIE] = name
    assert 'data-zone="UTC"' in said_by(visitor, "/jobs/")


def test_without_script_local_leads_to_a_page_to_choose_from(visitor: Client) -> None:
    response = visitor.post("/zone/", {"zone": "", "next": "/queues/?at=2026-11-22T02:41"})
    assert response.status_code == 302
    said = said_by(visitor, response["Location"])
    assert '<optgroup label="Europe">' in said
    assert f'<option value="{BERLIN}">' in said
    assert 'name="next" value="/queues/?at=2026-11-22T02:41"' in said
    assert "localtime" not in said


def test_every_page_offers_the_switch_and_the_way_back_to_itself(visitor: Client) -> None:
    said = said_by(visitor, "/jobs/?state=failed&task=x")
    assert '<input type="hidden" name="next" value="/jobs/?state=failed&amp;task=x">' in said


def test_visitors_of_one_process_have_each_their_own_zone() -> None:
    together = Barrier(3)

    def answer(_: HttpRequest) -> HttpResponse:
        together.wait(timeout=30)
        return HttpResponse(formats.time(1763766251))

    def asked_from(name: str) -> str:
        request = RequestFactory().get("/")
        request.COOKIES[zones.COOKIE] = name
        return TheirZone(answer)(request).content.decode()  # type: ignore[attr-defined, no-any-return]

    with ThreadPoolExecutor(3) as pool:
        answers = [*pool.map(asked_from, (BERLIN, KOLKATA, "UTC"))]
    assert answers == ["00:04 UTC+1", "04:34 UTC+5:30", "23:04 UTC"]
    assert formats.time(1763766251) == "23:04 UTC"


# Pages


def test_a_job_is_told_in_the_zone_and_says_so(indian: Client) -> None:
    at = datetime(2026, 6, 21, 22, 0, 1, tzinfo=UTC)
    Job.objects.create(task_id="late", task="t", state="failed", published_at=at, seen_at=at, ended_at=at)
    said = said_by(indian, "/jobs/late/")
    assert 'title="2026-06-22 03:30:01 UTC+5:30"' in said
    assert "2026-06-22 03:30:01</time>" in said


def test_what_is_copied_to_others_stays_in_utc_and_says_so(indian: Client) -> None:
    now = timezone.now()
    rule = Rule.objects.create(name="r", kind=Kind.MISSED_TICK)
    due = datetime(2026, 11, 22, 2, 41, tzinfo=UTC).timestamp()
    alert = an_alert(rule, now, "nightly", evidence={"due": due, "missed": 3})
    with timezone.override(KOLKATA):
        told = alert_text.summary(alert, [], "http://desk/", now)
    assert "2026-11-22 02:41:00 UTC" in told
    assert "UTC+" not in told
    seed(now)
    said = said_by(indian, "/")
    story = re.search(r"(?s)<textarea[^>]*>(.*?)</textarea>", said)
    assert story is not None
    assert re.search(r"As of \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC\.", story[1])


@pytest.mark.django_db(transaction=True)
def test_an_export_does_not_know_of_zones(indian: Client) -> None:
    at = datetime(2026, 11, 22, 2, 41, tzinfo=UTC)
    Action.objects.create(at=at, who="bo", via="page", command="job.retry", target_kind="job", target="x")
    assert "2026-11-22T02:41:00+00:00" in exported(indian)


@pytest.mark.parametrize(
    ("zone", "step", "shown"),
    [
        ("UTC", 21_600, ["00:00", "06:00", "12:00", "18:00"]),
        (KOLKATA, 21_600, ["06:00", "12:00", "18:00", "00:00"]),
        (KOLKATA, 86_400, ["00:00"]),
        ("America/Sao_Paulo", 86_400, ["00:00"]),
    ],
)
def test_the_axis_of_a_chart_has_round_times_in_every_zone(zone: str, step: int, shown: list[str]) -> None:
    start = int(datetime(2026, 11, 22, tzinfo=UTC).timestamp())
    with timezone.override(zone):
        marks = zones.round_moments(start, start + 86_400, step)
        assert [formats.minute(at) for at in marks] == shown


@pytest.mark.parametrize(
    ("began", "step", "shown"),
    [
        ("2026-10-25 00:30", 600, ["02:30", "02:40", "02:50", "02:00", "02:10", "02:20"]),
        ("2026-10-25 00:00", 1_800, ["02:00", "02:30"]),
        ("2026-03-29 00:30", 1_800, ["01:30", "03:00"]),
    ],
)
def test_the_axis_of_an_hour_goes_on_while_clocks_change(began: str, step: int, shown: list[str]) -> None:
    start = int(datetime.fromisoformat(began).replace(tzinfo=UTC).timestamp())
    with timezone.override(BERLIN):
        assert [formats.minute(at) for at in zones.round_moments(start, start + 3_600, step)] == shown


def test_the_axis_keeps_to_midnight_over_the_night_in_which_clocks_change() -> None:
    start = int(datetime(2026, 10, 24, tzinfo=UTC).timestamp())
    with timezone.override(BERLIN):
        marks = zones.round_moments(start, start + 3 * 86_400, 86_400)
        assert [formats.moment(at) for at in marks] == [
            "2026-10-25 00:00:00 UTC+2", "2026-10-26 00:00:00 UTC+1", "2026-10-27 00:00:00 UTC+1",
        ]  # fmt: skip


# Forms

MINUTES = st.integers(16_000_000, 68_000_000).map(lambda minute: datetime.fromtimestamp(minute * 60, UTC))


@given(MINUTES, st.sampled_from([BERLIN, KOLKATA, "America/St_Johns", "Australia/Lord_Howe", "UTC"]))
def test_a_moment_that_a_form_shows_is_read_as_the_same(at: datetime, zone: str) -> None:
    with timezone.override(zone):
        shown = zones.text_in_zone(moments.field(at))
        read = datetime.fromisoformat(zones.text_in_utc(shown, zone)).replace(tzinfo=UTC)
        assert zones.text_in_zone(moments.field(read)) == shown
    assert read == at or at.astimezone(ZoneInfo(zone)).fold, (
        "of two that the clock shows alike it is the first"
    )


@given(st.text(max_size=60), st.sampled_from(["", BERLIN, "nowhere"]))
def test_whatever_is_written_for_a_moment_is_one_or_told(text: str, zone: str) -> None:
    class Asked(forms.Form):
        until = Moment()

    with timezone.override(BERLIN):
        asked = Asked({"until": text, "zone": zone})
        assert str(asked)
        assert asked.is_valid() or "moment" in str(asked.errors) or "required" in str(asked.errors)


@pytest.mark.parametrize(
    ("local", "utc"),
    [
        ("2026-03-29T02:30", "2026-03-29T01:30"),  # clocks leave it out
        ("2026-10-25T02:30", "2026-10-25T00:30"),  # they show it twice
        ("2026-11-22T20:03", "2026-11-22T19:03"),
        ("2026-06-22T20:03:05", "2026-06-22T18:03:05"),
        ("2026-11-22T20:03+05:30", "2026-11-22T14:33"),
        ("0001-01-01T00:00", "0001-01-01T00:00"),
        ("yesterday", "yesterday"),
        ("", ""),
    ],
)
def test_what_berliners_write_is_meant_in_berlin(local: str, utc: str) -> None:
    assert zones.text_in_utc(local, BERLIN) == utc


def pause(client: Client, **form: str) -> Pause:
    response = client.post("/queues/high/pause/", {"once": ONCE, "lasts": "until", **form})
    assert response.status_code == 302
    return Pause.objects.get()


def test_a_form_is_meant_in_the_zone_that_it_shows(indian: Client) -> None:
    said = said_by(indian, "/queues/high/pause/")
    assert f"Resumes by itself at ({KOLKATA})" in said
    assert f'<input type="hidden" name="zone" value="{KOLKATA}">' in said
    until = timezone.now().replace(second=0, microsecond=0) + timedelta(hours=2)
    local = until.astimezone(ZoneInfo(KOLKATA)).strftime("%Y-%m-%dT%H:%M")
    made = pause(indian, until=local, zone=KOLKATA)
    assert made.until == until
    assert str(until) in str(Action.objects.get().arguments)
    assert "It resumes by itself at" in (shown := text_of(said_by(indian, "/queues/high/")))
    assert f"{local[-5:]}:00 UTC+5:30." in shown


def test_a_form_that_was_opened_in_utc_is_read_in_utc_whatever_was_chosen_since(indian: Client) -> None:
    until = timezone.now().replace(second=0, microsecond=0) + timedelta(hours=2)
    assert pause(indian, until=until.strftime("%Y-%m-%dT%H:%M")).until == until


@pytest.mark.parametrize("zone", LIES)
def test_a_form_with_a_zone_that_is_none_does_nothing(indian: Client, zone: str) -> None:
    response = indian.post(
        "/queues/high/pause/", {"once": ONCE, "lasts": "until", "until": "2099-01-01T00:00", "zone": zone}
    )
    assert response.status_code == 400
    assert "That is no moment" in response.content.decode()
    assert not Pause.objects.exists()


def test_an_edited_job_is_sent_at_the_moment_that_was_checked(indian: Client) -> None:
    job = recorded()
    address, eta = (
        f"/jobs/~{job.pk}/rerun/",
        timezone.now().replace(second=0, microsecond=0) + timedelta(hours=2),
    )
    local = eta.astimezone(ZoneInfo(KOLKATA)).strftime("%Y-%m-%dT%H:%M")
    form = {
        "once": ONCE,
        "args": "[7]",
        "kwargs": "{}",
        "queue": "",
        "priority": "",
        "eta": local,
        "zone": KOLKATA,
    }
    checked = indian.post(address, form).content.decode()
    assert f"{local.replace('T', ' ')}:00 UTC+5:30" in checked
    carried = dict(re.findall(r'<textarea name="(\w+)" hidden>(.*?)</textarea>', checked))
    indian.post(address, {**carried, "once": ONCE, "step": "run"})
    assert f'"eta":"{eta}"' in str(Action.objects.get().arguments)


def test_a_backfill_is_confirmed_for_the_span_that_was_counted(indian: Client) -> None:
    every = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.HOURS)
    row = PeriodicTask.objects.create(
        name="hourly", task="t", interval=every, start_time=datetime(2026, 1, 1, tzinfo=UTC)
    )
    asked = f"begin=2026-11-21T05:30&end=2026-11-21T08:30&zone={KOLKATA}"
    said = said_by(indian, f"/schedules/{row.pk}/backfill/?{asked}")
    assert 'name="begin" value="2026-11-21T05:30:00+05:30"' in said
    assert 'type="datetime-local" name="begin" value="2026-11-21T05:30"' in said.replace("\n", "")


def test_the_admin_which_names_no_zone_stays_in_utc(indian: Client) -> None:
    made = ClockedSchedule.objects.create(clocked_time=datetime(2030, 1, 1, 12, tzinfo=UTC))
    address = f"/admin/django_celery_beat/clockedschedule/{made.pk}/change/"
    said = said_by(indian, address)
    assert 'value="12:00:00"' in said
    indian.post(address, {"clocked_time_0": "2030-01-01", "clocked_time_1": "13:00:00"})
    made.refresh_from_db()
    assert made.clocked_time == datetime(2030, 1, 1, 13, tzinfo=UTC)
    told = Action.objects.get(command="admin.change")
    assert orjson.loads(told.after or "") == {"clocked_time": "2030-01-01 13:00:00+00:00"}


# Addresses

PLACES = ("/", "/queues/", "/queues/high/", "/workers/")


def test_an_address_that_names_a_zone_leads_to_the_same_in_utc(indian: Client) -> None:
    for place in PLACES:
        asked = {
            "cluster": "default",
            "since": "2026-11-22T05:30",
            "until": "2026-11-22T06:30",
            "zone": KOLKATA,
        }
        response = indian.get(place, asked)
        assert response.status_code == 302
        there = urlsplit(response["Location"])
        assert there.path == place
        assert parse_qs(there.query) == {
            "cluster": ["default"], "since": ["2026-11-22T00:00"], "until": ["2026-11-22T01:00"],
        }  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_an_earlier_moment_is_told_in_the_zone_and_addressed_in_utc(indian: Client, place: str) -> None:
    seed(timezone.now())
    at = timezone.now() - timedelta(hours=1)
    local = at.astimezone(ZoneInfo(KOLKATA)).strftime("%Y-%m-%dT%H:%M")
    response = indian.get(place, {"at": local, "zone": KOLKATA}, follow=True)
    assert response.redirect_chain == [(f"{place}?at={moments.field(at)}", 302)]
    said = response.content.decode()
    assert f'name="at" type="datetime-local" value="{local}"' in said
    assert f"{local[-5:]} UTC+5:30" in text_of(said)
    assert f"Show at ({KOLKATA})" in text_of(said)
    assert f'<input type="hidden" name="zone" value="{KOLKATA}">' in said


@pytest.mark.parametrize("zone", LIES)
@pytest.mark.parametrize("address", ["/?at=2026-11-22T02:41", "/jobs/?since=2026-11-22T02:41"])
def test_an_address_whose_zone_is_none_says_so_once(visitor: Client, address: str, zone: str) -> None:
    seed(timezone.now())
    asked = {**{name: one[0] for name, one in parse_qs(urlsplit(address).query).items()}, "zone": zone}
    response = visitor.get(urlsplit(address).path, asked, follow=True)
    assert len(response.redirect_chain) == 1
    assert (response.status_code, "That is no moment" in response.content.decode()) == (400, True)


def jobs_by_the_hour() -> None:
    for hour in range(4):
        at = datetime(2026, 11, 22, hour, 30, tzinfo=UTC)
        Job.objects.create(task_id=f"job-{hour}", task="t", state="failed", published_at=at, seen_at=at)


def test_the_list_of_jobs_is_asked_in_the_zone_and_addressed_in_utc(indian: Client) -> None:
    jobs_by_the_hour()
    asked = {"since": "2026-11-22T06:30", "until": "2026-11-22T07:30", "zone": KOLKATA}
    page = indian.get("/jobs/", asked, follow=True)
    assert page.redirect_chain == [("/jobs/?since=2026-11-22T01:00&until=2026-11-22T02:00", 302)]
    assert [job.task_id for job in page.context["page"].jobs] == ["job-1"]
    said = page.content.decode()
    assert 'name="since" value="2026-11-22T06:30"' in said
    assert f"Published from ({KOLKATA})" in said
    assert '<input type="hidden" name="since" value="2026-11-22T01:00">' in said, "for many at once"


def test_a_filter_over_htmx_is_answered_at_once_and_names_its_address_in_utc(indian: Client) -> None:
    jobs_by_the_hour()
    asked = {"since": "2026-11-22T06:30", "until": "", "zone": KOLKATA, "task": "t"}
    part = indian.get("/jobs/", asked, headers={"HX-Request": "true"})
    assert part.status_code == 200
    there = "/jobs/?since=2026-11-22T01:00&until=&task=t"
    assert part["HX-Push-Url"] == there
    assert [job.task_id for job in part.context["page"].jobs] == ["job-3", "job-2", "job-1"]
    assert f'data-address="{there.replace("&", "&amp;")}"' in part.content.decode()
    assert "HX-Push-Url" not in indian.get(there, headers={"HX-Request": "true"})


def test_many_jobs_at_once_are_those_of_the_list(indian: Client) -> None:
    jobs_by_the_hour()
    asked = {"once": ONCE, "deed": "retry", "all": "1", "since": "2026-11-22T01:00"}
    assert indian.post("/bulk/", asked).status_code == 302
    made = Bulk.objects.get()
    assert orjson.loads(made.filter or "")["since"] == "2026-11-22T01:00:00"
    assert "since: 2026-11-22 06:30:00 UTC+5:30" in text_of(said_by(indian, f"/bulk/{made.pk}/"))
