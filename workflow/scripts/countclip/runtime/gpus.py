"""Which GPU does a job work on? One that no other job of this machine has, where there is one."""

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
"""Of this machine, whatever file system the results lie on. A killed job's lock is free at once."""
PAUSE = 5.0  # seconds between two looks for a free one


@contextmanager
def claim_gpu(device: str, gpus: dict[str, str] | None = None) -> Iterator[str]:
    """The device to work on, this job's alone while the block runs.

    device: `cpu` (never waited for), a GPU as torch names it, or `auto`: the first free one, and
        the CPU where there is none.
    gpus: name -> an id that no two cards share; those that torch sees, unless given.
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
        there = ", ".join(gpus) or "none"
        raise ValueError(f"detector.device: there is no {device} here; there are: {there}")
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
    """What lightning-fabric is to work on, as its `devices`: of several GPUs of this machine the
    one on which fewest jobs of ours work. Fabric by itself would give the first one to them all.

    It stays this process's until that ends. Nobody is waited for: how many jobs run at a time is
    up to Snakemake's resource `gpu`. Where a job wants several, or there is one alone or none,
    Fabric takes what there is.
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
                _held.append(lock)
                log.info("working on %s, with %d other jobs", name, others)
                return [int(name.partition(":")[2])]


_held: list[FileLock] = []  # until the process ends


def _seen() -> dict[str, str]:
    import torch

    cards = range(torch.cuda.device_count())
    return {f"cuda:{i}": str(torch.cuda.get_device_properties(i).uuid) for i in cards}
