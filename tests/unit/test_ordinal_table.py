"""The ordinal table, its sheets and figures, from files of predictions made here."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from matplotlib.figure import Figure

from countclip.experiments.ordinal import (
    baselines,
    data,
    embeddings,
    figures,
    predictions,
    scores,
    table,
)
from countclip.experiments.ordinal.bins import Bins
from countclip.experiments.ordinal.predictions import Answers
from countclip.report import sheets, statistics
from countclip.runtime.folders import ImageFolder

BINS = Bins(("small", "medium", "large", "huge"), (0, 10, 20, 30), (9, 19, 29, 50))
LABELS = {
    "constant": "constant",
    "linear_probe": "linear probe",
    "zero_shot_concepts": "zero-shot",
    "coarse_ce": "CE <b>",
    "fcrc_exp": "FCRC",
    "better": "better",
}
FOLDS = ("fold0", "fold1", "fold2")
TWO_BY_TWO = {
    ("CE", "without"): "coarse_ce",
    ("CE", "with"): "ce_regressor",  # no row of the table
    ("FCRC", "without"): "fcrc_exp",
    ("FCRC", "with"): "better",
}
PUBLISHED = Path(__file__).parents[2] / "resources/ordinal_published.csv"


def softmax_of(values: np.ndarray, width: float) -> np.ndarray:
    logits = -np.abs(values[:, None] - np.array(BINS.midpoints)) / width
    return np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Predictions of six methods on three folds of 50, 50 and 60 images, of persons with four."""
    folder = tmp_path_factory.mktemp("predictions")
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 31, 160).astype(float)  # no label of "huge" but 30
    parts = np.split(np.arange(160), [50, 100])
    for fold, index in zip(FOLDS, parts, strict=True):
        train = np.setdiff1d(np.arange(160), index)
        truth = labels[index]

        def coarse(noise: float, width: float, truth: np.ndarray = truth) -> Answers:
            shares = softmax_of(truth + rng.normal(0, noise, len(truth)), width)
            return predictions.decode(shares, shares @ np.array(BINS.midpoints), BINS, BINS)

        answers = {
            "constant": baselines.constant(BINS, labels[train], len(index)),
            "linear_probe": Answers(expectation=truth + rng.normal(0, 5, len(index))),
            "zero_shot_concepts": coarse(12, 9),
            "coarse_ce": coarse(6, 3),
            "fcrc_exp": coarse(6, 3),
            "better": coarse(2, 1)._replace(expectation=truth + rng.normal(0, 1, len(index))),
        }
        for method, of_method in answers.items():
            predictions.write_predictions(
                of_method,
                index=index,
                labels=truth,
                groups=[f"person {i // 4}" for i in index],
                bins=BINS,
                path=str(folder / method / f"{fold}.parquet"),
            )
    return folder


@pytest.fixture(scope="module")
def loaded(folder) -> pd.DataFrame:
    return predictions.read_predictions(paths(folder))


@pytest.fixture(scope="module")
def numbers(loaded) -> pd.DataFrame:
    return made(loaded)


def paths(folder: Path, methods=LABELS) -> list[str]:
    return [str(folder / method / f"{fold}.parquet") for method in methods for fold in FOLDS]


def made(loaded: pd.DataFrame, task: str = "none", **more) -> pd.DataFrame:
    published = sheets.read_csv(PUBLISHED).query("task == @task")
    return scores.table(loaded, LABELS, BINS, published, "paper", **more)


def errors_of(loaded: pd.DataFrame, method: str, decoding: str) -> pd.Series:
    rows = loaded[loaded["method"] == method].set_index(["fold", "index"]).sort_index()
    return (rows[decoding] - rows["label"]).abs()


# ---- files ----


