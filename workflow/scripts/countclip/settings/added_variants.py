"""Variants that `ordinal_variants` and `soft_variants` add to those of the config."""

from countclip.settings import variants
from countclip.settings.common import NO_RESULT, Config

ORDINAL = {
    "ordinal_exp": "FCRC, exp",
    "ordinal_logit": "FCRC, logit",
    "ordinal_margin": "FCRC, margin",
    "sord": "SORD",
    "coarse_to_fine": "coarse to fine",
}
"""Each ordinal loss, which is the id of its variant too, and its name in labels."""
SOFT_TARGETS = {
    "hard": ({"clip_target": "hard"}, "hard targets"),
    "objects": ({"clip_target": "objects", "soft_mask": "none"}, "Object-IoU"),
    "masked": ({"clip_target": "objects", "soft_mask": "numbers"}, "Object-IoU, masked"),
    "shuffled": ({"clip_target": "objects_shuffled", "soft_mask": "numbers"}, "shuffled objects"),
}
"""Targets that `soft_variants` compares: id -> their keys, and their name in labels."""
SOFT_BATCHES = {5: 1, 64: 32}
"""Pairs of a batch, the paper's and a larger one -> counting pairs among them."""
SOFT_LOSSES = {"none": ("", ""), "count_plus": ("_plus", ", L_count+")}
"""Counting loss -> what it adds to an id and to a label."""


def add_ordinal(config: Config) -> None:
    """Put the variants that `ordinal_variants` asks for behind the others, in place.

    They differ in their loss alone from scheduler, lambda_modal and L_count+. One that `variants`
    has under the same id, or sets to null, stays as it is there.
    """
    if not config["ordinal_variants"]:
        return
    for loss, name in ORDINAL.items():
        label = f"scheduler and λ_modal and {name}"
        variant = {"label": label, "loss": loss, "lambda_scheme": "modal"}
        config["variants"].setdefault(loss, variant)


def add_soft(config: Config) -> None:
    """Put the variants that `soft_variants` asks for behind the others, in place.

    Each target of SOFT_TARGETS in each batch of SOFT_BATCHES, without L_count+ and with it; else
    they are as scheduler, lambda_modal and L_count+. The learning rate is that of `training` times
    the root of the ratio of batch sizes, as is usual with Adam. One that `variants` has under the
    same id, or sets to null, stays as it is there. One that is there under another id is not
    trained twice.
    """
    if not config["soft_variants"]:
        return
    usual = config["training"]
    there = [_trained(config, config["variants"][name]) for name in variants.trained(config)]
    for pairs, counting in SOFT_BATCHES.items():
        rate = usual["learning_rate"] * (pairs / usual["batch_size"]) ** 0.5
        for loss, (ending, words) in SOFT_LOSSES.items():
            for target, (keys, name) in SOFT_TARGETS.items():
                variant = {
                    "label": f"{name}, batch of {pairs}{words}",
                    "loss": loss,
                    "lambda_scheme": "modal",
                    "batch_size": pairs,
                    "counting_per_batch": counting,
                    "learning_rate": float(f"{rate:.3g}"),
                    **keys,
                }
                if _trained(config, variant) not in there:
                    config["variants"].setdefault(f"{target}_{pairs}{ending}", variant)


def _trained(config: Config, variant: Config) -> Config:
    """All that the training of an entry of `variants` follows from."""
    settings = config["training"] | variant
    return {key: settings[key] for key in settings if key not in ("label", *NO_RESULT)}
