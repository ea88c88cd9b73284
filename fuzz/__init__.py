"""Hostile input for intake, preprocessing and the API; see README.md."""

PATIENT = "Vertraulich"
"""In the name of the patient of each drawn radiograph; it may stand in no message and no log."""
