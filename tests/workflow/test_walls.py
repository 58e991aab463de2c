"""A wall between modules is a wall between reruns: what the costly rules depend on."""

import re
from pathlib import Path

import pytest

from countclip.runtime.provenance import SCRIPTS, code, modules_of
from countclip.settings import config_files

from .conftest import Workflow, checkout, dry_runs

TABLE = config_files.load(Path(__file__).parent / "modules.yaml")
COSTLY = TABLE["rules"]


def modules(names: list[str]) -> set[str]:
    """A line of the table as modules: its names are modules, or sets of them."""
    sets = TABLE["sets"]
    return set().union(*(modules(sets[name]) if name in sets else {name} for name in names))


@pytest.mark.parametrize("rule", COSTLY)
def test_a_costly_rule_depends_on_its_modules_and_no_others(rule):
    reached = {name.split()[0].removeprefix("countclip.") for name in code(rule)}
    assert reached == modules(COSTLY[rule]) | {rule}


def test_empty_files_of_packages_are_no_part_of_code_and_others_are():
    assert not any("__init__" in name for name in code("train_variant"))
    for file in SCRIPTS.glob("*/**/__init__.py"):
        assert file.read_bytes() == b"", file


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "class A:\n    async def f(self):\n        if 0:\n            {}",
        "if 0:\n    pass\nelse:\n    {}",
        "try:\n    pass\nexcept OSError:\n    {}",
        "try:\n    pass\nfinally:\n    {}",
        "for i in ():\n    pass\nelse:\n    while i:\n        {}",
        "match 1:\n    case 1:\n        with open('x'):\n            {}",
    ],
)
def test_an_import_is_found_however_deep_it_stands(tmp_path, text):
    script = tmp_path / "script.py"
    script.write_text(text.format("from countclip.runtime import hosts") + "\n", encoding="utf-8")
    assert SCRIPTS / "countclip/runtime/hosts.py" in modules_of(script)


@pytest.fixture(scope="module")
def paper(tmp_path_factory) -> Workflow:
    """The paper's run with one seed as if it were through: each file is there, and only touched."""
    home = checkout(tmp_path_factory.mktemp("paper") / "checkout")
    (home / "config/one_seed.yaml").write_text("seeds: [1]\n", encoding="utf-8")
    workflow = Workflow(home / "runs/paper", home)
    _, *lines = workflow("all", "--summary", cores=1, only=overlays(home)).split("output_file")
    for line in lines[0].splitlines()[1:]:
        file = workflow.folder / line.split("\t")[0]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(file.name, encoding="utf-8")
    workflow("all", "--touch", "--forceall", cores=1, only=overlays(home))
    return workflow


def overlays(home: Path) -> list[Path]:
    return [home / "config/paper.yaml", home / "config/one_seed.yaml"]


def test_on_the_internet_a_comment_reruns_what_it_must_alone(paper, tmp_path):
    """Nothing that fetches, decodes, detects or asks for links, save where its modules change."""
    scripts = paper.home / "workflow/scripts"
    miniature = sorted((scripts / "miniature").glob("[a-z]*.py"))
    edits = {"miniature": miniature, "nothing": []}
    for name in TABLE["edits"]:
        edits[name] = [scripts / "countclip" / f"{name.replace('.', '/')}.py"]
    commands = []
    for name, files in edits.items():
        copy = paper.edited(files, tmp_path / name)
        commands.append(copy.where({}, only=overlays(copy.home)))
    planned = dict(zip(edits, dry_runs(commands), strict=True))
    assert len(miniature) > 4
    assert planned.pop("nothing") == {}
    assert planned.pop("miniature") == {}
    for name, jobs in planned.items():
        assert isinstance(jobs, dict), jobs[-3000:]
        assert COSTLY.keys() & jobs.keys() == set(TABLE["edits"][name]), name


def test_snakemake_and_the_plan_name_the_module_that_changed(paper, tmp_path):
    losses = paper.home / "workflow/scripts/countclip/training/losses.py"
    copy = paper.edited([losses], tmp_path / "edited")
    printed = copy("all", "-n", cores=1, only=overlays(copy.home))
    module = r"countclip\.training\.losses"
    reasons = re.findall("^Reason: (.*Params have changed.*)", printed, re.M)
    assert len(reasons) == 11  # Table 1's variants
    for reason in reasons:
        assert re.search(rf"before: '{module} \w{{8}}' now: '{module} \w{{8}}'", reason), reason
    plan = copy("plan", cores=1, only=overlays(copy.home))
    causes = rf"{module} changed: \w{{8}} -> \w{{8}}\n    train_variant \(11\)\n"
    assert re.search(causes, plan.split("## Why")[1])