def test_predictions_are_written_and_read_as_they_are(tmp_path) -> None:
    answers = Answers(expectation=np.array([7.25, 40]), probabilities=None)
    path = str(tmp_path / "m/f.parquet")
    predictions.write_predictions(
        answers, index=[3, 8], labels=[7, 31.5], groups=[None, None], bins=BINS, path=path
    )
    frame = pd.read_parquet(path)
    assert list(frame) == ["index", "label", "group", "bin", *Answers._fields]
    assert frame["bin"].tolist() == [0, 3]
    assert frame["expectation"].tolist() == [7.25, 40]
    assert frame[["group", "predicted_bin", "argmax", "probabilities"]].isna().all(axis=None)
    other = str(tmp_path / "other/f.parquet")
    Path(other).parent.mkdir()
    shutil.copy(path, other)  # the same images, without groups, of another method
    read = predictions.read_predictions([path, other])
    assert read["method"].tolist() == ["m", "m", "other", "other"]
    assert set(read["fold"]) == {"f"}
    assert scores.decoded(read, {"m": "m"}, BINS)["group"].tolist() == ["image 3", "image 8"]


def test_a_prediction_that_is_no_number_is_refused(tmp_path) -> None:
    answers = Answers(expectation=np.array([1, np.nan, np.inf]))
    path = str(tmp_path / "logit/fold4.parquet")
    with pytest.raises(ValueError, match=r"fold4\.parquet: expectation is not finite for 2 values"):
        predictions.write_predictions(
            answers, index=[0, 1, 2], labels=[1, 2, 3], groups=[None] * 3, bins=BINS, path=path
        )
    assert not Path(path).exists()


def _edited(folder: Path, tmp_path: Path, edit) -> list[str]:
    """Copies of all predictions, with those of `better` on the last fold edited."""
    for path in paths(folder):
        copy = tmp_path / Path(path).relative_to(folder)
        copy.parent.mkdir(exist_ok=True)
        frame = pd.read_parquet(path)
        if path.endswith("better/fold2.parquet"):
            frame = edit(frame)
        frame.to_parquet(copy, index=False)
    return paths(tmp_path)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda frame: frame[1:], r"better/fold2\.parquet: predicted on other images than .*const"),
        (lambda frame: frame.assign(label=frame["label"] + 1), "predicted on other images"),
        (
            lambda frame: frame.assign(expectation=frame["expectation"].where(frame.index != 3)),
            "better: expectation is missing for some images or folds",
        ),
        (lambda frame: frame.assign(argmax=np.nan), "better: argmax is missing for some"),
    ],
)
def test_what_is_not_the_same_for_all_is_refused(folder, tmp_path, edit, message) -> None:
    with pytest.raises(ValueError, match=message):
        predictions.read_predictions(_edited(folder, tmp_path, edit))


def test_a_lacking_fold_or_method_is_refused(folder, loaded) -> None:
    with pytest.raises(ValueError, match="better: no predictions of fold2 with seed 0: make"):
        predictions.read_predictions(paths(folder)[:-1])
    with pytest.raises(ValueError, match="no predictions of method 'emd'"):
        scores.table(loaded, LABELS | {"emd": "EMD"}, BINS, pd.DataFrame(), "paper")


def test_a_method_without_any_value_is_refused(tmp_path) -> None:
    path = str(tmp_path / "empty/fold0.parquet")
    predictions.write_predictions(
        Answers(), index=[0], labels=[1], groups=[None], bins=BINS, path=path
    )
    with pytest.raises(ValueError, match="empty: neither of argmax, expectation has a value"):
        predictions.read_predictions([path])


# ---- numbers ----


def test_a_row_for_each_method_and_decoding(numbers) -> None:
    states = list(zip(numbers["method"], numbers["decoding"], strict=True))
    expected = [(m, d) for m in LABELS for d in ("argmax", "expectation")]
    expected.remove(("linear_probe", "argmax"))
    assert states == expected
    assert list(numbers) == scores.COLUMNS
    assert numbers[["folds", "n", "images", "groups"]].drop_duplicates().to_numpy().tolist() == [
        [3, 160, 160, 40]
    ]


