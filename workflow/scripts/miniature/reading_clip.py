"""Pretraining of the CLIP that the embedded reading set starts from.

Reading begins only where it begins easy: dark words on light boards in the middle. So the scenes
of a training grow harder: looks, then places, then several signs. Sign words fall into letters, for
the tokenizer has none of them, so a word that was never seen has tokens that were. This is done
once; the result is committed beside the digest of its recipe.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from countclip.model.clip import Clip
from countclip.model.embeddings import embed_images, embed_texts
from countclip.model.inputs import resize
from countclip.runtime.files import progress, sha256, with_digest, write_json
from countclip.training.batches import Batch, Images
from countclip.training.checkpoints import Outputs
from countclip.training.contrastive import Contrastive
from countclip.training.loop import fit
from countclip.training.losses import CountClipLoss
from countclip.training.settings import from_config
from miniature import signs
from miniature.clip import cut_merges
from miniature.scenes import STREAMS
from miniature.signs import BOARDS, Difficulty, Scene

NAME = "reading-vit"
ARCHITECTURE: dict[str, Any] = {
    "embed_dim": 96,
    "quick_gelu": True,
    "vision_cfg": {
        "image_size": 64,
        "patch_size": 8,
        "layers": 3,
        "width": 96,
        "head_width": 32,
        "pool_type": "avg",
    },
    "text_cfg": {"context_length": 40, "layers": 2, "width": 96, "heads": 3},
}
EASY = 0.5
"""Share of a training after which scenes begin to grow harder; at its end all varies."""
WINDOW = 0.4
"""Share of all pairs, the latest, from which a step draws."""


def difficulty_at(progress: float) -> Difficulty:
    """What varies at a share of the training, from 0 to 1."""
    grown = max(0.0, (progress - EASY) / (1 - EASY))
    return Difficulty(
        look=min(1.0, 2 * grown), place=min(0.8, 1.6 * grown), signs=1 + min(2, int(4 * grown))
    )


def caption(scene: Scene, rng: np.random.Generator) -> str:
    """What a scene's caption says: its words, mostly with the colours of their signs."""
    if rng.random() < 0.3:
        return " ".join(sign.word for sign in scene.signs)
    return " and ".join(f"a {sign.colour} sign that says {sign.word}" for sign in scene.signs)


def vocabulary() -> list[str]:
    """The words of captions and questions, but those that are read on signs."""
    texts = [*BOARDS, "yes", "no", "left", "right", "a sign that says and"]
    texts += [text for wordings in signs.QUESTIONS.values() for text in wordings]
    words = " ".join(texts).replace("?", " ").split()
    return sorted({word for word in words if "{" not in word})


def pairs(n: int, seed: int) -> Iterator[tuple[Scene, str]]:
    """Yield n scenes that grow harder, with their captions."""
    known = signs.words("sign") + signs.words("seen")
    for number in range(n):
        rng = np.random.default_rng([STREAMS["reading_base"], seed, number])
        difficulty = difficulty_at(number / n)
        chosen = rng.choice(len(known), int(rng.integers(1, difficulty.signs + 1)), replace=False)
        scene = signs.make([known[place] for place in chosen], rng, difficulty=difficulty)
        yield scene, caption(scene, rng)


class Growing:
    """Batches from pairs that grow harder: a step draws from the latest ones, by its progress."""

    def __init__(
        self, images: np.ndarray, tokens: np.ndarray, *, size: int, steps: int, seed: int
    ) -> None:
        self.images, self.tokens = images, tokens
        self.size, self.steps, self.seed = size, steps, seed

    @property
    def steps_per_epoch(self) -> int:
        return -(-len(self.images) // self.size)

    def batch(self, step: int) -> Batch:
        """The batch of a step, counted from 0: a function of the seed and the step alone."""
        n = len(self.images)
        rng = np.random.default_rng([self.seed, 1, step])
        last = round(n * min(1.0, WINDOW + (1 - WINDOW) * step / (0.9 * self.steps)))
        rows = rng.choice(np.arange(max(0, last - round(WINDOW * n)), last), self.size, False)
        nobody = torch.zeros(0)
        return Batch(
            Images(((self.images, rows),), "none", (self.seed, 2, step)),
            torch.from_numpy(self.tokens[rows].astype(np.int64)),
            torch.zeros(self.size, dtype=torch.int64),
            nobody,
        )


class Retrieval:
    """Accuracy of naming the one word on a sign, among 300 words of its kind."""

    def __init__(self, clip: Clip, per_kind: int) -> None:
        self.clip, self.images, self.words = clip, {}, {}
        for scene, kind, faces in signs.word_scenes(per_kind):
            self.images.setdefault((kind, faces), []).append(resize(signs.draw(scene), 64))
            self.words.setdefault(kind, list(signs.words(kind)[:per_kind]))

    def __call__(self) -> dict[str, float]:
        found = {}
        for (kind, faces), images in self.images.items():
            text = embed_texts(self.clip, self.clip.tokenize(self.words[kind]))
            similarity = embed_images(self.clip, np.stack(images)) @ text.T
            hits = similarity.argmax(dim=1) == torch.arange(len(images))
            found[f"{kind}_words_{faces}_faces"] = float(hits.float().mean())
        return found


def pretrain(
    outputs: dict[str, str],
    state: str,
    *,
    seed: int,
    pairs_drawn: int,
    test_words: int,
    threads: int,
    steps: int,
    batch_size: int,
    evaluations: int,
    **settings: Any,
) -> None:
    """Train from random weights and publish `config`, `merges`, `weights`, `history`, `recipe`.

    pairs_drawn: scenes with captions. test_words: of each kind, to measure on; they are drawn
    anew, and nothing is chosen by them. The other settings are those of `settings.from_config`.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    n_merges = cut_merges(vocabulary(), outputs["merges"])
    text = ARCHITECTURE["text_cfg"] | {"vocab_size": 2 * 256 + n_merges + 2}
    write_json(ARCHITECTURE | {"text_cfg": text}, outputs["config"])
    clip = Clip(NAME, None, outputs["config"])
    images = np.empty((pairs_drawn, clip.image_size, clip.image_size, 3), np.uint8)
    texts = []
    drawn = progress(pairs(pairs_drawn, seed), total=pairs_drawn, unit="scene", desc="draw")
    for number, (scene, words) in enumerate(drawn):
        images[number] = resize(signs.draw(scene), clip.image_size)
        texts.append(words)
    batches = Growing(images, clip.tokenize(texts), size=batch_size, steps=steps, seed=seed)
    evaluate = Retrieval(clip, test_words)
    made_by = recipe(seed=seed, pairs_drawn=pairs_drawn, steps=steps, batch_size=batch_size,
                     **settings)  # fmt: skip
    fit(
        Contrastive(clip, CountClipLoss()),
        batches,
        evaluate,
        Outputs(outputs["history"], outputs["weights"]),
        f"{state}/{made_by['digest'][:16]}",
        {"name": NAME, "recipe": made_by["digest"]},
        **from_config(steps=steps, evaluations=evaluations, seed=seed, **settings),
    )
    weights = {"recipe": made_by, "sha256": sha256(outputs["weights"])}
    write_json(weights | evaluate(), outputs["recipe"])


def recipe(**settings: Any) -> dict[str, Any]:
    """All that the weights follow from, and its digest: the pairs, the network, the settings."""
    some = list(pairs(100, settings["seed"]))
    pixels = b"".join(signs.draw(scene).tobytes() for scene, _ in some[::10])
    return with_digest(
        {
            "looks": sha256(repr(some).encode() + pixels),
            "network": ARCHITECTURE,
            "settings": settings,
        }
    )
