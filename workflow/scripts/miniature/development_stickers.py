"""Development stickers, on which the settings of pretraining are chosen.

They are of a stream of their own, with other kinds popular, so a setting that is chosen on them
owes nothing to the images that it is measured on. To try settings other than those of
config/soft_labels.yaml:

    PYTHONPATH=workflow/scripts python -m miniature.development_stickers \\
        --net small --targets hard objects --seeds 1 2 --settings learning_rate=5.0e-4
"""

import argparse
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from countclip.evaluation import retention_data
from countclip.experiments.soft_labels import settings as soft_labels
from countclip.experiments.soft_labels.classify import classify
from countclip.experiments.soft_labels.pairs import count_classes, pack
from countclip.experiments.soft_labels.pretrain import pretrain
from countclip.experiments.soft_labels.scores import THIRDS, thirds
from miniature import stickers

FOLDER = Path("results/development/stickers")


def prepare(folder: Path, pairs: dict[str, Any], size: int) -> None:
    """Draw the stickers and pack them at the nets' size, if they are not there."""
    if (folder / "classes.csv").exists():
        return
    stickers.make(
        pair_folder=folder / "pairs",
        test_folder=folder / "test",
        digests=folder / "digests.tsv",
        pairs=pairs["number"],
        stream="development_stickers",
    )
    pack(
        folder / "pairs",
        size=size,
        unit=pairs["objects"],
        number=pairs["number"],
        images_npy=str(folder / "images.npy"),
        pairs_parquet=str(folder / "pairs.parquet"),
        summary_json=str(folder / "summary.json"),
    )
    task = retention_data.read("folder", str(folder / "test"), None)
    retention_data.pack(task, size, str(folder / "test.npy"), str(folder / "test.json"))
    count_classes(task.texts, str(folder / "pairs.parquet"), pairs["objects"],
                  folder / "classes.csv")  # fmt: skip


def accuracies(folder: Path, training: dict[str, Any], templates: str, seed: int) -> dict[str, Any]:
    """Top-1, top-5 and the thirds' top-1 in percent of one training, its KL, and CPU seconds.

    training: of `settings.pretraining_settings`.
    """
    started = time.process_time()
    trained = folder / "trained"
    outputs = {name: str(trained / name) for name in ("weights.safetensors", "history.csv")}
    outputs = {Path(name).stem: path for name, path in outputs.items()}
    pretrain(
        str(folder / "pairs.parquet"), str(folder / "images.npy"),
        outputs | {"model": str(trained / "model.json")}, str(trained / "state"), {},
        model=training["model"], target=training["target"], seed=seed,
        checkpoint_minutes=60, **training["training"],
    )  # fmt: skip
    task = retention_data.unpack(str(folder / "test.npy"), str(folder / "test.json"), templates)
    answers = str(trained / "answers.parquet")
    classify({("", seed): outputs["weights"]}, training["model"], task, answers)
    ranks = pd.read_parquet(answers)
    third = pd.Series(thirds(pd.read_csv(folder / "classes.csv"))[ranks["class"]])
    right = 100.0 * (ranks["rank"] == 0)
    last = pd.read_csv(outputs["history"]).iloc[-1]
    return {
        "top1": right.mean(),
        "top5": 100 * (ranks["rank"] < 5).mean(),
        **{name: right[third == name].mean() for name in THIRDS},
        **{name: last[name] for name in ("loss", "kl", "logit_scale")},
        "seconds": time.process_time() - started,
    }


def main(arguments: Iterable[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--net", default="small")
    parser.add_argument("--targets", nargs="+", default=["hard", "objects"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1])
    parser.add_argument("--settings", nargs="*", default=[], help="key=value of a training")
    options = parser.parse_args(arguments)
    with open("config/soft_labels.yaml", encoding="utf-8") as file:
        config = yaml.safe_load(file)
    pretraining = config["soft_labels"]["pretraining"]
    changed = dict(setting.split("=", 1) for setting in options.settings)
    changed = {name: yaml.safe_load(value) for name, value in changed.items()}
    prepare(FOLDER, pretraining["pairs"], pretraining["image_size"])
    for seed in options.seeds:
        for target in options.targets:
            training = soft_labels.pretraining_settings(config, options.net, target)
            training["training"] |= changed
            measured = accuracies(FOLDER, training, pretraining["test"]["templates"], seed)
            numbers = ", ".join(f"{name} {value:.2f}" for name, value in measured.items())
            print(f"{options.net}, {target}, seed {seed}: {numbers}", flush=True)


if __name__ == "__main__":
    main()
