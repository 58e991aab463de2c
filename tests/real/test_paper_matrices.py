"""Our statistics, on the confusion matrices of the paper's figures, give the paper's Table 1."""

import csv
import json

import numpy as np
import pytest

from countclip import statistics
from countclip.files import resource


@pytest.fixture(scope="module")
def matrices(shared):
    path = shared / "reference/paper_confusion_matrices.json"
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def paper():
    with open(resource("resources/paper_table1.csv"), encoding="utf-8") as file:
        return {row["variant"]: row for row in csv.DictReader(file)}


def test_table1_to_the_last_digit(matrices, paper) -> None:
    assert matrices.keys() == paper.keys()
    compared = 0
    for variant, figures in matrices.items():
        for checkpoint in ("end", "best"):
            if checkpoint in figures:
                share = statistics.accuracy(np.array(figures[checkpoint]))
                assert f"{100 * share:.2f}" == paper[variant][checkpoint], (variant, checkpoint)
                compared += 1
    assert compared == 23


def test_the_paper_measured_509_images(matrices) -> None:
    supports = [56, 57, 57, 49, 58, 58, 57, 60, 57]
    for figures in matrices.values():
        for checkpoint in figures.keys() & {"end", "best"}:
            assert np.sum(figures[checkpoint], axis=1).tolist() == supports


def test_the_papers_gain_lies_within_the_interval(matrices) -> None:
    baseline = np.array(matrices["baseline"]["best"])
    best = np.array(matrices["modal_sched_plus"]["best"])
    low, high = statistics.wilson(statistics.accuracy(baseline), baseline.sum())
    assert low < statistics.accuracy(best) < high
    assert np.trace(best) - np.trace(baseline) == 7
