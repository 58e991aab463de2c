"""Ordinal losses on counting: values by hand, a head that resumes and is read again, the tables."""

import copy
import functools
import itertools
import math
import os
import signal

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.special import softmax
from scipy.stats import spearmanr

import tiny_training
from countclip.data import captions, number_words
from countclip.data.number_words import NUMBERS, WORDS
from countclip.evaluation import counting
from countclip.model.clip import Clip
from countclip.model.concepts import CONCEPTS, concept_captions, concepts_of, trained_head
from countclip.report import ablations, ordinal_counting, paired_counts, scores, sheets, statistics
from countclip.runtime.resources import HOME
from countclip.settings import added_variants, config_files, variants, views
from countclip.training.contrastive import Contrastive
from countclip.training.counting import COUNTERFACTUALS, ORDINAL, make_criterion
from countclip.training.losses import CoarseToFineLoss, CountLoss, NineWordsLoss

DEFAULT = config_files.load(HOME / "config/config.yaml")
LOSSES = ("ordinal_exp", "ordinal_logit", "ordinal_margin", "sord")


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny_training.make_config(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def clip(config) -> Clip:
    return tiny_training.make_clip(config)


# ---- losses ----

COSINES = np.array([[0.1, 0.3, 0.2, -0.1, 0.0, 0.4, 0.25, -0.3, 0.15],
                    [0.5, 0.1, 0.0, 0.2, -0.2, 0.1, 0.3, 0.6, 0.05]])  # fmt: skip
TRUE = np.array([4, 10])
LAMBDAS = np.array([2.0, 0.5])


def pairs(cosines=COSINES, true=TRUE) -> tuple[torch.Tensor, ...]:
    """Two pairs with such cosines to the captions of two to ten, the true caption first."""
    rows = []
    for row, number in zip(cosines, true, strict=True):
        at = NUMBERS.index(number)
        rows.append([row[at], *np.delete(row, at)])
    captions = torch.tensor(np.array(rows))[:, :, None]  # embeddings of one dimension
    image = torch.ones(len(true), 1, dtype=torch.float64)
    return image, captions, torch.tensor(LAMBDAS), torch.tensor(true)


def by_hand(name: str, scale: float) -> float:
    total = 0.0
    for cosines, number, weight in zip(COSINES, TRUE, LAMBDAS, strict=True):
        s, y = scale * cosines, number - 2
        far = [abs(k - y) for k in range(9)]
        if name == "sord":
            target = [math.exp(-d) / sum(math.exp(-other) for other in far) for d in far]
            log_p = [x - math.log(sum(map(math.exp, s))) for x in s]
            total -= weight * sum(t * p for t, p in zip(target, log_p, strict=True))
            continue
        terms = []
        for k in range(9):
            w = 1.0 if k == y else 8 * far[k] / sum(far)
            terms.append({
                "ordinal_exp": w * math.exp(s[k]),
                "ordinal_logit": math.exp(w * s[k]),
                "ordinal_margin": math.exp(s[k] + 0.1 * scale * far[k] / 8),
            }[name])  # fmt: skip
        total += weight * (math.log(sum(terms)) - s[y])
    return total / len(TRUE)


@pytest.mark.parametrize("scale", [1.0, 7.0])
@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_over_nine_words_is_its_formula(name, scale):
    loss = NineWordsLoss(name, None if scale == 1 else scale)
    assert loss(*pairs()).item() == pytest.approx(by_hand(name, scale), abs=1e-9)


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_over_nine_words_are_those_of_differences(name):
    image, captions, lambdas, numbers = pairs()
    image.requires_grad_(), captions.requires_grad_()
    loss = NineWordsLoss(name, 5.0)
    assert torch.autograd.gradcheck(lambda i, c: loss(i, c, lambdas, numbers), (image, captions))


def test_without_a_margin_it_is_l_count_plus(monkeypatch):
    monkeypatch.setattr("countclip.training.losses.MARGIN", 0.0)
    image, captions, lambdas, numbers = pairs()
    plain = CountLoss(7.0)(image, captions, lambdas)
    assert NineWordsLoss("ordinal_margin", 7.0)(image, captions, lambdas, numbers) == (
        pytest.approx(plain.item(), abs=1e-12)
    )


def test_the_logit_form_leaves_the_next_number_alone():
    """Its weight is 8 / 36 at the ends, so a neighbour as similar as the true number costs less."""
    cosines = np.full((1, 9), -0.5)
    cosines[0, [0, 1]] = 0.5  # two and three are equally similar to an image of two
    image, captions, _, numbers = pairs(cosines, np.array([2]))
    values = {
        name: NineWordsLoss(name, 20.0)(image, captions, torch.ones(1), numbers).item()
        for name in ("ordinal_logit", "ordinal_margin")
    }
    assert values["ordinal_logit"] == pytest.approx(
        math.log(1 + math.exp(10 * (8 / 36 - 1))), abs=1e-3
    )
    assert values["ordinal_margin"] > math.log(2)


def test_coarse_to_fine_is_fcrc_of_concepts_and_the_error_of_the_count():
    torch.manual_seed(0)
    loss = CoarseToFineLoss(7.0)
    cosines = np.array([[0.3, 0.1, 0.4, -0.2], [0.0, 0.2, 0.1, 0.5]])
    captions = torch.tensor(np.c_[[0.9, 0.8], cosines])[:, :, None].float()
    image = torch.ones(2, 1)
    logits = 7 * cosines
    told = loss.head(torch.tensor(logits)).detach().numpy()
    midpoints = softmax(logits, axis=1) @ [2, 3.5, 6, 9]
    np.testing.assert_allclose(told, midpoints, atol=0.02)  # the head begins there, nearly
    total = 0.0
    for s, y, number, weight, count in zip(logits, [1, 3], TRUE, LAMBDAS, told, strict=True):
        far = [abs(k - y) for k in range(4)]
        terms = [math.exp(s[k]) * (1 if k == y else 3 * far[k] / sum(far)) for k in range(4)]
        total += weight * (math.log(sum(terms)) - s[y] + abs(count - number))
    value = loss(image, captions, torch.tensor(LAMBDAS), torch.tensor(TRUE))
    assert value.item() == pytest.approx(total / 2, abs=1e-5)
    value.backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in loss.head.layers[2].parameters())


