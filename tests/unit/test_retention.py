"""What the models can do beside counting: loaders on small folders, a real CLIP, plain sums."""

import json
import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml
from PIL import Image

from countclip.evaluation import retention, retention_data
from countclip.model import embeddings
from countclip.model.clip import Clip
from countclip.report import pages, scores, sheets
from countclip.report import retention as report_retention
from countclip.runtime.resources import HOME
from miniature import retention_tasks

MODEL = HOME / "resources/miniature/clip"
NAME = {
    "name": "miniature-vit",
    "pretrained": str(MODEL / "miniature-vit.safetensors"),
    "config": str(MODEL / "miniature-vit.json"),
}
PROMPTS = str(HOME / "resources/miniature/prompts.txt")
COLOURS = {"hot_dog": (200, 0, 0), "apple_pie": (0, 200, 0)}


@pytest.fixture(scope="module")
def packed(tmp_path_factory):
    """The miniature's two tasks, drawn, read and packed as the rules do it."""
    folder = tmp_path_factory.mktemp("tasks")
    things, pairs, captions = folder / "things", folder / "pairs", folder / "captions.tsv"
    retention_tasks.write_tasks(
        class_folder=things, pair_folder=pairs, captions=captions, digests=folder / "digests.tsv"
    )
    made = {}
    for name, prompts, *where in (
        ("things", PROMPTS, "folder", things, None),
        ("pairs", None, "flickr30k", pairs, captions),
    ):
        files = str(folder / f"{name}.npy"), str(folder / f"{name}.json")
        retention_data.pack(retention_data.read(*where), 64, *files)
        made[name] = retention_data.unpack(*files, prompts)
    return made


@pytest.fixture(scope="module")
def clip():
    return Clip(**NAME)


def picture(path, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (40, 30), colour).save(path)
    return path


# ---- loaders ----


def shown(task):
    """The pictures of a task by their colour, each with the texts that belong to it."""
    texts = np.array(task.texts)
    return [
        (image.getpixel((5, 5)), texts[task.of_text == own].tolist())
        for image, own in zip(task.images, task.of_image, strict=True)
    ]


CLASSES = [((0, 200, 0), ["apple pie"]), ((200, 0, 0), ["hot dog"])]


def test_a_folder_for_each_class(tmp_path):
    for name, colour in COLOURS.items():
        picture(tmp_path / name / "0.png", colour)
    assert shown(retention_data.read("folder", str(tmp_path), None)) == CLASSES


def test_rendered_sst2_needs_what_its_guide_says_and_nothing_else(tmp_path):
    guide = (HOME / "docs/guides/own-retention-tasks.md").read_text(encoding="utf-8")
    (block,) = (part for part in re.findall(r"```yaml\n(.*?)```", guide, re.S) if "sst2" in part)
    task = yaml.safe_load(block)["retention"]["tasks"]["rendered_sst2"]
    for place, name in enumerate(("negative", "positive")):
        for number in range(2):
            picture(tmp_path / "test" / name / f"{number}.png", (100 * place, 0, 0))
    folder = str(tmp_path / Path(task["folder"]).name)
    read = retention_data.read(task["source"], folder, task["annotations"])
    assert shown(read) == [((0, 0, 0), ["negative"])] * 2 + [((100, 0, 0), ["positive"])] * 2
    templates = retention_data.read_templates(str(HOME / task["templates"]))
    assert [one.format("negative") for one in templates] == ["a negative review of a movie."]
    paper = (HOME / "config/paper.yaml").read_text(encoding="utf-8")
    lines = re.search(r"    # rendered_sst2:.*\n((?:    #   .*\n)+)", paper)[1]
    assert yaml.safe_load(lines.replace("#", " ")) == task


def test_files_that_are_passed_over_are_counted(tmp_path, caplog):
    for name, colour in COLOURS.items():
        picture(tmp_path / name / "0.png", colour)
    picture(tmp_path / "hot_dog" / "1.gif", (1, 2, 3))
    assert len(retention_data.read("folder", str(tmp_path), None).of_image) == 2
    assert "1 files have no name of an image" in caplog.text


