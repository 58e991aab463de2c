"""What all rules share: wildcards, the spec and the code that make them rerun, their resources."""

import getpass
import os
import shlex
import sys
from pathlib import Path

# Snakemake puts its Python into shell commands as it stands, which a space in the path would break.
if Path(sys.executable).is_file():
    sys.executable = shlex.quote(sys.executable)

# Snakemake and torch want the user's name, which a user id in a container may not have.
try:
    getpass.getuser()
except (KeyError, OSError):
    os.environ.update(USER=f"uid{os.getuid()}")

from countclip.benchmarks.adapters import ADAPTERS
from countclip.data.addresses import check_addresses
from countclip.runtime.folders import files_of
from countclip.runtime.provenance import (
    canonical,
    code,
    digest_of_all,
    digests,
    sections,
)
from countclip.runtime.resources import is_ours, is_result, resource
from countclip.settings import (
    benchmarks,
    counting_sets,
    detector,
    experiments,
    gpus,
    laion,
    models,
    network,
    paths,
    retention,
    runs,
    soft_targets,
    variants,
    views,
    zero_shot,
)
from countclip.settings.results import targets

variants.refuse_labels(config)
paths.refuse_folders(config)


wildcard_constraints:
    part=r"[A-Za-z0-9._-]+",
    benchmark=r"[A-Za-z0-9_]+",
    variant=r"[A-Za-z0-9_]+|baseline-[A-Za-z0-9_]+",
    seed=r"\d+",
    set=r"[A-Za-z0-9_]+",
    task=r"[A-Za-z0-9_]+",
    model=r"[A-Za-z0-9_]+",
    name=r"[^/]+",
    form=r"onnx|engine",


if workflow.is_main_process:  # jobs need not read the files anew
    check_addresses(config)


MODIFIER = workflow.modifier  # while the rules are read, it is this workflow's


def prefixed(path):
    """A path that is no input, as a script sees it: in a module it lies under the prefix."""
    return path if is_ours(path) else str(MODIFIER.modify_path(path))


# ---- what triggers a rerun: the spec and the code of a rule, nothing else about them ----


def spec(*keys):
    """The sections of the config that a rule uses, as `spec("fetch", "model.name")`."""
    return canonical(sections(config, keys))


def view_spec(section, *keys, **more):
    """The spec of a table or figure of CountBench (settings/views.py)."""
    return canonical(views.view_settings(config, section, *keys, **more))


# ---- resources and costs ----


def growing(amount):
    """A resource that grows with each attempt: a job that ran out of it gets more the next time.

    Not for minutes where an attempt resumes the last one: they would outgrow a partition.
    """
    return lambda wildcards, attempt: amount * attempt


COSTS = f"results/costs/{config['scale']}"  # the scales never mix


def cost(job):
    """Where Snakemake writes what a job took: seconds, memory."""
    return f"{COSTS}/{job}.tsv"


# ---- inputs ----


def everything():
    """What a whole run makes; with `--report`, what is there of it, and how much is not."""
    audit = (
        ["results/countbench/audit.html"] if benchmarks.has_countbench(config) else []
    )
    files = ["results/report.html", *audit, *targets(config)]
    if not any(argument.partition("=")[0] == "--report" for argument in sys.argv):
        return files
    missing = [file for file in files if not Path(prefixed(file)).exists()]
    if missing and workflow.is_main_process:
        logger.warning(
            f"{len(missing)} of {len(files)} results are not there and so not in Snakemake's "
            f"report: {', '.join(missing[:3])} ... `snakemake --cores all` makes them."
        )
    return [file for file in files if file not in missing]


def config_inputs(*paths):
    """Files that the config names, as inputs of a rule.

    Every git checkout touches the workflow's own files, and Snakemake compares contents up to 1 MB
    alone; so their age does not count, and `code` reacts to their content.
    """
    return [
        ancient(resource(file)) if is_ours(file) else file
        for path in paths
        for file in files_of(path)
    ]


def listed(path):
    """A path of the config as a list: empty for null, or where a function gives an empty list."""
    return [path] if path else []


def list_digest(wildcards):
    """The digest of CountBench's list; none for another benchmark, whose links a rule lists."""
    is_other = "benchmark" in wildcards.keys()
    return () if is_other else digests(benchmarks.countbench_list(config))


