"""The pages by which people act on a job: buttons with their reasons, confirmations, forms, differences."""

from __future__ import annotations

import html
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.test import Client

from jobs.models import Action, Job, Outgoing, Payload, Revocation, Worker
from jobs.models.people import Outcome
from tests import tasks
from workers.followups import made_by

pytestmark = pytest.mark.django_db
ADD = tasks.add.name
BODY = '[[1, 2], {"note": "as it was"}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
NONCE = "a-nonce-of-a-form"


def recorded(state: str = "failed", **facts: Any) -> Job:
    payload = {"args": "[1, 2]", "kwargs": '{"note": "as it was"}', "body": BODY, "withheld": None}
    payload |= {name: facts.pop(name) for name in list(facts) if name in payload}
    told = {"task_id": "first", "task": "shop.charge", "queue": "default", "seen_at": datetime.now(UTC)}
    job = Job.objects.create(**{**told, "state": state, **facts})
    Payload.objects.create(job=job, **payload)
    return job


def text(client: Client, address: str, status: int = 200) -> str:
    response = client.get(address)
    assert response.status_code == status
    return response.content.decode()


def button(content: str, words: str) -> str:
    """The start tag of the button or link with these words."""
    found = re.search(rf"<(?:a|button)\b[^>]*>(?:<svg.*?</svg>)?\s*{words}</(?:a|button)>", content)
    assert found is not None, f"there is a button {words}"
    return html.unescape(found[0].split(">")[0])


def post(client: Client, address: str, **form: str) -> Any:
    return client.post(address, {"once": NONCE, **form})


def test_a_failed_job_is_retried_by_one_press(visitor: Client) -> None:
    job = recorded()
    assert 'data-kind="main"' in button(text(visitor, "/jobs/first/"), "Retry")
    response = post(visitor, f"/jobs/~{job.pk}/retry/")
    assert response["Location"] == "/jobs/first/"
    assert "Asked for a new job with the same body" in text(visitor, "/jobs/first/")
    assert Outgoing.objects.get().body == BODY


def test_a_press_that_is_sent_twice_is_one_retry(visitor: Client) -> None:
    job = recorded()
    for _ in range(2):
        post(visitor, f"/jobs/~{job.pk}/retry/")
    assert Outgoing.objects.count() == 1


def test_a_job_that_has_succeeded_is_run_again_only_after_a_question(visitor: Client) -> None:
    job = recorded("succeeded")
    assert f'href="/jobs/~{job.pk}/retry/"' in button(text(visitor, "/jobs/first/"), "Run again")
    assert "may be done a second time" in text(visitor, f"/jobs/~{job.pk}/retry/")
    assert not Outgoing.objects.exists()


@pytest.mark.parametrize(
    ("state", "facts", "words", "why"),
    [
        ("failed", {"body": None, "withheld": "redacted"}, "Retry", "Secrets in its arguments were hidden"),
        ("failed", {"body": None, "withheld": "too large"}, "Retry", "too large to be kept whole"),
        ("running", {}, "Retry", "it may yet run"),
        ("succeeded", {}, "Revoke", "It has ended already: succeeded."),
        ("running", {"worker": "gone@host"}, "Terminate", "is not there any more"),
    ],
)
def test_a_button_that_is_off_says_why(
    visitor: Client, state: str, facts: dict[str, Any], words: str, why: str
) -> None:
    recorded(state, **facts)
    tag = button(text(visitor, "/jobs/first/"), words)
    assert 'aria-disabled="true"' in tag
    assert why in tag


def test_a_viewer_is_shown_the_buttons_and_why_they_are_off(client: Client) -> None:
    user = User.objects.create_user("vera")
    user.groups.set(Group.objects.filter(name="viewer"))
    client.force_login(user)
    job = recorded()
    tag = button(text(client, "/jobs/first/"), "Retry")
    assert "You lack the permission: May retry a job" in tag
    assert post(client, f"/jobs/~{job.pk}/retry/").status_code == 403
    assert Action.objects.get().refusal == "permission"
    assert not Outgoing.objects.exists()


