"""The embedded set of signs: its words, scenes and questions, in TextVQA's form."""

import json
import re
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import tiny_training
from countclip.experiments.reading import controls, data, metric, pool, views
from countclip.model.clip import Clip
from countclip.runtime.files import sha256
from countclip.runtime.folders import ImageFolder
from countclip.runtime.resources import resource
from countclip.settings import config_files
from miniature import reading_clip, signs

# ---- words ----


def near(word):
    """The word with any one letter left out, changed or added, each with a dot for it."""
    changed = {word[:i] + "." + word[i + 1 :] for i in range(len(word))}
    return changed | {word[:i] + "." + word[i:] for i in range(len(word) + 1)}


def test_every_word_is_of_one_kind_and_pseudo_words_are_like_no_other():
    kinds = {kind: signs.words(kind) for kind in signs.KINDS}
    everything = [word for words in kinds.values() for word in words]
    assert len(everything) == len(set(everything))
    assert all(re.fullmatch("[a-z]{3,6}", word) for word in everything)
    assert {kind: len(words) >= 280 for kind, words in kinds.items()} == dict.fromkeys(kinds, True)
    others = {word for kind in ("sign", "seen", "unseen") for word in kinds[kind]}
    near_others = {pattern for word in others for pattern in near(word)}
    for word in kinds["pseudo"]:
        assert word not in others
        # One letter apart: both have the same pattern, or one is the other with a letter less.
        assert not near(word) & near_others, word
    assert not {"yes", "no", *signs.COLOURS} & set(everything)


# ---- scenes ----

SCENES = [signs.scene_of("train", number) for number in range(60)]


def test_scenes_are_wider_than_high_with_one_to_three_signs_apart():
    assert set(Counter(len(scene.signs) for scene in SCENES)) == {1, 2, 3}
    for scene in SCENES:
        assert len({sign.colour for sign in scene.signs}) == len(scene.signs)
        for sign in scene.signs:
            x, y, width, height = sign.box
            assert 0 <= x <= x + width <= 1
            assert 0 <= y <= y + height <= 1
        for one, other in combinations(scene.signs, 2):
            assert signs._apart(one, other)
        assert signs.draw(scene).size == (168, 128)


def test_scenes_vary_in_all_that_they_should():
    every = [sign for scene in SCENES for sign in scene.signs]
    assert {sign.face for sign in every} == set(signs.FACES["seen"])
    assert len({sign.board for sign in every}) == len(every)
    assert {scene.pattern for scene in SCENES} == set(signs.PATTERNS)
    assert {sign.colour for sign in every} == set(signs.COLOURS)
    assert np.ptp([sign.slant for sign in every]) > 7
    assert np.ptp([sign.size for sign in every]) > 8
    cut = [views.shown(sign.box, 168, 128, "centre", 64)[0] for sign in every]
    assert 0.2 < np.mean(np.array(cut) < 0.99) < 0.7  # of the words, CLIP's crop cuts
    tall = [views.shown(sign.box, 168, 128, "centre", 64)[1] for sign in every]
    assert min(tall) > 6
    assert max(tall) < 30


def test_words_mostly_stand_at_one_kind_of_place():
    home, shown = {}, []
    for number in range(400):
        scene = signs.scene_of("train", number)
        for sign in scene.signs:
            shown.append((sign.word, signs.PLACES.index((scene.pattern, scene.tint))))
    for word, place in shown:
        home.setdefault(word, Counter())[place] += 1
    often = [counts for counts in home.values() if counts.total() >= 5]
    share = np.mean([max(counts.values()) / counts.total() for counts in often])
    assert len(often) > 20
    assert 0.6 < share < 0.9  # AT_HOME, and by chance a little more


def test_the_easiest_scenes_are_dark_words_on_light_boards_in_the_middle():
    rng = np.random.default_rng(0)
    easy = signs.Difficulty(look=0, place=0, signs=1)
    for word in ("taxi", "mint", "eagle"):
        (sign,) = signs.make([word], rng, difficulty=easy).signs
        assert (sign.slant, sign.face) == (0, "DejaVuSans")
        assert max(abs(sign.x - 84), abs(sign.y - 64)) <= signs.GRID / 2 + 1
        assert sign.size == max(signs.TEXT_SIZES)
        assert min(sign.frame) > 200
        assert min(sign.board) > 240
        assert sign.colour == "white"


def test_words_begin_near_corners_of_the_grid():
    rng = np.random.default_rng(1)
    off = []
    for _ in range(200):
        (sign,) = signs.make(["taxi"], rng, difficulty=signs.Difficulty(place=0.8)).signs
        left, top = sign.box[0] * 168 - signs.ORIGIN[0], sign.box[1] * 128 - signs.ORIGIN[1]
        off.append([abs(left - 16 * round(left / 16)), abs(top - 16 * round(top / 16))])
    near = (np.array(off) <= signs.JITTER + 1).mean(axis=0)
    assert near.min() > 0.8  # the others are held back by the edge
    assert np.max(off) > 0


