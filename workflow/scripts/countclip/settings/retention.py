"""Retention tasks, and the variants whose interpolated weights are measured on them."""

from countclip.settings import benchmarks, variants
from countclip.settings.common import Config, active, entry
from countclip.settings.user_files import on_disk


def tasks(config: Config) -> list[str]:
    """Ids of the retention tasks."""
    return active(config, "retention.tasks")


def source(config: Config, name: str) -> Config:
    """How one retention task is read: everything but its templates."""
    settings = {"follow_links": False} | entry(config, "retention.tasks", name)
    settings = on_disk(settings, "folder", "annotations")
    return {key: value for key, value in settings.items() if key != "templates"}


def templates(config: Config, *names: str) -> list[str]:
    """The files of templates of some retention tasks; captions need none."""
    paths = (config["retention"]["tasks"][name]["templates"] for name in names)
    return [path for path in paths if path is not None]


def wise_ft_variants(config: Config) -> list[str]:
    """Variants whose interpolated weights are measured, on CountBench and the retention tasks."""
    is_measured = tasks(config) and benchmarks.has_countbench(config)
    return variants.chosen(config, "wise_ft.variants") if is_measured else []
