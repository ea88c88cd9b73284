"""Create the secret files that `docker-compose.yml` mounts. Runs before any installation, on plain Python."""

import secrets
import sys
from pathlib import Path


def make_secrets(folder: Path) -> list[Path]:
    """Write each secret that does not exist yet and return the new files.

    The folder is closed to others; the files are readable, because a container reads them as its own user.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    password_file = folder / "postgres_password"
    password = password_file.read_text() if password_file.exists() else secrets.token_urlsafe(24)
    wanted = {
        "postgres_password": password,
        "pneumoscreen_database_url": f"postgresql+psycopg://pneumoscreen:{password}@postgres/pneumoscreen",
        "pneumoscreen_secret_key": secrets.token_hex(32),
    }
    new = [folder / name for name in wanted if not (folder / name).exists()]
    for path in new:
        path.write_text(wanted[path.name])
        path.chmod(0o444)
    return new


if __name__ == "__main__":
    target = Path(sys.argv[1])
    for written in make_secrets(target):
        print(f"wrote {written}")  # noqa: T201  # run as a script
