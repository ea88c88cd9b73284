"""Webhooks: what is told, signed and to whom, tried again, given up, and never sent where it may not go."""

import ssl
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import SecretStr
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import OperationalError

from shared.db import Database, now
from shared.messages import outbox, webhooks
from shared.messages.endings import note_ends
from shared.messages.events import note_flagged, note_test
from shared.messages.problems import Problem
from shared.models.spec import ModelSpec
from shared.queue import jobs, retention
from shared.settings import Settings
from shared.states import State
from shared.tables import Job, Message, MessageEvent, MessageState, Role, User, Webhook
from tests.certificates import make_certificate
from tests.conftest import draw, encode
from tests.integration import outgoing
from tests.integration.conftest import wait_until
from tests.integration.outgoing import PATIENT, make_due, messages, running_sweep, send, slow_lookups
from tests.receiver import Receiver, receiving
from tests.web_site import Site, post_images

KEY = "a key for tests only"
EVERY = (MessageEvent.JOB_FINISHED, MessageEvent.IMAGE_FLAGGED)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def local(settings: Settings) -> Settings:
    """Settings under which this machine may be called."""
    return settings.model_copy(update={"webhook_networks": "127.0.0.0/8", "webhook_seconds": 5.0})


def add(database: Database, settings: Settings, url: str, *events: MessageEvent) -> Webhook:
    with database.write() as session:
        user = session.scalar(select(User).where(User.name == "ada")) or User(name="ada", role=Role.ADMIN)
        session.add(user)
        session.flush()
        return webhooks.register(session, url, events or EVERY, user.id, settings.networks)


def add_test(database: Database, webhook: Webhook) -> None:
    with database.write() as session:
        note_test(session, session.get_one(Webhook, webhook.id))


def hook(database: Database) -> Webhook:
    with database.read() as session:
        return session.scalars(select(Webhook)).one()


def screen(site: Site, spec: ModelSpec, *p_pneumonia: float, start: int = 0) -> uuid.UUID:
    """Have somebody new send a job of so many images, and screen it."""
    return outgoing.screen(site, spec, site.add_user(f"tina-{start}"), *p_pneumonia, start=start)


# ---------------------------------------------------------------- what is told


def test_a_job_and_its_flagged_images_are_told_once_and_signed(
    database: Database, local: Settings, spec: ModelSpec, receiver: Receiver
) -> None:
    webhook = add(database, local, f"{receiver.url}/hooks?site=1")
    site = Site(local, database)
    job = screen(site, spec, 0.9, 0.1, 0.8)
    assert note_ends(database, []) == 1
    assert note_ends(database, []) == 0
    assert send(database, local) == 3
    assert send(database, local) == 0
    by_type: dict[str, list] = {}
    for call in receiver.calls:
        by_type.setdefault(call.json["type"], []).append(call.json["data"])
        assert call.is_signed_with(webhooks.secret_of(KEY, webhook.id, webhook.salt))
        assert not call.is_signed_with(webhooks.secret_of(KEY, webhook.id, webhooks.new_salt()))
        assert call.path == "/hooks?site=1"
        assert PATIENT not in call.body.decode() + str(call.headers)
    flagged = {str(row.id) for row in site.screenings() if row.p_pneumonia and row.p_pneumonia > 0.5}
    assert {data["screening"] for data in by_type["image.flagged"]} == flagged
    (told,) = by_type["job.finished"]
    assert (told["job"], told["flagged"], told["counts"]["DONE"]) == (str(job), 2, 3)
    assert set(told) == {"job", "flagged", "counts", "page_url"}
    assert len({call.id for call in receiver.calls}) == 3
    assert [message.state for message in messages(database)] == [MessageState.SENT] * 3


