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
from countclip.report import pages
from countclip.report.sheets import Cell, Format, Sheet, texts, write_csv, write_sheets

PLAIN = "zero_shot_concepts"
"""Method that is plain CLIP, which the others are compared with."""
REPEATS = 15
BATCH = 32
"""Images at a time."""
COLUMNS = [
    *("method", "label", "concepts", "parameters", "tower", "after", "percent_more", "text"),
    *("tower_ms", "after_ms", "text_ms", "threads", "scale"),
]
COUNTS = ("concepts", "parameters", "tower", "after", "text")
THREE_DIGITS: Format = "{:.3g}".format
FORMATS = {
    **dict.fromkeys(COUNTS, "{:,}".format),
    **dict.fromkeys(("percent_more", "tower_ms", "after_ms", "text_ms"), THREE_DIGITS),
}


class _Probe(nn.Module):
    """What follows the image tower in the linear probe."""

    def __init__(self, d: int) -> None:
        super().__init__()
        self.layer = nn.Linear(d, 1)

    def forward(self, embeddings: Tensor) -> Tensor:
        return self.layer(unit_length(embeddings))


def measure(
    *,
    model: dict[str, Any],
    task: dict[str, Any],
    methods: dict[str, dict[str, Any]],
    threads: int,
    csv_path: str,
    json_path: str,
    markdown_path: str,
    scale: str,
) -> None:
    """Publish one row a method, with COLUMNS, as CSV, JSON and Markdown.

    methods: id -> `method`, of `methods.METHODS`, `options` and `label`; PLAIN is measured anyway.
    parameters: that the method has beside its CLIP. tower, after: multiply-adds for an image; text:
    for all concepts, once. Only products of matrices, convolutions and attention count.
    percent_more: multiply-adds for an image than plain CLIP has. _ms: milliseconds on this CPU,
    median of REPEATS, for one of BATCH images, and for all texts.
    """
    torch.set_num_threads(threads)
    clip = Clip(**model)
    plain = {"method": PLAIN, "options": {}, "label": ""}
    images = torch.zeros(BATCH, clip.image_size, clip.image_size, 3, dtype=torch.uint8)
    tower = make_model(clip, method_of(PLAIN), task).eval().encode
    with torch.no_grad():
        embeddings = tower(images)
        of_tower = multiply_adds(lambda: tower(images)) // BATCH
        tower_ms = milliseconds(lambda: tower(images)) / BATCH
        rows = {
            name: _row(clip, task, embeddings, **choice)
            for name, choice in ({"": plain} | methods).items()
        }
    before = of_tower + rows.pop("")["after"]
    for name, row in rows.items():
        row |= {"method": name, "tower": of_tower, "tower_ms": tower_ms}
        row |= {"percent_more": 100 * (of_tower + row["after"] - before) / before}
        row |= {"threads": threads, "scale": scale}
    table = pd.DataFrame(rows.values(), columns=COLUMNS).astype(dict.fromkeys(COUNTS, "Int64"))
    write_csv(table, csv_path)
    write_sheets([cost_sheet(table)], json_path, markdown_path)


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
    d = embeddings.shape[1]
    if method == "linear_probe":
        probe = _Probe(d)
        return {
            "label": label,
            "parameters": _size(probe),
            "after": multiply_adds(lambda: probe(embeddings)) // BATCH,
            "after_ms": milliseconds(lambda: probe(embeddings)) / BATCH,
        }
    ordinal = make_model(clip, method_of(method, options), task).eval()
    encoded = ordinal.texts()

    def encode() -> Tensor:
        """Fixed texts are encoded while the model is made, learnt ones afterwards."""
        return make_model(clip, method_of(method, options), task).texts()

    def after() -> Tensor:
        return ordinal.head(ordinal.logits(embeddings, encoded))

    return {
        "label": label,
        "concepts": len(ordinal.bins),
        "parameters": sum(map(_size, (ordinal.adapter, ordinal.head, ordinal.prompts))),
        "after": multiply_adds(after) // BATCH,
        "text": multiply_adds(encode),
        "after_ms": milliseconds(after) / BATCH,
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


def cost_sheet(table: pd.DataFrame) -> Sheet:
    """The table as readers see it."""
    lines = [
        [Cell(label), *(Cell(text[name] or "–") for name in FORMATS)]
        for label, text in zip(table["label"], texts(table, FORMATS), strict=True)
    ]
    first = table.iloc[0]
    return Sheet(
        "What inference costs, beside plain CLIP",
        [
            "Method", "Concepts", "Further parameters", "Multiply-adds, image tower",
            "Multiply-adds behind it", "Multiply-adds, texts, once", "More than plain CLIP (%)",
            "Tower, ms", "Behind it, ms", "Texts, once, ms",
        ],
        lines,
        [
            "Multiply-adds: products of matrices, convolutions and attention, counted in the real"
            " modules. Plain CLIP is zero-shot with the concepts of the bins. Texts are encoded"
            " once for all images.",
            f"Milliseconds: for an image, {BATCH} at a time, on {first['threads']} thread of this"
            f" machine's CPU, median of {REPEATS}. They differ from run to run.",
        ],
        pages.stamp(first["scale"]),
    )  # fmt: skip
