"""`make fuzz`: hostile files and hostile requests, a table of what became of them, exit status 1 where one hurt."""

import argparse
import json
import platform
import sys
import time
import warnings
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.progress import Progress

from fuzz.api import run_api, run_parameters
from fuzz.images import ImageRun, run_images

_DATA: Final = Path("../shared/data")
_WIDTH: Final = 110
"""Width of the table where the output is no terminal."""


def main() -> int:
    """Run the requested parts and return the exit status."""
    options = _read_options()
    warnings.simplefilter("ignore")  # libraries warn of input malformed on purpose
    console = Console(width=max(_WIDTH, Console().width))
    console.print(f"seed {options.seed}, {platform.platform()}, Python {platform.python_version()}", highlight=False)
    report: dict[str, Any] = {"seed": options.seed, "machine": platform.platform()}
    faults = 0
    if options.files:
        started = time.monotonic()
        run = _run_images(options, console)
        run.tally.show(console)
        _show_faults(run, options.findings, console)
        faults += run.tally.total.findings
        report["images"] = {**run.tally.to_json(), "faults": run.faults, "seconds": time.monotonic() - started}
    if options.examples:
        api = run_api(examples=options.examples, seed=options.seed, folder=options.findings / "api")
        api.show(console)
        faults += len(api.failures) + (not api.is_whole)
        report["api"] = api.to_json()
        parameters = run_parameters(each=max(1, options.examples // 10), seed=options.seed, folder=options.findings)
        parameters.show(console)
        faults += len(parameters.faults)
        report["parameters"] = {"statuses": dict(parameters.statuses), "faults": parameters.faults}
    if options.json:
        options.json.write_text(json.dumps(report, indent=1) + "\n")
    return 1 if faults else 0


def _read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--files", type=int, default=10_000, help="hostile files (default 10,000; 0: none)")
    parser.add_argument(
        "--examples", type=int, default=100, help="requests of a kind and operation (default 100; 0: none)"
    )
    parser.add_argument("--seed", type=int, default=1, help="the same seed makes the same files (default 1)")
    parser.add_argument("--lanes", type=int, default=2, help="processes side by side (default 2)")
    parser.add_argument("--data", type=Path, default=_DATA, help="folder of real images, where there is one")
    parser.add_argument("--findings", type=Path, default=Path("var/fuzz"), help="folder for what went wrong")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    return parser.parse_args()


def _run_images(options: argparse.Namespace, console: Console) -> ImageRun:
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        bar = progress.add_task("Hostile files", total=options.files)
        return run_images(
            files=options.files,
            seed=options.seed,
            data=options.data,
            findings=options.findings,
            lanes=options.lanes,
            on_file=lambda: progress.advance(bar),
        )


def _show_faults(run: ImageRun, folder: Path, console: Console) -> None:
    for key, times in sorted(run.faults.items(), key=lambda item: -item[1]):
        console.print(f"{times} x {key}", highlight=False, soft_wrap=True)
    if run.faults:
        console.print(f"Files that show them are in {folder}.", highlight=False)


if __name__ == "__main__":
    sys.exit(main())
