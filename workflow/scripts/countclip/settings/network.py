"""The network of a run: the internet, or the miniature's."""

from countclip.settings.common import Config

OVER_PAPER = "or lay yours over the paper's: --configfile config/paper.yaml yours.yaml"
"""Advice for a config whose parts are on different networks."""


def world(config: Config) -> list[str] | str:
    """The table of the miniature's web, where it stands for the internet; no input elsewhere."""
    return "results/miniature/world.parquet" if config["network"] == "miniature" else []
