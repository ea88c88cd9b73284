"""The pages of models: which are known, cards and figures, thresholds tried on stored probabilities and reviews."""

import hashlib
import json
import re
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import select

from evaluation.calibrate import flag_share, write_spec
from shared.db import Database, now
from shared.models.calibrations import choose_threshold
from shared.models.folder import WEIGHTS_FILE
from shared.models.spec import Label, ModelSpec
from shared.settings import Settings
from shared.tables import Model, ReviewOutcome, Role, User
from tests.conftest import draw, encode
from tests.site_history import History, recalibrated
from tests.web_site import Site, post_images
from web.models.figures import Called, find_worst, held_out

DASH = "\N{EN DASH}"
METRICS = {
    "validation": {
        "images": {"NORMAL": 100, "PNEUMONIA": 100},
        "threshold": 0.4,
        "recall": 0.95,
        "specificity": 0.9,
        "auc": 0.98,
        "intervals_95": {"recall": [0.9, 0.99]},
    },
    "at_threshold_0.5": {"recall": 0.9, "specificity": 0.92},
    "estimates": {
        "elsewhere": {
            "images": {"NORMAL": 10, "PNEUMONIA": 10},
            "threshold": 0.4,
            "recall": 0.9,
            "specificity": 0.6,
            "operating_points": [
                {"threshold": 0.1, "true_positive": 10, "false_negative": 0, "true_negative": 2, "false_positive": 8}
            ],
        }
    },
}
CARD = """# test-model

For tests. <script>alert(1)</script> [a page](javascript:alert(1)) ![a picture](https://example.org/x.png)

## What it does

| a | b |
|---|---|
| 1 | 2 |
"""


@pytest.fixture
def site(settings: Settings, sqlite_database: Database, spec: ModelSpec) -> Site:
    site = Site(settings, sqlite_database)
    site.install_model(spec)
    folder = site.settings.model_dir
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    (folder / "card.md").write_text(CARD)
    with sqlite_database.write() as session:
        history = History(session, spec)
        at = now() - timedelta(days=2)
        job = history.job(at)
        for n in range(30):
            screening = history.screen(job, at, 0.02 + n / 100)
            if n < 20:
                history.review(screening, at, ReviewOutcome.AGREE)
        history.screen(history.job(now() - timedelta(days=40)), now() - timedelta(days=40), 0.99)
    return site


def page(site: Site, address: str = "/models/test-model", **asked: str) -> str:
    answer = site.browser(site.add_user(f"chief-{len(asked)}-{address.count('/')}", Role.READER)).get(
        address, query_string=asked
    )
    assert answer.status_code == 200
    return answer.text


