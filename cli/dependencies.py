"""The message for a missing Python package: which command installs it."""

from typing import Final

GROUPS: Final = {
    "boto3": "s3",
    "authlib": "sso",
    "requests": "sso",
    "flask": "web",
    "flask_limiter": "web",
    "flask_wtf": "web",
    "gunicorn": "web",
    "markdown_it": "web",
    "multipart": "web",
    "prometheus_client": "web",
    "babel": "worker",
    "keras": "worker",
    "openvino": "worker",
    "scipy": "worker",
    "matplotlib": "evaluation",
    "seaborn": "evaluation",
    "sklearn": "evaluation",
    "SimpleITK": "training",
    "tensorflow": "training",
}
"""The dependency group of pyproject.toml with each package, by import name."""
TARGETS: Final = {"training": "make setup-training"}
"""Makefile target that installs a group; `make setup` for all others."""
FOLDERS: Final = frozenset({"cli", "evaluation", "migrations", "shared", "training", "web", "worker"})


def missing(name: str | None) -> str:
    """Say which group a missing module belongs to and how to install it; `name` is that of the error."""
    package = (name or "").partition(".")[0]
    if package in FOLDERS:
        return (
            f"the project's folder '{package}' ({name}), which this installation leaves out, as container images do. "
            "Run it from a clone of the project."
        )
    if package not in GROUPS:
        return f"the Python package '{package}', which is not installed. Run 'make setup'."
    group = GROUPS[package]
    return (
        f"the Python package '{package}' of the dependency group '{group}', which is not installed. "
        f"Run '{TARGETS.get(group, 'make setup')}', or without make 'uv sync --inexact --group {group}'."
    )
