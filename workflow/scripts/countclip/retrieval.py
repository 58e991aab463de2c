"""Does "five dogs" find pictures of five dogs? Retrieval by count, after Paiss et al. (2023).

A query is a number word and a noun. It ranks the pictures whose captions count that noun, that is
name it first behind their number word, and those whose number is the query's are the right ones.
Other pictures are no candidates: one that shows five dogs and does not say so would count as a
mistake, "ten children on a bench" shows no ten benches, and finding dogs among all else is no
counting. Beside these a query as "five objects" ranks all pictures.
"""

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from countclip import evaluation, nouns
from countclip.batches import resize
from countclip.captions import NUMBERS, WORDS, word_for
from countclip.files import write_table
from countclip.models import Clip

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


def retrieve(
    runs: Iterable[tuple[str, int, str | None]],
    model: dict[str, Any],
    rows: Iterable[dict[str, Any]],
    path: str,
    *,
    table: str,
    anything: str | None,
    prompt: str,
    accelerator: str = "cpu",
    precision: str = "32-true",
    threads: int = 1,
) -> None:
    """Publish how similar each query is to each of its candidates: variant, seed, candidates,
    query, number, index, similarity.

    runs: (variant, seed, weights); None stands for the pretrained weights.
    rows: of `pictures.read_benchmark`. prompt: a text with `{query}` in it.
    accelerator, precision, threads: as `evaluation.evaluate` has them.
    """
    fabric = evaluation.fabric_of(accelerator, precision, threads)
    pictures, captions, numbers, tables = [], {}, {}, []
    clip = Clip(model["name"], model["pretrained"], model["config"])
    for row in rows:  # resized one by one: full-size pictures of a benchmark fill the memory
        pictures.append(resize(row["image"], clip.image_size))
        captions[row["index"]], numbers[row["index"]] = row["caption"], row["number"]
    place = {index: i for i, index in enumerate(captions)}
    pool = pools(captions, numbers, table, anything).merge(
        pd.Series(NUMBERS, name="number"), how="cross"
    )
    pool["query"] = pool["number"].map(WORDS) + " " + pool["noun"]
    queries = {query: i for i, query in enumerate(pool["query"].unique())}
    tokens = clip.tokenize(prompt.format(query=query) for query in queries)
    asked = pool["query"].map(queries).to_numpy()
    candidate = pool["index"].map(place).to_numpy()
    for variant, seed, weights in runs:
        clip = Clip(model["name"], weights or model["pretrained"], model["config"])
        clip.model.to(fabric.device)
        with fabric.autocast():
            text = evaluation.embed_texts(clip, tokens)
            image = evaluation.embed_images(clip, np.stack(pictures), show=True)
        similarity = (image @ text.T).numpy()[candidate, asked]
        tables.append(pool.assign(variant=variant, seed=seed, similarity=similarity))
        log.info("%s, seed %s: %d queries, %d pictures", variant, seed, len(queries), len(place))
    columns = [*RUN, *QUERY, "index", "similarity"]
    write_table(pd.concat(tables, ignore_index=True)[columns], path)
