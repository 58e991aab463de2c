"""Models that are measured without any training."""

from pathlib import Path

from countclip.settings import benchmarks, models
from countclip.settings.common import Config, ConfigError, active, refuse_equal_labels
from countclip.settings.network import OVER_PAPER


def all_models(config: Config) -> list[Config]:
    """Id, label, name, pretrained and config of each model that is measured without training."""
    rows = []
    for name in active(config, "zero_shot.models"):
        settings = {"config": None} | config["zero_shot"]["models"][name]
        label = f"{settings['name']}, {Path(settings['pretrained']).name}"
        rows.append({"id": name, "label": label} | settings)
    refuse_equal_labels("zero_shot.models", {row["id"]: row["label"] for row in rows})
    return rows


def model(config: Config, name: str) -> Config:
    """Name, pretrained and config of one of them."""
    row = next(row for row in all_models(config) if row["id"] == name)
    return {key: row[key] for key in ("name", "pretrained", "config")}


def benchmark_ids(config: Config) -> list[str]:
    """Ids of the benchmarks that they are measured on."""
    return [
        *(["countbench"] if benchmarks.has_countbench(config) else []),
        *benchmarks.further(config),
    ]


def weights(config: Config, name: str) -> list[str]:
    """The weights that a model of the list needs from the hub; none where it has a file."""
    if not models.is_tag(model(config, name)["pretrained"]):
        return []
    if config["network"] == "miniature":
        raise ConfigError(
            f"zero_shot.models.{name}: its weights are on the internet, and network is miniature;"
            f" name a .safetensors file of yours as pretrained, {OVER_PAPER}"
        )
    return [f"results/weights/zero_shot/{name}.safetensors"]


def answers_before(config: Config, name: str) -> list[str]:
    """Answers that must be there before a model's weights are downloaded.

    None where all weights stay; else those of the downloaded model before it in the list, whose
    weights are deleted by then.
    """
    fetched = [row["id"] for row in all_models(config) if weights(config, row["id"])]
    place = fetched.index(name)
    if config["zero_shot"]["keep_weights"] or not place:
        return []
    return [
        f"results/zero_shot/{benchmark}/{fetched[place - 1]}.parquet"
        for benchmark in benchmark_ids(config)
    ]
