"""Ordinal data: the CSV, its folds, the presets that write it, and what each error says."""

import json
import logging

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from countclip.experiments.ordinal import data, images, presets, protocols
from countclip.experiments.ordinal.bins import Bins
from countclip.experiments.ordinal.data import Draw
from countclip.model import inputs
from countclip.runtime.folders import ImageFolder

VALUES = (0, 9)
BINS = Bins.of_task(
    {
        "values": VALUES,
        "bins": [
            {"word": "low", "from": 0, "to": 2},
            {"word": "middle", "from": 3, "to": 7},
            {"word": "high", "from": 8, "to": 9},
        ],
    }
)


def table(folder, header, lines):
    """Write a CSV, and an empty file for each path that it names."""
    for line in lines:
        (folder / line.split(",")[0]).parent.mkdir(parents=True, exist_ok=True)
        (folder / line.split(",")[0]).touch()
    (folder / "set.csv").write_text("\n".join([header, *lines]) + "\n")
    return folder / "set.csv"


def folds(csv, draw, bins=BINS, values=VALUES):
    """Tables of the folds by name, and the summary."""
    place = csv.parent / "out"
    summary = data.make_folds(
        csv, ImageFolder(csv.parent), values=values, bins=bins, draw=draw,
        images_parquet=place / "images.parquet", fold_folder=place / "folds",
        summary_json=place / "summary.json",
    )  # fmt: skip
    assert json.loads((place / "summary.json").read_text()) == summary
    return {
        fold["name"]: pd.read_parquet(place / f"folds/{number}.parquet")
        for number, fold in summary["folds"].items()
    }, summary


def people(n, images_each=3):
    return [f"{p}/{i}.png,{(p + i) % 10},p{p}" for p in range(n) for i in range(images_each)]


def paths(fold, *parts):
    return set(fold["path"][fold["part"].isin(parts)])


# ---- bins ----


def test_bins_take_values_between_two_whole_numbers_to_the_lower_one():
    assert BINS.of([0, 2, 2.9, 3, 7.5, 8, 9]).tolist() == [0, 0, 0, 1, 1, 2, 2]


def test_a_prediction_is_of_the_nearest_bin():
    assert BINS.nearest([-5, 2.49, 2.5, 2.9, 7.4, 7.6, 99]).tolist() == [0, 0, 1, 1, 1, 2, 2]
    decades = Bins.numbers(0, 4)
    values = [-0.7, 0.49, 0.5, 1.2, 2.51, 3.49, 3.99, 4.8]
    assert decades.nearest(values).tolist() == [0, 0, 1, 1, 3, 3, 4, 4]
    for bins in (BINS, decades):
        assert bins.nearest(bins.midpoints).tolist() == list(range(len(bins)))
        assert bins.nearest(range(10)).tolist() == bins.of(range(10)).tolist()


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([("a", 0, 4), ("b", 6, 9)], "'b' is 6 to 9.*must begin at 5"),
        ([("a", 0, 4), ("b", 4, 9)], "'b' is 4 to 9.*must begin at 5"),
        ([("a", 1, 4), ("b", 5, 9)], "'a' is 1 to 4.*must begin at 0"),
        ([("a", 0, 4), ("b", 5, 8)], "2 bins end at 8.*must end at 9"),
        ([("a", 0, 9)], "1 bins end at 9: at least two"),
        ([("a", 0, 4), ("a", 5, 9)], "two bins have the word 'a'"),
    ],
)
def test_bins_that_do_not_tile_the_range(entries, message):
    with pytest.raises(ValueError, match=message):
        Bins.of_task(
            {"values": VALUES, "bins": [{"word": w, "from": a, "to": b} for w, a, b in entries]}
        )


# ---- what is wrong with a CSV ----


@pytest.mark.parametrize(
    ("header", "lines", "message"),
    [
        ("path,label", ["a.png,ten"], "line 2: label 'ten' must be a number, such as 31"),
        ("path,label", ["a.png,nan"], "line 2: label 'nan' must be a number"),
        ("path,label", ["a.png,"], "line 2: label '' must be a number"),
        ("path,label", ["a.png,3", "b.png,12"], "line 3: label 12 is outside 0 to 9: correct it"),
        ("path,label", ["a.png,-1"], "line 2: label -1 is outside 0 to 9"),
        ("path,label,fold", ["a.png,1,x", "b.png,1,"], "line 3: fold is empty: fill it in"),
        ("path,label,group", ["a.png,1,"], "line 2: group is empty"),
        ("path,label,split", ["a.png,1,dev"], "split 'dev' must be one of train, validation, test"),
        ("path,label", ["a.png,1", "a.png,1"], "line 3: a.png is in line 2 already: delete one$"),
        ("path,label,fold,split", ["a.png,1,x,train", "a.png,1,x,test"],
         "line 3: a.png is in line 2 already: delete one, or name another fold than 'x'"),
        ("path,label,fold,split", ["a.png,1,x,train", "a.png,2,y,test"],
         "line 3: a.png has label 2 and group '', but 1 and '' in line 2"),
        ("path,number", ["a.png,1"], "must name the columns path and label.*without label"),
        ("path,label", [], "has a header but no line"),
    ],
)  # fmt: skip
def test_wrong_lines_are_named(tmp_path, header, lines, message):
    csv = table(tmp_path, header, lines)
    with pytest.raises(ValueError, match=f"(?s)set.csv.*{message}"):
        data.read(csv, ImageFolder(tmp_path), VALUES)


