"""open_clip, torchvision and lightning-fabric, without the parts that cost more than torch itself.

torchvision, timm and lightning-fabric import torch's compiler for models that are compiled, and
timm imports wandb to log. Nothing here compiles or logs there, and every job would pay for both
(perf/startup.py). So the compiler is a stand-in while the three are imported, and again torch's own
afterwards; wandb counts as not installed. torch's optimizers ask for the compiler too (`fit`).
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

COMPILER = ("torch._dynamo", "torch._dynamo.utils", "torch._inductor", "torch._inductor.config")


class OptimizedModule:
    """A compiled module, as lightning-fabric asks for; nothing is an instance of it."""


def disable(function: Callable | None = None, *_: Any, **__: Any) -> Callable:
    """The decorator that keeps the compiler off a function."""
    return (lambda decorated: decorated) if function is None else function


@contextmanager
def no_compiler() -> Iterator[None]:
    """Let torch's compiler be a stand-in within the block, unless it is imported already."""
    sys.modules.setdefault("wandb", None)
    if any(name in sys.modules for name in COMPILER):
        yield
        return
    modules = {name: ModuleType(name) for name in COMPILER}
    compiler, utils = modules["torch._dynamo"], modules["torch._dynamo.utils"]
    compiler.OptimizedModule, compiler.disable, compiler.utils = OptimizedModule, disable, utils
    compiler.graph_break = lambda: None
    utils.is_compile_supported = lambda device: False
    sys.modules.update(modules)
    try:
        yield
    finally:
        for name in modules:
            sys.modules.pop(name, None)


with no_compiler():
    import open_clip as open_clip
    from lightning_fabric import Fabric as Fabric
    from lightning_fabric.loggers import Logger as Logger
    from lightning_fabric.loggers import TensorBoardLogger as TensorBoardLogger
    from lightning_fabric.plugins.environments import LightningEnvironment as LightningEnvironment
    from lightning_fabric.utilities import rank_zero_only as rank_zero_only
    from torchvision import datasets as datasets
    from torchvision import transforms as transforms
