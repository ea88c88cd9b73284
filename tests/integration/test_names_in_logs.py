"""No log of any part holds a name that a user or a patient gave: a real stack, images good and hostile, then grep."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import draw, encode
from tests.integration.conftest import Stack, start, stop, wait_until
from tests.unit.shared.images.test_dicom import make
from tests.web_site import make_zip

NAME = "Mustermann"


def jpeg_with_comment() -> bytes:
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = NAME
    draw(1).save(out, "JPEG", comment=NAME.encode(), exif=exif)
    return out.getvalue()


def images() -> dict[str, bytes]:
    image, dicom = encode(draw(2)), make(np.asarray(draw(5)), PatientName=NAME, PatientID=NAME, StudyDescription=NAME)
    return {
        f"{NAME} good.jpeg": jpeg_with_comment(),
        f"ward {NAME}/{NAME}.dcm": dicom,
        f"{NAME} cut in its pixels.jpeg": image[: len(image) // 2],
        f"{NAME} cut.dcm": dicom[: len(dicom) - 500],
        f"{NAME} damaged.dcm": dicom[:200] + NAME.encode() + dicom[200:],
        f"{NAME} of something else.dcm": make(PatientName=NAME, Modality=NAME[:2].upper()),
        f"{NAME} damaged.tiff": b"II*\0" + NAME.encode() * 20,
        f"{NAME}.txt": NAME.encode(),
        f"{NAME} empty.png": b"",
        f"{NAME}.zip": make_zip({f"{NAME}/{NAME}.png": encode(draw(3), "PNG"), f"../{NAME}.png": b"x", NAME: b"y"}),
        f"{NAME} damaged.zip": b"PK\x03\x04" + NAME.encode(),
        f"{NAME}\ud800\n\r\t\x00.jpeg".encode("utf-8", "replace").decode(): encode(draw(4)),
    }


def logs(stack: Stack) -> dict[str, str]:
    return {path.name: path.read_text(errors="replace") for path in [*stack.data_dir.rglob("*.log*"), stack.log]}


@pytest.mark.timeout(400)
@pytest.mark.long
def test_no_log_holds_a_name(tmp_path: Path) -> None:
    stack = start(tmp_path / "data", workers=1)
    try:
        wait_until(lambda: "PneumoScreen is ready" in stack.log.read_text(), 150, "a stack that is ready")
        job = stack.submit(images())
        counts = stack.wait(job, 120)["counts"]
        assert counts["DONE"] >= 4, counts
        assert counts["REJECTED"] >= 8, counts
        with stack.client as client:
            for address in (
                f"/history?text={NAME}",
                f"/{NAME}",
                f"/api/v1/jobs/{NAME}",
                f"/api/v1/predictions?job={NAME}",
            ):
                client.get(address)
            client.post("/api/v1/jobs", json={"name": NAME, "priority": NAME})
            client.post(
                "/api/v1/jobs", content=f"--x\r\n{NAME}", headers={"Content-Type": "multipart/form-data; boundary=x"}
            )
    finally:
        stop(stack)
    written = logs(stack)
    assert {"web.log", "worker.log"} <= set(written)
    assert "is ready" in written["worker.log"]
    assert [name for name, text in written.items() if NAME in text] == []
