"""The pages of alerts, without script: what fires, what did, one of them, the wall, and counts."""

from __future__ import annotations

import html
import re
from datetime import datetime, timedelta

import orjson
import pytest
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from dashboard.consumers import make_frame
from jobs import live
from jobs.alert_trends import series
from jobs.history import Memory
from jobs.models import Alert, Bucket, Gap, QueueSample, Reach, Rule, Worker
from jobs.models.alerts import About, Kind, Severity
from jobs.rollups import Sketches
from tests.alerting import a_rule, an_alert, resolved
from tests.seed import seed
from tests.setups import a_monitor

pytestmark = pytest.mark.django_db


@pytest.fixture
def now(db: None) -> datetime:
    """The present, with a monitor that looks."""
    moment = timezone.now()
    a_monitor(moment)
    return moment


def words(markup: str) -> str:
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]+>", " ", markup))).strip()


def said(visitor: Client, address: str) -> str:
    return words(visitor.get(address).content.decode())


def headlines(markup: str) -> list[str]:
    """What is listed, in its order."""
    return [words(found) for found in re.findall(r'<th scope="row" class="fill"><a[^>]*>(.*?)</a>', markup)]


def test_a_healthy_night_is_one_calm_line(visitor: Client, now: datetime) -> None:
    markup = visitor.get("/alerts/").content.decode()
    verdict = words(re.findall(r'<div class="verdict".*?</div>', markup, flags=re.S)[0])
    on = Rule.objects.filter(enabled=True).count()
    assert verdict.startswith(f"Nothing fires Nothing needs you: {on} rules are looked at every few seconds.")
    assert "<form" not in markup.partition('id="alerts"')[2].partition("</main>")[0]
    assert "<table" not in markup
    assert "<title>Alerts · Nightdesk</title>" in markup


def test_the_worst_comes_first_and_what_somebody_is_on_comes_last(visitor: Client, now: datetime) -> None:
    rule = a_rule(Kind.DEPTH)
    an_alert(
        rule, now, "owned", queue="owned", severity=Severity.PAGE, acknowledged_at=now, acknowledged_by="ana"
    )
    an_alert(rule, now, "info", queue="info", severity=Severity.INFO)
    an_alert(rule, now, "young", queue="young", severity=Severity.PAGE, minutes=1)
    an_alert(rule, now, "old", queue="old", severity=Severity.PAGE, minutes=9)
    markup = visitor.get("/alerts/").content.decode()
    found = [line.rpartition(" ")[2] for line in headlines(markup)]
    assert found == ["old", "young", "info", "owned"]
    assert "4 alerts fire" in words(markup)
    assert "Nobody is on 3 of them." in words(markup)


def test_each_state_is_said_in_a_word_and_a_shape(visitor: Client, now: datetime) -> None:
    rule = a_rule(Kind.DEPTH)
    an_alert(rule, now, "a", queue="a", severity=Severity.PAGE)
    an_alert(rule, now, "b", queue="b", acknowledged_at=now, acknowledged_by="ana")
    an_alert(rule, now, "c", queue="c", silenced_until=now + timedelta(hours=1), silenced_by="bo")
    an_alert(rule, now, "d", queue="d", state="pending", fired_at=None)
    markup = visitor.get("/alerts/").content.decode()
    shapes = {"Firing": "v-critical", "Acknowledged": "eye", "Silenced": "v-paused", "Pending": "s-scheduled"}
    for word, shape in shapes.items():
        assert re.search(rf'#{shape}"/></svg><span>{word}</span>', markup), word


def test_the_evidence_is_a_sentence_with_its_numbers(visitor: Client, now: datetime) -> None:
    an_alert(a_rule(Kind.NO_CONSUMER), now, "high", queue="high")
    text = said(visitor, "/alerts/")
    assert "No worker reads high" in text
    assert "1,204 wait, the oldest for 14 min." in text


@pytest.mark.parametrize("kind", list(Kind))
def test_every_kind_has_words_also_where_its_evidence_lacks_everything(
    visitor: Client, now: datetime, kind: Kind
) -> None:
    alert = an_alert(a_rule(kind), now, "it", evidence={})
    for address in ("/alerts/", f"/alerts/{alert.pk}/", "/wall/", f"/alerts/rules/{alert.rule.pk}/"):
        text = said(visitor, address)
        assert "%(" not in text
        assert "None" not in text