def test_missing_images_are_counted(tmp_path):
    csv = table(tmp_path, "path,label", [f"f/{n}.png,{n}" for n in range(9)])
    for n in (2, 5):
        (tmp_path / f"f/{n}.png").unlink()
    with pytest.raises(ValueError, match=r"2 of 9 images of .*: f/2.png, f/5.png; unpack"):
        data.read(csv, ImageFolder(tmp_path), VALUES)
    nowhere = ImageFolder(tmp_path / "nowhere")
    with pytest.raises(ValueError, match=r"nowhere: 9 of 9 images .*f/4.png, \.\.\.; unpack"):
        data.read(csv, nowhere, VALUES)


def test_an_image_outside_the_folder_is_refused(tmp_path):
    csv = table(tmp_path, "path,label", ["a.png,1"])
    csv.write_text("path,label\n../a.png,1\n")
    with pytest.raises(ValueError, match="line 2: image '../a.png' must be a file inside"):
        data.read(csv, ImageFolder(tmp_path), VALUES)


# ---- folds ----


def test_a_fold_says_where_an_image_is_tested(tmp_path):
    lines = [f"{n}.png,{n % 10},{name}" for n, name in enumerate(["9", "10", "2"] * 10)]
    tables, summary = folds(table(tmp_path, "path,label,fold", lines), Draw("published", 3))
    assert list(tables) == ["2", "9", "10"]
    for name, fold in tables.items():
        assert paths(fold, "test") == {
            line.split(",")[0] for line in lines if line.endswith(f",{name}")
        }
        assert (fold["part"] == "validation").sum() == 2  # a tenth of 20
        assert len(fold) == 30
        assert fold["index"].tolist() == list(range(30))
        assert fold["bin"].tolist() == BINS.of(fold["label"]).tolist()
    assert summary["folds_are"] == "published"


def test_a_split_is_one_fold_and_keeps_its_validation_part(tmp_path):
    parts = ["train", "train", "test", "validation", "train"]
    csv = table(tmp_path, "path,label,split", [f"{n}.png,{2 * n},{p}" for n, p in enumerate(parts)])
    tables, _ = folds(csv, Draw("published", 1))
    assert tables["published"]["part"].tolist() == parts


def test_fold_and_split_may_overlap_and_leave_images_out(tmp_path):
    lines = ["b.png,9,x,train", "a.png,1,x,train", "c.png,2,x,test", "c.png,2,y,train",
             "d.png,5,y,train", "b.png,9,y,test"]  # fmt: skip
    tables, _ = folds(
        table(tmp_path, "path,label,fold,split", lines), Draw("published", 2, validation=0)
    )
    parts = {
        name: dict(zip(fold["path"], fold["part"], strict=True)) for name, fold in tables.items()
    }
    assert parts == {
        "x": {"b.png": "train", "a.png": "train", "c.png": "test"},
        "y": {"b.png": "test", "c.png": "train", "d.png": "train"},
    }
    index = pd.read_parquet(tmp_path / "out/images.parquet").set_index("index")["path"]
    for fold in tables.values():
        assert index[fold["index"]].tolist() == fold["path"].tolist()


def test_folds_by_image_cover_the_set_once_and_follow_the_seed(tmp_path):
    csv = table(tmp_path, "path,label,group", people(20))
    tables, summary = folds(csv, Draw("image", count=4, seed=3))
    assert list(tables)[0] == "image seed 3 fold 1"
    assert summary["folds_are"] == "drawn by image, seed 3"
    tested = [paths(fold, "test") for fold in tables.values()]
    assert [len(test) for test in tested] == [15] * 4
    assert len(set.union(*tested)) == 60
    again, _ = folds(csv, Draw("image", count=4, seed=3))
    other, _ = folds(csv, Draw("image", count=4, seed=4))
    for fold, same in zip(tables.values(), again.values(), strict=True):
        assert fold.equals(same)
    assert tested != [paths(fold, "test") for fold in other.values()]


