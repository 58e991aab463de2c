"""How is a CLIP fine-tuned? One loop for every variant; killed, it goes on where it was."""

import ctypes
import logging
import math
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import Logger
from lightning_fabric.plugins.environments import LightningEnvironment
from lightning_fabric.utilities import rank_zero_only
from torch import Tensor, nn

from countclip import balancing, models, tracking, tuning
from countclip.batches import Batch, Batches, Pairs
from countclip.devices import one_of
from countclip.evaluation import Questions, accuracy, similarities
from countclip.files import progress, publish, write_json, write_text
from countclip.losses import COUNTERFACTUALS, CountClipLoss
from countclip.models import Clip
from countclip.objective import Objective

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


TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # from glibc's malloc.h


def prepare_process(device: torch.device) -> None:
    """Let torch compute the same each time, and let the process keep what memory it was given.

    A CPU's step frees all gradients and asks for them again. From the kernel that is 600 MB of new
    pages, a fifth of the step with bf16-mixed; from glibc, told not to give them back, nothing.
    """
    torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs time, and nothing reads it
    libc = ctypes.CDLL(None)
    if device.type == "cpu" and hasattr(libc, "mallopt"):  # other libraries than glibc have none
        for option, value in (MMAP_MAX, 0), (TRIM_THRESHOLD, -1), (TOP_PAD, 2**28):
            libc.mallopt(option, value)


def fit(
    clip: Clip,
    batches: Batches,
    criterion: nn.Module,
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
    train_logit_scale: bool,
    precision: str,
    accelerator: str,
    seed: int,
    tower: str = "both",
    last_blocks: int | None = None,
    lora_rank: int | None = None,
    patience: int | None = None,
    watched: str | None = None,
    micro_batch: int | None = None,
    devices: int = 1,
    checkpoint_minutes: float = 10,
    loggers: Sequence[Logger] = (),
) -> dict[str, int]:
    """Train for `steps` steps and publish the weights and the history.

    criterion: what is minimised (losses.py).
    evaluate: model -> metrics, called before the first step and `evaluations` times at even
        distances, the last time at the end. A metric's column in the history has its name.
    outputs: `history` and `end` (the last weights), and for any metric its name -> a file for the
        weights at the point where the metric was highest, the earliest of equals.
    state: folder of the run so far, saved at every evaluation, every `checkpoint_minutes` and on
        SIGTERM, which ends the run with exit code 143. A run that was killed goes on from there,
        and its result is that of an undisturbed one; the folder is removed at the end.
    tower, last_blocks, lora_rank: what is trained (`tuning.choose`).
    patience: end early when `watched`, a metric, has not risen for so many evaluations.
    micro_batch, devices: how a batch is split (`objective.Objective`).

    Returns for each file of weights the step it is of.
    """
    if devices > batches.size:
        raise ValueError(
            f"training.devices is {devices}, but a batch has {batches.size} pairs to share:"
            " use fewer devices or raise training.batch_size"
        )
    fabric = Fabric(
        accelerator=accelerator,
        devices=one_of(accelerator, devices),
        strategy="auto" if devices == 1 else "ddp",
        precision=precision,
        loggers=list(loggers),
        plugins=LightningEnvironment(),  # in a SLURM job of one task it would take one device alone
    )
    fabric.launch()
    in_bfloat16 = precision == "bf16-mixed" and fabric.device.type == "cuda"
    if in_bfloat16 and not torch.cuda.is_bf16_supported(including_emulation=False):
        log.warning("training.precision: this GPU only emulates bf16-mixed; try 32-true")
    torch.manual_seed(seed)
    prepare_process(fabric.device)
    tuning.choose(
        clip.model,
        tower=tower,
        last_blocks=last_blocks,
        lora_rank=lora_rank,
        logit_scale=train_logit_scale,
    )
    clip.model.to(fabric.device)
    adam = make_optimizer(clip.model, optimizer, learning_rate, betas, epsilon, weight_decay)
    objective = Objective(clip, fabric, criterion, micro_batch=micro_batch)
    metrics = [name for name in outputs if name not in ("history", "end")]
    points = {round(steps * (i + 1) / evaluations) for i in range(evaluations)}
    folder = Path(state)
    folder.mkdir(parents=True, exist_ok=True)

    def measure() -> dict[str, float]:
        return fabric.broadcast(evaluate(clip) if fabric.is_global_zero else None)

    run = Run.load(folder / "state.pt", clip.model, adam, fabric.device)
    if run.history:
        log.info("going on from step %d of %d", run.step, steps)
    else:
        run.history.append({"step": 0, "epoch": 0.0, **measure()})

    with (
        asked_to_stop() as asked,
        progress(total=steps, initial=run.step, unit="step", desc="train") as bar,
    ):
        saved = time.monotonic()
        while run.step < steps and not _stalled(run.history, watched, patience):
            rate = learning_rate * rate_multiplier(schedule, run.step, steps)
            try:
                losses = _step(objective, adam, batches.batch(run.step), rate, seed=run.step)
            except torch.OutOfMemoryError as error:
                raise RuntimeError(
                    "the GPU's memory is full: set training.micro_batch below"
                    f" {micro_batch or batches.size}, which takes longer and changes rounding alone"
                ) from error
            run.count(losses)
            bar.update()
            if loggers and run.step % LOGGED_STEPS == 0:
                fabric.log_dict({k: float(v) for k, v in losses.items()}, run.step)
            evaluated = run.step in points
            if evaluated:
                row = run.row(clip.model, rate, batches.steps_per_epoch) | measure()
                for name in run.enter(row, metrics):
                    if fabric.is_global_zero:
                        path = folder / f"{name}.safetensors"
                        models.save(clip.model, path, about | {"step": run.step})
                fabric.log_dict({f"evaluation/{name}": row[name] for name in row}, run.step)
                log.info(", ".join(f"{name} {value:.5g}" for name, value in row.items()))
            stop = _in_any_process(bool(asked), fabric)
            if evaluated or stop or time.monotonic() - saved > 60 * checkpoint_minutes:
                if fabric.is_global_zero:
                    run.save(folder / "state.pt", clip.model, adam)
                saved = time.monotonic()
            if stop:
                log.warning("asked to stop: step %d of %d is saved, run again", run.step, steps)
                fabric.barrier()  # nobody leaves before it is saved
                # Fabric kills the first process when it sees that another has failed.
                raise SystemExit(128 + signal.SIGTERM if fabric.is_global_zero else 0)

    if fabric.is_global_zero:
        models.save(clip.model, outputs["end"], about | {"step": run.step})
        for name in metrics:
            with publish(outputs[name]) as temporary:
                shutil.copyfile(folder / f"{name}.safetensors", temporary)
        run.write_history(outputs["history"])
        shutil.rmtree(folder)
    fabric.barrier()
    return {"end": run.step, **run.best}


