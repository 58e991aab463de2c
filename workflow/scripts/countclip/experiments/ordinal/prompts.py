"""Prompts of ordered concepts, such as "the person is a teenager.", and their text embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from countclip.model.clip import Clip, encode_text
from countclip.model.embeddings import embed_texts

PLACE = "{word}"
"""Where a prompt has the concept's word."""

BASE_RANKS = 3
"""Words that are learnt for all ranks together, as OrdinalCLIP published it."""


@dataclass(frozen=True)
class Layout:
    """Token ids (K, length) of K prompts, and where their words' T tokens are in them.

    rows, columns: int (T,), in the order of the prompts. before: tokens before the word.
    """

    tokens: np.ndarray
    rows: np.ndarray
    columns: np.ndarray
    before: int

    @property
    def ids(self) -> np.ndarray:
        """Token ids of the words, (T,)."""
        return self.tokens[self.rows, self.columns]


def lay_out(clip: Clip, prompt: str, words: Sequence[str]) -> Layout:
    """The prompts of `words`. ValueError for one that is too long for the model, or that has not
    exactly one place for its word."""
    if prompt.count(PLACE) != 1:
        raise ValueError(f"prompt {prompt!r}: write {PLACE} exactly once, where the word goes")
    before, after = (clip.tokenizer.encode(part) for part in prompt.split(PLACE))
    tokens = clip.tokenize(prompt.replace(PLACE, word) for word in words).astype(np.int64)
    lengths = []
    for word, row in zip(words, tokens, strict=True):
        own = clip.tokenizer.encode(word)
        expected = [*before, *own, *after]
        if len(expected) > clip.token_limit:
            raise ValueError(
                f"prompt {prompt!r} with {word!r} has {len(expected)} tokens, and the model takes"
                f" {clip.token_limit}: shorten it"
            )
        if not own or row[1 : 1 + len(expected)].tolist() != expected:
            raise ValueError(
                f"prompt {prompt!r} with {word!r}: the word's tokens cannot be told from the rest;"
                f" name a word, and put a space or punctuation on both sides of {PLACE}"
            )
        lengths.append(len(own))
    return Layout(
        tokens,
        np.repeat(np.arange(len(lengths)), lengths),
        np.concatenate([1 + len(before) + np.arange(length) for length in lengths]),
        len(before),
    )


class FixedPrompts(nn.Module):
    """Embeddings (K, d) of K prompts, encoded once: the text tower is frozen."""

    def __init__(self, clip: Clip, prompt: str, words: Sequence[str]) -> None:
        super().__init__()
        embeddings = embed_texts(clip, lay_out(clip, prompt, words).tokens)
        # A clone outside inference mode, which autograd may use.
        self.register_buffer("embeddings", embeddings.clone(), persistent=False)

    def forward(self, model: nn.Module) -> Tensor:
        return self.embeddings


class LearntPrompts(nn.Module):
    """Embeddings (K, d) of K prompts whose words are learnt, as token embeddings.

    words: (T, width), what they begin with; or fewer, (n, width), of which `shares` (T, n) makes T.
    context: whether the tokens before the word are learnt too, the same for all prompts.
    """

    def __init__(
        self,
        clip: Clip,
        layout: Layout,
        words: Tensor,
        *,
        shares: Tensor | None = None,
        context: bool = False,
    ) -> None:
        super().__init__()
        for name in ("tokens", "rows", "columns"):
            self.register_buffer(name, torch.from_numpy(getattr(layout, name)), persistent=False)
        self.register_buffer("shares", shares, persistent=False)
        self.words = nn.Parameter(words)
        self.context = None
        if context and layout.before:
            self.context = nn.Parameter(_table(clip)[self.tokens[0, 1 : 1 + layout.before]])

    @classmethod
    def of_words(
        cls, clip: Clip, prompt: str, words: Sequence[str], context: bool = False
    ) -> "LearntPrompts":
        """Each word with embeddings of its own, which begin as CLIP's."""
        layout = lay_out(clip, prompt, words)
        return cls(clip, layout, _table(clip)[layout.ids], context=context)

    @classmethod
    def of_ranks(cls, clip: Clip, prompt: str, words: Sequence[str]) -> "LearntPrompts":
        """Ranks of one token each, between `BASE_RANKS` that are learnt, and a learnt context.

        As in OrdinalCLIP (Li et al., 2022): base ranks lie at even distances, and rank k takes of
        each a share proportional to 1 - distance / (K - 1). A base rank begins as the mean token
        embedding of the word that is there.
        """
        last = len(words) - 1
        base = np.linspace(0, last, BASE_RANKS)
        nearness = 1 - np.abs(np.arange(len(words))[:, None] - base) / last
        shares = torch.from_numpy(nearness / nearness.sum(axis=1, keepdims=True)).float()
        there = lay_out(clip, prompt, [words[round(rank)] for rank in base])
        begin = [_table(clip)[there.ids[there.rows == i]].mean(0) for i in range(BASE_RANKS)]
        one_token = lay_out(clip, prompt, ["a"] * len(words))
        return cls(clip, one_token, torch.stack(begin), shares=shares, context=True)

    def forward(self, model: nn.Module) -> Tensor:
        replace = model.token_embedding.register_forward_hook(lambda *call: self._put(call[-1]))
        with replace:
            return encode_text(model, self.tokens)

    def _put(self, embedded: Tensor) -> Tensor:
        """Token embeddings (K, length, width) with the learnt ones in their places."""
        words = self.words if self.shares is None else self.shares @ self.words
        embedded = embedded.index_put((self.rows, self.columns), words)
        if self.context is None:
            return embedded
        context = self.context.expand(len(embedded), -1, -1)
        return torch.cat([embedded[:, :1], context, embedded[:, 1 + len(self.context) :]], dim=1)


def _table(clip: Clip) -> Tensor:
    return clip.model.token_embedding.weight.detach()
