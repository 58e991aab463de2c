"""The paper's confusion matrices in resources/ are those that were read from its figures."""

import json

from countclip.runtime.resources import resource


def test_every_count_is_the_one_that_was_read(shared) -> None:
    read = json.loads((shared / "reference/paper_confusion_matrices.json").read_text())
    with open(resource("resources/paper_confusion_matrices.json"), encoding="utf-8") as file:
        ours = json.load(file)["variants"]
    assert ours.keys() == read.keys()
    for variant, figures in read.items():
        for checkpoint in ("end", "best"):
            assert ours[variant].get(checkpoint) == figures.get(checkpoint), (variant, checkpoint)
