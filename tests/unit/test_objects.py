"""Objects of captions: the judged set, and what the parser promises of a single caption."""

import csv
from pathlib import Path

import pytest

from countclip.data.object_lexicon import build, build_tags, tag_by_ending
from countclip.data.objects import Objects

JUDGED = Path(__file__).with_name("judged_captions.csv")


@pytest.fixture(scope="module")
def concrete() -> Objects:
    return Objects("concrete")


@pytest.fixture(scope="module")
def nouns() -> Objects:
    return Objects("nouns")


@pytest.fixture(scope="module")
def phrases() -> Objects:
    return Objects("phrases")


def f1(parse, path: Path) -> float:
    """Borderline nouns are neutral. Either of "glass/glasses" is right."""
    hits = misses = false = 0
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            expected = [set(one.split("/")) for one in row["objects"].split(";") if one]
            found = parse(row["caption"])
            hit = sum(bool(found & forms) for forms in expected)
            hits, misses = hits + hit, misses + len(expected) - hit
            false += len(found - set().union(*expected, row["also"].split(";")))
    return 2 * hits / (2 * hits + misses + false)


def test_the_parser_agrees_with_a_reader_on_200_captions(concrete, nouns):
    with JUDGED.open(newline="", encoding="utf-8") as file:
        assert len({row["caption"] for row in csv.DictReader(file)}) == 200
    assert f1(concrete, JUDGED) >= 0.97
    assert f1(nouns, JUDGED) < 0.95


@pytest.mark.parametrize(
    ("caption", "objects"),
    [
        ("Two women and three knives", {"woman", "knife"}),
        ("PAIR OF TEN SCISSORS, SIX MICE", {"scissors", "mouse"}),
        ("Leather Armchair | Leather", {"armchair", "leather"}),
        ("a stack of bricks beside a brick oven", {"brick", "oven"}),
        ("Stock photo image of a wallpaper background vector", set()),
        ("an idea for a sale with free shipping", set()),
        ("People on seven people-movers", {"person"}),
        ("a dark-haired girl's coffee-table in a T-shirt", {"girl", "coffee", "table", "t-shirt"}),
        ("a ten-pack of pens", {"pen"}),
        ("red-bag-with-zip-and-strap.jpg", set()),
        ("red-bag-with-strap", {"bag", "strap"}),
        ("see https://example.com/dog/cat or mail @horse, R&amp;B", set()),
        ("the old harbour of Wales near the tower of London Bridge",
         {"harbour", "tower", "bridge"}),
        ("a friend of Rose Hart at a quiet lake", {"friend", "lake"}),
        ("Le chat sur la table avec des roses", set()),
        ("Ein Hund und eine Katze mit dem Ball", set()),
        ("A black bear watches the lake", {"bear", "lake"}),
        ("she covers the pot and bears the noise", {"pot"}),
        ("pillow covers", {"pillow", "cover"}),
        ("she doesn't and won't: a don's hat", {"hat"}),
        ("smartphone", {"smartphone"}),
        ("", set()),
        ("\x00 \u202e 12345 ¿? 😀", set()),
    ],
)  # fmt: skip
def test_objects_of_a_caption(concrete, caption, objects):
    assert concrete(caption) == objects


@pytest.mark.parametrize(
    ("caption", "all_nouns", "runs"),
    [
        ("Coffee tables of oak - free delivery",
         {"coffee", "table", "oak", "delivery"}, {"coffee table", "oak", "delivery"}),
        ("seven zumbuls in the kitchen sink, stock photo",
         {"zumbul", "kitchen", "sink"}, {"zumbul", "kitchen sink"}),
        ("Der Hund mit dem Zug", set(), set()),
    ],
)  # fmt: skip
def test_nouns_and_phrases(nouns, phrases, caption, all_nouns, runs):
    assert nouns(caption) == all_nouns
    assert phrases(caption) == runs


