"""The methods that are compared, each a row of the tables; a new one is registered here.

A method is decoded twice: `argmax`, the midpoint of the most probable concept, and `expectation`,
the value of its head. A head `expectation` is the expected midpoint, which needs no training. The
linear probe has a value alone.

`numclip_released` is what NumCLIP's code has. `numclip_exp` and `numclip_margin` are our reading of
the paper: mean-one weights by inference, the bounded head ours, no adapter and no learnt words.
"""

from dataclasses import dataclass, replace
from typing import Any, Literal


@dataclass(frozen=True)
class Method:
    """One method.

    losses: their sum is minimised, with weights of 1 (`objective.Ordinal`); none trains nothing.
        `image_to_text` and `text_to_image` are cross entropy and its KL over images, under FCRC's
        `form` and `normaliser` (`losses.Fcrc`).
    concepts: of the prompts, the bins' words or every whole number of the range.
    words: `fixed`; `learnt` as token embeddings; `learnt_context`, what stands before them too; or
        `ranks`, interpolated between learnt ones.
    bin_value: what a bin counts in the head, its midpoint or its start.
    distance: of two concepts, between their indices or their midpoints.
    margin: of FCRC's form `margin`, in units of cosine.
    """

    name: str
    label: str
    losses: tuple[str, ...] = ()
    form: Literal["plain", "exp", "logit", "margin"] = "plain"
    normaliser: Literal["mean_one", "sum_one", "as_released"] = "mean_one"
    distance: Literal["index", "value"] = "index"
    margin: float = 0.1
    head: Literal["expectation", "ratio", "bounded"] = "expectation"
    bin_value: Literal["midpoint", "start"] = "midpoint"
    concepts: Literal["bins", "numbers"] = "bins"
    words: Literal["fixed", "learnt", "learnt_context", "ranks"] = "fixed"
    adapter: bool = False


CE = ("image_to_text",)
BOTH_WAYS = ("image_to_text", "text_to_image")

METHODS = (
    Method("constant", "constant"),
    Method("linear_probe", "linear probe"),
    Method("zero_shot_numbers", "zero-shot, numbers", concepts="numbers"),
    Method("zero_shot_concepts", "zero-shot, concepts"),
    Method("rank_prompts", "rank prompts", BOTH_WAYS, concepts="numbers", words="ranks"),
    Method("coarse_ce", "CE", CE),
    Method("fcrc_exp", "FCRC, exp", CE, form="exp"),
    Method("fcrc_logit", "FCRC, logit", CE, form="logit"),
    Method("fcrc_margin", "FCRC, margin", CE, form="margin"),
    Method("ce_regressor", "CE + regressor", (*CE, "l1"), head="bounded"),
    Method("fcrc_exp_regressor", "FCRC, exp + regressor", (*CE, "l1"), form="exp", head="bounded"),
    Method("ce_kl_l1", "CE + KL + L1", (*BOTH_WAYS, "l1")),
    Method(
        "numclip_released",
        "NumCLIP, as released",
        (*BOTH_WAYS, "l1"),
        form="logit",
        normaliser="as_released",
        head="ratio",
        bin_value="start",
        words="learnt",
        adapter=True,
    ),
    Method("numclip_exp", "NumCLIP, exp", (*BOTH_WAYS, "l1"), form="exp", head="bounded"),
    Method("numclip_margin", "NumCLIP, margin", (*BOTH_WAYS, "l1"), form="margin", head="bounded"),
    Method("l1", "L1", ("l1",)),
    Method("sord", "SORD", ("sord",)),
    Method("emd", "EMD", ("emd",)),
)

BY_NAME = {method.name: method for method in METHODS}

UNTRAINED = tuple(method.name for method in METHODS if not method.losses)

TWO_BY_TWO = {
    ("CE", "without regressor"): "coarse_ce",
    ("CE", "with regressor"): "ce_regressor",
    ("FCRC", "without regressor"): "fcrc_exp",
    ("FCRC", "with regressor"): "fcrc_exp_regressor",
}
"""What FCRC and the regressor bring, alone and together: cells that differ in nothing else."""


def method_of(name: str, options: dict[str, Any] | None = None) -> Method:
    """A method by its name, with fields that `options` changes; ValueError for no such name."""
    if name not in BY_NAME:
        raise ValueError(f"unknown method {name!r}; use {', '.join(BY_NAME)}")
    return replace(BY_NAME[name], **options or {})
