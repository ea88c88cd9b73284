"""Translations, and how languages write numbers and times."""
