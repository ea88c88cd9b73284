"""What pages with many rows make once."""

import uuid

import pytest
from flask import Flask, url_for

from web.frame.row_texts import addresses


@pytest.fixture
def app() -> Flask:
    made = Flask(__name__)
    made.add_url_rule("/screenings/<uuid:screening_id>/thumbnail", "thumbnail")
    return made


@pytest.mark.parametrize("values", [{}, {"label": "NORMAL", "text": "a b/é&"}, {"job": str(uuid.UUID(int=0))}])
def test_an_address_of_a_row_is_that_of_flask(app: Flask, values: dict[str, str]) -> None:
    key = uuid.uuid4()
    with app.test_request_context("/"):
        written = addresses("thumbnail", "screening_id", **values)
        assert written(key) == url_for("thumbnail", screening_id=key, **values)
