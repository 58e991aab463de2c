"""The documentation against what it describes: links, commands, config, files, guides."""

import json
import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
import yaml

from countclip.experiments.ordinal import scores as ordinal_scores
from countclip.experiments.reading import scores as reading_scores
from countclip.experiments.soft_labels import scores as soft_scores
from countclip.report import scores
from countclip.settings import config_files
from countclip.settings.config_docs import FIRST_KEYS, SCHEMA
from workflow.conftest import HOME, dry_runs, merged

README = HOME / "README.md"
PAGES = [README, *(HOME / name for name in ("CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"))]
PAGES += [HOME / "config/README.md", *sorted((HOME / "docs").rglob("*.md"))]
TEXTS = {page: page.read_text(encoding="utf-8") for page in PAGES}
DEFAULT = config_files.default()
FENCE = re.compile(r"^(?P<indent> *)```(?P<kind>\w*)\n(?P<body>.*?)^ *```$", re.M | re.S)


def name(page: Path) -> str:
    return str(page.relative_to(HOME))


def blocks(page: Path, kind: str) -> list[str]:
    """The fenced blocks of a kind, without the indentation of a list."""
    return [
        re.sub(f"^{found['indent']}", "", found["body"], flags=re.M)
        for found in FENCE.finditer(TEXTS[page])
        if found["kind"] == kind
    ]


def prose(page: Path) -> str:
    return FENCE.sub("", TEXTS[page])


# ---- size, sentences, links ----


def test_the_readme_is_one_page():
    assert len(TEXTS[README].splitlines()) <= 150


def test_the_readme_has_a_table_of_four_rows():
    table = re.search(r"\| configuration .*\n\|-.*\n((?:\|.*\n)+)", TEXTS[README])
    first = [row.split("|")[1] for row in table[1].splitlines()]
    for row, words in zip(first, ("baseline", "base model", "best", "control"), strict=True):
        assert words in row


def sentences(text: str) -> list[str]:
    """Sentences of paragraphs and lists; headings, tables and pictures are none."""
    paragraphs, lines = [], []
    for line in [*text.splitlines(), ""]:
        starts = re.match(r" *([-*]|\d+\.) ", line)
        if starts or not line.strip() or re.match(r"[#|<]", line.lstrip()):
            paragraphs.append(" ".join(lines))
            lines = [line[starts.end() :]] if starts else []
        else:
            lines.append(line.strip())
    found = []
    for paragraph in paragraphs:
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "code", paragraph))
        found += re.split(r"(?<=[.!?:])\s+(?=[A-Z0-9*(“\"]|code\b)", plain)
    return [sentence for sentence in found if sentence.split()]


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_sentences_are_short(page):
    long = [text for text in sentences(prose(page)) if len(text.split()) > 25]
    assert not long


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", prose(page), re.M)
    return {re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_anchors_resolve(page):
    targets = re.findall(r"\]\(([^)\s]+)\)", prose(page))
    targets += re.findall(r'(?:src|srcset|href)="([^"]+)"', prose(page))
    for target in targets:
        if re.match(r"https?:|mailto:", target):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), f"{target} leads nowhere"
        if anchor:
            assert anchor in anchors(file), f"{target}: {file.name} has no such heading"


def test_every_page_is_reached_from_the_index():
    index = HOME / "docs/README.md"
    linked = {
        (index.parent / target.partition("#")[0]).resolve()
        for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[index])
    }
    assert {page for page in PAGES if (HOME / "docs") in page.parents} - {index} <= linked


# ---- files, modules, columns ----


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_that_a_page_names_exist(page):
    roots = (HOME, HOME / "workflow/scripts", HOME / "workflow/scripts/countclip")
    named = re.findall(r"`([\w./-]+/[\w.-]*\.(?:py|smk|yaml|csv|json|toml|css))`", prose(page))
    named += re.findall(
        r"`((?:config|docs|perf|profiles|resources|tests|workflow|container)/[\w./-]*)`",
        prose(page),
    )
    examples = re.compile(r"results/|\.\.\./|data/\w+\.csv|.*\bordinal\b")
    modules = re.findall(r"python -m (countclip[\w.]+)", TEXTS[page])
    named += [f"{module.replace('.', '/')}.py" for module in modules]
    for path in named:
        if not examples.match(path):
            assert any((root / path).exists() for root in roots), path


