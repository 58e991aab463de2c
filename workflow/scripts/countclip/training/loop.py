"""The training loop of every objective; a killed run goes on to the same bytes."""

import logging
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from countclip.model.libraries import Fabric, LightningEnvironment, no_compiler
from countclip.runtime.files import progress, publish
from countclip.runtime.gpus import least_busy_gpu
from countclip.training.batches import BatchSource
from countclip.training.checkpoints import Metric, Outputs, Run
from countclip.training.cpu import prepare_process
from countclip.training.objective import Objective
from countclip.training.optim import make_optimizer, rate_multiplier
from countclip.training.settings import OptimizerSettings, RunSettings, ScheduleSettings

log = logging.getLogger(__name__)

LOGGED_STEPS = 20
"""Steps between two points of a logger's loss curve: each costs a GPU a stop."""


@no_compiler()
def fit(
    objective: Objective,
    batches: BatchSource,
    evaluate: Callable[[], dict[str, float]],
    outputs: Outputs,
    state: str,
    metadata: dict[str, Any],
    *,
    optimizer: OptimizerSettings,
    schedule: ScheduleSettings,
    run: RunSettings,
) -> dict[str, int]:
    """Train for `schedule.steps` steps and publish the weights and the history.

    evaluate: metrics of the objective as it is, each a column of the history. Called before the
        first step and `run.evaluations` times at even distances, the last time at the end.
    state: folder of the run so far, saved at every evaluation, every `run.checkpoint_minutes` and
        on SIGTERM, which ends the run with exit code 143. A run that was killed goes on from there,
        and its result is that of an undisturbed one; the folder is removed at the end.
    metadata: of the published weights, beside their step.

    Returns for each file of weights, `end` or a metric's, the step it is of.
    """
    fabric = _launch(run, batches.size)
    torch.manual_seed(run.seed)
    prepare_process(fabric.device)
    objective.setup(fabric)
    adam = make_optimizer(objective.groups(), optimizer)
    highest = [group["lr"] for group in adam.param_groups]
    steps, folder = schedule.steps, Path(state)
    points = {round(steps * (i + 1) / run.evaluations) for i in range(run.evaluations)}
    folder.mkdir(parents=True, exist_ok=True)

    def measure() -> dict[str, float]:
        return fabric.broadcast(evaluate() if fabric.is_global_zero else None)

    def step(number: int) -> dict[str, torch.Tensor]:
        """Move the parameters once; returns the losses before that."""
        multiplier = rate_multiplier(schedule, number)
        for group, rate in zip(adam.param_groups, highest, strict=True):
            group["lr"] = rate * multiplier
        objective.train()
        losses = objective.backward(batches.batch(number), number)
        adam.step()
        adam.zero_grad()
        objective.after_step()
        return losses

    so_far = Run.load(folder / "state.pt", objective, adam, fabric.device)
    if so_far.history:
        log.info("going on from step %d of %d", so_far.step, steps)
    else:
        so_far.history.append({"step": 0, "epoch": 0.0, **measure()})

    with (
        stop_signals() as signals,
        progress(total=steps, initial=so_far.step, unit="step", desc="train") as bar,
    ):
        saved = time.monotonic()
        while so_far.step < steps and not _stalled(so_far.history, outputs.best, run):
            try:
                losses = step(so_far.step)
            except torch.OutOfMemoryError as error:
                raise RuntimeError(
                    "the GPU's memory is full: set training.micro_batch below"
                    f" {objective.micro_batch or batches.size}, which takes longer and changes"
                    " rounding alone"
                ) from error
            so_far.count(losses)
            bar.update()
            if run.loggers and so_far.step % LOGGED_STEPS == 0:
                fabric.log_dict({name: float(value) for name, value in losses.items()}, so_far.step)
            evaluated = so_far.step in points
            if evaluated:
                rate = optimizer.learning_rate * rate_multiplier(schedule, so_far.step - 1)
                row = so_far.row(batches.steps_per_epoch, rate) | objective.columns() | measure()
                for metric in so_far.enter(row, outputs.best):
                    if fabric.is_global_zero:
                        path = folder / f"{metric.name}.safetensors"
                        objective.save(path, metadata | {"step": so_far.step})
                fabric.log_dict({f"evaluation/{name}": row[name] for name in row}, so_far.step)
                log.info(", ".join(f"{name} {value:.5g}" for name, value in row.items()))
            stop = _in_any_process(bool(signals), fabric)
            if evaluated or stop or time.monotonic() - saved > 60 * run.checkpoint_minutes:
                if fabric.is_global_zero:
                    so_far.save(folder / "state.pt", objective, adam)
                saved = time.monotonic()
            if stop:
                log.warning("stopped: step %d of %d is saved, run again", so_far.step, steps)
                fabric.barrier()  # nobody leaves before it is saved
                # Fabric kills the first process when it sees that another has failed.
                raise SystemExit(128 + signal.SIGTERM if fabric.is_global_zero else 0)

    if fabric.is_global_zero:
        objective.save(outputs.end, metadata | {"step": so_far.step})
        for metric in outputs.best:
            with publish(metric.path) as temporary:
                shutil.copyfile(folder / f"{metric.name}.safetensors", temporary)
        so_far.write_history(outputs.history)
        shutil.rmtree(folder)
    fabric.barrier()
    return {"end": so_far.step, **so_far.best}


def _launch(run: RunSettings, batch_size: int) -> Fabric:
    """The processes of a run, one a device, that share each batch."""
    if run.devices > batch_size:
        raise ValueError(
            f"training.devices is {run.devices}, but a batch has {batch_size} pairs to share:"
            " use fewer devices or raise training.batch_size"
        )
    fabric = Fabric(
        accelerator=run.accelerator,
        devices=least_busy_gpu(run.accelerator, run.devices),
        strategy="auto" if run.devices == 1 else "ddp",
        precision=run.precision,
        loggers=list(run.loggers),
        plugins=LightningEnvironment(),  # in a SLURM job of one task it would take one device alone
    )
    fabric.launch()
    in_bfloat16 = run.precision == "bf16-mixed" and fabric.device.type == "cuda"
    if in_bfloat16 and not torch.cuda.is_bf16_supported(including_emulation=False):
        log.warning("training.precision: this GPU only emulates bf16-mixed; try 32-true")
    return fabric


@contextmanager
def stop_signals() -> Iterator[list[int]]:
    """A list that stays empty until SIGTERM comes, as a cluster sends it before it kills."""
    signals: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield signals  # only the main thread may listen
        return
    before = signal.signal(signal.SIGTERM, lambda number, frame: signals.append(number))
    try:
        yield signals
    finally:
        signal.signal(signal.SIGTERM, before)


def _in_any_process(stop: bool, fabric: Fabric) -> bool:
    """Whether any process is to stop: all leave after the same step, or those that stay would wait
    for the one that left."""
    if fabric.world_size == 1:
        return stop
    return bool(fabric.all_reduce(torch.tensor(int(stop)), reduce_op="sum"))


def _stalled(
    history: list[dict[str, float]], metrics: tuple[Metric, ...], run: RunSettings
) -> bool:
    """Whether the metric `run.watched` has not improved for `run.patience` evaluations."""
    if run.patience is None:
        return False
    metric = {metric.name: metric for metric in metrics}[run.watched]
    values = [metric.height(row) for row in history]
    return len(values) - 1 - values.index(max(values)) >= run.patience
