"""Pretraining with hard and soft labels: pairs, batches, trainings, and the table."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from countclip.experiments.soft_labels import accuracy_figure, domain_table, scores
from countclip.experiments.soft_labels.batches import Batches
from countclip.experiments.soft_labels.domains import Domains, read_descriptions, texts_of
from countclip.experiments.soft_labels.pairs import count_classes, pack
from countclip.experiments.soft_labels.pretrain import pretrain
from countclip.experiments.soft_labels.scores import COLUMNS, Net, thirds
from countclip.experiments.soft_labels.table import make_table
from countclip.report.sheets import read_csv, read_sheets
from countclip.runtime.resources import HOME
from countclip.training.soft_targets import ObjectSets, Targets, TargetSettings
from kill import killed_often
from tiny_training import SETTINGS, make_config

PUBLISHED = str(HOME / "resources/soft_labels_zero_shot.csv")

# ---- pairs ----


def image(colour: str, kind: str = "PNG") -> bytes:
    body = io.BytesIO()
    Image.new("RGB", (20, 10), colour).save(body, kind)
    return body.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, body in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            tar.addfile(info, io.BytesIO(body))


@pytest.fixture(scope="module")
def packed(tmp_path_factory) -> Path:
    """Five usable pairs of two shards, and of each kind of unusable one."""
    folder = tmp_path_factory.mktemp("pairs")
    first = {
        "a/0.jpg": image("red", "JPEG"), "a/0.txt": b"two dogs and a cat",
        "a/1.json": json.dumps({"caption": "a cat"}).encode(), "a/1.png": image("lime"),
        "a/2.png": b"no image at all", "a/2.txt": b"a ball",
        "a/3.txt": b"without an image",
        "a/4.png": image("blue"), "a/4.txt": b" \n",
        "a/5.png": image("blue"), "a/5.json": b"[1",
        "b/0.PNG": image("white"), "b/0.txt": "Hübsch".encode("latin-1"), "b/0.json": b"{}",
    }  # fmt: skip
    write_tar(folder / "shards/00000.tar", first)
    others = {
        "0.webp": image("black", "WEBP"), "0.txt": b"three cats, one a kitten",
        "0.json": b'{"caption": "not this"}', "1.png": image("blue"), "1.txt": b"dogs",
    }  # fmt: skip
    write_tar(folder / "shards/later/00001.tar", others)
    (folder / "shards/00000.parquet").write_bytes(b"img2dataset's, which is not read")
    pack(
        folder / "shards", size=8, unit="concrete", number=None,
        images_npy=str(folder / "images.npy"), pairs_parquet=str(folder / "pairs.parquet"),
        summary_json=str(folder / "summary.json"),
    )  # fmt: skip
    return folder


def test_pairs_keep_their_image_caption_number_and_objects(packed):
    table = pd.read_parquet(packed / "pairs.parquet")
    assert table["caption"].tolist() == [
        "two dogs and a cat", "a cat", "H\N{REPLACEMENT CHARACTER}bsch",
        "three cats, one a kitten", "dogs",
    ]  # fmt: skip
    assert table["number"].tolist() == [2, 0, 0, 3, 0]
    assert [sorted(one) for one in table["objects"]] == [
        ["cat", "dog"], ["cat"], [], ["cat", "kitten"], ["dog"],
    ]  # fmt: skip
    pixels = np.load(packed / "images.npy")
    assert pixels.shape[1:] == (8, 8, 3)
    shown = pixels[table["index"], 4, 4].astype(int)
    expected = [(255, 0, 0), (0, 255, 0), (255, 255, 255), (0, 0, 0), (0, 0, 255)]
    assert np.abs(shown - expected).max() < 3


def test_what_is_dropped_is_counted_by_reason(packed):
    summary = json.loads((packed / "summary.json").read_text(encoding="utf-8"))
    assert summary == {
        "pairs": 5,
        "dropped": {"no_image": 1, "no_caption": 1, "damaged_json": 1, "image_not_an_image": 1},
        "without_objects": 1,
        "objects": 3,
    }


def test_the_first_pairs_are_taken_and_a_folder_without_shards_is_named(packed, tmp_path):
    paths = {"images_npy": str(tmp_path / "i.npy"), "pairs_parquet": str(tmp_path / "p.parquet"),
             "summary_json": str(tmp_path / "s.json")}  # fmt: skip
    pack(packed / "shards", size=8, unit="nouns", number=2, **paths)
    assert pd.read_parquet(tmp_path / "p.parquet")["index"].tolist() == [0, 1]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty: holds no tar shards"):
        pack(tmp_path / "empty", size=8, unit="nouns", number=2, **paths)
    write_tar(tmp_path / "broken/0.tar", {"0.txt": b"a cat" * 1000})
    file = tmp_path / "broken/0.tar"
    file.write_bytes(file.read_bytes()[:2000])
    with pytest.raises(ValueError, match=r"broken/0\.tar: cannot be read"):
        pack(tmp_path / "broken", size=8, unit="nouns", number=2, **paths)


def test_a_class_is_named_by_captions_with_all_objects_of_its_name(tmp_path):
    objects = [["cat"], ["cat", "dog"], ["coffee", "table"], ["table"], []]
    pd.DataFrame({"objects": objects}).to_parquet(tmp_path / "pairs.parquet")
    names = ["cat", "dogs", "coffee table", "infinity"]
    count_classes(names, str(tmp_path / "pairs.parquet"), "nouns", tmp_path / "classes.csv")
    table = read_csv(tmp_path / "classes.csv")
    assert table["text"].tolist() == names
    assert table["captions"].tolist()[:3] == [2, 1, 1]


# ---- batches and trainings ----


def batches(seed=1, **settings):
    objects = ObjectSets([["cat"] if n % 2 else ["dog"] for n in range(12)], [0] * 12)
    images = np.arange(12, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    tokens = np.stack([100 * domain + np.arange(12) for domain in range(3)], 1)[..., None] + 1
    targets = Targets(TargetSettings("objects", 0.5), objects)
    return Batches(
        images, np.arange(12), tokens.astype(np.uint16), targets=targets, size=8, seed=seed,
        **settings,
    )  # fmt: skip


def test_a_step_has_the_captions_and_targets_of_its_images():
    first = batches().batch(0)
    rows = first.images[:][:, 0, 0, 0].numpy()
    assert (first.tokens[:, 0].numpy() == rows + 1).all()
    same = (rows[:, None] % 2) == (rows % 2)
    assert (first.target.overlaps.toarray() == same).all()
    passed = np.concatenate([batches().batch(step).images[:][:, 0, 0, 0] for step in range(3)])
    assert sorted(passed[:12]) == sorted(passed[12:]) == list(range(12))


def test_texts_of_domains_are_drawn_anew_at_each_step_by_their_shares():
    source = batches(shares=(0.7, 0.2, 0.1))
    steps = [source.batch(step) for step in range(300)]
    domains = np.stack([step.tokens[:, 0].numpy() // 100 for step in steps])
    shares = np.bincount(domains.ravel(), minlength=3) / domains.size
    assert np.abs(shares - (0.7, 0.2, 0.1)).max() < 0.03  # of 2,400: three standard errors
    assert len({tuple(row) for row in domains.tolist()}) > 100
    again = batches(shares=(0.7, 0.2, 0.1)).batch(17)
    assert (again.tokens == steps[17].tokens).all()
    alone = batches().batch(17)
    assert (alone.images[:] == steps[17].images[:]).all()  # shares change no order


def test_too_few_pairs_for_a_batch_are_an_error_that_names_the_key():
    with pytest.raises(ValueError, match="batch_size"):
        Batches(np.zeros((3, 4, 4, 3), np.uint8), np.arange(3), np.zeros((3, 1, 1), np.uint16),
                targets=Targets(TargetSettings()), size=4, seed=0)  # fmt: skip


def train(folder: Path, name: str, seed: int = 3, **target) -> None:
    """Thirty steps on what the fixture `world` made in `folder`."""
    print("ready", flush=True)
    outputs = {of: str(folder / name / of) for of in ("weights", "history", "model")}
    (folder / name).mkdir(exist_ok=True)
    settings = SETTINGS | {"steps": 30, "evaluations": 3, "schedule": "cosine", "seed": seed}
    pretrain(
        str(folder / "pairs.parquet"), str(folder / "images.npy"), outputs,
        str(folder / name / "state"), {"variant": "tiny", "seed": seed},
        model={"name": "tiny-test", "config": str(folder / "tiny-test.json")},
        target={"clip_target": "objects", **target}, batch_size=8, threads=1,
        checkpoint_minutes=0, **settings,
    )  # fmt: skip


def imports() -> None:
    import lightning_fabric  # noqa: F401


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    make_config(folder)
    rng = np.random.default_rng(0)
    np.save(folder / "images.npy", rng.integers(0, 256, (24, 64, 64, 3), dtype=np.uint8))
    kinds = [["cats"], ["dogs"], ["cats", "dogs"]] * 8
    columns = {"index": range(24), "caption": [" and ".join(kind) for kind in kinds],
               "number": [0] * 24, "objects": kinds}  # fmt: skip
    pd.DataFrame(columns).to_parquet(folder / "pairs.parquet")
    return folder


@pytest.fixture(scope="module")
def undisturbed(world) -> Path:
    train(world, "undisturbed")
    return world / "undisturbed"


def test_killed_anywhere_it_ends_with_the_same_bytes(world, undisturbed):
    killed_often(train, world, "killed", times=4, longest=0.4, prepare=imports)
    for name in ("weights", "history"):
        assert (world / "killed" / name).read_bytes() == (undisturbed / name).read_bytes()
    history = read_csv(undisturbed / "history")
    assert history["step"].tolist() == [0, 10, 20, 30]
    last = history.iloc[-1]
    assert 0 < last["kl"] < last["loss"]
    assert 0.5 < last["target_diagonal"] < 1
    assert last["target_partners"] > 1


def test_another_target_begins_alike_and_ends_elsewhere(world, undisturbed):
    train(world, "hard", clip_target="hard")
    hard, soft = (read_csv(folder / "history") for folder in (world / "hard", undisturbed))
    assert hard["kl"].iloc[-1] == pytest.approx(hard["loss"].iloc[-1])
    assert hard["target_diagonal"].iloc[-1] == 1
    assert hard["target_partners"].iloc[-1] == 0
    assert (world / "hard/weights").read_bytes() != (undisturbed / "weights").read_bytes()
    assert hard["loss"].iloc[-1] != soft["loss"].iloc[-1]


# ---- text domains ----


def test_a_pair_has_a_label_a_caption_and_a_description():
    classes = pd.DataFrame(
        {"text": ["anchor", "tea cup", "omega"], "objects": ["anchor", "cup|tea", ""]}
    )
    descriptions = {"anchor": "a hook of iron"}
    captions = ["a red anchor", "cup of tea, anchor", "tea", "cup of tea"]
    objects = [["anchor"], ["anchor", "cup", "tea"], ["tea"], ["cup", "tea"]]
    assert texts_of(captions, objects, classes, descriptions) == [
        ("an anchor", "a red anchor", "a hook of iron"),
        ("an anchor and a tea cup", "cup of tea, anchor", "a hook of iron"),
        ("tea", "tea", "tea"),
        ("a tea cup", "cup of tea", "cup of tea"),
    ]


def test_descriptions_of_no_class_and_shares_of_nothing_are_errors(tmp_path):
    file = tmp_path / "descriptions.csv"
    file.write_text("class,description\nStar,five points\nstarr,a slip\ncat,\n", encoding="utf-8")
    with pytest.raises(
        ValueError, match=r"2 wrong\n  line 3: 'starr' is no class.*\n  line 4: cat"
    ):
        read_descriptions(str(file), ["star", "cat"])
    file.write_text("class,description\nStar,five points\n", encoding="utf-8")
    assert read_descriptions(str(file), ["star", "cat"]) == {"star": "five points"}
    shares = {"label": 1, "caption": 2, "description": 1}
    assert Domains("", "", shares).in_order() == [0.25, 0.5, 0.25]
    with pytest.raises(ValueError, match="all are 0"):
        Domains("", "", dict.fromkeys(shares, 0)).in_order()


def test_the_table_of_domains_pairs_mixed_texts_with_captions(tmp_path):
    some, none = [1, 1, 0, 0], [0, 0, 0, 0]
    right = {
        "captions": {"label": some, "description": none, "both": [1, 0, 0, 0]},
        "mixed": {"label": some, "description": [1, 1, 1, 1], "both": some},
    }
    parts = [
        pd.DataFrame({"target": "hard", "texts": texts, "seed": seed, "prompts": prompts,
                      "index": range(4), "rank": 1 - np.array(hits)})
        for texts, of in right.items() for prompts, hits in of.items() for seed in (1, 2)
    ]  # fmt: skip
    answers = str(tmp_path / "answers.parquet")
    pd.concat(parts).to_parquet(answers)
    paths = {f"{kind}_path": str(tmp_path / f"d.{kind}") for kind in ("csv", "json", "markdown")}
    shares = {"label": 0.5, "caption": 0.5, "description": 0}
    domain_table.make_table(answers, labels={"hard": "Hard"}, shares=shares, scale="paper", **paths)
    table = read_csv(paths["csv_path"]).set_index(["texts", "prompts"])
    assert table["top1"].tolist() == [50, 0, 25, 50, 100, 50]
    assert table.loc[("mixed", "description"), "difference_top1"] == 100
    # Four images gain: two of 2 ** 4 signs are as extreme, times three differences.
    assert table.loc[("mixed", "description"), "p_top1"] == 2 / 16
    assert table.loc[("mixed", "description"), "p_top1_holm"] == 3 * 2 / 16
    lines = read_sheets(paths["json_path"])[0].rows
    assert [line[1].text for line in lines] == ["captions", "mixed texts", "difference"]
    assert [cell.text for cell in lines[2][2:]] == ["+0.0", "+100.0", "+25.0"]
    with pytest.raises(ValueError, match="no answers of smooth, trained on captions"):
        domain_table.table(pd.read_parquet(answers), {"smooth": "Smoothing"}, "paper")


# ---- the table ----


def test_thirds_go_by_captions_and_then_by_name():
    classes = pd.DataFrame(
        {"text": ["e", "d", "c", "b", "a", "f", "g"], "captions": [9, 1, 5, 1, 5, 0, 7]}
    )
    # e 9, g 7, a 5 | c 5, b 1 | d 1, f 0
    assert thirds(classes).tolist() == ["head", "tail", "middle", "middle", "head", "tail", "head"]


CLASSES = pd.DataFrame(
    {"class": range(6), "text": list("abcdef"), "captions": [60, 50, 40, 30, 20, 10]}
)
TARGETS = {
    "hard": {"label": "Hard", "clip_target": "hard", "soft_alpha": 0.5},
    "iou": {"label": "IoU", "clip_target": "objects", "soft_alpha": 0.5},
}
# The rank of the right class of twelve images, two of each class, with each of two seeds.
RANKS = {
    "hard": [[0, 0, 0, 0, 1, 1, 1, 1, 6, 6, 6, 6], [0, 0, 0, 0, 0, 0, 1, 1, 6, 6, 6, 6]],
    "iou": [[0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 5, 0], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5, 5]],
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table")
    parts = [
        pd.DataFrame({"target": target, "seed": seed, "index": range(12),
                      "class": np.repeat(range(6), 2), "rank": ranks})
        for target, of_seeds in RANKS.items() for seed, ranks in enumerate(of_seeds, 1)
    ]  # fmt: skip
    pd.concat(parts).to_parquet(folder / "answers.parquet")
    CLASSES.to_csv(folder / "classes.csv", index=False)
    histories = {}
    for target in RANKS:
        for seed in (1, 2):
            last = {"loss": 2.0 + seed, "kl": float(seed), "target_diagonal": 0.75,
                    "target_partners": 3.0, "logit_scale": 20.0}  # fmt: skip
            table = pd.DataFrame([dict.fromkeys(last), last])
            table.to_csv(folder / f"{target}{seed}.csv", index=False)
        histories["net", target] = [str(folder / f"{target}{seed}.csv") for seed in (1, 2)]
    paths = {f"{kind}_path": str(folder / f"table.{kind}") for kind in ("csv", "json", "markdown")}
    make_table(
        {"net": str(folder / "answers.parquet")}, histories,
        classes_csv=str(folder / "classes.csv"), published_csv=PUBLISHED,
        nets={"net": Net("my net", 7, list(RANKS))}, targets=TARGETS, pairs=100,
        scale="miniature", **paths,
    )  # fmt: skip
    return read_csv(paths["csv_path"]), read_sheets(paths["json_path"]), folder


def test_accuracies_are_means_over_images_and_seeds(made):
    hard, iou = made[0].iloc[0], made[0].iloc[1]
    assert list(made[0]) == COLUMNS
    assert hard["top1"] == pytest.approx(100 * 10 / 24)
    assert hard["top1_each_seed"].split() == [repr(100 * 4 / 12), repr(50.0)]
    assert hard["top5"] == pytest.approx(100 * 16 / 24)
    assert (hard["head"], hard["middle"], hard["tail"]) == (100, 25, 0)
    assert (iou["head"], iou["middle"], iou["tail"]) == (100, 100, 50)
    assert iou["top5"] == pytest.approx(100 * 21 / 24)
    assert (hard["loss"], hard["kl"]) == (3.5, 1.5)
    assert (hard["seeds"], hard["images"], hard["classes"], hard["steps"]) == (2, 12, 6, 7)
    assert 0 <= hard["top1_low"] < hard["top1"] < hard["top1_high"] <= 100
    # Student's of 33.3 and 50: 41.7 +- 12.71 * 11.79 / sqrt(2), cut to what an accuracy can be.
    assert hard["top1_seeds_low"] == 0
    assert hard["top1_seeds_high"] == 100


def test_differences_are_paired_and_tested(made):
    hard, iou = made[0].iloc[0], made[0].iloc[1]
    assert np.isnan(hard["difference_top1"])
    assert iou["difference_top1"] == pytest.approx(iou["top1"] - hard["top1"])
    # Seven images gain and none loses, so two of the 2 ** 7 signs are as extreme.
    gains = np.sum(np.equal(RANKS["iou"], 0), 0) - np.sum(np.equal(RANKS["hard"], 0), 0)
    assert gains.tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2, 1, 0, 1]
    assert iou["p_top1"] == pytest.approx(2 / 2**7)
    assert iou["p_top1_holm"] == iou["p_top1"]
    assert iou["difference_tail"] == 50
    assert iou["difference_top1_low"] > 0


def test_published_rows_stand_beside_marked_as_another_set(made):
    table, sheets, _ = made
    published = table[table["net"].isna()]
    assert published["top1"].tolist() == [23.0, 24.5, 27.0]
    assert published["top5"].tolist() == [45.8, 48.7, 52.2]
    first, last = sheets[0].rows[0], sheets[0].rows[-1]
    assert [first[0].text, first[1].text, first[2].text] == ["Hard", "my net", "41.7"]
    assert (last[0].text, last[0].range) == ("Object-IoU", "(another data set)")
    assert last[1].text == "published, CC3M, ImageNet-1K"
    assert [cell.best for cell in sheets[0].rows[1][2:]] == [True] * 5
    assert not any(cell.best for cell in last)
    assert any("AlignCLIP" in note for note in sheets[0].notes)
    assert [cell.text for cell in sheets[1].rows[0][2:]] == ["–"] * 9
    assert sheets[1].rows[1][4].text == "0.016"
    assert sheets[2].rows[0][-1].text == "33.3, 50.0"


def test_a_lacking_training_or_seed_is_named(made):
    answers = pd.read_parquet(made[2] / "answers.parquet")
    common = {"histories": {}, "classes": CLASSES, "nets": {"net": Net("net", 1, ["hard", "more"])},
              "targets": TARGETS, "published": read_csv(PUBLISHED), "pairs": 1,
              "scale": "paper"}  # fmt: skip
    with pytest.raises(ValueError, match="no predictions of target 'more'"):
        scores.table({"net": answers}, **common)
    with pytest.raises(ValueError, match="'hard': some seeds lack images"):
        scores.table({"net": answers.drop(index=0).iloc[1:]}, **common)


def test_the_figure_has_a_panel_for_each_net_and_the_same_bytes_again(made, tmp_path):
    _, _, folder = made
    for name in ("one", "two"):
        accuracy_figure.draw(str(folder / "table.csv"), svg=str(tmp_path / f"{name}.svg"),
                           png=str(tmp_path / f"{name}.png"), scale="miniature")  # fmt: skip
    assert (tmp_path / "one.svg").read_bytes() == (tmp_path / "two.svg").read_bytes()
    assert Image.open(tmp_path / "one.png").width > 500