def test_folds_by_group_share_nobody_between_any_parts(tmp_path):
    lines = people(20) + [f"many/{n}.png,4,many" for n in range(9)]
    tables, summary = folds(table(tmp_path, "path,label,group", lines), Draw("group", count=3))
    assert summary["groups"] == 21
    sizes = [len(paths(fold, "test")) for fold in tables.values()]
    assert sum(sizes) == 69
    assert max(sizes) - min(sizes) <= 9
    for fold in tables.values():
        members = [set(fold["group"][fold["part"] == part]) for part in data.PARTS]
        assert all(members)
        assert sum(map(len, members)) == 21
    assert all(fold["shared_with_training"]["share"] == 0 for fold in summary["folds"].values())


def test_a_random_fold_of_people_validates_as_it_tests(tmp_path):
    tables, _ = folds(table(tmp_path, "path,label,group", people(30)), Draw("image", count=3))
    for fold in tables.values():
        train, validation = (
            set(fold["group"][fold["part"] == part]) for part in ("train", "validation")
        )
        assert train & validation


@pytest.mark.parametrize(("slips", "by_group"), [(0, True), (2, True), (3, False), (30, False)])
def test_a_few_shared_people_leave_the_validation_by_person(tmp_path, slips, by_group):
    """Of 60 test images so many are of people in training: below 5 %, or not."""
    train = [f"a{n}.png,{n % 10},p{n // 6},train" for n in range(120)]
    test = [f"b{n}.png,{n % 10},{'p' if n < slips else 'q'}{n % 20},test" for n in range(60)]
    csv = table(tmp_path, "path,label,group,split", train + test)
    (fold,) = folds(csv, Draw("published", 1))[0].values()
    groups = [set(fold["group"][fold["part"] == part]) for part in ("train", "validation")]
    assert 12 <= len(paths(fold, "validation")) <= 17
    assert groups[0].isdisjoint(groups[1]) == by_group


def test_one_group_in_training_leaves_images_to_train_on(tmp_path):
    lines = [f"{n}.png,{n},ann,train" for n in range(10)] + ["t.png,4,bob,test"]
    csv = table(tmp_path, "path,label,group,split", lines)
    tables, _ = folds(csv, Draw("published", 1))
    assert tables["published"]["part"].value_counts().to_dict() == {
        "train": 9, "validation": 1, "test": 1}  # fmt: skip


def test_fewer_folds_leave_no_file_of_earlier_ones(tmp_path):
    csv = table(tmp_path, "path,label", [f"{n}.png,{n % 10}" for n in range(40)])
    for count in (4, 2):
        folds(csv, Draw("image", count=count))
        names = sorted(file.name for file in (tmp_path / "out/folds").iterdir())
        assert names == [f"{n + 1}.parquet" for n in range(count)]


def test_folds_are_in_the_order_of_their_names(tmp_path):
    lines = [f"{n}.png,{n % 10},{name}" for n, name in enumerate(["b1", "a10", "a9"] * 10)]
    tables, _ = folds(table(tmp_path, "path,label,fold", lines), Draw("published", 3))
    assert list(tables) == ["a9", "a10", "b1"]


def test_a_group_in_both_parts_is_warned_of_with_its_share(tmp_path, caplog):
    lines = ["1_a.png,1,ann,train", "1_b.png,9,bob,train", "1_c.png,8,cyd,train",
             "2_a.png,2,ann,test", "3_a.png,2,ann,test", "2_d.png,5,dan,test",
             "2_b.png,9,bob,test"]  # fmt: skip
    csv = table(tmp_path, "path,label,group,split", lines)
    _, summary = folds(csv, Draw("published", 1, validation=0))
    shared = {"groups": 2, "test_images": 3, "share": 0.75}
    assert summary["folds"]["1"]["shared_with_training"] == shared
    assert (
        "fold 'published': 3 of 4 test images (75 %) are of a group that is also in" in caplog.text
    )
    assert "no training image of the bin middle" in caplog.text
    assert "no validation image" in caplog.text


def test_an_empty_bin_is_named(tmp_path, caplog):
    lines = [f"{n}.png,{label}" for n, label in enumerate([0, 1, 2, 9, 8, 9] * 5)]
    _, summary = folds(table(tmp_path, "path,label", lines), Draw("image", count=2))
    assert [fold["bins_without_training_image"] for fold in summary["folds"].values()] == [
        ["middle"], ["middle"]]  # fmt: skip
    assert caplog.text.count("has no training image of the bin middle") == 2