def test_the_architecture_page_names_every_module():
    scripts = HOME / "workflow/scripts"
    modules = {
        file.relative_to(scripts).as_posix().removeprefix("countclip/")
        for package in ("countclip", "miniature")
        for file in (scripts / package).rglob("*.py")
        if file.stem != "__init__"
    }
    text = TEXTS[HOME / "docs/explanation/architecture.md"]
    assert {module for module in modules if f"`{module}`" not in text} == set()


def test_the_files_page_names_what_the_rules_make():
    text = TEXTS[HOME / "docs/reference/files.md"]
    folders = re.findall(r"`(results/[^`]+/)`", text)
    made = [
        path
        for file in (HOME / "workflow/rules").glob("*.smk")
        for output in re.findall(r"    output:\n(.*?)    log:", file.read_text("utf-8"), re.S)
        for path in re.findall(r'"(results/[^"]+)"', output)
    ]
    assert len(made) > 50
    for path in made:
        named = f"`{path}`" in text or f"`{path.rpartition('/')[2]}`" in text
        assert named or any(path.startswith(folder) for folder in folders), path


@pytest.mark.parametrize(
    ("page", "columns"),
    [
        ("table", scores.COLUMNS),
        ("ordinal-table", ordinal_scores.COLUMNS),
        ("reading-table", reading_scores.COLUMNS),
        ("soft-labels-table", soft_scores.COLUMNS),
    ],
)
def test_a_table_page_names_every_column(page, columns):
    text = TEXTS[HOME / f"docs/reference/{page}.md"]
    patterns = [p for p in re.findall(r"`([a-z0-9_*]+)`", text) if p != "*"]
    known = [re.compile(pattern.replace("*", "[a-z0-9_]+?")) for pattern in patterns]
    missing = [name for name in columns if not any(p.fullmatch(name) for p in known)]
    assert missing == []


def test_the_diagram_is_that_of_the_rules():
    script = runpy.run_path(str(HOME / "docs/draw_pipeline.py"))
    graph, rooms = script["rule_graph"](), script["room_of_rules"]()
    for theme, colours in script["COLOURS"].items():
        drawn = (HOME / f"docs/pipeline-{theme}.svg").read_text(encoding="utf-8")
        assert drawn == script["svg"](graph, rooms, colours), "run `make docs`"


# ---- commands ----


def commands(page: Path, program: str) -> list[str]:
    """The command lines of a page that begin with a program, without comments."""
    found = []
    for block in blocks(page, "sh"):
        for line in block.replace("\\\n", " ").splitlines():
            if line.split(maxsplit=1)[:1] == [program]:
                found.append(re.sub(r"\s+#\s.*", "", line))
    return found