def test_the_ink_is_where_the_box_says():
    for scene in SCENES[:12]:
        (x, y, w, h), sign = scene.signs[0].box, scene.signs[0]
        pixels = np.asarray(signs.draw(scene), int)
        contrast = np.abs(pixels - np.array(sign.board)).sum(axis=2) > 120
        is_board = np.abs(pixels - np.array(sign.board)).max(axis=2) < 60
        columns = slice(round(x * 168), round((x + w) * 168))
        rows = slice(round(y * 128), round((y + h) * 128))
        assert contrast[rows, columns].mean() > 0.1
        assert is_board[rows, columns].mean() > 0.3


def test_a_scene_depends_on_its_split_and_number_alone():
    assert signs.scene_of("train", 7) == SCENES[7]
    again = np.asarray(signs.draw(signs.scene_of("train", 7)))
    np.testing.assert_array_equal(again, np.asarray(signs.draw(SCENES[7])))
    assert signs.scene_of("validation", 7) != SCENES[7]


# ---- questions ----


@pytest.mark.parametrize("number", range(40))
def test_a_question_has_its_answer_in_the_scene(number):
    scene, _, entries = next(
        part for n, part in enumerate(signs.entries("train", number + 1)) if n == number
    )
    shown = [sign.word for sign in scene.signs]
    assert 1 <= len(entries) <= 2
    for entry in entries:
        question, answer = entry["question"], metric.majority(entry["answers"])
        if found := re.search(r"(?:says?|word) (\w+)\?$", question):
            if question.startswith("what colour"):
                (sign,) = (sign for sign in scene.signs if sign.word == found[1])
                assert answer == sign.colour
            else:
                assert answer == ("yes" if found[1] in shown else "no")
        elif found := re.search(r"the (\w+) sign", question):
            (sign,) = (sign for sign in scene.signs if sign.colour == found[1])
            assert answer == sign.word
        elif "left" in question or "right" in question:
            assert answer == shown[0 if "left" in question else -1]
        else:
            assert [answer] == shown


# ---- the set in TextVQA's form, through the experiment's reader ----


@pytest.fixture(scope="module")
def question_set(tmp_path_factory):
    folder = tmp_path_factory.mktemp("signs")
    outputs = {
        "images": folder / "train_images",
        **{f"{split}{end}": folder / f"{split}{end}.json"
           for split in ("train", "validation") for end in ("", "_ocr")},
    }  # fmt: skip
    signs.make_questions({"train": 70, "validation": 30}, outputs)
    return outputs


def test_the_set_has_the_keys_and_types_of_textvqa(question_set):
    body = json.loads(question_set["validation"].read_text())
    assert (body["dataset_type"], body["dataset_version"]) == ("val", "0.5.1")
    assert {frozenset(entry) for entry in body["data"]} == {
        frozenset(
            ("question", "image_id", "image_classes", "flickr_original_url", "flickr_300k_url",
             "image_width", "image_height", "answers", "question_tokens", "question_id",
             "set_name")
        )
    }  # fmt: skip
    for entry in body["data"]:
        assert re.fullmatch("[0-9a-f]{16}", entry["image_id"])
        assert len(entry["answers"]) == 10
        assert type(entry["question_id"]) is int


def test_the_experiment_reads_the_set_and_its_ocr(question_set, tmp_path):
    tables = {}
    for split, n in (("train", 70), ("validation", 30)):
        questions = data.read_json(question_set[split])
        found = data.image_files(questions, ImageFolder(question_set["images"]))
        assert len(found) == n
        paths = {name: tmp_path / f"{split}_{name}" for name in ("questions", "images", "summary")}
        data.make_split(
            questions, [question_set[split]], split=split, counts=None,
            ocr=question_set[f"{split}_ocr"], questions_parquet=paths["questions"],
            images_parquet=paths["images"], summary_json=paths["summary"],
        )  # fmt: skip
        tables[split] = data.read_questions(paths["questions"])
        read = pd.read_parquet(paths["images"])
        assert read["words"].map(len).between(1, 3).all()
    assert data.overlap(tables["train"], tables["validation"])["images"] == 0
    made = pool.make_pool(
        tables["train"], 300, pool_csv=tmp_path / "pool.csv", summary_json=tmp_path / "pool.json"
    )
    assert {"yes", "no"} & set(made["answer"])
    answers = tables["validation"]["answers"]
    words = [list(read["words"][image]) for image in tables["validation"]["image"]]
    ceilings = controls.ceilings(answers, list(made["answer"]), words)
    assert ceilings["ocr_ceiling"].exact.mean() > 0.6  # all but yes, no and colours
    assert 0.8 < controls.annotators(answers).soft.mean() < 0.95  # as people on TextVQA


def test_making_the_set_twice_gives_the_same_bytes(question_set, tmp_path):
    outputs = {name: tmp_path / path.name for name, path in question_set.items()}
    signs.make_questions({"train": 8, "validation": 3}, outputs)
    first = json.loads(question_set["train"].read_text())["data"]
    again = json.loads(outputs["train"].read_text())["data"]
    assert again == first[: len(again)]
    for path in outputs["images"].iterdir():
        assert path.read_bytes() == (question_set["images"] / path.name).read_bytes()


