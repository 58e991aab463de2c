"""How is a CLIP fine-tuned? One loop for every variant; killed, it goes on where it was."""

import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.loggers import Logger
from lightning_fabric.plugins.environments import LightningEnvironment
from torch import Tensor, nn

from countclip.model.clip import LARGEST_LOGIT_SCALE, Clip
from countclip.runtime.files import progress, publish
from countclip.runtime.gpus import least_busy_gpu
from countclip.training import checkpoints, trainable
from countclip.training.batches import Batch
from countclip.training.checkpoints import Run
from countclip.training.cpu import prepare_process
from countclip.training.grad_cache import Objective
from countclip.training.optim import make_optimizer, rate_multiplier

log = logging.getLogger(__name__)


def fit(
    clip: Clip,
    batches: Any,
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
    tower, last_blocks, lora_rank: what is trained (`trainable.choose`).
    patience: end early when `watched`, a metric, has not risen for so many evaluations.
    micro_batch, devices: how a batch is split (`grad_cache.Objective`).

    Returns for each file of weights the step it is of.
    """
    if devices > batches.size:
        raise ValueError(
            f"training.devices is {devices}, but a batch has {batches.size} pairs to share:"
            " use fewer devices or raise training.batch_size"
        )
    fabric = Fabric(
        accelerator=accelerator,
        devices=least_busy_gpu(accelerator, devices),
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
    trainable.choose(
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
                        checkpoints.save(clip.model, path, about | {"step": run.step})
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
        checkpoints.save(clip.model, outputs["end"], about | {"step": run.step})
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
    trainable.train(model)
    losses = objective.backward(batch, seed)
    optimizer.step()
    optimizer.zero_grad()
    with torch.no_grad():
        model.logit_scale.clamp_(max=LARGEST_LOGIT_SCALE)
    return losses


LOGGED_STEPS = 20
"""Steps between two points of a logger's loss curve: each costs a GPU a stop."""


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
