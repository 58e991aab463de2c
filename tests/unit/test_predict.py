"""The command on pictures of one's own, with a random CLIP of the miniature's size."""

import io
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from safetensors.torch import save

import tiny_training
from countclip.data.captions import fill
from countclip.data.number_words import NUMBERS, WORDS
from countclip.evaluation import predict
from countclip.model import clip as model_clip
from countclip.model import inputs
from countclip.runtime.files import write_json
from countclip.runtime.resources import HOME
from countclip.training import checkpoints


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What a training leaves: weights and a model.json beside them."""
    folder = tmp_path_factory.mktemp("trained")
    config = tiny_training.make_config(folder)
    clip = tiny_training.make_clip(config)
    checkpoints.save(clip.model, folder / "selected.safetensors", {})
    model = {"name": "tiny-test", "pretrained": None, "config": str(config)}
    write_json({"model": model}, folder / "model.json")
    return folder / "selected.safetensors"


@pytest.fixture
def folder(tmp_path):
    """Five pictures, one of them deeper, and a file that is none."""
    rng = np.random.default_rng(0)
    (tmp_path / "below").mkdir()
    for name in ("a.png", "b.png", "c.png", "d, <b>.png", "below/e.png"):
        pixels = rng.integers(0, 256, (70, 90, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no picture", encoding="utf-8")
    return tmp_path


def test_a_folder_and_its_caption(trained, folder):
    """Against open_clip's own encoders, one picture and one caption at a time."""
    output = folder / "counts.csv"
    caption = "A photo of {} dogs"
    command = [
        *(sys.executable, "-m", "countclip.evaluation.predict"),
        *("--model", trained, "--accelerator", "cpu"),
        *("--images", folder / "a.png", folder, "--caption", caption),
    ]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=True,
        cwd=HOME / "workflow/scripts",
    )  # fmt: skip
    pairs = predict.from_files([folder / "a.png", folder], caption)
    predict.predict(trained, pairs, output, "cpu", 8)
    assert output.read_text(encoding="utf-8") == done.stdout
    assert "no answer for 1 of 7 images: not_an_image" in done.stderr
    table = pd.read_csv(output)
    assert table.columns.tolist() == predict.COLUMNS
    names = ["a.png", "a.png", "b.png", "below/e.png", "c.png", "d, <b>.png", "notes.txt"]
    assert table["image"].tolist() == [str(folder / name) for name in names]
    problem = table.iloc[-1]
    assert problem["problem"].startswith("not_an_image")
    assert np.isnan(problem["count"])
    clip = predict.load(trained)
    for _, row in table[:-1].iterrows():
        pixels = inputs.resize(Image.open(row["image"]), clip.image_size)
        pixels = clip.normalise(model_clip.torch.from_numpy(pixels[None].copy()))
        image = clip.model.encode_image(pixels, normalize=True)
        texts = clip.tokenizer([caption.format(word) for word in WORDS.values()])
        cosines = (image @ clip.model.encode_text(texts, normalize=True).T)[0]
        shares = (clip.model.logit_scale.exp() * cosines).softmax(dim=0).detach()
        np.testing.assert_allclose(
            row[predict.SIMILARITIES].astype(float), cosines.detach(), atol=1e-5
        )
        assert row["count"] == NUMBERS[int(shares.argmax())]
        assert row["probability"] == pytest.approx(shares.max().item(), rel=1e-3)
        assert not row["tie"]


def test_a_table_of_pictures_and_captions(trained, folder):
    captions = ["two dogs", "{} cats", "ten boxes of {} dogs"]
    names = ["a.png", "below/e.png", "gone.png"]
    table = folder / "pairs.csv"
    pd.DataFrame({"image": names, "caption": captions}).to_csv(table, index=False)
    pairs = predict.from_table(table)
    output = folder / "counts.csv"
    problems = predict.predict(trained, pairs, output, "cpu", 8)
    answers = pd.read_csv(output)
    assert answers["caption"].tolist() == captions
    assert answers["image"].tolist() == [str(folder / name) for name in names]
    assert dict(problems) == {"unreadable (No such file or directory)": 1}
    once = output.read_bytes()
    predict.predict(trained, pairs, output, "cpu", 1)
    pd.testing.assert_frame_equal(pd.read_csv(output), answers, atol=1e-5)
    predict.predict(trained, pairs, output, "cpu", 8)
    assert output.read_bytes() == once


