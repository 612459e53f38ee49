"""Nothing of a foreign queue or task, and nothing that jobs carry, reaches who may not see it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from dashboard.consumers import make_frame, scopes_of
from jobs import live, scopes, search, worker_frame
from jobs.access import Span
from jobs.history import Memory
from jobs.models import (
    Action,
    Attempt,
    Bucket,
    Cluster,
    Heartbeat,
    Job,
    Payload,
    Quarantine,
    QueueSample,
    Reach,
    Standing,
    Worker,
)
from jobs.models.people import Outcome
from jobs.scopes import Scope
from jobs.store.patterns import matches

pytestmark = pytest.mark.django_db

# In each name of the foreign team, and in all that its jobs carry.
FOREIGN = "bank"
# In all that our own team's jobs carry.
CARRIED = "hush"
STATES = ("failed", "running", "queued", "succeeded")
PAGES = (
    "/", "/jobs/", "/jobs/?state=failed", "/jobs/?state=succeeded", "/jobs/?task=shop.report",
    "/schedules/", "/coverage/", "/gaps/", "/quarantine/", "/queues/", "/workers/", "/bulk/",
    "/find/", "/find/?q=report", "/find/?q=low", "/find/?q=nightly",
)  # fmt: skip
TOPICS = ("overview", "jobs", "schedules", "coverage")


def seed() -> None:
    now = timezone.now()
    for team, carried in (("shop", CARRIED), (FOREIGN, FOREIGN)):
        task, queue = f"{team}.report", f"{team}-low"
        for state in STATES:
            job = Job.objects.create(
                task_id=f"{team}-{state}", task=task, queue=queue, state=state, seen_at=now, ended_at=now,
                exception=f"KeyError: '{carried}'" if state == "failed" else None, worker="w1@h", attempts=1,
            )  # fmt: skip
            if state != "succeeded":
                Standing.objects.create(job=job, state=state, task=task, queue=queue)
            Payload.objects.create(
                job=job, args=f'["{carried}"]', kwargs=f'{{"k": "{carried}"}}', result=f'"{carried}"',
                progress=json.dumps({"state": "AT", "meta": {"at": carried, "percent": 40}, "at": 1.0}),
            )  # fmt: skip
            Attempt.objects.create(
                job=job, retries=0, delivery=1, state=state, exception=job.exception,
                traceback=f"Traceback {carried}",
            )  # fmt: skip
        for tier in (60, 3600):
            Bucket.objects.create(
                tier=tier, start=int(now.timestamp() // tier), task=task, queue=queue, published=7, started=7,
                succeeded=5 if team == "shop" else 900, failed=1,
            )  # fmt: skip
        QueueSample.objects.create(queue=queue, at=now, depth=3, oldest_at=now - timedelta(seconds=4))
        often, _ = IntervalSchedule.objects.get_or_create(every=5, period=IntervalSchedule.MINUTES)
        PeriodicTask.objects.create(name=f"{team}-nightly", task=task, queue=queue, interval=often)
        Action.objects.create(
            at=now, who="bo", via="page", command="job.retry", target_kind="job", target=f"{team}-failed",
            task=task, queue=queue, reason=f"for {team}", outcome=Outcome.DONE,
        )  # fmt: skip
    Worker.objects.create(
        producer="p", name="w1@h", queues=f"shop-low,{FOREIGN}-low", seen_at=now, online_at=now
    )
    Quarantine.objects.create(
        reason="not JSON", count=1, first_at=now, last_at=now, sample=f'{{"task": "{FOREIGN}"}}'
    )
    Heartbeat.objects.create(name="monitor", at=now, host="h", pid=1)


@pytest.fixture
def record(db: None) -> None:
    seed()


@pytest.fixture
def ana(record: None) -> User:
    """An operator of the shop's team."""
    user = User.objects.create_user("ana")
    user.groups.add(Group.objects.get(name="operator"))
    Reach.objects.create(user=user, queues="shop*", tasks="*")
    return user


@pytest.fixture
def eve(record: None) -> User:
    """Somebody who may see what happens, but not what jobs carry."""
    user = User.objects.create_user("eve")
    user.user_permissions.add(*Permission.objects.filter(codename__in=["view_record", "view_audit"]))
    return user


def pages(client: Client) -> Iterator[tuple[str, str]]:
    """All pages that there are, and their text."""
    jobs = [f"/jobs/{job.task_id}/" for job in Job.objects.all()]
    actions = [f"/audit/{action.pk}/" for action in Action.objects.all()]
    for address in (*PAGES, "/audit/", *jobs, *actions):
        for part in ({}, {"HX-Request": "true"}):
            response = client.get(address, headers=part)
            assert response.status_code in (200, 404), address
            # What was asked for is no news.
            yield address, response.content.decode().replace(address, "")