@pytest.mark.parametrize(
    ("header", "lines", "draw", "message"),
    [
        ("path,label", people(4), Draw("published"), "neither a column fold nor a column split"),
        ("path,label", people(4), Draw("group"), "has no column group, so folds cannot"),
        ("path,label,group", people(4), Draw("group", count=5), "4 groups cannot make 5 folds"),
        ("path,label,group", people(4), Draw("image", count=1), "12 images cannot make 1 folds"),
        ("path,label,group", people(4), Draw("person"), "`by` must be published, image or group"),
        ("path,label,fold", people(4), Draw("published", 3),
         "has 4 folds, p0, p1, p2, p3, and `count` is 3: set it to 4"),
        ("path,label,fold", people(1), Draw("published"), "all images are of fold 'p0'"),
        ("path,label,split", ["a.png,1,train", "b.png,9,train"], Draw("published", 1),
         "fold 'published' has no test image"),
        ("path,label,split", ["a.png,1,test", "b.png,9,validation"], Draw("published", 1),
         "fold 'published' has no train image"),
        ("path,label,split", ["a.png,1,train", "b.png,2,train", "c.png,9,test"],
         Draw("published", 1, validation=0),
         "all training images of fold 'published' are of the bin 'low'"),
    ],
)  # fmt: skip
def test_folds_that_cannot_be(tmp_path, header, lines, draw, message):
    if header == "path,label":
        lines = [line.rpartition(",")[0] for line in lines]
    with pytest.raises(ValueError, match=f"(?s){message}"):
        folds(table(tmp_path, header, lines), draw)


# ---- images ----


def test_the_array_has_the_rows_of_the_index(tmp_path):
    parts = {3: "test", 1: "train", 8: "train", 5: "test"}
    csv = table(tmp_path, "path,label,split", [f"{n}.png,{n},{part}" for n, part in parts.items()])
    rng = np.random.default_rng(0)
    for n in parts:
        Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8)).save(tmp_path / f"{n}.png")
    tables, _ = folds(csv, Draw("published", 1, validation=0))
    images.pack(tmp_path / "out/images.parquet", ImageFolder(tmp_path), 8, tmp_path / "images.npy")
    packed = np.load(tmp_path / "images.npy", mmap_mode="r")
    assert packed.shape == (4, 8, 8, 3)
    for row in tables["published"].itertuples():
        expected = inputs.resize(Image.open(tmp_path / row.path), 8)
        assert np.array_equal(packed[row.index], expected)


