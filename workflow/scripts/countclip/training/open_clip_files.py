"""Files beside trained weights by which other programs open them with open_clip."""

import os
from pathlib import Path

from countclip.model.clip import Clip
from countclip.runtime.files import publish, write_json


def write(clip: Clip, weights: str | Path, *, config: str | Path, link: str | Path) -> None:
    """Publish what open_clip reads of a folder (`local-dir:`).

    config: its `open_clip_config.json`. link: its `open_clip_model.safetensors`, the name that
    open_clip prefers, as a link to `weights` in the same folder. A tokenizer of Hugging Face puts
    its files there too.
    """
    folder = Path(config).parent
    write_json(clip.open_clip_config(), config)
    if hasattr(clip.tokenizer, "save_pretrained"):
        clip.tokenizer.save_pretrained(folder)
    with publish(link) as temporary:
        temporary.symlink_to(os.path.relpath(weights, folder))
