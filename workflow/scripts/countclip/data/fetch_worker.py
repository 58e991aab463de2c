"""img2dataset in a subprocess, with the requests, the resizer and the processes of this package.

By itself img2dataset opens any kind of URL on any host, reads without bound, decodes before it
checks the size, and hangs when a process of its pool dies. fetch.py runs this module as a command
(`python -m`). Error messages here begin with a reason that `fetch.classify` reads.
"""

import ctypes
import io
import json
import multiprocessing
import multiprocessing.connection
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

from PIL import Image, ImageOps

from countclip.data.images import Unusable, decode
from countclip.runtime import network
from countclip.runtime.machine import machine_error

STOPPED = 100
"""Exit codes above this one are the errno of an error of this machine, as 124 for EMFILE: whoever
has no file or disk left cannot report it otherwise."""
_PR_SET_PDEATHSIG = 1


@contextmanager
def ending_with_machine() -> Iterator[None]:
    """End the process if the block meets an error of this machine, which is no host's fault.

    img2dataset would record it as that of an image, or go on with the next shard.
    """
    try:
        yield
    except Exception as error:
        if found := machine_error(error):
            os._exit(STOPPED + found.errno)
        raise


def image_downloader(images: dict[str, Any], agent: str) -> Callable[..., tuple]:
    """A replacement for img2dataset's `download_image`, with one session a thread.

    It returns (key, file, None), or (key, None, error message). All threads observe the Retry-After
    of a host, as far as the deadlines of its images allow.
    """
    thread = threading.local()
    new_session = partial(network.session, {}, allowed=images["private_networks"], resting={})
    new_session()  # reads the certificates, once for all processes
    limits = {name: images[name] for name in ("max_bytes", "timeout", "deadline")}

    def download_image(row: tuple[int, str], *_) -> tuple[int, io.BytesIO | None, str | None]:
        key, url = row
        try:
            with ending_with_machine():
                if not hasattr(thread, "session"):
                    thread.session = new_session()
                    thread.session.headers["User-Agent"] = USER_AGENT.format(agent)
                answer = network.get(url, session=thread.session, decode=False, **limits)
        except network.DownloadError as error:
            wait = f", retry after {error.retry_after:.0f} s" if error.retry_after else ""
            return key, None, f"{error.reason} ({error.detail or 'no body'}{wait})"
        except Exception as error:  # one image must not end a shard
            return key, None, f"other ({error!r:.300})"
        return key, io.BytesIO(answer.body), None

    return download_image


USER_AGENT = (
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:72.0) Gecko/20100101 Firefox/72.0"
    " (compatible; {}; +https://github.com/rom1504/img2dataset)"
)
"""img2dataset's user agent: many hosts refuse clients that look less like a browser."""


class Resizer:
    """A replacement for img2dataset's resizer, with the same modes, whose files `decode` can read.

    It checks the size before it decodes, rotates images as their EXIF says, and refuses broken
    files. An image of the right size and format is stored unchanged.
    """

    SIGNATURES = {"jpg": b"\xff\xd8\xff", "png": b"\x89PNG", "webp": b"RIFF"}

    def __init__(
        self,
        image_size: int,
        resize_mode: str,
        encode_format: str,
        encode_quality: int,
        max_pixels: int,
        seconds: float,
    ) -> None:
        """Set the mode. seconds: limit for one image, since a small file can take hours."""
        self.side, self.mode, self.max_pixels = image_size, resize_mode, max_pixels
        self.format, self.quality, self.seconds = encode_format, encode_quality, seconds

    def __call__(self, stream: io.BytesIO, _blurred: Any = None) -> tuple:
        """(file, width, height, original width, original height, None), or Nones and an error."""
        body = stream.getvalue()
        signal.signal(signal.SIGALRM, _out_of_time)
        signal.setitimer(signal.ITIMER_REAL, self.seconds)
        try:
            with ending_with_machine():
                image = decode(body, self.max_pixels)
                resized = self._resized(image)
                if resized is not image or not body.startswith(self.SIGNATURES[self.format]):
                    body = self._encoded(resized)
            return body, *resized.size, *image.size, None
        except Exception as error:  # Pillow raises nearly anything on hostile images
            message = str(error) if isinstance(error, Unusable) else f"undecodable ({error})"
            return None, None, None, None, None, message
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _resized(self, image: Image.Image) -> Image.Image:
        resize, measured = {
            "no": (None, min),
            "keep_ratio": (ImageOps.cover, min),
            "keep_ratio_largest": (ImageOps.contain, max),
            "center_crop": (ImageOps.fit, min),
            "border": (partial(ImageOps.pad, color="white"), max),
        }[self.mode]
        if resize is None or measured(image.size) <= self.side:
            return image
        return resize(image, (self.side, self.side))

    def _encoded(self, image: Image.Image) -> bytes:
        kind = {"jpg": "JPEG", "png": "PNG", "webp": "WEBP"}[self.format]
        quality = {"compress_level" if kind == "PNG" else "quality": self.quality}
        file = io.BytesIO()
        image.save(file, kind, **quality)
        return file.getvalue()


