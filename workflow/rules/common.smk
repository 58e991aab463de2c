"""What rules share: what makes them run again, what they need, their inputs and the targets."""

import csv
import sys
from pathlib import Path

sys.path.insert(0, str(HOME / "workflow" / "scripts"))

from countclip.runtime.provenance import (
    canonical,
    code,
    files_of,
    is_ours,
    resource,
    sections,
)


wildcard_constraints:
    part=r"[A-Za-z0-9._-]+",
    benchmark=r"[A-Za-z0-9_]+",
    variant=r"[A-Za-z0-9_]+",
    seed=r"\d+",
    set=r"[A-Za-z0-9_]+",
    task=r"[A-Za-z0-9_]+",
    name=r"[A-Za-z0-9._-]+",
    form=r"onnx|engine",


MODIFIER = workflow.modifier  # while the rules are read, it is this workflow's own


def placed(path):
    """A path as a script sees it, where it is no input: a module's lies under its prefix."""
    return path if is_ours(path) else str(MODIFIER.modify_path(path))


# ---- what triggers a rerun: the spec and the code of a rule, nothing else about them ----


def spec(*keys):
    """The sections of the config that a rule uses, and no others, as `spec("fetch", "model.name")`."""
    return canonical(sections(config, keys))


def look_spec(section, *keys, **more):
    """What a table or figure of CountBench follows from: the variants that a section of the config
    names, those of its keys that decide how they are shown, and more."""
    own = value_of(section)
    return canonical(
        {
            "benchmark": config["countbench"]["variant"],
            "variants": about(by=f"{section}.variants"),
            "scale": config["scale"],
        }
        | {key: own[key] for key in keys}
        | more
    )


def confusion_spec(wildcards):
    return look_spec(f"figures.confusion.{wildcards.figure}", "checkpoint")


def ablations_spec(wildcards):
    """All that the training of each variant follows from, and which of them the others change."""
    if reference() is None:
        raise WorkflowError(
            "results/ablations.csv needs a variant to compare the others with: name one that is "
            "trained as `reference`"
        )
    own = {
        name: settings(name) | {"counting_set": counting_set_of(name)}
        for name in variants()
    }
    return canonical({"settings": own, "reference": reference()})


# ---- what a job needs and what it has cost ----


def growing(amount):
    """A resource that grows with each attempt: a job that ran out of it gets more the next time.

    Minutes do not where an attempt goes on from the last one: they would outgrow a partition.
    """
    return lambda wildcards, attempt: amount * attempt


COSTS = f"results/costs/{config['scale']}"  # the scales never mix


def cost(job):
    """Where Snakemake writes what a job took: seconds, memory."""
    return f"{COSTS}/{job}.tsv"


def gpus_of(variant):
    """How many GPUs a training of this variant holds."""
    own = settings(variant)
    return 0 if own["accelerator"] == "cpu" else own["devices"]


def gpus():
    """How many GPUs a job holds, by how the name of its cost() begins."""
    trained = {f"train_variant/{name}_seed": gpus_of(name) for name in variants()}
    detects = int(config["detector"]["device"] != "cpu")
    evaluates = int(config["evaluation"]["accelerator"] != "cpu")
    evaluated = ("evaluate/", "measure_", "sweep_wise_ft/", "retrieve")
    return {
        "detect_objects/": detects,
        **dict.fromkeys(evaluated, evaluates),
        **trained,
    }


# ---- files that the config names ----


def given(*paths):
    """What the config names, as inputs of a rule.

    The workflow's own files are touched by every git checkout, and Snakemake compares contents up
    to 1 MB alone; so their age does not count, and `code` reacts to their content.
    """
    return [
        ancient(resource(file)) if is_ours(file) else file
        for path in paths
        for file in files_of(path)
    ]


def weights():
    """The detector's weights as it reads them: as the config names them, or exported once."""
    own = config["detector"]
    if own["export"] is None:
        return own["weights"]
    return f"results/weights/exported/{Path(own['weights']).stem}.{own['export']}"


def model_forms():
    """The file that describes the model, where open_clip does not know it by itself."""
    form = config["model"]["config"]
    return [] if form is None else [form]


def model_files():
    """The files that the base model is read from; a tag such as `openai` is none."""
    files, pretrained = model_forms(), config["model"]["pretrained"]
    if pretrained.endswith(".safetensors"):
        files.append(pretrained)
    for form in model_forms():
        merges = str(Path(form).with_name(f"{config['model']['name']}.merges.txt.gz"))
        files += [merges] if Path(resource(merges)).exists() else []
    return files


