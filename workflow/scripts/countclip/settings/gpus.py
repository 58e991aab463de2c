"""GPUs that the jobs of each rule hold."""

from countclip.settings import variants
from countclip.settings.common import Config, value_at

DEVICES = {
    "detect_objects": "detector.device",
    "detect_in_counted_images": "detector.device",
    "detect_in_composed": "detector.device",
    "detect_in_calibration": "detector.device",
    "evaluate": "evaluation.accelerator",
    "measure_zero_shot": "evaluation.accelerator",
    "measure_retention": "evaluation.accelerator",
    "sweep_wise_ft": "evaluation.accelerator",
    "retrieve": "evaluation.accelerator",
    "measure_relevancy": "evaluation.accelerator",
    "predict_ordinal": "evaluation.accelerator",
    "embed_ordinal": "evaluation.accelerator",
    "run_ordinal_study": "ordinal.training.accelerator",
    "classify_zero_shot": "evaluation.accelerator",
    "classify_domains": "evaluation.accelerator",
    "embed_reading": "evaluation.accelerator",
    "predict_reading_statements": "evaluation.accelerator",
    "read_reading_words": "evaluation.accelerator",
    "look_at_reading_views": "evaluation.accelerator",
    "train_reading": "reading.training.accelerator",
}
"""The key that says where the jobs of a rule run; trainings have an `accelerator` of theirs."""
TRAININGS = {
    "train_variant": "training",
    "train_ordinal": "ordinal.training",
    "pretrain_clip": "soft_labels.pretraining.training",
}
"""The section of each rule of trainings."""


def of_rule(config: Config, rule: str, variant: str | None = None) -> int:
    """GPUs that a job of a rule holds; `variant` for a training."""
    if rule in TRAININGS:
        settings = value_at(config, TRAININGS[rule])
        settings = variants.variant_settings(config, variant) if variant else settings
        return 0 if settings["accelerator"] == "cpu" else settings["devices"]
    return int(rule in DEVICES and value_at(config, DEVICES[rule]) != "cpu")


def by_job(config: Config) -> dict[str, int]:
    """GPUs that jobs hold, by how their names under results/costs/ begin."""
    trainings = {
        f"train_variant/{name}_seed": of_rule(config, "train_variant", name)
        for name in variants.trained(config)
    }
    others = (*DEVICES, "train_ordinal", "pretrain_clip")
    return {rule: of_rule(config, rule) for rule in others} | trainings
