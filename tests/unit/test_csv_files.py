"""Texts that people wrote, as editors and spreadsheets save them, by every reader of one."""

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from countclip.benchmarks import adapters, audit, countbench, repairs_csv
from countclip.data import laion, nouns
from countclip.evaluation import predict, retention_data
from countclip.model.clip import image_size
from countclip.runtime import csv_files
from countclip.runtime.csv_files import Columns
from countclip.runtime.files import read_text
from countclip.runtime.folders import ImageFolder, inside
from countclip.runtime.resources import HOME
from countclip.settings.laion import manifest_line
from countclip.settings.user_files import files_in_column

LOCK = "0,http://a/ü.jpg,ab,0123456789abcdef,64,64,999,2024-05-01"
TABLES = {
    "nouns": ("class,nouns\nbird,birds; gulls\nKüken,\n", nouns.plurals),
    "predict": ("image,caption\nmöwe.png,{} gulls\n", predict.from_table),
    "benchmark": (
        "image,number,noun\nmöwe.png,3,gulls\n",
        lambda path: adapters.folder_csv(path, ImageFolder(path.parent)),
    ),
    "repairs": (
        ",".join(repairs_csv.COLUMNS) + "\n1,exclude,,,,,,zwölf\n",
        lambda path: repairs_csv.read_repairs(path, 2, []),
    ),
    "lock": (",".join(audit.LOCK) + f"\n{LOCK}\n", audit.read_lock),
}
TEXTS = {
    "manifest": (
        "\t".join(laion.COLUMNS) + f"\nk1\thttp://a/ü\t7\t{'0' * 64}\n",
        laion.read_manifest,
    ),
    "flickr30k": (
        "möwe.png#0\ttwo gulls\nmöwe.png#1\tgulls\n",
        lambda path: retention_data.read("flickr30k", str(path.parent), str(path)).texts,
    ),
    "coco": (
        json.dumps(
            {
                "images": [{"id": 1, "file_name": "möwe.png"}],
                "annotations": [{"image_id": 1, "caption": "zwölf"}],
            },
            ensure_ascii=False,
        ),
        lambda path: retention_data.read("coco", str(path.parent), str(path)).texts,
    ),
    "list": (
        json.dumps([{"image_url": "http://a/ü", "text": "two gulls", "number": 2}]),
        countbench.load,
    ),
    "tallyqa": (
        json.dumps(
            [
                {
                    "question_id": 1,
                    "answer": 2,
                    "image": "möwe.png",
                    "question": "How many?",
                    "issimple": True,
                }
            ]
        ),
        lambda path: adapters.tallyqa(path, ImageFolder(path.parent)),
    ),
    "intersection": ("# wörter\n0\n2 # two\n", lambda path: countbench._indices(str(path), 3)),
    "prompts": ("# größe\na photo of {}\n", lambda path: retention_data.read_templates(str(path))),
}
FORMS = {
    "mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "Windows": lambda text: text.replace("\n", "\r\n").encode("utf-8-sig"),
    "old Mac": lambda text: text.replace("\n", "\r").encode(),
}
SPREADSHEETS = {
    "blanks": lambda text: text.replace(",", " ,  ").replace("\n", " \n").encode(),
    "empty columns and lines": lambda text: text.replace("\n", ",,\n").encode() + b",,,,\n\n,,\n",
    "quotes": lambda text: "\n".join(
        ",".join(f'"{field}"' for field in line.split(",")) for line in text.splitlines()
    ).encode(),
}


def outcome(name: str, body: bytes, folder: Path):
    text, read = (TABLES | TEXTS)[name]
    path = folder / ("file.csv" if name in TABLES else "file.txt")
    path.write_bytes(body)
    return read(path)


@pytest.fixture
def folder(tmp_path) -> Path:
    Image.new("RGB", (40, 40), "red").save(tmp_path / "möwe.png")
    return tmp_path


@pytest.mark.parametrize("name", TABLES | TEXTS)
def test_marks_and_ends_of_lines_do_not_matter(name, folder):
    text, _ = (TABLES | TEXTS)[name]
    plain = outcome(name, text.encode(), folder)
    assert plain
    for form, write in FORMS.items():
        assert outcome(name, write(text), folder) == plain, form


