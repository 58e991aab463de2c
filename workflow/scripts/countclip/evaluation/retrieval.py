"""Retrieval by count, after Paiss et al. (2023): how well "five dogs" finds images of five dogs.

Measured is how similar each query is to each of its candidates (retrieval_queries.py).
"""

import logging
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from countclip.benchmarks.retrieval_queries import QUERY, RUN, pools
from countclip.data.number_words import NUMBERS, WORDS
from countclip.model import embeddings
from countclip.model.clip import Clip
from countclip.runtime.files import write_table

log = logging.getLogger(__name__)


def retrieve(
    runs: dict[tuple[str, int], str | None],
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

    runs: (variant, seed) -> weights (`embeddings.each_checkpoint`).
    rows: of `store.read_benchmark`. prompt: a text with `{query}` in it.
    accelerator, precision, threads: as `counting.evaluate` has them.
    """
    fabric = embeddings.fabric_of(accelerator, precision, threads)
    images, captions, numbers, tables = [], {}, {}, []
    clip = Clip(**model)
    for row in rows:  # resized one by one: full-size images of a benchmark fill the memory
        images.append(clip.preprocessing.resize(row["image"]))
        captions[row["index"]], numbers[row["index"]] = row["caption"], row["number"]
    place = {index: i for i, index in enumerate(captions)}
    pool = pools(captions, numbers, table, anything).merge(
        pd.Series(NUMBERS, name="number"), how="cross"
    )
    pool["query"] = pool["number"].map(WORDS) + " " + pool["noun"]
    queries = {query: i for i, query in enumerate(pool["query"].unique())}
    tokens = clip.tokenize(prompt.format(query=query) for query in queries)
    query = pool["query"].map(queries).to_numpy()
    candidate = pool["index"].map(place).to_numpy()
    for (variant, seed), clip in embeddings.each_checkpoint(runs, model, fabric):
        text = embeddings.embed_texts(clip, tokens)
        image = embeddings.embed_images(clip, np.stack(images), show=True)
        similarity = embeddings.cosines_of_all(image, text)[candidate, query]
        tables.append(pool.assign(variant=variant, seed=seed, similarity=similarity))
        log.info("%s, seed %s: %d queries, %d images", variant, seed, len(queries), len(place))
    columns = [*RUN, *QUERY, "index", "similarity"]
    write_table(pd.concat(tables, ignore_index=True)[columns], path)