def test_an_image_that_was_answered_before_is_told_in_its_new_job(
    one: Database, local: Settings, spec: ModelSpec, receiver: Receiver
) -> None:
    site = Site(local, one)
    site.install_model(spec)
    screen(site, spec, 0.9)
    add(one, local, receiver.url)
    again = site.token_client(site.add_user("tom"))
    assert post_images(again, ("copy.png", encode(draw(0), "PNG"))).json["queued"] == 0
    assert note_ends(one, []) == 2
    assert send(one, local) == 3
    newest = str(site.screenings()[-1].id)
    assert [call.json["data"]["screening"] for call in receiver.calls if "screening" in call.json["data"]] == [newest]


def test_a_job_that_is_retried_ends_once_more(database: Database, local: Settings, receiver: Receiver) -> None:
    add(database, local, receiver.url)
    site = Site(local, database)
    job = uuid.UUID(post_images(site.token_client(site.add_user("tina")), ("a.png", encode(draw(1)))).json["id"])
    assert note_ends(database, []) == 0
    with database.write() as session:
        assert jobs.cancel(session, job) == 1
    assert note_ends(database, []) == 1
    with database.write() as session:
        assert jobs.retry(session, job) == 1
    assert note_ends(database, []) == 0
    with database.write() as session:
        jobs.cancel(session, job)
        assert jobs.retry(session, uuid.uuid4()) == 0
    assert note_ends(database, []) == 1
    assert send(database, local) == 2
    assert len({call.id for call in receiver.calls}) == 2
    assert {call.json["data"]["counts"]["CANCELLED"] for call in receiver.calls} == {1}


def test_only_what_was_asked_for_is_told_and_nothing_while_stopped(
    one: Database, local: Settings, spec: ModelSpec, receiver: Receiver
) -> None:
    webhook = add(one, local, receiver.url, MessageEvent.JOB_FINISHED)
    site = Site(local, one)
    screen(site, spec, 0.9)
    with one.write() as session:
        webhooks.stop(session.get_one(Webhook, webhook.id), "paused")
    screen(site, spec, 0.9, start=10)
    assert note_ends(one, []) == 2
    assert messages(one) == []


def test_jobs_of_before_are_not_announced(one: Database, local: Settings, spec: ModelSpec, receiver: Receiver) -> None:
    site = Site(local, one)
    screen(site, spec, 0.9)
    with one.write() as session:
        session.execute(update(Job).values(is_watched=False))  # as the migration leaves them
    add(one, local, receiver.url)
    assert note_ends(one, []) == 0


# ---------------------------------------------------------------- trying again


def test_what_was_not_taken_is_sent_again_later_under_the_same_id(
    database: Database, local: Settings, receiver: Receiver
) -> None:
    add_test(database, add(database, local, receiver.url))
    receiver.answers = [500, 503]
    for tries, (least, most) in enumerate([(7, 13), (22, 38)], start=1):
        assert send(database, local) == 1
        (message,) = messages(database)
        assert (message.state, message.attempts, message.problem) == (MessageState.WAITING, tries, Problem.ANSWER)
        assert timedelta(seconds=least) < message.due_at - now() < timedelta(seconds=most)
        assert send(database, local) == 0
        make_due(database)
    assert send(database, local) == 1
    (message,) = messages(database)
    assert (message.state, message.answer, message.problem) == (MessageState.SENT, 204, None)
    assert len({call.id for call in receiver.calls}) == 1
    assert hook(database).answered_at is not None


def test_the_wait_grows_to_an_hour_and_is_not_the_same_for_all() -> None:
    waits = [outbox.pause(failures).total_seconds() for failures in (1, 3, 30, 30)]
    assert 7.5 <= waits[0] <= 12.5
    assert 67 <= waits[1] <= 113
    assert 2700 <= waits[2] <= 4500
    assert waits[2] != waits[3]


