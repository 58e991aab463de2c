"""The miniature's ordinal set: people whose age is seen, written nowhere, and hard to read off."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageDraw

from countclip.experiments.ordinal import data
from countclip.runtime.files import sha256
from countclip.runtime.folders import ImageFolder
from miniature import people, scenes
from miniature.people import AGES, FINE, IMAGES, SIZE, YEARS, Person, Signs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    people.make(folder / "ordinal.csv", folder / "images")
    return folder


@pytest.fixture(scope="module")
def table(folder):
    return pd.read_csv(folder / "ordinal.csv")


@pytest.fixture(scope="module")
def pixels(folder, table):
    """uint8 (n, SIZE, SIZE, 3)."""
    return np.stack([np.asarray(Image.open(folder / path)) for path in table["path"]])


def test_the_set_is_made_the_same_again(folder, tmp_path):
    people.make(tmp_path / "ordinal.csv", tmp_path / "images", people=5)
    lines = (tmp_path / "ordinal.csv").read_text().splitlines()
    assert lines == (folder / "ordinal.csv").read_text().splitlines()[: 1 + 5 * IMAGES]
    for file in sorted((tmp_path / "images").iterdir()):
        assert sha256(file) == sha256(folder / "images" / file.name)


def test_it_has_many_values_and_people_of_about_one_age(table, pixels):
    assert pixels.shape == (people.PEOPLE * IMAGES, SIZE, SIZE, 3)
    assert table["label"].between(*AGES).all()
    assert table["label"].nunique() > 70
    ages = table.groupby("group")["label"]
    assert (ages.size() == IMAGES).all()
    assert (ages.max() - ages.min() < YEARS).all()
    assert len(np.unique(pixels.reshape(len(pixels), -1), axis=0)) == len(pixels)


def test_no_name_tells_an_age(folder, table):
    expected = [f"images/{n // IMAGES:03}_{n % IMAGES}.png" for n in range(len(table))]
    assert table["path"].tolist() == expected  # where in the stream, whatever the age
    assert abs(np.corrcoef(np.arange(len(table)), table["label"])[0, 1]) < 0.1
    assert not Image.open(folder / "images/000_0.png").info


def test_no_other_stream_shares_a_seed():
    assert len(set(scenes.STREAMS.values())) == len(scenes.STREAMS)


def test_signs_follow_the_age():
    ages = [Signs.of(age) for age in range(1, 81)]
    for name, change in {"grey": 1, "bend": 1, "cane": 1, "head": -1}.items():
        steps = np.diff([float(getattr(signs, name)) for signs in ages]) * change
        assert (steps >= 0).all()
        assert steps.any()
    assert ages[0].stature < ages[9].stature < ages[17].stature == ages[40].stature
    assert ages[79].stature < ages[40].stature
    neighbours = zip(ages[:-1], ages[1:], strict=True)
    assert all(first != second for first, second in neighbours)  # each year shows


def test_age_changes_the_figure_alone():
    young, old = (
        np.asarray(people.draw(Person.of(3), age, np.random.default_rng(5))) for age in (9, 79)
    )
    assert (young != old).any(axis=2).mean() > 0.03
    assert np.array_equal(young[:3], old[:3])
    assert np.array_equal(young[-3:], old[-3:])


def test_what_is_no_matter_of_age_changes_from_image_to_image():
    drawn = [people.draw(Person.of(3), 30, np.random.default_rng(n)) for n in range(6)]
    assert len({image.tobytes() for image in drawn}) == 6
    first, *others = (np.asarray(image, int) for image in drawn)
    assert all(np.abs(first - other).mean() > 5 for other in others)


def test_every_figure_is_whole_at_every_age():
    for number in range(80):
        canvas = Image.new("RGB", (FINE * SIZE, FINE * SIZE), "white")
        rng = np.random.default_rng(number)
        people._draw_figure(ImageDraw.Draw(canvas), Person.of(number), Signs.of(1 + number), rng)
        ink = (np.asarray(canvas) != 255).any(axis=2)
        assert ink[1:-1, 1:-1].sum() == ink.sum() > 0


def test_a_linear_probe_reads_ages_badly_but_better_than_nothing(table, pixels):
    """Folds by person, ridge on pixels; its strength is chosen on the test images, in its favour.

    The floor is what people look older or younger than they are: 2.5 years * sqrt(2 / pi) = 2.0.
    """
    side = 32
    small = pixels.reshape(len(pixels), side, SIZE // side, side, SIZE // side, 3).mean((2, 4))
    x, y = small.reshape(len(small), -1) / 255, table["label"].to_numpy(float)
    test = table["group"].str.split().str[1].astype(int).to_numpy() % 5 == 0
    x = x - x[~test].mean(axis=0)
    kernel, values, middle = x @ x[~test].T, y[~test], y[~test].mean()
    errors = []
    for strength in 10.0 ** np.arange(-1, 5):
        weights = np.linalg.solve(kernel[~test] + strength * np.eye((~test).sum()), values - middle)
        predicted = np.clip(kernel[test] @ weights + middle, *AGES)
        errors.append(np.abs(predicted - y[test]).mean())
    constant = np.abs(np.median(values) - y[test]).mean()
    assert 6 < min(errors) < 0.75 * constant


def test_the_set_passes_its_checks_and_people_are_kept_apart(folder):
    rows = data.read(folder / "ordinal.csv", ImageFolder(folder), AGES)
    images = data.images_of(rows)
    folds = {
        by: [
            data.shared_groups(images.assign(part=part))["share"]
            for part in data.folds_of("", rows, images, data.Draw(by)).values()
        ]
        for by in ("image", "group")
    }
    assert folds["group"] == [0] * 5
    assert min(folds["image"]) > 0.9  # a random fold shows nearly all people twice
