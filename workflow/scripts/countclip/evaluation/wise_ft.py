"""WiSE-FT: what weights between the pretrained and the fine-tuned ones can do.

Every alpha is measured on the benchmark, on the held-out pairs and on the retention tasks; the
weights in between exist in memory alone.
"""

import logging
from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from countclip.evaluation import counting, retention, retention_data
from countclip.evaluation.counting import Questions
from countclip.model import embeddings
from countclip.model.clip import Clip
from countclip.model.interpolation import interpolate
from countclip.runtime.files import write_text

log = logging.getLogger(__name__)


def sweep(
    weights: str,
    model: dict[str, Any],
    benchmark: Iterable[dict[str, Any]],
    heldout: tuple[str, str],
    tasks: dict[str, retention_data.Task],
    path: str,
    *,
    alphas: Sequence[float],
    rows: dict[int, int],
    replace: str,
    accelerator: str = "cpu",
    precision: str = "32-true",
    batch: int = 64,
    threads: int = 1,
) -> None:
    """Publish a CSV with a row an alpha: `benchmark_accuracy`, `heldout_accuracy`, and the headline
    (`retention.headline`) of each task under its id; all in [0, 1].

    weights: of the tuned model. benchmark: rows of `store.read_benchmark`, of which `rows`
    (countbench.rows_of) count. heldout: the table of the counting pairs and the array of their
    images. tasks: of `retention_data.unpack`, by id. The others: as `counting.evaluate` has them.
    """
    clip = Clip(**model)
    base = {name: tensor.clone() for name, tensor in clip.model.state_dict().items()}
    tuned = Clip(**model, weights=weights).model.state_dict()
    counted = (row for row in benchmark if row["index"] in rows)
    everywhere = replace == "everywhere"
    questions = {
        "benchmark_accuracy": Questions.of(clip, counted, everywhere),
        "heldout_accuracy": Questions.heldout(clip, *heldout, everywhere),
    }
    fabric = embeddings.fabric_of(accelerator, precision, threads)
    clip.model.to(fabric.device)
    measured = []
    for alpha in alphas:
        clip.model.load_state_dict(interpolate(base, tuned, alpha))
        row = {"alpha": alpha}
        with fabric.autocast():
            for name, of in questions.items():
                similarity = embeddings.similarities(clip, of.images, of.tokens, batch=batch)
                row[name] = counting.accuracy(similarity, of.numbers)
            for name, task in tasks.items():
                row[name] = retention.headline(retention.answers(clip, task, batch))
        log.info("%s", ", ".join(f"{name} {value:.4f}" for name, value in row.items()))
        measured.append(row)
    write_text(pd.DataFrame(measured).to_csv(index=False, lineterminator="\n"), path)
