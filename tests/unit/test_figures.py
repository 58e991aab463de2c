"""Every figure is drawn, twice to the same bytes, and a miniature carries its stamp."""

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from countclip.evaluation import counting
from countclip.report import figures, pages, plotting, retention

VARIANTS = [{"id": "a", "label": r"a $\frac$ label"}, {"id": "b", "label": "b"}]
NUMBERS = np.tile(np.arange(2, 11), 4)


@pytest.fixture
def frequency(tmp_path) -> str:
    path = tmp_path / "class_frequency.csv"
    rows = {"number": range(2, 11), "train": [1504, 469, 192, 71, 38, 16, 13, 0, 9]}
    pd.DataFrame(rows).to_csv(path, index=False)
    return str(path)


@pytest.fixture
def histories(tmp_path) -> list[str]:
    rows = {
        "step": [0, 10, 20],
        **dict.fromkeys(figures.LOSSES, [np.nan, 2.0, 1.0]),
        **dict.fromkeys(figures.ACCURACIES, [0.2, 0.3, 0.4]),
    }
    paths = [tmp_path / f"{run}/history.csv" for run in ("a/seed0", "a/seed1", "b/seed0")]
    for path in paths:
        path.parent.mkdir(parents=True)
        pd.DataFrame(rows).to_csv(path, index=False)
    return [str(path) for path in paths]


@pytest.fixture
def predictions(tmp_path) -> list[str]:
    rows = np.arange(len(NUMBERS))
    frame = counting.predictions(np.eye(9)[NUMBERS - 2], rows, NUMBERS, NUMBERS)
    for name in ("baseline", "a", "b"):
        counting.write_predictions({"end": frame}, name, 0, str(tmp_path / f"{name}.parquet"))
    return [str(tmp_path / f"{name}.parquet") for name in ("baseline", "a", "b")]


@pytest.fixture
def wise_ft(tmp_path) -> str:
    run = pd.DataFrame({"alpha": [0, 0.5, 1], "benchmark_accuracy": [0.3, 0.4, 0.45]})
    run = run.assign(heldout_accuracy=[0.3, 0.5, 0.4], things=[0.9, 0.85, 0.7])
    path = tmp_path / "wise_ft.csv"
    about = {"tasks": ["things"], "checkpoint": "end", "benchmark": "repaired", "scale": "paper"}
    table = retention.wise_ft({"a": [run], "b": [run]}, 100, variants=VARIANTS, **about)
    table.to_csv(path, index=False)
    return str(path)


@pytest.fixture(params=["class_frequency", "lambdas", "confusion", "training_curves", "wise_ft"])
def draw(request, tmp_path, frequency, histories, predictions, wise_ft):
    def draw(scale: str) -> tuple[bytes, bytes]:
        out = {kind: str(tmp_path / f"{request.param}.{kind}") for kind in ("svg", "png")}
        if request.param == "confusion":
            figures.confusion(
                predictions,
                **out,
                rows=dict(enumerate(NUMBERS.tolist())),
                benchmark="repaired",
                variants=VARIANTS,
                checkpoint="end",
                scale=scale,
            )
        elif request.param == "training_curves":
            figures.training_curves(histories, **out, variants=VARIANTS, scale=scale)
        elif request.param == "wise_ft":
            figures.wise_ft(wise_ft, **out, scale=scale)
        else:
            getattr(figures, request.param)(frequency, **out, name="main", scale=scale)
        return tuple(open(path, "rb").read() for path in out.values())

    return draw


def test_the_same_numbers_give_the_same_bytes(draw) -> None:
    svg, png = draw("miniature")
    assert (svg, png) == draw("miniature")
    assert png.startswith(b"\x89PNG")
    assert b"<dc:date>" not in svg


def test_the_counting_loss_is_labelled_with_the_lambda_that_it_has(
    histories, tmp_path, monkeypatch
) -> None:
    """Or it and L_CLIP would not add up to the whole loss."""
    drawn = []
    monkeypatch.setattr(Figure, "legend", lambda self, handles, **_: drawn.extend(handles))
    out = {kind: str(tmp_path / f"figure.{kind}") for kind in ("svg", "png")}
    figures.training_curves(histories, **out, variants=VARIANTS, scale="paper")
    assert [line.get_label() for line in drawn[:3]] == ["whole loss", "L_CLIP", "λ L_count"]


def test_no_place_in_a_figure_hangs_on_the_last_digits_of_the_layout(tmp_path) -> None:
    """They differ between two drawings of one process, now and then."""
    out = [str(tmp_path / f"figure.{kind}") for kind in ("svg", "png")]
    with plotting.drawing(*out, "miniature", 5, 4, "a title") as figure:
        parts = figure.subfigures(2, 1, height_ratios=[3, 2])
        for part in parts:
            part.subplots(1, 3)
    places = [part.bbox_relative.get_points() for part in parts]
    places += [axes.get_position(original=True).get_points() for axes in figure.axes]
    assert len(places) == 8
    np.testing.assert_allclose(places, np.round(places, 6), rtol=0, atol=1e-15)


def test_a_miniature_and_a_part_are_stamped(draw, monkeypatch) -> None:
    stamps = []
    monkeypatch.setattr(Figure, "supxlabel", lambda self, text, **_: stamps.append(text))
    draw("paper")
    assert stamps == []
    draw("miniature")
    draw("partial")
    assert stamps == [pages.stamp("miniature").short, pages.stamp("partial").short]


# ---- letters ----

CIRCLED, CHINESE = "\u1d84", "\u6f22"  # in STIX alone of matplotlib's fonts; in none of these


def drawn(tmp_path, *labels: str) -> bytes:
    svg, png = str(tmp_path / "letters.svg"), str(tmp_path / "letters.png")
    with plotting.drawing(svg, png, "paper", 6, 3, "Letters") as figure:
        axes = figure.subplots()
        axes.set_yticks(range(len(labels)), labels)
    return (tmp_path / "letters.svg").read_bytes()


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_letter_that_the_font_lacks_comes_from_another_font(tmp_path, caplog):
    assert plotting._letters(plotting.findfont(plotting.FONT)).isdisjoint({CIRCLED, CHINESE})
    fonts = [font for font in plotting._other_fonts() if CIRCLED in plotting._letters(font.fname)]
    assert fonts[0].name == "STIXGeneral"
    drawn(tmp_path, f"a{CIRCLED}b $x$")
    assert not caplog.text
    assert b"STIX" in (tmp_path / "letters.svg").read_bytes()


@pytest.mark.filterwarnings("error::UserWarning")
def test_a_letter_that_no_font_has_is_named(tmp_path, caplog, monkeypatch):
    fonts = [font for font in plotting._other_fonts() if "mpl-data" in font.fname]
    monkeypatch.setattr(plotting, "_other_fonts", lambda: fonts)
    drawn(tmp_path, f"ok {CHINESE}{CIRCLED}\u200b", "caf\u00e9 \u03bb")
    assert f"letters.svg: no font of this machine has {CHINESE} (U+6F22), so boxes" in caplog.text
    assert caplog.text.count("U+") == 1


def test_figures_of_usual_letters_stay_as_they_are(tmp_path, monkeypatch):
    before = drawn(tmp_path, "log \u03bb, 50 %", "$x$")
    monkeypatch.setattr(plotting, "_fall_back", lambda *_: None)
    assert drawn(tmp_path, "log \u03bb, 50 %", "$x$") == before
