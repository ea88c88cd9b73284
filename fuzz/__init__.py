"""Hostile input for intake, preprocessing and the API; see README.md."""

PATIENT = "Vertraulich"
"""Part of the patient's name in each synthetic radiograph; it must appear in no message and no log."""
