"""Chaos tests: inject faults into the real programs while they screen."""
