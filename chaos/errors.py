"""Errors that stop a chaos run."""

from shared.errors import PneumoScreenError


class ChaosFailed(PneumoScreenError):
    """Say what failed to happen: a fault that could not be injected, or a stack that does not recover."""


class NotHere(PneumoScreenError):
    """Say why a fault cannot be injected on this machine or into this stack."""