def test_no_class_is_made_of_what_tools_leave(tmp_path, caplog):
    for name, colour in COLOURS.items():
        picture(tmp_path / "data" / name / "0.png", colour)
        picture(tmp_path / "data/__MACOSX" / name / "._0.png", (1, 2, 3))
    picture(tmp_path / "data/.cache/0.png", (1, 2, 3))
    picture(tmp_path / "data/hot_dog/.thumbnails/0.png", (1, 2, 3))
    (tmp_path / "data/hot_dog/Thumbs.db").write_bytes(b"x")
    assert shown(retention_data.read("folder", str(tmp_path / "data"), None)) == CLASSES
    assert "4 hidden, left by a tool or a loop of links, passed over: " in caplog.text
    assert f"{tmp_path}/data/hot_dog/.thumbnails" in caplog.text


def test_a_class_may_be_a_link_and_an_image_of_a_phone(tmp_path, caplog):
    picture(tmp_path / "store/0.png", COLOURS["hot_dog"])
    picture(tmp_path / "data/apple_pie/0.jp2", COLOURS["apple_pie"])
    (tmp_path / "data/hot_dog").symlink_to("../store")
    assert shown(retention_data.read("folder", str(tmp_path / "data"), None)) == CLASSES
    (tmp_path / "data/hot_dog/1.heic").symlink_to("gone.heic")
    task = retention_data.read("folder", str(tmp_path / "data"), None)
    with pytest.raises(ValueError, match=r"hot_dog/1.heic: a link to 'gone.heic': No such file"):
        list(task.images)


def test_a_folder_without_images_is_named(tmp_path):
    with pytest.raises(ValueError, match="holds no folder, and needs one for each class"):
        retention_data.read("folder", str(tmp_path), None)
    (tmp_path / "hot_dog").mkdir()
    with pytest.raises(ValueError, match="hot_dog: holds no image, so it is no class: take it"):
        retention_data.read("folder", str(tmp_path), None)


def test_captions_name_linked_images_and_either_unicode_form(tmp_path):
    picture(tmp_path / "cache/u\u0308.png", (200, 0, 0))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/u\u0308.png").symlink_to("../cache/u\u0308.png")
    (tmp_path / "captions").write_text("\u00fc.png#0\ta hot dog\n", encoding="utf-8")
    where = "flickr30k", str(tmp_path / "data"), str(tmp_path / "captions")
    with pytest.raises(ValueError, match="is a link to .* or set `follow_links: true`"):
        retention_data.read(*where)
    task = retention_data.read(*where, follow_links=True)
    assert shown(task) == [((200, 0, 0), ["a hot dog"])]


def test_a_class_whose_name_is_no_utf8_is_named_before_any_image_is_read(tmp_path):
    picture(tmp_path / "hot_dog/0.png", (200, 0, 0))
    os.rename(tmp_path / "hot_dog", os.fsencode(tmp_path) + b"/caf\xe9")
    with pytest.raises(ValueError, match=r"class 'caf.{1,2}xe9': its name is not UTF-8; rename"):
        retention_data.read("folder", str(tmp_path), None)


def test_food101_takes_the_test_pictures_alone(tmp_path):
    meta = tmp_path / "food-101/meta"
    meta.mkdir(parents=True)
    for name, colour in COLOURS.items():
        picture(tmp_path / f"food-101/images/{name}/1.png", colour).rename(
            tmp_path / f"food-101/images/{name}/1.jpg"
        )
    (meta / "test.json").write_text(json.dumps({name: [f"{name}/1"] for name in COLOURS}))
    (meta / "train.json").write_text(json.dumps({name: [f"{name}/2"] for name in COLOURS}))
    task = retention_data.read("food101", str(tmp_path), None)
    assert sorted(shown(task)) == CLASSES


def test_imagenets_folders_get_the_names_of_their_classes(tmp_path):
    numbers = range(0, 2000, 2)  # any ascending ids: the names follow from their order
    for number in numbers:
        (tmp_path / f"n{number:08}").mkdir()
        (tmp_path / f"n{number:08}/a.jpg").symlink_to(tmp_path / "one.png")
    picture(tmp_path / "one.png", (1, 2, 3))
    task = retention_data.read("imagenet", str(tmp_path), None)
    assert task.texts[:2] == ["tench", "goldfish"]
    assert task.of_image.tolist() == list(range(1000))
    (tmp_path / "n00000000/a.jpg").unlink()
    (tmp_path / "n00000000").rmdir()
    with pytest.raises(ValueError, match="here are 999"):
        retention_data.read("imagenet", str(tmp_path), None)


