"""The objective of a training: what the loop minimises, resumes and publishes."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from countclip.model.libraries import Fabric
from countclip.training import checkpoints


class Objective(nn.Module, ABC):
    """What a training minimises, as one module of all that it trains: a model, and any head,
    adapter or learnt word of its own.

    A submodule or parameter that is an attribute moves to the device, enters the optimizer and the
    checkpoints, and so resumes bit for bit. All chance in it must follow from the seeds.

    micro_batch: samples that are computed at a time; None computes the whole batch at once.
    """

    micro_batch: int | None = None

    def setup(self, fabric: Fabric) -> None:
        """Freeze and add parameters, and move all to the device of `fabric`. Torch's generator has
        the run's seed by then; a resumed run loads its checkpoint afterwards."""
        self.to(fabric.device)

    def groups(self) -> list[dict[str, Any]]:
        """Groups of parameters to train, as torch has them: `params`, and `lr` (absolute, its
        highest) and `weight_decay` where they differ from the settings of the optimizer."""
        return [{"params": [one for one in self.parameters() if one.requires_grad]}]

    @abstractmethod
    def backward(self, batch: Any, seed: int) -> dict[str, Tensor]:
        """Give the parameters, which have no gradients, those of a batch: of all its samples, on
        every process. Returns its losses by name, detached; `loss` is what was minimised."""

    def after_step(self) -> None:
        """Mend parameters after the optimizer has moved them, such as the clamp of a scale."""

    def columns(self) -> dict[str, float]:
        """Further columns of the history, of the parameters as they are."""
        return {}

    def save(self, path: str | Path, metadata: dict[str, Any]) -> None:
        """Publish the weights that a training results in."""
        checkpoints.save(self, path, metadata)
