"""Architectures of the nets that are pretrained on stickers: `python -m miniature.sticker_nets`.

That writes resources/miniature/stickers/ anew: a file in open_clip's form for each net, and of
CLIP's tokenizer the merges that the captions need, which keep the table of tokens small.
"""

from pathlib import Path
from typing import Any

from countclip.runtime.resources import HOME
from miniature.clip import build
from miniature.stickers import CELL, SHEET_SIZE, vocabulary

FOLDER = HOME / "resources/miniature/stickers"


def _net(width: int, image_layers: int, text_layers: int) -> dict[str, Any]:
    return {
        "embed_dim": width,
        "quick_gelu": False,
        "vision_cfg": {
            "image_size": SHEET_SIZE,
            "patch_size": CELL,  # a patch then holds one sticker, which is learnt soon
            "layers": image_layers,
            "width": width,
            "head_width": 32,
            "pool_type": "avg",
        },
        "text_cfg": {
            "context_length": 40,
            "layers": text_layers,
            "width": width,
            "heads": width // 32,
        },
    }


NETS = {"stickers-small": _net(64, 2, 1), "stickers-large": _net(96, 3, 2)}


def write(folder: Path = FOLDER) -> None:
    """Write each net's configuration and its merges."""
    for name, net in NETS.items():
        endings = {"config": "json", "merges": "merges.txt.gz"}
        outputs = {of: str(folder / f"{name}.{ending}") for of, ending in endings.items()}
        build(name, net, vocabulary(), outputs)


if __name__ == "__main__":
    write()
