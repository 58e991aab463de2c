"""How well a pretrained model counts, without any training."""

import logging
from pathlib import Path
from typing import Any

from torch import nn

from countclip.benchmarks import store
from countclip.evaluation.counting import (
    Questions,
    accuracy,
    predictions,
    text_only,
    write_predictions,
)
from countclip.model.clip import Clip
from countclip.model.embeddings import cosines, each_checkpoint, embed, fabric_of
from countclip.model.inputs import pack_images
from countclip.runtime.files import write_json

log = logging.getLogger(__name__)


def measure(
    name: str,
    model: dict[str, Any],
    weights: str | None,
    benchmark: str,
    images: str,
    *,
    predictions_path: str,
    facts_path: str,
    replace: str = "once",
    accelerator: str = "cpu",
    precision: str = "32-true",
    batch: int = 64,
    threads: int = 1,
) -> None:
    """Publish the predictions of a model on a benchmark, and its `facts` as JSON.

    name: its id, the `variant` of the predictions. model: name, pretrained and config of `Clip`.
    weights: the file of a tag's weights; None where `pretrained` is a file. benchmark, images: as
    `store.read_benchmark` has them. The others: as `counting.evaluate` has them.

    The images are packed beside the predictions while this lasts, as a large benchmark does not fit
    into memory.
    """
    fabric = fabric_of(accelerator, precision, threads)
    for _, clip in each_checkpoint({"end": weights}, model, fabric):
        packed = Path(predictions_path).with_suffix(".images.npy")
        rows = store.images_in_order(benchmark, images)
        pack_images(rows, store.count_rows(benchmark), clip.preprocessing, str(packed))
        of_file = store.read_packed(benchmark, packed)
        questions = Questions.of(clip, of_file, replace == "everywhere")
        image, text = embed(clip, questions.images, questions.tokens, batch, show=True)
        similarity = cosines(image, text)
        table = predictions(
            similarity, questions.indices, questions.numbers, text_only(image, text)
        )
        write_predictions({"end": table}, name, 0, predictions_path)
        write_json(facts(clip), facts_path)
        packed.unlink()
        log.info(
            "%s: %.2f %% of %d images",
            name, 100 * accuracy(similarity, questions.numbers), len(similarity),
        )  # fmt: skip


def facts(clip: Clip) -> dict[str, int]:
    """How many parameters a model has in its image tower and in all, and the side of its images.

    A decoder of captions counts to the whole alone.
    """
    return {
        "parameters": _parameters(clip.model),
        "image_parameters": _parameters(clip.model.visual),
        "image_size": clip.image_size,
    }


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
