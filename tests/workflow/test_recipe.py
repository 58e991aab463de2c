"""The recipe of composed counting sets, as a run plans it."""

import yaml

from .conftest import DEFAULT, HOME, Workflow
from .dry_runs import jobs

RECIPE = HOME / "config/recipe.yaml"


def test_the_recipe_is_trained_beside_all_of_the_eleven_with_each_seed(tmp_path):
    recipe = yaml.safe_load(RECIPE.read_text(encoding="utf-8"))
    run = Workflow(tmp_path)
    targets = ("results/ablations.csv", "results/composed/check.csv")
    planned = jobs(run(*targets, "-n", "--quiet", "rules", only=[RECIPE], cores=1))
    variants = len(DEFAULT["variants"]) + len(recipe["variants"])
    assert planned["train_variant"] == variants * len(recipe["seeds"])
    assert planned["compose_pairs"] == len(recipe["counting_sets"])
    assert planned["pack_images"] == 1 + len(recipe["counting_sets"])
