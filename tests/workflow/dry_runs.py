"""Many dry runs, each a real one, in the time of a few: `python dry_runs.py < commands.json`.

Most of a dry run's seconds go into importing Snakemake. Here one process does so, and forks a child
for each command line, so that none sees what another left behind. Printed is a list: for each
command the jobs that would run, by rule, or the error.
"""

import contextlib
import json
import multiprocessing
import os
import sys
import tempfile

from snakemake.cli import main


def jobs(output: str) -> dict[str, int]:
    """The jobs of each rule that a dry run lists."""
    if "Nothing to be done" in output:
        return {}
    rows = output.split("Job stats:")[1].split("\n\n")[0].strip().splitlines()[2:]
    found = {rule: int(count) for rule, count in map(str.split, rows)}
    assert found.pop("total") == sum(found.values())
    return found


def dry_run(arguments: list[str]) -> dict[str, int] | str:
    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            for name in [name for name in sys.modules if name.startswith("countclip")]:
                del sys.modules[name]  # the command may be about another checkout
            try:
                main([*arguments, "-n", "--nolock", "--quiet", "rules", "--cores", "1"])
            except SystemExit as end:
                failed = end.code
        file.seek(0)
        output = file.read()
        return output if failed else jobs(output)


if __name__ == "__main__":
    commands = json.load(sys.stdin)
    results = sys.stdout
    dry_run(commands[0])  # what Snakemake imports as it goes, all children inherit
    with multiprocessing.get_context("fork").Pool(os.cpu_count(), maxtasksperchild=1) as pool:
        json.dump(pool.map(dry_run, commands, chunksize=1), results)