def _step(
    objective: Objective, optimizer: torch.optim.Optimizer, batch: Batch, rate: float, seed: int
) -> dict[str, Tensor]:
    """Move the weights once; returns the losses before that."""
    for group in optimizer.param_groups:
        group["lr"] = rate
    model = objective.clip.model
    tuning.train(model)
    losses = objective.backward(batch, seed)
    optimizer.step()
    optimizer.zero_grad()
    with torch.no_grad():
        model.logit_scale.clamp_(max=models.LARGEST_LOGIT_SCALE)
    return losses


LOGGED_STEPS = 20
"""Steps between two points of a logger's loss curve: each costs a GPU a stop."""


@dataclass
class Run:
    """Where a training run stands, besides the weights: what its end follows from.

    step: steps done. history: a row an evaluation. best: metric -> step at which it was highest.
    sums: of each loss over the `since` steps after the last evaluation. No random state: all
    chance is a function of the seed and the step.
    """

    step: int = 0
    history: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, int] = field(default_factory=dict)
    sums: dict[str, Tensor] = field(default_factory=dict)
    since: int = 0

    def count(self, losses: dict[str, Tensor]) -> None:
        """One more step, with these losses."""
        self.step += 1
        self.since += 1
        for name, value in losses.items():
            self.sums[name] = self.sums.get(name, 0) + value

    def row(self, model: nn.Module, rate: float, steps_per_epoch: int) -> dict[str, float]:
        """A row of the history without its metrics: the mean losses since the last one, and where
        the training stands. FloatingPointError: they are no numbers any more."""
        means = {name: float(value) / self.since for name, value in self.sums.items()}
        self.sums, self.since = {}, 0
        if not math.isfinite(means["loss"]):
            raise FloatingPointError(
                f"the loss is {means['loss']} by step {self.step};"
                " lower training.learning_rate or use precision 32-true"
            )
        return {
            "step": self.step,
            "epoch": round(self.step / steps_per_epoch, 4),
            **means,
            "learning_rate": rate,
            "logit_scale": model.logit_scale.exp().item(),
        }

    def enter(self, row: dict[str, float], metrics: Iterable[str]) -> list[str]:
        """Add an evaluation's row; returns which of `metrics` are higher than at any before it. The
        untouched model, the first row, is no candidate."""
        earlier = self.history[1:]
        risen = [name for name in metrics if all(row[name] > other[name] for other in earlier)]
        self.best |= dict.fromkeys(risen, self.step)
        self.history.append(row)
        return risen

    def write_history(self, path: str) -> None:
        # The first row has no losses, so the order of columns is the last one's.
        columns = dict.fromkeys(name for row in self.history[::-1] for name in row)
        table = pd.DataFrame(self.history, columns=list(columns))
        write_text(table.to_csv(index=False, float_format="%.6g", lineterminator="\n"), path)

    def save(self, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        with publish(path) as temporary:
            torch.save(
                {
                    "versions": models.versions(),
                    "run": vars(self),
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
                },
                temporary,
            )

    @classmethod
    def load(
        cls, path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, device: torch.device
    ) -> "Run":
        """The run that was saved, its weights put in place; a new one where there is none, or
        where other libraries computed it: half of each would be no run that anyone can repeat."""
        if not path.exists():
            return cls()
        kept = torch.load(path, map_location=device, weights_only=True)
        if kept["versions"] != models.versions():
            log.warning("%s is of other libraries, %s: starting anew", path, kept["versions"])
            return cls()
        model.load_state_dict(kept["model"])
        optimizer.load_state_dict(kept["optimizer"])
        return cls(**kept["run"])


@contextmanager
def asked_to_stop() -> Iterator[list[int]]:
    """A list that stays empty until SIGTERM comes, as a cluster sends it before it kills."""
    asked: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked  # only the main thread may listen
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: asked.append(number))
    try:
        yield asked
    finally:
        signal.signal(signal.SIGTERM, before)