def test_after_a_day_a_message_is_given_up_and_a_silent_address_stopped(
    one: Database, local: Settings, receiver: Receiver
) -> None:
    webhook = add(one, local, receiver.url)
    add_test(one, webhook)
    receiver.answers = [500, 500]
    make_due(one, give_up_at=now())
    send(one, local)
    assert messages(one)[0].state is MessageState.FAILED
    assert hook(one).stopped_for == Problem.ANSWER
    with one.write() as session:
        outbox.start(session, session.get_one(Webhook, webhook.id))
        session.execute(update(Webhook).values(answered_at=now() - timedelta(hours=2)))
        outbox.send_again(session, session.get_one(Message, messages(one)[0].id))
    make_due(one, give_up_at=now())
    send(one, local)
    assert messages(one)[0].state is MessageState.FAILED
    assert hook(one).stopped_at is None  # it took others within the day


IMPOSSIBLE = "http://127.0.0.1:99999/"
"""An address that registration refuses and that no library was asked about: the connection raises an OverflowError."""


def break_off(database: Database, webhook: Webhook) -> None:
    """Let all that is sent to a webhook fail of what nobody has foreseen."""
    with database.write() as session:
        session.execute(update(Webhook).where(Webhook.id == webhook.id).values(url=IMPOSSIBLE))


