"""Print what the main job would run, by Snakemake, as a plan; nothing is run."""

import contextlib
import io
import logging
import sys
from pathlib import Path

import yaml
from humanfriendly import parse_size
from snakemake import api
from snakemake.settings import types

from countclip.runtime.resources import HOME
from countclip.settings import plan

profile = yaml.safe_load((HOME / "profiles/default/profile.yaml").read_text(encoding="utf-8"))
triggers = types.RerunTrigger.parse_choices_set(profile["rerun-triggers"])
config = types.ConfigSettings(config=snakemake.config, replace_workflow_config=True)  # noqa: F821
output = types.OutputSettings(log_level_override=logging.ERROR, enable_file_logging=False)
with contextlib.redirect_stdout(io.StringIO()), api.SnakemakeApi(output) as snakemake_api:
    cores = types.ResourceSettings(cores=1)
    snakefile = HOME / "Snakefile"
    workflow = snakemake_api.workflow(cores, config_settings=config, snakefile=snakefile)
    settings = types.DAGSettings(
        targets={"all"},
        rerun_triggers=triggers,
        max_checksum_file_size=parse_size(profile["max-checksum-file-size"]),
    )
    workflow.dag(settings).summary()
    dag, records = workflow._workflow.dag, workflow._workflow.persistence
    jobs = [
        plan.Job(
            rule=job.rule.name,
            params=records._params(job),
            recorded=records.params(job.output[0]) if job.output else None,
            missing=bool(dag.reason(job).missing_output),
            is_direct=not dag.reason(job).derived,
        )
        for job in dag.needrun_jobs()
        if not job.rule.norun
    ]
costs = Path(snakemake.params.costs)  # noqa: F821
sys.stdout.reconfigure(errors="backslashreplace")  # a label may have letters that it lacks
print(plan.report(jobs, snakemake.config, costs, HOME / "resources/costs.csv"))  # noqa: F821