def test_every_unreadable_image_is_named_and_nothing_is_published(tmp_path):
    lines = ["a.png,1,train", "b.png,4,train", "c.png,9,train", "d.png,2,test"]
    folds(table(tmp_path, "path,label,split", lines), Draw("published", 1, validation=0))
    noise = np.random.default_rng(0).integers(0, 255, (30, 30, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "b.png")
    (tmp_path / "d.png").write_bytes((tmp_path / "b.png").read_bytes()[:500])
    (tmp_path / "c.png").unlink()
    with pytest.raises(ValueError, match="3 wrong") as error:
        images.pack(tmp_path / "out/images.parquet", ImageFolder(tmp_path), 8, tmp_path / "x.npy")
    first, *messages = str(error.value).split("\n")
    assert first == f"{tmp_path}: 3 wrong"
    assert [message.split(" (")[0] for message in messages] == [
        "  a.png: not_an_image", "  c.png: unreadable", "  d.png: undecodable"]  # fmt: skip
    assert all(message.endswith("leave its line out of the CSV") for message in messages)
    assert not (tmp_path / "x.npy").exists()


# ---- protocols ----


@pytest.fixture
def fold():
    labels = [1] * 30 + [2] * 20 + [5] * 20 + [9] * 3
    frame = pd.DataFrame({"index": range(73), "label": labels, "part": "train"})
    frame.loc[frame.index % 6 == 0, "part"] = "test"
    frame.loc[frame.index % 6 == 3, "part"] = "validation"
    return frame


def counts(frame, part):
    return frame["label"][frame["part"] == part].value_counts().to_dict()


def test_few_shot_takes_as_many_of_each_label_or_all(fold):
    assert counts(fold, "train") == {1: 20, 2: 13, 5: 13, 9: 2}
    few = protocols.few_shot(fold, 4, seed=0)
    assert counts(few, "train") == {1: 4, 2: 4, 5: 4, 9: 2}
    assert counts(few, "validation") == {1: 4, 2: 3, 5: 4}
    assert paths_of(few, "test") == paths_of(fold, "test")
    assert paths_of(few, "train") < paths_of(fold, "train")
    assert few.equals(protocols.few_shot(fold, 4, seed=0))
    draws = {frozenset(paths_of(protocols.few_shot(fold, 4, seed=n), "train")) for n in range(5)}
    assert len(draws) == 5


def paths_of(frame, part):
    return set(frame["index"][frame["part"] == part])


def test_shift_makes_the_most_frequent_labels_rare(fold):
    shifted = protocols.shifted(fold, labels=2, share=0.1, seed=0)
    assert counts(shifted, "train") == {1: 2, 2: 13, 5: 1, 9: 2}
    assert counts(shifted, "test") == counts(fold, "test")
    one_less = fold.drop(51)  # labels 2 and 5 are then equally frequent
    tie = protocols.shifted(one_less, labels=2, share=0.1, seed=0)
    assert counts(tie, "train") == {1: 2, 2: 1, 5: 13, 9: 2}
    every = protocols.shifted(fold, labels=40, share=0.01, seed=0)
    assert counts(every, "train") == {1: 1, 2: 1, 5: 1, 9: 1}


def test_labels_outside_the_training_range_are_tested_only(fold):
    inner = protocols.within(fold, 2, 5)
    assert set(counts(inner, "train")) == set(counts(inner, "validation")) == {2, 5}
    assert counts(inner, "test") == counts(fold, "test")
    with pytest.raises(ValueError, match="no training image is left"):
        protocols.within(fold, 6, 8)


# ---- presets, on toy layouts ----


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def write(folder, **files):
    folder.mkdir(exist_ok=True, parents=True)
    for name, text in files.items():
        name = name.replace("__", ".")
        (folder / name).write_text(text)


def run(capsys, name, images, lists=None):
    """Exit code, standard output and error of the command, and the CSV as a frame or None."""
    output = images.parent / f"{name}.csv"
    arguments = [name, str(images), "--output", str(output)]
    code = presets.main(arguments + (["--lists", str(lists)] if lists else []))
    frame = pd.read_csv(output, dtype=str) if output.exists() else None
    return code, *capsys.readouterr(), frame


MORPH = ["7_00M20.JPG", "7_01M23.JPG", "12_0F16.JPG", "12_1F17.JPG", "345_3F40.JPG", "9_1M61.JPG"]


def test_morph_in_both_dialects_prints_the_share_of_shared_people(tmp_path, capsys):
    touch(tmp_path / "Images", *MORPH)
    header = "race gender age filename database\n"
    write(
        tmp_path / "lists",
        train_0__txt=f"{header}B M 20 {MORPH[0]} morph\nW F 16 {MORPH[2]} morph\n"
                     f"W F 40 {MORPH[4]} morph\n",
        test_0__txt=f"{header}B M 23 {MORPH[1]} morph\nW M 61 {MORPH[5]} morph\n",
        train_1__csv=f",{','.join(header.split())}\n0,B,M,23,{MORPH[1]},morph\n"
                     f"1,W,M,61,{MORPH[5]},morph",
        test_1__csv=f",{','.join(header.split())}\n7,B,M,20,{MORPH[0]},morph\n"
                    f"9,W,F,17,{MORPH[3]},morph\n",
    )  # fmt: skip
    code, out, _, frame = run(capsys, "morph_a", tmp_path / "Images", tmp_path / "lists")
    assert code == 0
    assert "6 images, labels 16 to 61\n4 groups\n" in out
    assert "fold 0: 3 train, 2 test; 1 of these (50 %) are of a group that is also in" in out
    assert "fold 1: 2 train, 2 test; 1 of these (50 %)" in out
    assert frame.columns.tolist() == ["path", "label", "group", "fold", "split"]
    row = frame[(frame.fold == "1") & (frame.split == "test")].iloc[1]
    assert row.tolist() == ["12_1F17.JPG", "17", "12", "1", "test"]


def test_morph_without_header_is_a_fold_a_list(tmp_path, capsys):
    touch(tmp_path / "Album2", *MORPH)
    lines = [f"../../data/Morph/image/{name} {name[-6:-4]}\n" for name in MORPH]
    write(
        tmp_path / "lists",
        morph_C_00__txt="".join(lines[::2]),
        morph_C_01__txt="".join(lines[1::2]),
    )
    for name in ("morph_c", "morph_d", "morph_a"):
        code, out, _, frame = run(capsys, name, tmp_path / "Album2", tmp_path / "lists")
        assert code == 0
        assert frame["fold"].tolist() == ["0"] * 3 + ["1"] * 3
        assert "fold 1: 3 train, 3 test; 2 of these (67 %) are of a group" in out
    write(tmp_path / "lists", morph_C_02__txt="")
    code, _, err, frame = run(capsys, "morph_b", tmp_path / "Album2", tmp_path / "lists")
    assert code == 1
    assert "holds 2 lists, and setting B has three sets" in err
    assert frame is None


def test_morph_without_a_test_list_tests_on_the_validation_list(tmp_path, capsys):
    touch(tmp_path / "im", *MORPH)
    lines = [f"im/{name} {name[-6:-4]}\n" for name in MORPH]
    lists = tmp_path / "l"
    write(lists, ET_proto_train__txt="".join(lines[:4]), ET_proto_val__txt="".join(lines[4:]))
    code, out, _, _ = run(capsys, "morph_a", tmp_path / "im", lists)
    assert code == 0
    assert "fold 0: 4 train, 2 test\n" in out
    write(lists, ET_proto_test__txt="".join(lines[3:4]), ET_proto_train__txt="".join(lines[:3]))
    code, out, _, _ = run(capsys, "morph_a", tmp_path / "im", lists)
    assert "fold 0: 3 train, 2 validation, 1 test; 1 of these (100 %)" in out
    write(lists, others__txt=lines[0])
    code, _, err, _ = run(capsys, "morph_a", tmp_path / "im", lists)
    assert code == 1
    assert "some lists tell train or test by their name, and others do not" in err


def test_morph_setting_b_trains_on_one_set_and_tests_on_two(tmp_path, capsys):
    touch(tmp_path / "im", *MORPH)
    lines = [f"{name} {name[-6:-4]}\n" for name in MORPH]
    write(tmp_path / "l", S1__txt="".join(lines[:2]), S2__txt="".join(lines[2:4]),
          S3__txt="".join(lines[4:]))  # fmt: skip
    code, out, _, frame = run(capsys, "morph_b", tmp_path / "im", tmp_path / "l")
    assert code == 0
    assert "fold 1: 2 train, 4 test\nfold 2: 2 train, 4 test" in out
    assert set(frame["path"][(frame.fold == "2") & (frame.split == "train")]) == set(MORPH[2:4])


def test_wrong_lists_of_morph(tmp_path, capsys):
    touch(tmp_path / "im", *MORPH[:3])
    write(tmp_path / "l", C_0__txt=f"{MORPH[0]} 21\nface.jpg 20\n{MORPH[1]}\n", C_1__txt="")
    code, _, err, frame = run(capsys, "morph_c", tmp_path / "im", tmp_path / "l")
    assert code == 1
    assert frame is None
    assert "C_0.txt: line 1: age 21, but the name 7_00M20.JPG says 20" in err
    assert "C_0.txt: line 2: must have a file such as 101157_5F39.JPG and an age" in err
    assert "C_0.txt: line 3: has 1 fields; filename and age are needed" in err
    lines = [f"{name} {name[-6:-4]}\n" for name in MORPH]
    write(tmp_path / "l", C_0__txt="".join(lines[:3]), C_1__txt="".join(lines[3:]))
    _, _, err, frame = run(capsys, "morph_c", tmp_path / "im", tmp_path / "l")
    assert "im: 3 of 6 images that" in err
    assert "12_1F17.JPG, 345_3F40.JPG, 9_1M61.JPG; unpack" in err
    assert frame is None
    _, _, err, _ = run(capsys, "morph_c", tmp_path / "im", tmp_path / "im")
    assert (
        "im: holds no list such as morph_C_00.txt: name the folder of the lists by --lists" in err
    )
    _, _, err, _ = run(capsys, "morph_c", tmp_path / "none", tmp_path / "l")
    assert "none: no such folder: unpack the images" in err


def test_hci_draws_ten_folds_and_names_them(tmp_path, capsys):
    place = tmp_path / "HistoricalColor-ECCV2012/data/imgs/decade_database"
    names = [f"{1930 + 10 * d}s/{n:03}.jpg" for d in range(5) for n in range(60)]
    touch(place, *names, "README.txt")
    code, out, _, frame = run(capsys, "hci", tmp_path / "HistoricalColor-ECCV2012")
    assert code == 0
    assert "300 images, labels 0 to 4" in out
    assert frame["fold"].unique().tolist() == [f"draw {n} of seed 0" for n in range(10)]
    per_fold = frame.groupby(["fold", "label", "split"]).size().unstack()
    assert (per_fold["test"] == 50).all()
    assert (per_fold["validation"] == 5).all()
    assert (per_fold["train"] == 5).all()
    tests = [frozenset(f["path"][f["split"] == "test"]) for _, f in frame.groupby("fold")]
    assert len(set(tests)) == 10
    again = frame.copy()
    assert run(capsys, "hci", tmp_path / "HistoricalColor-ECCV2012")[3].equals(again)
    for n in range(10):
        (place / f"1950s/{n:03}.jpg").unlink()
    _, _, err, _ = run(capsys, "hci", tmp_path / "HistoricalColor-ECCV2012")
    assert "a folder 1950s must hold more than 55 images, and 50 are there" in err


def test_aesthetics_has_a_fold_a_category(tmp_path, capsys):
    touch(tmp_path / "im", "animals/11.png", "animals/12.png", "urban/11.png", "urban/13.png")
    write(tmp_path / "l", animals_train__txt="11.png\t4.0\n", animals_test__txt="12.png\t1.0",
          urban_train__txt="13.png\t5.0\n", urban_test__txt="11.png\t2.5\n",
          notes__txt="x")  # fmt: skip
    code, out, _, frame = run(capsys, "aesthetics", tmp_path / "im", tmp_path / "l")
    assert code == 0
    assert "fold animals: 1 train, 1 test\nfold urban: 1 train, 1 test" in out
    assert frame[frame.fold == "urban"]["path"].tolist() == ["urban/11.png", "urban/13.png"]
    write(tmp_path / "l", urban_test__txt="11.png\t6.0\n")
    _, _, err, _ = run(capsys, "aesthetics", tmp_path / "im", tmp_path / "l")
    assert "aesthetics.csv: 1 wrong" in err
    assert "label 6.0 is outside 1 to 5" in err
    write(tmp_path / "l", urban_test__txt="11.png\n")
    _, _, err, _ = run(capsys, "aesthetics", tmp_path / "im", tmp_path / "l")
    assert "urban_test.txt: line 1: must be a file and a score" in err


def test_adience_in_both_forms(tmp_path, capsys):
    faces = [f"{u}@N0/landmark_aligned_face.{n}.{u}_o.jpg" for n, u in enumerate([4, 4, 5, 6, 7])]
    touch(tmp_path / "aligned", *faces)
    header = "user_id\toriginal_image\tface_id\tage\tgender\n"
    ages = ["(25, 32)", "35", "28", "(8, 13)", "(60, 100)"]
    lines = [f"{u}@N0\t{u}_o.jpg\t{n}\t{age}\tm\n" for n, (u, age) in
             enumerate(zip([4, 4, 5, 6, 7], ages, strict=True))]  # fmt: skip
    write(tmp_path / "l", fold_0_data__txt=header + "".join(lines[:3]),
          fold_1_data__txt=header + "".join(lines[3:]))  # fmt: skip
    code, out, err, frame = run(capsys, "adience", tmp_path / "aligned", tmp_path / "l")
    assert code == 0
    assert "4 groups" in out
    assert frame["label"].tolist() == ["4", "4", "2", "7"]
    assert frame["fold"].tolist() == ["0", "0", "1", "1"]
    assert frame["group"].tolist() == ["4@N0", "5@N0", "6@N0", "7@N0"]
    simple = [f"{face} {label}\n" for face, label in zip(faces, [4, 4, 4, 2, 7], strict=True)]
    write(tmp_path / "s", simplified_adience_0__txt="".join(simple[:3]),
          simplified_adience_1__txt="".join(simple[3:]))  # fmt: skip
    code, _, _, frame = run(capsys, "adience", tmp_path / "aligned", tmp_path / "s")
    assert code == 0
    assert frame["label"].tolist() == ["4", "4", "4", "2", "7"]


def test_adience_counts_what_it_leaves_out(tmp_path, capsys, caplog):
    touch(tmp_path / "a", *(f"u{n}/landmark_aligned_face.1.{n}.jpg" for n in range(4)))
    lines = [f"u{n}\t{n}.jpg\t1\t{age}\n" for n, age in enumerate(["None", "35", "35", "(0, 2)"])]
    write(
        tmp_path / "l", fold_0_data__txt="user_id\toriginal_image\tface_id\tage\n" + "".join(lines)
    )
    with caplog.at_level(logging.WARNING):
        presets.write("adience", tmp_path / "a", tmp_path / "out.csv", tmp_path / "l")
    assert "3 faces left out, whose age is none of the eight groups: 35: 2, None: 1" in caplog.text


def test_utkface_reads_names_that_lack_the_race_or_the_suffix(tmp_path, capsys, caplog):
    touch(
        tmp_path / "UTKFace",
        "1_0_2_20161219140623097.jpg.chip.jpg",
        "116_1_3_20170120134744096.jpg.chip.jpg",
        "39_1_20170116174525125.jpg.chip.jpg",
        "61_1_3_20170109142408075",
        "readme.md",
    )
    with caplog.at_level(logging.WARNING):
        code, out, _, frame = run(capsys, "utkface", tmp_path / "UTKFace")
    assert code == 0
    assert "no folds: they are drawn with a seed" in out
    assert "no groups" in out
    assert sorted(frame["label"], key=int) == ["1", "39", "61", "116"]
    assert "1 files left out, named otherwise than age_sex_race_time: readme.md" in caplog.text
    (tmp_path / "UTKFace/117_0_0_2017.jpg").touch()
    _, _, err, _ = run(capsys, "utkface", tmp_path / "UTKFace")
    assert "label 117 is outside 1 to 116" in err


def test_clap_has_its_split_and_the_spread_of_guesses(tmp_path, capsys):
    touch(tmp_path / "im", "train/image_1.jpg", "val/image_2.jpg", "test/image_3.jpg")
    header = "filename,age,stdv,database\n"
    lines = ["image_1.jpg,20,3.1,train\n", "image_2.jpg,31.5,2,val\n", "image_3.jpg,85,9,test\n"]
    write(tmp_path / "l", total_2015__csv=header + "".join(lines))
    code, out, _, frame = run(capsys, "clap2015", tmp_path / "im", tmp_path / "l")
    assert code == 0
    assert "fold published: 1 train, 1 validation, 1 test" in out
    assert frame["stdv"].tolist() == ["3.1", "2", "9"]
    assert frame["path"].tolist() == ["train/image_1.jpg", "val/image_2.jpg", "test/image_3.jpg"]
    write(tmp_path / "l", total_2015__csv=header + "image_1.jpg,20,3.1,both\n")
    _, _, err, _ = run(capsys, "clap2015", tmp_path / "im", tmp_path / "l")
    assert "line 2: database 'both' must be train, val or test" in err


def test_fingers_have_a_fold_a_session(tmp_path, capsys):
    raw = tmp_path / "Raw_Images"
    touch(raw, "Human/Set1/0/imbk.jpg", "Human/Set1/3/three_102.jpg", "Human/Set2/5/five_1.jpg",
          "Human/Set2/1/one_7.jpg", "iCub/Set1/3/three_1.jpg",
          "Human/Set2/1/notes.txt")  # fmt: skip
    code, out, err, frame = run(capsys, "fingers", raw)
    assert code == 0
    assert "shows: fingers" in out
    assert frame.sort_values("path")[["label", "fold"]].to_numpy().tolist() == [
        ["3", "Set1"], ["1", "Set2"], ["5", "Set2"]]  # fmt: skip
    assert "fold Set1: 2 train, 1 test\nfold Set2: 1 train, 2 test" in out
    touch(tmp_path / "other", "a.jpg")
    code, _, err, _ = run(capsys, "fingers", tmp_path / "other")
    assert code == 1
    assert "other: holds no image as fingers has them" in err


def test_any_folder_with_a_csv(tmp_path, capsys):
    touch(tmp_path / "mine", "a/x.jpg", "b/x.jpg")
    write(tmp_path / "mine", labels__csv="label,path,camera\n2.5,a/x.jpg,one\n-4,b/x.jpg,two\n")
    code, out, _, frame = run(capsys, "folder", tmp_path / "mine")
    assert code == 0
    assert "2 images, labels -4 to 2.5" in out
    assert frame["camera"].tolist() == ["one", "two"]
    write(tmp_path / "mine", more__csv="path,label\n")
    _, _, err, _ = run(capsys, "folder", tmp_path / "mine")
    assert "has several CSV files" in err
    assert "name one by --lists" in err


@pytest.mark.parametrize(
    ("link", "to", "follows"),
    [("b/y.jpg", "store/y.jpg", True), ("b", "store", True), ("b/y.jpg", "mine/a/y.jpg", False)],
)
def test_images_that_are_links_are_told_with_the_key_that_they_need(
    tmp_path, capsys, link, to, follows
):
    images = tmp_path / "mine"
    touch(tmp_path, "mine/a/x.jpg", "mine/a/y.jpg", "store/y.jpg")
    (images / link).parent.mkdir(exist_ok=True)
    (images / link).symlink_to(tmp_path / to)
    write(images, labels__csv="label,path\n1,a/x.jpg\n2,b/y.jpg\n")
    code, out, _, _ = run(capsys, "folder", images)
    assert code == 0
    last = f"folder.csv: written. In the config: images: {images}, shows: anything"
    assert out.endswith(f"{last}{', follow_links: true' if follows else ''}\n")


def test_two_files_of_one_name_are_told_apart_by_their_folder_or_refused(tmp_path):
    touch(tmp_path, "p/a.JPG", "q/a.jpg", "q/b.jpg")
    found = presets.Images(tmp_path)
    assert found.find("../elsewhere/q/a.jpg") == "q/a.jpg"
    assert found.find("elsewhere/B.jpg") == "q/b.jpg"
    with pytest.raises(ValueError, match=r"a.jpg may be p/a.JPG, q/a.jpg: move all but one away"):
        found.find("a.jpg")