def test_sending_that_breaks_off_is_a_failed_attempt_with_the_same_waits(
    database: Database, local: Settings, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    broken, calm = (add(database, local, f"{receiver.url}/{name}") for name in ("broken", "calm"))
    add_test(database, broken)
    add_test(database, calm)
    break_off(database, broken)
    for tries, (least, most) in enumerate([(7, 13), (22, 38)], start=1):
        caplog.clear()
        assert send(database, local) >= 1
        message = next(message for message in messages(database) if message.webhook_id == broken.id)
        assert (message.state, message.attempts, message.problem) == (MessageState.WAITING, tries, Problem.BROKE_OFF)
        assert message.lease_token is None
        assert timedelta(seconds=least) < message.due_at - now() < timedelta(seconds=most)
        (record,) = [record for record in caplog.records if record.name == "worker.messages.sender"]
        assert "OverflowError" in caplog.text
        assert (record.levelname, str(broken.id) in record.getMessage()) == ("ERROR", True)
        make_due(database)
    assert [call.path for call in receiver.calls] == ["/calm"]


def test_what_always_breaks_off_is_given_up_after_a_day_and_stops_no_webhook(
    one: Database, local: Settings, receiver: Receiver
) -> None:
    webhook = add(one, local, receiver.url)
    add_test(one, webhook)
    add_test(one, webhook)
    break_off(one, webhook)
    with one.write() as session:
        session.get_one(Message, messages(one)[0].id).give_up_at = now()
    assert send(one, local) == 2
    assert sorted(message.state for message in messages(one)) == [MessageState.FAILED, MessageState.WAITING]
    assert (hook(one).stopped_at, hook(one).failures) == (None, 0)


def test_a_message_whose_senders_are_always_lost_is_given_up_after_a_day(
    database: Database, local: Settings, receiver: Receiver
) -> None:
    webhook = add(database, local, receiver.url)
    add_test(database, webhook)
    for attempt in range(1, outbox.MOST_LOST + 1):
        with database.write() as session:
            (claimed,) = outbox.claim(session)
        assert messages(database)[0].attempts == attempt
        make_due(database, give_up_at=now())
    add_test(database, webhook)
    assert send(database, local) == 1
    lost = next(message for message in messages(database) if message.id == claimed.message_id)
    assert (lost.state, lost.problem, lost.lease_token) == (MessageState.FAILED, Problem.BROKE_OFF, None)
    with database.write() as session:
        assert not outbox.settle(session, claimed, outbox.Outcome(204))
        outbox.send_again(session, session.get_one(Message, lost.id))
    assert send(database, local) == 1
    assert {message.state for message in messages(database)} == {MessageState.SENT}


def test_a_receiver_that_says_gone_is_told_nothing_more(one: Database, local: Settings, receiver: Receiver) -> None:
    webhook = add(one, local, receiver.url)
    add_test(one, webhook)
    receiver.answers = [410]
    assert send(one, local) == 1
    assert hook(one).stopped_for == Problem.GONE
    with one.write() as session:
        outbox.send_again(session, session.get_one(Message, messages(one)[0].id))
    assert send(one, local) == 0
    with one.write() as session:
        outbox.start(session, session.get_one(Webhook, webhook.id))
    assert send(one, local) == 1
    assert messages(one)[0].state is MessageState.SENT
    assert len({call.id for call in receiver.calls}) == 1


def test_a_webhook_with_many_messages_holds_no_other_up(
    database: Database, local: Settings, receiver: Receiver
) -> None:
    busy, calm = (add(database, local, f"{receiver.url}/{name}") for name in ("busy", "calm"))
    with database.write() as session:
        for _ in range(300):
            note_test(session, session.get_one(Webhook, busy.id))
    add_test(database, calm)
    assert send(database, local) == outbox.AT_ONE_ADDRESS + 1
    assert [call.path for call in receiver.calls].count("/calm") == 1


def test_where_nobody_answers_the_other_messages_wait_and_go_once_somebody_does(
    one: Database, local: Settings, receiver: Receiver
) -> None:
    webhook = add(one, local, receiver.url)
    for _ in range(outbox.AT_ONE_ADDRESS + 2):
        add_test(one, webhook)
    receiver.seconds = 0.6
    assert send(one, local.model_copy(update={"webhook_seconds": 0.2})) == outbox.AT_ONE_ADDRESS
    assert {message.problem for message in messages(one) if message.attempts} == {Problem.NO_ANSWER}
    assert send(one, local) == 0
    assert all(now() < message.due_at < now() + timedelta(seconds=13) for message in messages(one))
    receiver.seconds = 0.0
    with one.write() as session:
        first = session.scalars(select(Message).where(Message.attempts == 0)).first()
        assert first is not None
        first.due_at = now()
    assert send(one, local) == 1
    while send(one, local):
        pass
    assert {message.state for message in messages(one)} == {MessageState.SENT}
    assert hook(one).failures == 0


# ---------------------------------------------------------------- at least once, and never two at the same time


def test_two_senders_never_send_the_same(database: Database, local: Settings, receiver: Receiver) -> None:
    webhook = add(database, local, receiver.url)
    for _ in range(6):
        add_test(database, webhook)
    receiver.seconds = 0.1
    barrier = threading.Barrier(3)

    def work() -> int:
        barrier.wait()
        return sum(iter(lambda: send(database, local), 0))

    with ThreadPoolExecutor(3) as pool:
        sent = [future.result() for future in [pool.submit(work) for _ in range(3)]]
    assert sum(sent) == 6
    assert len(receiver.calls) == len({call.id for call in receiver.calls}) == 6


def test_a_sender_that_was_lost_is_replaced_and_its_word_does_not_count(
    database: Database, local: Settings, receiver: Receiver
) -> None:
    add_test(database, add(database, local, receiver.url))
    with database.write() as session:
        (lost,) = outbox.claim(session)
    assert send(database, local) == 0
    make_due(database)
    assert send(database, local) == 1
    with database.write() as session:
        assert not outbox.settle(session, lost, outbox.Outcome(500, Problem.ANSWER))
    (message,) = messages(database)
    assert (message.state, message.attempts) == (MessageState.SENT, 2)


def test_old_messages_go_and_waiting_ones_stay(one: Database, local: Settings, receiver: Receiver) -> None:
    webhook = add(one, local, receiver.url)
    add_test(one, webhook)
    assert send(one, local) == 1
    add_test(one, webhook)
    with one.write() as session:
        session.execute(update(Message).values(created_at=now() - outbox.KEPT_FOR - timedelta(days=1)))
        assert outbox.remove_old(session) == 1
    assert [message.state for message in messages(one)] == [MessageState.WAITING]


def test_what_waits_for_a_webhook_that_is_stopped_for_a_month_goes(
    one: Database, local: Settings, receiver: Receiver
) -> None:
    long, short = (add(one, local, receiver.url) for _ in range(2))
    month = outbox.KEPT_FOR + timedelta(days=1)
    for webhook, stopped_at in ((long, now() - month), (short, now())):
        add_test(one, webhook)
        with one.write() as session:
            session.get_one(Webhook, webhook.id).stopped_at = stopped_at
    with one.write() as session:
        session.execute(update(Message).values(created_at=now() - month))
        assert outbox.remove_old(session) == 1
    assert [message.webhook_id for message in messages(one)] == [short.id]


def test_nothing_is_told_of_a_job_that_was_deleted_while_the_webhook_was_paused(
    database: Database, local: Settings, spec: ModelSpec, receiver: Receiver
) -> None:
    webhook, site = add(database, local, receiver.url), Site(local, database)
    gone, kept = screen(site, spec, 0.9), screen(site, spec, 0.9, start=10)
    assert note_ends(database, []) == 2
    with database.write() as session:
        webhooks.stop(session.get_one(Webhook, webhook.id), "paused")
    retention.delete_job(database, gone, lambda _session: None)
    with database.write() as session:
        outbox.start(session, session.get_one(Webhook, webhook.id))
    send(database, local)
    assert {call.json["data"]["job"] for call in receiver.calls} == {str(kept)}
    states = [(message.state, message.problem) for message in messages(database)]
    assert sorted(states, key=str) == [(MessageState.FAILED, Problem.JOB_DELETED)] * 2 + [(MessageState.SENT, None)] * 2


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_a_webhook_is_not_deleted_beneath_what_is_being_noted_for_it(database: Database, local: Settings) -> None:
    webhook = add(database, local, "https://pacs.example.org/")
    gone = delete(Webhook).where(Webhook.id == webhook.id)
    with database.write() as noting:
        note_flagged(noting, [uuid.uuid4()])
        with pytest.raises(OperationalError, match="lock timeout"), database.write() as session:
            session.execute(text("SET LOCAL lock_timeout = '50ms'"))
            session.execute(gone)
    with database.write() as session:
        session.execute(gone)


# ---------------------------------------------------------------- where nothing may go


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]"])
def test_an_address_of_this_machine_is_not_called(
    one: Database, settings: Settings, local: Settings, receiver: Receiver, host: str
) -> None:
    add_test(one, add(one, local.model_copy(update={"webhook_networks": "0.0.0.0/0,::/0"}), receiver.url))
    with one.write() as session:
        session.execute(update(Webhook).values(url=receiver.url.replace("127.0.0.1", host)))
    assert send(one, settings) == 1
    assert messages(one)[0].problem == Problem.ADDRESS_REFUSED
    assert receiver.calls == []