def test_a_revocation_is_asked_for_confirmed_and_shown_as_not_yet_true(visitor: Client) -> None:
    job = recorded("queued")
    assert f'href="/jobs/~{job.pk}/revoke/"' in button(text(visitor, "/jobs/first/"), "Revoke")
    assert "This can't be taken back" in text(visitor, f"/jobs/~{job.pk}/revoke/")
    assert not Revocation.objects.exists()
    response = post(visitor, f"/jobs/~{job.pk}/revoke/", reason="wrong customer")
    assert response["Location"] == "/jobs/first/"
    content = text(visitor, "/jobs/first/")
    assert "Revoking…" in content
    assert "Asked, not yet confirmed: workers have not been told." in content
    assert "wrong customer" in content
    assert "That is under way." in button(content, "Revoke")
    assert Job.objects.get().state == "queued"
    Revocation.objects.update(told_at=datetime.now(UTC))
    assert "Workers know" in text(visitor, "/jobs/first/")


def test_what_has_ended_is_not_revoked(visitor: Client) -> None:
    job = recorded("succeeded")
    response = post(visitor, f"/jobs/~{job.pk}/revoke/")
    assert response.status_code == 409
    assert b"It has ended already: succeeded." in response.content
    assert not Revocation.objects.exists()


def worker(pool: str = "prefork") -> None:
    now = datetime.now(UTC)
    Worker.objects.create(
        producer="p", name="w@host", seen_at=now, online_at=now, setup=f'{{"pool": "{pool}", "tasks": {{}}}}'
    )


def test_a_running_job_is_terminated_with_a_signal_of_choice(visitor: Client) -> None:
    worker()
    job = recorded("running", worker="w@host")
    assert 'data-kind="danger"' in button(text(visitor, "/jobs/first/"), "Terminate")
    content = text(visitor, f"/jobs/~{job.pk}/terminate/")
    assert re.findall(r'<option value="(\w+)"', content) == ["SIGTERM", "SIGUSR1", "SIGKILL"]
    post(visitor, f"/jobs/~{job.pk}/terminate/", signal="SIGKILL")
    wish = Revocation.objects.get()
    assert (wish.terminate, wish.signal) == (True, "SIGKILL")
    assert "Terminating by SIGKILL…" in text(visitor, "/jobs/first/")


def test_a_signal_that_is_no_signal_is_refused(visitor: Client) -> None:
    worker()
    job = recorded("running", worker="w@host")
    assert post(visitor, f"/jobs/~{job.pk}/terminate/", signal="SIGSTOP").status_code == 409
    assert not Revocation.objects.exists()


def test_a_pool_that_can_end_no_job_has_the_button_off(visitor: Client) -> None:
    worker("threads")
    recorded("running", worker="w@host")
    assert "a pool of threads can't end a job" in button(text(visitor, "/jobs/first/"), "Terminate")


def test_the_form_for_a_rerun_holds_what_the_job_carried(visitor: Client) -> None:
    job = recorded()
    content = html.unescape(text(visitor, f"/jobs/~{job.pk}/rerun/"))
    assert '"note": "as it was"' in content
    assert "This task is not known here" in content


def test_the_difference_is_shown_before_anything_happens(visitor: Client) -> None:
    job = recorded()
    address = f"/jobs/~{job.pk}/rerun/"
    form = {"args": "[1, 3]", "kwargs": '{"note": "as it was"}', "queue": "low", "priority": "", "eta": ""}
    content = html.unescape(visitor.post(address, form).content.decode())
    assert '<span class="diff-old">-   2\n</span><span class="diff-new">+   3\n</span>' in content
    assert '<span class="diff-old">- default\n</span><span class="diff-new">+ low\n</span>' in content
    assert "As it was." in content
    assert not Action.objects.exists()
    response = post(visitor, address, step="run", **form)
    assert response["Location"] == "/jobs/first/"
    row = Outgoing.objects.get()
    assert (row.queue, made_by(Action.objects.get())) == ("low", row.task_id)


