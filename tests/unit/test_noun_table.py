"""COCO's table of nouns: written by people, filled from WordNet, reviewed."""

import csv
from pathlib import Path

import pytest

from countclip.data import noun_table
from countclip.data.nouns import Nouns, plurals
from countclip.runtime.csv_files import LONGEST_FIELD

CLASSES = list(plurals(noun_table.TABLE))


@pytest.fixture(scope="module")
def coco() -> Nouns:
    return Nouns(noun_table.TABLE, dict(enumerate(CLASSES)))


@pytest.mark.parametrize(
    ("caption", "named"),
    [
        ("three performers on a stage", "person"),
        ("Two commissioners", "person"),
        ("five individuals", "person"),
        ("an individual bag", "handbag"),  # its plural alone is people
        ("seven representatives", "person"),
        ("four ASTRONAUTS", "person"),
        ("two maids", "person"),
        ("six goalkeepers", "person"),
        ("two bassoonists and a cellist", "person"),
        ("nine seamstresses", "person"),
        ("two book agents", "person"),  # and no book
        ("three wines", "bottle wine glass"),
        ("two bloodhounds", "dog"),
        ("two sandpipers", "bird"),
        ("three ambulances", "car"),
        ("two trolleybuses", "bus"),
        ("two decanters", "bottle"),
        ("two images of a family with red hands", ""),
        ("three cookies", ""),
    ],
)
def test_what_a_caption_names(coco, caption, named):
    found = {CLASSES[number] for number in coco(caption)}
    assert found == {name for name in CLASSES if name in named}


def test_thousands_of_nouns_are_found_as_the_few_were(coco):
    """The longest noun from the left, against one pattern of all of them."""
    import re

    with open(noun_table.TABLE, encoding="utf-8", newline="") as file:
        csv.field_size_limit(LONGEST_FIELD)
        rows = list(csv.DictReader(file))
    nouns = {noun for row in rows for noun in (row["class"], *row["nouns"].split(";"))}
    kept = sorted(nouns, key=lambda noun: (-len(noun.replace("-", " ")), noun))[::7]
    words = "|".join(re.escape(noun.replace("-", " ")).replace("\\ ", r"[\s-]+") for noun in kept)
    plain = re.compile(rf"(?<!\w)(?<!\w-)(?:{words})(?!\w|-\w|['’]s\b)")
    of_class = {}
    for row in rows:
        for noun in (row["class"], *row["nouns"].split(";")):
            if noun in set(kept):
                of_class.setdefault(noun.replace("-", " "), set()).add(row["class"])
    text = " and ".join(kept[:400]) + " x-" + " non-".join(kept[400:500]) + "'s, " + kept[0]
    expected = [of_class[" ".join(re.split(r"[\s-]+", found))] for found in plain.findall(text)]
    table = Path(noun_table.TABLE)
    few = Nouns(table, dict(enumerate(CLASSES)))
    few._classes = {
        noun: {CLASSES.index(name) for name in names} for noun, names in of_class.items()
    }
    few._nouns = {}
    for noun in sorted(of_class, key=lambda noun: (-len(noun), noun)):
        few._nouns.setdefault(re.match(r"\w+", noun)[0], []).append(noun)
    found = [{CLASSES[number] for number in few._classes[noun]} for noun in few._find(text)]
    assert found == expected
    assert len(found) > 400


def test_a_line_of_the_table_is_shorter_than_what_is_read():
    with open(noun_table.TABLE, encoding="utf-8") as file:
        assert max(map(len, file)) < 0.95 * LONGEST_FIELD


def test_what_people_wrote_comes_first_and_every_decision_is_a_known_one():
    with open(noun_table.CLASSES, encoding="utf-8", newline="") as file:
        written = {row["class"]: row["nouns"] for row in csv.DictReader(file)}
    csv.field_size_limit(LONGEST_FIELD)
    with open(noun_table.TABLE, encoding="utf-8", newline="") as file:
        table = {row["class"]: row["nouns"] for row in csv.DictReader(file)}
    assert list(table) == list(written)
    for name, nouns in written.items():
        assert table[name].startswith(nouns)
    decisions = dict(noun_table.read_decisions(noun_table.REVIEW))
    assert set(decisions.values()) == {"take", "plural", "leave"}
    for (name, noun), decision in decisions.items():
        listed = table[name].split(";")
        if noun not in written[name].split(";"):
            assert (noun in listed) == (decision == "take"), noun


