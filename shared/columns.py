"""The columns of results, the same in files of the pages, the API and the command line; see docs/http.md."""

from typing import Final

RESULT_COLUMNS: Final = (
    "file_name", "state", "label", "confidence", "p_pneumonia", "model", "error", "job_name", "created_at",
    "id", "job", "created_by", "finished_at", "cause", "threshold", "error_code",
    "review_state", "reviews", "review_outcome", "review_finding", "review_note", "reviewed_by", "reviewed_at",
)  # fmt: skip