def nouns_of(name):
    """The table of nouns that a counting set is made with, if any."""
    own = set_settings(name)
    return [own["nouns"]] if "nouns" in own else []


def templates_of(*names):
    """The files of templates of some tasks; captions need none."""
    own = (config["retention"]["tasks"][name]["templates"] for name in names)
    return [path for path in own if path is not None]


def lock():
    """What the benchmark's links showed once, where a person keeps a record of it."""
    path = config["countbench"]["lock"]
    return [] if path is None else resource(path)


def intersection():
    """The list of rows that are counted, where the benchmark's variant says so."""
    if config["countbench"]["variant"] != "intersection":
        return []
    path = config["countbench"]["intersection"]
    if path is None:
        raise WorkflowError(
            "countbench.variant is `intersection`: countbench.intersection must name its list"
        )
    return resource(path)


def repair_files():
    """The pictures that repairs.csv names: another picture under an old name is another repair."""
    repairs = Path(resource(config["countbench"]["repairs"]))
    return files_named(repairs, "file", repairs.parent)


def own_pictures(name):
    """The pictures that a CSV of one's own names: another under an old name is another picture.

    Not those of a CSV that a rule makes, which are not there yet when this is asked first. What is
    published does not change.
    """
    own = further(name)
    table = Path(resource(own["path"]))
    if own["source"] != "folder" or table.is_relative_to("results"):
        return []
    return files_named(
        table, "image", Path(resource(own["images"] or str(table.parent)))
    )


def files_named(table, column, folder):
    """The files in a folder that a CSV of people names; none where it is not there."""
    if not table.is_file():
        return []
    # What cannot be read here is for the rule to say, with its line.
    try:
        with open(table, encoding="utf-8-sig", errors="replace", newline="") as lines:
            files = {
                folder / (line.get(column) or "").strip()
                for line in csv.DictReader(lines)
            }
    except csv.Error:
        return []
    # Files elsewhere are refused by the rule, which names their line.
    inside = folder.resolve()
    return sorted(
        str(file)
        for file in files
        if file.is_file() and file.resolve().is_relative_to(inside)
    )


def local_files():
    """The files of one's own that make_manifest hashes: those that begin with a part's name."""
    if config["laion"]["source"] != "local" or config["laion"]["manifest"] is not None:
        return []
    if config["laion"]["folder"] is None:
        raise WorkflowError(
            "laion.source: local needs laion.folder, where your files are"
        )
    folder = Path(config["laion"]["folder"])
    return sorted(
        {
            str(file)
            for part in config["laion"]["parts"]
            for file in folder.glob(f"{part}*.parquet")
        }
    )


# What to do about a config whose parts are on different networks.
OVER_PAPER = "or lay yours over the paper's: --configfile config/paper.yaml yours.yaml"


def benchmark_list():
    """CountBench's list, whose links are asked for on the config's network."""
    path = config["countbench"]["list"]
    if config["network"] == "internet" and Path(path).is_relative_to(
        "results/miniature"
    ):
        raise WorkflowError(
            f"countbench.list: the links of {path} are on the miniature's network alone, and network "
            f"is internet; name another list, {OVER_PAPER}"
        )
    return resource(path)


def manifest():
    """The table of parts: one that a person gives, the miniature's, or what make_manifest lists.

    Of one that is given `line_of` says what of it counts, and not its age.
    """
    own, source = config["laion"]["manifest"], config["laion"]["source"]
    # Files of one's own may be copies of the miniature's parts.
    if config["network"] == "miniature" and source not in ("miniature", "local"):
        raise WorkflowError(
            f"laion.source: {source} is on the internet, and network is miniature; set network: "
            f"internet and a countbench.list of yours, {OVER_PAPER}"
        )
    if own is not None:
        return ancient(resource(own))
    if source != "miniature":
        return "results/laion/manifest.tsv"
    if config["network"] != "miniature":
        raise WorkflowError(
            "laion.source: the miniature's parts are on the miniature's network alone; name "
            f"another source, set network: miniature, {OVER_PAPER}"
        )
    return "results/miniature/laion.tsv"


