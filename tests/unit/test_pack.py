"""The array of all training pictures: as the files are, whole or not there at all."""

import io
import multiprocessing
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from countclip.data.images import decode
from countclip.model import inputs

SIZE = 24


def files(n: int) -> list[bytes]:
    generator = np.random.default_rng(0)
    bodies = []
    for _ in range(n):
        buffer = io.BytesIO()
        picture = generator.integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(picture).save(buffer, "PNG")
        bodies.append(buffer.getvalue())
    return bodies


def test_one_row_a_file_in_order(tmp_path: Path) -> None:
    bodies = files(3)
    inputs.pack_images(map(decode, bodies), 3, SIZE, str(tmp_path / "images.npy"))
    packed = np.load(tmp_path / "images.npy")
    expected = [inputs.resize(Image.open(io.BytesIO(body)), SIZE) for body in bodies]
    assert np.array_equal(packed, np.stack(expected))
    with pytest.raises(ValueError, match="4 pairs need an image each, 3 images were read"):
        inputs.pack_images(map(decode, bodies), 4, SIZE, str(tmp_path / "more.npy"))
    assert [path.name for path in tmp_path.iterdir()] == ["images.npy"]


def test_it_takes_only_the_space_that_it_has_written(tmp_path: Path) -> None:
    """A map of the whole file ended a process on a full disk by a signal, without a message."""
    sizes = []

    def images():
        for body in files(40):
            sizes.append(next(tmp_path.iterdir()).stat().st_size)
            yield decode(body)

    inputs.pack_images(images(), 40, SIZE, str(tmp_path / "images.npy"))
    assert sizes[0] < sizes[-1] < (tmp_path / "images.npy").stat().st_size


def pack_for(seconds: float, *arguments) -> None:
    """Pack, and be ended by the kernel after so many seconds of this process's own work."""
    signal.setitimer(signal.ITIMER_PROF, seconds)
    inputs.pack_images(*arguments)


def test_a_kill_at_any_moment_changes_no_byte_and_leaves_nothing_behind(tmp_path: Path) -> None:
    bodies = files(1500)
    folder = tmp_path / "killed"
    arguments = map(decode, bodies), len(bodies), SIZE, str(folder / "images.npy")
    begun = time.process_time()
    inputs.pack_images(map(decode, bodies), len(bodies), SIZE, str(tmp_path / "whole.npy"))
    work = time.process_time() - begun
    chance = random.Random(0)
    for _ in range(10):  # forked rather than started: to import torch would take longest of all
        process = multiprocessing.get_context("fork").Process(
            target=pack_for, args=(chance.uniform(0.01, work / 2), *arguments)
        )
        process.start()
        process.join()
        assert process.exitcode == -signal.SIGPROF, "through before it was killed"
        assert not (folder / "images.npy").exists()
    inputs.pack_images(*arguments)
    assert (folder / "images.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert [path.name for path in folder.iterdir()] == ["images.npy"]
