"""Submit images as a DICOM receiver would, in an interpreter of its own; print what came of it and what was loaded."""

import json
import sys
import uuid
from pathlib import Path

from pydantic import SecretStr

from shared.intake import archive
from shared.settings import Settings
from shared.submission.admission import admit, choose_priority
from shared.submission.services import open_services
from shared.submission.submit import Sender, Submission, add_images, close_submission, open_submission, submit
from shared.tables import Source


def main(url: str, data_dir: str, redis_url: str, user_id: str, *paths: str) -> None:
    settings = Settings(
        database_url=SecretStr(url), data_dir=Path(data_dir), redis_url=SecretStr(redis_url), model="probe"
    )
    services = open_services(settings)
    sender = Sender(uuid.UUID(user_id), address="10.0.0.7", actor="dicom:XRAY1")
    admission = admit(services)
    received = []
    for path in map(Path, paths):
        received += archive.receive(path.name, [path.read_bytes()], services.store, settings)
        admission.check(choose_priority(settings, None, len(received)), len(received))
    whole = submit(services, sender, Submission(Source.DICOM, "ward 3"), received)
    opened = open_submission(services, sender, Submission(Source.FOLDER, "in parts"))
    parts = [add_images(services, sender, opened, [item]) for item in received]
    close_submission(services, sender, opened)
    found = {
        "whole": [str(whole.job.id), whole.queued, [item.file_name for item in whole.rejected]],
        "in parts": [str(opened.id), sum(part.queued for part in parts), sum(len(part.rejected) for part in parts)],
        "tickets": services.tickets.tickets("probe"),
        "loaded": sorted({name.partition(".")[0] for name in sys.modules} & {"flask", "werkzeug", "web", "keras"}),
    }
    services.database.close()
    sys.stdout.write(json.dumps(found))


main(*sys.argv[1:])
