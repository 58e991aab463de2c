"""How long a run still takes: the cost of each rule, and jobs that share the cores."""

import heapq
import sys
from pathlib import Path

from snakemake.common.configfile import load_configfile
from snakemake.utils import update_config

HOME = Path(__file__).resolve().parents[3]


def rule_seconds(overlays: list[str], folder: Path) -> dict[str, float]:
    """Rule -> seconds of a job; nothing where the config cannot be read.

    overlays: config files, laid over the default in their order, as seen from `folder`.
    """
    sys.path.append(str(HOME / "workflow/scripts"))
    from countclip.settings import config_files, plan

    try:
        config = config_files.default()
        for file in overlays:
            if (folder / file) not in config_files.DEFAULTS:
                update_config(config, load_configfile(str(folder / file)))
        earlier = Path("results/costs") / config["scale"]
        costs = plan.job_costs(config, earlier, HOME / "resources/costs.csv")
    except Exception:  # a run without an estimate is better than none
        return {}
    return {rule: cost.seconds for rule, cost in costs.items()}


def remaining(running: list[float], waiting: list[float], slots: int) -> float:
    """Seconds until jobs end that share `slots` cores.

    running: seconds that each running job still takes, negative if it is late. waiting: seconds of
        each other job, in the order of their start. They wait for a free core and not for their
        inputs, so the result is rather too small.
    """
    ends = [max(0.0, seconds) for seconds in running]
    ends += [0.0] * (slots - len(ends))
    heapq.heapify(ends)
    for seconds in waiting:
        heapq.heapreplace(ends, ends[0] + seconds)
    return max(ends)


def rough(seconds: float) -> str:
    """Seconds in the precision of an estimate."""
    if seconds < 50:
        return f"{max(10, 10 * round(seconds / 10))} s"
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 90 else f"{round(minutes / 60)} h"
