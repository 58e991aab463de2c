"""Real Snakemake runs of the workflow, in folders of their own, with a tiny overlay."""

import atexit
import functools
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from countclip.settings import config_files
from kill import Forks

from .dry_runs import jobs, prepare_snakemake, run_snakemake

HOME = Path(__file__).parents[2]
DEFAULT = config_files.default()
KEPT = ("lambda1_sched", "modal_sched_plus")
ORDINAL = ("constant", "zero_shot_concepts", "numclip_exp")
READERS = ("zero_shot", "statements", "naive", "hard_both")

# The miniature made smaller still: what is tested is the workflow, not what a model learns.
TINY: dict[str, Any] = {
    "miniature": {"rows": 500},
    "training": {"epochs": 1},
    # Whoever answers at all does so by then, however busy the machine; the others cost it once.
    "countbench": {"request": {"timeout": 15, "retries": 0}},
    "wise_ft": {"alphas": [0.0, 0.5, 1.0]},
    "counting_sets": {"another": {}},  # no variant names it, so it is not made
    "figures": {"confusion": {"figure3": {"variants": ["modal_sched_plus"]}}},
    "variants": {name: None for name in DEFAULT["variants"] if name not in KEPT},
    "ordinal": {
        "sets": {"people": {"folds": {"count": 2}}},
        "methods": {name: None for name in DEFAULT["ordinal"]["methods"] if name not in ORDINAL},
        "training": {"steps": 2, "epochs": 1},
    },
    "soft_labels": {
        "pretraining": {
            "pairs": {"number": 200},
            "nets": {
                "small": {"steps": 2, "targets": ["hard", "objects"], "seeds": [1]},
                "large": None,
            },
            "training": {"evaluations": 1},
        },
    },
    "miniature_signs": {"train": 40, "validation": 12, "words": 4},
    "reading": {
        "variants": list(READERS),
        "seeds": [1],
        "training": {"batch_size": 16, "steps": 2, "evaluations": 1},
        "crops": {"views": ["centre", "grid_2"]},
        "panels": {"questions": 2},
    },
}


def warm_python() -> str:
    """Runs scripts in forks of a process that has their imports (tests/warm_python.py)."""
    return os.environ["COUNTCLIP_WARM_PYTHON"]


@functools.cache
def forks() -> Forks:
    """Snakemake, which takes longer to import than to plan: imported once for this process."""
    running = Forks(run_snakemake, prepare_snakemake)
    atexit.register(running.close)
    return running


def snakemake(
    *arguments: str, folder: Path | None = None, fails: bool = False, python: str | None = None
) -> str:
    """Run Snakemake in a folder, or here, and scripts by `python`; returns what it printed."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8", errors="replace") as output:
        run = arguments, str(folder or Path.cwd()), dict(os.environ), python or warm_python()
        forks().start(*run, output=output.name)
        failed, printed = bool(forks().exit_code()), output.read()
    if failed != fails:
        pytest.fail(f"snakemake {' '.join(arguments)}\n{printed[-8000:]}")
    return printed


def merged(base: Any, overlay: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(overlay, dict)):
        return overlay
    return base | {key: merged(base.get(key), value) for key, value in overlay.items()}


@dataclass
class Workflow:
    """The workflow in a working directory of its own."""

    folder: Path
    home: Path = HOME
    python: str | None = None  # of the scripts; else one that has their imports

    def __call__(
        self,
        *arguments: str,
        cores: int | None = 2,
        fails: bool = False,
        only: Sequence[Path] = (),
        **overlay: Any,
    ) -> str:
        """Run Snakemake with `overlay` over TINY (or with the files `only`) over the
        defaults; returns what it printed."""
        on = () if cores is None else ("--cores", str(cores))
        where = self.where(overlay, only)
        return snakemake(*arguments, *on, *where, fails=fails, python=self.python)

    def where(self, overlay: dict, only: Sequence[Path] = (), name: str = "overlay") -> list[str]:
        """The arguments that say which workflow runs where, with which config."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = self.folder / f"{name}.yaml"
        if not only:
            overlay = merged(TINY, overlay)
            config.write_text(yaml.safe_dump(overlay, sort_keys=False), encoding="utf-8")
        return [
            "--snakefile", str(self.home / "Snakefile"), "--directory", str(self.folder),
            "--configfile", *map(str, only or [config]),
        ]  # fmt: skip

    def plan(self, *targets: str, **overlay: Any) -> dict[str, int]:
        """The jobs of each rule that a dry run with `overlay` would run."""
        return jobs(self(*targets, "-n", "--quiet", "rules", cores=1, **overlay))

    def plans(
        self, overlays: dict[str, dict], file: str = "overlay"
    ) -> dict[str, dict[str, int] | str]:
        """The same of `all` with each overlay, many times as fast; an error where there is one.
        The overlays become files of this name and a number."""
        commands = [
            self.where(overlay, name=f"{file}{number}")
            for number, overlay in enumerate(overlays.values())
        ]
        return dict(zip(overlays, dry_runs(commands), strict=True))

    def copy(self, folder: Path, copy_function: Callable = shutil.copy2) -> "Workflow":
        """A copy of the checkout with its run. Of Snakemake's files only the metadata go along:
        locks and logs may vanish while they are copied, as another process runs in the original."""

        def left_out(place: str, names: list[str]) -> set[str]:
            return set(names) - {"metadata"} if Path(place).name == ".snakemake" else set()

        shutil.copytree(self.home, folder, ignore=left_out, copy_function=copy_function)
        return Workflow(folder / self.folder.relative_to(self.home), folder)

    def edited(self, modules: Iterable[Path], folder: Path) -> "Workflow":
        """A copy, of hard links, in which each of `modules` ends with a comment."""
        copy = self.copy(folder, os.link)
        for module in modules:
            text = module.read_text(encoding="utf-8")
            edited = folder / module.relative_to(self.home)
            edited.unlink()  # it is a link to the original
            edited.write_text(f"{text}# edited\n", encoding="utf-8")
        return copy


def dry_runs(
    commands: list[list[str]], targets: Sequence[str] = ("all",)
) -> list[dict[str, int] | str]:
    """What each command line would run, with these targets first: jobs by rule, or the error."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("dry_runs.py"))], check=False,
        input=json.dumps([[*targets, *command] for command in commands]),
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        pytest.fail(done.stderr[-8000:])
    return json.loads(done.stdout)


def checkout(home: Path) -> Path:
    """A copy of what the workflow consists of, at `home`."""
    home.mkdir(parents=True)
    for name in ("Snakefile", "environment.yml", "config", "profiles", "resources", "workflow"):
        copy = shutil.copytree if (HOME / name).is_dir() else shutil.copy
        copy(HOME / name, home / name)
    return home


def finish(home: Path) -> None:
    """A whole run of the tiny workflow with two cores, in a checkout of its own at `home`."""
    Workflow(checkout(home) / "runs/tiny", home)("all")
