import sys
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.logging import logger
from snakemake.utils import min_version, update_config, validate

min_version("9.20")


HOME = Path(workflow.current_basedir.get_path_or_uri(secret_free=True))

sys.path.insert(0, str(HOME / "workflow" / "scripts"))

from countclip.settings import added_variants, config_files, models, variants

DEFAULTS = [str(file) for file in config_files.DEFAULTS]

ON_COMMAND_LINE = workflow.config_settings

for file in (*DEFAULTS, *ON_COMMAND_LINE.configfiles):
    config_files.refuse_repeated_keys(file)
config_files.refuse_text_nulls(ON_COMMAND_LINE.config)

if workflow.is_main_process and workflow.modifier.is_main_snakefile():
    overlays = [
        (str(file), load_configfile(file)) for file in ON_COMMAND_LINE.configfiles
    ]
    if ON_COMMAND_LINE.config:
        overlays.append(("--config", ON_COMMAND_LINE.config))
    logger.info(config_files.summary(overlays))
    if dropped := config_files.dropped_files(sys.argv):
        logger.warning(
            f"--configfile stands more than once, and Snakemake reads the last alone, without "
            f"{', '.join(dropped)}. Name all files after one --configfile."
        )


if workflow.modifier.skip_configfile:
    # A module with `config:`, for which Snakemake reads no configfile: it is laid over the default.
    overlay, config = config, config_files.default()
    update_config(config, overlay)
else:
    # Snakemake begins with what --configfile says, so a variant that it touches would come first in
    # the table. Cleared, the default's order holds, and the overlay is laid over it all the same.
    config.clear()


configfile: DEFAULTS[0]
configfile: DEFAULTS[1]
configfile: DEFAULTS[2]
configfile: DEFAULTS[3]


if not (workflow.modifier.is_main_snakefile() or workflow.modifier.skip_configfile):
    # A module without `config:`: what else --configfile says is the outer workflow's.
    config = {key: config[key] for key in config_files.default()}


try:
    validate(config, str(HOME / "workflow" / "schemas" / "config.schema.yaml"))
except WorkflowError as error:
    # jsonschema's own; to it Snakemake adds the whole schema, 4,000 lines.
    wrong = error.__context__
    key = ".".join(map(str, wrong.absolute_path)) or "config"
    is_type = wrong.validator == "type"
    advice = is_type and config_files.advice(
        list(wrong.absolute_path), wrong.instance, ON_COMMAND_LINE.config
    )
    raise WorkflowError(
        f"{key}: {config_files.complaint(wrong)}\n"
        f"{advice or 'config/README.md has every key and its values.'}"
    ) from None


added_variants.add_ordinal(config)
added_variants.add_soft(config)
variants.keep_only(config)
models.set_default(config)


include: "workflow/rules/common.smk"
include: "workflow/rules/miniature.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/benchmarks.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/ordinal.smk"
include: "workflow/rules/soft_labels.smk"
include: "workflow/rules/reading.smk"
include: "workflow/rules/report.smk"


rule all:
    default_target: True
    input:
        everything(),
    localrule: True


# What `all` would run, why, and about what it would cost; runs nothing else. For any config:
# `snakemake plan --configfile config/paper.yaml`.
rule plan:
    log:
        "logs/plan.log",
    localrule: True
    conda:
        "environment.yml"
    threads: 1
    params:
        costs=prefixed(COSTS),
    script:
        "workflow/scripts/plan.py"