def test_parquet_as_the_hub_has_cifar(tmp_path):
    """Several files, the pictures as bytes, the names of the classes in the metadata."""
    features = {
        "img": {"_type": "Image"},
        "fine_label": {"names": sorted(COLOURS), "_type": "ClassLabel"},
        "coarse_label": {"names": ["food"], "_type": "ClassLabel"},
    }
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    for number, name in enumerate(sorted(COLOURS)):
        body = picture(tmp_path / f"{name}.png", COLOURS[name]).read_bytes()
        rows = {"img": [{"bytes": body, "path": None}], "fine_label": [number], "coarse_label": [0]}
        table = pa.table(rows).replace_schema_metadata(about)
        pq.write_table(table, tmp_path / f"test-{number}.parquet")
    assert shown(retention_data.read("parquet", str(tmp_path), None)) == CLASSES
    for label in (-1, 2, None):  # a test split whose labels are kept back has -1
        wrong = pa.table(rows | {"fine_label": pa.array([label], pa.int64())})
        pq.write_table(wrong.replace_schema_metadata(about), tmp_path / "test-1.parquet")
        with pytest.raises(ValueError, match=r"row 1: its fine_label is (-1|2|nan), no class"):
            retention_data.read("parquet", str(tmp_path), None)
    for body in (None, b"no picture"):
        wrong = pa.table(rows | {"img": pa.array([{"bytes": body}])})
        pq.write_table(wrong.replace_schema_metadata(about), tmp_path / "test-1.parquet")
        task = retention_data.read("parquet", str(tmp_path), None)
        with pytest.raises(ValueError, match="test-1.parquet: row 0: not_an_image"):
            list(task.images)
    pq.write_table(pa.table(rows), tmp_path / "test-0.parquet")
    with pytest.raises(ValueError, match=r"test-0.parquet.*source: folder"):
        retention_data.read("parquet", str(tmp_path), None)


def test_hidden_parquet_files_are_no_split(tmp_path):
    for name in ("._test-00000-of-00001.parquet", ".train-00000-of-00001.parquet"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match="there is no Parquet file in it"):
        retention_data.read("parquet", str(tmp_path), None)


def test_two_splits_of_the_hub_are_not_taken_for_one_task(tmp_path):
    for split in ("test", "train"):
        (tmp_path / f"{split}-00000-of-00001.parquet").touch()
    with pytest.raises(ValueError, match="has the splits test, train; put the files of one"):
        retention_data.read("parquet", str(tmp_path), None)


def captioned(tmp_path):
    for number, colour in enumerate(COLOURS.values()):
        picture(tmp_path / f"{number}.png", colour)
    picture(tmp_path / "of-no-caption.png", (9, 9, 9))
    return [((200, 0, 0), ["a hot dog", "red"]), ((0, 200, 0), ["a pie", "green"])]


def test_flickr30k_has_the_pictures_that_its_captions_name(tmp_path):
    expected = captioned(tmp_path)
    lines = [
        f"{number}.png#{n}\t{text}\n"
        for number, (_, texts) in enumerate(expected)
        for n, text in enumerate(texts)
    ]
    (tmp_path / "test.token").write_text("".join(lines))
    read = retention_data.read("flickr30k", str(tmp_path), str(tmp_path / "test.token"))
    assert shown(read) == expected


def test_a_tenth_caption_is_of_the_same_picture(tmp_path):
    picture(tmp_path / "0.png", (1, 2, 3))
    lines = [f"0.png#{n}\tcaption {n}\n" for n in range(11)]
    (tmp_path / "test.token").write_text("".join(lines))
    task = retention_data.read("flickr30k", str(tmp_path), str(tmp_path / "test.token"))
    assert (len(task.of_image), task.of_text.tolist()) == (1, [0] * 11)


