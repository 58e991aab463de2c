"""Zero-shot counting: the most similar of an image's nine captions is the prediction.

A model with a head of concepts also tells an expected count."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from PIL import Image
from torch import Tensor

from countclip.benchmarks.store import PackedBenchmark, PackedImages
from countclip.data.number_words import NUMBERS
from countclip.model.clip import Clip
from countclip.model.concepts import ConceptHead, concept_captions, trained_head
from countclip.model.embeddings import cosines, each_checkpoint, embed, embed_texts, fabric_of
from countclip.model.inputs import nine_captions, tokens_of
from countclip.runtime.files import write_table

log = logging.getLogger(__name__)


@dataclass
class Questions:
    """Images with their nine captions, two to ten: `images` uint8 (n, size, size, 3), in memory or
    in a file, `tokens` uint16 (n, 9, length), `numbers` (n,) the true ones, `indices` (n,) of their
    rows.

    captions, everywhere: what the tokens are made from (`Questions.of`)."""

    images: np.ndarray | PackedImages
    tokens: np.ndarray
    numbers: np.ndarray
    indices: np.ndarray
    captions: Sequence[str] = ()
    everywhere: bool = False

    @classmethod
    def heldout(
        cls, clip: Clip, counting: str, images: str, everywhere: bool = False
    ) -> "Questions":
        """The pairs of a counting set that nothing is trained on. counting: its table; images: the
        array of its images (`inputs.pack_images`)."""
        table, pixels = pd.read_parquet(counting), np.load(images, mmap_mode="r")
        held = table[table["split"] == "heldout"]
        if held.empty:
            raise ValueError(
                f"{counting}: no pair is held out, as no number has two pairs: add images"
            )
        rows = (
            {"index": i, "image": Image.fromarray(pixels[i]), **row}
            for i, row in zip(held.index, held.to_dict("records"), strict=True)
        )
        return cls.of(clip, rows, everywhere)

    @classmethod
    def of(
        cls, clip: Clip, rows: Iterable[dict[str, Any]], everywhere: bool = False
    ) -> "Questions":
        """From rows with `index`, `image` (PIL), `caption` and `number`; everywhere: as
        `captions.with_each_number` has it. Packed images stay in their file."""
        packed = rows.images if isinstance(rows, PackedBenchmark) else None
        images, texts, numbers, indices, captions = [], [], [], [], []
        for row in rows if packed is None else rows.rows:
            if packed is None:  # one by one: full-size images of a benchmark fill the memory
                images.append(clip.preprocessing.resize(row["image"]))
            texts.append(nine_captions(clip, row["caption"], row["number"], everywhere))
            numbers.append(row["number"])
            indices.append(row["index"])
            captions.append(row["caption"])
        return cls(
            np.stack(images) if packed is None else packed,
            tokens_of(clip, texts),
            np.array(numbers),
            np.array(indices),
            captions,
            everywhere,
        )

    def concept_tokens(self, clip: Clip) -> np.ndarray:
        """Token ids (n, 4, length) of the captions with each concept."""
        rows = zip(self.captions, self.numbers, strict=True)
        return tokens_of(clip, [concept_captions(clip, *row, self.everywhere) for row in rows])


def text_only(image: Tensor, text: Tensor) -> np.ndarray:
    """The numbers (n,) that a model predicts from the captions alone: every image is replaced by
    the mean of all."""
    mean = image.double().mean(dim=0)
    return np.asarray(NUMBERS)[(text.double() @ mean).argmax(dim=1)]


def answers(similarity: np.ndarray) -> pd.DataFrame:
    """`similarity`, `prediction` and `tie` of each image, from (n, 9) cosines.

    The prediction is the number of the most similar caption. Ties go to the lower number and set
    `tie`; so do NaN similarities.
    """
    best = similarity.max(axis=1, keepdims=True)
    return pd.DataFrame(
        {
            "similarity": list(similarity.astype(np.float32)),
            "prediction": np.asarray(NUMBERS)[similarity.argmax(axis=1)],
            "tie": (~(similarity < best)).sum(axis=1) > 1,  # nan is not less
        }
    )


def predictions(
    similarity: np.ndarray,
    indices: np.ndarray,
    numbers: np.ndarray,
    alone: np.ndarray,
    expected: np.ndarray | None = None,
) -> pd.DataFrame:
    """One row an image: its index, the true number, its `answers`, `text_only` from `alone`, and
    `expected`, the count that a head tells, NaN without one."""
    return answers(similarity).assign(
        index=indices,
        number=numbers,
        text_only=alone,
        expected=np.nan if expected is None else expected,
    )


@torch.inference_mode()
def expected_counts(
    head: ConceptHead, clip: Clip, image: Tensor, questions: Questions, batch: int
) -> np.ndarray:
    """The counts (n,) that a head tells from image embeddings (n, d) and the concepts' captions."""
    tokens = questions.concept_tokens(clip)
    text = embed_texts(clip, tokens.reshape(-1, tokens.shape[2]), batch * tokens.shape[1])
    return head(head.logits(image, text.reshape(*tokens.shape[:2], -1))).numpy()


