"""Trainable parameters of a CLIP: all, one tower, the last blocks, or low-rank additions."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from countclip.model.clip import text_tower

TOWERS = {"both": ("image", "text"), "image": ("image",), "text": ("text",)}
HEADS = {"image": ("visual.ln_post.", "visual.proj"), "text": ("ln_final.", "text_projection")}
"""Parameters of each tower after its last block, by the beginning of their names."""
NO_TOWER = ("logit_scale", "logit_bias", "text_decoder.")
"""Parameters that no tower has."""


class LowRank(nn.Module):
    """W + B A with W frozen (LoRA; Hu et al., 2021, arXiv:2106.09685), as a parametrisation.

    A module that reads its `weight` gets the sum, whatever it then does with it. That is how
    `nn.MultiheadAttention` can have it, whose one matrix for queries, keys and values is no
    layer. B begins at zero, so training begins at the pretrained model.
    """

    def __init__(self, weight: Tensor, rank: int) -> None:
        super().__init__()
        self.a = nn.Parameter(weight.new_empty(rank, weight.shape[1]))
        self.b = nn.Parameter(weight.new_zeros(weight.shape[0], rank))
        nn.init.normal_(self.a, std=rank**-0.5)

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            return weight + self.b @ self.a


def choose(
    model: nn.Module,
    *,
    tower: str,
    last_blocks: int | None,
    lora_rank: int | None,
    logit_scale: bool,
) -> None:
    """Freeze what is not trained.

    tower: `both`, `image` or `text`. last_blocks: of each tower, so many blocks and what comes
    after them; None is all of it. lora_rank: train low-rank additions to the matrices of these
    blocks and nothing else; `state_dict` merges them. logit_scale: whether the logit scale is
    trained, and the bias where a model has one. A decoder of captions (CoCa's) stays as it is.
    """
    model.requires_grad_(False)
    for name in TOWERS[tower]:
        if last_blocks is None and lora_rank is None:
            for parameter in parameters(model, name).values():
                parameter.requires_grad_(True)
            continue
        part = model.visual if name == "image" else text_tower(model)
        blocks = list(getattr(getattr(part, "transformer", None), "resblocks", ()))
        if not blocks:
            raise ValueError(
                f"training.last_blocks and training.lora_rank need transformers of open_clip: the"
                f" {name} tower has no such blocks; set both to null"
            )
        n = len(blocks) if last_blocks is None else last_blocks
        if n > len(blocks):
            raise ValueError(
                f"training.last_blocks is {n}; the {name} tower has {len(blocks)} blocks"
            )
        for block in blocks[len(blocks) - n :]:
            if lora_rank is None:
                block.requires_grad_(True)
            else:
                _add_low_rank(block, lora_rank)
        if lora_rank is None:
            for key, parameter in parameters(model, name).items():
                is_head = key.removeprefix("text.").startswith(HEADS[name])
                parameter.requires_grad_(parameter.requires_grad or is_head)
    model.logit_scale.requires_grad_(logit_scale)
    if getattr(model, "logit_bias", None) is not None:
        model.logit_bias.requires_grad_(logit_scale)


def freeze_statistics(model: nn.Module) -> None:
    """Put the frozen batch norms of a model in evaluation mode: each batch would move their
    statistics, and with them what a tower computes that is not trained."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()


def parameters(model: nn.Module, tower: str) -> dict[str, nn.Parameter]:
    """Parameters of a tower by name; the text tower has what is outside `visual`, but not the logit
    scale and bias, and no decoder of captions."""
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if name.startswith("visual.") == (tower == "image") and not name.startswith(NO_TOWER)
    }


def _add_low_rank(block: nn.Module, rank: int) -> None:
    for module, name in (
        (block.attn, "in_proj_weight"),
        (block.attn.out_proj, "weight"),
        (block.mlp.c_fc, "weight"),
        (block.mlp.c_proj, "weight"),
    ):
        addition = LowRank(getattr(module, name), rank)
        parametrize.register_parametrization(module, name, addition)


def to_interpolate(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the parameters that are trained, by name, to interpolate from them later.

    Of a low-rank addition B A only B: it begins at zero, so alpha B A is alpha of the addition.
    """
    return {
        name: parameter.detach().clone()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and not (".parametrizations." in name and name.endswith(".a"))
    }


def state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The weights under their plain names, low-rank additions merged into them."""
    state = {
        name: tensor
        for name, tensor in model.state_dict().items()
        if ".parametrizations." not in name
    }
    with torch.no_grad():
        for path, module in model.named_modules():
            for name in getattr(module, "parametrizations", {}):
                state[f"{path}.{name}"] = getattr(module, name)
    return state