def test_unencrypted_goes_to_named_networks_alone(one: Database, local: Settings) -> None:
    with pytest.raises(webhooks.WebhookRefused, match="https"):
        add(one, local, "http://8.8.8.8/")
    with pytest.raises(webhooks.WebhookRefused, match=r"10\.0\.0\.1 is not a public address"):
        add(one, local, "https://10.0.0.1/")


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ftp://example.org/",
        "https://",
        "https://user:pass@example.org/",
        "https://example.org/#part",
        "https://example.org:99999/",
        "https://example.org:0/",
        "https://exa mple.org/",
        "https://example.org/\r\nHost: x",
        "https://bücher.example/",
        "https://[::1/",
        "https://example.org/" + "a" * 1024,
        "javascript:alert(1)",
        "//example.org/",
    ],
)
def test_what_is_no_address_is_refused_with_a_sentence(one: Database, local: Settings, url: str) -> None:
    with pytest.raises(webhooks.WebhookRefused, match=r"\."):
        add(one, local, url)


def test_redirects_are_not_followed(one: Database, local: Settings, receiver: Receiver) -> None:
    add_test(one, add(one, local, receiver.url))
    receiver.answers = [307]
    assert send(one, local) == 1
    assert (messages(one)[0].answer, messages(one)[0].problem) == (307, Problem.REDIRECT)
    assert [call.path for call in receiver.calls] == ["/"]