def test_measures_are_means_over_the_folds(loaded, numbers) -> None:
    for row in numbers.itertuples():
        errors = errors_of(loaded, row.method, row.decoding)
        folds = errors.groupby("fold").mean()
        assert row.mae == pytest.approx(folds.mean())
        assert row.mae_sd == pytest.approx(folds.std())
        low, high = scipy.stats.t.interval(0.95, 2, folds.mean(), folds.sem())
        assert (row.mae_low, row.mae_high) == pytest.approx((low, high))
        within = 100 * (errors <= 5).groupby("fold").mean().mean()
        assert row.cs5 == pytest.approx(within)


def test_intervals_hold_no_impossible_value(numbers) -> None:
    assert numbers["off_by_one_high"].max() == 100
    assert numbers["qwk_high"].max() <= 1
    assert numbers.filter(regex="_low$").filter(like="mae").filter(regex="^m").min(axis=None) >= 0


def test_the_bin_of_an_expectation_is_the_nearest(loaded, numbers) -> None:
    rows = numbers.set_index(["method", "decoding"])
    of_method = loaded[loaded["method"] == "better"]
    nearest = np.digitize(of_method["expectation"], [9.5, 19.5, 29.5])
    assert (nearest != np.digitize(of_method["expectation"], [10, 20, 30])).any()
    for decoding, predicted in (("expectation", nearest), ("argmax", of_method["predicted_bin"])):
        right = (predicted == of_method["bin"]).groupby(of_method["fold"]).mean().mean()
        assert rows.loc[("better", decoding), "accuracy"] == pytest.approx(100 * right)
    oracle = made(loaded.assign(predicted_bin=loaded["bin"].where(loaded["argmax"].notna())))
    of_argmax = oracle["decoding"] == "argmax"
    assert (oracle.loc[of_argmax, "accuracy"] == 100).all()
    assert oracle.loc[~of_argmax, "accuracy"].equals(numbers.loc[~of_argmax, "accuracy"])
    assert np.isnan(rows.loc[("linear_probe", "expectation"), "rps"])
    assert (rows.loc["coarse_ce", "rps"] == rows.loc[("coarse_ce", "argmax"), "rps"]).all()


def test_a_value_just_below_a_whole_number_is_of_that_numbers_bin(tmp_path) -> None:
    """Five decades, 0 to 4, each a bin of a single number."""
    decades, path = Bins.numbers(0, 4), str(tmp_path / "coarse_ce/1.parquet")
    values = np.array([3.99, 3.51, 3.49, 0.2, -0.4, 4.6])
    predictions.write_predictions(
        Answers(expectation=values),
        index=list(range(6)),
        labels=[4, 4, 4, 1, 0, 4],
        groups=[None] * 6,
        bins=decades,
        path=path,
    )
    read, labels = predictions.read_predictions([path]), {"coarse_ce": "CE"}
    answers = scores.decoded(read, labels, decades)
    assert answers["predicted"].tolist() == [4, 4, 3, 0, 0, 4]
    row = scores.table(read, labels, decades, pd.DataFrame(columns=["method"]), "paper")
    assert row["accuracy"].item() == pytest.approx(100 * 4 / 6)
    assert row["off_by_one"].item() == 100