def frames(scope: str) -> Iterator[str]:
    for name in (*TOPICS, *(f"job-{job.pk}" for job in Job.objects.all())):
        text = make_frame(str(live.topic_named(name, scope)))
        if text is not None:
            yield text


def test_no_page_tells_of_a_foreign_team(client: Client, ana: User) -> None:
    client.force_login(ana)
    told = [address for address, page in pages(client) if FOREIGN in page]
    assert told == []


def test_no_frame_tells_of_a_foreign_team(ana: User) -> None:
    scope = live.scope_of(ana)
    assert scope is not None
    assert scope != "all"
    made = list(frames(scope))
    assert len(made) == len(TOPICS) + len(STATES)
    assert [frame for frame in made if FOREIGN in frame] == []


def test_the_own_team_is_seen_whole(client: Client, ana: User) -> None:
    client.force_login(ana)
    assert client.get("/jobs/").content.decode().count('id="job-') == len(STATES)
    page = client.get("/jobs/shop-failed/").content.decode()
    for carried in (f"KeyError: &#x27;{CARRIED}", f"Traceback {CARRIED}", f"&quot;{CARRIED}&quot;"):
        assert carried in page
    assert client.get("/jobs/bank-failed/").status_code == 404


def test_headline_figures_are_those_of_the_own_team(ana: User) -> None:
    memory = Memory()
    everything = live.overview(Cluster.DEFAULT_ID, "all", timezone.now(), memory)
    own = live.overview(Cluster.DEFAULT_ID, live.scope_of(ana) or "", timezone.now(), memory)
    assert everything["figures"]["success"]["succeeded"] == 905
    assert own["figures"]["success"]["succeeded"] == 5
    assert sum(filter(None, own["chart"]["finished"])) == 6
    assert [queue["name"] for queue in own["queues"]] == ["shop-low"]
    workers = worker_frame.workers(Cluster.DEFAULT_ID, live.scope_of(ana) or "", timezone.now(), memory)
    assert workers["workers"][0]["queues"] == ["shop-low"]
    assert [failure["task"] for failure in own["failures"]] == ["shop.report"]
    again = live.overview(Cluster.DEFAULT_ID, "all", timezone.now(), memory)
    assert again["figures"]["success"]["succeeded"] == 905, "one memory serves many scopes"


def test_who_may_not_see_what_jobs_carry_sees_it_nowhere(client: Client, eve: User) -> None:
    client.force_login(eve)
    assert [address for address, page in pages(client) if CARRIED in page] == []
    made = list(frames(live.scope_of(eve) or ""))
    assert len(made) == len(TOPICS) + 2 * len(STATES)
    assert [frame for frame in made if CARRIED in frame] == []
    page = client.get("/jobs/shop-failed/").content.decode()
    assert "KeyError" in page, "the type of an exception tells no secret"
    assert "Your role does not include what jobs carry." in page


def test_one_permission_alone_shows_what_jobs_carry(db: None) -> None:
    assert [p.content_type.model for p in Permission.objects.filter(codename="view_payload")] == ["action"]


def test_a_share_that_is_done_is_told_without_what_else_a_report_says(eve: User) -> None:
    job = Job.objects.get(task_id="shop-running")
    frame = json.loads(make_frame(f"job-{job.pk}.{live.scope_of(eve)}") or "")
    assert (frame["progress"]["share"], frame["progress"]["state"]) == (0.4, "AT")


def test_an_account_without_a_role_gets_one_clear_page(client: Client, record: None) -> None:
    client.force_login(User.objects.create_user("new"))
    for address in (*PAGES[:8], "/audit/", "/jobs/shop-failed/"):
        response = client.get(address)
        assert response.status_code == 403, address
        assert "put <b>new</b> into a team" in response.content.decode()
    assert client.get("/live/").status_code == 403
    assert client.post("/sign-out/").status_code == 302


def test_whoever_may_see_the_same_shares_a_scope(ana: User) -> None:
    other = User.objects.create_user("bo")
    other.groups.add(Group.objects.get(name="viewer"))
    Reach.objects.create(group=Group.objects.get(name="viewer"), queues="shop*")
    assert live.scope_of(other) == live.scope_of(ana)
    Reach.objects.create(user=other, queues="bank*")
    assert live.scope_of(User.objects.get(pk=other.pk)) != live.scope_of(ana)


def test_a_reach_over_everything_is_none(record: None) -> None:
    user = User.objects.create_user("bo")
    user.groups.add(Group.objects.get(name="viewer"))
    Reach.objects.create(user=user, queues="*, low", tasks="*")
    assert live.scope_of(user) == "all"


