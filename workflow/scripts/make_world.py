"""Make the miniature's world: a LAION-like table, a benchmark, and the answer of each link."""

from pathlib import Path

from countclip.runtime.job import start
from miniature.world import make_world

spec = start(snakemake)  # noqa: F821
make_world(Path(snakemake.output.world).parent, **spec["miniature"])  # noqa: F821
