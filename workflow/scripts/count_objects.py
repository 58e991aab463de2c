"""Count the objects that the captions of a set name."""

from countclip.data.objects import UNITS
from countclip.experiments.soft_labels.caption_sets import CaptionSet
from countclip.experiments.soft_labels.object_counts import count_objects
from countclip.runtime.files import digest
from countclip.runtime.job import start
from countclip.runtime.resources import resource

if __name__ == "__main__":  # the processes that parse captions import this file
    spec = start(snakemake)  # noqa: F821
    path = spec.pop("path")
    name = snakemake.wildcards.set  # noqa: F821
    count_objects(
        CaptionSet((resource(path),) if path else tuple(snakemake.input.captions), **spec),  # noqa: F821
        objects={unit: snakemake.output[unit] for unit in UNITS},  # noqa: F821
        counts_json=snakemake.output.counts,  # noqa: F821
        state=f"results/.state/objects/{name}/{digest(*map(str, snakemake.params))}",  # noqa: F821
        processes=snakemake.threads,  # noqa: F821
    )
