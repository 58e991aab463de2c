"""Counting sets: where their pairs come from, which settings they have, how one is composed."""

from pathlib import Path

from countclip.settings import benchmarks, laion, variants
from countclip.settings.common import Config, ConfigError
from countclip.settings.user_files import listed_images, on_disk

SOURCE = {
    "source": "laion",
    "path": None,
    "images": None,
    "captions": None,
    "caption": "{number} {noun}",
    "sha256": None,
    "follow_links": False,
    "verify": None,
}
"""Keys of a counting set that are not of `counting_set`, and their defaults."""
COMPOSED = ("from", "compose", "per_number")
"""Keys of a counting set that is composed from another one."""
COCO_NOUNS = "resources/coco_nouns.csv"


def of_variant(config: Config, variant: str) -> str:
    """Id of the counting set that a variant trains on."""
    name = variants.variant_settings(config, variant)["counting_set"]
    if name not in config["counting_sets"]:
        known = ", ".join(config["counting_sets"])
        raise ConfigError(
            f"variant {variant}: counting_set: there is no {name!r}; counting_sets has {known}"
        )
    return name


def trained_on(config: Config) -> list[str]:
    """Ids of the counting sets that some variant trains on; no other is made."""
    used = {of_variant(config, variant) for variant in variants.trained(config)}
    return [name for name in config["counting_sets"] if name in used]


def composed(config: Config) -> list[str]:
    """Ids of the counting sets that are trained on and composed from another one."""
    return [name for name in trained_on(config) if is_composed(config, name)]


def all_composed(config: Config) -> list[str]:
    """Ids of all counting sets that are composed from another one."""
    return [name for name in config["counting_sets"] if is_composed(config, name)]


def is_composed(config: Config, name: str) -> bool:
    """Whether a counting set is composed from another one."""
    return "from" in config["counting_sets"][name]


def assembled(config: Config) -> list[str]:
    """Ids of the counting sets that are assembled: those that are trained on or composed from."""
    return list(dict.fromkeys(origin(config, name) for name in trained_on(config)))


def origin(config: Config, name: str) -> str:
    """The counting set that one is composed from, or itself.

    ConfigError for one that is not there, that no detector verifies, or that is composed itself.
    """
    settings = config["counting_sets"][name]
    if "from" not in settings:
        if extra := [key for key in COMPOSED if key in settings]:
            raise ConfigError(
                f"counting set {name}: {' and '.join(extra)}: of composed sets alone; say `from`"
                " which counting set it is composed, or leave them out"
            )
        return name
    source = settings["from"]
    if others := sorted(set(settings) - set(COMPOSED)):
        raise ConfigError(
            f"counting set {name}: {' and '.join(others)}: of its pairs, which are those of"
            f" {source!r}: set them there"
        )
    if source not in config["counting_sets"]:
        known = ", ".join(each for each in config["counting_sets"] if each != name)
        raise ConfigError(
            f"counting set {name}: from: there is no {source!r}; counting_sets has {known}"
        )
    if is_composed(config, source):
        raise ConfigError(
            f"counting set {name}: from: {source!r} is composed itself; name the set that it is"
            " composed from"
        )
    if "per_number" not in settings:
        raise ConfigError(f"counting set {name}: needs per_number, the pairs of each number")
    return source


def compose_settings(config: Config, name: str) -> Config:
    """What a composed set follows from: the section `compose`, with the set's keys over it.

    ConfigError where no detector says where the objects are.
    """
    source = origin(config, name)
    settings = set_settings(config, source)
    if settings["class_rule"] == "none":
        raise ConfigError(
            f"counting set {name}: from: no detector looks at the pairs of {source!r}, so nobody"
            " knows where their objects are; set `verify: detector` and a class_rule there"
        )
    given = config["counting_sets"][name]
    return {
        "name": name,
        "compose": config["compose"] | (given.get("compose") or {}),
        "per_number": given["per_number"],
        "counting_set": {
            key: settings[key] for key in ("confidence", "decontaminate", "phash_distance")
        },
        "parts": set_parts(config, source),
    }


def image_manifests(config: Config, name: str) -> list[str]:
    """The manifests of all images of a counting set, composed ones last."""
    added = [f"results/composed/images/{name}.parquet"] if is_composed(config, name) else []
    if added and name in set_parts(config, name):
        raise ConfigError(
            f"counting set {name}: a part is called so too; call the composed set otherwise"
        )
    return [*set_files(config, name, "images"), *added]