# ---- a small WordNet ----

DATA = """\
  1 a licence
00000001 05 n 01 animal 0 001 ~ 00000002 n 0000 | a thing
00000002 05 n 02 dog 0 Canis 0 003 @ 00000001 n 0000 ~ 00000003 n 0000 ~ 00000004 n 0000 | d
00000003 05 n 02 puppy 0 young_dog 0 001 @ 00000002 n 0000 | p
00000004 05 n 05 setter 0 barker 0 rover 0 native 0 lap_cat 0 001 @ 00000002 n 0000 | s
00000005 18 n 01 barker 0 000 | one who barks
00000006 05 n 01 cat 0 000 | c
"""
INDEX = """\
  1 a licence
dog n 1 1 @ 1 0 00000002
puppy n 1 1 @ 1 0 00000003
young_dog n 1 0 1 0 00000003
setter n 1 0 1 0 00000004
barker n 2 0 2 0 00000005 00000004
rover n 1 0 1 0 00000004
native n 1 0 1 0 00000004
lap_cat n 1 0 1 0 00000004
cat n 1 0 1 0 00000006
"""


@pytest.fixture
def wordnet(tmp_path) -> Path:
    files = {
        "data.noun": DATA,
        "index.noun": INDEX,
        "index.verb": "rover v 1 0 1 0 1\n",
        "index.adj": "native a 1 0 1 0 1\n",
        "index.adv": "",
        "noun.exc": "puppen puppy\n",
        "cntlist.rev": "rover%1:05:00:: 1 1\nrover%2:38:00:: 1 5\nnative%3:00:00:: 1 4\n",
    }
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="latin-1")
    return tmp_path


def build(folder: Path, synsets: str = "dog.1") -> tuple[dict[str, str], list[list[str]]]:
    (folder / "classes.csv").write_text(
        f"class,synsets,nouns\ndog,{synsets},dogs\ncat,cat.1,cats\n", encoding="utf-8"
    )
    noun_table.build(folder, folder / "classes.csv", folder / "nouns.csv", folder / "review.csv")
    with open(folder / "nouns.csv", encoding="utf-8", newline="") as file:
        table = {row["class"]: row["nouns"] for row in csv.DictReader(file)}
    with open(folder / "review.csv", encoding="utf-8", newline="") as file:
        return table, list(csv.reader(file))[1:]


def test_usual_senses_are_taken_and_others_wait_for_a_decision(wordnet):
    table, review = build(wordnet)
    # A young dog is found by "dog"; a native is an adjective, its plural is not.
    assert table["dog"] == "dogs;natives;puppy;puppen;setter;setters;lap cat;lap cats"
    assert table["cat"] == "cats"
    assert review == [
        ["dog", "barker", noun_table.SENSE, "open"],
        ["dog", "rover", noun_table.VERB, "open"],
    ]
    decided = "class,noun,why,decision\ndog,barker,,take\ndog,rover,,plural\ndog,setter,,leave\n"
    (wordnet / "review.csv").write_text(decided, encoding="utf-8")
    for _ in range(2):  # what was decided stays
        table, review = build(wordnet)
        expected = "dogs;barker;barkers;natives;puppy;puppen;rovers;lap cat;lap cats"
        assert table["dog"] == expected
        assert [line[1:] for line in review] == [
            ["barker", noun_table.SENSE, "take"],
            ["rover", noun_table.VERB, "plural"],
            ["setter", noun_table.PERSON, "leave"],
        ]


def test_synsets_can_be_taken_out_and_wrong_ones_are_named(wordnet):
    table, _ = build(wordnet, "dog.1;-puppy.1")
    assert "puppy" not in table["dog"]
    for wrong in ("dog.2", "wolf.1", "dog"):
        with pytest.raises(ValueError, match=f"synsets: '{wrong}' is no sense of WordNet"):
            build(wordnet, wrong)
    (wordnet / "review.csv").write_text("class,noun,why,decision\ndog,a,,maybe\n")
    with pytest.raises(
        ValueError, match=r"review.csv: 1 wrong\n  line 2: decision 'maybe' is none of take"
    ):
        build(wordnet)