def test_a_scope_is_known_in_another_process_by_its_definition(
    ana: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = live.scope_of(ana) or ""
    told = scopes.definitions([name, "all", "unheard"])
    monkeypatch.setattr(scopes, "_known", {})
    with pytest.raises(ValueError, match="no such scope"):
        live.topic_read(f"overview.{name}")
    scopes.learn([*told, "not JSON", "[]", '{"a": 1}', "[[], 1, 2]", "[3, true]"])
    assert live.topic_read(f"overview.{name}").scope == name
    assert scopes.named(name) == scopes.scope_of(User.objects.get(pk=ana.pk))


def test_names_of_scopes_fit_into_channel_names_and_no_end_of_them_is_kept(ana: User) -> None:
    for number in range(1_100):
        name = scopes.known(Scope((Span((f"q{number}",), ("*",)),)))
    assert len(scopes._known) == scopes.MOST_KNOWN
    assert len(f"frame.job-{2**63 - 1}.{name}") < 100


def test_sessions_are_looked_at_with_the_rights_of_now(client: Client, ana: User) -> None:
    client.force_login(ana)
    key = client.session.session_key or ""
    before = scopes_of([key])[key]
    Reach.objects.update(queues="low")
    after = scopes_of([key])[key]
    assert before != after
    ana.groups.clear()
    assert scopes_of([key]) == {}


# What the database finds is what Python says


letters = st.text(alphabet="ab.*?[]_%\\A^-", max_size=6)
names = st.text(alphabet="ab.?[]_%\\A^-", min_size=1, max_size=8)


@given(pattern=letters, named=st.lists(names, min_size=1, max_size=5, unique=True))
@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_pattern_means_the_same_in_the_database(db: None, pattern: str, named: list[str]) -> None:
    Job.objects.all().delete()
    Job.objects.bulk_create(
        Job(task_id=name, task=name, state="queued", seen_at=timezone.now()) for name in named
    )
    found = set(Job.objects.filter(task__patterned=pattern).values_list("task", flat=True))
    assert found == {name for name in named if matches(pattern, name)}


@pytest.mark.parametrize(
    ("pattern", "name", "does"),
    [
        ("shop.*", "shop.report", True), ("shop.*", "Shop.report", False), ("shop.*", "shop", False),
        ("*", "", True), ("a*a", "a", False), ("a*b*c", "abc", True), ("*.report", "a.report", True),
        ("a?", "ab", False), ("[a]", "a", False), ("a%", "ab", False), ("a_", "ab", False), ("", "a", False),
    ],
)  # fmt: skip
def test_only_the_star_is_special(pattern: str, name: str, does: bool) -> None:
    assert matches(pattern, name) is does


patterns = st.sampled_from(["*", "a", "b", "a*", "*b", "c"])
spans = st.lists(
    st.builds(
        lambda q, t: Span(tuple(q), tuple(t)), st.lists(patterns, max_size=2), st.lists(patterns, max_size=2)
    ),
    max_size=3,
)
places = st.sampled_from([None, "a", "b", "c", "ab"])


@given(
    spans=spans,
    pairs=st.lists(st.tuples(places, places), min_size=1, max_size=6),
    asked=st.tuples(places, places),
)
@hypothesis_settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_scope_shows_in_the_database_what_it_covers(
    db: None,
    spans: list[Span],
    pairs: list[tuple[str | None, str | None]],
    asked: tuple[str | None, str | None],
) -> None:
    Job.objects.all().delete()
    Job.objects.bulk_create(
        Job(task_id=str(place), task=task, queue=queue, state="queued", seen_at=timezone.now())
        for place, (task, queue) in enumerate(pairs)
    )
    scope = Scope(tuple(spans))
    covered = {job.pk for job in Job.objects.all() if scope.covers(job.task, job.queue)}
    assert set(Job.objects.within(scope).values_list("pk", flat=True)) == covered
    # Narrowed to a question, it finds the same among what the question finds.
    told = {name: value for name, value in zip(("task", "queue"), asked, strict=True) if value is not None}
    narrowed = scope.within(*asked).rows("task", "queue")
    found = set(Job.objects.filter(narrowed, **told).values_list("pk", flat=True))
    assert found == covered & set(Job.objects.filter(**told).values_list("pk", flat=True))


@pytest.mark.parametrize("queues", ["shop-low", "shop*", "shop-low,other"])
def test_pages_of_a_narrow_reach_lead_through_all_of_it(
    ana: User, queues: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "WINDOW", 40)
    Reach.objects.update(queues=queues)
    Job.objects.all().delete()
    Job.objects.bulk_create(
        Job(
            task_id=str(n),
            task="t",
            queue="shop-low" if n % 3 == 0 else "bank-low",
            state="queued",
            seen_at=timezone.now(),
        )
        for n in range(300)
    )
    seen: list[str] = []
    place: int | None = None
    while True:
        page = search.find(search.Query(before=place), ana)
        seen += [job.task_id for job in page.jobs]
        if (place := page.older) is None:
            break
    assert seen == [str(n) for n in range(297, -1, -3)]
