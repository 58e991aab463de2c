"""Assignment of this machine's GPUs to jobs, so that jobs do not share one unnecessarily."""

import functools
import itertools
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

log = logging.getLogger(__name__)

LOCKS = Path(tempfile.gettempdir()) / f"countclip-devices-{os.getuid()}"
"""Lock files on this machine, not beside the results. A killed job releases its lock at once."""
PAUSE = 5.0  # seconds between two attempts to find a free GPU


@contextmanager
def claim_gpu(device: str, gpus: dict[str, str] | None = None) -> Iterator[str]:
    """Wait for a device and yield it, assigned to this job while the block runs.

    device: `cpu`, which is shared; a GPU as torch names it; or `auto`: the first free GPU, or the
        CPU on a machine without GPUs.
    gpus: name -> unique id of the card; by default the GPUs that torch sees.
    """
    if device == "cpu":
        yield device
        return
    gpus = _seen() if gpus is None else gpus
    if device == "auto" and not gpus:
        log.info("no GPU here: working on the CPU")
        yield "cpu"
        return
    if device != "auto" and device not in gpus:
        present = ", ".join(gpus) or "none"
        raise ValueError(f"detector.device: there is no {device} here; there are: {present}")
    choice = list(gpus) if device == "auto" else [device]
    LOCKS.mkdir(mode=0o700, exist_ok=True)
    while True:
        for name in choice:
            with suppress(Timeout), FileLock(LOCKS / f"{gpus[name]}.lock", blocking=False):
                yield name
                return
        log.info("waiting for a free GPU of %s", ", ".join(choice))
        time.sleep(PAUSE)


@functools.cache
def least_busy_gpu(accelerator: str, devices: int) -> int | list[int]:
    """The `devices` for lightning-fabric: the GPU on which the fewest of our jobs work.

    By itself Fabric would give the first GPU to all jobs. The GPU is assigned until this process
    ends. There is no waiting: Snakemake's resource `gpu` limits the number of jobs. If a job needs
    several devices, or the machine has at most one GPU, Fabric chooses.
    """
    gpus = _seen() if accelerator in ("cuda", "auto") and devices == 1 else {}
    if len(gpus) < 2:
        return devices
    LOCKS.mkdir(mode=0o700, exist_ok=True)
    for others in itertools.count():
        for name, card in gpus.items():
            lock = FileLock(LOCKS / (f"{card}.{others}.lock" if others else f"{card}.lock"))
            with suppress(Timeout):
                lock.acquire(blocking=False)
                _locks.append(lock)
                log.info("working on %s, with %d other jobs", name, others)
                return [int(name.partition(":")[2])]


_locks: list[FileLock] = []  # held until the process ends


def _seen() -> dict[str, str]:
    import torch

    cards = range(torch.cuda.device_count())
    return {f"cuda:{i}": str(torch.cuda.get_device_properties(i).uuid) for i in cards}