def test_the_constants_row_is_that_of_the_training_median(loaded, numbers) -> None:
    """From the labels of the other folds alone."""
    labels = loaded[loaded["method"] == "constant"].set_index("fold")["label"]
    maes, hits = [], []
    for fold in FOLDS:
        train = np.sort(labels.drop(fold).to_numpy())
        median = (train[(len(train) - 1) // 2] + train[len(train) // 2]) / 2
        maes.append(np.abs(labels[fold] - median).mean())
        of_bins = [np.sum((train >= low) & (train < high))
                   for low, high in ((0, 10), (10, 20), (20, 30), (30, 51))]  # fmt: skip
        low = 10 * int(np.argmax(of_bins))
        hits.append(((labels[fold] >= low) & (labels[fold] < low + 10)).mean())
    rows = numbers.set_index(["method", "decoding"]).loc["constant"]
    assert rows.loc["expectation", "mae"] == pytest.approx(np.mean(maes))
    assert rows.loc["argmax", "accuracy"] == pytest.approx(100 * np.mean(hits))
    assert rows["spearman"].isna().all()


def test_differences_are_paired_over_all_images(loaded, numbers) -> None:
    rows = numbers.set_index(["method", "decoding"])
    better, other = (
        errors_of(loaded, "better", "expectation"),
        errors_of(loaded, "coarse_ce", "argmax"),
    )
    row = rows.loc[("better", "expectation")]
    difference = better - other
    assert row["difference_coarse_ce_argmax"] == pytest.approx(difference.mean())
    percent = 100 * difference.mean() / other.mean()
    assert row["difference_coarse_ce_argmax_percent"] == pytest.approx(percent)
    persons = difference.groupby(difference.index.get_level_values("index") // 4).agg(
        ["sum", "size"]
    )
    theirs = scipy.stats.bootstrap(
        (persons["sum"], persons["size"]), lambda s, n, axis: s.sum(axis) / n.sum(axis),
        paired=True, vectorized=True, method="percentile", rng=np.random.default_rng(0),
    ).confidence_interval  # fmt: skip
    low, high = row["difference_coarse_ce_argmax_low"], row["difference_coarse_ce_argmax_high"]
    assert (low, high) == pytest.approx(tuple(theirs), abs=0.15)
    backwards = rows.loc[("coarse_ce", "argmax")]
    assert np.isnan(backwards["difference_coarse_ce_argmax"])
    zero_shot = rows.loc[("zero_shot_concepts", "expectation")]
    assert zero_shot["difference_coarse_ce_argmax"] == pytest.approx(
        -backwards["difference_zero_shot_expectation"]
    )
    assert zero_shot["p_mae_coarse_ce_argmax"] == backwards["p_mae_zero_shot_expectation"]


def test_two_methods_that_are_alike_do_not_differ(numbers) -> None:
    rows = numbers.set_index(["method", "decoding"])
    alike, better = rows.loc[("fcrc_exp", "argmax")], rows.loc[("better", "argmax")]
    assert alike["p_mae_coarse_ce_argmax"] > 0.05
    assert better["p_mae_coarse_ce_argmax_holm"] < 0.01
    assert alike["difference_coarse_ce_argmax_low"] < 0 < alike["difference_coarse_ce_argmax_high"]
    assert better["difference_coarse_ce_argmax_high"] < 0


@pytest.mark.parametrize("kind", ["mae", "accuracy"])
def test_holms_family_has_each_pair_once(numbers, kind) -> None:
    pairs = {}
    for row in numbers.itertuples():
        for role, (method, decoding, _) in scores.ROLES.items():
            p = getattr(row, f"p_{kind}_{role}")
            if not np.isnan(p):
                pair = frozenset([(row.method, row.decoding), (method, decoding)])
                pairs.setdefault(pair, (p, getattr(row, f"p_{kind}_{role}_holm")))
    assert len(pairs) == 7 * 4 + 4 * 3 / 2  # seven other rows, and the four among themselves
    raw, corrected = np.transpose(list(pairs.values()))
    assert corrected == pytest.approx(statistics.holm(raw))


def test_p_values_at_the_floor_of_the_test_are_marked(numbers) -> None:
    sheet = table.differences_sheet(numbers)
    floor, marked = 1 / (statistics.FLIPS + 1), []
    for row, cells in zip(numbers.to_dict("records"), sheet.rows, strict=True):
        for place, role in enumerate(scores.ROLES):
            for at, kind in enumerate(("mae", "accuracy")):
                p, text = row[f"p_{kind}_{role}"], cells[3 + 3 * place + at].text
                assert text.startswith("≤ ") == (p == pytest.approx(floor, rel=1e-9)), text
                marked.append(text.startswith("≤ "))
    assert 0 < sum(marked) < len(marked)
    assert f"{statistics.FLIPS:,} random signs and 34 tests" in " ".join(sheet.notes)
    assert "below 0.00034;" in " ".join(sheet.notes)


def test_without_groups_the_accuracys_p_is_mcnemars(loaded) -> None:
    table = made(loaded.assign(group=None)).set_index(["method", "decoding"])
    assert (table["groups"] == 160).all()
    right = {
        method: (rows["predicted_bin"] == rows["bin"]).to_numpy()
        for method, rows in loaded.groupby("method")
    }
    for method in ("better", "fcrc_exp", "constant"):
        expected = statistics.mcnemar(right[method], right["coarse_ce"])
        assert table.loc[(method, "argmax"), "p_accuracy_coarse_ce_argmax"] == pytest.approx(
            expected
        )


def test_seeds_are_averaged_before_folds_and_images_are_compared(folder, tmp_path) -> None:
    """`better` with a second seed, whose expectations are three higher; the others have one."""
    for path in paths(folder):
        seeds = (0, 7) if Path(path).parent.name == "better" else (0,)
        for seed in seeds:
            copy = tmp_path / f"seed{seed}" / Path(path).relative_to(folder)
            copy.parent.mkdir(parents=True, exist_ok=True)
            frame = pd.read_parquet(path)
            frame["expectation"] += 3 if seed else 0
            frame.to_parquet(copy, index=False)
    both = predictions.read_predictions([str(path) for path in tmp_path.rglob("*.parquet")])
    assert both.groupby("method")["seed"].unique().map(set).to_dict() == {
        method: {0, 7} if method == "better" else {0} for method in LABELS
    }
    rows = made(both)
    row = rows.query("method == 'better' and decoding == 'expectation'").iloc[0]
    assert (row["seeds"], row["folds"], row["n"], row["images"]) == (2, 3, 160, 160)
    of_better = both[both["method"] == "better"]
    errors = (of_better["expectation"] - of_better["label"]).abs()
    of_folds = errors.groupby([of_better["fold"], of_better["seed"]]).mean().groupby("fold").mean()
    assert row["mae"] == pytest.approx(of_folds.mean())
    assert row["mae_sd"] == pytest.approx(of_folds.std())
    coarse = errors_of(both, "coarse_ce", "argmax")
    mean = errors.groupby([of_better["fold"], of_better["index"]]).mean()
    assert row["difference_coarse_ce_argmax"] == pytest.approx((mean - coarse).mean())
    one_seed, others = made(predictions.read_predictions(paths(folder))), rows["method"] != "better"
    assert rows["mae"][others].tolist() == one_seed["mae"][others].tolist()
    bins = scores.bin_table(both, LABELS, BINS, "paper")
    assert (bins.groupby(["method", "decoding"])["n"].sum() == 160).all()
    notes = table.score_notes(rows, bins, sheets.read_csv(PUBLISHED)[:0], [])
    assert "of a fold the mean over the 2 seeds of a training" in " ".join(notes)


def test_tables_of_sets_are_joined_with_their_ids(numbers, tmp_path) -> None:
    other = numbers.assign(mae=numbers["mae"] / 3)
    paths_of = {name: str(tmp_path / f"{name}.csv") for name in ("faces", "decades")}
    sheets.write_csv(numbers, paths_of["faces"])
    sheets.write_csv(other, paths_of["decades"])
    table.join_tables(paths_of, str(tmp_path / "table.csv"))
    joined = sheets.read_csv(tmp_path / "table.csv")
    assert list(joined) == ["set", *numbers]
    assert joined["set"].tolist() == ["faces"] * len(numbers) + ["decades"] * len(numbers)
    assert joined["mae"].tolist() == [*numbers["mae"], *other["mae"]]


def test_an_image_in_several_draws_is_one_witness(loaded) -> None:
    """The same images in each draw: as many predictions, no more groups."""
    first = loaded[loaded["fold"] == "fold0"].assign(group=None)
    thrice = pd.concat([first.assign(fold=f"draw{i}") for i in range(3)])
    one, three = made(first), made(thrice)
    assert (three["n"] == 150).all()
    assert (three["images"] == 50).all()
    for name in ("difference_coarse_ce_argmax_low", "p_mae_coarse_ce_argmax"):
        assert three[name].to_numpy() == pytest.approx(one[name].to_numpy(), nan_ok=True)
    assert three["mae_sd"].to_numpy() == pytest.approx(0, abs=1e-12)
    assert one[["mae_low", "mae_sd"]].isna().all(axis=None)


def test_published_numbers_stand_beside_the_task_that_they_are_of(loaded, numbers) -> None:
    rows = made(loaded, "hci").set_index("method")
    assert rows.loc["zero_shot_concepts", "published_mae"].tolist() == [1.48, 1.48]
    assert rows.loc["zero_shot_concepts", "published_accuracy_sd"].tolist() == [0.6, 0.6]
    assert set(rows.loc["zero_shot_concepts", "published_mae_inside"]) == {"no"}
    assert rows.loc["better", "published_mae"].isna().all()
    assert numbers.filter(like="published").isna().all(axis=None)


def test_the_published_numbers_are_complete() -> None:
    table = sheets.read_csv(PUBLISHED)
    assert not table.duplicated(["task", "label", "measure"]).any()
    assert set(table["measure"]) == set(scores.PUBLISHED)
    assert table[["task", "label", "value", "source"]].notna().all(axis=None)


def test_best_on_test_is_a_column_beside(loaded) -> None:
    flattered = loaded[loaded["method"] == "better"].assign(expectation=loaded["label"])
    table = made(loaded, best_on_test=flattered).set_index(["method", "decoding"])
    assert table.loc[("better", "expectation"), "mae_best_on_test"] == 0
    assert table.loc[("better", "expectation"), "mae"] > 0.5
    assert table.loc["coarse_ce", "mae_best_on_test"].isna().all()
    assert table.drop(columns=table.filter(like="best_on_test").columns).equals(
        made(loaded)
        .set_index(["method", "decoding"])
        .drop(columns=["mae_best_on_test", "accuracy_best_on_test"])
    )


def test_bins_hold_all_images(loaded) -> None:
    table = scores.bin_table(loaded, LABELS, BINS, "paper")
    assert (table.groupby(["method", "decoding"])["n"].sum() == 160).all()
    row = table.query("method == 'better' and decoding == 'expectation' and word == 'medium'")
    errors = errors_of(loaded, "better", "expectation")
    labels = loaded[loaded["method"] == "better"].set_index(["fold", "index"]).sort_index()["label"]
    medium = labels.between(10, 19)
    assert row["mae"].item() == pytest.approx(errors[medium].mean())
    assert row["n"].item() == medium.sum()


# ---- views ----


@pytest.fixture(scope="module")
def published_files(folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("results")
    folds_of_persons(out)
    table.make_table(
        paths(folder),
        published_csv=str(PUBLISHED),
        csv_path=str(out / "table.csv"),
        json_path=str(out / "table.json"),
        markdown_path=str(out / "table.md"),
        per_bin_csv=str(out / "per_bin.csv"),
        labels=LABELS,
        two_by_two=TWO_BY_TWO,
        bins=BINS,
        task="hci",
        subject="sizes",
        deviations=["The words are ours."],
        scale="miniature",
        best_on_test=paths(folder, ["coarse_ce", "better"]),
        folds_json=str(out / "folds.json"),
    )
    return out


def folds_of_persons(out: Path, by: str = "published") -> dict:
    """Folds of nine images: four are of people who are in two folds."""
    of_fold = {"a": ["p1", "p2", "p7"], "b": ["p1", "p2", "p8"], "c": ["p3", "p3", "p9"]}
    rows = [f"{fold}{n}.png,{n},{person},{fold}" for fold, persons in of_fold.items()
            for n, person in enumerate(persons)]  # fmt: skip
    (out / "set.csv").write_text("\n".join(["path,label,group,fold", *rows]))
    for row in rows:
        (out / row.split(",")[0]).touch()
    return data.make_folds(
        out / "set.csv", ImageFolder(out), values=(0, 2), bins=Bins.numbers(0, 2),
        draw=data.Draw(by, 3, validation=0, seed=6), images_parquet=out / "images.parquet",
        fold_folder=out / "folds", summary_json=out / "folds.json",
    )  # fmt: skip


def test_a_note_tells_how_the_folds_came_to_be(published_files, tmp_path) -> None:
    notes = sheets.read_sheets(published_files / "table.json")[0].notes
    assert notes[0] == (
        "Folds: published. 4 of 9 test images (44.4 %) show a group, such as a person, of the"
        " training part, so errors are too low for others."
    )
    assert notes[0] in (published_files / "table.md").read_text()
    by_person = folds_of_persons(tmp_path, "group")
    assert table.folds_notes(by_person) == ["Folds: drawn by group, seed 6."]


def test_the_csv_reads_back_exactly(published_files, loaded) -> None:
    read = sheets.read_csv(published_files / "table.csv")
    expected = made(
        loaded, "hci", best_on_test=loaded[loaded["method"].isin(["coarse_ce", "better"])]
    )
    pd.testing.assert_frame_equal(read.drop(columns="scale"), expected.drop(columns="scale"),
                                  check_exact=True, check_dtype=False)  # fmt: skip


def test_the_sheets_say_what_a_reader_must_know(published_files) -> None:
    scores_sheet, two_by_two, differences, by_bin = sheets.read_sheets(
        published_files / "table.json"
    )
    notes = " ".join(scores_sheet.notes)
    assert "n = 160 predictions in 3 folds, of 160 different images of 40 groups" in notes
    assert "Deviation from NumCLIP's released code: The words are ours." in notes
    assert (
        "Published for methods that are no row here: CoOp: Accuracy of bin (%) 51.9 ± 2.6, MAE"
        in notes
    )
    assert "“Best on test” is the protocol of released settings" in notes
    assert "Miniature: not CLIP's numbers" in scores_sheet.title
    assert [row[1].text for row in scores_sheet.rows[:2]] == ["mode", "median"]
    lowest = [row for row in scores_sheet.rows if row[2].best]
    assert [row[0].text for row in lowest] == ["better"]
    assert two_by_two.headers[1:] == ["without, argmax", "without, expectation",
                                      "with, argmax", "with, expectation"]  # fmt: skip
    assert [cell.text for cell in two_by_two.rows[0][3:]] == ["–", "–"]
    maes = {(row[0].text, row[1].text): row[2].text for row in scores_sheet.rows}
    assert two_by_two.rows[1][4].text == maes["better", "expectation"]
    assert "each pair once" in " ".join(differences.notes)
    assert "groups (images of one group are drawn together)" in " ".join(differences.notes)
    assert by_bin.headers[5].startswith("huge, n = ")
    assert all(sheet.stamp for sheet in (scores_sheet, two_by_two, differences, by_bin))
    text = (published_files / "table.md").read_text()
    assert "\\<b>" in text


def test_rows_that_are_no_better_than_a_constant_are_named(loaded) -> None:
    blind = loaded[loaded["method"] == "zero_shot_concepts"].assign(argmax=40.0, expectation=14.0)
    worse = pd.concat([loaded[loaded["method"] != "zero_shot_concepts"], blind])
    note = table._constant_note(made(worse))
    assert "Rows that are no better: zero-shot (argmax)" in note
    assert "better (" not in note
    assert "No row ignores the image" in table._constant_note(made(loaded)[2:])


def test_one_fold_has_no_interval_and_no_reference_no_difference(loaded) -> None:
    one = made(loaded[loaded["fold"] == "fold1"])
    cells = [cell for row in table.two_by_two_sheet(one, TWO_BY_TWO).rows for cell in row[1:]]
    assert {cell.range for cell in cells} == {""}
    labels = {name: LABELS[name] for name in ("constant", "better")}
    alone = scores.table(loaded, labels, BINS, pd.DataFrame(columns=["method"]), "paper")
    assert alone.filter(regex="^(difference|p)_").isna().all(axis=None)
    assert table.differences_sheet(alone).headers == ["Method", "Decoding"]


# ---- figures ----


@pytest.fixture(scope="module")
def states(tmp_path_factory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("embeddings")
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 31, 120).astype(float)
    angles = labels / 20
    ordered = np.column_stack([np.cos(angles), np.sin(angles), 0 * angles])
    midpoints = np.array(BINS.midpoints)
    texts = np.column_stack([np.cos(midpoints / 20), np.sin(midpoints / 20), 0 * midpoints])
    images = {"before": rng.normal(size=(120, 3)), "after": ordered}
    for state, of_state in images.items():
        of_both = embeddings.Embeddings(of_state, labels, texts, midpoints)
        embeddings.write_embeddings(of_both, str(folder / f"{state}.npz"))
    return {state: str(folder / f"{state}.npz") for state in images}


def test_the_order_of_both_states_is_a_table(states, tmp_path) -> None:
    figures.order_table(states, str(tmp_path / "order.csv"), "paper")
    found = sheets.read_csv(tmp_path / "order.csv")
    after = found[(found["state"] == "after") & (found["kind"] == "images")]
    assert (after[["forward", "backward"]] == 1).all(axis=None)
    before = found[(found["state"] == "before") & (found["kind"] == "images")]
    assert before["forward"].iloc[-1] == pytest.approx(before["random"].iloc[-1], abs=0.1)
    assert before["forward"].iloc[0] == before["random"].iloc[0] == 1
    assert list(found.columns[:4]) == ["state", "kind", "span", "forward"]


def test_embeddings_that_are_none_are_refused(tmp_path) -> None:
    np.savez(tmp_path / "x.npz", images=np.zeros((2, 2)))
    with pytest.raises(ValueError, match=r"x\.npz: not embeddings of images and texts"):
        embeddings.read_embeddings(str(tmp_path / "x.npz"))
    np.savez(tmp_path / "y.npz", images=np.array([{}]), labels=0, texts=0, midpoints=0)
    with pytest.raises(ValueError, match=r"y\.npz: not embeddings"):
        embeddings.read_embeddings(str(tmp_path / "y.npz"))
    (tmp_path / "z.npz").write_text("no archive")
    with pytest.raises(ValueError, match=r"z\.npz: not embeddings"):
        embeddings.read_embeddings(str(tmp_path / "z.npz"))


def test_principal_components_are_sklearns() -> None:
    from sklearn.decomposition import PCA

    embeddings = np.random.default_rng(3).normal(size=(40, 6)) * [5, 3, 1, 1, 1, 1]
    points, shares = figures.principal_components(embeddings)
    theirs = PCA(2).fit(embeddings)
    assert shares == pytest.approx(theirs.explained_variance_ratio_)
    assert np.abs(points) == pytest.approx(np.abs(theirs.transform(embeddings)))


def test_every_error_is_inside_its_panel(published_files) -> None:
    """Also where the first panel's errors are the lowest."""
    bins = sheets.read_csv(published_files / "per_bin.csv")
    bins = bins.sort_values("mae", kind="stable")
    figure = Figure()
    figures.error_panels(figure, bins)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == bins["method"].nunique()
    for axes in panels:
        assert axes.get_ylim()[0] == 0
        assert axes.get_ylim()[1] > bins["mae"].max()


@pytest.mark.parametrize(
    "name", ["errors_by_bin", "similarities", "ordinality_by_span", "embedding_map"]
)
def test_figures_are_drawn_twice_to_the_same_bytes_and_stamped(
    name, states, published_files, tmp_path
) -> None:
    figures.order_table(states, str(tmp_path / "order.csv"), "paper")
    sources = {
        "errors_by_bin": str(published_files / "per_bin.csv"),
        "ordinality_by_span": str(tmp_path / "order.csv"),
    }

    def draw(scale: str) -> tuple[bytes, bytes]:
        out = {kind: str(tmp_path / f"{name}.{kind}") for kind in ("svg", "png")}
        getattr(figures, name)(sources.get(name, states), **out, scale=scale)
        return tuple(Path(path).read_bytes() for path in out.values())

    first = draw("paper")
    assert draw("paper") == first
    assert draw("miniature") != first
