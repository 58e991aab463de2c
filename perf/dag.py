"""How long Snakemake plans: the paper's config with 32 parts and five seeds, and a run that has
nothing to do. `python perf/dag.py`; five runs each, the median is what counts."""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

from common import HOME, report

TINY = {
    "miniature": {"rows": 500},
    "training": {"epochs": 1},
    "variants": dict.fromkeys(
        list(yaml.safe_load((HOME / "config/config.yaml").read_text(encoding="utf-8"))["variants"])[
            1:
        ]
    ),
    "figures": {"confusion": {"figure3": {"variants": []}}},
}
LARGE = {"laion": {"parts": [f"part-{part:05}" for part in range(32)]}, "seeds": [1, 2, 3, 4, 5]}


def snakemake(folder: Path, *arguments: str) -> float:
    """Seconds of one call in a working directory."""
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(HOME / "Snakefile")]
    begin = time.perf_counter()
    subprocess.run(
        [*command, "--directory", str(folder), *arguments], check=True, capture_output=True
    )
    return time.perf_counter() - begin


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        overlays = {}
        for title, overlay in (("tiny", TINY), ("large", LARGE)):
            overlays[title] = folder / f"{title}.yaml"
            overlays[title].write_text(yaml.safe_dump(overlay), encoding="utf-8")
        paper = ("--configfile", str(HOME / "config/paper.yaml"), str(overlays["large"]))
        tiny = ("all", "--configfile", str(overlays["tiny"]), "--cores", "2")
        print(f"a small run first: {snakemake(folder / 'run', *tiny):.0f} s")
        seconds = {"paper_plan_s": [], "noop_s": []}
        for _ in range(5):
            plan = snakemake(folder / "paper", "all", "-n", "--quiet", "rules", *paper)
            seconds["paper_plan_s"].append(plan)
            seconds["noop_s"].append(snakemake(folder / "run", *tiny))
    for title, times in seconds.items():
        print(title, *(f"{value:.2f}" for value in times))
    report("dag", **{title: statistics.median(times) for title, times in seconds.items()})


if __name__ == "__main__":
    main()
