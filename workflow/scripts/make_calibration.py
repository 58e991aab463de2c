"""Table of how often the detector counts right, by its settings."""

from countclip.report import calibration
from countclip.runtime.job import start
from countclip.runtime.resources import resource

spec = start(snakemake)  # noqa: F821
nouns = spec.pop("nouns")
calibration.make_calibration(
    snakemake.input.found,  # noqa: F821
    snakemake.output.csv,  # noqa: F821
    nouns_csv=nouns and resource(nouns),
    **spec,
)
