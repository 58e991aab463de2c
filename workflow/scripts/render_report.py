"""The page over a run: what it found, from what, how, and at what cost."""

from countclip.report import run_page
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
given = snakemake.input  # noqa: F821
run_page.render_report(
    given.table1,
    given.table1_markdown,
    list(given.results),
    given.funnels,
    given.benchmark,
    given.further,
    given.models,
    given.pages,
    given.template,
    snakemake.output.page,  # noqa: F821
    scale=spec["scale"],
    costs=snakemake.params.costs,  # noqa: F821
    gpus=snakemake.params.gpus,  # noqa: F821
    config=snakemake.config,  # noqa: F821 as it is found: what decides a result is in its own spec
)
