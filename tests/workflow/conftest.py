"""Real Snakemake runs of the workflow, in folders of their own, with a tiny overlay."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

HOME = Path(__file__).parents[2]
DEFAULT = yaml.safe_load((HOME / "config/config.yaml").read_text(encoding="utf-8"))
KEPT = ("lambda1_sched", "modal_sched_plus")

# The miniature made smaller still: what is tested is the workflow, not what a model learns.
TINY: dict[str, Any] = {
    "miniature": {"rows": 500},
    "training": {"epochs": 1},
    "countbench": {"request": {"timeout": 2, "retries": 0}},
    "figures": {"confusion": {"figure3": {"variants": ["modal_sched_plus"]}}},
    "variants": {name: None for name in DEFAULT["variants"] if name not in KEPT},
}


def merged(base: Any, overlay: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(overlay, dict)):
        return overlay
    return base | {key: merged(base.get(key), value) for key, value in overlay.items()}


@dataclass
class Workflow:
    """The workflow in a working directory of its own."""

    folder: Path

    def __call__(
        self,
        *arguments: str,
        cores: int = 2,
        fails: bool = False,
        only: Path | None = None,
        **overlay: Any,
    ) -> str:
        """Run Snakemake with `overlay` over TINY (or with the file `only`) over the defaults;
        returns what it printed."""
        self.folder.mkdir(parents=True, exist_ok=True)
        config = only or self.folder / "overlay.yaml"
        if only is None:
            overlay = merged(TINY, overlay)
            config.write_text(yaml.safe_dump(overlay, sort_keys=False), encoding="utf-8")
        command = [
            sys.executable, "-m", "snakemake", "--snakefile", str(HOME / "Snakefile"),
            "--directory", str(self.folder), "--cores", str(cores), *arguments,
            "--configfile", str(config),
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        output = done.stdout + done.stderr
        if bool(done.returncode) != fails:
            pytest.fail(f"{' '.join(command)}\n{output[-8000:]}")
        return output

    def plan(self, *targets: str, **overlay: Any) -> dict[str, int]:
        """The jobs of each rule that a dry run with `overlay` would run."""
        output = self(*targets, "-n", "--quiet", "rules", cores=1, **overlay)
        if "Nothing to be done" in output:
            return {}
        rows = output.split("Job stats:")[1].split("\n\n")[0].strip().splitlines()[2:]
        jobs = {rule: int(count) for rule, count in map(str.split, rows)}
        assert jobs.pop("total") == sum(jobs.values())
        return jobs


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Workflow:
    """The tiny workflow after a whole run with two cores."""
    workflow = Workflow(tmp_path_factory.mktemp("finished"))
    workflow("all")
    return workflow
