"""The rows of the table; a new reader is registered here."""

from dataclasses import dataclass
from typing import Literal

from countclip.experiments.reading.hard_on import HARD_ON

TREATED = {"negatives": "", "masked": ", masked"}
MIXED = {0.0: "", 0.5: ", half at random"}


@dataclass(frozen=True)
class Variant:
    """A reader and how it is trained.

    asks: what a query is made of (`model.ASKS`). trained: False for zero-shot.
    hard_on: clusters from which batches are drawn (`hard_on.HARD_ON`); None draws at random.
    treatment, random_share: of false negatives, and of pairs in a batch that are drawn at random.
    shuffle_answers: deals the training answers to the questions anew, a control.
    statements: whether the best answers of a first pass are put into statements, which are compared
        with the image alone (`statements.predict`).
    published: method in resources/reading_published.csv whose exact match stands beside it.
    """

    name: str
    label: str
    asks: str = "image+question"
    trained: bool = True
    hard_on: str | None = None
    treatment: Literal["negatives", "masked", "positives"] = "negatives"
    random_share: float = 1.0
    shuffle_answers: bool = False
    statements: bool = False
    published: str | None = None


NAIVE = "naive"
"""The row that all others are compared with."""


def _hard() -> list[Variant]:
    """Hard negatives: as published, and with either cause of a collapse taken away, or both."""
    published = {"image": "hard_image", "question": "hard_text", "both": "hard_both"}
    return [
        Variant(
            "_".join(
                filter(
                    None,
                    ("hard", hard_on, treatment != "negatives" and treatment, share and "mixed"),
                )
            ),  # fmt: skip
            f"hard on {'image and question' if hard_on == 'both' else hard_on}{masked}{mixed}",
            hard_on=hard_on,
            treatment=treatment,
            random_share=share,
            published=published.get(hard_on) if not (masked or mixed) else None,
        )
        for hard_on in HARD_ON
        for treatment, masked in TREATED.items()
        for share, mixed in MIXED.items()
    ]


VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("zero_shot_image", "zero-shot, image", asks="image", trained=False),
        Variant("zero_shot_question", "zero-shot, question", asks="question", trained=False),
        Variant("zero_shot", "zero-shot, image and question", trained=False, published="zero_shot"),
        Variant("statements", "zero-shot, statements", trained=False, statements=True),
        Variant("shuffled", "answers shuffled", shuffle_answers=True),
        Variant("question_alone", "question alone", asks="question"),
        Variant("image_alone", "image alone", asks="image", treatment="masked"),
        Variant(NAIVE, "naive", published="naive"),
        Variant("naive_masked", "naive, masked", treatment="masked"),
        *_hard(),
    )
}
"""By name, in the order of the rows."""
