"""How is a CLIP fine-tuned? One loop for every variant; killed, it goes on where it was."""

import logging
import math
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor, nn

from countclip import balancing, models
from countclip.batches import Batches, Pairs
from countclip.evaluation import Questions, accuracy, similarities
from countclip.files import progress, publish, write_text
from countclip.losses import COUNTERFACTUALS, ClipLoss, CountLoss
from countclip.models import Clip

log = logging.getLogger(__name__)

SCHEDULES = ("none", "warmup_cosine", "as_run", "cosine")


def rate_multiplier(schedule: str, step: int, steps: int) -> float:
    """The multiplier of the learning rate at `step` (from 0) of `steps`.

    none: 1. cosine: 1 to 0. warmup_cosine: linear to 1 over the first half, cosine to 0 over the
    second, as CountCLIP's text has it. as_run: what its code did, a ramp of five steps from 1/3 and
    then cosine restarts of five steps for ever (mean about 0.6).
    """
    if schedule == "none":
        return 1.0
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * step / steps))
    if schedule == "warmup_cosine":
        half = max(1, steps // 2)
        if step < half:
            return (step + 1) / half
        return 0.5 * (1 + math.cos(math.pi * (step - half) / max(1, steps - half)))
    if schedule == "as_run":
        if step < 5:
            return 1 / 3 + 2 / 3 * step / 5
        return 0.5 * (1 + math.cos(math.pi * ((step - 4) % 5) / 5))
    raise ValueError(f"unknown schedule {schedule!r}; use one of {', '.join(SCHEDULES)}")


def make_optimizer(
    model: nn.Module,
    name: str,
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
    weight_decay: float,
) -> torch.optim.Optimizer:
    """`adam`: L2 inside the gradient, on everything, as published. `adamw`: decoupled decay, and
    none on gains, biases and the logit scale."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    arguments: dict[str, Any] = {
        "lr": learning_rate, "betas": tuple(betas), "eps": epsilon, "fused": True,
    }  # fmt: skip
    if name == "adam":
        return torch.optim.Adam(trainable, weight_decay=weight_decay, **arguments)
    if name == "adamw":
        groups = [
            {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
            {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, **arguments)
    raise ValueError(f"unknown optimizer {name!r}; use adam or adamw")


class Objective(nn.Module):
    """L = L_CLIP + lambda L_count (Eq. 1) of one batch, with one pass of each tower.

    The images and captions of the whole batch make L_CLIP; the counterfactuals of its N counting
    pairs enter L_count alone (section 2.2 of the paper).
    """

    def __init__(self, clip: Clip, count_logit_scale: float | None) -> None:
        super().__init__()
        self.model = clip.model
        self.normalise = clip.normalise
        self.clip_loss = ClipLoss()
        self.count_loss = CountLoss(count_logit_scale)

    def forward(self, images: Tensor, tokens: Tensor, weights: Tensor) -> dict[str, Tensor]:
        size, n = len(images), len(weights)
        image = models.encode_image(self.model, self.normalise(images))
        text = models.encode_text(self.model, tokens)
        losses = {"loss_clip": self.clip_loss(image, text[:size], self.model.logit_scale.exp())}
        losses["loss_count"] = losses["loss_clip"].new_zeros(())
        if len(text) > size:
            counterfactuals = text[size:].reshape(n, -1, text.shape[1])
            captions = torch.cat([text[:n, None], counterfactuals], dim=1)
            losses["loss_count"] = self.count_loss(image[:n], captions, weights)
        losses["loss"] = losses["loss_clip"] + losses["loss_count"]
        return losses


def fit(
    clip: Clip,
    batches: Batches,
    evaluate: Callable[[Clip], dict[str, float]],
    outputs: dict[str, str],
    state: str,
    about: dict[str, Any],
    *,
    steps: int,
    evaluations: int,
    optimizer: str,
    learning_rate: float,
    betas: tuple[float, float],
    epsilon: float,
    weight_decay: float,
    schedule: str,
    count_logit_scale: float | None,
    train_logit_scale: bool,
    precision: str,
    accelerator: str,
    seed: int,
) -> None:
    """Train for `steps` steps and publish the weights and the history.

    evaluate: model -> metrics, called before the first step and `evaluations` times at even
        distances, the last time at the end. A metric's column in the history has its name.
    outputs: `history` and `end` (the last weights), and for any metric its name -> a file for the
        weights at the point where the metric was highest, the earliest of equals.
    state: folder of the run so far. A run that was killed goes on from its last evaluation point,
        and its result is that of an undisturbed one; the folder is removed at the end.
    """
    fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=fabric.device.type != "cpu")
    clip.model.logit_scale.requires_grad_(train_logit_scale)
    adam = make_optimizer(clip.model, optimizer, learning_rate, betas, epsilon, weight_decay)
    objective, adam = fabric.setup(Objective(clip, count_logit_scale), adam)
    best = [name for name in outputs if name not in ("history", "end")]
    points = {round(steps * (i + 1) / evaluations) for i in range(evaluations)}
    folder = Path(state)
    folder.mkdir(parents=True, exist_ok=True)
    saved = folder / "state.pt"
    if saved.exists():
        kept = torch.load(saved, map_location=fabric.device, weights_only=True)
        clip.model.load_state_dict(kept["model"])
        adam.load_state_dict(kept["optimizer"])
        history, first = kept["history"], kept["step"]
        log.info("going on from step %d of %d", first, steps)
    else:
        history, first = [{"step": 0, "epoch": 0.0, **evaluate(clip)}], 0

    sums: dict[str, Tensor] = {}
    since = 0
    bar = progress(range(first, steps), total=steps, initial=first, unit="step", desc="train")
    for step in bar:
        rate = learning_rate * rate_multiplier(schedule, step, steps)
        for group in adam.param_groups:
            group["lr"] = rate
        clip.model.train()
        batch = batches.batch(step).to(fabric.device)
        losses = objective(batch.images, batch.tokens, batch.weights)
        fabric.backward(losses["loss"])
        adam.step()
        adam.zero_grad()
        with torch.no_grad():
            clip.model.logit_scale.clamp_(max=models.LARGEST_LOGIT_SCALE)
        for name, value in losses.items():
            sums[name] = sums.get(name, 0) + value.detach()
        since += 1
        if step + 1 not in points:
            continue

        means = {name: float(value) / since for name, value in sums.items()}
        if not math.isfinite(means["loss"]):
            raise FloatingPointError(
                f"{outputs['history']}: the loss is {means['loss']} by step {step + 1};"
                " lower training.learning_rate or use precision 32-true"
            )
        sums, since = {}, 0
        row = {
            "step": step + 1,
            "epoch": round((step + 1) / batches.steps_per_epoch, 4),
            **means,
            "learning_rate": rate,
            "logit_scale": clip.model.logit_scale.exp().item(),
            **evaluate(clip),
        }
        for name in best:
            if all(row[name] > earlier[name] for earlier in history[1:]):
                models.save(clip.model, folder / f"{name}.safetensors", about | {"step": step + 1})
        history.append(row)
        log.info(", ".join(f"{name} {value:.5g}" for name, value in row.items()))
        with publish(saved) as temporary:
            torch.save(
                {
                    "model": clip.model.state_dict(),
                    "optimizer": adam.state_dict(),
                    "history": history,
                    "step": step + 1,
                },
                temporary,
            )

    models.save(clip.model, outputs["end"], about | {"step": steps})
    for name in best:
        with publish(outputs[name]) as temporary:
            shutil.copyfile(folder / f"{name}.safetensors", temporary)
    columns = dict.fromkeys(name for row in history[::-1] for name in row)
    table = pd.DataFrame(history, columns=list(columns))
    write_text(
        table.to_csv(index=False, float_format="%.6g", lineterminator="\n"), outputs["history"]
    )
    shutil.rmtree(folder)


def finetune(
    counting: str,
    non_counting: str,
    images: str,
    benchmark: Iterable[dict[str, Any]],
    outputs: dict[str, str],
    state: str,
    about: dict[str, Any],
    *,
    model: dict[str, Any],
    seed: int,
    batch_size: int,
    counting_per_batch: int,
    epochs: int,
    loss: str,
    lambda_scheme: str,
    lambda_0: float,
    normalise: str,
    threads: int,
    **settings: Any,
) -> None:
    """Train one variant with one seed on the counting set.

    counting, non_counting: the tables of the counting set; images: their pictures as one array
        (`batches.pack_images`), the counting rows first.
    benchmark: rows of `pictures.read_benchmark`, for the paper's protocol, which selects on them.
    outputs: as in `fit`, and `lambdas` (number, n, lambda).
    settings: the other keys of the config's section `training`, handed to `fit`.
    """
    torch.set_num_threads(threads)
    clip = Clip(**model)
    pixels = np.load(images, mmap_mode="r")
    table, others = pd.read_parquet(counting), pd.read_parquet(non_counting)
    train, heldout = (table["split"].to_numpy() == split for split in ("train", "heldout"))
    pairs = Pairs.counting(
        clip, pixels[: len(table)][train], table["caption"][train], table["number"][train]
    )
    plain = Pairs.plain(clip, pixels[len(table) :], others["caption"])
    counts = table["number"][train].value_counts().to_dict()
    lambdas = balancing.weights(counts, lambda_scheme, lambda_0, normalise)
    batches = Batches(
        pairs,
        plain,
        size=batch_size,
        n_counting=counting_per_batch,
        counterfactuals=COUNTERFACTUALS[loss],
        lambdas=lambdas,
        seed=seed,
    )
    held = table[heldout]
    questions = {
        "heldout_accuracy": Questions.of(
            clip,
            (
                {"index": i, "image": Image.fromarray(pixels[i]), **row}
                for i, row in zip(held.index, held.to_dict("records"), strict=True)
            ),
        ),
        "benchmark_accuracy": Questions.of(clip, benchmark),
    }

    def evaluate(clip: Clip) -> dict[str, float]:
        return {
            name: accuracy(similarities(clip, asked.images, asked.tokens), asked.numbers)
            for name, asked in questions.items()
        }

    rows = [{"number": k, "n": counts[k], "lambda": value} for k, value in lambdas.items()]
    write_text(pd.DataFrame(rows).to_csv(index=False, lineterminator="\n"), outputs["lambdas"])
    fit(
        clip,
        batches,
        evaluate,
        {name: path for name, path in outputs.items() if name != "lambdas"},
        state,
        about,
        steps=epochs * batches.steps_per_epoch,
        evaluations=epochs,
        seed=seed,
        **settings,
    )