def _out_of_time(*_) -> None:
    raise TimeoutError("it takes too long")


def _end_with_parent(parent: int) -> None:
    """End this process as soon as the job is killed.

    Without the job's network every URL would be recorded as dead. Also, a second job must not share
    the folder with what is left of the first.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was killed before the call
        os._exit(1)


def _one_shard(
    fetch_shard: Callable[[tuple[int, str]], None], shard: tuple[int, str], parent: int
) -> None:
    _end_with_parent(parent)
    with ending_with_machine():
        fetch_shard(shard)


def run(
    urls: str,
    output: str,
    parent: int,
    *,
    agent: str,
    shard_rows: int,
    connections: int,
    processes: int,
    images: dict[str, Any],
) -> None:
    """Fetch the shards that have no `_stats.json` yet, one process a shard.

    If one runs out of memory or crashes on an image, the others continue. images: see
    `fetch.fetch_images`.
    """
    _end_with_parent(parent)
    for name in ("wandb", "albumentations"):  # slow to import, and not used here
        sys.modules[name] = ModuleType(name)
    sys.modules["torch"] = None  # webdataset works without it
    from img2dataset import downloader
    from img2dataset.reader import Reader
    from img2dataset.writer import WebDatasetSampleWriter

    class Writer(WebDatasetSampleWriter):
        """A writer that lets no full disk pass for the failure of one image."""

        def write(self, *row: Any) -> None:
            with ending_with_machine():
                super().write(*row)

    downloader.download_image = image_downloader(images, agent)
    done = {int(path.name.split("_")[0]) for path in Path(output).glob("*_stats.json")}
    temporary = Path(output, "_tmp")
    temporary.mkdir(exist_ok=True)
    reader = Reader(
        urls, "parquet", "url", None, None, None, ["row"], shard_rows, done,
        str(temporary),
    )  # fmt: skip
    fetch_shard = downloader.Downloader(
        Writer,
        Resizer(
            images["image_size"], images["resize_mode"], images["encode_format"],
            images["encode_quality"], images["max_pixels"], images["deadline"],
        ),
        thread_count=connections,
        save_caption=False,
        extract_exif=False,
        output_folder=output,
        column_list=reader.column_list,
        timeout=images["timeout"],
        number_sample_per_shard=shard_rows,
        oom_shard_count=5,
        compute_hash="sha256",
        verify_hash_type=None,
        encode_format=images["encode_format"],
        retries=0,
        user_agent_token=None,
        disallowed_header_directives=None,
    )  # fmt: skip
    fork = multiprocessing.get_context("fork")  # saves the imports
    running = {}

    def wait_for_one() -> None:
        for sentinel in multiprocessing.connection.wait(running):
            process = running.pop(sentinel)
            process.join()
            if process.exitcode > STOPPED:
                os._exit(process.exitcode)  # the others end with this process

    for shard in list(reader):
        while len(running) == processes:
            wait_for_one()
        arguments = (fetch_shard.download_shard, shard, os.getpid())
        process = fork.Process(target=_one_shard, args=arguments)
        process.start()
        running[process.sentinel] = process
    while running:
        wait_for_one()


if __name__ == "__main__":
    with ending_with_machine():
        run(**json.loads(sys.argv[1]))
