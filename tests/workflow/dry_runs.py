"""Many dry runs, each a real one, in the time of a few: `python dry_runs.py < commands.json`.

Most of a dry run's seconds go into importing Snakemake. Here one process does so, and forks a child
for each command line, so that none sees what another left behind. Printed is a list: for each
command the jobs that would run, by rule, or the error.
"""

import contextlib
import functools
import gc
import hashlib
import io
import json
import multiprocessing
import os
import pickle
import sys
import tempfile
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection, wait
from pathlib import Path

import yaml


def read_quickly() -> None:
    """Parse each Snakefile once, and YAML by libyaml: a third of a run's time."""
    import snakemake.cli  # before `snakemake.workflow`, which it imports in the order that works
    import snakemake.workflow

    for name in ("FullLoader", "SafeLoader"):
        setattr(yaml, name, getattr(yaml, f"C{name}", getattr(yaml, name)))
    parsed = {}

    def parse(path, workflow, linemap, rulecount, plain=snakemake.workflow.parse):
        file = path.get_path_or_uri(secret_free=True)
        place = file, os.stat(file).st_mtime_ns, rulecount
        if place not in parsed:
            lines = {}
            parsed[place] = *plain(path, workflow, linemap=lines, rulecount=rulecount), lines
        code, count, lines = parsed[place]
        linemap |= lines
        return code, count

    snakemake.workflow.parse = parse
    snakemake.workflow.compile = functools.cache(compile)


def be_quick() -> None:
    """Also read and hash each file once, and collect no garbage.

    Together that is three quarters of the time. A dry run changes no file.
    """
    import snakemake.io
    import yte
    from snakemake.persistence.file import FilePersistence

    read_quickly()
    gc.disable()  # a run is short; what is imported would be looked through again and again
    snakemake.io._IOFile.is_storage = False  # it asks thousands of times
    hashed, loaded, records = {}, {}, {}

    def file_digest(file, algorithm, plain=hashlib.file_digest):
        if isinstance(file, io.BytesIO):
            return plain(file, algorithm)
        status = os.fstat(file.fileno())
        content = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, algorithm
        if content not in hashed:
            hashed[content] = plain(file, algorithm)
        return hashed[content]

    def process_yaml(file, plain=yte.process_yaml, **options):
        text = file.read()
        if text not in loaded:
            loaded[text] = pickle.dumps(plain(text, **options))
        return pickle.loads(loaded[text])

    def read_record(self, key, plain=FilePersistence._read_record):
        place = self._metadata_path, key
        if place not in records:
            records[place] = plain(self, key)
        return records[place]

    FilePersistence._read_record = read_record
    hashlib.file_digest = file_digest
    yte.process_yaml = process_yaml


def jobs(output: str) -> dict[str, int]:
    """The jobs of each rule that a dry run lists."""
    if "Nothing to be done" in output:
        return {}
    rows = output.split("Job stats:")[1].split("\n\n")[0].strip().splitlines()[2:]
    found = {rule: int(count) for rule, count in map(str.split, rows)}
    assert found.pop("total") == sum(found.values())
    return found


def prepare_snakemake() -> None:
    """Import, and read of this checkout, what a run imports and reads as it goes."""
    read_quickly()
    home = Path(__file__).parents[2]
    ours = [home / folder for folder in ("tests", "perf", "workflow/scripts")]
    others = [path for path in sys.path if not any(map(Path(path).is_relative_to, ours))]
    with tempfile.TemporaryDirectory() as folder:
        where = ["--snakefile", str(home / "Snakefile"), "--directory", folder]
        assert dry_run(["results/paper.md", *where]) == {"make_paper": 1}
    sys.path[:] = others


def run_snakemake(
    arguments: Sequence[str], folder: str, environment: dict[str, str], python: str
) -> None:
    """`snakemake arguments`, in a process that has imported it; `python` runs scripts."""
    from snakemake.cli import main

    sys.executable = python

    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["snakemake", *arguments]
    forget_other(arguments)
    main(list(arguments))


def forget_other(arguments: Sequence[str]) -> None:
    """Drop the modules of another checkout; those of this one have read its files already."""
    given = "--snakefile" in arguments and arguments[arguments.index("--snakefile") + 1]
    checkout = Path(given or "Snakefile").resolve().parent
    ours = [name for name in sys.modules if name.partition(".")[0] == "countclip"]
    files = [file for name in ours if (file := sys.modules[name].__file__)]
    if any(checkout not in Path(file).resolve().parents for file in files):
        for name in ours:
            del sys.modules[name]


def dry_run(arguments: list[str]) -> dict[str, int] | str:
    from snakemake.cli import main

    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            forget_other(arguments)
            try:
                main([*arguments, "-n", "--nolock", "--quiet", "rules", "--cores", "1"])
            except SystemExit as end:
                failed = end.code
        file.seek(0)
        output = file.read()
        return output if failed else jobs(output)


def send_dry_run(to: Connection, arguments: list[str]) -> None:
    to.send(dry_run(arguments))


def each_in_a_child(commands: list[list[str]]) -> Iterator[tuple[int, dict[str, int] | str]]:
    """Place and result of each command, a few at a time, in the order in which they end.

    Not by a pool: that forks while threads of its own run, and a child then waits for ever for
    what one of them just held.
    """
    fork, places = multiprocessing.get_context("fork"), {}
    for place, arguments in enumerate(commands):
        if len(places) == os.cpu_count():
            yield from received(places)
        here, there = fork.Pipe(duplex=False)
        fork.Process(target=send_dry_run, args=(there, arguments), daemon=True).start()
        there.close()
        places[here] = place
    while places:
        yield from received(places)


def received(places: dict[Connection, int]) -> Iterator[tuple[int, dict[str, int] | str]]:
    """What has come of those that are under way; EOFError of one that died."""
    ready = wait(places, timeout=300)
    if not ready:
        raise TimeoutError(f"no dry run of the places {sorted(places.values())} ended in 300 s")
    for connection in ready:
        yield places.pop(connection), connection.recv()


if __name__ == "__main__":
    commands = json.load(sys.stdin)
    be_quick()
    dry_run(commands[0])  # what Snakemake imports as it goes, all children inherit
    results = dict(each_in_a_child(commands))
    json.dump([results[place] for place in range(len(commands))], sys.stdout)
