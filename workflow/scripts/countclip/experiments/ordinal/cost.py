"""Cost of inference beside plain CLIP: multiply-adds and milliseconds of each method's modules.

Texts are encoded once, so an image costs its tower and what follows it: adapter, similarities with
the concepts, and head.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from countclip.experiments.ordinal.methods import method_of
from countclip.experiments.ordinal.model import make_model
from countclip.model.clip import Clip, unit_length
from countclip.report.sheets import write_csv

PLAIN = "zero_shot_concepts"
"""Method that is plain CLIP, which the others are compared with."""
REPEATS = 15
COLUMNS = [
    *("method", "label", "concepts", "parameters", "tower", "after", "percent_more", "text"),
    *("tower_ms", "after_ms", "text_ms", "batch", "threads", "scale"),
]


class _Probe(nn.Module):
    """What follows the image tower in the linear probe."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.layer = nn.Linear(d, 1)

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.layer(unit_length(embeddings))


def measure(
    path: str,
    *,
    model: dict[str, Any],
    task: dict[str, Any],
    methods: dict[str, dict[str, Any]],
    batch: int,
    threads: int,
    scale: str,
) -> None:
    """Publish one row a method as CSV, with COLUMNS.

    methods: id -> `method`, of `methods.METHODS`, `options` and `label`; PLAIN is measured anyway.
    parameters: that the method has beside its CLIP. tower, after: multiply-adds for an image; text:
    for all concepts, once. Only products of matrices, convolutions and attention count.
    percent_more: multiply-adds for an image than plain CLIP has. _ms: milliseconds on this CPU,
    median of REPEATS, for one of `batch` images, and for all texts.
    """
    torch.set_num_threads(threads)
    clip = Clip(**model)
    plain = {"method": PLAIN, "options": {}, "label": ""}
    images = torch.randint(0, 256, (batch, clip.image_size, clip.image_size, 3), dtype=torch.uint8)
    tower = make_model(clip, method_of(PLAIN), task).eval().encode
    with torch.no_grad():
        embeddings = tower(images)
        of_tower = multiply_adds(lambda: tower(images)) // batch
        tower_ms = milliseconds(lambda: tower(images)) / batch
        rows = {
            name: _row(clip, task, embeddings, **choice)
            for name, choice in ({"": plain} | methods).items()
        }
    before = of_tower + rows.pop("")["after"]
    for name, row in rows.items():
        row |= {"method": name, "tower": of_tower, "tower_ms": tower_ms}
        row |= {"percent_more": 100 * (of_tower + row["after"] - before) / before}
        row |= {"batch": batch, "threads": threads, "scale": scale}
    write_csv(pd.DataFrame(rows.values(), columns=COLUMNS), path)


def _row(
    clip: Clip,
    task: dict[str, Any],
    embeddings: Tensor,
    *,
    method: str,
    options: dict[str, Any],
    label: str,
) -> dict[str, Any]:
    """What one method costs beside the image tower."""
    batch, d = embeddings.shape
    if method == "linear_probe":
        probe = _Probe(d)
        return {
            "label": label,
            "parameters": _size(probe),
            "after": multiply_adds(lambda: probe(embeddings)) // batch,
            "after_ms": milliseconds(lambda: probe(embeddings)) / batch,
        }
    ordinal = make_model(clip, method_of(method, options), task).eval()
    texts = ordinal.texts()

    def encode() -> Tensor:
        """Fixed texts are encoded while the model is made, learnt ones afterwards."""
        return make_model(clip, method_of(method, options), task).texts()

    def after() -> Tensor:
        return ordinal.head(ordinal.logits(embeddings, texts))

    return {
        "label": label,
        "concepts": len(ordinal.bins),
        "parameters": sum(map(_size, (ordinal.adapter, ordinal.head, ordinal.prompts))),
        "after": multiply_adds(after) // batch,
        "text": multiply_adds(encode),
        "after_ms": milliseconds(after) / batch,
        "text_ms": milliseconds(encode),
    }


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def multiply_adds(call: Callable[[], Any]) -> int:
    """Of the products of matrices, convolutions and attentions in a call."""
    with _plain_attention(), FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops() // 2


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Let attention be products of matrices, which the counter knows on every device."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def milliseconds(call: Callable[[], Any]) -> float:
    """Median of REPEATS calls, after one that warms up."""
    call()
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        call()
        taken.append(time.perf_counter() - started)
    return 1000 * median(taken)
