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
from countclip.runtime.files import sha256, with_digest
from countclip.training.batches import Batch, Images
from miniature import signs
from miniature.clip import build, draw_all, train
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
EASY, HARD = 0.3, 0.75
"""Shares of all pairs: up to the first scenes are easy, from the second on all varies."""
WINDOW = 0.15
"""Share of all pairs, the latest, from which a step draws."""


def difficulty_at(share: float) -> Difficulty:
    """What varies in the scene at a share of all pairs, from 0 to 1."""
    grown = min(1.0, max(0.0, (share - EASY) / (HARD - EASY)))
    return Difficulty(
        look=min(1.0, 2 * grown), place=0.8 * min(1.0, 2 * grown), signs=1 + min(2, int(4 * grown))
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


def held_out() -> list[str]:
    """Words that no training shows, to choose its settings by: one in 24 of the seen ones."""
    return [*signs.words("seen")[::24]]


def scenes(n: int, seed: int) -> Iterator[tuple[Scene, str]]:
    """Yield n scenes that grow harder, with their captions."""
    apart = {*held_out()}
    known = [word for kind in ("sign", "seen") for word in signs.words(kind) if word not in apart]
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
        window = max(self.size, round(WINDOW * n))
        last = window + round((n - window) * min(1.0, step / (0.9 * self.steps)))
        rows = rng.choice(np.arange(last - window, last), self.size, False)
        nobody = torch.zeros(0)
        return Batch(
            Images(((self.images, rows),), "none", (self.seed, 2, step)),
            torch.from_numpy(self.tokens[rows].astype(np.int64)),
            torch.zeros(self.size, dtype=torch.int64),
            nobody,
        )


class Development:
    """Accuracy of naming the one word on a sign, among `n` trained and among `n` held-out words.

    The faces are seen ones. Words and faces that the word table calls unseen stay so.
    """

    def __init__(self, clip: Clip, n: int) -> None:
        self.clip, self.images, self.words = clip, {}, {}
        for kind, words in (("trained", signs.words("sign")), ("held_out", held_out())):
            self.words[kind] = list(words[:n])
            rngs = [
                np.random.default_rng([STREAMS["reading_base_test"], len(words), number])
                for number in range(n)
            ]
            made = [
                signs.make([word], rng, difficulty=Difficulty(place=0.8))
                for word, rng in zip(self.words[kind], rngs, strict=True)
            ]
            self.images[kind] = np.stack(
                [resize(signs.draw(scene), clip.image_size) for scene in made]
            )

    def __call__(self) -> dict[str, float]:
        found = {}
        for kind, images in self.images.items():
            text = embed_texts(self.clip, self.clip.tokenize(self.words[kind]))
            similarity = embed_images(self.clip, images) @ text.T
            hits = similarity.argmax(dim=1) == torch.arange(len(images))
            found[f"{kind}_words"] = float(hits.float().mean())
        return found


def pretrain(
    outputs: dict[str, str],
    state: str,
    *,
    seed: int,
    pairs: int,
    test_words: int,
    threads: int,
    steps: int,
    batch_size: int,
    evaluations: int,
    **settings: Any,
) -> None:
    """Train from random weights and publish `config`, `merges`, `weights`, `history`, `recipe`.

    pairs: scenes with captions. test_words: trained and held-out ones to measure on. The other
    settings are those of `clip.train`.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    clip = build(NAME, ARCHITECTURE, vocabulary(), outputs)
    images, texts = draw_all(clip, scenes(pairs, seed), pairs, signs.draw)
    batches = Growing(images, clip.tokenize(texts), size=batch_size, steps=steps, seed=seed)
    made_by = recipe(seed=seed, pairs=pairs, steps=steps, batch_size=batch_size,
                     **settings)  # fmt: skip
    train(clip, batches, Development(clip, test_words), outputs, state, made_by,
          seed=seed, steps=steps, evaluations=evaluations, **settings)  # fmt: skip


def recipe(**settings: Any) -> dict[str, Any]:
    """All that the weights follow from, and its digest: the pairs, the network, the settings."""
    some = list(scenes(100, settings["seed"]))
    pixels = b"".join(signs.draw(scene).tobytes() for scene, _ in some[::10])
    return with_digest(
        {
            "looks": sha256(repr(some).encode() + pixels),
            "network": ARCHITECTURE,
            "settings": settings,
        }
    )
