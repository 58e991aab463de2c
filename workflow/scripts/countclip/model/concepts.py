"""Concepts of counting that are coarser than numbers, and a head that tells the count from them."""

import json
from typing import NamedTuple

import torch
from safetensors import safe_open
from torch import Tensor

from countclip.data import captions
from countclip.model.clip import Clip
from countclip.model.heads import BoundedHead


class Concept(NamedTuple):
    """Words in the place of a number word, and the first and last number that they stand for."""

    words: str
    first: int
    last: int


CONCEPTS = (
    Concept("a pair of", 2, 2),
    Concept("a few", 3, 4),
    Concept("several", 5, 7),
    Concept("many", 8, 10),
)
"""From two to ten, without gaps."""


def concepts_of(numbers: Tensor) -> Tensor:
    """Index of the concept of each number of two to ten, int64 (n,)."""
    lasts = torch.tensor([concept.last for concept in CONCEPTS], device=numbers.device)
    return torch.searchsorted(lasts, numbers)


def concept_captions(clip: Clip, caption: str, number: int, everywhere: bool = False) -> list[str]:
    """The captions of one image with each concept in the place of its number word.

    They are cut as `inputs.nine_captions` cuts, with room for the longest concept. everywhere: as
    `captions.with_each_number` has it.
    """
    encode = clip.encode
    longest = max(len(encode(concept.words)) for concept in CONCEPTS)
    short = captions.truncate(caption, number, encode, clip.token_limit - longest + 1)
    word = captions.word_for(short, number)
    return [captions.replace_by(short, word, concept.words, everywhere) for concept in CONCEPTS]


class ConceptHead(BoundedHead):
    """The count of an image, from its similarity to each concept.

    It is the expected midpoint, each moved within its concept, so it lies within two and ten.
    logit_scale: factor on the cosines.
    """

    def __init__(self, logit_scale: float = 1.0) -> None:
        super().__init__(
            [(concept.first + concept.last) / 2 for concept in CONCEPTS],
            [(concept.last - concept.first) / 2 for concept in CONCEPTS],
        )
        self.register_buffer("logit_scale", torch.tensor(logit_scale))

    def logits(self, image: Tensor, captions: Tensor) -> Tensor:
        """(N, 4) of image embeddings (N, d) and those of their concept captions (N, 4, d)."""
        with torch.autocast(image.device.type, enabled=False):
            return self.logit_scale * torch.einsum("nd,nkd->nk", image, captions)


def trained_head(weights: str | None) -> ConceptHead | None:
    """The head that was trained with a file of weights; None where there is none.

    Its parameters stand in the file's header, as `Contrastive.save` writes them. ValueError for
    those of another head.
    """
    if weights is None:
        return None
    with safe_open(weights, framework="pt") as file:
        about = json.loads((file.metadata() or {}).get("about", "{}"))
    prefix = "count_loss.head."
    state = {
        name.removeprefix(prefix): torch.tensor(values)
        for name, values in about.get("criterion", {}).items()
        if name.startswith(prefix)
    }
    if not state:
        return None
    head = ConceptHead()
    try:
        head.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"{weights}: its header holds the head of another version; train it again. {error}"
        ) from error
    return head.eval()