def test_every_loss_of_the_config_has_a_criterion():
    schema = config_files.load(HOME / "workflow/schemas/config.schema.yaml")
    losses = schema["properties"]["training"]["properties"]["loss"]["enum"]
    assert losses == [*COUNTERFACTUALS, *ORDINAL]
    assert list(ORDINAL) == list(added_variants.ORDINAL)
    for loss in losses:
        heads = [name for name, _ in make_criterion(loss, 20.0, None).named_parameters()]
        assert bool(heads) == (loss == "coarse_to_fine")


# ---- concepts ----


def test_every_number_has_one_concept():
    held = [n for concept in CONCEPTS for n in range(concept.first, concept.last + 1)]
    assert held == list(NUMBERS)
    index = concepts_of(torch.tensor(NUMBERS)).tolist()
    assert all(
        CONCEPTS[i].first <= n <= CONCEPTS[i].last for n, i in zip(NUMBERS, index, strict=True)
    )


def test_captions_of_concepts_keep_all_but_the_number(clip):
    assert concept_captions(clip, "Four dogs and two cats", 4) == [
        "A pair of dogs and two cats", "A few dogs and two cats",
        "Several dogs and two cats", "Many dogs and two cats",
    ]  # fmt: skip
    assert concept_captions(clip, "NINE or nine", 9, everywhere=True)[1] == "A FEW or a few"
    assert captions.replace("TWO two", number_words.word_for("TWO", 2), 3) == "THREE two"


@pytest.mark.parametrize("before", [0, 20, 71, 72, 73, 74, 75, 90])
def test_a_concept_is_among_the_tokens_wherever_the_number_stands(clip, before):
    caption = " ".join(["dogs"] * before + ["seven"])
    tokens = clip.tokenize(concept_captions(clip, caption, 7))
    assert tokens.shape[1] <= 77
    assert len(np.unique(tokens, axis=0)) == len(CONCEPTS)
    for row, concept in zip(tokens, CONCEPTS, strict=True):
        words = clip.tokenizer.decode([t for t in row.tolist() if t][1:-1]).split()
        assert " ".join(words[-len(concept.words.split()) :]) == concept.words


def test_counterfactuals_of_ordinal_losses_come_in_order(clip):
    batches = tiny_training.make_batches(clip, in_order=True)
    batch = batches.batch(3)
    n = len(batch.lambdas)
    for pair, number in zip(batch.tokens[6:].reshape(n, 8, -1), batch.labels[:n], strict=True):
        words = [clip.tokenizer.decode(row[row > 0].tolist()[1:2]).strip() for row in pair]
        assert words == [word for other, word in WORDS.items() if other != number]


# ---- a head that is trained, killed, resumed, published and read ----