def rows(text: str, section: str) -> dict[str, list[str]]:
    found = re.search(rf'<section class="card" id="{section}".*?</section>', text, re.DOTALL)
    assert found is not None
    cells = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in found[0].split("<tr")[2:]]
    plain = [[re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", cell)).strip() for cell in row] for row in cells]
    return {first: rest for first, *rest in plain}


def test_the_list_names_models_of_the_folder_and_those_that_have_screened(site: Site) -> None:
    with site.database.write() as session:
        session.add(Model(name="gone-model", sha256="a" * 64, spec={"threshold": 0.3}))
    text = page(site, "/models")
    assert "Used for new jobs." in text
    assert "Its weights are not here. Has screened here." in text
    assert "<td>Elsewhere</td>" in text, "the images on which it does worst"
    assert "0.950 (0.900 to 0.990)" not in text
    assert "Folder gone or damaged." in text
    assert "has no spec.json" in page(site, "/models/gone-model")


def test_thresholds_have_held_out_figures_where_they_were_measured_and_flags_of_the_last_month(site: Site) -> None:
    found = rows(page(site, threshold="25", prevalence="20"), "thresholds")
    assert found["10"] == ["100.0%", "20.0%", "23.8%", "100.0%", "0.7", "73.3%"], "22 of 30 from 0.10 on"
    assert found["40 in force"] == ["90.0%", "60.0%", "36.0%", "96.0%", "0.0", "0.0%"]
    assert found["25 tried"] == [DASH, DASH, DASH, DASH, "0.2", "23.3%"]
    assert len(found) == 16, "those of the grid, one of them in force, and the one that was tried"


def test_after_a_calibration_no_threshold_has_the_figures_of_the_one_before(site: Site, spec: ModelSpec) -> None:
    write_spec(site.settings.model_dir, recalibrated(spec))
    text = page(site)
    assert "These figures are of the calibration before" in text
    assert "as soon as it does, X-rays flagged a day are counted here" in text
    assert 'aria-label="Thresholds, table"' not in text, "nothing but dashes"
    assert "None since it was calibrated anew." in site.browser(site.add_user("lee", Role.READER)).get("/models").text
    assert 'id="f-figures"' not in text


def test_flagged_a_day_is_a_share_of_what_every_calibration_answered(site: Site, spec: ModelSpec) -> None:
    with site.database.write() as session:
        history = History(session, recalibrated(spec), made=1000)
        history.people["sender"] = session.scalars(select(User).where(User.name == "sender")).one()
        at = now() - timedelta(days=1)
        job = history.job(at)
        for _ in range(60):
            history.screen(job, at, 0.2)
    found = rows(page(site), "thresholds")["10"]
    assert found[4:] == ["2.2", "73.3%"], "22 of 30, of 90 X-rays in 30 days"


def test_another_set_of_held_out_images_can_be_chosen(site: Site) -> None:
    found = rows(page(site, figures="validation", prevalence="50"), "thresholds")
    assert found["50"][:2] == ["90.0%", "92.0%"]
    assert found["40 in force"][:2] == ["95.0%", "90.0%"]


def test_reviews_of_this_site_say_what_a_threshold_clears(site: Site) -> None:
    text = page(site)
    assert rows(text, "here")["10"][1] == "40.0% (21.9% to 61.3%), 8 of 20"
    assert rows(text, "here")["10"][0] == DASH, "no pneumonia was found"
    assert rows(text, "rule-out")["10"] == ["100.0% (67.6% to 100.0%), 8 of 8", "26.7% (14.2% to 44.4%), 8 of 30"]
    assert "40 in force" in rows(text, "rule-out")
    assert "50" not in rows(text, "rule-out"), "above the threshold nothing is ruled out"


def test_a_card_is_text_with_headings_below_those_of_the_page(site: Site) -> None:
    text = page(site)
    assert "<h3>What it does</h3>" in text
    assert text.count("<h1>") == 1
    assert "&lt;script&gt;" in text
    assert "javascript:" not in text.replace("](javascript:alert(1))", "")
    assert 'src="https://example.org' not in text, "nothing is fetched for a card"
    assert re.search(r'<table class="plain-table figures">\s*<thead>\s*<tr>\s*<th>a', text)


def test_what_cannot_be_tried_is_refused_in_words(site: Site) -> None:
    browser = site.browser(site.add_user("chief", Role.ADMIN))
    for asked, said in (
        ({"threshold": "0"}, "Threshold: Give a number above 0 and below 100. Received: &#39;0&#39;."),
        ({"prevalence": "nan"}, "Prevalence: Give a number above 0 and below 100."),
        ({"figures": "none"}, "Held-out images: Give one of: validation, elsewhere."),
    ):
        answer = browser.get("/models/test-model", query_string=asked)
        assert (answer.status_code, said in answer.text) == (422, True)
    assert browser.get("/models/no-model").status_code == 404


def test_a_folder_that_is_gone_or_damaged_says_so(site: Site) -> None:
    (site.settings.model_dir / "spec.json").write_text("{}")
    assert "has a damaged spec.json" in page(site)
    (site.settings.model_dir / "spec.json").unlink()
    assert "has no spec.json" in page(site, figures="")


def test_weights_that_are_not_those_of_the_spec_are_named(site: Site) -> None:
    (Path(site.settings.model_dir) / WEIGHTS_FILE).write_bytes(b"others")
    assert "model.keras is not the file that spec.json names" in page(site)


def test_without_figures_card_or_results_the_page_says_what_would_bring_them(
    settings: Settings, sqlite_database: Database, spec: ModelSpec
) -> None:
    site = Site(settings, sqlite_database)
    site.install_model(spec)
    text = page(site)
    for sentence in ("brings no figures", "gave no result in the last 30 days", "Reviews fill this", "has no card"):
        assert sentence in text


def test_figures_of_a_threshold_that_is_not_in_force_are_not_those_of_the_one_that_is(spec: ModelSpec) -> None:
    sets = held_out(METRICS, spec.model_copy(update={"threshold": 0.7}))
    assert [sorted(some.thresholds) for some in sets] == [[0.5], [0.1]]
    assert find_worst(sets, 0.7) is None
    worst = find_worst(held_out(METRICS, spec), 0.4)
    assert worst is not None
    assert (worst.name, worst.thresholds[0.4]) == ("elsewhere", Called(0.9, 0.6))


def test_another_threshold_leaves_labels_as_they_were_and_answers_anew(
    settings: Settings, sqlite_database: Database, spec: ModelSpec
) -> None:
    site = Site(settings, sqlite_database)
    site.install_model(spec)
    sender = site.token_client(site.add_user("tina"))
    image = ("image.png", encode(draw(1), "PNG"))
    assert post_images(sender, image).status_code == 202
    sha256 = hashlib.sha256(image[1]).hexdigest()
    site.work(spec, {sha256: 0.3})
    chosen = choose_threshold(spec, 0.2, now())
    site.install_model(chosen)
    assert post_images(sender, image).status_code == 202
    site.work(chosen, {sha256: 0.3})
    assert [row.label for row in site.screenings()] == [Label.NORMAL, Label.PNEUMONIA]
    text = page(site)
    assert "Thresholds before" in text
    assert '40: <bdi lang="en" translate="no">For tests.</bdi>' in text
    assert text.count("test-model@") > 2, "both that have screened here"


def test_plots_of_the_folder_are_shown_and_no_other_file_is_sent(site: Site) -> None:
    folder = site.settings.model_dir / "plots"
    folder.mkdir()
    picture = encode(draw(1), "PNG")
    for name in ("roc.png", "other.png"):
        (folder / name).write_bytes(picture)
    browser = site.browser(site.add_user("chief", Role.READER))
    text = browser.get("/models/test-model").text
    assert re.findall(r"/models/test-model/plots/(\w+)\.png", text) == ["roc", "roc"], "as a link and as a picture"
    sent = browser.get("/models/test-model/plots/roc.png")
    assert (sent.data, sent.mimetype) == (picture, "image/png")
    sent.close()
    for address in ("test-model/plots/other.png", "test-model/plots/..%2Froc.png", "no-model/plots/roc.png"):
        assert browser.get(f"/models/{address}").status_code == 404


def test_how_the_threshold_in_force_was_chosen_is_said(site: Site, spec: ModelSpec) -> None:
    assert "its validation images</dd>" in page(site)
    site.install_model(choose_threshold(spec, 0.2, now()))
    assert "its validation images; threshold chosen by hand, " in page(site, threshold="20")
    site.install_model(flag_share(spec, np.linspace(0, 1, 40), 0.3, "night"))
    said = page(site, threshold="20", prevalence="5")
    assert "its validation images; threshold by 40 unlabelled images of <bdi>night</bdi>, " in said