def test_a_receiver_that_drips_or_sends_much_holds_nobody_up(
    one: Database, local: Settings, receiver: Receiver
) -> None:
    webhook = add(one, local, receiver.url)
    add_test(one, webhook)
    receiver.drips = True
    started = now()
    assert send(one, local.model_copy(update={"webhook_seconds": 0.3})) == 1
    assert messages(one)[0].problem == Problem.NO_ANSWER
    receiver.drips, receiver.body = False, 2**30
    make_due(one)
    assert send(one, local) == 1
    assert messages(one)[0].state is MessageState.SENT
    assert now() - started < timedelta(seconds=4)


def test_nobody_there_and_no_such_name_are_told_apart(one: Database, local: Settings) -> None:
    with receiving() as gone:
        pass
    add_test(one, add(one, local, gone.url))
    assert send(one, local) == 1
    assert messages(one)[0].problem == Problem.NO_CONNECTION
    with one.write() as session:
        session.execute(update(Webhook).values(url="https://nowhere.invalid/"))
    make_due(one)
    assert send(one, local) == 1
    assert messages(one)[0].problem == Problem.NAME_UNKNOWN


def test_a_name_that_is_looked_up_slowly_holds_no_other_webhook_up(
    one: Database, local: Settings, receiver: Receiver
) -> None:
    slow, well = add(one, local, "https://slow.invalid/"), add(one, local, receiver.url)
    for _ in range(outbox.AT_ONE_ADDRESS):
        add_test(one, slow)
    add_test(one, well)
    with slow_lookups("slow.invalid") as answered:
        send(one, local.model_copy(update={"webhook_seconds": 1.0}))
        assert answered == []
    problems = {message.webhook_id: message.problem for message in messages(one)}
    assert problems == {slow.id: Problem.NAME_UNKNOWN, well.id: None}


def test_without_the_key_nothing_is_sent_unsigned(one: Database, local: Settings, receiver: Receiver) -> None:
    add_test(one, add(one, local, receiver.url))
    assert send(one, local.model_copy(update={"secret_key": None})) == 1
    assert (messages(one)[0].problem, receiver.calls) == (Problem.NO_KEY, [])


def test_a_certificate_is_verified_by_the_name_that_was_registered(
    one: Database, local: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with receiving(context) as receiver:
        add_test(one, add(one, local, receiver.url))
        assert send(one, local) == 1
        assert (messages(one)[0].problem, receiver.calls) == (Problem.CERTIFICATE, [])
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        make_due(one)
        assert send(one, local) == 1
        assert messages(one)[0].state is MessageState.SENT
        assert receiver.calls[0].headers["host"] == receiver.url.removeprefix("https://")
        with one.write() as session:
            session.execute(update(Webhook).values(url=receiver.url.replace("localhost", "127.0.0.1")))
        add_test(one, hook(one))
        assert send(one, local) == 1
        assert Problem.CERTIFICATE in {message.problem for message in messages(one)}


# ---------------------------------------------------------------- the real program


def test_the_sweep_notes_and_sends_beside_its_other_duties(
    one: Database, local: Settings, spec: ModelSpec, receiver: Receiver, tmp_path: Path
) -> None:
    add(one, local, f"{receiver.url}/a-secret-path")
    receiver.answers = [500]
    site = Site(local, one)
    screen(site, spec, 0.9)
    with running_sweep(tmp_path, local, secret_key=KEY, webhook_networks="127.0.0.1") as log:
        wait_until(lambda: len(receiver.calls) == 2, 60, f"two messages; {log.read_text()}")
    assert {call.json["type"] for call in receiver.calls} == {"job.finished", "image.flagged"}
    assert sorted(message.state for message in messages(one)) == [MessageState.SENT, MessageState.WAITING]
    assert "did not take a message: answer" in log.read_text()
    assert "a-secret-path" not in log.read_text()
    assert site.screenings()[0].state is State.DONE
    assert SecretStr(KEY) == local.secret_key