@pytest.fixture(scope="module")
def trained(config, tmp_path_factory):
    """The folder of a whole training of coarse_to_fine, which nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    tiny_training.make_variant(config, folder)
    tiny_training.train_variant(config, folder, loss="coarse_to_fine", epochs=2)
    return folder


def files(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_run_with_a_head_that_was_killed_ends_with_the_same_bytes(
    config, trained, tmp_path, monkeypatch
):
    tiny_training.make_variant(config, tmp_path)
    start = trained / "start.safetensors"
    train = functools.partial(tiny_training.train_variant, config, tmp_path, start=start)
    plain, steps = Contrastive.backward, itertools.count(1)

    def backward(self, batch, seed):
        if next(steps) in (2, 5):
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(self, batch, seed)

    monkeypatch.setattr(Contrastive, "backward", backward)
    for _ in range(2):
        with pytest.raises(SystemExit):
            train(loss="coarse_to_fine", epochs=2)
        state = torch.load(tmp_path / "state/state.pt", weights_only=True)["objective"]
        assert "criterion.count_loss.head.layers.0.weight" in state
    train(loss="coarse_to_fine", epochs=2)
    assert files(tmp_path) == files(trained)


def test_a_published_head_is_read_again_and_tells_counts(config, trained, tmp_path):
    head = trained_head(str(trained / "end.safetensors"))
    assert head.logit_scale == 10.0
    assert head.layers[0].weight.abs().sum() > 0
    assert trained_head(str(trained / "start.safetensors")) is None
    assert trained_head(None) is None
    rows = [
        {"index": n, "caption": f"{WORDS[n]} dogs", "number": n,
         "image": Image.fromarray(np.random.default_rng(n).integers(0, 256, (64, 64, 3), np.uint8))}
        for n in (2, 5, 9)
    ]  # fmt: skip
    start = str(trained / "start.safetensors")
    model = {"name": "tiny-test", "pretrained": start, "config": str(config)}
    path = str(tmp_path / "predictions.parquet")
    weights = {"end": str(trained / "end.safetensors")}
    counting.evaluate(weights, model, rows, "coarse_to_fine", 3, path)
    table = pd.read_parquet(path)
    clip = Clip("tiny-test", weights["end"], str(config))
    clip.model.eval()
    for row, expected in zip(rows, table["expected"], strict=True):
        with torch.no_grad():
            pixels = clip.normalise(torch.from_numpy(np.array(row["image"]))[None])
            image = clip.model.encode_image(pixels, normalize=True)
            words = [f"{concept.words} dogs" for concept in CONCEPTS]
            text = clip.model.encode_text(clip.tokenizer(words), normalize=True)
            by_hand = head(10 * image @ text.T).item()
        assert expected == pytest.approx(by_hand, abs=1e-4)
    counting.evaluate({"end": start}, model, rows, "baseline", 0, path)
    assert pd.read_parquet(path)["expected"].isna().all()


# ---- the tables ----

N = 45
TRUTH = np.array([2 + i % 9 for i in range(N)])
SETTINGS = {
    "plain": {"loss": "count", "lambda_scheme": "constant", "count_logit_scale": 20.0},
    "plus": {"loss": "count_plus", "lambda_scheme": "modal", "count_logit_scale": 20.0},
    "plus_log": {"loss": "count_plus", "lambda_scheme": "log", "count_logit_scale": 20.0},
    "mine": {"loss": "sord", "lambda_scheme": "modal", "count_logit_scale": 20.0},
    "headed": {"loss": "coarse_to_fine", "lambda_scheme": "modal", "count_logit_scale": 20.0},
}


def predicted(name: str, seed: int, folder) -> str:
    rng = np.random.default_rng([*name.encode(), seed])
    frame = counting.predictions(
        rng.normal(0.2, 0.05, (N, 9)) + 0.1 * np.eye(9)[TRUTH - 2],
        np.arange(N),
        TRUTH,
        TRUTH,
        rng.uniform(2, 10, N) if name == "headed" else None,
    )
    path = str(folder / f"{name}{seed}.parquet")
    counting.write_predictions(dict.fromkeys(scores.CHECKPOINTS, frame), name, seed, path)
    return path


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Files of the ablations of these variants with two seeds each, and of Table 1 before them."""
    folder = tmp_path_factory.mktemp("ablations")
    paths = [predicted("baseline", 0, folder)]
    paths += [predicted(name, seed, folder) for name in SETTINGS for seed in (1, 2)]
    rows = dict(enumerate(TRUTH))
    loaded = scores.load_predictions(paths, rows)
    variants = [{"id": name, "label": f"label of {name}"} for name in SETTINGS]
    no_paper = pd.DataFrame(columns=["variant", "end", "best"])
    table1 = scores.table1(loaded, variants, no_paper, "repaired", "miniature", "plain")
    sheets.write_csv(table1, str(folder / "table1.csv"))
    kinds = {"csv_path": "csv", "json_path": "json", "markdown_path": "md"}
    files = {key: str(folder / f"ablations.{kind}") for key, kind in kinds.items()}
    ablations.make_ablations(
        str(folder / "table1.csv"), paths, **files, settings=SETTINGS, reference="plain", rows=rows
    )
    return files, table1.set_index("variant"), loaded


