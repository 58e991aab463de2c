"""What the config says of each thing that it names, the defaults laid under it; or what is wrong."""

import functools
import operator


def value_of(key):
    """What the config has under a key such as `wise_ft.variants`."""
    return functools.reduce(operator.getitem, key.split("."), config)


def kept(key):
    """The ids under a key, in the config's order; one that an overlay sets to null is left out."""
    return [name for name, own in value_of(key).items() if own is not None]


# ---- variants ----

EFFORT = ("checkpoint_minutes", "loggers")  # keys of `training` that change no result


def variants():
    return kept("variants")


def all_settings(variant):
    """What `training` and a variant say together: the common keys with its own over them."""
    if variant not in variants():
        raise WorkflowError(
            f"variants: there is no {variant!r}; there are {', '.join(variants())}"
        )
    return config["training"] | config["variants"][variant]


def settings(variant):
    """Those that decide what comes of its training on a given counting set; not the label."""
    others = ("label", "counting_set", *EFFORT)
    own = all_settings(variant)
    return {key: own[key] for key in own if key not in others}


def named(key):
    """The variants that a key names, such as `wise_ft.variants`, but those that are left out."""
    if unknown := sorted(set(value_of(key)) - set(config["variants"])):
        raise WorkflowError(f"{key}: no such variants: {', '.join(unknown)}")
    return [name for name in value_of(key) if name in variants()]


def about(*keys, by=None):
    """What a table or figure says of the variants: a list, so that the config's order stays.

    by: the key that names them; all of them where it names none.
    """
    return [
        {"id": name, "label": config["variants"][name]["label"]}
        | {key: settings(name)[key] for key in keys}
        for name in (named(by) if by and value_of(by) else variants())
    ]


def reference():
    """The variant that the others are compared with; None where it is not trained."""
    name = config["reference"]
    if name is not None and name not in config["variants"]:
        raise WorkflowError(
            f"reference: there is no variant {name!r}; variants has {', '.join(variants())}"
        )
    return name if name in variants() else None


# ---- counting sets ----


def counting_set_of(variant):
    """The id of the counting set that a variant trains on."""
    name = all_settings(variant)["counting_set"]
    if name not in config["counting_sets"]:
        raise WorkflowError(
            f"variant {variant}: counting_set: there is no {name!r}; counting_sets has "
            f"{', '.join(config['counting_sets'])}"
        )
    return name


def counting_sets():
    """The counting sets that some variant trains on, in the config's order; no other is made."""
    used = {counting_set_of(variant) for variant in variants()}
    return [name for name in config["counting_sets"] if name in used]


def set_settings(name):
    """The settings of one counting set: the common ones with its own over them.

    Not the table of nouns, where its class rule asks for none.
    """
    both = config["counting_set"] | config["counting_sets"][name]
    floor = config["detector"]["confidence_floor"]
    if both["class_rule"] != "none" and both["confidence"] < floor:
        raise WorkflowError(
            f"counting set {name}: confidence is {both['confidence']}, but detections are kept from "
            f"detector.confidence_floor, {floor}, on alone; lower that too"
        )
    unused = () if both["class_rule"] == "caption_noun" else ("nouns",)
    return {key: both[key] for key in both if key not in unused}


# ---- further benchmarks, and retention ----


def further_benchmarks():
    return kept("benchmarks")


def further(name):
    """The settings of a benchmark beside CountBench, with the defaults of what it does not say."""
    if name not in further_benchmarks():
        raise WorkflowError(
            f"benchmarks: there is no {name!r}; there are {', '.join(further_benchmarks())}"
        )
    default = {"images": None, "caption": "{number} {noun}", "sha256": None}
    return default | config["benchmarks"][name]


def retention_tasks():
    return kept("retention.tasks")


def retention_task(name):
    """How one task is read: everything but its templates."""
    own = config["retention"]["tasks"][name]
    return {key: own[key] for key in own if key != "templates"}


def wise_ft_variants():
    """Those whose weights in between are measured, where there is something to measure them by."""
    return named("wise_ft.variants") if retention_tasks() else []