def accuracy(similarity: np.ndarray, numbers: np.ndarray) -> float:
    """Share of images whose most similar caption has the true number, in [0, 1]."""
    return float((np.asarray(NUMBERS)[similarity.argmax(axis=1)] == numbers).mean())


def write_predictions(tables: dict[str, pd.DataFrame], variant: str, seed: int, path: str) -> None:
    """Publish the predictions of each checkpoint of one training run as one table."""
    frame = pd.concat(
        [
            table.assign(variant=variant, seed=seed, checkpoint=name)
            for name, table in sorted(tables.items())
        ]
    ).sort_values(["checkpoint", "index"])
    schema = pa.schema(
        [
            ("variant", pa.string()),
            ("seed", pa.int64()),
            ("checkpoint", pa.string()),
            ("index", pa.int32()),
            ("number", pa.int8()),
            ("similarity", pa.list_(pa.float32())),
            ("prediction", pa.int8()),
            ("tie", pa.bool_()),
            ("text_only", pa.int8()),
            ("expected", pa.float32()),
        ]
    )
    write_table(pa.Table.from_pandas(frame, schema=schema, preserve_index=False), path)


def baseline_and_runs(weights: Iterable[str]) -> dict[tuple[str, int], str | None]:
    """(variant, seed) -> weights: the pretrained baseline, and each <variant>/seed<seed>/<file>."""
    runs: dict[tuple[str, int], str | None] = {("baseline", 0): None}
    for file in weights:
        seed = int(Path(file).parent.name.removeprefix("seed"))
        runs[Path(file).parents[1].name, seed] = file
    return runs


def evaluate(
    checkpoints: dict[str, str | None],
    model: dict[str, Any],
    rows: Iterable[dict[str, Any]],
    variant: str,
    seed: int,
    path: str,
    *,
    replace: str = "once",
    accelerator: str = "cpu",
    precision: str = "32-true",
    batch: int = 64,
    threads: int = 1,
) -> None:
    """Publish the predictions of every checkpoint of a run on the benchmark.

    checkpoints: name -> weights (`embeddings.each_checkpoint`).
    rows: of `store.read_benchmark`.
    replace: `once` or `everywhere`: which occurrences of the number in a caption change.
    accelerator, precision: as lightning-fabric has them. batch: see `embed`; both it and where the
        model runs change rounding alone. threads: of a CPU.
    """
    fabric = fabric_of(accelerator, precision, threads)
    tables, questions = {}, None
    for name, clip in each_checkpoint(checkpoints, model, fabric):
        questions = questions or Questions.of(clip, rows, replace == "everywhere")
        image, text = embed(clip, questions.images, questions.tokens, batch, show=True)
        similarity = cosines(image, text)
        head = trained_head(checkpoints[name])
        tables[name] = predictions(
            similarity,
            questions.indices,
            questions.numbers,
            text_only(image, text),
            expected_counts(head, clip, image, questions, batch) if head else None,
        )
        log.info(
            "%s, seed %s, %s: %.2f %% of %d images, %d ties, on %s",
            variant, seed, name, 100 * accuracy(similarity, questions.numbers), len(similarity),
            tables[name]["tie"].sum(), fabric.device,
        )  # fmt: skip
    write_predictions(tables, variant, seed, path)