@pytest.mark.parametrize(
    ("source", "annotations", "complaint"),
    [
        ("flickr30k", "0.png#0\ta dog\n0.png#1 a dog\n", "captions: line 2: must be"),
        ("flickr30k", "0.png#0\t \n", "captions: line 1: must be"),
        ("flickr30k", "../secret.png#0\ta dog\n", "'../secret.png' must be a file inside"),
        ("flickr30k", "8" * 300 + "#0\ta dog\n", "captions: 1 wrong\n  '8+'... names no file"),
        (
            "flickr30k",
            b"0.png#0\ta dog \xff\n",
            r"captions: is not UTF-8; save it as UTF-8 \(line 1: byte 0xff\)",
        ),
        ("coco", "0.png#0\ta dog\n", "captions: is no JSON: Extra data: line 1 column 2"),
        ("coco", {"images": []}, "captions: is not as .*'annotations'"),
        ("coco", {"images": [], "annotations": []}, "there is no image"),
        ("coco", {"annotations": [{"image_id": 2, "caption": "a"}]}, "captions: is not as"),
        ("coco", {"annotations": [{"image_id": 1, "caption": 5}]}, "captions: is not as"),
        ("coco", {"annotations": [{"image_id": 1, "caption": "a"}]}, "'/etc/x' must be a file"),
    ],
)
def test_wrong_captions_are_named(tmp_path, source, annotations, complaint):
    if isinstance(annotations, dict):
        annotations = json.dumps({"images": [{"id": 1, "file_name": "/etc/x"}]} | annotations)
    if isinstance(annotations, str):
        annotations = annotations.encode()
    (tmp_path / "captions").write_bytes(annotations)
    (tmp_path / "pictures").mkdir()
    with pytest.raises(ValueError, match=complaint):
        retention_data.read(source, str(tmp_path / "pictures"), str(tmp_path / "captions"))


def test_coco_has_the_pictures_that_have_captions(tmp_path):
    expected = captioned(tmp_path)
    stored = {
        "images": [{"id": 7 + i, "file_name": f"{i}.png"} for i in range(2)]
        + [{"id": 1, "file_name": "of-no-caption.png"}],
        "annotations": [
            {"id": 10 * i + j, "image_id": 7 + i, "caption": text}
            for j in range(2)
            for i, text in enumerate(row[1][j] for row in expected)
        ],
    }
    (tmp_path / "captions.json").write_text(json.dumps(stored))
    read = retention_data.read("coco", str(tmp_path), str(tmp_path / "captions.json"))
    assert shown(read) == expected


def test_a_broken_picture_is_named(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/broken.png").write_bytes(b"\x89PNG broken")
    task = retention_data.read("folder", str(tmp_path), None)
    with pytest.raises(ValueError, match=r"a/broken.png: undecodable"):
        retention_data.pack(task, 8, str(tmp_path / "i.npy"), str(tmp_path / "t.json"))


def test_a_picture_that_is_too_large_is_named_before_it_is_decoded(tmp_path, monkeypatch):
    size = picture(tmp_path / "a/large.png", (200, 0, 0)).stat().st_size
    monkeypatch.setattr(retention_data, "MAX_BYTES", size)
    assert len(list(retention_data.read("folder", str(tmp_path), None).images)) == 1
    monkeypatch.setattr(retention_data, "MAX_BYTES", size - 1)
    with pytest.raises(ValueError, match=rf"a/large.png: more than {size - 1} bytes"):
        list(retention_data.read("folder", str(tmp_path), None).images)


def test_templates_without_a_place_are_refused(tmp_path):
    file = tmp_path / "templates.txt"
    file.write_text("# a comment\na photo of a {}.\n\n")
    assert retention_data.read_templates(str(file)) == ["a photo of a {}."]
    file.write_text("a photo\n")
    with pytest.raises(ValueError, match=r"'a photo' must hold \{\} once"):
        retention_data.read_templates(str(file))
    file.write_text("a photo of a {} {x}\n")
    with pytest.raises(ValueError, match="no other brace"):
        retention_data.read_templates(str(file))
    for shipped in (HOME / "resources/prompts").iterdir():
        assert retention_data.read_templates(str(shipped))


# ---- what a model answers ----


def test_the_rank_of_the_right_answer_by_hand():
    """Two pictures; captions 0 and 1 are the first's, caption 2 the second's."""
    similarity = torch.tensor([[0.1, 0.9, 0.9], [0.8, 0.3, 0.2]])
    of_image, of_text = np.array([0, 1]), np.array([0, 0, 1])
    # Caption 2 is as similar as the best right one, so that it goes before it; then two are better.
    assert retention.ranks(torch.eye(2), similarity.T, of_image, of_text).tolist() == [1, 2]
    # Caption 0 finds picture 1 first, caption 1 the right picture, caption 2 picture 0 first.
    ranked = retention.ranks(similarity.T, torch.eye(2), of_text, of_image, batch=2)
    assert ranked.tolist() == [1, 0, 1]


def test_recall_of_a_hand_made_matrix():
    rng = np.random.default_rng(0)
    similarity, of_text = rng.normal(size=(30, 60)), rng.permutation(np.repeat(np.arange(30), 2))
    ranked = retention.ranks(
        torch.eye(30), torch.from_numpy(similarity.T).float(), np.arange(30), of_text, batch=7
    )
    for k in (1, 5, 10):
        plain = [i in of_text[np.argsort(-row)[:k]] for i, row in enumerate(similarity)]
        assert (ranked < k).tolist() == plain


def test_ranks_are_those_of_float32_whatever_the_models_precision():
    rng = np.random.default_rng(0)
    queries, keys = (
        torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=(200, 64))).float(), dim=-1)
        for _ in range(2)
    )
    ids = np.arange(200)
    plain = retention.ranks(queries, keys, ids, ids)
    with embeddings.fabric_of("cpu", "bf16-mixed", 1).autocast():
        mixed = retention.ranks(queries, keys, ids, ids)
    assert mixed.tolist() == plain.tolist()


