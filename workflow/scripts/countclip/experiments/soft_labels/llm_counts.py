"""Objects of a caption set by a language model: asked, parsed and counted."""

import logging
import shutil
from collections import Counter
from pathlib import Path

import pyarrow as pa

from countclip.data.llm_objects import Answers, DroppedError, Endpoint, Question, ask, objects_of
from countclip.data.objects import Objects
from countclip.experiments.soft_labels.caption_sets import CaptionSet, files_of, read_captions
from countclip.experiments.soft_labels.object_counts import Store, write_objects
from countclip.runtime.files import write_json, write_table

log = logging.getLogger(__name__)

UNIT = "llm"
CAPTIONS = pa.schema({"caption": pa.string(), "objects": pa.list_(pa.string())})


def count_llm_objects(
    captions: CaptionSet,
    question: Question,
    endpoint: Endpoint,
    *,
    max_captions: int,
    answers_jsonl: str | Path,
    objects_parquet: str | Path,
    captions_parquet: str | Path,
    counts_json: str | Path,
    state: str | Path,
) -> None:
    """Write the objects of a caption set, those of each caption, and a JSON that counts both.

    max_captions: how many different captions are asked about, the first ones. answers_jsonl: the
    model's answers, which stay when the job is done, since they cost money. A caption without a
    usable answer is dropped, and counted by reason.
    """
    texts, dropped = first_captions(captions, max_captions)
    answers = Answers(answers_jsonl)
    failed = ask(texts, question, endpoint, answers)
    parser, store = Objects(), Store(state)
    shutil.rmtree(state, ignore_errors=True)
    found: dict[str, list[str]] = {}
    mentions: Counter[str] = Counter()
    for text, times in texts.items():
        try:
            if text in failed:
                raise DroppedError(failed[text])
            found[text] = sorted(objects_of(answers.of[text], parser))
        except DroppedError as error:
            dropped[str(error)] += times
            continue
        mentions.update(dict.fromkeys(found[text], times))
    store.add("all", {UNIT: mentions}, {})
    captions_of = sum(texts[text] for text in found)
    without = sum(texts[text] for text, objects in found.items() if not objects)
    counted = write_objects(store, UNIT, objects_parquet) | {"captions_without": without}
    shutil.rmtree(state)
    rows = {"caption": list(found), "objects": list(found.values())}
    write_table(pa.table(rows, schema=CAPTIONS), captions_parquet)
    result = {"captions": captions_of, "dropped": dict(dropped), "units": {UNIT: counted}}
    write_json(result, counts_json)
    log.info("%d captions; dropped: %s", captions_of, dict(dropped))


def first_captions(captions: CaptionSet, most: int) -> tuple[Counter[str], Counter[str]]:
    """How often each of the first `most` different captions occurs, and the dropped by reason."""
    texts: Counter[str] = Counter()
    dropped: Counter[str] = Counter()
    for file in files_of(captions):
        for batch in read_captions(file, captions):
            dropped += batch.dropped
            for text in batch.texts:
                if text in texts or len(texts) < most:
                    texts[text] += 1
                else:
                    dropped["over_max_captions"] += 1
    return texts, dropped