def test_make_targets_of_the_docs_exist():
    makefile = (HOME / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([\w-]+):", makefile, re.M))
    found = [command for page in PAGES for command in commands(page, "make")]
    found += [text for page in PAGES for text in re.findall(r"`(make [^`]+)`", prose(page))]
    assert len(found) > 8
    for command in found:
        words = [word for word in shlex.split(command)[1:] if "=" not in word]
        assert words, command
        assert set(words) <= targets, command


def overlay(page: Path) -> dict:
    """The config snippets of a page, laid over each other."""
    laid = {}
    for block in blocks(page, "yaml"):
        laid = merged(laid, yaml.safe_load(block))
    return laid


@pytest.fixture(scope="module")
def working_directory(tmp_path_factory) -> Path:
    """A folder with what the examples of the guides name."""
    folder = tmp_path_factory.mktemp("docs")
    (folder / "data").mkdir()
    tables = (("own-benchmark", "shelves"), ("own-ordinal-set", "decades"),
              ("own-images", "pairs"), ("own-images", "test"))  # fmt: skip
    for guide, table in tables:
        for block in blocks(HOME / f"docs/guides/{guide}.md", "text"):
            (folder / f"data/{table}.csv").write_text(block, encoding="utf-8")
    for page in PAGES:
        (folder / page.stem).mkdir(exist_ok=True)
        text = yaml.safe_dump(overlay(page), sort_keys=False)
        (folder / page.stem / "mine.yaml").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def parser() -> ArgumentParser:
    from snakemake.cli import get_argument_parser

    return get_argument_parser()


def test_snakemake_commands_in_sentences_parse(parser):
    """A target behind --configfile would be one more config."""
    found = [text for page in PAGES for text in re.findall(r"`(snakemake [^`]+)`", prose(page))]
    assert len(found) > 4
    for command in found:
        said = parser.parse_args(shlex.split(command)[1:])
        assert all(str(file).endswith(".yaml") for file in said.configfile or ()), command
        assert all(target == "plan" or "/" in target for target in said.targets), command


def test_snakemake_commands_of_the_docs_plan_jobs(working_directory, parser):
    """Each is a real dry run, but for those that plan nothing."""
    planned = []
    for page in PAGES:
        for command in commands(page, "snakemake"):
            words = shlex.split(command)[1:]
            said = parser.parse_args(words)
            if said.workflow_profile:
                assert (HOME / said.workflow_profile).is_dir(), command
            files = [
                HOME / file
                if Path(file).parts[0] == "config"
                else working_directory / page.stem / file
                for file in said.configfile or ()
            ]
            assert all(file.is_file() for file in files), command
            if said.report or said.unlock:
                continue
            given = ["--configfile", *map(str, files)] if files else []
            where = ["--snakefile", str(HOME / "Snakefile"), "--directory", str(working_directory)]
            planned.append((command, [*said.targets, *where, *given]))
    assert len(planned) > 8
    unique = list({json.dumps(arguments): arguments for _, arguments in planned}.values())
    found = dict(zip(map(json.dumps, unique), dry_runs(unique, targets=()), strict=True))
    for command, arguments in planned:
        jobs = found[json.dumps(arguments)]
        assert isinstance(jobs, dict), f"{command}\n{jobs}"
        assert jobs, f"{command} plans no job"


# ---- config ----


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "yaml")], ids=name)
def test_config_snippets_are_valid(page, tmp_path):
    """Against the schema as the page itself changes it."""
    from jsonschema import Draft202012Validator

    schema = SCHEMA.read_text(encoding="utf-8")
    for file, hunks in patches(page):
        if HOME / file == SCHEMA:
            schema = patched(schema, hunks)
    validator = Draft202012Validator(yaml.safe_load(schema))
    for block in blocks(page, "yaml"):
        validator.validate(merged(DEFAULT, yaml.safe_load(block)))


def test_the_first_page_of_the_config_has_twenty_keys():
    assert len(FIRST_KEYS) == 20


# ---- the guides, step by step ----


def patches(page: Path) -> list[tuple[str, list[str]]]:
    """The files that the diffs of a page change, each with its hunks."""
    return [
        (re.search(r"^\+\+\+ b/(.*)$", block, re.M)[1], re.split(r"^@@.*\n", block, flags=re.M)[1:])
        for block in blocks(page, "diff")
    ]


def patched(text: str, hunks: list[str]) -> str:
    """The text with each hunk applied where its old lines stand, which must be one place."""
    for hunk in hunks:
        lines = hunk.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if not line.startswith("+"))
        new = "".join(line[1:] for line in lines if not line.startswith("-"))
        assert text.count(old) == 1, f"these lines are not in one place:\n{old}"
        text = text.replace(old, new)
    return text


@pytest.mark.parametrize("guide", ["own-loss", "own-benchmark"])
def test_a_guide_followed_step_by_step_works(guide, tmp_path):
    """Its diffs apply, and the test that it adds passes."""
    for folder in ("workflow", "tests", "config"):
        shutil.copytree(HOME / folder, tmp_path / folder)
    for link in ("resources", "pyproject.toml", "Snakefile"):
        (tmp_path / link).symlink_to(HOME / link)
    page = HOME / f"docs/guides/{guide}.md"
    changed = patches(page)
    assert len(changed) <= 4
    for file, hunks in changed:
        path = tmp_path / file
        path.write_text(patched(path.read_text(encoding="utf-8"), hunks), encoding="utf-8")
    added = re.findall(r"^\+def (test_\w+)", "".join(blocks(page, "diff")), re.M)
    tests = [file for file, _ in changed if file.startswith("tests/")]
    assert len(added) == len(tests) == 1
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", f"{tests[0]}::{added[0]}"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]
    python = [file for file, _ in changed if file.endswith(".py")]
    for check in (["check"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *check, "--no-cache", *python]
        done = subprocess.run(ruff, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
