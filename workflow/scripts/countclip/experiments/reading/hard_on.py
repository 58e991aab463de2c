"""What pairs of a batch of hard negatives are similar in."""

HARD_ON = {
    "image": ("image",),
    "question": ("question",),
    "answer": ("answer",),
    "both": ("image", "question"),
}
"""Embeddings by which pairs are clustered; `both` is what a model is asked."""