# ---- words as images ----


def test_words_as_images_cover_kinds_and_faces(tmp_path):
    signs.make_words(4, tmp_path / "words.csv", tmp_path / "words")
    table = pd.read_csv(tmp_path / "words.csv", keep_default_na=False)
    assert tuple(table.columns) == signs.WORD_COLUMNS
    assert Counter(zip(table["kind"], table["faces"], strict=True)) == {
        (kind, faces): 4 for kind in ("sign", "unseen", "pseudo") for faces in signs.FACES
    }
    for row in table.to_dict("records"):
        assert row["word"] in signs.words(row["kind"])
        assert row["face"] in signs.FACES[row["faces"]]
        assert row["letters"] == len(row["word"])
        with Image.open(tmp_path / row["path"]) as image:
            assert image.size == (168, 128)
            assert row["height"] < 40


# ---- the reading base ----


def test_a_pretraining_grows_harder():
    steps = [reading_clip.difficulty_at(share) for share in np.linspace(0, 1, 21)]
    assert steps[0] == signs.Difficulty(0, 0, 1)
    assert steps[5] == signs.Difficulty(0, 0, 1)
    assert steps[16] == signs.Difficulty(1, 0.8, 3)
    assert steps[-1] == signs.Difficulty(1, 0.8, 3)
    assert all(list(one) <= list(other) for one, other in zip(steps, steps[1:], strict=False))


def test_captions_say_what_the_scene_shows_and_never_an_unseen_word():
    known = set(signs.words("sign") + signs.words("seen")) - set(reading_clip.held_out())
    assert len(reading_clip.held_out()) >= 100
    lengths = Counter()
    for scene, text in list(reading_clip.scenes(150, seed=1)):
        shown = [sign.word for sign in scene.signs]
        assert set(shown) <= known
        said = text.split() if "says" not in text else re.findall(r"says (\w+)", text)
        assert said == shown
        for sign in scene.signs:
            assert "says" not in text or f"a {sign.colour} sign that says {sign.word}" in text
        lengths[len(shown)] += 1
    assert set(lengths) == {1, 2, 3}


def test_a_step_draws_from_the_latest_pairs_by_seed_and_step_alone():
    images = np.arange(1000, dtype=np.int64).astype(np.uint8)[:, None, None, None]
    tokens = np.arange(1000)[:, None]
    batches = reading_clip.Growing(images, tokens, size=32, steps=100, seed=3)
    drawn = {step: batches.batch(step).tokens[:, 0].numpy() for step in (0, 50, 99)}
    assert drawn[0].max() < 150
    assert drawn[99].min() >= 850
    assert drawn[0].mean() < drawn[50].mean() < drawn[99].mean()
    again = reading_clip.Growing(images, tokens, size=32, steps=100, seed=3)
    np.testing.assert_array_equal(again.batch(50).tokens[:, 0].numpy(), drawn[50])
    assert len(set(drawn[50].tolist())) == 32


def test_the_tokenizer_spells_the_words_on_signs(tmp_path):
    paths = {"config": "reading-vit.json", "merges": "reading-vit.merges.txt.gz",
             "weights": "w.safetensors", "history": "h.csv", "recipe": "r.json"}  # fmt: skip
    outputs = {name: str(tmp_path / path) for name, path in paths.items()}
    settings = tiny_training.SETTINGS | {"seed": 0, "train_logit_scale": True}
    reading_clip.pretrain(
        outputs, str(tmp_path / "state"), pairs=16, test_words=2, threads=1, steps=1,
        batch_size=4, evaluations=1, **settings,
    )  # fmt: skip
    clip = Clip("reading-vit", outputs["weights"], outputs["config"])
    encode = clip.tokenizer.encode
    assert len(encode("red")) == len(encode("sign")) == len(encode("says")) == 1
    spelt = [len(encode(word)) / len(word) for kind in signs.KINDS for word in signs.words(kind)]
    assert np.mean(spelt) > 0.75
    longest = " and ".join(f"a yellow sign that says {word}" for word in ("banana", "mother", "x"))
    assert len(encode(longest)) <= clip.token_limit
    made = json.loads((tmp_path / "r.json").read_text())
    assert set(made) == {"recipe", "sha256", "trained_words", "held_out_words"}


def test_the_committed_base_follows_its_recipe_and_reads():
    weights = Path(resource(f"resources/miniature/reading_clip/{reading_clip.NAME}.safetensors"))
    about = json.loads((weights.parent / "recipe.json").read_text(encoding="utf-8"))
    config = config_files.default()["miniature_reading_clip"]
    apart = ("test_words", "evaluations")  # they measure and change no weight
    settings = {key: value for key, value in config.items() if key not in apart}
    assert about["recipe"] == reading_clip.recipe(**settings)
    assert about["sha256"] == sha256(weights)
    assert weights.stat().st_size < 4e6
    clip = Clip(reading_clip.NAME, str(weights), str(weights.with_suffix(".json")))
    measured = reading_clip.Development(clip, config["test_words"])()
    assert measured == {name: pytest.approx(about[name], abs=0.02) for name in measured}
    assert min(measured.values()) > 0.5
