"""What is asked of a model that is to find pictures by their count, and among which pictures?

A query is a number word and a noun. It ranks the pictures whose captions count that noun, that is
name it first behind their number word, and those whose number is the query's are the right ones.
Other pictures are no candidates: one that shows five dogs and does not say so would count as a
mistake, "ten children on a bench" shows no ten benches, and finding dogs among all else is no
counting. Beside these a query as "five objects" ranks all pictures.
"""

import logging

import pandas as pd

from countclip.data import nouns
from countclip.data.number_words import word_for

log = logging.getLogger(__name__)

ALL, NAMED = "all pictures", "pictures of the noun"
RUN, QUERY = ["variant", "seed"], ["candidates", "query", "number"]


def pools(
    captions: dict[int, str], numbers: dict[int, int], table: str, anything: str | None
) -> pd.DataFrame:
    """Which pictures each noun's queries rank: candidates, noun, index.

    captions, numbers: of the benchmark, by index. table: of the nouns (nouns.Nouns). anything: the
    noun of the queries that rank all pictures; None for no such queries.
    """
    plurals = nouns.plurals(table)
    known = nouns.Nouns(table, dict(enumerate(plurals)))
    words = list(plurals.values())
    counted = {i: known.first(text, word_for(text, numbers[i]).end) for i, text in captions.items()}
    log.info(
        "%d of %d captions count no noun of the table",
        sum(not found for found in counted.values()),
        len(counted),
    )
    rows = [(NAMED, words[noun], index) for index, found in counted.items() for noun in found]
    rows += [(ALL, anything, index) for index in captions if anything]
    if not rows:
        raise ValueError(
            f"{table}: no caption of the benchmark counts any of its nouns, so there is nothing to "
            "ask for: set retrieval.anything, or counting_set.nouns to another table"
        )
    columns = ["candidates", "noun", "index"]
    pool = pd.DataFrame(rows, columns=columns).drop_duplicates()  # classes may share a plural
    return pool.sort_values(columns, ignore_index=True)
