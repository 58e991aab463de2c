"""Speed of training on a CPU: memory, the token table's gradient, patches."""

import ctypes
import os
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Gradients are allocated anew at each step. In pages of 4 kB the kernel needs longer to hand them
# out than the optimizer to read them. torch looks at this at its first allocation.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


def patches_by_product(model: torch.nn.Module) -> None:
    """Let a vision transformer cut its patches by a matrix product, which is what its first
    convolution is: in bfloat16 on a CPU the convolution's gradient took 7 % of a step and more.
    Weights and their names stay; other kinds of towers are left alone.
    """
    convolution = getattr(model.visual, "conv1", None)
    if getattr(convolution, "kernel_size", 0) == getattr(convolution, "stride", 1):
        convolution.forward = partial(_patches, convolution)


def _patches(convolution: torch.nn.Conv2d, images: Tensor) -> Tensor:
    """(n, 3, height, width) -> (n, d, rows, columns)."""
    n, channels, height, width = images.shape
    down, right = convolution.kernel_size
    cut = images.reshape(n, channels, height // down, down, width // right, right)
    cut = cut.permute(0, 2, 4, 1, 3, 5).flatten(3)
    return F.linear(cut, convolution.weight.flatten(1), convolution.bias).permute(0, 3, 1, 2)


class TokenGradient:
    """The gradient of the token table, in one place for the whole training.

    The table is a sixth of CLIP ViT-B/32, and a batch has a few dozen of its rows. To write 100 MB
    of zeros for the others at each step takes a CPU as long as several layers; here the rows of
    the last batch alone are made zero again.
    """

    def __init__(self, table: nn.Embedding, pad: int = 0) -> None:
        self.pad = torch.tensor([pad])  # which a tower may see behind the tokens of a batch
        table.sparse = True  # adds the rows that it has to what is there
        self.weight = table.weight
        self.gradient = torch.zeros_like(self.weight)
        self.dirty = torch.zeros(0, dtype=torch.int64)

    def prepare(self, tokens: Tensor) -> None:
        """Make way for the gradients of a batch with these tokens."""
        self.gradient[self.dirty] = 0
        self.weight.grad = self.gradient
        self.dirty = torch.cat([tokens.unique(), self.pad])


TRIM_THRESHOLD, TOP_PAD, MMAP_MAX = -1, -2, -4  # from glibc's malloc.h


def prepare_process(device: torch.device) -> None:
    """Let torch compute the same each time, and let the process keep its memory.

    A CPU's step frees all gradients and asks for them again. From the kernel that is 600 MB of new
    pages, a fifth of the step with bf16-mixed; from glibc, told not to give them back, nothing.
    """
    torch.use_deterministic_algorithms(True, warn_only=device.type != "cpu")
    torch.utils.deterministic.fill_uninitialized_memory = False  # costs time, and nothing reads it
    libc = ctypes.CDLL(None)
    if device.type == "cpu" and hasattr(libc, "mallopt"):  # other libraries than glibc have none
        for option, value in (MMAP_MAX, 0), (TRIM_THRESHOLD, -1), (TOP_PAD, 2**28):
            libc.mallopt(option, value)
