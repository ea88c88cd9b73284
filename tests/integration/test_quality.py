"""What the quality figures count, from rows in both databases."""

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from shared.db import Database
from shared.models.calibrations import choose_threshold
from shared.models.spec import Label, ModelSpec
from shared.quality.paired import read_pairs
from shared.quality.period import Period
from shared.quality.readings import compare_readers, judge_threshold, read_reviews, reviewed_images, reviewed_of_most
from shared.quality.statistics import Share
from shared.quality.suspicion import count_flags, count_suspicion, find_answering
from shared.quality.volume import count_days, typical_seconds
from shared.queue.leases import register_model
from shared.reviews.truth import LeftOut
from shared.states import State
from shared.tables import Finding, Prediction, ReviewOutcome, ShadowScore
from tests.site_history import History, recalibrated

MONDAY = date(2026, 3, 23)
ZONE = ZoneInfo("Europe/Berlin")
"""Its clocks went forward on Sunday, 29 March 2026."""


def at(day: int, hour: int = 12, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


def week(zone: object = UTC) -> Period:
    return Period(MONDAY, date(2026, 3, 29), zone)  # type: ignore[arg-type]  # a zone


def test_each_day_counts_what_was_sent_in_it_and_what_became_of_it(database: Database, spec: ModelSpec) -> None:
    with database.write() as session:
        history = History(session, spec)
        job = history.job(at(23))
        for p, seconds in ((0.9, 0.24), (0.8, 30.0), (0.1, 2000.0), (0.2, None)):
            history.screen(job, at(23), p, seconds)
        history.refuse(job, at(23), "not_chest")
        history.refuse(job, at(24), "not_chest")
        history.refuse(job, at(24), "unreadable", State.FAILED)
        history.screen(job, at(30), 0.9)
        found = count_days(session, week(), blind_for=None)
    monday, tuesday = found.days[:2]
    assert [day.day for day in found.days] == [MONDAY + timedelta(days=n) for n in range(7)]
    assert (monday.images, monday.flagged, monday.refused) == (5, Share(2, 4), 1)
    assert (tuesday.images, tuesday.states) == (2, Counter({State.REJECTED: 1, State.FAILED: 1}))
    assert monday.seconds == Counter({0.2: 1, 30.0: 1, 2000.0: 1}), "to two digits, and not what was answered before"
    assert typical_seconds(found.total) == (30.0, 2000.0)
    assert found.reasons == {"not_chest": 2, "unreadable": 1}
    assert (found.total.images, found.is_cut) == (7, False)


def test_an_x_ray_that_is_sent_again_does_not_narrow_the_interval_of_the_flagged_share(
    database: Database, spec: ModelSpec
) -> None:
    with database.write() as session:
        history = History(session, spec)
        job = history.job(at(23))
        known = history.screen(job, at(23), 0.9)
        history.screen(job, at(23), 0.1)
        for day in (23, 23, 24, 24, 24):
            history.send_again(job, at(day), known)
        history.screen(job, at(29), 0.8)
        found = count_days(session, week(), blind_for=None)
        newest = count_days(session, week(), most=4, blind_for=None)
    assert [day.flagged for day in found.days[:3]] == [Share(1, 2), Share(1, 1), Share(0, 0)]
    assert (found.total.flagged, found.total.labels.total()) == (Share(2, 3), 8)
    assert (newest.is_cut, newest.total.flagged) == (True, Share(2, 2)), "of the days that are counted"


def test_days_begin_and_end_in_the_zone_also_where_clocks_change(database: Database, spec: ModelSpec) -> None:
    with database.write() as session:
        history = History(session, spec)
        job = history.job(at(23))
        # 29 March in Berlin: from 23:00 UTC the day before to 22:00 UTC.
        for moment in (at(28, 22, 59), at(28, 23, 0), at(29, 21, 59), at(29, 22, 0)):
            history.screen(job, moment, 0.9)
        found = count_days(session, week(ZONE), blind_for=None)
    assert [day.images for day in found.days] == [0, 0, 0, 0, 0, 1, 2]
    assert week(ZONE).before == Period(date(2026, 3, 16), date(2026, 3, 22), ZONE)


def test_more_than_may_be_read_leaves_the_older_days_out_and_says_so(database: Database, spec: ModelSpec) -> None:
    with database.write() as session:
        history = History(session, spec)
        job = history.job(at(23))
        for day in (24, 24, 27, 28, 28):
            history.screen(job, at(day), 0.9)
        found = count_days(session, week(), most=4, blind_for=None)
        every = count_suspicion(session, week().span, [history.model_id], most=4, blind_for=None)
    assert ([day.images for day in found.days], found.is_cut) == ([0, 0, 1, 2, 0], True)
    assert every == {900: 4}


def test_a_model_narrows_by_what_its_jobs_asked_for(database: Database, spec: ModelSpec) -> None:
    with database.write() as session:
        history = History(session, spec)
        own, other = history.job(at(23)), history.job(at(23), "other-model")
        history.screen(own, at(23), 0.9)
        history.refuse(other, at(23), "rotated")
        counted = {
            name: count_days(session, week(), name, blind_for=None).total.images
            for name in (spec.name, "other-model", "none")
        }
        reasons = count_days(session, week(), "other-model", blind_for=None).reasons
        answering = find_answering(session, week().span, "other-model", blind_for=None)
    assert (counted, reasons) == ({spec.name: 1, "other-model": 1, "none": 0}, {"rotated": 1})
    assert answering == ([], 0)


def test_suspicion_is_of_one_calibration_and_counts_an_x_ray_once(database: Database, spec: ModelSpec) -> None:
    with database.write() as session:
        history = History(session, spec)
        job = history.job(at(23))
        known = history.screen(job, at(24), 0.9)
        for _ in range(5):
            history.send_again(job, at(24), known)
        history.screen(job, at(24), 0.2)
        other = History(session, recalibrated(spec), made=1000, people=history.people)
        other.screen(job, at(25), 0.5)
        answering, others = find_answering(session, week().span, blind_for=None)
        found = count_suspicion(session, week().span, answering, blind_for=None)
    assert (answering, others) == ([history.model_id], 1)
    assert found == {900: 1, 200: 1}


def test_calibration_is_of_the_one_that_answered_most_reviewed_x_rays(database: Database, spec: ModelSpec) -> None:
    with database.write() as session:
        history = History(session, spec)
        job = history.job(at(23))
        first = [history.screen(job, at(24), p) for p in (0.9, 0.1)]
        history.review_truthfully(first, at(24), [True, False])
        lifted = History(session, choose_threshold(spec, 0.95, at(25)), made=1000, people=history.people)
        lifted.review_truthfully([lifted.screen(job, at(25), 0.8)], at(25), [True])
        anew = History(session, recalibrated(spec), made=2000, people=history.people)
        anew.review_truthfully([anew.screen(job, at(25), p) for p in (0.5, 0.6)], at(25), [True, True])
        readings = read_reviews(session, week().span, blind_for=None)
        reviewed, others = reviewed_of_most(session, readings)
        of_none = reviewed_of_most(session, readings, "other-model")
    assert sorted(reviewed.pairs) == [(0.1, False), (0.8, True), (0.9, True)], "a threshold changes no suspicion"
    assert others == 2
    assert (of_none[0].pairs, of_none[1]) == ([], 0)


def test_readers_who_differ_across_the_first_day_of_a_period_differ_in_it(database: Database, spec: ModelSpec) -> None:
    with database.write() as session:
        history = History(session, spec)
        known = history.screen(history.job(at(20)), at(20), 0.9)
        history.review(known, at(21), ReviewOutcome.OVERRULE, Finding.NORMAL)
        history.review(known, at(24), ReviewOutcome.AGREE, by="tom", number=2)
        readings = read_reviews(session, week().span, blind_for=None)
    assert (reviewed_images(readings).pairs, reviewed_images(readings).left_out.total()) == ([], 1)
    assert compare_readers(readings).reviews == 1, "that of the period alone"


def test_an_x_ray_that_was_answered_at_two_thresholds_is_one_pair(database: Database, spec: ModelSpec) -> None:
    with database.write() as session:
        history = History(session, spec)
        job = history.job(at(24))
        first = history.screen(job, at(24), 0.9)
        later = Prediction(
            id=history.make_id(at(25)),
            image_id=first.image_id,
            model_id=register_model(session, choose_threshold(spec, 0.95, at(25))),
            label=Label.NORMAL,
            confidence=0.9,
            p_pneumonia=0.9,
            probabilities={},
            threshold=0.95,
            worker="w1",
        )
        session.add(later)
        session.flush()
        found = {"model_name": "other", "p_pneumonia": 0.5, "label": Label.PNEUMONIA, "finished_at": at(26)}
        for prediction in (first.prediction_id, later.id):
            session.add(ShadowScore(prediction_id=prediction, **found))
        session.flush()
        (pair,) = read_pairs(session, "other", spec.name).pairs
    assert pair.first_label is Label.NORMAL, "the newest counts"


def test_flags_are_counted_exactly_at_every_threshold(database: Database, spec: ModelSpec) -> None:
    with database.write() as session:
        history = History(session, spec)
        job = history.job(at(23))
        for p in (0.05, 0.3062, 0.30619, 0.9):
            history.screen(job, at(23), p)
        found = count_flags(session, week().span, [history.model_id], (0.3062, 0.5, 0.01), blind_for=None)
        none = count_flags(session, week().span, [], (0.5,), blind_for=None)
    assert (found.images, found.flagged) == (4, {0.3062: 2, 0.5: 1, 0.01: 4})
    assert (none.images, none.flagged) == (0, {0.5: 0})


def test_the_newest_review_of_each_reader_is_compared_with_the_prediction(database: Database, spec: ModelSpec) -> None:
    agree, overrule = ReviewOutcome.AGREE, ReviewOutcome.OVERRULE
    with database.write() as session:
        history = History(session, spec)
        job = history.job(at(23))
        ill, well, poor, odd, undone, split = [history.screen(job, at(23), p) for p in (0.9, 0.1, 0.9, 0.8, 0.7, 0.9)]
        history.review(ill, at(24), overrule, Finding.NORMAL)
        history.review(ill, at(25), overrule, Finding.VIRAL, number=2)
        history.review(well, at(24), overrule, Finding.UNCLEAR, is_blind=True)
        history.review(poor, at(24), ReviewOutcome.INADEQUATE)
        history.review(odd, at(24), overrule, Finding.OTHER)
        history.review(undone, at(24), agree)
        history.review(undone, at(24), ReviewOutcome.WITHDRAWN, number=2)
        history.review(split, at(24), agree)
        history.review(split, at(24), overrule, Finding.NORMAL, by="rolf", number=2)
        readings = read_reviews(session, week().span, blind_for=None)
        earlier = read_reviews(session, Period(MONDAY, date(2026, 3, 24), UTC).span, blind_for=None)
        cut = read_reviews(session, None, most=2, blind_for=None)
    agreement = compare_readers(readings)
    assert agreement.table == ((0, 1), (1, 2)), "rows: readers, columns: model; normal first"
    assert agreement.left_out == {LeftOut.INADEQUATE: 1, LeftOut.OTHER: 1}
    assert compare_readers(readings, blind_alone=True).table == ((0, 0), (1, 0))
    assert compare_readers(readings, "other-model").reviews == 0
    assert compare_readers(earlier).table == ((0, 2), (1, 1)), "as it stood at the end of that day"
    assert (cut.is_cut, readings.is_cut, readings.images) == (True, False, 5)
    reviewed = reviewed_images(readings, spec.name, {spec.identity})
    assert sorted(reviewed.pairs) == [(0.1, True), (0.9, True)]
    assert reviewed.left_out == {LeftOut.INADEQUATE: 1, LeftOut.OTHER: 1, LeftOut.DIFFER: 1}
    assert reviewed_images(readings, spec.name, {"f" * 64}).pairs == []


def test_a_threshold_is_judged_by_the_reviewed_images() -> None:
    pairs = [(0.9, True), (0.4, True), (0.39, True), (0.1, False), (0.2, False), (0.8, False)]
    found = judge_threshold(pairs, 0.4)
    assert (found.sensitivity, found.specificity) == (Share(2, 3), Share(2, 3))
    assert (found.npv, found.below) == (Share(2, 3), Share(3, 6))
    assert judge_threshold([], 0.4).npv.value is None


@pytest.mark.parametrize("label", [Label.NORMAL, Label.PNEUMONIA])
def test_an_image_with_a_flag_that_a_second_reader_answered_has_that_readers_label(
    database: Database, spec: ModelSpec, label: Label
) -> None:
    with database.write() as session:
        history = History(session, spec)
        image = history.screen(history.job(at(23)), at(23), 0.9)
        history.review(image, at(24), ReviewOutcome.SECOND_READER)
        waiting = reviewed_images(read_reviews(session, None, blind_for=None))
        outcome = ReviewOutcome.AGREE if label is Label.PNEUMONIA else ReviewOutcome.OVERRULE
        finding = None if label is Label.PNEUMONIA else Finding.NORMAL
        history.review(image, at(25), outcome, finding, by="rolf", number=2)
        answered = reviewed_images(read_reviews(session, None, blind_for=None))
    assert (waiting.pairs, waiting.left_out) == ([], {LeftOut.SECOND_READER: 1})
    assert answered.pairs == [(0.9, label is Label.PNEUMONIA)]