def set_settings(config: Config, name: str) -> Config:
    """The keys of `counting_set`, with the set's laid over them; nouns only where they are used.

    A set whose pairs no detector verifies has `class_rule: none`.
    """
    name = origin(config, name)
    given = config["counting_sets"][name]
    settings = config["counting_set"] | {k: v for k, v in given.items() if k not in SOURCE}
    if not _is_verified(config, name):
        settings |= {"class_rule": "none"}
    elif settings["class_rule"] == "none" and "verify" in given:
        raise ConfigError(
            f"counting set {name}: verify is detector, and class_rule none detects nothing; set"
            " another class_rule, or verify: none"
        )
    floor = config["detector"]["confidence_floor"]
    if settings["class_rule"] != "none" and settings["confidence"] < floor:
        raise ConfigError(
            f"counting set {name}: confidence is {settings['confidence']}, but detections are kept "
            f"from detector.confidence_floor, {floor}, on alone; lower that too"
        )
    unused = () if settings["class_rule"] == "caption_noun" else ("nouns",)
    return {key: value for key, value in settings.items() if key not in unused}


def _is_verified(config: Config, name: str) -> bool:
    """Whether a detector verifies a set's pairs, as it does LAION's unless the set says no."""
    settings = SOURCE | config["counting_sets"][name]
    default = "detector" if settings["source"] == "laion" else "none"
    return (settings["verify"] or default) == "detector"


def set_source(config: Config, name: str) -> Config:
    """Where the pairs of a counting set come from: the keys of SOURCE, without `verify`.

    ConfigError for a key that its source does not read, or that it lacks. `nouns` are of COCO's
    classes.
    """
    name = origin(config, name)
    given = config["counting_sets"][name]
    settings = SOURCE | {key: value for key, value in given.items() if key in SOURCE}
    source = settings["source"]
    read = {
        "laion": {"source", "verify"},
        "coco": set(SOURCE),
    }.get(source, set(SOURCE) - {"captions"})
    unread = sorted(key for key in given if key in SOURCE and key not in read)
    if unread:
        raise ConfigError(
            f"counting set {name}: {' and '.join(unread)}: not read of source: {source}; set the"
            " source whose files these are, or leave them out"
        )
    del settings["verify"]
    if source == "laion":
        return settings
    if settings["path"] is None:
        raise ConfigError(f"counting set {name}: source: {source} needs path, its file")
    if source == "coco":
        settings["nouns"] = given.get("nouns", COCO_NOUNS)
    settings = on_disk(settings, "path", "images", "captions")
    settings["images"] = settings["images"] or str(Path(settings["path"]).parent)
    return settings


def is_of_laion(config: Config, name: str) -> bool:
    """Whether a counting set is made from the parts of LAION."""
    return set_source(config, name)["source"] == "laion"


def counted(config: Config) -> list[str]:
    """Ids of the counting sets that are assembled and whose images somebody counted."""
    return [name for name in assembled(config) if not is_of_laion(config, name)]


def needs_laion(config: Config) -> bool:
    """Whether some counting set is made from the parts of LAION."""
    return any(is_of_laion(config, name) for name in assembled(config))


def set_files(config: Config, name: str, stage: str, ending: str = "parquet") -> list[str]:
    """The files of a stage (candidates, images, detections) that a counting set is made from."""
    if not is_of_laion(config, name):
        return [f"results/counted/{stage}/{origin(config, name)}.{ending}"]
    return [f"results/{stage}/{part}.{ending}" for part in laion.parts(config)]


def candidates(config: Config) -> list[str]:
    """The candidates of all counting sets that are trained on."""
    files = (set_files(config, name, "candidates") for name in assembled(config))
    return list(dict.fromkeys(file for listed in files for file in listed))


def set_parts(config: Config, name: str) -> list[str]:
    """What the files of a counting set are called: LAION's parts, or the set itself."""
    return laion.parts(config) if is_of_laion(config, name) else [origin(config, name)]


def counted_images(config: Config, name: str) -> list[str]:
    """The images that a counting set's CSV lists, to notice one that is replaced."""
    settings = set_source(config, name)
    is_listed = settings["source"] == "folder"
    return listed_images(settings["path"], settings["images"]) if is_listed else []


def set_nouns(config: Config, name: str) -> list[str]:
    """The table of nouns that a counting set is made with, if any."""
    settings = set_settings(config, name)
    return [settings["nouns"]] if "nouns" in settings else []


def kept_apart(config: Config, name: str) -> list[str] | str:
    """The rows of the benchmark that a counting set is decontaminated against, if it is."""
    if not set_settings(config, name)["decontaminate"]:
        return []
    return benchmarks.main_rows(config)
