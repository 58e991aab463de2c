"""What rules share: their part of the config, the digest of their code, the lists of targets."""

import ast
import csv
import functools
import hashlib
import json
from pathlib import Path

SCRIPTS = HOME / "workflow" / "scripts"


wildcard_constraints:
    part=r"[A-Za-z0-9._-]+",
    variant=r"[A-Za-z0-9_]+",
    seed=r"\d+",


# ---- what triggers a rerun: the spec and the code of a rule, nothing else about them ----


def canonical(value):
    """JSON with sorted keys: the same config always gives the same string."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def spec(*keys):
    """The sections of the config that a rule uses, and no others, as `spec("fetch", "model.name")`."""
    selected = {}
    for key in keys:
        source, target, parents = config, selected, key.split(".")
        for parent in parents[:-1]:
            source, target = source[parent], target.setdefault(parent, {})
        target[parents[-1]] = source[parents[-1]]
    return canonical(selected)


@functools.cache
def modules_of(path):
    """The package's files that a Python file reaches through its imports, itself included."""
    path = Path(path)
    found, pending = set(), [path]
    while pending:
        current = pending.pop()
        if current in found:
            continue
        found.add(current)
        for node in ast.walk(ast.parse(current.read_text(encoding="utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [
                    node.module,
                    *(f"{node.module}.{alias.name}" for alias in node.names),
                ]
            for name in names:
                place = SCRIPTS.joinpath(*name.split("."))
                for file in (place.with_suffix(".py"), place / "__init__.py"):
                    if file.is_file():
                        pending.append(file)
    return frozenset(found)


@functools.cache
def code(script):
    """Digest of a rule's script and of every module of ours that it imports, however deep.

    Touching a file changes nothing; editing one reruns the rules that reach it.
    """
    digest = hashlib.sha256()
    for file in sorted(modules_of(SCRIPTS / f"{script}.py")):
        digest.update(file.relative_to(SCRIPTS).as_posix().encode() + b"\0")
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


# ---- paths and targets ----


def resource(path):
    """A file that belongs to the workflow (resources/...) from wherever the workflow runs.

    In the checkout itself the path stays as it is: a moved checkout has the same inputs.
    """
    path = str(path)
    inside = path.startswith("resources/") and Path.cwd() != HOME
    return str(HOME / path) if inside else path


def model_files():
    """The files that the base model is read from; a tag such as `openai` is none."""
    model = config["model"]
    files = [file for file in (model["config"], model["pretrained"]) if file and "/" in file]
    if model["config"]:
        merges = Path(model["config"]).with_name(f"{model['name']}.merges.txt.gz")
        files += [merges] if Path(resource(merges)).exists() else []
    return [resource(file) for file in files]


def variants():
    """The ids of the variants; one that an overlay sets to null is left out."""
    return [name for name, own in config["variants"].items() if own is not None]


def settings(variant):
    """The training settings of one variant: the common ones with its own over them."""
    own = {
        key: value
        for key, value in config["variants"][variant].items()
        if key != "label"
    }
    return config["training"] | own


def runs(pattern):
    """One path for every variant and seed that is trained."""
    return expand(pattern, variant=variants(), seed=config["seeds"])


def predictions():
    """The predictions of every run and of the untouched model."""
    return [
        "results/evaluation/baseline/seed0/predictions.parquet",
        *runs("results/evaluation/{variant}/seed{seed}/predictions.parquet"),
    ]


def histories():
    return runs("results/training/{variant}/seed{seed}/history.csv")


def world():
    """The server's table where the miniature stands for the internet, and no input elsewhere."""
    return "results/miniature/world.parquet" if config["network"] == "miniature" else []


def repair_files():
    """The pictures that repairs.csv names: another picture under an old name is another repair."""
    repairs = Path(resource(config["countbench"]["repairs"]))
    if not repairs.is_file():
        return []
    with open(repairs, encoding="utf-8-sig", newline="") as lines:
        files = {
            repairs.parent / line["file"]
            for line in csv.DictReader(lines)
            if line.get("file")
        }
    return sorted(str(file) for file in files if file.is_file())


def figures():
    """Every figure, as vector and as picture."""
    names = ["class_frequency", "lambdas", "training_curves"]
    names += [f"confusion_{figure}" for figure in config["figures"]["confusion"]]
    return expand("results/figures/{name}.{kind}", name=names, kind=["svg", "png"])


def about(*keys, only=()):
    """What a table or figure says of the variants: a list, so that the config's order stays."""
    if unknown := sorted(set(only) - set(variants())):
        raise WorkflowError(
            f"figures.confusion: no such variants: {', '.join(unknown)}"
        )
    return [
        {"id": name, "label": config["variants"][name]["label"]}
        | {key: settings(name)[key] for key in keys}
        for name in only or variants()
    ]


def confusion_spec(wildcards):
    figure = config["figures"]["confusion"][wildcards.figure]
    return canonical(
        {
            "checkpoint": figure["checkpoint"],
            "variants": about(only=figure["variants"]),
            "scale": config["scale"],
        }
    )
