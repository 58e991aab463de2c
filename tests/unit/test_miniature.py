"""The embedded world: its pictures show what they say, its faults are planned, it is big enough."""

import csv
import io
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from countclip.data import number_words
from countclip.runtime import network
from countclip.runtime.connection import connection
from countclip.runtime.files import sha256
from countclip.settings import config_files
from miniature import clip, detector, development, scenes, server, world

HOME = Path(__file__).parents[2]
CONFIG = config_files.default()
DETECTOR = HOME / "resources/miniature/detector"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    world.make_world(folder, **CONFIG["miniature"])
    return folder


@pytest.fixture(scope="module")
def web(folder):
    rows = pq.read_table(folder / "world.parquet").to_pylist()
    return {row["url"]: (row["kind"], json.loads(row["payload"])) for row in rows}


@pytest.fixture(scope="module")
def rows(folder):
    parts = sorted((folder / "laion").iterdir())
    return [row for part in parts for row in pq.read_table(part).to_pylist()]


@pytest.fixture(scope="module")
def benchmark(folder):
    return json.loads((folder / "countbench.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("number", [1, 2, 6, 10, 12])
def test_scene_shows_what_it_says(number):
    for index in range(20):
        scene = scenes.make("laion", index, number)
        names = Counter(thing.name for thing in scene.objects)
        assert names.pop(scene.name) == number
        assert all(other < number for other in names.values())
        boxes = scene.boxes
        assert boxes.min() >= 0
        assert boxes.max() <= scenes.SIZE
        for i, box in enumerate(boxes):
            others = np.delete(boxes, i, axis=0)
            apart = (others[:, :2] >= box[2:] + scenes.GAP) | (
                box[:2] >= others[:, 2:] + scenes.GAP
            )
            assert apart.any(axis=1).all()


def test_boxes_hold_the_ink():
    scene = scenes.make("laion", 3, 4)
    bare = scenes.Scene(**{**vars(scene), "objects": ()})
    ink = np.abs(np.int16(scenes.draw(scene)) - np.int16(scenes.draw(bare))).max(axis=2) > 12
    outside = ink.copy()
    for x0, y0, x1, y1 in scene.boxes:
        edges = (ink[y0, x0:x1], ink[y1 - 1, x0:x1], ink[y0:y1, x0], ink[y0:y1, x1 - 1])
        assert all(edge.any() for edge in edges)
        outside[y0:y1, x0:x1] = False
    assert not outside.any()


def test_scenes_are_drawn_from_their_seed_alone():
    first = server.image("countbench", 5, 7, "PNG")
    assert first == server.image("countbench", 5, 7, "PNG")
    others = {server.image(stream, 5, 7, "PNG") for stream in scenes.STREAMS}
    assert len(others) == len(scenes.STREAMS)


def test_world_is_the_same_twice(folder, tmp_path):
    world.make_world(tmp_path, **CONFIG["miniature"])
    for file in ("world.parquet", "laion.tsv", "countbench.json", "laion/part-00001.parquet"):
        assert (tmp_path / file).read_bytes() == (folder / file).read_bytes()


def test_the_benchmark_and_its_repairs_fit_any_seed(folder, web, tmp_path):
    world.make_world(tmp_path, **CONFIG["miniature"] | {"seed": 3, "rows": 500})
    for file, same in (("countbench.json", True), ("laion.tsv", False)):
        assert ((tmp_path / file).read_bytes() == (folder / file).read_bytes()) == same
    rows = pq.read_table(tmp_path / "world.parquet").to_pylist()
    other = {row["url"]: (row["kind"], json.loads(row["payload"])) for row in rows}
    theirs = [url for url in web if "/bench/" in url or "//mirror." in url]
    assert len(theirs) == 2 * 540
    assert all(other[url] == web[url] for url in theirs)


def test_too_few_rows_are_an_error_that_says_so(tmp_path):
    with pytest.raises(ValueError, match="miniature.rows: of 60 rows, .* need 34: raise rows"):
        world.make_world(tmp_path, **CONFIG["miniature"] | {"rows": 60})


def test_laion_is_as_wild_and_as_long_as_planned(rows, web):
    settings = CONFIG["miniature"]
    assert len(rows) == settings["rows"]
    honest = []
    for row in rows:
        word = number_words.label(row["TEXT"] or "")
        kind, shown = web.get(row["URL"], ("unusable", {}))
        if word and kind == "scene" and shown["number"] == word.number:
            honest.append(word.number)
    assert len(honest) > 0.35 * settings["rows"]
    shares = np.bincount(honest, minlength=11)[2:] / len(honest)
    assert shares == pytest.approx(settings["class_shares"], abs=0.03)
    texts = [row["TEXT"] for row in rows]
    assert None in texts
    assert "" in texts
    assert max(len(text) for text in texts if text) == 20_000
    for piece in ("TWO", "-pack", "Seventy", "fourth", "often", "kitten", "Bachblüten", "\ufffd"):
        assert any(piece in text for text in texts if text), piece


def test_faults_are_those_planned(web):
    kinds = Counter(kind for kind, _ in web.values())
    assert kinds["slow"] == world.SLOW + world.DEAD["slow"]
    assert (
        min(kinds[kind] for kind in ("html", "truncated", "cut_off", "redirect", "placeholder"))
        > 10
    )
    statuses = {payload["status"] for kind, payload in web.values() if kind == "status"}
    assert statuses == {403, 404, 410, 500, 502}


def test_benchmark_is_balanced_and_never_a_training_scene(benchmark, web, rows):
    assert Counter(row["number"] for row in benchmark) == dict.fromkeys(number_words.NUMBERS, 60)
    kinds = Counter(web[row["image_url"]][0] for row in benchmark)
    assert kinds["scene"] == 540 - sum(world.DEAD.values()) - world.PLACEHOLDERS - world.PAGES
    for row in benchmark:
        number_words.word_for(row["text"], row["number"])
        kind, shown = web[row["image_url"]]
        assert kind != "scene" or (shown["stream"], shown["number"]) == (
            "countbench",
            row["number"],
        )
    pairs = {(row["image_url"], row["text"]) for row in benchmark}
    assert sum((row["URL"], row["TEXT"]) in pairs for row in rows) == 4  # leaks, to be removed


def test_repairs_fit_the_world(benchmark, web):
    path = HOME / "resources/miniature/repairs.csv"
    with open(path, encoding="utf-8", newline="") as file:
        repairs = list(csv.DictReader(file))
    alive = {i for i, row in enumerate(benchmark) if web[row["image_url"]][0] == "scene"}
    for repair in repairs:
        index, action = int(repair["index"]), repair["action"]
        assert (index in alive) == (action != "replace"), repair
        if repair["url"]:
            kind, shown = web[repair["url"]]
            assert (kind, shown["index"]) == ("scene", index)
        elif repair["file"]:
            body = (path.parent / repair["file"]).read_bytes()
            assert sha256(body) == repair["sha256"]
            meant = scenes.draw(scenes.make("countbench", index, benchmark[index]["number"]))
            assert np.array_equal(np.array(Image.open(io.BytesIO(body))), np.array(meant))
    actions = Counter(repair["action"] for repair in repairs)
    assert len(alive) + actions["replace"] - actions["exclude"] >= 490


def test_pretraining_captions_name_the_number_in_their_share():
    pairs = list(world.pretraining_pairs(400, seed=1, named_share=0.3))
    named = 0
    for scene, caption in pairs:
        words = number_words.find(caption)
        assert {word.number for word in words} <= {scene.number}
        named += bool(words) or " one " in f" {caption} "
    assert 0.2 < named / len(pairs) < 0.4
    assert [c for _, c in pairs] == [c for _, c in world.pretraining_pairs(400, 1, 0.3)]


def test_server_answers_as_planned(folder, benchmark, web):
    with connection("miniature", folder / "world.parquet") as environment:
        session = network.session(environment)

        def ask(kind, **payload):
            url = next(
                u for u, a in web.items() if a[0] == kind and payload.items() <= a[1].items()
            )
            timeout = 1 if kind == "slow" else 30
            return network.get(url, session=session, max_bytes=10**6, timeout=timeout)

        assert Image.open(io.BytesIO(ask("scene").body)).size == (scenes.SIZE, scenes.SIZE)
        assert ask("html").content_type.startswith("text/html")
        assert ask("placeholder").body == server.placeholder()
        assert ask("scene", type="text/plain").content_type == "text/plain"
        with pytest.raises(OSError, match="truncated"):
            Image.open(io.BytesIO(ask("truncated").body)).load()
        with pytest.raises(network.DownloadError, match="truncated"):
            ask("cut_off")
        for status in (403, 404, 500):
            with pytest.raises(network.DownloadError, match=f"http_{status}"):
                ask("status", status=status)
        with pytest.raises(network.DownloadError, match="timeout"):
            ask("slow")


def test_committed_detector_follows_its_recipe_and_counts():

    about = json.loads((DETECTOR / "recipe.json").read_text(encoding="utf-8"))
    onnx = DETECTOR / "yolov8.onnx"
    settings = {k: v for k, v in CONFIG["miniature_detector"].items() if k != "test_scenes"}
    assert about["recipe"] == detector.recipe(**settings)
    assert about["sha256"] == sha256(onnx)
    assert onnx.stat().st_size < 4e6
    assert about["exact_counts"]["share"] > 0.9
    assert detector.exact_counts(onnx, 54)["share"] > 0.9


def test_committed_clip_follows_its_recipe_and_counts_badly():

    folder = DETECTOR.parent / "clip"
    about = json.loads((folder / "recipe.json").read_text(encoding="utf-8"))
    weights = folder / f"{clip.NAME}.safetensors"
    apart = ("test_scenes", "evaluations")  # they measure and change no weight
    settings = {k: v for k, v in CONFIG["miniature_clip"].items() if k not in apart}
    assert about["recipe"] == clip.recipe(**settings)
    assert about["sha256"] == sha256(weights)
    assert weights.stat().st_size < 4e6
    assert 0.2 < about["development_accuracy"] < 0.4
    measured = development.measure(
        {
            "name": clip.NAME,
            "pretrained": str(weights),
            "config": str(weights.with_suffix(".json")),
        },
        [],
        CONFIG["miniature_clip"]["test_scenes"],
    )
    assert measured == {str(weights): pytest.approx(about["development_accuracy"], abs=0.005)}