def test_linked_folders_are_counted_and_what_is_left_out_is_named(trained, folder, capsys):
    store = folder / "store"
    for name in ("store/2023/l.png", "album/.thumbnails/l.png", "album/._l.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes((folder / "a.png").read_bytes())
    album = folder / "album"
    (album / "years").symlink_to(store)
    (album / "m.png").symlink_to("years/2023/l.png")
    (album / "n.png").symlink_to("../elsewhere/n.png")
    (store / "back").symlink_to(album)
    pairs = predict.from_files([album], "{} dogs")
    assert "3 hidden, left by a tool or a loop of links, passed over: " in capsys.readouterr().err
    problems = predict.predict(trained, pairs, folder / "counts.csv", "cpu", 8)
    answers = pd.read_csv(folder / "counts.csv")
    assert answers["image"].tolist() == [
        str(album / name) for name in ("m.png", "n.png", "years/2023/l.png")
    ]
    assert answers["count"].isna().tolist() == [False, True, False]
    broken = "unreadable (a link to '../elsewhere/n.png': No such file or directory)"
    assert dict(problems) == {broken: 1}


def test_a_table_finds_either_unicode_form(folder):
    (folder / "a.png").rename(folder / "e\u0301te\u0301.png")
    (folder / "pairs.csv").write_text("image,caption\n\u00e9t\u00e9.png,{} dogs\n", "utf-8")
    assert predict.from_table(folder / "pairs.csv")[0].image.is_file()
    assert predict.from_files([folder / "\u00e9t\u00e9.png"], "{} dogs")[0].image.is_file()


def test_no_picture_at_all_ends_with_an_error(trained, folder, monkeypatch, capsys):
    arguments = ("--model", trained, "--images", folder / "notes.txt", "--caption", "{} dogs")
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
    with pytest.raises(SystemExit, match="1"):
        predict.main()
    told = capsys.readouterr()
    assert told.out.count("\n") == 2
    assert "no answer for 1 of 1 images" in told.err


@pytest.mark.filterwarnings("error::FutureWarning")  # an empty column has its kind, not a guess
def test_pictures_without_an_answer_among_others_with_one(trained, folder, monkeypatch):
    monkeypatch.setattr(predict, "AT_ONCE", 1)
    pairs = predict.from_files([folder / "notes.txt", folder / "a.png"], "{} dogs")
    predict.predict(trained, pairs, folder / "counts.csv", "cpu", 1)
    assert pd.read_csv(folder / "counts.csv")["count"].isna().tolist() == [True, False]


def test_a_hostile_picture_is_not_decoded(trained, folder, monkeypatch):
    """A bomb: 15,000 pixels square, in few bytes. And a file that is too large to be read."""
    bomb = folder / "bomb.png"
    Image.new("1", (15000, 15000)).save(bomb)
    monkeypatch.setattr(predict, "MAX_BYTES", bomb.stat().st_size)
    large = folder / "large.png"
    large.write_bytes(bomb.read_bytes() + b"0")
    pairs = predict.from_files([bomb, large], "{} dogs")
    problems = predict.predict(trained, pairs, folder / "counts.csv", "cpu", 8)
    assert sorted(problem.split()[0] for problem in problems) == ["too_large", "undecodable"]


def test_what_is_wrong_is_named(trained, folder, tmp_path):
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes(trained.read_bytes())
    with pytest.raises(ValueError, match=r"model.json: it must say which model alone.safetensors"):
        predict.load(alone)
    with pytest.raises(ValueError, match=r"last.pt: weights are read from a .safetensors file"):
        predict.load(tmp_path / "last.pt")
    with pytest.raises(ValueError, match="nowhere: there is no such image or folder"):
        predict.from_files([folder / "nowhere"], "{} dogs")
    table = folder / "pairs.csv"
    table.write_text("image,text\na.png,{} dogs\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"separated by commas; it is 'image,text'"):
        predict.from_table(table)
    table.write_text("image;caption\na.png;{} dogs\n", encoding="utf-8")
    with pytest.raises(ValueError, match="image and caption, separated by commas; it is 'image;ca"):
        predict.from_table(table)
    table.write_text("image,caption\na.png,{} dogs\na.png,dogs\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"1 wrong\n  line 3: caption 'dogs': write {} once"):
        predict.from_table(table)
    table.write_text("image,caption\na.png,two dogs, three cats\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"line 2: must have 2 fields.*quote a field with a comma"):
        predict.from_table(table)
    table.write_text("image,caption\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"pairs.csv: it names no image; write a row for each"):
        predict.from_table(table)
    table.write_bytes(b"image,caption\n\xff\xfe,{} dogs\n")
    with pytest.raises(ValueError, match=r"pairs.csv: is not UTF-8; save it as CSV UTF-8"):
        predict.from_table(table)


def test_a_config_file_stands_for_model_json(trained, folder, tmp_path, monkeypatch):
    """Weights alone in a folder, and the file that describes their model in another."""
    alone, described = tmp_path / "weights/alone.safetensors", tmp_path / "configs/tiny-test.json"
    for path, of in ((alone, trained), (described, trained.with_name("tiny-test.json"))):
        path.parent.mkdir()
        path.write_bytes(of.read_bytes())
    merges = "tiny-test.merges.txt.gz"
    described.with_name(merges).write_bytes(trained.with_name(merges).read_bytes())
    expected, output = folder / "expected.csv", folder / "counts.csv"
    predict.predict(trained, predict.from_files([folder / "a.png"], "{} dogs"), expected, "cpu", 8)
    arguments = ("--model", alone, "--config-file", described, "--images", folder / "a.png",
                 "--caption", "{} dogs", "--output", output)  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
    with pytest.raises(SystemExit, match="0"):
        predict.main()
    assert output.read_bytes() == expected.read_bytes()
    wrong = described.with_name("other.json")
    with pytest.raises(ValueError, match=r"--config-file .*other.json: there is no such file"):
        predict.load(alone, wrong)
    wrong.write_text('{"model_cfg": {}}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"other.json: must be open_clip's JSON .* `model_cfg`"):
        predict.load(alone, wrong)
    wrong.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"--config-file .*other.json: is no JSON"):
        predict.load(alone, wrong)


def test_the_file_that_describes_a_model_is_looked_for_in_its_run(trained, tmp_path, monkeypatch):
    run = tmp_path / "run"
    weights = run / "results/training/mine/seed1/end.safetensors"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(trained.read_bytes())
    model = {"name": "tiny-test", "pretrained": None, "config": "models/tiny-test.json"}
    write_json({"model": model}, weights.with_name("model.json"))
    monkeypatch.chdir(tmp_path)
    places = (tmp_path / "models", run / "models", weights.parent)
    looked = ", ".join(str(place / "tiny-test.json") for place in places)
    with pytest.raises(ValueError, match=r"--config-file") as raised:
        predict.load(weights)
    assert f"(looked for: {looked})" in str(raised.value)
    assert f"{weights.with_name('model.json')} says that models/tiny-test.json" in str(raised.value)
    (run / "models").mkdir()
    for name in ("tiny-test.json", "tiny-test.merges.txt.gz"):
        (run / "models" / name).write_bytes(trained.with_name(name).read_bytes())
    assert predict.load(weights).image_size == predict.load(trained).image_size


def test_broken_links_are_told_and_what_desktops_leave_is_not(trained, folder, monkeypatch, capsys):
    for name in ("Thumbs.db", ".DS_Store", "below/desktop.ini", "below/.DS_Store"):
        (folder / name).write_bytes(b"x")
    (folder / "notes.txt").unlink()
    (folder / "gone.jpg").symlink_to("../album/5.jpg")
    (folder / "weights.safetensors").symlink_to("old/weights.safetensors")
    with pytest.raises(ValueError, match=r"is a link to 'old/weights.safetensors', which is not"):
        predict.load(folder / "weights.safetensors")
    (folder / "weights.safetensors").unlink()
    inputs = [*folder.glob("*.*"), folder / "below"]  # as a shell has photos/*, and more
    arguments = ["--model", trained, "--images", *inputs, "--caption", "{} dogs"]
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
    with pytest.raises(SystemExit, match="0"):
        predict.main()
    told = capsys.readouterr()
    assert told.err.splitlines()[-1] == (
        "predict: no answer for 1 of 6 images: unreadable (a link to '../album/5.jpg': No such file"
        " or directory)"
    )
    for name in ("Thumbs", "DS_Store", "desktop.ini", "passed over"):
        assert name not in told.err + told.out
    with pytest.raises(ValueError, match="no file is in there"):
        predict.from_files([folder / "Thumbs.db"], "{} dogs")


def test_weights_of_another_model_are_named(trained, tmp_path):
    (tmp_path / "model.json").write_bytes(trained.with_name("model.json").read_bytes())
    other = tmp_path / "other.safetensors"
    other.write_bytes(save({"conv.weight": model_clip.torch.zeros(3)}))
    with pytest.raises(ValueError, match="other.safetensors: not the weights of a tiny-test"):
        predict.load(other)
    other.write_bytes(trained.read_bytes()[:100])
    with pytest.raises(ValueError, match="other.safetensors: not the weights of a tiny-test"):
        predict.load(other)


def test_an_accelerator_that_is_not_there_is_named(trained, folder):
    pairs = predict.from_files([folder], "{} dogs")
    absent = "mps" if sys.platform == "linux" else "cuda"
    with pytest.raises(ValueError, match=f"--accelerator {absent}: .* not available"):
        predict.predict(trained, pairs, None, absent, 8)


def test_a_folder_is_not_overwritten_by_the_answers(trained, folder, monkeypatch, capsys):
    arguments = ("--model", trained, "--images", folder, "--caption", "{} dogs", "--output", folder)
    monkeypatch.setattr(sys, "argv", ["predict", *map(str, arguments)])
    with pytest.raises(SystemExit, match="2"):
        predict.main()
    assert f"--output: {folder} is a folder; name the CSV to write" in capsys.readouterr().err
    assert (folder / "a.png").is_file()


# ---- the output ----


def test_a_name_and_a_terminal_that_are_no_utf8_lose_no_answer(trained, folder, monkeypatch):
    name = os.fsencode(folder) + b"/gr\xfcn.png"
    os.rename(folder / "a.png", name)
    (folder / "b.png").rename(folder / "gr\u00fcn.png")
    pairs = predict.from_files([folder], "{} dogs")
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="latin-1", errors="strict")
    monkeypatch.setattr(sys, "stdout", terminal)
    predict.predict(trained, pairs, None, "cpu", 8)
    printed = terminal.buffer.getvalue()
    predict.predict(trained, pairs, folder / "new/counts.csv", "cpu", 8)
    assert (folder / "new/counts.csv").read_bytes() == printed
    table = pd.read_csv(io.BytesIO(printed))
    assert len(table) == 6
    assert {f"{folder}/gr\\xfcn.png", f"{folder}/gr\u00fcn.png"} < set(table["image"])


def test_an_output_that_cannot_be_written_is_named_before_anything_is_loaded(folder):
    pairs = predict.from_files([folder], "{} dogs")
    for output in (folder / "a.png/counts.csv", folder / ("x" * 300), folder / "below"):
        with pytest.raises(ValueError, match=r"--output .*: cannot be written \(.*\); name"):
            predict.predict(folder / "no.safetensors", pairs, output, "cpu", 8)


def test_an_earlier_output_stays_until_there_is_an_answer(trained, folder):
    pairs = predict.from_files([folder / "a.png"], "{} dogs")
    output = folder / "counts.csv"
    with pytest.raises(ValueError, match="there is no such file"):
        predict.predict(folder / "no.safetensors", pairs, output, "cpu", 8)
    assert not output.exists()
    output.write_text("earlier\n" * 1000, encoding="utf-8")
    with pytest.raises(ValueError, match="there is no such file"):
        predict.predict(folder / "no.safetensors", pairs, output, "cpu", 8)
    assert output.read_text(encoding="utf-8") == "earlier\n" * 1000
    predict.predict(trained, pairs, output, "cpu", 8)
    assert pd.read_csv(output)["image"].tolist() == [str(folder / "a.png")]


def test_answers_are_written_as_they_come(trained, folder, monkeypatch):
    """Ctrl-C at the third image: the first two have their rows."""
    monkeypatch.setattr(predict, "AT_ONCE", 1)
    count, counted = predict.count, []

    def stopped(clip, pairs, *more):
        if len(counted) == 2:
            raise KeyboardInterrupt
        counted.extend(pairs)
        return count(clip, pairs, *more)

    monkeypatch.setattr(predict, "count", stopped)
    pairs = predict.from_files([folder], "{} dogs")
    with pytest.raises(KeyboardInterrupt):
        predict.predict(trained, pairs, folder / "counts.csv", "cpu", 1)
    table = pd.read_csv(folder / "counts.csv")
    assert table["image"].tolist() == [str(pair.image) for pair in pairs[:2]]
    assert table["count"].notna().all()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs Linux's /dev/full")
def test_a_full_disk_is_named(trained, folder):
    pairs = predict.from_files([folder / "a.png"], "{} dogs")
    with pytest.raises(ValueError, match="/dev/full: No space left on device after 0 of 1 images"):
        predict.predict(trained, pairs, predict.Path("/dev/full"), "cpu", 8)


def test_the_word_that_counts_is_clear():
    assert fill("a photo of {} dogs") == ("a photo of two dogs", 2)
    assert fill("two boxes of {} pens") == ("two boxes of three pens", 3)
    assert fill("Seven dogs, often {braces}") == ("Seven dogs, often {braces}", 7)
    for caption in (
        "dogs",
        "{} dogs and {} cats",
        "two dogs and three cats",
        "a{}b",
        " ".join(WORDS.values()) + " {}",
    ):
        with pytest.raises(ValueError, match="write {} once|as a whole word"):
            fill(caption)