def test_a_caption_of_any_length_is_read_in_linear_time(concrete):
    assert concrete("a dog " * 2000 + "x" * 100_000) == {"dog"}
    assert concrete("-".join(["cat"] * 5000)) == {"cat"}


def test_an_unknown_unit_is_refused():
    with pytest.raises(ValueError, match="'words' is none of concrete, nouns, phrases"):
        Objects("words")


WORDNET = {
    "data.noun": [
        "  1 a licence at the head of the file",
        "01 06 n 01 gadget 0 000 | a thing",
        "02 06 n 01 gizmo 0 000 | a thing",
        "03 09 n 01 notion 0 000 | no thing",
        "04 15 n 01 Gadgetia 0 001 @i 01 n 0000 | a name",
        "05 04 n 02 tinkering 0 notion 0 000 | an act",
        "06 18 n 02 notion 0 fellow 1 000 | somebody",
        "07 15 n 01 Gizmos 0 001 @i 01 n 0000 | a name that looks like a plural",
        "08 06 n 01 gadgets 0 000 | a plural with an entry",
    ],
    "index.noun": [
        "gadget n 1 0 1 1 01", "gizmo n 1 0 1 1 02", "notion n 3 0 3 1 03 05 06",
        "gadgetia n 1 0 1 0 04", "tinkering n 1 0 1 0 05", "gizmos n 1 0 1 0 07",
        "gadgets n 1 0 1 0 08", "hot_gizmo n 1 0 1 0 02", "fellow n 1 0 1 0 06",
    ],
    "index.verb": ["tinker v 1 0 1 0 09", "gizmo v 1 0 1 0 10"],
    "index.adj": [], "index.adv": [],
    "noun.exc": ["gizma gizmo", "unheard unknown"],
    "cntlist.rev": ["gadget%1:06:00:: 1 5", "gizmo%1:06:00:: 1 2", "gizmo%2:36:00:: 1 9"],
}  # fmt: skip


def test_the_lexicon_is_made_from_wordnet(tmp_path):
    for name, lines in WORDNET.items():
        (tmp_path / name).write_text("".join(line + "\n" for line in lines), encoding="latin-1")
    build(tmp_path, tmp_path / "nouns.csv")
    assert (tmp_path / "nouns.csv").read_text(encoding="utf-8").splitlines() == [
        "word,lemma,kind,use",
        "fellow,,thing,",
        "gadget,,thing,",
        "gadgets,gadget,thing,",
        "gizma,gizmo,thing,",
        "gizmo,,thing,rare",
        "gizmos,gizmo,name,",
        "notion,,other,",
        "tinkering,,other,usual",
    ]


def test_the_lexicon_names_a_file_that_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cntlist\.rev"):
        build(tmp_path, tmp_path / "nouns.csv")


def test_only_tags_that_the_ending_does_not_tell_are_in_the_lexicon(tmp_path):
    """The endings are PatternTagger's; a line of its lexicon wins over them."""
    lines = [
        ";;;  a licence", "! .", "Berlin NNP", "zumbing NN", "varling VBG", "quibbed VBD",
        "noffly RB", "isn't VBZ",
    ]  # fmt: skip
    (tmp_path / "lexicon.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    build_tags(tmp_path / "lexicon.txt", tmp_path / "tags.csv")
    assert (tmp_path / "tags.csv").read_text(encoding="utf-8").splitlines() == [
        "word,tag", "isn't,VBZ", "quibbed,VBD", "zumbing,NN",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("word", "tag"),
    [
        ("flurb", "NN"), ("flurbs", "NNS"), ("flurbis", "NN"), ("flurbing", "VBG"),
        ("flurbly", "RB"), ("flurbous", "JJ"), ("flurb-deep", "JJ"), ("flurbed", "VBN"),
        ("flurbate", "VBP"), ("flurb-nosed", "VBN"),
    ],
)  # fmt: skip
def test_a_word_that_the_tagger_does_not_know_is_tagged_by_its_ending(word, tag):
    assert tag_by_ending(word) == tag
