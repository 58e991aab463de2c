"""The report: one page over all results of a run."""

from countclip.report import run_page
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
inputs = snakemake.input  # noqa: F821
run_page.render_report(
    table1_csv=inputs.table1,
    results=inputs.results,
    funnels=inputs.funnels,
    audit_summary=inputs.get("benchmark") or None,
    benchmark_summaries=inputs.further,
    models=inputs.models,
    audit_page=inputs.get("audit") or None,
    template=inputs.template,
    page=snakemake.output.page,  # noqa: F821
    scale=spec["scale"],
    costs=snakemake.params.costs,  # noqa: F821
    gpus=snakemake.params.gpus,  # noqa: F821
    config=snakemake.config,  # noqa: F821 as it is found; no result follows from it
)
