"""Lists of images: whatever is asked, by whichever index it is found, the answer is that of a look at every row."""

import random
import uuid
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, select, text
from sqlalchemy.orm import Session

from benchmarks import rows
from shared.db import Database
from shared.models.spec import Label, ModelSpec
from shared.queue import retention
from shared.refusals import OF_THE_GATE, Rejection
from shared.settings import Settings
from shared.states import State
from shared.tables import Image, Job, Model, Prediction, Review, ReviewOutcome, ReviewState, Role, Screening, User
from tests.conftest import draw, encode
from tests.web_site import Site, post_images
from web.jobs.progress import jobs_progress, label_counts
from web.lists import listing, planner, selective, shortlist, walker
from web.lists.filters import Filters, Order
from web.lists.listing import beside, count_before, count_listed, get_screening, list_screenings
from web.lists.planner import Count
from web.lists.readings import Reading
from web.lists.shortlist import find_named
from web.lists.wanted import want
from web.watch import queue_state

IMAGES = 4000
QUESTIONS = 60


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def drawn(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """A database with some thousand images as years of use leave them."""
    if request.param == "sqlite":
        url = rows.fill_sqlite(tmp_path_factory.mktemp("rows") / "rows.db", IMAGES)
    else:
        url = rows.fill_postgres(request.getfixturevalue("postgres_url"), IMAGES)
    database = Database(url)
    read_twice(database)
    refuse_some(database)
    yield database
    database.close()


def read_twice(database: Database) -> None:
    """Have a second reader review some of what is read."""
    with database.write() as session:
        rita, ralph = (session.scalars(select(User).where(User.name == name)).one() for name in ("rita", "ralph"))
        for first in session.scalars(select(Review).order_by(Review.image_sha256).limit(120)).all():
            user = ralph if first.user_id == rita.id else rita
            said = {"outcome": ReviewOutcome.AGREE, "is_blind": False}
            session.add(Review(image_sha256=first.image_sha256, number=2, user_id=user.id, **said))


def refuse_some(database: Database) -> None:
    """Have the gate have refused some of what was refused."""
    with database.write() as session:
        refused = session.scalars(select(Screening).where(Screening.state == State.REJECTED).order_by(Screening.id))
        for image in refused.all()[::2]:
            image.error_code = Rejection.NOT_FRONTAL


@pytest.fixture(params=["sqlite"])
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have some thousand images take every way that ten million would."""
    monkeypatch.setattr(planner, "_PROBE", 40)
    for name, value in (("MOST_SORTED", 150), ("LARGEST_JOB", 900), ("MOST_SCATTERED", 60)):
        monkeypatch.setattr(selective, name, value)
    for name, value in (("MOST_ENTRIES", 400), ("MOST_ROWS", 200), ("MOST_SCATTERED", 60), ("_FIRST_STEP", 20)):
        monkeypatch.setattr(walker, name, value)


def lottery(seed: str) -> random.Random:
    return random.Random(seed)  # noqa: S311  # nothing is kept secret with it


@dataclass(frozen=True)
class Row:
    """An image as the tables have it, and whose it is."""

    image: Screening
    answer: Prediction | None
    model: Model | None
    owner: Any
    readers: frozenset[Any]


def every_row(database: Database) -> list[Row]:
    with database.read() as session:
        query = (
            select(Screening, Prediction, Model, Job.created_by_id)
            .join(Job, Screening.job_id == Job.id)
            .outerjoin(Prediction, Screening.prediction_id == Prediction.id)
            .outerjoin(Model, Prediction.model_id == Model.id)
        )
        readers = defaultdict(set)
        for image, reader in session.execute(
            select(Image.id, Review.user_id).join(Review, Image.sha256 == Review.image_sha256)
        ):
            readers[image].add(reader)
        return [Row(*found, frozenset(readers[found[0].image_id])) for found in session.execute(query)]


def matches(row: Row, viewer: User, filters: Filters) -> bool:
    """Say what the filters mean, without SQL."""
    image, answer, model = row.image, row.answer, row.model
    day = image.created_at.date()
    return (
        (viewer.role is not Role.TECHNICIAN or row.owner == viewer.id)
        and (filters.label is None or (answer is not None and answer.label is filters.label))
        and (filters.min_confidence is None or (answer is not None and answer.confidence >= filters.min_confidence))
        and (filters.max_confidence is None or (answer is not None and answer.confidence <= filters.max_confidence))
        and (filters.since is None or day >= filters.since)
        and (filters.until is None or day <= filters.until)
        and (filters.job is None or image.job_id == filters.job)
        and (filters.model is None or (model is not None and filters.model in {model.name, f"{model.name}@0"}))
        and (filters.text is None or filters.text.lower() in image.file_name.lower())
        and (filters.state is None or image.state is filters.state)
        and (
            filters.min_suspicion is None or (answer is not None and answer.p_pneumonia >= filters.min_suspicion / 100)
        )
        and (
            filters.max_suspicion is None or (answer is not None and answer.p_pneumonia <= filters.max_suspicion / 100)
        )
        and (filters.review is None or is_read(row, viewer, filters.review))
    )


def is_read(row: Row, viewer: User, reading: Reading) -> bool:
    if reading is Reading.MINE:
        return viewer.id in row.readers
    if reading is Reading.OTHERS:
        return bool(row.readers) and viewer.id not in row.readers
    if reading is Reading.OUTSIDE:
        return row.image.error_code in OF_THE_GATE and row.image.is_latest
    return row.image.review_state.value == reading.value


def expected(found: list[Row], viewer: User, filters: Filters, order: Order) -> list[Any]:
    kept = [row for row in found if matches(row, viewer, filters)]
    if order is Order.NEWEST:
        return [row.image.id for row in sorted(kept, key=lambda row: row.image.id, reverse=True)]
    if order is Order.SUSPICIOUS:
        answered = [(row.answer.p_pneumonia, row.image.id) for row in kept if row.answer is not None]
        return [key for _, key in sorted(answered, reverse=True)]
    return [key for *_, key in sorted((place(row) for row in kept if row.answer and row.image.is_latest), reverse=True)]


def place(row: Row) -> tuple[Any, ...]:
    """Where an image stands in the worklist."""
    assert row.answer is not None
    return (int(row.image.review_state is ReviewState.UNREAD), row.answer.p_pneumonia, row.image.id)


def any_filters(lot: random.Random, found: list[Row]) -> Filters:
    """Draw one to three filters with values that some image has, or nearly."""
    row = lot.choice(found)
    day = row.image.created_at.date()
    sure = row.answer.confidence if row.answer else lot.random()
    values: dict[str, Any] = {
        "label": lot.choice(list(Label)),
        "min_confidence": lot.choice([sure, round(lot.random(), 2)]),
        "max_confidence": lot.choice([sure, round(lot.random(), 2)]),
        "since": day - timedelta(days=lot.choice([0, 3, 100])),
        "until": day + timedelta(days=lot.choice([0, 3, 100])),
        "job": row.image.job_id,
        "model": lot.choice(["mobilenet-v2", "compact-cnn", "compact-cnn@0", "none"]),
        "text": lot.choice([row.image.file_name[3:], row.image.file_name[-7:-5], "zz"]),
        "state": lot.choice(list(State)),
        "min_suspicion": round(100 * lot.random()),
        "max_suspicion": round(100 * lot.random(), 1),
        "review": lot.choice([reading for reading in Reading if reading is not Reading.OUTSIDE]),
    }
    names = lot.sample(sorted(values), lot.choice([0, 1, 1, 1, 2, 2, 3]))
    return Filters(**{name: values[name] for name in names})


def viewers(database: Database) -> list[User]:
    names = ("rita", "tech-00", "tech-05", "tech-18", "tech-19")
    with database.read() as session:
        return [session.scalars(select(User).where(User.name == name)).one() for name in names]


def walk(database: Database, viewer: User, filters: Filters, order: Order, limit: int = 97) -> list[Any]:
    """Turn every page of a list."""
    ids: list[Any] = []
    cursor = None
    with database.read() as session:
        while True:
            page = list_screenings(session, viewer, filters, order, cursor, limit)
            ids += [row.screening_id for row in page.rows]
            cursor = page.next_cursor
            if cursor is None:
                return ids


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize("steps", [pytest.param("small", marks=pytest.mark.long), "whole"])
def test_every_list_is_what_a_look_at_every_row_gives(
    request: pytest.FixtureRequest, drawn: Database, order: Order, steps: str
) -> None:
    if steps == "small":
        request.getfixturevalue("small_steps")
    found, people = every_row(drawn), viewers(drawn)
    lot = lottery(f"{order} {steps}")
    for _ in range(QUESTIONS if steps == "small" else QUESTIONS // 3):
        viewer, filters = lot.choice(people), any_filters(lot, found)
        assert walk(drawn, viewer, filters, order) == expected(found, viewer, filters, order), (viewer.name, filters)


def beyond(database: Database, viewer: User, filters: Filters, order: Order, place: Any, *, later: bool) -> list[Any]:
    """Find all that is after a place of a list, or before it."""
    ids: list[Any] = []
    with database.read() as session:
        wanted = want(session, viewer, filters, order)
        while True:
            found = planner.find(session, wanted, place, 31, later=later)
            ids += [key for *_, key in found.places]
            if found.reached is None and len(found.places) < 31:
                return ids
            place = found.reached or found.places[-1]


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("order", Order)
def test_a_list_goes_both_ways_from_any_image(drawn: Database, order: Order) -> None:
    found, people = every_row(drawn), viewers(drawn)
    places = {row.image.id: place(row) for row in found if row.answer}
    lot = lottery(f"ways {order}")
    for _ in range(QUESTIONS // 5):
        viewer, filters = lot.choice(people), any_filters(lot, found)
        if whole := expected(found, viewer, filters, order):
            at = lot.randrange(len(whole))
            key = {Order.NEWEST: lambda i: (i,), Order.SUSPICIOUS: lambda i: places[i][1:], Order.UNREAD: places.get}[
                order
            ]
            start = key(whole[at])
            assert beyond(drawn, viewer, filters, order, start, later=True) == whole[at + 1 :], (viewer.name, filters)
            assert beyond(drawn, viewer, filters, order, start, later=False) == whole[:at][::-1], (viewer.name, filters)


@pytest.mark.parametrize("order", [Order.NEWEST, Order.SUSPICIOUS])
def test_an_image_has_the_neighbours_of_its_list(drawn: Database, order: Order) -> None:
    found, people = every_row(drawn), viewers(drawn)
    lot = lottery(f"beside {order}")
    for _ in range(QUESTIONS // 3):
        viewer, filters = lot.choice(people), any_filters(lot, found)
        if whole := [None, *expected(found, viewer, filters, order), None][:300]:
            at = lot.randrange(1, max(2, len(whole) - 1))
            with drawn.read() as session:
                image = get_screening(session, viewer, whole[at]) if whole[at] else None
                if image is not None:
                    around = beside(session, viewer, filters, order, image)
                    assert around == (whole[at - 1], whole[at + 1]), (viewer.name, filters)


def test_the_next_image_of_the_worklist_is_unread_and_the_one_before_is_where_its_reader_came_from(
    drawn: Database,
) -> None:
    found, (rita, *_) = every_row(drawn), viewers(drawn)
    listed = sorted((place(row) for row in found if row.answer and row.image.is_latest), reverse=True)
    by_suspicion = sorted((at[1:] for at in listed), reverse=True)
    unread = [at for at in listed if at[0] == 1]
    for at in [*unread[:3], *listed[len(unread) : len(unread) + 3]]:
        with drawn.read() as session:
            image = get_screening(session, rita, at[-1])
            assert image is not None
            before, after = beside(session, rita, Filters(), Order.UNREAD, image)
            assert count_before(session, rita, Filters(), image) == Count(listed.index(at))
        index = by_suspicion.index(at[1:])
        assert before == (by_suspicion[index - 1][-1] if index else None)
        assert after == next(other[-1] for other in listed if other < (1, *at[1:]) and other != at)
    with drawn.read() as session:
        assert count_listed(session, rita, Filters(review=Reading.UNREAD)) == Count(len(unread))
        assert not count_listed(session, rita, Filters()).is_exact


@pytest.mark.parametrize("steps", [pytest.param("small", marks=pytest.mark.long), "whole"])
def test_the_worklist_counts_what_it_lists(request: pytest.FixtureRequest, drawn: Database, steps: str) -> None:
    if steps == "small":
        request.getfixturevalue("small_steps")
    found, (rita, *_) = every_row(drawn), viewers(drawn)
    lot = lottery(f"counts {steps}")
    for _ in range(QUESTIONS // 2):
        filters = any_filters(lot, found)
        images = len(expected(found, rita, filters, Order.UNREAD))
        with drawn.read() as session:
            first = list_screenings(session, rita, filters, Order.UNREAD, None, 50)
            for counted in (count_listed(session, rita, filters), count_listed(session, rita, filters, first)):
                if counted.is_exact:
                    assert counted.images == images, filters
                else:
                    assert len(first.rows) <= counted.images <= min(images, listing.MOST_COUNTED), filters


def test_what_the_gate_refused_is_led_to_by_an_index_of_its_own(drawn: Database) -> None:
    found, (rita, *_) = every_row(drawn), viewers(drawn)
    outside = Filters(review=Reading.OUTSIDE)
    listed = expected(found, rita, outside, Order.NEWEST)
    assert len(listed) > 20
    assert walk(drawn, rita, outside, Order.UNREAD, 13) == listed
    assert any("ix_screenings_outside" in plan for _, plan in plans(drawn, rita, outside, Order.UNREAD))
    with drawn.read() as session:
        assert count_listed(session, rita, outside) == Count(len(listed))
        for state, images in ((State.REJECTED, len(listed)), (State.DONE, 0), (State.FAILED, 0)):
            assert count_listed(session, rita, replace(outside, state=state)).images == images
        names = {row.image.id: row.image.file_name for row in found}
        named_one = replace(outside, text=names[listed[-1]])
        page = list_screenings(session, rita, named_one, Order.UNREAD, None, 50)
        assert [row.screening_id for row in page.rows] == [listed[-1]]


def test_rows_that_have_to_be_tested_for_their_reader_are_counted_to_a_lower_bound(
    drawn: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "MOST_COUNTED_BY_ROW", 7)
    mine = Filters(review=Reading.MINE)
    with drawn.read() as session:
        rita = session.scalars(select(User).where(User.name == "rita")).one()
        assert count_listed(session, rita, mine).images > 7, "her few reviews lead to them"
    monkeypatch.setattr(shortlist, "MOST_NAMED", 5)
    with drawn.read() as session:
        assert count_listed(session, rita, mine) == Count(7, is_exact=False)


# ---------------------------------------------------------------- plans


def plans(database: Database, viewer: User, filters: Filters, order: Order) -> Iterator[tuple[str, str]]:
    """Yield every statement of a list's page that reads screenings, and how the database runs it."""
    said: list[tuple[str, Any]] = []

    def note(_c: Any, _cursor: Any, statement: str, given: Any, _context: Any, _many: bool) -> None:
        if "FROM screenings" in statement:
            said.append((statement, given))

    event.listen(database.engine, "before_cursor_execute", note)
    with database.read() as session:
        list_screenings(session, viewer, filters, order, None, 50)
        planner.count_unanswered(session, viewer, filters)
    event.remove(database.engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN " if database.engine.dialect.name == "sqlite" else "EXPLAIN "
    with database.engine.connect() as connection:
        if database.engine.dialect.name == "postgresql":
            # Some thousand rows are soon read; this has it show whether an index could lead where there are millions.
            connection.execute(text("SET enable_seqscan = off"))
        for statement, given in said:
            yield statement, "\n".join(str(row[-1]) for row in connection.exec_driver_sql(explain + statement, given))


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("order", Order)
def test_no_list_reads_all_rows_whatever_is_filtered(drawn: Database, order: Order) -> None:
    found, people = every_row(drawn), viewers(drawn)
    lot = lottery(f"plans {order}")
    for _ in range(QUESTIONS // 3):
        viewer, filters = lot.choice(people), any_filters(lot, found)
        for statement, plan in plans(drawn, viewer, filters, order):
            # SQLite says SCAN for an index that is gone along in its order, too, and then names it.
            read_whole = [line for line in plan.splitlines() if line.strip() == "SCAN screenings"]
            assert not read_whole, (filters, statement, plan)
            assert "Seq Scan on screenings" not in plan, (filters, statement, plan)


# ---------------------------------------------------------------- searches that are cut short


@pytest.mark.usefixtures("small_steps")
def test_a_search_that_is_cut_short_says_how_far_it_came_and_goes_on(
    drawn: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, (rita, *_) = every_row(drawn), viewers(drawn)
    oldest = min(found, key=lambda row: row.image.id).image
    filters = Filters(text=oldest.file_name)
    monkeypatch.setattr(shortlist, "MOST_NAMED", 0)  # as a text of many names, of which none is near
    with drawn.read() as session:
        page = list_screenings(session, rita, filters, Order.NEWEST, None, 50)
        assert page.rows == []
        assert page.reached is not None
        assert page.next_cursor is not None
    assert walk(drawn, rita, filters, Order.NEWEST) == [oldest.id]


# ---------------------------------------------------------------- file names


@pytest.mark.usefixtures("small_steps")
@pytest.mark.parametrize("order", [Order.NEWEST, Order.SUSPICIOUS])
def test_a_name_is_found_at_once_however_long_the_list_is(drawn: Database, order: Order) -> None:
    found, (rita, *_) = every_row(drawn), viewers(drawn)
    answered = [row for row in found if row.answer is not None]
    last = min(answered, key=lambda row: (row.answer.p_pneumonia, row.image.id))  # type: ignore[union-attr]
    oldest = min(answered, key=lambda row: row.image.id)
    for row in (last, oldest):
        for part in (row.image.file_name, row.image.file_name[4:].upper()):
            with drawn.read() as session:
                page = list_screenings(session, rita, Filters(text=part), order, None, 50)
            assert row.image.id in [one.screening_id for one in page.rows], part
            assert page.reached is None


NAMES = ["100%", 'a "quoted" name', "it's", "a_b", "x*y", "NEAR(", "été", "Å-1", "日本語", "\\n", "ΟΔΟΣ", "İZMİR"]


def test_a_name_is_found_whatever_is_in_it(settings: Settings, database: Database) -> None:
    site = Site(settings, database)
    tina = site.add_user("tina")
    post_images(site.token_client(tina), ("other.png", b"no X-ray"))
    (other,) = site.screenings()
    with database.write() as session:
        for n, part in enumerate(NAMES):
            kept = {"job_id": other.job_id, "state": other.state, "priority": 1, "turn": n, "created_by_id": tina.id}
            session.add(Screening(position=n + 1, file_name=f"ward/{part}.png", **kept))
    for part in NAMES:
        with database.read() as session:
            assert [row.file_name for row in named(session, tina, part)] == [f"ward/{part}.png"]
            assert find_named(session, part) is None if len(part) < 3 else len(find_named(session, part) or ()) == 1


def named(session: Session, viewer: User, part: str) -> list[Any]:
    return list_screenings(session, viewer, Filters(text=part), Order.NEWEST, None, 50).rows


def test_the_index_of_names_follows_the_rows(settings: Settings, database: Database, spec: ModelSpec) -> None:
    site = Site(settings, database)
    site.install_model(spec)
    tina = site.add_user("tina")
    sent = [post_images(site.token_client(tina), (f"ward-{n}.png", b"no X-ray")).json for n in range(3)]
    retention.delete_job(database, uuid.UUID(sent[0]["id"]), lambda _db: None)  # type: ignore[index]
    if database.engine.dialect.name == "sqlite":
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("VACUUM")  # which may renumber rows, by its documentation
    post_images(site.token_client(tina), ("ward-3.png", b"no X-ray"))
    with database.read() as session:
        kept = dict(session.execute(select(Screening.id, Screening.file_name)).all())
        assert {kept[key] for key in find_named(session, "ward-") or ()} == {"ward-1.png", "ward-2.png", "ward-3.png"}
        assert [kept[key] for key in find_named(session, "RD-2.p") or ()] == ["ward-2.png"]
        assert find_named(session, "ward-0") == []


def test_a_text_of_too_many_names_is_left_to_the_list(drawn: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortlist, "MOST_NAMED", 100)
    with drawn.read() as session:
        assert find_named(session, "CXR") is None
        assert find_named(session, "CX") is None
        assert session.scalar(select(Screening.id).limit(1)) is not None  # the transaction goes on


def test_a_name_is_looked_up_by_what_few_names_have(drawn: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    if drawn.engine.dialect.name == "sqlite":
        pytest.skip("FTS5 orders the lists by their length itself")
    asked: list[list[str]] = []
    kept = shortlist._find_rare_trigrams
    monkeypatch.setattr(shortlist, "_find_rare_trigrams", lambda *given: asked.append(kept(*given)) or asked[-1])
    with drawn.read() as session:
        name = session.scalars(select(Screening.file_name).order_by(Screening.file_name)).first() or ""
        assert len(find_named(session, name) or ()) == 1
        assert find_named(session, ".jpeg"), "found, too, where all of it is common"
    trigrams = {name.lower()[at : at + 3] for at in range(len(name) - 2)}
    assert set(asked[0]) < trigrams - {".jp", "jpe", "peg", "cxr"}
    assert len(asked[1]) == 1


def test_a_count_that_was_cut_does_not_say_that_nothing_matches(
    settings: Settings, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner, "MOST_UNANSWERED", 1)
    site = Site(settings, database)
    tina = site.add_user("tina")
    post_images(site.token_client(tina), *[(f"{name}.png", b"no X-ray") for name in ("a", "b", "2")])
    page = site.browser(tina).get("/history?order=suspicious&text=2").text
    assert "No X-ray with a result matches" in page
    assert "Not all of the others were searched." in page
    assert "order=newest" in page
    assert "2.png" in site.browser(tina).get("/history?order=newest&text=2").text


def test_without_an_index_of_names_a_short_list_is_searched_whole(
    sqlite_database: Database, settings: Settings
) -> None:
    site = Site(settings, sqlite_database)
    tina = site.add_user("tina")
    post_images(site.token_client(tina), *[(f"{n}.png", b"no X-ray") for n in range(30)])
    with sqlite_database.write() as session:
        for part in ("TRIGGER screening_names_insert", "TRIGGER screening_names_delete", "TABLE screening_names"):
            session.execute(text(f"DROP {part}"))
    with sqlite_database.read() as session:
        assert find_named(session, "29.png") is None
        assert [row.file_name for row in named(session, tina, "29.png")] == ["29.png"]


@pytest.mark.usefixtures("small_steps")
def test_the_page_says_how_far_was_searched(site: Site, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shortlist, "MOST_NAMED", 0)
    tina = site.add_user("tina")
    for part in range(6):
        images = [(f"image-{part}-{n}.png", encode(draw(100 * part + n), "PNG")) for n in range(50)]
        post_images(site.token_client(tina), *images)
    page = site.browser(tina).get("/history?text=image-0-0.png").text
    assert "No X-ray matches so far" in page
    address = page.split('<a class="button main" href="')[1].split('"')[0].replace("&amp;", "&")
    assert "image-0-0.png</a>" in site.browser(tina).get(address).text.replace("<wbr>", "")


# ---------------------------------------------------------------- counts


def test_counts_by_state_and_progress_are_those_of_the_rows(drawn: Database) -> None:
    found = every_row(drawn)
    with drawn.read() as session:
        counts = queue_state.count_by_state(session)
        assert counts == {state: sum(row.image.state is state for row in found) for state in State}
        jobs = list(session.scalars(select(Job).limit(20)))
        for key, progress in jobs_progress(session, jobs).items():
            images = [row for row in found if row.image.job_id == key]
            assert progress.total == len(images)
            assert progress.counts == {state: sum(row.image.state is state for row in images) for state in State}
        for job in jobs:
            answers = [row.answer for row in found if row.image.job_id == job.id and row.answer]
            labels = {label: sum(answer.label is label for answer in answers) for label in Label}
            assert label_counts(session, job, session.get_one(User, job.created_by_id)) == labels
