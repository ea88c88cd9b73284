"""The workers with fault injection: `celery -A chaos.hurt_worker worker`."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from chaos.injector import IMAGE_SECONDS_VARIABLE, UNREADABLE, bend_clock, crash_on_poison, dying, slowed

bend_clock()

from shared.store.incoming import IMAGES  # after the clock is replaced
from shared.store.store import FolderStore
from worker.app import app
from worker.screening import screen

__all__ = ["app"]

STORE_SECONDS: Final = 0.5
"""How long a slow store takes for one image."""

hurt: Any = screen
_image_seconds = float(os.environ[IMAGE_SECONDS_VARIABLE])
_decode, _start = hurt.decode, hurt.Screener.__init__


def _slow_decode(data: bytes, at_least: int) -> Any:
    """Delay decoding as if the image were large, so that a backlog of small ones lasts."""
    time.sleep(_image_seconds)
    crash_on_poison(data)
    return _decode(data, at_least)


def _breaking(store: Any, get: Callable[[str], bytes]) -> Callable[[str], bytes]:
    """Break a marked image's file on its first read; every read then fails by itself."""

    def read(key: str) -> bytes:
        data = get(key)
        if not data.endswith(UNREADABLE):
            return data
        _break(store, store.place_of(IMAGES, key))
        return get(key)

    return read


def _break(store: Any, path: str) -> None:
    """Make each read fail: in a folder with EIO, like a bad sector; in a bucket like an archived object."""
    if isinstance(store, FolderStore):
        place = Path(store.root, path)
        place.unlink()
        place.symlink_to("/proc/self/mem")  # proc(5): there is no memory at address 0
        return
    bucket, name = store.files._bucket, store.files._prefix + path
    source = {"Bucket": bucket, "Key": name}
    store.files._client.copy_object(Bucket=bucket, Key=name, CopySource=source, StorageClass="GLACIER")


def _start_with_slow_store(self: Any, settings: Any, database: Any, store: Any, *others: Any, **named: Any) -> None:
    store.get = slowed("store-slow", STORE_SECONDS, _breaking(store, store.get))
    _start(self, settings, database, store, *others, **named)


hurt.decode = dying("decode", _slow_decode)
hurt.Screener.__init__ = _start_with_slow_store
hurt.Screener._predict = dying("predict", hurt.Screener._predict)
# Celery acknowledges the ticket after the task: the outcomes are written, the message is not yet gone.
hurt.Screener._finish = dying("written", hurt.Screener._finish, afterwards=True)