def test_no_class_is_longer_than_another(clip, packed, monkeypatch):
    """In bfloat16 one would be the nearer, the further its length was rounded up."""
    classes, plain = [], retention.ranks
    monkeypatch.setattr(retention, "ranks", lambda *a: classes.append(a[1]) or plain(*a))
    with embeddings.fabric_of("cpu", "bf16-mixed", 1).autocast():
        retention.answers(clip, packed["things"])
    assert (classes[0].double().norm(dim=1) - 1).abs().max() < 1e-6


def test_a_model_of_nan_answers_nothing_right():
    nan = torch.full((2, 2), torch.nan)
    ids = np.arange(2)
    assert retention.ranks(nan, torch.eye(2), ids, ids).tolist() == [1, 1]


@torch.inference_mode()
def test_zero_shot_accuracy_as_open_clip_gives_it(clip, packed):
    """Each prompt by itself, at full length, through open_clip's own calls."""
    task = packed["things"]
    classes = []
    for name in task.texts:
        each = [
            clip.model.encode_text(clip.tokenizer([t.format(name)]), normalize=True)[0]
            for t in task.templates
        ]
        classes.append(torch.nn.functional.normalize(torch.stack(each).mean(dim=0), dim=0))
    pixels = clip.normalise(torch.from_numpy(np.array(task.images)))
    similarity = clip.model.encode_image(pixels, normalize=True) @ torch.stack(classes).T
    right = similarity.argmax(dim=1).numpy() == task.of_image
    answered = retention.answers(clip, task)
    assert ((answered["rank"] == 0).to_numpy() == right).all()
    assert retention.headline(answered) == right.mean()
    assert right.mean() > 0.9, (
        "the miniature's CLIP knows these things, or nothing can be forgotten"
    )


@torch.inference_mode()
def test_retrieval_as_open_clip_gives_it(clip, packed):
    task = packed["pairs"]
    assert len(set(task.texts)) == len(task.texts) == 100
    image = clip.model.encode_image(
        clip.normalise(torch.from_numpy(np.array(task.images))), normalize=True
    )
    similarity = image @ clip.model.encode_text(clip.tokenizer(task.texts), normalize=True).T
    answered = retention.answers(clip, task).set_index("direction")["rank"]
    for direction, matrix in (("image_to_text", similarity), ("text_to_image", similarity.T)):
        plain = (matrix.argmax(dim=1) == torch.arange(100)).float().mean().item()
        assert (answered[direction] == 0).mean() == pytest.approx(plain)
        assert plain > 0.5


def test_every_checkpoint_answers_and_the_untouched_model_does(clip, packed, tmp_path):
    path = str(tmp_path / "answers.parquet")
    about = {"task": "pairs", "variant": "baseline", "seed": 0}
    retention.measure({"end": None}, NAME, packed["pairs"], path, **about)
    stored = pd.read_parquet(path)
    assert set(stored["checkpoint"]) == {"end"}
    assert (stored["rank"] == retention.answers(clip, packed["pairs"])["rank"]).all()


# ---- the table ----


def answered(variant, checkpoint, seed, ranks):
    return pd.DataFrame(
        {
            "task": "t", "variant": variant, "seed": seed, "checkpoint": checkpoint,
            "direction": "label", "index": range(len(ranks)), "picture": range(len(ranks)),
            "right": 1, "among": 4, "rank": ranks,
        }
    )  # fmt: skip