def test_what_has_an_ordinal_loss_and_what_it_is_compared_with_have_both_decodings(made):
    table = sheets.read_csv(made[0]["csv_path"])
    assert list(zip(table["variant"], table["decoding"], strict=True)) == [
        ("plain", "argmax"), ("plain", "expectation"),
        ("plus", "argmax"), ("plus", "expectation"),
        ("plus_log", "argmax"),
        ("mine", "argmax"), ("mine", "expectation"),
        ("headed", "argmax"), ("headed", "expectation"),
    ]  # fmt: skip
    assert table["count_plus"].dropna().unique().tolist() == ["plus"]
    tested = table["p_mae_vs_count_plus_holm"].notna()
    assert table.loc[tested, "variant"].tolist() == ["mine", "mine", "headed", "headed"]


def test_argmax_rows_are_those_of_table_1(made):
    files, table1, _ = made
    table = sheets.read_csv(files["csv_path"]).query("decoding == 'argmax'").set_index("variant")
    same = [*ablations.FROM_TABLE1[:8], "mae", "off_by_one"]
    pd.testing.assert_frame_equal(table[same], table1.loc[table.index, same], check_dtype=False)
    for other, role in (("plus", "count_plus"), ("plain", "reference")):
        difference = table["accuracy_end"]["mine"] - table["accuracy_end"][other]
        assert table[f"accuracy_minus_{role}"]["mine"] == pytest.approx(difference)
    # the exact test of hits is McNemar's, so Table 1's
    p = table["p_accuracy_vs_reference"]["mine"]
    assert p == pytest.approx(table["p_end_vs_reference"]["mine"])


def test_expectation_rows_by_hand(made):
    files, _, loaded = made
    table = sheets.read_csv(files["csv_path"]).query("decoding == 'expectation'")
    table = table.set_index("variant")
    ends = loaded.query("checkpoint == 'end'")
    told = {}
    for name in table.index:
        seeds = []
        for seed in (1, 2):
            rows = ends[(ends["variant"] == name) & (ends["seed"] == seed)]
            cosines = np.stack(rows["similarity"].to_numpy()).astype(float)
            p = np.exp(20 * cosines)
            of_captions = (p * np.array(NUMBERS)).sum(1) / p.sum(1)
            seeds.append(rows["expected"].to_numpy() if name == "headed" else of_captions)
        told[name] = np.array(seeds, float)
        row = table.loc[name]
        right = np.round(told[name]) == TRUTH
        assert row["accuracy_end"] == pytest.approx(100 * right.mean())
        assert row["accuracy_end_low"] == pytest.approx(100 * statistics.wilson(right.mean(), N)[0])
        assert row["mae"] == pytest.approx(np.abs(told[name] - TRUTH).mean())
        assert row["off_by_one"] == pytest.approx(
            100 * (np.abs(np.round(told[name]) - TRUTH) <= 1).mean()
        )
        ranks = [spearmanr(seed, TRUTH)[0] for seed in told[name]]
        assert row["spearman"] == pytest.approx(np.mean(ranks))
    errors = {name: np.abs(values - TRUTH) for name, values in told.items()}
    differences = errors["headed"] - errors["plus"]
    row = table.loc["headed"]
    assert row["mae_minus_count_plus"] == pytest.approx(differences.mean())
    low, high = row["mae_minus_count_plus_low"], row["mae_minus_count_plus_high"]
    assert low < differences.mean() < high
    flips = statistics.FLIPS
    p_values = [statistics.sign_flips(seed[None], flips=flips)[0] for seed in differences]
    assert row["p_mae_vs_count_plus"] == pytest.approx(min(1, 2 * np.median(p_values)))
    assert math.isnan(row["p_end_vs_reference"])  # of Table 1, which is of argmax


