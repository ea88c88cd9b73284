"""Decode codestreams in a separate process with limits on memory and time (`shared.images.decoder_child`).

The libraries behind it are native code fed with hostile bytes: of 150 damaged streams of a kind some abort, some take
minutes. The separate process contains these failures.
"""

import atexit
import os
import select
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shared.errors import DecoderAway, ImageRejected
from shared.images.decoder_child import ANSWER, REQUEST
from shared.refusals import Rejection

if TYPE_CHECKING:
    import numpy as np

_MIB: Final = 1024 * 1024
_PROGRAM: Final = Path(__file__).with_name("decoder_child.py")
_PIECE: Final = 1 * _MIB
_TRIES: Final = 2
"""A decoder killed by something else, such as the kernel's OOM killer, is retried once."""
_CRASHES: Final = {
    signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL, signal.SIGTRAP, signal.SIGSYS,
    signal.SIGXCPU,
}  # fmt: skip


class Codec(StrEnum):
    """The compression of a codestream; the names are those of `shared.images.decoder_child`."""

    JPEG = "jpeg"
    """Lossy of 12 bits, and lossless of 2 to 16."""
    JPEG8 = "jpeg8"
    JPEG_LS = "jpegls"
    JPEG_2000 = "jpeg2000"
    RLE = "rle"


@dataclass(frozen=True)
class Bounds:
    """Resource limits for one codestream."""

    memory_bytes: int = 2048 * _MIB
    """Address space, libraries included. An image of 40 megapixels as JPEG 2000 takes 0.4 GB."""
    cpu_seconds: int = 20
    """The slowest valid image, JPEG 2000 of 40 megapixels, takes 4."""
    wall_seconds: float = 60.0


class _Gone(Exception):
    """Say that the decoder ended without an answer, and with which exit status."""

    def __init__(self, status: int | None) -> None:
        super().__init__(status)
        self.status = status
        """As in subprocess; None where it did not answer in time."""

    @property
    def is_streams_fault(self) -> bool:
        """Tell whether the codestream is to blame: the decoder crashed, or used up its processor time."""
        return self.status is not None and -self.status in _CRASHES


class Decoder:
    """One decoding process, started on first use and restarted after a failure; threads take turns."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self._turn = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._owner = 0

    def decode(self, codec: Codec, data: bytes, *, rows: int, columns: int, bits: int = 0) -> "np.ndarray":
        """Decode one grey image of `rows` x `columns`; `bits` are those allocated, which only RLE needs.

        Raises ImageRejected where the codestream cannot be decoded within the limits, DecoderAway where that is not its
        fault.
        """
        with self._turn:
            for _ in range(_TRIES):
                try:
                    return self._ask(codec, data, rows, columns, bits)
                except _Gone as gone:
                    self._end()
                    if gone.is_streams_fault:
                        raise ImageRejected(Rejection.DAMAGED_SCAN) from gone
        raise DecoderAway("The decoder of compressed X-rays ended without an answer. Is the machine out of memory?")

    def close(self) -> None:
        """End the process; the next request starts another."""
        with self._turn:
            self._end()

    def _ask(self, codec: Codec, data: bytes, rows: int, columns: int, bits: int) -> "np.ndarray":
        import numpy as np  # noqa: PLC0415  # the web needs it for some images only

        process, until = self._running(), time.monotonic() + self.bounds.wall_seconds
        into, out = process.stdin, process.stdout
        assert into is not None  # noqa: S101  # both are pipes, see _start
        assert out is not None  # noqa: S101
        self._send(into.fileno(), REQUEST.pack(codec.encode(), rows, columns, bits, len(data)), until)
        self._send(into.fileno(), data, until)
        head = ANSWER.unpack(self._receive(out.fileno(), ANSWER.size, until))
        is_decoded, width, is_signed, height, across, size = head
        if not is_decoded:
            raise ImageRejected(Rejection.DAMAGED_SCAN)
        if (height, across) != (rows, columns) or width not in {1, 2, 4} or size != rows * columns * width:
            self._end()  # the rest of its output is useless
            raise ImageRejected(Rejection.DAMAGED_SCAN)
        body = self._receive(out.fileno(), size, until)
        return np.frombuffer(body, f"<{'i' if is_signed else 'u'}{width}").reshape(rows, columns)

    def _running(self) -> subprocess.Popen[bytes]:
        """Return this decoder's process; start one where there is none or it has ended."""
        if self._process is not None and (self._owner != os.getpid() or self._process.poll() is not None):
            self._end()
        if self._process is None:
            self._process, self._owner = self._start(), os.getpid()
        return self._process

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", str(_PROGRAM), str(self.bounds.memory_bytes), str(self.bounds.cpu_seconds)]
        # Of this process's environment, which holds secrets, pass only where libraries are.
        environment = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PATH") if name in os.environ}
        try:
            process = subprocess.Popen(  # noqa: S603  # our own program
                command,
                env=environment | {"OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # libraries print patient data from files
                bufsize=0,
            )
        except OSError as error:
            raise DecoderAway(
                "The decoder of compressed X-rays cannot be started: %(problem)s.", problem=error.strerror
            ) from error
        for pipe in (process.stdin, process.stdout):
            os.set_blocking(pipe.fileno(), False)  # type: ignore[union-attr]  # both are pipes
        return process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if self._owner == os.getpid():
            process.kill()
            process.wait()
        else:
            process.returncode = 0  # after a fork it belongs to the parent, which waits for it
        for pipe in (process.stdin, process.stdout):
            pipe.close()  # type: ignore[union-attr]  # both are pipes, see _start

    def _send(self, pipe: int, data: bytes, until: float) -> None:
        rest = memoryview(data)
        while rest:
            self._wait([], [pipe], until)
            try:
                rest = rest[os.write(pipe, rest[:_PIECE]) :]
            except BrokenPipeError as error:
                raise _Gone(self._status()) from error

    def _receive(self, pipe: int, size: int, until: float) -> bytearray:
        found = bytearray(size)
        place, rest = 0, memoryview(found)
        while place < size:
            self._wait([pipe], [], until)
            read = os.readv(pipe, [rest[place : place + _PIECE]])
            if not read:
                raise _Gone(self._status())
            place += read
        return found

    def _wait(self, reading: list[int], writing: list[int], until: float) -> None:
        if not any(select.select(reading, writing, [], max(0.0, until - time.monotonic()))):
            raise _Gone(None)

    def _status(self) -> int | None:
        assert self._process is not None  # noqa: S101  # it has been started
        try:
            return self._process.wait(5)
        except subprocess.TimeoutExpired:
            return None


_decoder: Final = Decoder()
close: Final = _decoder.close
"""End the decoder of this process; the next use restarts it."""
atexit.register(close)


def decode(codec: Codec, data: bytes, *, rows: int, columns: int, bits: int = 0) -> "np.ndarray":
    """Decode with this process's decoder; see `Decoder.decode`."""
    return _decoder.decode(codec, data, rows=rows, columns=columns, bits=bits)