def _in_any_process(asked: bool, fabric: Fabric) -> bool:
    """Whether any process is asked to stop: all leave after the same step, or those that stay would
    wait for the one that left."""
    if fabric.world_size == 1:
        return asked
    return bool(fabric.all_reduce(torch.tensor(int(asked)), reduce_op="sum"))


def _stalled(history: list[dict[str, float]], watched: str | None, patience: int | None) -> bool:
    """Whether `watched` has not risen above its best for `patience` evaluations."""
    if patience is None:
        return False
    values = [row[watched] for row in history]
    return len(values) - 1 - values.index(max(values)) >= patience


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
    steps: int | None,
    loss: str,
    lambda_scheme: str,
    lambda_0: float,
    normalise: str,
    counterfactuals: str,
    count_logit_scale: float | None,
    augment: str,
    micro_batch: int | None = None,
    threads: int,
    loggers: Sequence[str] = (),
    **settings: Any,
) -> None:
    """Train one variant with one seed on the counting set.

    counting, non_counting: the tables of the counting set; images: their pictures as one array
        (`batches.pack_images`), the counting rows first.
    benchmark: rows of `pictures.read_benchmark`, for the paper's protocol, which selects on them.
    outputs: `end`, `best` (of the benchmark's accuracy) and `selected` (of the held-out pairs'),
        the weights; `history`; `lambdas` (number, n, lambda); `model`, a JSON of what they are of.
    about: the variant, the seed, all settings and their digest, for that JSON and the weights.
    loggers: see `tracking.loggers`.
    settings: the other keys of the config's section `training`, handed to `fit`.
    """
    torch.set_num_threads(threads)
    clip = Clip(**model)
    pixels = np.load(images, mmap_mode="r")
    table, others = pd.read_parquet(counting), pd.read_parquet(non_counting)
    train = (table["split"] == "train").to_numpy()
    pairs = Pairs.counting(
        clip, pixels, np.flatnonzero(train), table["caption"][train], table["number"][train]
    )
    plain = Pairs.plain(clip, pixels, len(table) + np.arange(len(others)), others["caption"])
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
        fixed=counterfactuals == "fixed",
        augment=augment,
    )
    questions = {
        "heldout_accuracy": Questions.heldout(clip, counting, images),
        "benchmark_accuracy": Questions.of(clip, benchmark),
    }

    def evaluate(clip: Clip) -> dict[str, float]:
        return {
            name: accuracy(similarities(clip, asked.images, asked.tokens), asked.numbers)
            for name, asked in questions.items()
        }

    about = about | {"versions": models.versions()}
    with tracking.loggers(loggers, about) as watching:
        weights_of = fit(
            clip,
            batches,
            CountClipLoss(count_logit_scale, rows=micro_batch),
            evaluate,
            {
                "history": outputs["history"],
                "end": outputs["end"],
                "benchmark_accuracy": outputs["best"],
                "heldout_accuracy": outputs["selected"],
            },
            state,
            about,
            steps=steps or epochs * batches.steps_per_epoch,
            evaluations=epochs,
            seed=seed,
            watched="heldout_accuracy",
            micro_batch=micro_batch,
            loggers=watching,
            **settings,
        )
    if rank_zero_only.rank == 0:  # of several processes one writes
        rows = [{"number": k, "n": counts[k], "lambda": value} for k, value in lambdas.items()]
        table = pd.DataFrame(rows)
        write_text(table.to_csv(index=False, lineterminator="\n"), outputs["lambdas"])
        write_json(about | {"steps": weights_of}, outputs["model"])
