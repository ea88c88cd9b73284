"""The decoder of compressed images: whatever a codestream does to its process, ours goes on."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import psutil
import pytest

from shared.errors import DecoderAway, ImageRejected
from shared.images import decoder_child
from shared.images.decoder import Bounds, Codec, Decoder
from shared.refusals import Rejection
from tests.conftest import draw

GREY = np.asarray(draw(1, (96, 80))).astype(np.uint16) * 15
STREAM = imagecodecs.jpegls_encode(GREY)
MIB = 1024 * 1024


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    made = Decoder()
    yield made
    made.close()


def ask(decoder: Decoder, data: bytes = STREAM) -> np.ndarray:
    return decoder.decode(Codec.JPEG_LS, data, rows=80, columns=96)


def test_one_process_decodes_one_after_another(decoder: Decoder) -> None:
    assert np.array_equal(ask(decoder), GREY)
    pid = decoder._process.pid
    assert np.array_equal(ask(decoder), GREY)
    assert decoder._process.pid == pid


def test_every_codec_of_the_child_has_a_name() -> None:
    assert {codec.value.encode() for codec in Codec} == decoder_child.CODECS.keys()


def test_a_stream_that_cannot_be_decoded_is_refused_and_the_process_stays(decoder: Decoder) -> None:
    ask(decoder)
    pid = decoder._process.pid
    with pytest.raises(ImageRejected) as refused:
        ask(decoder, STREAM[:30] + b"\xff\xd9")
    assert refused.value.code is Rejection.DAMAGED_SCAN
    assert np.array_equal(ask(decoder), GREY)
    assert decoder._process.pid == pid


def test_an_image_of_another_size_than_was_asked_for_is_refused(decoder: Decoder) -> None:
    with pytest.raises(ImageRejected):
        decoder.decode(Codec.JPEG_LS, STREAM, rows=96, columns=80)
    assert np.array_equal(ask(decoder), GREY)


def test_a_stream_that_crashes_the_process_is_refused_and_the_next_goes_on(decoder: Decoder) -> None:
    slow = encode_2000(3000)
    ask(decoder)
    timer = threading.Timer(0.2, os.kill, (decoder._process.pid, signal.SIGSEGV))  # no stream that does it is known
    timer.start()
    with pytest.raises(ImageRejected) as refused:
        while timer.is_alive() or decoder._process is not None:
            decoder.decode(Codec.JPEG_2000, slow, rows=3000, columns=3000)
    assert refused.value.code is Rejection.DAMAGED_SCAN
    assert np.array_equal(ask(decoder), GREY)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP], ids=lambda by: by.name)
def test_a_process_that_something_else_ends_is_asked_once_more(decoder: Decoder, by: signal.Signals) -> None:
    slow = encode_2000(2000)
    ask(decoder)
    threading.Timer(0.05, os.kill, (decoder._process.pid, by)).start()
    for _ in range(5):
        assert not decoder.decode(Codec.JPEG_2000, slow, rows=2000, columns=2000).any()
    assert np.array_equal(ask(decoder), GREY)


def test_what_takes_too_much_of_the_processor_is_refused() -> None:
    slow = imagecodecs.jpeg2k_encode(
        np.random.default_rng(0).integers(0, 4096, (1000, 1000), dtype=np.uint16), codecformat="j2k", reversible=True
    )
    decoder = Decoder(Bounds(cpu_seconds=0))  # one second, as the kernel counts them whole
    try:
        with pytest.raises(ImageRejected) as refused:
            for _ in range(40):
                decoder.decode(Codec.JPEG_2000, slow, rows=1000, columns=1000)
        assert refused.value.code is Rejection.DAMAGED_SCAN
    finally:
        decoder.close()


def test_what_takes_too_much_memory_is_refused() -> None:
    decoder = Decoder(Bounds(memory_bytes=200 * MIB))
    try:
        with pytest.raises(ImageRejected):
            decoder.decode(Codec.JPEG_2000, encode_2000(5000), rows=5000, columns=5000)
        assert np.array_equal(ask(decoder), GREY)
    finally:
        decoder.close()


def encode_2000(side: int) -> bytes:
    return imagecodecs.jpeg2k_encode(np.zeros((side, side), np.uint16), codecformat="j2k", reversible=True)


def test_a_process_that_does_not_answer_is_nobodys_fault() -> None:
    decoder = Decoder(Bounds(wall_seconds=0.001))  # no Python starts as fast
    with pytest.raises(DecoderAway):
        ask(decoder)
    decoder.bounds = Bounds()
    assert np.array_equal(ask(decoder), GREY)
    decoder.close()


def test_threads_take_turns(decoder: Decoder) -> None:
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(ask(decoder))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(one, GREY) for one in found)
    assert len(found) == 4


def test_a_forked_process_starts_its_own(decoder: Decoder) -> None:
    """As Celery's daemonic worker processes do, which may have no children of multiprocessing."""
    ask(decoder)
    pid = decoder._process.pid
    queue = multiprocessing.get_context("fork").SimpleQueue()

    def child() -> None:
        queue.put((np.array_equal(ask(decoder), GREY), decoder._process.pid))
        decoder.close()

    process = multiprocessing.get_context("fork").Process(target=child, daemon=True)
    process.start()
    is_right, other = queue.get()
    process.join()
    assert is_right
    assert other != pid
    assert psutil.pid_exists(pid)
    assert np.array_equal(ask(decoder), GREY)


def test_the_process_knows_no_secret_and_ends_with_ours(decoder: Decoder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PNEUMOSCREEN_SECRET_KEY", "secret")
    ask(decoder)
    process = psutil.Process(decoder._process.pid)
    assert b"secret" not in Path(f"/proc/{process.pid}/environ").read_bytes()
    decoder._process.stdin.close()
    until = time.monotonic() + 10
    while process.status() != psutil.STATUS_ZOMBIE and time.monotonic() < until:
        time.sleep(0.02)
    assert process.status() == psutil.STATUS_ZOMBIE
