"""What lists rely on in the columns of `screenings`: only DONE has a prediction, and copies are what they copy."""

from typing import Any

from sqlalchemy import select

from shared.db import Database
from shared.models.spec import ImageClass, Label, ModelSpec
from shared.settings import Settings
from shared.states import MOVES, Event, State
from shared.tables import Prediction, Screening, User
from tests.conftest import draw, encode
from tests.web_site import Site, post_images
from web.lists.conditions import confidence


def test_only_what_is_done_has_a_prediction() -> None:
    assert {to for (_, happened), to in MOVES.items() if happened is Event.FINISH} == {State.DONE}
    assert [happened for (_, happened), to in MOVES.items() if to is State.DONE] == [Event.FINISH]
    assert not [happened for source, happened in MOVES if source is State.DONE]


def test_confidence_in_sql_is_that_of_the_prediction(spec: ModelSpec, database: Database) -> None:
    import numpy as np

    p = np.random.default_rng(1).random(500)
    predictions = spec.judge(np.stack([1 - p, 0.75 * p, 0.25 * p], axis=1))
    assert spec.classes[0] is ImageClass.NORMAL
    with database.read() as session:
        for prediction in predictions:
            written = session.scalar(select(confidence(prediction.label, _value(prediction.p_pneumonia))))
            assert written == prediction.confidence


def _value(number: float) -> Any:
    from sqlalchemy import Double, literal

    return literal(number, Double)


def test_a_screening_copies_its_job_and_its_prediction(settings: Settings, database: Database, spec: ModelSpec) -> None:
    site = Site(settings, database)
    site.install_model(spec)
    tina, client = (user := site.add_user("tina")), site.token_client(user)
    image = encode(draw(1))
    post_images(client, ("a.jpeg", image), ("b.txt", b"no X-ray"))
    _check_copies(site, tina)
    site.work(spec, {})
    _check_copies(site, tina)
    post_images(client, ("again.jpeg", image))  # answered by the prediction that is there
    _check_copies(site, tina)
    labels = {row.file_name: row.label for row in site.screenings()}
    assert labels == {"a.jpeg": Label.NORMAL, "b.txt": None, "again.jpeg": Label.NORMAL}


def _check_copies(site: Site, owner: User) -> None:
    with site.database.read() as session:
        for image, answer in session.execute(select(Screening, Prediction).outerjoin(Screening.prediction)):
            assert image.created_by_id == owner.id
            copied = (image.model_id, image.label, image.p_pneumonia)
            assert copied == ((answer.model_id, answer.label, answer.p_pneumonia) if answer else (None,) * 3)
