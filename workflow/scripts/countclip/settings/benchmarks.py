"""Benchmarks: CountBench with its files, the further ones, and the main one among them."""

from pathlib import Path

from countclip.runtime.resources import resource
from countclip.settings import user_files
from countclip.settings.common import Config, ConfigError, active, entry
from countclip.settings.network import OVER_PAPER
from countclip.settings.user_files import files_in_column, on_disk


def has_countbench(config: Config) -> bool:
    """Whether this run measures on CountBench."""
    return config["countbench"]["list"] is not None


def countbench_list(config: Config) -> str:
    """CountBench's list; ConfigError in a run without it."""
    path = config["countbench"]["list"]
    if path is None:
        raise ConfigError(
            "countbench.list is null, so this run has no CountBench and nothing that is measured on"
            " it, such as Table 1: name its list, or ask for results/benchmarks/<id>/table.csv"
        )
    return resource(path)


def benchmark_list(config: Config) -> str:
    """CountBench's list, whose links are checked on the config's network."""
    path = countbench_list(config)
    if config["network"] == "internet" and Path(path).is_relative_to("results/miniature"):
        raise ConfigError(
            f"countbench.list: the links of {path} are on the miniature's network alone, and "
            f"network is internet; name another list, {OVER_PAPER}"
        )
    return resource(path)


def lock(config: Config) -> list[str] | str:
    """The lock file of the benchmark's links, where a person keeps one."""
    path = config["countbench"]["lock"]
    return [] if path is None else resource(path)


def intersection(config: Config) -> list[str] | str:
    """The list of rows that are counted, where the benchmark's variant says so."""
    if config["countbench"]["variant"] != "intersection":
        return []
    path = config["countbench"]["intersection"]
    if path is None:
        raise ConfigError(
            "countbench.variant is `intersection`: countbench.intersection must name its list"
        )
    return resource(path)


def repair_images(config: Config) -> list[str]:
    """The images that repairs.csv names: another image under an old name is another repair."""
    repairs = Path(resource(config["countbench"]["repairs"]))
    return files_in_column(repairs, "file", repairs.parent)


def countbench_file(config: Config, name: str) -> list[str] | str:
    """A file of CountBench; none in a run without it."""
    return f"results/countbench/{name}" if has_countbench(config) else []


def further(config: Config) -> list[str]:
    """Ids of the benchmarks beside CountBench."""
    return active(config, "benchmarks")


def benchmark_settings(config: Config, name: str) -> Config:
    """The settings of a further benchmark, with the defaults of what it does not set."""
    default = {
        "images": None,
        "caption": "{number} {noun}",
        "sha256": None,
        "follow_links": False,
    }
    return on_disk(default | entry(config, "benchmarks", name), "path", "images")


def listed_images(config: Config, name: str) -> list[str]:
    """The images that the table of a further benchmark lists, to notice one that is replaced."""
    settings = benchmark_settings(config, name)
    folder = settings["images"] or str(Path(resource(settings["path"])).parent)
    return user_files.listed_images(settings["path"], folder)


def main_benchmark(config: Config) -> str:
    """The benchmark that checkpoints are chosen on and training pairs are kept apart from.

    It is CountBench, or the first of `benchmarks` in a run without it.
    """
    if has_countbench(config):
        return "countbench"
    listed = further(config)
    if not listed:
        raise ConfigError(
            "countbench.list is null, and `benchmarks` has none: name a benchmark of yours, or"
            " CountBench's list"
        )
    return listed[0]


def benchmark_folder(config: Config, name: str) -> str:
    """The folder of a benchmark's table and images."""
    return "results/countbench" if name == "countbench" else f"results/benchmarks/{name}"


def main_rows(config: Config) -> str:
    """The rows of the main benchmark."""
    return f"{benchmark_folder(config, main_benchmark(config))}/benchmark.parquet"


def main_table(config: Config) -> str:
    """The table of the main benchmark: Table 1, or that of a further one."""
    if has_countbench(config):
        return "results/table1.csv"
    return f"{benchmark_folder(config, main_benchmark(config))}/table.csv"


def other_benchmark(config: Config, name: str) -> list[str] | str:
    """The rows of the main benchmark, for another one's overlap with it."""
    return [] if main_benchmark(config) == name else main_rows(config)
