"""OCR as a peer: what the engine reads of signs, and which answer of the pool that is."""

import io

import numpy as np
import pandas as pd
import pytest

from countclip.experiments.reading import match, ocr
from countclip.experiments.reading.match import Matcher
from countclip.experiments.reading.ocr import Engine
from miniature import signs

POOL = ["yes", "coca cola", "taxi", "stop", "stop sign", "10", "no parking any time"]


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["TAXI"], "taxi"),
        (["Coca-Cola"], "coca cola"),
        (["THE", "STOP", "SIGN"], "stop sign"),  # the longest run
        (["no", "parking", "any", "time", "stop"], "no parking any time"),
        (["TAXI", "STOP"], "taxi"),  # two of one length: the first
        (["TEN"], "10"),
        (["TAXl"], "taxi"),  # one letter of four
        (["STAP", "S1GN"], "stop sign"),
        (["tuxl"], "yes"),  # half of the letters: the most frequent answer
        ([], "yes"),
        (["qqqqqq", "..."], "yes"),
    ],
)
def test_words_are_matched_to_the_pool(words, answer):
    assert POOL[Matcher(POOL)(words)] == answer


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "abc", 0), ("flaw", "lawn", 2)],
)
def test_distance_counts_changed_letters(one, other, expected):
    assert match.distance(one, other, 9) == match.distance(other, one, 9) == expected
    if expected:
        assert match.distance(one, other, expected - 1) == expected


def test_questions_on_one_image_get_one_match(tmp_path):
    pd.DataFrame(
        {"index": [1, 0], "image_id": ["b", "a"], "words": [["STOP"], ["TAXI"]]}
    ).to_parquet(tmp_path / "ocr.parquet")
    places = match.match(tmp_path / "ocr.parquet", [0, 0, 1], POOL)
    assert [POOL[place] for place in places] == ["taxi", "taxi", "stop"]


def test_the_engine_reads_the_embedded_signs(tmp_path):
    """So the images are readable: what a model misses is not their fault."""
    scenes = [signs.scene_of("validation", number) for number in range(12)]
    bodies = []
    for number, scene in enumerate(scenes):
        body = io.BytesIO()
        signs.draw(scene).save(body, "png")
        bodies.append((signs.image_id("validation", number), body.getvalue()))
    ocr.read_images(bodies, Engine(longest_side=256, threads=1), tmp_path / "ocr.parquet")
    table = pd.read_parquet(tmp_path / "ocr.parquet")
    assert table["image_id"].tolist() == [name for name, _ in bodies]
    right = shown = 0
    for scene, row in zip(scenes, table.to_dict("records"), strict=True):
        read = dict(zip((word.lower() for word in row["words"]), row["boxes"], strict=True))
        for sign in scene.signs:
            shown += 1
            if sign.word in read:
                right += 1
                x, y, width, height = read[sign.word]
                centre = np.array([x + width / 2, y + height / 2])
                expected = np.array([sign.x / signs.WIDTH, sign.y / signs.HEIGHT])
                assert np.abs(centre - expected).max() < 0.1
    assert right / shown > 0.9
    with pytest.raises(ValueError, match=r"1 wrong\n  broken: not_an_image"):
        ocr.read_images([("broken", b"")], Engine(256, 1), tmp_path / "x.parquet")
