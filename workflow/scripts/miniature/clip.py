"""Pretraining of the miniature's CLIP: the workflow's training loop on pairs of the miniature.

As the pretrained CLIP, it has seen few captions that say how many, and counts badly. This is done
once; the result is committed beside the digest of its recipe.
"""

import gzip
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from countclip.evaluation.counting import accuracy
from countclip.model.clip import Clip
from countclip.model.embeddings import similarities
from countclip.model.inputs import resize
from countclip.model.libraries import open_clip
from countclip.runtime.files import progress, publish, sha256, with_digest, write_json
from countclip.training.checkpoints import Outputs
from countclip.training.contrastive import Contrastive
from countclip.training.counting import Batches, Pairs
from countclip.training.loop import fit
from countclip.training.losses import CountClipLoss
from countclip.training.settings import from_config
from miniature import development
from miniature.scenes import draw
from miniature.world import pretraining_pairs, vocabulary


def cut_merges(words: Iterable[str], path: str | Path) -> int:
    """Write the BPE merges of CLIP's tokenizer that `words` need, in CLIP's order; return how many.

    The words get the same tokens as CLIP gives them; other text falls into smaller pieces. A small
    vocabulary keeps the embedding table of a small model small.
    """
    full = open_clip.get_tokenizer("ViT-B-32")
    parents = {first + second: (first, second) for first, second in full.bpe_ranks if first}
    needed: set[tuple[str, str]] = set()
    pending = [full.decoder[token] for word in words for token in full.encode(word)]
    while pending:
        if (merge := parents.get(pending.pop())) and merge not in needed:
            needed.add(merge)
            pending.extend(merge)
    lines = [" ".join(merge) for merge in sorted(needed, key=full.bpe_ranks.__getitem__)]
    text = "\n".join(["#version: cut from CLIP's", *lines])
    with publish(path) as temporary:
        temporary.write_bytes(gzip.compress(text.encode(), mtime=0))  # equal merges, equal bytes
    return len(lines)


NAME = "miniature-vit"
ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 64,
    "quick_gelu": True,
    "vision_cfg": {
        "image_size": 64,
        "patch_size": 8,
        "layers": 3,
        "width": 64,
        "head_width": 32,
        "pool_type": "avg",
    },
    "text_cfg": {"context_length": 32, "layers": 2, "width": 64, "heads": 2},
}


def build(
    name: str, architecture: dict[str, Any], words: Iterable[str], outputs: dict[str, str]
) -> Clip:
    """A network with random weights and a tokenizer for `words`; publish `config` and `merges`."""
    n_merges = cut_merges(words, outputs["merges"])
    text = architecture["text_cfg"] | {"vocab_size": 2 * 256 + n_merges + 2}
    write_json(architecture | {"text_cfg": text}, outputs["config"])
    return Clip(name, None, outputs["config"])


def draw_all(
    clip: Clip, scenes: Iterable[tuple[Any, str]], n: int, draw: Callable[[Any], Image.Image]
) -> tuple[np.ndarray, list[str]]:
    """Images (n, size, size, 3) of n scenes, as the network takes them, and their captions."""
    images = np.empty((n, clip.image_size, clip.image_size, 3), np.uint8)
    texts = []
    for number, (scene, words) in enumerate(progress(scenes, total=n, unit="scene", desc="draw")):
        images[number] = resize(draw(scene), clip.image_size)
        texts.append(words)
    return images, texts


def train(
    clip: Clip,
    batches: Any,
    evaluate: Callable[[], dict[str, float]],
    outputs: dict[str, str],
    state: str,
    made_by: dict[str, Any],
    *,
    train_logit_scale: bool,
    **settings: Any,
) -> None:
    """Train a network and publish `weights`, `history` and `recipe`.

    made_by: of `recipe`. settings: those of `settings.from_config`.
    """
    fit(
        Contrastive(clip, CountClipLoss(), train_logit_scale=train_logit_scale),
        batches,
        evaluate,
        Outputs(outputs["history"], outputs["weights"]),
        f"{state}/{made_by['digest'][:16]}",
        {"name": Path(outputs["weights"]).stem, "recipe": made_by["digest"]},
        **from_config(**settings),
    )
    weights = {"recipe": made_by, "sha256": sha256(outputs["weights"])}
    write_json(weights | evaluate(), outputs["recipe"])


def pretrain(
    outputs: dict[str, str],
    state: str,
    *,
    seed: int,
    pairs: int,
    named_share: float,
    test_scenes: int,
    threads: int,
    batch_size: int,
    evaluations: int,
    **settings: Any,
) -> None:
    """Train from random weights and publish `config`, `merges`, `weights`, `history`, `recipe`.

    pairs: how many there are; `named_share` of their captions name the number. test_scenes:
    development scenes to measure on. The other settings are those of `train`.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    clip = build(NAME, ARCHITECTURE, vocabulary(), outputs)
    images, texts = draw_all(clip, pretraining_pairs(pairs, seed, named_share), pairs, draw)
    plain = Pairs.plain(clip, images, np.arange(pairs), texts)
    nobody = np.zeros(0, np.int64)
    none = Pairs(images, nobody, plain.tokens[:0], nobody)
    batches = Batches(
        none, plain, size=batch_size, n_counting=0, counterfactuals=0, lambdas={}, seed=seed
    )
    scenes = development.questions(clip, test_scenes)

    def evaluate() -> dict[str, float]:
        similarity = similarities(clip, scenes.images, scenes.tokens)
        return {"development_accuracy": accuracy(similarity, scenes.numbers)}

    made_by = recipe(
        seed=seed, pairs=pairs, named_share=named_share, batch_size=batch_size, **settings
    )
    train(clip, batches, evaluate, outputs, state, made_by,
          seed=seed, evaluations=evaluations, **settings)  # fmt: skip


def recipe(**settings: Any) -> dict[str, Any]:
    """All that the weights follow from, and its digest: the pairs, the network, the settings."""
    some = pretraining_pairs(100, settings["seed"], settings["named_share"])
    made_by = {
        "looks": sha256(repr(list(some)).encode()),
        "network": ARCHITECTURE,
        "settings": settings,
    }
    return with_digest(made_by)
