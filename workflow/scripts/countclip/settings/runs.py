"""Files of all runs: each variant with each seed, and the pretrained baselines beside them."""

from collections.abc import Iterable

from countclip.settings import models, retention, variants, views
from countclip.settings.common import Config


def each(config: Config, pattern: str, only: Iterable[str] | None = None) -> list[str]:
    """A path for every variant (or those of `only`) and seed: {variant} and {seed} filled in."""
    listed = variants.trained(config) if only is None else only
    return [
        pattern.replace("{variant}", variant).replace("{seed}", str(seed))
        for variant in listed
        for seed in config["seeds"]
    ]


def final_weights(config: Config, section: str) -> list[str]:
    """The weights at the end of training of the variants that a section lists."""
    listed = [row["id"] for row in views.variant_rows(config, by=f"{section}.variants")]
    return each(config, "results/training/{variant}/seed{seed}/end.safetensors", listed)


def predictions(config: Config, benchmark: str = "countbench") -> list[str]:
    """The predictions on a benchmark of the pretrained baseline and of every run."""
    folder = f"results/evaluation/{benchmark}"
    return [
        *(f"{folder}/{name}/seed0/predictions.parquet" for name in models.baseline_ids(config)),
        *each(config, f"{folder}/{{variant}}/seed{{seed}}/predictions.parquet"),
    ]


def retention_answers(config: Config) -> list[str]:
    """The answers of the pretrained baseline and of every run in each retention task."""
    return [
        path
        for name in retention.tasks(config)
        for path in (
            *(
                f"results/retention/{name}/{row}/seed0.parquet"
                for row in models.baseline_ids(config)
            ),
            *each(config, f"results/retention/{name}/{{variant}}/seed{{seed}}.parquet"),
        )
    ]
