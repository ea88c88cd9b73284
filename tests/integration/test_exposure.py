"""Drift of exposure: what workers keep of each image, held against the images that the model was trained on."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from shared.db import Database
from shared.models.exposures import EXPOSURE_FILE, TrainingExposure, read_exposure, write_exposure
from shared.models.folder import read_spec
from shared.models.spec import ModelSpec
from shared.models.spec import Site as Fitted
from shared.quality.exposure import count_exposures
from shared.quality.period import Period
from shared.settings import REPOSITORY, Settings
from shared.store.store import FolderStore
from shared.tables import Role
from tests.classifiers import Constant
from tests.conftest import draw, encode
from tests.integration.test_activation import install
from tests.integration.test_web_quality import words
from tests.site_history import History
from tests.web_site import Site, post_images
from training.exposure import measure_training
from worker.screening.screen import Screener

WEEK = Period(date(2026, 3, 23), date(2026, 3, 29), UTC)
DAYS = {"since": "2026-03-23", "until": "2026-03-29"}
NOON = datetime(2026, 3, 24, 12, tzinfo=UTC)
Measured = Sequence[tuple[int, int] | None]
TRAINED = [(100 + n % 40, 150 + n % 60) for n in range(600)]
"""Brightness and contrast of training images."""
LIKE_TRAINED: Measured = TRAINED[:120]


@pytest.fixture
def site(settings: Settings, sqlite_database: Database) -> Site:
    return Site(settings, sqlite_database)


@pytest.fixture
def own(site: Site, spec: ModelSpec) -> ModelSpec:
    """The model of the site, whose training images are known."""
    own = install(site, spec, spec.name)
    brightness, contrast = (Counter(values) for values in zip(*TRAINED, strict=True))
    counts = [tuple(found[grey] for grey in range(256)) for found in (brightness, contrast)]
    known = TrainingExposure(sha256=own.sha256, images=600, brightness=counts[0], contrast=counts[1])
    write_exposure(site.settings.models_dir / own.name, known)
    return own


@pytest.fixture
def chief(site: Site) -> FlaskClient:
    return site.browser(site.add_user("chief", Role.READER))


def screen(database: Database, *answered: tuple[ModelSpec, Measured]) -> None:
    """Have X-rays answered by models; what is None has no exposure."""
    with database.write() as session:
        made, people = 0, {}
        for spec, exposures in answered:
            history = History(session, spec, made, people)
            job = history.job(NOON)
            for exposure in exposures:
                history.screen(job, NOON, 0.2, exposure=exposure)
            made = history.made


def look(chief: FlaskClient, **asked: str) -> dict[str, str]:
    """What the page says of brightness and contrast, and on the tile of exposure."""
    page = chief.get("/quality", query_string=asked)
    assert page.status_code == 200, page.text
    starts = {name: f'<section class="card" id="{name}"' for name in ("brightness", "contrast")}
    said = {name: words(page.text.split(start)[1].split("</section>")[0]) for name, start in starts.items()}
    return {**said, "tile": words(page.text.split("<dt>Brightness and contrast</dt>")[1].split("</div>")[0]).strip()}


def pictures(first: int, count: int, share: float = 1.0) -> list[bytes]:
    """Drawn images, all of their greys multiplied by a share."""
    drawn = [draw(n, (64, 64)) for n in range(first, first + count)]
    return [encode(image.point(lambda grey: round(grey * share)), "PNG") for image in drawn]


@pytest.mark.parametrize("is_darker", [False, True])
def test_images_that_come_darker_than_those_of_training_drift_and_like_ones_do_not(
    site: Site, spec: ModelSpec, chief: FlaskClient, tmp_path: Path, *, is_darker: bool
) -> None:
    own = install(site, spec, spec.name)
    paths = [tmp_path / f"{n}.png" for n in range(150)]
    for path, data in zip(paths, pictures(0, 150), strict=True):
        path.write_bytes(data)
    write_exposure(site.settings.models_dir / own.name, measure_training(paths, own))
    tina = site.token_client(site.add_user("tina"))
    files = [(f"{n}.png", data) for n, data in enumerate(pictures(1000, 120, 0.5 if is_darker else 1.0))]
    assert post_images(tina, *files).status_code == 202
    assert isinstance(site.store, FolderStore)
    Screener(site.settings, site.database, site.store, Constant(own), "w1").drain(60)
    said = look(chief)
    against = "against the 150 images that test-model was trained on"
    steady, drifted = "No drift of brightness", "Brightness has drifted"
    assert f"{drifted if is_darker else steady} {against}" in said["brightness"]
    assert ("Contrast has drifted" if is_darker else "No drift of contrast") in said["contrast"]
    assert said["tile"] == ("Drifted" if is_darker else "Steady")
    listed = tina.get("/api/v1/predictions?limit=500").json["predictions"]
    table = csv.DictReader(io.StringIO(tina.get("/api/v1/predictions?format=csv").text))
    kept = [(row["brightness"], row["contrast"]) for row in listed]
    assert [(int(row["brightness"]), int(row["contrast"])) for row in table] == kept
    assert len(set(kept)) > 50


def test_the_medians_the_gap_and_the_limits_are_said(site: Site, own: ModelSpec, chief: FlaskClient) -> None:
    screen(site.database, (own, [(grey - 8, contrast) for grey, contrast in TRAINED[:240]]))
    said = look(chief, **DAYS)
    assert "Brightness has drifted against the 600 images" in said["brightness"]
    assert "cumulative shares is 0.200 (two-sample Kolmogorov-Smirnov test, p &lt; 0.001)" in said["brightness"]
    assert "period has a brightness of 111, the median training image 119" in said["brightness"]
    assert "Drift is reported for a gap of at least 0.10 with p below 0.01." in said["brightness"]
    assert "No drift of contrast" in said["contrast"]
    assert said["tile"] == "Drifted", "one of both is enough"
    text = chief.get("/quality/brightness.csv", query_string=DAYS).text.splitlines()
    assert text[0] == "brightness_from,brightness_to,images,share,training_images,training_share"
    assert text[7] == "96,111,96,0.4,180,0.3"


def test_without_a_result_the_page_says_what_fills_it(own: ModelSpec, chief: FlaskClient) -> None:
    said = look(chief, **DAYS)
    assert "A running worker fills this" in said["brightness"]
    assert "A running worker fills this" in said["contrast"]
    assert said["tile"] == "\N{EN DASH}"


def test_results_of_before_are_counted_apart(site: Site, own: ModelSpec, chief: FlaskClient) -> None:
    screen(site.database, (own, [*LIKE_TRAINED, *[None] * 3]))
    said = look(chief, **DAYS)
    assert "No drift of brightness" in said["brightness"]
    assert "3 X-rays are not counted: their results are from before" in said["brightness"]


def test_results_of_before_alone_are_no_drift(site: Site, own: ModelSpec, chief: FlaskClient) -> None:
    screen(site.database, (own, [None] * 120))
    said = look(chief, **DAYS)
    assert "The results of this period are from before brightness and contrast were kept." in said["brightness"]
    assert said["tile"] == "\N{EN DASH}"


@pytest.mark.parametrize(("images", "says_so"), [(99, True), (100, False)])
def test_few_x_rays_are_shown_and_not_judged(
    site: Site, own: ModelSpec, chief: FlaskClient, images: int, *, says_so: bool
) -> None:
    screen(site.database, (own, [(20, 20)] * images))
    said = look(chief, **DAYS)
    assert (f"{images} X-rays are too few to tell: the test needs at least 100." in said["brightness"]) is says_so
    assert ("has drifted" in said["brightness"]) is not says_so
    assert (said["tile"] == "\N{EN DASH}") is says_so
    assert "Training images" in said["brightness"]


@pytest.mark.parametrize("case", ["missing", "damaged", "of other weights"])
def test_without_training_images_to_compare_with_the_page_says_so(
    site: Site, own: ModelSpec, chief: FlaskClient, case: str
) -> None:
    place = site.settings.models_dir / own.name / EXPOSURE_FILE
    if case == "missing":
        place.unlink()
    elif case == "damaged":
        place.write_text(place.read_text()[:-40])
    else:
        place.write_text(place.read_text().replace(own.sha256, "f" * 64))
    screen(site.database, (own, LIKE_TRAINED))
    said = look(chief, **DAYS)
    assert "There is nothing to compare with" in said["brightness"]
    assert "There is nothing to compare with" in said["contrast"]
    assert said["tile"] == "\N{EN DASH}"
    assert chief.get("/quality/contrast.csv", query_string=DAYS).text.splitlines()[11].endswith(",0,")


def test_each_model_is_held_against_its_own_training_images(site: Site, own: ModelSpec, chief: FlaskClient) -> None:
    other = install(site, own, "other")
    screen(site.database, (own, LIKE_TRAINED), (other, [(20, 20)] * 110))
    said = look(chief, **DAYS)["brightness"]
    assert "No drift of brightness against the 600 images that test-model was trained on" in said
    assert "110 X-rays that another model, or another version of it, answered are not counted." in said
    assert "There is nothing to compare with" in look(chief, model="other", **DAYS)["brightness"]
    assert "A running worker fills this" in look(chief, model="none", **DAYS)["brightness"]


def test_a_threshold_put_in_force_splits_nothing(site: Site, own: ModelSpec, chief: FlaskClient) -> None:
    fitted = Fitted(folder="own", images={}, fitted_at=NOON)
    stricter = own.model_copy(update={"site": fitted, "threshold": 0.6})
    assert stricter.identity != own.identity
    screen(site.database, (own, TRAINED[:60]), (stricter, TRAINED[60:120]))
    assert "No drift of brightness" in look(chief, **DAYS)["brightness"]


def test_x_rays_are_counted_by_the_weights_that_answered(database: Database, spec: ModelSpec) -> None:
    newer = spec.model_copy(update={"sha256": "e" * 64})
    screen(database, (spec, [(100, 150), (100, 160), None]), (newer, [(30, 40)]))
    with database.read() as session:
        first, second = count_exposures(session, WEEK.span)
        none = count_exposures(session, WEEK.before.span)
        of_other = count_exposures(session, WEEK.span, "other-model")
        named = count_exposures(session, WEEK.span, spec.name)
        (newest,) = count_exposures(session, WEEK.span, most=1)
    assert (first.model, first.weights, first.unknown) == (spec.name, spec.sha256, 1)
    assert (first.brightness, first.contrast) == ({100: 2}, {150: 1, 160: 1})
    assert (second.weights, second.brightness, second.unknown) == (newer.sha256, {30: 1}, 0)
    assert (none, of_other, named) == ([], [], [first, second])
    assert newest.images + newest.unknown == 1


def test_the_models_that_ship_know_what_they_were_trained_on() -> None:
    folders = [path.parent for path in (REPOSITORY / "models").glob("*/spec.json")]
    assert folders
    for folder in folders:
        found = read_exposure(folder, read_spec(folder).sha256)
        assert found is not None, folder.name
        assert sum(found.brightness) == sum(found.contrast) == found.images > 5000
