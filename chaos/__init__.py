"""Faults, inflicted on the real programs while they screen."""
