"""What the comparisons share: sides measured in turn, peak memory, and the last line as JSON."""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

HOME = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("COUNTCLIP_SHARED", HOME.parent / "shared")) / "data"
"""Real data beside the checkout, as in the tests."""

sys.path.insert(0, str(HOME / "workflow" / "scripts"))


_PEAK = "peak memory in kB: "


def in_turn(sides: dict[str, Callable[[], object]], rounds: int = 3) -> dict[str, float]:
    """Median seconds of each side, measured in turn so that other load falls on all of them."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times) for name, times in seconds.items()}


def run(code: str, *arguments: str) -> tuple[str, float]:
    """Run Python code in a process of its own: what it printed, and its peak memory in MB (RSS).

    The code sees the package and perf/; `arguments` are its sys.argv[1:].
    """
    paths = [str(HOME / "workflow" / "scripts"), str(HOME / "perf")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    # Not ru_maxrss: a child inherits that of its parent.
    last = f"print({_PEAK!r} + open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    command = [sys.executable, "-c", f"{code}\n{last}", *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment, check=True)
    output, _, peak = done.stdout.rpartition(_PEAK)
    return output, int(peak) / 1024


def report(name: str, **figures: float) -> None:
    """Print the last line: the figures as JSON."""
    rounded = {key: float(f"{value:.4g}") for key, value in figures.items()}
    print(json.dumps({"name": name, **rounded}), flush=True)
