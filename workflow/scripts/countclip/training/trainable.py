"""Trainable parameters of a CLIP: all, one tower, the last blocks, or low-rank additions."""

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

TOWERS = {"both": ("image", "text"), "image": ("image",), "text": ("text",)}
HEADS = {"image": ("visual.ln_post.", "visual.proj"), "text": ("ln_final.", "text_projection")}
"""Parameters of each tower after its last block, by the beginning of their names."""


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
    blocks and nothing else; `state_dict` merges them. logit_scale: whether CLIP's is trained.
    """
    model.requires_grad_(False)
    for name in TOWERS[tower]:
        if last_blocks is None and lora_rank is None:
            for parameter in parameters(model, name).values():
                parameter.requires_grad_(True)
            continue
        part = model.visual if name == "image" else model
        if not hasattr(part, "transformer"):
            raise ValueError(
                f"training.last_blocks and training.lora_rank need transformers: the {name} tower"
                " has no blocks; set both to null"
            )
        blocks = list(part.transformer.resblocks)
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
                parameter.requires_grad_(parameter.requires_grad or key.startswith(HEADS[name]))
    model.logit_scale.requires_grad_(logit_scale)


def freeze_statistics(model: nn.Module) -> None:
    """Put the frozen batch norms of a model in evaluation mode: each batch would move their
    statistics, and with them what a tower computes that is not trained."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d) and not module.weight.requires_grad:
            module.eval()


def parameters(model: nn.Module, tower: str) -> dict[str, nn.Parameter]:
    """Parameters of a tower by name; the text tower has what is outside `visual`, but not the logit
    scale."""
    return {
        name: parameter
        for name, parameter in model.named_parameters()
        if name.startswith("visual.") == (tower == "image") and name != "logit_scale"
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