def retention_digests(name):
    """The digests of the miniature's retention tasks; of a user's folder, `digests` has them."""
    folder = retention.source(config, name)["folder"]
    return "results/miniature/retention/digests.tsv" if is_result(folder) else []


def each_set(pattern):
    """One path for every counting set that is trained on."""
    return expand(pattern, set=counting_sets.trained_on(config))


def any_of(names):
    """A pattern that matches some ids and nothing else; of no ids, nothing at all."""
    return "|".join(sorted(names)) or r"[^\s\S]"


def of_origin(name):
    """The path of a file of the counting set that one is composed from."""
    return (
        lambda wildcards: f"results/counting_set/{counting_sets.origin(config, wildcards.set)}/{name}"
    )


def of_parts(stage, ending="parquet"):
    """The files of a stage that a counting set is made from."""
    return lambda wildcards: counting_sets.set_files(
        config, wildcards.set, stage, ending
    )


def of_set(pattern):
    """The path, for a variant's job, of a file of the counting set that it trains on."""
    return lambda wildcards: pattern.format(
        set=counting_sets.of_variant(config, wildcards.variant)
    )


def packed(pattern):
    """The path, for a variant's job, of images that are packed for its model."""

    def path(wildcards):
        filled = of_set(pattern)(wildcards) if "{set}" in pattern else pattern
        return models.packed_for(config, filled, wildcards.variant)

    return path


def packed_model(wildcards):
    """The model that a job packs images for: the one in its path, or the first."""
    name = wildcards.get("model")
    return config["models"][name] if name else config["model"]


def packed_model_files(wildcards):
    """The file that describes it, where open_clip does not know it by itself."""
    return config_inputs(*models.configs_of_model(packed_model(wildcards)))


def packed_model_digests(wildcards):
    return digests(*models.configs_of_model(packed_model(wildcards)))


def model_inputs(wildcards):
    """The files of the model of a variant's job."""
    return config_inputs(*models.model_files(config, wildcards.variant))


def with_model(wildcards, *keys, **more):
    """The spec of a variant's job: its model beside sections of the config."""
    model = models.model_of(config, wildcards.variant)
    return canonical(sections(config, keys) | {"model": model} | more)


def checkpoints(*names):
    """The weights of a run, each file named as its checkpoint; none for the pretrained baseline."""
    return lambda wildcards: (
        []
        if models.is_baseline(wildcards.variant)
        else expand(
            "results/training/{variant}/seed{seed}/{name}.safetensors",
            name=names,
            allow_missing=True,
        )
    )


def laion_manifest():
    """The table of LAION's parts. Of a person's, `manifest_line` says what counts, not its age.

    None where no counting set is made from LAION.
    """
    if not counting_sets.needs_laion(config):
        return []
    path = laion.manifest(config)
    return path if config["laion"]["manifest"] is None else ancient(path)


def set_detections(name):
    """The detections that a counting set is made with: none where captions alone decide."""
    if counting_sets.set_settings(config, name)["class_rule"] == "none":
        return []
    return counting_sets.set_files(config, name, "detections")


def adapter(name):
    """The adapter of a further benchmark, and its settings."""
    benchmark = benchmarks.benchmark_settings(config, name)
    return ADAPTERS[benchmark["source"]], benchmark


def listed_images(name):
    """The images that a benchmark's table lists, where its adapter reads such a table."""
    return (
        benchmarks.listed_images(config, name) if adapter(name)[0].lists_images else []
    )


def link_answers(name):
    """What the links of a benchmark's images answered, where no folder has the images."""
    reads, benchmark = adapter(name)
    if not reads.needs_links or benchmark["images"] is not None:
        return []
    return "results/benchmarks/{benchmark}/answers.parquet"


def benchmark_files(wildcards):
    """The table and the images of a job's benchmark."""
    folder = benchmarks.benchmark_folder(config, wildcards.benchmark)
    return {
        "benchmark": f"{folder}/benchmark.parquet",
        "benchmark_images": f"{folder}/images.parquet",
    }


def packed_benchmark(wildcards):
    """The table and the packed images of a job's benchmark.

    Of a training it is the one that checkpoints are chosen on.
    """
    name = wildcards.get("benchmark") or benchmarks.main_benchmark(config)
    return {
        "benchmark": f"{benchmarks.benchmark_folder(config, name)}/benchmark.parquet",
        "benchmark_images": models.packed_for(
            config, f"results/evaluation/{name}/images.npy", wildcards.variant
        ),
    }