def test_a_models_description_is_read_with_a_mark(tmp_path):
    text = (HOME / "resources/miniature/clip/miniature-vit.json").read_bytes()
    (tmp_path / "marked-vit.json").write_bytes(b"\xef\xbb\xbf" + text)
    assert image_size("marked-vit", str(tmp_path / "marked-vit.json")) == 64
    (tmp_path / "marked-vit.json").write_bytes(text[:-9])
    with pytest.raises(ValueError, match=r"marked-vit.json: is no JSON: .*; correct it"):
        image_size("marked-vit", str(tmp_path / "marked-vit.json"))


@pytest.mark.parametrize("name", TABLES)
def test_blanks_and_empty_cells_of_a_spreadsheet_do_not_matter(name, folder):
    text, _ = TABLES[name]
    plain = outcome(name, text.encode(), folder)
    for form, write in SPREADSHEETS.items():
        assert outcome(name, write(text), folder) == plain, form


@pytest.mark.parametrize("name", TABLES | TEXTS)
def test_another_encoding_is_named(name, folder):
    text, _ = (TABLES | TEXTS)[name]
    for encoding, named in (("utf-16", "UTF-16"), ("utf-16-le", "UTF-16"), ("utf-32", "UTF-32")):
        with pytest.raises(ValueError, match=rf"file\.\w+: is {named}; save it as (CSV )?UTF-8"):
            outcome(name, text.encode(encoding), folder)
    with pytest.raises(ValueError, match=r"is not UTF-8; save it as .*UTF-8 \(line 1: byte 0xe4\)"):
        outcome(name, "ä".encode("latin-1") + text.encode(), folder)


@pytest.mark.parametrize("name", TABLES)
def test_another_separator_is_named(name, folder):
    text, _ = TABLES[name]
    for separator, word in (";", "semicolons"), ("\t", "tabs"):
        with pytest.raises(ValueError, match=rf"it is .*, separated by {word}: save it with comma"):
            outcome(name, text.replace(",", separator).encode(), folder)
    with pytest.raises(ValueError, match="separated by commas: save it with tabs instead"):
        outcome("manifest", TEXTS["manifest"][0].replace("\t", ",").encode(), folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("index,action,url\n", r"it is 'index,action,url', without file, sha256, provenance"),
        (",".join(repairs_csv.COLUMNS) + ",note\n", "with the unknown 'note'"),
        (",".join(repairs_csv.COLUMNS) + ",url\n", "with two of 'url'"),
        ("\n\nhello\n", "the first line must name .*; it is 'hello', without index"),
    ],
)
def test_a_wrong_header_is_shown_and_what_is_wrong_with_it(text, message, folder):
    with pytest.raises(ValueError, match=message):
        outcome("repairs", text.encode(), folder)


LONG = "{'bytes': b'" + "\\xff" * 100 + "'}"


@pytest.mark.parametrize(
    ("name", "line", "column"),
    [
        ("predict", f'"{LONG}",two gulls', "image"),
        ("predict", f"folder/{'ü' * 150}.png,two gulls", "image"),
        ("predict", f"{'x' * 200_000},two gulls", "image"),
        ("predict", "gu\0ll.png,two gulls", "image"),
        ("predict", "gull.png,two \0gulls", "caption"),
        ("predict", ",two gulls", "image"),
        ("benchmark", f'"{LONG}",3,gulls', "image"),
        ("benchmark", f"gull.png,3,{'x' * 200_000}", "noun"),
    ],
)
def test_a_cell_that_is_none_is_named_by_file_line_and_column(name, line, column, folder):
    text, _ = TABLES[name]
    message = rf"file.csv: 1 wrong\n  line 3: column {column}: .{{1,400}}$"
    with pytest.raises(ValueError, match=message):
        outcome(name, f"{text}{line}\n".encode(), folder)


def test_a_wrong_cell_of_repairs_is_named_and_the_other_lines_are_read(folder):
    lines = [",".join(repairs_csv.COLUMNS), f"0,replace,,{'é' * 200},,mine,,", "1,exclude,,,,,,why"]
    (folder / "repairs.csv").write_text("\n".join(lines), encoding="utf-8")
    problems = []
    repairs = repairs_csv.read_repairs(folder / "repairs.csv", 2, problems)
    assert [line for line, _ in repairs] == [3]
    assert len(problems) == 1
    assert problems[0].startswith("line 2: column file: 'éé")


def test_a_line_is_that_where_a_record_begins(folder):
    text = 'image,caption\n"möwe.png","two\ngulls"\nx.png,"two\n gulls and three"\n'
    with pytest.raises(ValueError, match=r"1 wrong\n  line 4: "):
        outcome("predict", text.encode(), folder)


