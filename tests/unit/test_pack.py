"""The array of all training pictures: as the files are, whole or not there at all."""

import io
import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from countclip import batches, pictures

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
    batches.pack_images(map(pictures.decode, bodies), 3, SIZE, str(tmp_path / "images.npy"))
    packed = np.load(tmp_path / "images.npy")
    expected = [batches.resize(Image.open(io.BytesIO(body)), SIZE) for body in bodies]
    assert np.array_equal(packed, np.stack(expected))
    with pytest.raises(ValueError, match="4 pairs need an image each, 3 images were read"):
        batches.pack_images(map(pictures.decode, bodies), 4, SIZE, str(tmp_path / "more.npy"))
    assert [path.name for path in tmp_path.iterdir()] == ["images.npy"]


def test_kill_9_at_any_moment_changes_no_byte_and_leaves_nothing_behind(tmp_path: Path) -> None:
    bodies = files(1500)
    batches.pack_images(
        map(pictures.decode, bodies), len(bodies), SIZE, str(tmp_path / "whole.npy")
    )
    folder = tmp_path / "killed"
    folder.mkdir()
    arguments = map(pictures.decode, bodies), len(bodies), SIZE, str(folder / "images.npy")
    chance = random.Random(0)
    for _ in range(10):  # forked rather than started: to import torch would take longest of all
        process = multiprocessing.get_context("fork").Process(
            target=batches.pack_images, args=arguments
        )
        process.start()
        while not any(folder.iterdir()) and process.is_alive():
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.2))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        assert process.exitcode == -signal.SIGKILL, "through before it was killed"
        assert not (folder / "images.npy").exists()
    batches.pack_images(*arguments)
    assert (folder / "images.npy").read_bytes() == (tmp_path / "whole.npy").read_bytes()
    assert [path.name for path in folder.iterdir()] == ["images.npy"]
