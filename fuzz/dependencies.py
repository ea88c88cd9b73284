"""`make audit`: look up known vulnerabilities of every locked dependency, by version and hash.

Exit status 1 where one is found that is not in IGNORED. Where no index answers, it prints a note and exits with 0: the
check must also pass in a hospital without a network.
"""

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from shared.settings import REPOSITORY

IGNORED: Final[dict[str, str]] = {}
"""Ids of vulnerabilities that do not affect us, each with the reason; one no longer found is an error, too."""

_NO_ANSWER: Final = re.compile("Could not connect|ConnectionError|Max retries exceeded|Timeout")
_SECONDS: Final = 300

Vulnerability = tuple[str, str, tuple[str, ...], str]
"""Package and version, id, its aliases, the fixed versions."""


def main() -> int:
    """Audit the lock file and report what was found."""
    with tempfile.TemporaryDirectory(prefix="pneumoscreen-audit-") as folder:
        locked = Path(folder) / "locked.txt"
        _export(locked)
        run = _audit(locked)
    if not run.stdout.strip():
        return _explain_silence(run.stderr)
    return report(json.loads(run.stdout))


def report(found: dict[str, Any]) -> int:
    """Print what pip-audit found and return the exit status."""
    dependencies = found["dependencies"]
    audited = [dependency for dependency in dependencies if "skip_reason" not in dependency]
    if not audited:
        print(f"No index answered for any of the {len(dependencies)} locked dependencies; they were not audited.")
        return 0
    known = vulnerabilities(audited)
    open_ones = [item for item in known if not {item[1], *item[2]} & IGNORED.keys()]
    for package, name, others, mended in open_ones:
        print(f"{package}: {' '.join([name, *others])}; mended in {mended or 'no version yet'}.")
    gone = IGNORED.keys() - {name for item in known for name in (item[1], *item[2])}
    for name in sorted(gone):
        print(f"{name} is ignored in fuzz/dependencies.py and no longer found. Take it out.")
    print(f"{len(audited)} of {len(dependencies)} locked dependencies audited, {len(open_ones)} vulnerabilities.")
    return 1 if open_ones or gone else 0


def vulnerabilities(audited: list[dict[str, Any]]) -> list[Vulnerability]:
    """List the known vulnerabilities of the audited dependencies."""
    return [
        (f"{item['name']} {item['version']}", known["id"], tuple(known["aliases"]), ", ".join(known["fix_versions"]))
        for item in audited
        for known in item["vulns"]
    ]


def _export(path: Path) -> None:
    """Write every dependency of the lock file with its hashes."""
    uv = Path(sys.executable).with_name("uv")
    command = [
        str(uv),
        "export",
        "--frozen",
        "--all-groups",
        "--no-emit-project",
        "--quiet",
        "--output-file",
        str(path),
    ]
    subprocess.run(command, cwd=REPOSITORY, check=True, stdout=subprocess.DEVNULL)


def _audit(path: Path) -> subprocess.CompletedProcess[str]:
    program = Path(sys.executable).with_name("pip-audit")
    options = ["--require-hashes", "--disable-pip", "--format", "json", "--aliases", "on", "--progress-spinner", "off"]
    return subprocess.run(
        [program, *options, "--requirement", path],
        cwd=path.parent, capture_output=True, text=True, check=False, timeout=_SECONDS,
    )  # fmt: skip


def _explain_silence(words: str) -> int:
    last = (words.strip().splitlines() or ["it said nothing"])[-1]
    if _NO_ANSWER.search(words):
        print("No index answers; the locked dependencies were not audited.")
        return 0
    print(f"pip-audit gave no result: {last}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
