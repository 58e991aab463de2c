"""Pretraining of a CLIP from random weights under one target of its contrastive loss."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from countclip.experiments.soft_labels.batches import Batches
from countclip.experiments.soft_labels.domains import Domains, read_descriptions, texts_of
from countclip.model.clip import Clip
from countclip.model.libraries import rank_zero_only
from countclip.runtime.files import write_json
from countclip.training import checkpoints
from countclip.training.checkpoints import Outputs
from countclip.training.contrastive import Contrastive
from countclip.training.cpu import patches_by_product
from countclip.training.loggers import open_loggers
from countclip.training.loop import fit
from countclip.training.settings import from_config
from countclip.training.soft_targets import ObjectSets, SoftClip, Targets, TargetSettings


def pretrain(
    pairs_parquet: str,
    images_npy: str,
    outputs: dict[str, str],
    state: str,
    metadata: dict[str, Any],
    *,
    model: dict[str, Any],
    target: dict[str, Any],
    seed: int,
    domains: Domains | None = None,
    batch_size: int,
    augment: str = "none",
    micro_batch: int | None = None,
    threads: int,
    loggers: Sequence[str] = (),
    **settings: Any,
) -> None:
    """Train a CLIP on packed pairs and publish its last weights; nothing selects among them.

    pairs_parquet, images_npy: of `pairs.pack`. outputs: `weights`, `history`, and `model`, a JSON
    of what they are of. model: `name` and `config` of `Clip`. target: of `TargetSettings`. seed: of
    the weights, the order of the pairs and the shuffle of objects, so that the trainings of all
    targets begin alike. domains: of texts that are drawn anew at each step; None takes the
    captions. settings: the other keys of `settings.from_config`.
    """
    torch.set_num_threads(threads)
    table, pixels = pd.read_parquet(pairs_parquet), np.load(images_npy, mmap_mode="r")
    torch.manual_seed(seed)
    clip = Clip(model["name"], None, model["config"])
    if settings["accelerator"] == "cpu":
        patches_by_product(clip.model)
    if pixels.shape[1] != clip.image_size:
        raise ValueError(
            f"soft_labels.pretraining.image_size is {pixels.shape[1]}, but {model['name']} sees"
            f" images of {clip.image_size}: set it to that, and leave out nets of another size"
        )
    objects = ObjectSets(table["objects"].tolist(), table["number"])
    texts, shares = [(caption,) for caption in table["caption"]], [1.0]
    if domains:
        classes = pd.read_csv(domains.classes_csv, keep_default_na=False)
        descriptions = read_descriptions(domains.descriptions_csv, classes["text"])
        texts = texts_of(table["caption"], table["objects"], classes, descriptions)
        shares = domains.in_order()
    tokens = clip.tokenize(text for row in texts for text in row)
    batches = Batches(
        pixels,
        table["index"].to_numpy(),
        tokens.reshape(len(texts), len(shares), -1),
        targets=Targets(TargetSettings(**target), objects, seed),
        size=batch_size,
        seed=seed,
        shares=shares,
        augment=augment,
        pad=clip.pad,
    )
    metadata = metadata | {"versions": checkpoints.versions()}
    with open_loggers(loggers, metadata) as watching:
        fit(
            Contrastive(clip, SoftClip(micro_batch), micro_batch=micro_batch),
            batches,
            dict,  # no metric on the way
            Outputs(outputs["history"], outputs["weights"]),
            state,
            metadata,
            **from_config(seed=seed, loggers=watching, **settings),
        )
    if rank_zero_only.rank == 0:  # of several processes one writes
        write_json(metadata, outputs["model"])
