"""Ask a language model which objects the captions of a set name, and count them."""

from countclip.data.llm_objects import PROMPT, Endpoint, Question
from countclip.experiments.soft_labels.caption_sets import CaptionSet
from countclip.experiments.soft_labels.llm_counts import count_llm_objects
from countclip.runtime.files import digest
from countclip.runtime.job import start
from countclip.runtime.resources import resource

spec = start(snakemake)  # noqa: F821
inputs, outputs, name = snakemake.input, snakemake.output, snakemake.wildcards.set  # noqa: F821
captions = spec["captions"]
path = captions.pop("path")
question = Question(**spec["question"])
folder = snakemake.params.answers  # noqa: F821
count_llm_objects(
    CaptionSet((resource(path),) if path else tuple(inputs.captions), **captions),
    question,
    Endpoint(**snakemake.params.endpoint),  # noqa: F821
    max_captions=spec["max_captions"],
    answers_jsonl=f"{folder}/{name}-{digest(PROMPT, question.body('').decode())}.jsonl",
    objects_parquet=outputs.objects,
    captions_parquet=outputs.captions,
    counts_json=outputs.counts,
    state=f"results/.state/ask_objects/{name}",
)
