"""Queries of retrieval by count, and the candidate images of each.

A query is a number word and a noun. Its candidates are the images whose captions count that noun:
it comes first behind their number word. Those with the query's number are relevant. Other images
are no candidates: an image of five dogs may have a caption that does not say so, "ten children on
a bench" shows no ten benches, and finding dogs among everything else is not counting. In addition,
queries such as "five objects" rank all images.
"""

import logging

import pandas as pd

from countclip.data import nouns
from countclip.data.number_words import word_for

log = logging.getLogger(__name__)

ALL, OF_NOUN = "all pictures", "pictures of the noun"
RUN, QUERY = ["variant", "seed"], ["candidates", "query", "number"]


def pools(
    captions: dict[int, str], numbers: dict[int, int], nouns_csv: str, anything: str | None
) -> pd.DataFrame:
    """The images that the queries of each noun rank: candidates, noun, index.

    captions, numbers: of the benchmark, by index. nouns_csv: see `nouns.Nouns`.
    anything: the noun of the queries that rank all images; None for no such queries.
    """
    plurals = nouns.plurals(nouns_csv)
    finder = nouns.Nouns(nouns_csv, dict(enumerate(plurals)))
    words = list(plurals.values())
    counted = {
        index: finder.first(text, word_for(text, numbers[index]).end)
        for index, text in captions.items()
    }
    log.info(
        "%d of %d captions count no noun of the table",
        sum(not found for found in counted.values()),
        len(counted),
    )
    rows = [(OF_NOUN, words[noun], index) for index, found in counted.items() for noun in found]
    rows += [(ALL, anything, index) for index in captions if anything]
    if not rows:
        raise ValueError(
            f"{nouns_csv}: no caption of the benchmark counts any of its nouns, so there is no"
            " query: set retrieval.anything, or counting_set.nouns to another table"
        )
    columns = ["candidates", "noun", "index"]
    pool = pd.DataFrame(rows, columns=columns).drop_duplicates()  # classes may share a plural
    return pool.sort_values(columns, ignore_index=True)
