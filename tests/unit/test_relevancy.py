"""The relevancy of the number word: integrated gradients as a plain loop has them, as shares."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F

from countclip.data.number_words import word_for
from countclip.evaluation import relevancy
from countclip.model.clip import Clip
from countclip.report import relevancy as report_relevancy
from countclip.report import sheets
from countclip.report.scores import BASELINE
from countclip.runtime.files import sha256
from countclip.runtime.resources import resource
from small_benchmark import MODEL, benchmark

CAPTIONS = {
    "a picture of three green stars on a plain background": 3,
    "Ten-pack of hearts": 10,
    "FIVE flags!!!": 5,
    "two": 2,
}


@pytest.fixture(scope="module")
def clip() -> Clip:
    return Clip(MODEL["name"], MODEL["pretrained"], MODEL["config"])


@pytest.fixture(scope="module")
def images(clip) -> torch.Tensor:
    noise = torch.randn(len(CAPTIONS), clip.model.text_projection.shape[1])
    return F.normalize(noise, dim=-1)


def similarity(clip: Clip, embedding: torch.Tensor, ids: torch.Tensor, image: torch.Tensor):
    """Of one caption (length, d) at open_clip's full context, through its own modules."""
    model = clip.model
    x = model.transformer((embedding + model.positional_embedding)[None], attn_mask=model.attn_mask)
    x = model.ln_final(x)[0, ids.argmax()] @ model.text_projection
    return F.normalize(x, dim=-1) @ image


def test_attributions_are_those_of_a_plain_loop(clip, images):
    tokens = clip.tokenize(CAPTIONS)
    found = relevancy.attributions(clip, images, tokens, steps=5)
    places, weights = np.polynomial.legendre.leggauss(5)
    for row, (text, image) in enumerate(zip(CAPTIONS, images, strict=True)):
        ids = clip.tokenizer([text])[0]
        whole = clip.model.token_embedding(ids).detach()
        own = torch.zeros(len(ids), 1)
        own[1 : ids.argmax()] = 1
        expected = torch.zeros(len(ids))
        for place, weight in zip((places + 1) / 2, weights / 2, strict=True):
            part = (whole * (1 - own) + place * whole * own).requires_grad_()
            similarity(clip, part, ids, image).backward()
            expected += weight * (part.grad * whole * own).sum(dim=1)
        np.testing.assert_allclose(found[row], expected[: tokens.shape[1]], atol=1e-5)


def test_attributions_add_up_to_what_the_words_do(clip, images):
    tokens = clip.tokenize(CAPTIONS)
    found = relevancy.attributions(clip, images, tokens, steps=256).sum(axis=1)
    for total, text, image in zip(found, CAPTIONS, images, strict=True):
        ids = clip.tokenizer([text])[0]
        with torch.no_grad():
            whole = clip.model.token_embedding(ids)
            nothing = whole.clone()
            nothing[1 : ids.argmax()] = 0
            done = similarity(clip, whole, ids, image) - similarity(clip, nothing, ids, image)
        assert total == pytest.approx(done.item(), abs=0.01)


def test_shares_are_of_the_captions_own_tokens_and_add_up_to_one():
    tokens = np.array([[90, 4, 5, 6, 91], [90, 4, 91, 0, 0]])
    found = relevancy.shares(np.array([[9.0, 1, -2, 1, 9], [9, -0.5, 9, 9, 9]]), tokens)
    np.testing.assert_allclose(found, [[0, 0.25, 0.5, 0.25, 0], [0, 1, 0, 0, 0]])
    np.testing.assert_allclose(
        relevancy.shares(np.zeros((2, 5)), tokens), [[0, 1 / 3, 1 / 3, 1 / 3, 0], [0, 1, 0, 0, 0]]
    )


@pytest.mark.parametrize("text", CAPTIONS)
def test_the_number_word_is_found_among_the_tokens(clip, text):
    first, last = relevancy.word_span(clip, text, CAPTIONS[text])
    word = word_for(text, CAPTIONS[text])
    named = clip.tokenizer.decode(clip.tokenize([text])[0, first:last].tolist())
    assert named.strip() == text[word.start : word.end].lower()


def test_tables_and_figure_are_the_same_twice(tmp_path):
    rows = {row["index"]: row["number"] for row in benchmark()}
    runs = {("baseline", 0): None, ("after", 1): resource(MODEL["pretrained"])}
    made = []
    for name in ("a", "b"):
        measured = str(tmp_path / f"{name}.parquet")
        kinds = {"csv_path": "csv", "json_path": "json", "svg": "svg", "png": "png"}
        paths = {key: str(tmp_path / f"{name}.{kind}") for key, kind in kinds.items()}
        relevancy.measure(runs, MODEL, benchmark(), measured)
        variants = [{"id": "after", "label": "a $label"}]
        report_relevancy.draw(measured, **paths, rows=rows, variants=variants, scale="miniature")
        made.append([sha256(path) for path in (measured, *paths.values())])
    assert made[0] == made[1]
    shares = pd.read_parquet(tmp_path / "a.parquet")["shares"]
    assert all(sum(share) == pytest.approx(1) for share in shares)
    coarse = str(tmp_path / "coarse.parquet")
    relevancy.measure(runs, MODEL, benchmark(), coarse, precision="bf16-mixed")
    apart = np.concatenate(pd.read_parquet(coarse)["shares"]) - np.concatenate(shares)
    assert 0 < np.abs(apart).max() < 0.1
    loaded = report_relevancy.load(str(tmp_path / "a.parquet"), rows)
    source = report_relevancy.summarise(loaded, [BASELINE, *variants], "miniature")
    table = sheets.read_csv(tmp_path / "a.csv", seeds=str)
    for column in ("share", "share_low", "share_high", "gain", "uniform"):
        assert table[column].equals(source[column]), column
    (sheet,) = sheets.read_sheets(str(tmp_path / "a.json"))
    assert [row[0].text for row in sheet.rows[1:]] == [BASELINE["label"], "a $label"]
    assert sheet.rows[1][1].text == f"{source['share'][0]:.1f}"
    table = table.set_index(["variant", "number"])
    assert table.loc[("baseline", "all"), "uniform"] == 50  # "two stars"
    assert table.loc[("after", "all"), "gain"] == 0  # the same weights
