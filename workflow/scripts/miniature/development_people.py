"""Development people, on which the settings of ordinal regression are chosen.

They are of a stream of their own, so a setting that is chosen on them owes nothing to the people
that it is measured on. To try settings other than those of config/ordinal.yaml:

    PYTHONPATH=workflow/scripts python -m miniature.development_people \\
        --methods coarse_ce numclip_exp --folds 1 2 --settings learning_rate=1.0e-3 epochs=8
"""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from countclip.experiments.ordinal import data, images
from countclip.experiments.ordinal.bins import Bins
from countclip.experiments.ordinal.evaluate import predict
from countclip.experiments.ordinal.methods import method_of
from countclip.experiments.ordinal.predictions import DECODINGS, read_predictions
from countclip.experiments.ordinal.train import finetune
from countclip.model.clip import Clip
from countclip.runtime.folders import ImageFolder
from miniature import people

FOLDER = Path("results/development/people")


def prepare(folder: Path, task: dict[str, Any], folds: dict[str, Any], size: int) -> None:
    """Draw the people, their folds and images.npy at the model's size, if they are not there."""
    if (folder / "images.npy").exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    people.make(folder / "people.csv", folder / "images", stream="development_people")
    data.make_folds(
        folder / "people.csv",
        ImageFolder(folder),
        values=task["values"],
        bins=Bins.of_task(task),
        draw=data.Draw(**folds),
        images_parquet=folder / "images.parquet",
        fold_folder=folder / "folds",
        summary_json=folder / "summary.json",
    )
    images.pack(folder / "images.parquet", ImageFolder(folder), size, folder / "images.npy")


def errors(
    folder: Path,
    fold: int,
    method: str,
    model: dict[str, Any],
    task: dict[str, Any],
    settings: dict[str, Any],
) -> dict[str, float]:
    """MAE of a method on the test part of a fold under each decoding, and CPU seconds."""
    started = time.process_time()
    paths = {"table": str(folder / f"folds/{fold}.parquet"), "images": str(folder / "images.npy")}
    trained = folder / "trained" / method / str(fold)
    common = {"model": model, "task": task, "method": method} | {
        name: settings[name] for name in ("logit_scale", "threads", "options") if name in settings
    }
    weights = None
    if method_of(method).losses:
        outputs = {of: str(trained / f"{of}.safetensors") for of in ("end", "selected", "best")}
        outputs |= {"history": str(trained / "history.csv"), "model": str(trained / "model.json")}
        finetune(**paths, outputs=outputs, state=str(trained / "state"), metadata={},
                 seed=0, **common | settings)  # fmt: skip
        weights = outputs["selected"]
    predictions = str(trained.parent.parent.parent / "predictions" / method / f"{fold}.parquet")
    predict(**paths, weights=weights, path=predictions, **common)
    table = read_predictions([predictions])
    return {
        decoding: float(np.abs(table[decoding] - table["label"]).mean())
        for decoding in DECODINGS
        if table[decoding].notna().all()
    } | {"seconds": time.process_time() - started}


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", default=["coarse_ce", "numclip_exp"])
    parser.add_argument("--folds", nargs="+", type=int, default=[1])
    parser.add_argument("--settings", nargs="*", default=[], help="key=value of `ordinal.training`")
    options = parser.parse_args(arguments)
    with open("config/config.yaml", encoding="utf-8") as file:
        model = yaml.safe_load(file)["model"]
    with open("config/ordinal.yaml", encoding="utf-8") as file:
        config = yaml.safe_load(file)["ordinal"]
    changed = dict(setting.split("=", 1) for setting in options.settings)
    settings = config["training"] | {name: yaml.safe_load(value) for name, value in changed.items()}
    of_people = config["sets"]["people"]
    task = of_people["task"]
    prepare(FOLDER, task, of_people["folds"], Clip(**model).image_size)
    for fold in options.folds:
        for method in options.methods:
            measured = errors(FOLDER, fold, method, model, task, settings)
            numbers = ", ".join(f"{name} {value:.2f}" for name, value in measured.items())
            print(f"fold {fold}, {method}: {numbers}", flush=True)


if __name__ == "__main__":
    main()
