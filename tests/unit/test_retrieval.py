"""Retrieval by count: precision at k is what a plain loop says, and the real model is asked."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from countclip.benchmarks import retrieval_queries
from countclip.benchmarks.retrieval_queries import ALL, OF_NOUN
from countclip.data.number_words import NUMBERS, WORDS
from countclip.evaluation import retrieval as evaluation_retrieval
from countclip.model.clip import Clip
from countclip.model.inputs import resize
from countclip.report import retrieval, sheets
from countclip.report.scores import BASELINE
from countclip.runtime.files import sha256
from countclip.runtime.resources import resource
from small_benchmark import MODEL, benchmark

NOUNS = resource("resources/miniature/nouns.csv")
VARIANTS = [{"id": "baseline", "label": "before"}, {"id": "after", "label": "a $label | <b>"}]
RNG = np.random.default_rng(0)


def made_up(similarity, nouns: int = 2, pictures: int = 60, variants=("baseline", "after")):
    """Scores of `nouns` pools of pictures; similarity: (variant, number asked, numbers) -> (n,)."""
    numbers = np.random.default_rng(1).choice(NUMBERS, nouns * pictures)
    tables = []
    for variant in variants:
        for noun in range(nouns):
            index = np.arange(noun * pictures, (noun + 1) * pictures)
            for asked in NUMBERS:
                tables.append(
                    pd.DataFrame(
                        {
                            "variant": variant,
                            "seed": 0,
                            "candidates": OF_NOUN,
                            "query": f"{WORDS[asked]} things{noun}",
                            "number": asked,
                            "index": index,
                            "similarity": similarity(variant, asked, numbers[index]),
                        }
                    )
                )
    return pd.concat(tables, ignore_index=True), dict(enumerate(numbers.tolist()))


def perfect(_, asked, numbers):
    return (numbers == asked).astype(float)


def outputs(stem, **kinds: str) -> dict[str, str]:
    return {name: f"{stem}.{kind}" for name, kind in kinds.items()}


def at_random(_, __, numbers):
    return RNG.random(len(numbers))


@pytest.mark.parametrize("k", [1, 5, 10])
def test_precision_is_what_a_plain_loop_says(k):
    scores, rows = made_up(at_random)
    found = retrieval.precision_at(retrieval.ranked(scores, rows), k)
    for variant in ("baseline", "after"):
        for (kind, query, number), precision in found[variant].items():
            own = scores[(scores["variant"] == variant) & (scores["query"] == query)]
            pairs = sorted(zip(own["similarity"], own["index"], strict=True), reverse=True)
            hits = sum(rows[index] == number for _, index in pairs[:k])
            right = sum(rows[index] == number for _, index in pairs)
            assert precision == pytest.approx(hits / k)
            about = found.loc[(kind, query, number)]
            assert about["chance"] == pytest.approx(right / len(pairs))
            assert about["ceiling"] == pytest.approx(min(right, k) / k)


def test_a_perfect_model_reaches_the_best_possible_and_a_random_one_chance():
    scores, rows = made_up(
        lambda variant, *rest: (perfect if variant == "after" else at_random)(variant, *rest),
        nouns=40,
    )
    table = retrieval.summarise(scores, rows, VARIANTS, [1, 10], "paper")
    everything = table[table["number"] == "all"].set_index(["variant", "k"])
    assert everything.loc[("after", 1), "precision"] == 100
    best = everything.loc[("after", 10)]
    assert best["precision"] == pytest.approx(best["ceiling"])
    assert best["ceiling"] < 100
    chance = everything.loc[("baseline", 10)]
    # 360 queries of 10 pictures: the standard error is 0.5 percentage points.
    assert chance["precision"] == pytest.approx(chance["chance"], abs=2)
    assert chance["precision_low"] <= chance["precision"] <= chance["precision_high"]
    assert best["gain"] == pytest.approx(best["precision"] - chance["precision"])
    assert chance[["gain", "gain_low", "gain_high"]].isna().all()


def test_a_tie_helps_nobody():
    scores, rows = made_up(lambda _, __, numbers: np.zeros(len(numbers)))
    found = retrieval.precision_at(retrieval.ranked(scores, rows), 10)
    assert (found["after"] == 0).all()


def test_seeds_are_averaged_and_rows_that_nobody_counts_are_no_candidates():
    scores, rows = made_up(at_random, nouns=1)
    other = scores.assign(seed=1, similarity=1 - scores["similarity"])
    both = pd.concat([scores, other])
    found = [
        retrieval.precision_at(retrieval.ranked(part, rows), 5)["after"]
        for part in (scores, other, both)
    ]
    np.testing.assert_allclose(found[2], (found[0] + found[1]) / 2)
    some = {index: number for index, number in rows.items() if index % 2}
    assert set(retrieval.ranked(scores, some)["index"]) == set(some)


def test_a_query_without_a_choice_counts_nothing():
    scores, rows = made_up(at_random, nouns=1, pictures=5)
    with pytest.raises(ValueError, match=r"retrieval\.anything"):
        retrieval.summarise(scores, rows, VARIANTS, [5], "paper")


def test_each_noun_ranks_the_pictures_whose_captions_count_it():
    captions = {3: "five red stars", 5: "Stars: two hearts and a star", 8: "six unknown"}
    pools = retrieval_queries.pools(captions, {3: 5, 5: 2, 8: 6}, NOUNS, "objects")
    found = {key: group["index"].tolist() for key, group in pools.groupby(["candidates", "noun"])}
    assert found == {
        (ALL, "objects"): [3, 5, 8],
        (OF_NOUN, "hearts"): [5],
        (OF_NOUN, "stars"): [3],
    }
    with pytest.raises(ValueError, match="counts any of its nouns"):
        retrieval_queries.pools({8: "six unknown"}, {8: 6}, NOUNS, None)


def test_a_plural_of_two_classes_asks_for_each_picture_once(tmp_path):
    table = tmp_path / "nouns.csv"
    table.write_text("class,nouns\nmouse,mice\ncomputer mouse,mice\n")
    assert retrieval_queries.pools({4: "five mice"}, {4: 5}, table, None)["index"].tolist() == [4]


def test_queries_left_out_are_counted_and_a_label_may_be_that_of_two(tmp_path):
    """Of nine queries those whose number no candidate has are left out."""
    scores, rows = made_up(at_random, nouns=1, pictures=12)
    variants = [BASELINE, {"id": "after", "label": BASELINE["label"]}]
    table = retrieval.summarise(scores, rows, variants, [1], "paper")
    known = len(set(rows.values()))
    assert known < 9
    everything = table[table["number"] == "all"]
    assert everything["queries"].tolist() == [known] * 2
    assert everything["left_out"].tolist() == [9 - known] * 2
    scores.to_parquet(tmp_path / "scores.parquet")
    options = {"rows": rows, "variants": variants[1:], "k": [1], "scale": "paper"}
    paths = outputs(tmp_path / "retrieval", csv_path="csv", json_path="json", markdown_path="md")
    retrieval.tabulate(str(tmp_path / "scores.parquet"), **paths, **options)
    text = Path(paths["markdown_path"]).read_text()
    csv = sheets.read_csv(paths["csv_path"])
    for column in ("precision", "precision_low", "precision_high", "chance", "ceiling", "gain"):
        assert csv[column].equals(table[column]), column
    assert text.count(f"\n| {BASELINE['label']} |") == 2
    assert f"Left out: {9 - known} more queries" in text


@pytest.fixture(scope="module")
def scores(tmp_path_factory) -> str:
    path = str(tmp_path_factory.mktemp("retrieval") / "scores.parquet")
    runs = {("baseline", 0): None, ("after", 1): resource(MODEL["pretrained"])}
    prompt = "a picture of {query}"
    evaluation_retrieval.retrieve(
        runs, MODEL, benchmark(), path, table=NOUNS, anything=None, prompt=prompt
    )
    return path


def test_scores_are_the_models_similarities(scores):
    table = pd.read_parquet(scores)
    assert len(table) == 2 * 12 * 9
    clip = Clip(MODEL["name"], MODEL["pretrained"], MODEL["config"])
    clip.model.eval()
    row = table[(table["query"] == "seven stars") & (table["index"] == 5)].iloc[0]
    image = next(row["image"] for row in benchmark() if row["index"] == 5)
    pixels = resize(image, clip.image_size)
    with torch.inference_mode():
        left = clip.model.encode_image(
            clip.normalise(torch.from_numpy(pixels.copy())[None]), normalize=True
        )
        right = clip.model.encode_text(clip.tokenizer(["a picture of seven stars"]), normalize=True)
    assert row["similarity"] == pytest.approx((left @ right.T).item(), abs=1e-5)


def test_models_run_as_precisely_as_they_are_asked_to(scores, tmp_path):
    runs = {("baseline", 0): None}
    how = {"table": NOUNS, "anything": None, "prompt": "a picture of {query}"}
    coarse = str(tmp_path / "coarse.parquet")
    evaluation_retrieval.retrieve(runs, MODEL, benchmark(), coarse, precision="bf16-mixed", **how)
    exact = pd.read_parquet(scores).query("variant == 'baseline'")["similarity"]
    apart = (pd.read_parquet(coarse)["similarity"] - exact).abs()
    assert 0 < apart.max() < 0.02


def test_tables_and_pictures_are_the_same_twice(scores, tmp_path):
    rows = {row["index"]: row["number"] for row in benchmark()}
    made = []
    for name in ("a", "b"):
        stem = tmp_path / name
        tables = outputs(stem, csv_path="csv", json_path="json", markdown_path="md")
        figure = outputs(stem, svg="svg", png="png")
        how = {"rows": rows, "variants": VARIANTS[1:], "scale": "miniature"}
        retrieval.tabulate(scores, **tables, k=[1, 3], **how)
        retrieval.draw(scores, benchmark(), **figure, shown=["two stars"], **how)
        made.append([sha256(path) for path in (tables | figure).values()])
    assert made[0] == made[1]
    views = sheets.read_sheets(tables["json_path"])
    text = Path(tables["markdown_path"]).read_text()
    assert "\n".join(map(sheets.markdown, views)) == text
    assert "a $label \\| \\<b>" in text
    assert "The miniature is a tiny model" in text


def test_an_unknown_query_is_named_before_anything_is_drawn(scores, tmp_path):
    with pytest.raises(ValueError, match="two unicorns"):
        retrieval.draw(
            scores, benchmark(), **outputs(tmp_path / "a", svg="svg", png="png"),
            rows={}, variants=[], shown=["two unicorns"], scale="paper",
        )  # fmt: skip