def test_a_class_with_two_lines_is_refused(folder):
    with pytest.raises(ValueError, match=r"line 4: class 'bird' is empty or on an earlier line"):
        outcome("nouns", (TABLES["nouns"][0] + "bird,gulls\n").encode(), folder)


@pytest.mark.parametrize("name", ["gull\0.png", "x" * 256 + ".png", "a/" + "é" * 128, "ab/" * 1400])
def test_no_text_that_names_no_file_becomes_a_path(name, folder):
    """Also of JSON and of files of captions, whose readers take their paths from here."""
    with pytest.raises(ValueError, match=r"names no file \(.*\): write a file's path"):
        inside(ImageFolder(folder), name)
    assert inside(ImageFolder(folder), "x" * 251 + ".png").parent == folder.resolve()


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("flickr30k", f"möwe.png#0\tgulls\n{'x' * 300}.png#0\tgulls\n"),
        ("coco", json.dumps({
            "images": [{"id": 1, "file_name": "x" * 300}],
            "annotations": [{"image_id": 1, "caption": "gulls"}],
        })),
    ],
)  # fmt: skip
def test_captions_of_no_file_are_named_by_their_file(source, text, folder):
    (folder / "captions").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"captions: 1 wrong\n  'xx.* names no file \(30\d byte"):
        retention_data.read(source, str(folder), str(folder / "captions"))


# ---- what the rules read of such files before anything runs ----


def test_the_rules_find_the_images_of_right_lines_and_fail_for_no_wrong_one(folder):
    lines = ["image,number,noun", f'"{LONG}",3,gulls', "möwe.png,3,gulls", "gu\0ll,3,gulls"]
    lines += ["a" * 5000, "/".join(["b" * 200] * 40) + ",3,gulls", 'x.png,3,"open']
    (folder / "mine.csv").write_text("\n".join(lines), encoding="utf-8-sig")
    found = files_in_column(folder / "mine.csv", "image", folder)
    assert found == [str(folder / "möwe.png")]


@pytest.mark.parametrize("body", ["image;number\n".encode("utf-16"), b"\xff\n", b"", b'"', b"a,b"])
def test_the_rules_leave_a_wrong_table_to_its_reader(body, folder):
    (folder / "mine.csv").write_bytes(body)
    assert files_in_column(folder / "mine.csv", "image", folder) == []
    for nowhere in (folder, folder / "none.csv", folder / ("x" * 300)):
        assert files_in_column(nowhere, "image", folder) == []


def test_a_line_of_a_manifest_is_found_however_it_was_saved(folder):
    text, _ = TEXTS["manifest"]
    settings = {"laion": {"manifest": str(folder / "file.txt")}}
    for form in (str.encode, *FORMS.values()):
        (folder / "file.txt").write_bytes(form(text))
        assert manifest_line(settings, "k1") == f"k1\thttp://a/ü\t7\t{'0' * 64}"
        assert manifest_line(settings, "k") == ""
    (folder / "file.txt").write_bytes(text.encode("utf-16"))
    assert manifest_line(settings, "k1") == ""


def test_a_file_that_may_not_be_read_is_an_error_of_its_reader(folder):
    path = folder / "mine.csv"
    path.symlink_to(path)  # a link to itself: root may read any other file
    assert files_in_column(path, "image", folder) == []
    with pytest.raises(OSError, match="mine.csv"):
        read_text(path)
    assert os.path.islink(path)


def test_columns_in_words():
    assert str(Columns(("a",))) == "a, separated by commas"
    assert str(Columns(("a", "b"), one_of=("c", "d"))) == "a, b and c or d, separated by commas"
    assert csv_files.Columns(("a", "b"), one_of=("c", "d")).problem(["a", "c"]) == "without b"


def test_two_marks_are_two_too_many_and_a_thousand_wrong_lines_are_counted(tmp_path):
    table = tmp_path / "nouns.csv"
    table.write_text("\ufeff\ufeffclass,nouns\nbird,birds\n", encoding="utf-8")
    assert nouns.plurals(table) == {"bird": "birds"}
    table.write_text("class,nouns\n" + "bird\n" * 1000)
    with pytest.raises(ValueError, match="nouns.csv: 1000 wrong") as error:
        nouns.plurals(table)
    lines = str(error.value).splitlines()
    assert len(lines) == 1 + csv_files.SHOWN + 1
    assert lines[-1] == "  and 900 more"