def test_holm_covers_all_tests_of_a_measure(made):
    table = sheets.read_csv(made[0]["csv_path"])
    for measure in paired_counts.MEASURES:
        columns = [f"p_{measure}_vs_{other}" for other in ordinal_counting.OTHERS]
        p_values = table[columns].to_numpy().ravel()
        assert np.sum(~np.isnan(p_values)) == 8
        corrected = table[[f"{column}_holm" for column in columns]].to_numpy().ravel()
        np.testing.assert_allclose(corrected, statistics.holm(p_values))


def test_sheets_show_both_decodings_and_both_comparisons(made):
    first, *ordinal = sheets.read_sheets(made[0]["json_path"])
    assert [row[0].text for row in first.rows] == [f"label of {name}" for name in SETTINGS]
    assert [len(sheet.rows) for sheet in ordinal] == [8, 4, 4]
    assert "against L_count+" in ordinal[2].title
    assert "“label of plus”" in ordinal[2].notes[0]
    assert ordinal[1].rows[0][3].range.startswith("[")
    assert "], p " in ordinal[1].rows[0][3].range


def test_p_values_at_the_floor_of_their_test_are_marked(made):
    """Two seeds double the floor of the sign flips, not that of the bootstrap."""
    table = sheets.read_csv(made[0]["csv_path"])
    floors = {"mae": 2 / (statistics.FLIPS + 1), "spearman": 2 / (statistics.RESAMPLES + 1)}
    compared = table[table["p_mae_vs_reference"].notna()].assign(
        p_mae_vs_reference=[floors["mae"], 1.01 * floors["mae"], 0.5 * floors["mae"], 1],
        p_spearman_vs_reference=[0.3, floors["spearman"], floors["mae"], np.nan],
    )
    table.loc[compared.index] = compared
    sheet = ablations.ordinal_sheets(table, SETTINGS, "plain")[1]
    places = {name: 2 + place for place, name in enumerate(paired_counts.MEASURES)}
    for name, expected in (("mae", [True, False, False, False]),
                           ("spearman", [False, True, False, False])):  # fmt: skip
        assert ["p ≤ " in row[places[name]].range for row in sheet.rows] == expected


def test_without_an_ordinal_variant_there_is_one_sheet(made, tmp_path):
    _, table1, loaded = made
    few = {name: SETTINGS[name] for name in ("plain", "plus", "plus_log")}
    table = ablations.ablations(table1.reset_index(), few, "plain", loaded)
    assert table["decoding"].tolist() == ["argmax"] * 3
    assert ablations.ordinal_sheets(table, few, "plain") == []


def test_resampled_correlations_are_those_of_the_samples():
    rng = np.random.default_rng(3)
    numbers = rng.integers(2, 11, 60)
    values = np.array([numbers + rng.normal(0, 3, 60), np.round(numbers + rng.normal(0, 2, 60))])
    found = statistics.bootstrap_spearman(values, numbers)
    drawn = np.random.default_rng(0).multinomial(60, np.full(60, 1 / 60), size=3)
    for sample, of_rows in zip(drawn, found, strict=False):
        items = np.repeat(np.arange(60), sample)
        expected = [spearmanr(row[items], numbers[items])[0] for row in values]
        assert of_rows == pytest.approx(expected)


# ---- the key ----


def test_one_key_adds_the_five_and_they_are_off_by_default():
    off, on = copy.deepcopy(DEFAULT), copy.deepcopy(DEFAULT) | {"ordinal_variants": True}
    for each in (off, on):
        added_variants.add_ordinal(each)
    assert variants.trained(off) == list(DEFAULT["variants"])
    assert variants.trained(on) == [*DEFAULT["variants"], *ORDINAL]
    of_training = views.ablation_settings(on)["settings"]
    for name in ORDINAL:
        assert of_training[name] | {"loss": "count_plus"} == of_training["modal_sched_plus"]
        assert ordinal_counting.count_plus_of(name, of_training) == "modal_sched_plus"
    variants.refuse_labels(on)


def test_a_variant_of_the_same_id_stays_as_it_is():
    config = copy.deepcopy(DEFAULT) | {"ordinal_variants": True}
    config["variants"] |= {"sord": {"label": "mine", "loss": "sord"}, "ordinal_logit": None}
    added_variants.add_ordinal(config)
    assert config["variants"]["sord"] == {"label": "mine", "loss": "sord"}
    assert "ordinal_logit" not in variants.trained(config)
    assert "ordinal_exp" in variants.trained(config)
