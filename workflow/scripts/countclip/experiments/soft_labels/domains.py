"""Texts of three domains: the label of what a caption names, the caption, and a description.

A label is the names of the classes that the caption names ("an anchor and a star"), a description
their sentences. A caption that names no class, or none with a sentence, stays as it is.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pandas as pd

from countclip.runtime.csv_files import Columns, read_rows

DOMAINS = ("label", "caption", "description")
"""In the order of a pair's texts, and of shares."""


class Domains(NamedTuple):
    """classes_csv: of `pairs.count_classes`. descriptions_csv: class and description. shares: how
    often a text of each domain is drawn, by its name."""

    classes_csv: str
    descriptions_csv: str
    shares: dict[str, float]

    def in_order(self) -> list[float]:
        """The shares in the order of DOMAINS, scaled to a sum of one; ValueError if all are 0."""
        total = sum(self.shares.values())
        if not total > 0:
            raise ValueError("soft_labels.pretraining.domains.shares: all are 0; raise one of them")
        return [self.shares[name] / total for name in DOMAINS]


def read_descriptions(descriptions_csv: str, classes: Iterable[str]) -> dict[str, str]:
    """Class -> its sentence, from a CSV of a person; ValueError for one that is no class."""
    known = {name.lower(): name for name in classes}

    def row_of(fields: dict[str, str], line: int) -> tuple[str, str]:
        name = known.get(fields["class"].lower())
        if name is None:
            raise ValueError(f"{fields['class']!r} is no class of the test images; delete the line")
        if not fields["description"]:
            raise ValueError(f"{fields['class']} has no description; write one, or delete the line")
        return name, fields["description"]

    return dict(read_rows(descriptions_csv, Columns(("class", "description")), row_of))


def texts_of(
    captions: Sequence[str],
    objects: Sequence[Iterable[str]],
    classes: pd.DataFrame,
    descriptions: dict[str, str],
) -> list[tuple[str, str, str]]:
    """The texts of each pair in the order of DOMAINS.

    objects: of each caption. classes: of `pairs.count_classes`.
    """
    wanted = {row.text: set(row.objects.split("|")) for row in classes.itertuples() if row.objects}
    texts = []
    for caption, found in zip(captions, map(set, objects), strict=True):
        named = [text for text, needed in wanted.items() if needed <= found]
        sentences = [descriptions[text] for text in named if text in descriptions]
        label = " and ".join(map(with_article, named))
        texts.append((label or caption, caption, " and ".join(sentences) or caption))
    return texts


def with_article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
