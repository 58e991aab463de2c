"""Check of the config's paths: each a file or a folder, as its key means."""

from collections.abc import Iterator
from pathlib import Path

from countclip.runtime.files import check_name
from countclip.runtime.resources import resource
from countclip.settings import benchmarks, experiments, models, retention
from countclip.settings.common import Config, ConfigError, active, value_at


def refuse_folders(config: Config) -> None:
    """Raise ConfigError for a folder where a key means one file, for the reverse, and for no path.

    Of a folder only some file would be read. Nothing is said of what is not there: it may be made.
    """
    for key, path in (*_files(config), *_folders(config)):
        try:
            check_name(path)
        except ValueError as error:
            raise ConfigError(f"{key}: {error}") from error
        if not path.strip():
            raise ConfigError(f"{key} is an empty text: write a path, or null for none")
    for key, path in _files(config):
        place = Path(resource(path))
        is_openvino = key == "detector.weights" and any(place.glob("*.xml"))  # which is a folder
        if place.exists() and not (place.is_dir() or place.is_file()):  # a pipe is read once
            raise ConfigError(f"{key}: {path} is no regular file: copy what it holds into one")
        if place.is_dir() and not is_openvino:
            held = sorted(file.name for file in place.iterdir() if not file.name.startswith("."))
            shown = ", ".join(held[:3]) + (", ..." if len(held) > 3 else "")
            raise ConfigError(
                f"{key}: {path} is a folder, and one file is meant; name one"
                + (f" of what it holds ({shown}), or join its parts" if held else ": it is empty")
            )
    for key, path in _folders(config):
        if Path(resource(path)).is_file():
            raise ConfigError(f"{key}: {path} is a file, and a folder is meant")


def _files(config: Config) -> Iterator[tuple[str, str]]:
    """Key and path of each file that the config names."""
    pairs = [
        *((f"countbench.{key}", config["countbench"][key])
          for key in ("list", "intersection", "lock", "repairs", "copy")),
        *((f"counting_sets.{name}.{key}", settings.get(key))
          for name, settings in config["counting_sets"].items()
          for key in ("nouns", "path", "captions")),
        *((f"benchmarks.{name}.path", benchmarks.benchmark_settings(config, name)["path"])
          for name in benchmarks.further(config)),
        *((f"retention.tasks.{name}.{key}", config["retention"]["tasks"][name][key])
          for name in retention.tasks(config) for key in ("annotations", "templates")),
        *((f"ordinal.sets.{name}.csv", experiments.ordinal_set(config, name)["csv"])
          for name in experiments.ordinal_sets(config)),
        *((f"soft_labels.pretraining.nets.{name}.config",
           config["soft_labels"]["pretraining"]["nets"][name]["config"])
          for name in experiments.pretraining_nets(config)),
        ("soft_labels.pretraining.domains.descriptions",
         config["soft_labels"]["pretraining"]["domains"]["descriptions"]),
        ("soft_labels.pretraining.test.templates",
         config["soft_labels"]["pretraining"]["test"]["templates"]),
        ("laion.manifest", config["laion"]["manifest"]),
        ("counting_set.nouns", config["counting_set"]["nouns"]),
        ("calibration.path", config["calibration"]["path"]),
        ("detector.weights", config["detector"]["weights"]),
        *((f"reading.splits.{name}.{key}", path)
          for name, split in config["reading"]["splits"].items() for key, path in split.items()
          if key == "ocr" or config["reading"]["source"] == "json"),
        ("reading.manifest", config["reading"]["manifest"]),
        ("reading.words.csv", config["reading"]["words"]["csv"]),
        *((f"{key}.config", model.get("config")) for key, model in _models(config)),
        *((f"{key}.pretrained", model["pretrained"]) for key, model in _models(config)
          if not models.is_tag(model["pretrained"])),
    ]  # fmt: skip
    return ((key, path) for key, path in pairs if path is not None)


def _models(config: Config) -> list[tuple[str, Config]]:
    """Key and settings of each model that the config names."""
    several = [
        (f"{section}.{name}", value_at(config, section)[name])
        for section in ("models", "zero_shot.models")
        for name in active(config, section)
    ]
    several.append(("reading.model", config["reading"]["model"]))
    return several if active(config, "models") else [("model", config["model"]), *several]


def _folders(config: Config) -> Iterator[tuple[str, str]]:
    """Key and path of each folder that the config names."""
    pairs = [
        ("laion.folder", config["laion"]["folder"]),
        ("laion.images", config["laion"]["images"]),
        ("calibration.images", config["calibration"]["images"]),
        *((f"counting_sets.{name}.images", settings.get("images"))
          for name, settings in config["counting_sets"].items()),
        *((f"benchmarks.{name}.images", benchmarks.benchmark_settings(config, name)["images"])
          for name in benchmarks.further(config)),
        *((f"retention.tasks.{name}.folder", config["retention"]["tasks"][name]["folder"])
          for name in retention.tasks(config)),
        *((f"ordinal.sets.{name}.images", experiments.ordinal_set(config, name)["images"])
          for name in experiments.ordinal_sets(config)),
        *((f"soft_labels.pretraining.{name}.folder",
           config["soft_labels"]["pretraining"][name]["folder"]) for name in ("pairs", "test")),
        *((f"reading.splits.{name}.questions", split["questions"])
          for name, split in config["reading"]["splits"].items()
          if config["reading"]["source"] == "parquet"),
        ("reading.images", config["reading"]["images"]),
        ("reading.words.images", config["reading"]["words"]["images"]),
    ]  # fmt: skip
    return ((key, path) for key, path in pairs if path is not None)
