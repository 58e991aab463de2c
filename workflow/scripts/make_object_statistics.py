"""The objects of all caption sets, beside those that AlignCLIP's authors published."""

from countclip.experiments.soft_labels.statistics import make_statistics
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
make_statistics(
    [
        *zip(spec["labels"].values(), snakemake.input.counts, strict=True),  # noqa: F821
        *zip(map(spec["labels"].get, spec["llm"]), snakemake.input.llm, strict=True),  # noqa: F821
    ],
    published_csv=snakemake.input.published,  # noqa: F821
    csv_path=snakemake.output.csv,  # noqa: F821
    json_path=snakemake.output.json,  # noqa: F821
    markdown_path=snakemake.output.markdown,  # noqa: F821
    scale=spec["scale"],
)
