"""Development scenes of the miniature, on which its settings are chosen, and accuracy on them.

The scenes are of a stream that no training and no benchmark shares, so a setting that is chosen on
them owes nothing to the images that it is measured on. For finished trainings:

    PYTHONPATH=workflow/scripts python -m miniature.development results/training/*/*/end.safetensors
"""

import sys

import numpy as np
import yaml

from countclip.evaluation.counting import Questions, accuracy
from countclip.model.clip import Clip
from countclip.model.embeddings import similarities
from miniature.scenes import draw, make
from miniature.world import COUNTED, caption

SCENES = 900


def questions(clip: Clip, n: int) -> Questions:
    """`n` scenes with two to ten objects in turn, each with a counting caption."""
    rng = np.random.default_rng(0)
    rows = []
    for index in range(n):
        scene = make("development", index, 2 + index % 9)
        text = caption(scene, str(rng.choice(COUNTED)))
        rows.append({"index": index, "image": draw(scene), "caption": text, "number": scene.number})
    return Questions.of(clip, rows)


def measure(model: dict[str, str], weights: list[str], n: int = SCENES) -> dict[str, float]:
    """Accuracy on `n` development scenes of each file of weights, the pretrained ones first."""
    asked, accuracies = None, {}
    for path in [model["pretrained"], *weights]:
        clip = Clip(**model | {"pretrained": path})
        asked = asked or questions(clip, n)
        similarity = similarities(clip, asked.images, asked.tokens)
        accuracies[path] = accuracy(similarity, asked.numbers)
    return accuracies


if __name__ == "__main__":
    with open("config/config.yaml", encoding="utf-8") as file:
        model = yaml.safe_load(file)["model"]
    for path, share in measure(model, sys.argv[1:]).items():
        print(f"{100 * share:6.2f} %  {path}")