def test_a_trend_turns_red_where_the_cause_began(
    visitor: Client, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.views.alerts.memory", Memory())  # the process remembers finished minutes
    for minutes in range(60):
        QueueSample.objects.create(queue="high", at=now - timedelta(minutes=minutes), depth=minutes)
    an_alert(a_rule(Kind.DEPTH), now, "high", queue="high", minutes=20)
    markup = visitor.get("/alerts/").content.decode()
    well, ill = re.findall(r'<path d="([^"]*)"/><path class="bad" d="([^"]*)"/>', markup)[0]
    assert (well.count("M"), ill.count("M")) == (19, 11)


def test_durations_of_a_long_alert_are_drawn_by_the_hour_and_counts_by_the_minute(now: datetime) -> None:
    for tier, took in ((Bucket.MINUTE, 100.0), (Bucket.HOUR, 7.0)):
        for task in ("shop.sync", "shop.pay"):
            sketches = Sketches()
            sketches.at("succeeded", "wait").add(took)
            start = int(now.timestamp() // tier)
            told = {"succeeded": 1, "failed": 3, "sketches": sketches.dumps()}
            Bucket.objects.create(tier=tier, start=start, task=task, queue="low", **told)

    def drawn(kind: Kind, minutes: int) -> tuple[int, float]:
        alert = an_alert(a_rule(kind, name=f"{kind} {minutes}"), now, "low", queue="low", minutes=minutes)
        found = series(alert, now)
        assert found is not None
        return found.step, max(filter(None, found.values))

    step, took = drawn(Kind.SLOW, minutes=300)
    assert (step, round(took)) == (3600, 7)
    assert drawn(Kind.FAILURE_SHARE, minutes=300) == (120, 0.75)
    step, took = drawn(Kind.SLOW, minutes=30)
    assert step == 60
    assert 95 < took < 105


def test_alerts_are_filtered_by_queue_and_team(visitor: Client, now: datetime) -> None:
    team = Group.objects.create(name="payments")
    an_alert(a_rule(Kind.DEPTH, team=team), now, "high", queue="high")
    an_alert(a_rule(Kind.OLDEST), now, "low", queue="low")
    assert len(headlines(visitor.get("/alerts/?queue=high").content.decode())) == 1
    by_team = visitor.get(f"/alerts/?team={team.pk}").content.decode()
    assert headlines(by_team) == ["Too many jobs wait in high"]
    assert "None of those that fire" in said(visitor, "/alerts/?queue=nowhere")
    assert visitor.get("/alerts/?team=x").status_code == 400
    assert visitor.get("/alerts/?before=0").status_code == 400


def test_history_tells_how_long_it_took_until_somebody_was_on_it(visitor: Client, now: datetime) -> None:
    rule = a_rule(Kind.DEPTH)
    resolved(an_alert(rule, now, "high", queue="high", minutes=30), now, taken_after=95, who="ana")
    resolved(an_alert(rule, now, "low", queue="low"), now)
    text = said(visitor, "/alerts/")
    assert "1 min 35 s ana" in text
    assert "The last alert was resolved 0 s ago." in text


def test_history_has_pages(visitor: Client, now: datetime) -> None:
    rule = a_rule(Kind.DEPTH)
    for number in range(52):
        resolved(an_alert(rule, now, f"q{number}", queue="high"), now)
    first = visitor.get("/alerts/?queue=high").content.decode()
    older = html.unescape(re.findall(r'rel="next" href="([^"]*)"', first)[0])
    assert "queue=high" in older
    rest = headlines(visitor.get(older).content.decode())
    assert len(headlines(first)) == 50
    assert [line.rpartition(" ")[2] for line in rest] == ["q1", "q0"]


# One alert


def burning(now: datetime) -> Alert:
    """A queue that nobody reads since a worker went, after a release."""
    for minutes in range(140):
        at = now - timedelta(minutes=minutes)
        QueueSample.objects.create(queue="high", at=at, depth=max(0, 18 - minutes) * 67)
    came = {"seen_at": now, "release": "9f3c1e2", "online_at": now - timedelta(minutes=41)}
    gone = {
        "seen_at": now - timedelta(minutes=19),
        "release": "77ab001",
        "online_at": now - timedelta(hours=9),
    }
    Worker.objects.create(producer="a", name="default@ams-4", **came)
    Worker.objects.create(producer="b", name="high@ams-2", **gone)
    Gap.objects.create(
        source="x", reason="sequence", lost=7, began_at=now - timedelta(minutes=30),
        ended_at=now - timedelta(minutes=29),
    )  # fmt: skip
    rule = a_rule(Kind.NO_CONSUMER, runbook_url="https://wiki.example.com/no-workers")
    return an_alert(rule, now, "high", queue="high", severity=Severity.PAGE)


def test_an_alert_shows_its_evidence_its_chart_and_what_changed_before(
    visitor: Client, now: datetime
) -> None:
    alert = burning(now)
    visitor.post("/queues/high/pause/", {"once": "a-form-of-mine", "lasts": ""})
    markup = visitor.get(f"/alerts/{alert.pk}/").content.decode()
    changes = words(re.findall(r'<ol class="deeds changes">(.*?)</ol>', markup, flags=re.S)[0])
    assert "worker high@ams-2 went silent" in changes
    assert "worker default@ams-4 came up 9f3c1e2" in changes
    assert "release 9f3c1e2" in changes
    assert "events of x went missing 7" in changes
    assert re.search(r'<rect class="f-idle"', markup)
    assert re.search(r'<rect class="f-bad"', markup)
    letters = re.findall(r'<b class="letter">(\w)</b>', markup)
    marks = "".join(re.findall(r'<text class="mark"[^>]*>(\w+)</text>', markup))
    assert sorted(marks) == sorted(letters)
    assert "As a table" in markup


def test_the_summary_can_be_copied_as_plain_text(visitor: Client, now: datetime) -> None:
    alert = burning(now)
    markup = visitor.get(f"/alerts/{alert.pk}/").content.decode()
    text = html.unescape(
        re.findall(r'<textarea[^>]*id="summary"[^>]*>(.*?)</textarea>', markup, flags=re.S)[0]
    )
    lines = text.splitlines()
    assert lines[:2] == ["No worker reads high", "1,204 wait, the oldest for 14 min."]
    assert "State: Firing" in lines
    assert "Runbook: https://wiki.example.com/no-workers" in lines
    assert lines[-1] == f"http://testserver/alerts/{alert.pk}/"
    resolved(alert, now)
    assert "State: Resolved" in visitor.get(f"/alerts/{alert.pk}/").content.decode()


def test_related_jobs_are_a_click_away(visitor: Client, now: datetime) -> None:
    alert = burning(now)
    assert 'href="/jobs/?state=queued&amp;queue=high"' in visitor.get(f"/alerts/{alert.pk}/").content.decode()


def test_a_share_of_failures_is_drawn_from_what_ended(visitor: Client, now: datetime) -> None:
    minute = int(now.timestamp() // 60)
    Bucket.objects.create(tier=60, start=minute - 3, task="t", queue="q", succeeded=1, failed=3)
    alert = an_alert(a_rule(Kind.FAILURE_SHARE), now, "t", task="t", minutes=5)
    chart = visitor.get(f"/alerts/{alert.pk}/").context["chart"]
    assert [value for _, value in chart.rows if value is not None] == [0.75]


def test_without_a_history_there_is_no_chart(visitor: Client, now: datetime) -> None:
    alert = an_alert(a_rule(Kind.BEAT_SILENT), now, "beat", about=About.BEAT)
    assert visitor.get(f"/alerts/{alert.pk}/").context["chart"] is None


def test_hostile_names_are_text(visitor: Client, now: datetime) -> None:
    hostile = "<img src=x onerror=alert(1)>%(value)s"
    rule = a_rule(Kind.NEW_ERROR, name=hostile, note=hostile)
    alert = an_alert(
        rule, now, hostile, task=hostile, queue=hostile, note=hostile, summary=hostile, acknowledged_at=now,
        acknowledged_by=hostile, evidence={"exception": hostile, hostile: hostile},
    )  # fmt: skip
    Worker.objects.create(producer="a", name=hostile, seen_at=alert.since, online_at=alert.since)
    for address in (
        "/alerts/",
        f"/alerts/{alert.pk}/",
        "/wall/",
        "/alerts/rules/",
        f"/alerts/rules/{rule.pk}/",
    ):
        markup = visitor.get(address).content.decode()
        assert "<img" not in markup, address
        assert "&lt;img src=x onerror=alert(1)&gt;" in markup, address


def test_an_alert_that_is_not_there_is_missing(visitor: Client, now: datetime) -> None:
    assert visitor.get("/alerts/77/").status_code == 404
    assert visitor.get(f"/alerts/{10**30}/").status_code == 404


# Who sees what


def reader(queues: str) -> Client:
    user = User.objects.create_user(f"of-{queues}")
    user.groups.add(Group.objects.get(name="operator"))
    Reach.objects.create(user=user, queues=queues)
    client = Client()
    client.force_login(user)
    return client


def test_who_may_not_see_a_queue_does_not_see_its_alerts(now: datetime) -> None:
    rule = a_rule(Kind.DEPTH)
    mine, theirs = (an_alert(rule, now, queue, queue=queue) for queue in ("low", "high"))
    an_alert(a_rule(Kind.WORKER_DEAD), now, "w1@h")
    client = reader("low")
    markup = client.get("/alerts/").content.decode()
    assert sorted(headlines(markup)) == ["Too many jobs wait in low", "w1@h is gone, with running jobs"]
    assert "(2) Alerts" in markup
    assert 'value="high"' not in markup
    assert client.get(f"/alerts/{mine.pk}/").status_code == 200
    for address in (f"/alerts/{theirs.pk}/", f"/alerts/{theirs.pk}/silence/"):
        assert client.get(address).status_code == 404
    assert client.post(f"/alerts/{theirs.pk}/acknowledge/", {"once": "a-form-of-mine"}).status_code == 404


# On every page


def test_the_count_is_in_the_side_the_title_and_the_icon_of_every_page(
    visitor: Client, now: datetime
) -> None:
    before = visitor.get("/jobs/").content.decode()
    assert "<title>Jobs · Nightdesk</title>" in before
    assert re.search(r'id="icon" href="[^"]*icon\.[^"]*svg"', before)
    an_alert(a_rule(Kind.DEPTH), now, "high", queue="high", severity=Severity.PAGE)
    for address in (
        "/",
        "/jobs/",
        "/queues/",
        "/schedules/",
        "/coverage/",
        "/audit/",
        "/alerts/rules/",
        "/run/",
    ):
        markup = visitor.get(address).content.decode()
        assert re.search(r"<title>\(1\) ", markup), address
        assert re.search(r'id="icon" href="[^"]*icon-firing', markup), address
        count = r'class="alerts-count" data-alerts data-state="page"[^>]*data-when="firing some">'
        assert re.search(count, markup), address
        assert ", 1 firing" in words(markup), address


def test_a_page_and_a_frame_come_from_the_same_dict(visitor: Client, now: datetime) -> None:
    an_alert(a_rule(Kind.DEPTH), now, "high", queue="high")
    frame = orjson.loads(make_frame("alerts.all") or "")
    shown = visitor.get("/alerts/").context["frame"]
    assert {**frame, "at": 0} == {**shown, "at": 0}
    assert frame["tone"] == "warn"
    Alert.objects.update(acknowledged_at=now)
    assert live.alerts(1, "all", now)["tone"] == "acknowledged"


def test_a_silent_monitor_is_said_since_nobody_looks(visitor: Client, now: datetime) -> None:
    an_alert(a_rule(Kind.DEPTH), now, "high", queue="high")
    a_monitor(now - timedelta(minutes=5))
    for address in ("/alerts/", "/wall/"):
        assert "Blind" in said(visitor, address)
        assert "Too many jobs wait in high" in said(visitor, address)


def test_the_wall_is_whole_without_script_and_asks_again_by_itself(visitor: Client) -> None:
    now = timezone.now()
    seed(now)
    assert "Quiet" in said(visitor, "/wall/")
    for number in range(10):
        an_alert(a_rule(Kind.DEPTH, name=str(number)), now, f"q{number}", queue=f"q{number}")
    markup = visitor.get("/wall/").content.decode()
    assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in markup
    assert "10 alerts fire" in words(markup)
    assert "and 2 more" in words(markup)
    assert "Success, 24 h 99." in words(markup)


def test_the_cost_of_the_list_does_not_grow_with_the_alerts(visitor: Client, now: datetime) -> None:
    rule = a_rule(Kind.DEPTH)
    an_alert(rule, now, "first", queue="high")
    few = _statements(visitor)
    for number in range(30):
        an_alert(rule, now, f"q{number}", queue="high")
    assert _statements(visitor) == few


def _statements(visitor: Client) -> int:
    visitor.get("/alerts/")
    with CaptureQueriesContext(connection) as seen:
        visitor.get("/alerts/")
    return len(seen)