def test_before_after_and_the_difference_over_two_seeds():
    table = report_retention.retention(
        pd.concat(
            [
                answered("baseline", "end", 0, [0] * 6 + [1] * 2),
                *(answered("a", "end", seed, [0] * 4 + [seed] * 4) for seed in (0, 1)),
                *(answered("a", "selected", seed, [0] * 6 + [3] * 2) for seed in (0, 1)),
            ]
        ),
        [{"id": "a", "label": "A | a"}],
        "miniature",
    )
    assert table["measure"].tolist() == ["top-1", "top-1"], "there are but four classes"
    end, selected = table.to_dict("records")
    assert (end["n"], end["chance"], end["seeds"]) == (8, 25, "0 1")
    assert (end["before"], end["after"], end["difference"]) == (75, 75, 0)
    assert end["difference_low"] < 0 < end["difference_high"]
    assert selected["difference_low"] == selected["difference_high"] == 0
    (sheet,) = report_retention.retention_sheets(table)
    assert sheet.stamp == pages.stamp("miniature")
    assert [row[0].text for row in sheet.rows] == [scores.BASELINE["label"], "A | a"]
    assert [cell.text for cell in sheet.rows[1][1:]] == ["75.00", "75.00"]
    assert sheet.rows[1][2].range == "[+0.00: +0.00, +0.00]"


def test_the_csv_has_every_number_exactly_and_the_json_the_sheets(tmp_path):
    parts = [answered("baseline", "end", 0, [0] * 5 + [1] * 2)]
    parts += [answered("a", name, seed, [0] * 4 + [seed] * 3)
              for name in report_retention.CHECKPOINTS for seed in (0, 1)]  # fmt: skip
    pd.concat(parts).to_parquet(tmp_path / "answers.parquet")
    variants = [{"id": "a", "label": "A"}]
    paths = {name: str(tmp_path / name) for name in ("csv_path", "json_path", "markdown_path")}
    report_retention.make_retention(
        [str(tmp_path / "answers.parquet")], **paths, variants=variants, scale="paper"
    )
    source = report_retention.retention(pd.concat(parts), variants, "paper")
    assert source["after"][0] == 100 * (4 + 3 / 2) / 7
    table = sheets.read_csv(paths["csv_path"], seeds=str)
    pd.testing.assert_frame_equal(table, source, check_exact=True)
    views = report_retention.retention_sheets(source)
    assert sheets.read_sheets(paths["json_path"]) == views
    text = "\n".join(map(sheets.markdown, views))
    assert (tmp_path / "markdown_path").read_text() == text


def test_captions_of_one_picture_make_no_interval_narrower():
    """Each question five times over, as captions of its picture: nothing more is known."""
    tables_of = []
    for times in (1, 5):
        parts = [
            answered(variant, name, 0, np.repeat(ranks, times)).assign(
                picture=np.repeat(np.arange(40), times)
            )
            for variant, name, ranks in (
                ("baseline", "end", [0] * 30 + [1] * 10),
                ("a", "end", [1] * 9 + [0] * 31),
                ("a", "selected", [0] * 40),
            )
        ]
        found = report_retention.retention(pd.concat(parts), [{"id": "a", "label": "a"}], "paper")
        assert set(found["n"]) == {40 * times}
        tables_of.append(found.drop(columns="n"))
    pd.testing.assert_frame_equal(*tables_of)


def test_retrieval_by_caption_knows_the_picture_of_each_question(clip):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    task = retention_data.Task(pixels, ["a", "b", "c"], np.arange(2), np.array([0, 0, 1]))
    asked = retention.answers(clip, task).set_index("direction")["picture"]
    assert asked["image_to_text"].tolist() == [0, 1]
    assert asked["text_to_image"].tolist() == [0, 0, 1]


def test_a_loss_beyond_doubt_is_marked():
    known = [answered("baseline", "end", 0, [0] * 50)]
    known += [answered("a", name, 0, [1] * 25 + [0] * 25) for name in report_retention.CHECKPOINTS]
    table = report_retention.retention(pd.concat(known), [{"id": "a", "label": "a"}], "paper")
    (sheet,) = report_retention.retention_sheets(table)
    assert sheet.rows[1][1].range.endswith("▼")
    assert sheet.stamp is None


def test_chance_is_that_of_answers_in_a_random_order():
    five = answered("baseline", "end", 0, [0] * 4).assign(right=2, among=6)
    known = pd.concat([five, *(answered("a", c, 0, [0] * 4).assign(right=2, among=6)
                               for c in report_retention.CHECKPOINTS)])  # fmt: skip
    table = report_retention.retention(known, [{"id": "a", "label": "a"}], "paper")
    chance = table.set_index("measure")["chance"]
    assert chance["top-1"].iloc[0] == pytest.approx(100 * 2 / 6)
    assert chance["top-5"].iloc[0] == pytest.approx(100)