def test_going_back_to_the_form_keeps_what_was_typed(visitor: Client) -> None:
    job = recorded()
    response = visitor.post(f"/jobs/~{job.pk}/rerun/", {"args": "[7]", "kwargs": "{}", "step": "edit"})
    assert b"[7]</textarea>" in response.content
    assert not Action.objects.exists()


@pytest.mark.parametrize(
    ("task", "args", "why"),
    [
        ("shop.charge", "[1, 2", "This is not JSON"),
        ("shop.charge", "[NaN]", "This is not JSON"),
        ("shop.charge", '{"a": 1}', "This must be a list."),
        (ADD, '[1, "two"]', "y must be a whole number."),
        (ADD, '["[hidden]", 2]', "must be replaced by the real one"),
    ],
)
def test_arguments_that_do_not_fit_are_named_at_the_form(
    visitor: Client, task: str, args: str, why: str
) -> None:
    job = recorded(task=task, kwargs="{}", body="[[1, 2], {}, {}]")
    response = post(visitor, f"/jobs/~{job.pk}/rerun/", args=args, kwargs="{}", step="run")
    assert response.status_code == 400
    assert why in html.unescape(response.content.decode())
    assert not Outgoing.objects.exists()


def test_who_may_not_see_what_jobs_carry_is_not_shown_it_in_the_form(client: Client) -> None:
    user = User.objects.create_user("rita")
    operator = Group.objects.get(name="operator")
    user.user_permissions.set(operator.permissions.exclude(codename="view_payload"))
    client.force_login(user)
    job = recorded()
    content = text(client, f"/jobs/~{job.pk}/rerun/")
    assert "note" not in content
    assert "You may not see what jobs carry" in content
    checked = post(client, f"/jobs/~{job.pk}/rerun/", args="", kwargs="", queue="low")
    assert b"note" not in checked.content
    post(client, f"/jobs/~{job.pk}/rerun/", args="", kwargs="", queue="low", step="run")
    assert Outgoing.objects.get().body.startswith('[[1, 2], {"note": "as it was"}')


def test_a_job_shows_the_lives_before_and_after_it(visitor: Client) -> None:
    recorded()
    recorded(task_id="second", retry_of="first")
    assert 'href="/jobs/second/"' in text(visitor, "/jobs/first/")
    assert 'href="/jobs/first/"' in text(visitor, "/jobs/second/")


def test_any_task_is_run_from_a_form_built_on_its_signature(visitor: Client) -> None:
    content = text(visitor, f"/run/?task={ADD}")
    assert "A whole number, needed." in html.unescape(content)
    form = {"task": ADD, "value-x": "2", "value-y": "3"}
    response = post(visitor, "/run/", **form)
    assert response["Location"] == f"/jobs/?task={ADD}"
    assert Outgoing.objects.get().body.startswith('[[], {"x": 2, "y": 3}')


def test_a_task_says_what_it_does(visitor: Client) -> None:
    assert "Append a line to a file" in text(visitor, "/run/?task=tests.tasks.note")


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ({"value-x": "2"}, "A value is needed."),
        ({"value-x": "2", "value-y": "three"}, "Enter a whole number."),
        ({"value-x": "2", "value-y": "3", "priority": "77"}, "77 is not one of the available choices"),
        ({"value-x": "2", "value-y": "3", "eta": "tomorrow"}, "That is no moment"),
    ],
)
def test_a_form_with_faults_runs_nothing(visitor: Client, form: dict[str, str], why: str) -> None:
    response = post(visitor, "/run/", task=ADD, **form)
    assert response.status_code == 400
    assert why in response.content.decode()
    assert not Outgoing.objects.exists()


def test_what_a_task_gathers_is_given_as_json(visitor: Client) -> None:
    form = {"value-text": "boom", "value-carried": '{"order": 7}'}
    post(visitor, "/run/", task="tests.tasks.fail_with", **form)
    assert Outgoing.objects.get().body.startswith('[[], {"order": 7, "text": "boom"}')


