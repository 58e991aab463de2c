"""Make the miniature's web: a LAION-like table, a twin of CountBench, and what answers for them."""

from pathlib import Path

from countclip.runtime.job import start
from miniature.world import make_world

spec = start(snakemake)  # noqa: F821
make_world(Path(snakemake.output.world).parent, **spec["miniature"])  # noqa: F821
