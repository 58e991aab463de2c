"""The detector's weights, and its calibration on images that a user counted."""

from pathlib import Path

from countclip.settings.common import Config
from countclip.settings.user_files import listed_images, on_disk


def weights(config: Config) -> str:
    """The detector's weights as it reads them: as the config names them, or exported once."""
    detector = config["detector"]
    if detector["export"] is None:
        return detector["weights"]
    return f"results/weights/exported/{Path(detector['weights']).stem}.{detector['export']}"


def calibration(config: Config) -> Config:
    """What the detections of the calibration follow from: the counted images, and the detector."""
    images = dict(on_disk(config["calibration"], "path", "images"))
    images["images"] = images["images"] or str(Path(images["path"]).parent)
    images["confidence_floor"] = min(images.pop("confidence"))
    del images["rules"]
    unused = ("download", "threads", "confidence_floor", "iou", "tiles", "exact_near")
    detector = {key: value for key, value in config["detector"].items() if key not in unused}
    return {"calibration": images, "detector": detector}


def calibration_images(config: Config) -> list[str]:
    """The images that the calibration's CSV lists, to notice one that is replaced."""
    images = calibration(config)["calibration"]
    return listed_images(images["path"], images["images"])


def calibration_nouns(config: Config) -> list[str]:
    """The table of nouns that the calibration reads, if any."""
    is_read = "caption_noun" in config["calibration"]["rules"]
    return [config["counting_set"]["nouns"]] if is_read else []


def calibration_table(config: Config) -> Config:
    """What the table of the calibration follows from, beside the detections."""
    detector, counting = config["detector"], config["counting_set"]
    return {
        "confidence": config["calibration"]["confidence"],
        "rules": config["calibration"]["rules"],
        "nouns": next(iter(calibration_nouns(config)), None),
        "configured": {
            "tiles": detector["tiles"],
            "iou": detector["iou"],
            "confidence": counting["confidence"],
            "rule": counting["class_rule"],
        },
        "scale": config["scale"],
    }