def test_an_operator_may_look_at_the_form_and_not_run_it(client: Client) -> None:
    user = User.objects.create_user("olga")
    user.groups.set(Group.objects.filter(name="operator"))
    client.force_login(user)
    tag = button(text(client, f"/run/?task={ADD}"), "Run it")
    assert 'aria-disabled="true"' in tag
    form = {"task": ADD, "value-x": "2", "value-y": "3"}
    assert post(client, "/run/", **form).status_code == 403
    assert Action.objects.get().outcome == Outcome.REFUSED


@pytest.mark.parametrize("deed", ["retry", "rerun", "revoke", "terminate"])
@pytest.mark.parametrize("number", ["99", str(2**64)])
def test_a_job_that_is_not_there_has_no_pages(visitor: Client, deed: str, number: str) -> None:
    assert visitor.get(f"/jobs/~{number}/{deed}/").status_code == 404
    assert post(visitor, f"/jobs/~{number}/{deed}/").status_code == 404


def test_what_a_job_carries_is_escaped_in_its_forms(visitor: Client) -> None:
    bad = "</textarea><script>alert(1)</script>"
    job = recorded(task=f"shop.{bad}", args=f'["{bad}"]', body=f'[["{bad}"], {{}}, {{}}]')
    for deed in ("retry", "rerun", "revoke", "terminate"):
        assert "<script>alert" not in text(visitor, f"/jobs/~{job.pk}/{deed}/")
    checked = visitor.post(f"/jobs/~{job.pk}/rerun/", {"args": f'["{bad}!"]', "kwargs": "{}"})
    assert b"<script>alert" not in checked.content


def test_a_retry_that_is_on_its_way_has_the_button_off(visitor: Client) -> None:
    job = recorded()
    post(visitor, f"/jobs/~{job.pk}/retry/")
    assert "It is being retried already." in text(visitor, "/jobs/first/")
    assert post(visitor, f"/jobs/~{job.pk}/retry/", once="another-nonce").status_code == 409
    assert Outgoing.objects.count() == 1


def test_half_a_surrogate_pair_is_shown_and_sent_as_it_was(visitor: Client) -> None:
    args = r'["half \ud83d", "ä"]'
    body = BODY.replace("[1, 2]", args)
    job = recorded(body=body, args=args)
    form = html.unescape(text(visitor, f"/jobs/~{job.pk}/rerun/"))
    assert r'"half \ud83d"' in form
    assert '"ä"' in form
    asked = {"args": args.replace("ä", "ö"), "kwargs": "{}"}
    assert post(visitor, f"/jobs/~{job.pk}/rerun/", step="check", **asked).status_code == 200
    post(visitor, f"/jobs/~{job.pk}/rerun/", step="run", **asked)
    assert Outgoing.objects.get().body.startswith(r'[["half \ud83d", "\u00f6"]')
    assert text(visitor, f"/audit/{Action.objects.get().pk}/")


def test_an_action_of_old_with_half_a_surrogate_pair_has_its_page(visitor: Client, ops: User) -> None:
    now = datetime.now(UTC)
    action = Action.objects.create(at=now, user=ops, who="ops", arguments=r'{"args":["\ud83e"]}')
    assert r"\ud83e" in text(visitor, f"/audit/{action.pk}/")


def test_what_databases_refuse_is_kept_out_of_a_reason(visitor: Client) -> None:
    job = recorded()
    post(visitor, f"/jobs/~{job.pk}/retry/", reason="a\0b")
    assert Action.objects.get().reason == "a\N{REPLACEMENT CHARACTER}b"


def test_what_databases_refuse_is_kept_out_of_a_choice_of_jobs(visitor: Client) -> None:
    recorded()
    visitor.post("/bulk/", {"once": NONCE, "deed": "retry", "job": ["first", "a\0b"]})
    assert "\\u0000" not in Action.objects.get().arguments
    assert Action.objects.get().outcome == Outcome.DONE