def line_of(wildcards):
    """What a given manifest says of one part, so that another part may be added to it.

    Nobody adds to one that a rule makes, and it counts as a whole.
    """
    own = config["laion"]["manifest"]
    if own is None or not (path := Path(resource(own))).is_file():
        return ""
    with open(path, encoding="utf-8") as lines:
        return next(
            (line.rstrip() for line in lines if line.startswith(f"{wildcards.part}\t")),
            "",
        )


# ---- what the stages hand on ----


def world():
    """The server's table where the miniature stands for the internet, and no input elsewhere."""
    return "results/miniature/world.parquet" if config["network"] == "miniature" else []


def each_part(pattern):
    """One path for every part of LAION."""
    return expand(pattern, part=config["laion"]["parts"], allow_missing=True)


def detections_of(wildcards):
    """The detections that a counting set is made with: none where captions alone decide."""
    if set_settings(wildcards.set)["class_rule"] == "none":
        return []
    return each_part("results/detections/{part}.parquet")


def of_set(pattern):
    """The path, for a variant's job, of a file of the counting set that it trains on."""
    return lambda wildcards: pattern.format(set=counting_set_of(wildcards.variant))


def runs(pattern, only=None):
    """One path for every variant, or for `only` those, and every seed."""
    chosen = variants() if only is None else only
    return expand(pattern, variant=chosen, seed=config["seeds"])


def predictions(benchmark="countbench"):
    """The predictions on a benchmark of the untouched model and of every run."""
    folder = f"results/evaluation/{benchmark}"
    return [
        f"{folder}/baseline/seed0/predictions.parquet",
        *runs(f"{folder}/{{variant}}/seed{{seed}}/predictions.parquet"),
    ]


def benchmark_of(wildcards):
    """The table and the pictures of a job's benchmark."""
    folder = (
        "results/countbench"
        if wildcards.benchmark == "countbench"
        else "results/benchmarks/{benchmark}"
    )
    return {
        "benchmark": f"{folder}/benchmark.parquet",
        "benchmark_images": f"{folder}/images.parquet",
    }


def answers_of(name):
    """What the addresses of its pictures answer, where no folder has them."""
    own = further(name)
    if own["source"] != "pixmo_count" or own["images"] is not None:
        return []
    return "results/benchmarks/{benchmark}/answers.parquet"


def checkpoints(*names):
    """The weights of a run, each file named as its checkpoint is; none for the untouched model."""
    return lambda wildcards: (
        []
        if wildcards.variant == "baseline"
        else expand(
            "results/training/{variant}/seed{seed}/{name}.safetensors",
            name=names,
            allow_missing=True,
        )
    )


def after(section):
    """The weights at the end of training of the variants that a section names."""
    chosen = [variant["id"] for variant in about(by=f"{section}.variants")]
    return runs("results/training/{variant}/seed{seed}/end.safetensors", chosen)


def retention_answers():
    """What the untouched model and every run answers in each task."""
    folders = [f"results/retention/{name}" for name in retention_tasks()]
    return [
        file
        for folder in folders
        for file in (
            f"{folder}/baseline/seed0.parquet",
            *runs(f"{folder}/{{variant}}/seed{{seed}}.parquet"),
        )
    ]


# ---- targets ----


def tables():
    """Every table beside Table 1 that this run has, in each of its forms."""
    names = ["paper", "retrieval"]
    if reference():  # there is a variant to compare the others with
        names.append("ablations")
    names += [f"benchmarks/{name}/table" for name in further_benchmarks()]
    own = expand("results/{name}.{kind}", name=names, kind=["csv", "json", "md"])
    own += retention()
    return [*own, "results/relevancy.csv", "results/relevancy.json"]


def retention():
    """The tables of what counting cost elsewhere, where there is a task to see it by."""
    if not retention_tasks():
        return []
    own = [f"results/retention.{kind}" for kind in ("csv", "json", "md")]
    wise_ft = ["results/wise_ft.csv", "results/wise_ft.json"]
    return [*own, *wise_ft] if wise_ft_variants() else own


def figures():
    """Every figure, as vector and as picture."""
    names = expand(
        "{figure}_{set}", figure=["class_frequency", "lambdas"], set=counting_sets()
    )
    names += ["training_curves", "retrieval", "relevancy"]
    names += ["wise_ft"] if wise_ft_variants() else []
    names += [f"confusion_{figure}" for figure in config["figures"]["confusion"]]
    return expand("results/figures/{name}.{kind}", name=names, kind=["svg", "png"])
