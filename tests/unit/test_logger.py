"""The lines of a run: real Snakemake runs of small workflows, and a table in a terminal."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from countclip.report import terminal

HOME = Path(__file__).parents[2]
sys.path.append(str(HOME / "workflow/logger"))

from snakemake_logger_plugin_stages import causes, estimate  # noqa: E402

RULES = """
rule all:
    input: expand("results/{name}.txt", name=["ant", "bee"]), "results/sum.txt"

rule count:
    output: "results/{name}.txt"
    log: "logs/count/{name}.log"
    script: "count.py"

rule add:
    input: expand("results/{name}.txt", name=["ant", "bee"])
    output: "results/sum.txt"
    log: "logs/add.log"
    shell: "cat {input} > {output}"
"""
GOOD = "import sys\nprint('chatter', file=sys.stderr)\nopen(snakemake.output[0], 'w').write('1')\n"
BAD = """import sys
sys.stderr = open(snakemake.log[0], "w", buffering=1)
if snakemake.wildcards.name == "bee":
    raise ValueError("bees.csv, row 7: no \\x1b[31mlegs; write how many")
open(snakemake.output[0], "w").write("1")
"""
DEAD = "import os\nos.kill(os.getpid(), 9)\n"
EARLY = "import no_such_module\n"


def command(folder: Path, *arguments: str) -> dict:
    return {
        "args": [
            *(sys.executable, "-m", "snakemake", "--logger", "stages", "--cores", "2"),
            *("--keep-going", "--directory", str(folder), "--snakefile", str(folder / "Snakefile")),
            *arguments,
        ],
        "env": {**os.environ, "PYTHONPATH": str(HOME / "workflow/logger")},
        "text": True,
        "cwd": folder,
    }


def run(folder: Path, script: str, *arguments: str) -> tuple[int, str]:
    """The status and all output of a run whose jobs are `script`."""
    (folder / "Snakefile").write_text(RULES)
    if not (folder / "count.py").exists():  # a newer script runs again
        (folder / "count.py").write_text(script)
    done = subprocess.run(
        **command(folder, *arguments),
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


def test_a_run_says_start_and_end_of_each_stage_and_again_that_all_is_there(tmp_path):
    status, text = run(tmp_path, GOOD)
    assert status == 0, text
    head, *lines, end = text.splitlines()
    assert head.startswith("3 jobs in 2 stages on 2 cores")
    kinds = [line.split("] ")[1].split()[:2] for line in lines]
    assert kinds == [["start", "count"], ["done", "count"], ["start", "add"], ["done", "add"]]
    assert "2 jobs in" in lines[1]
    assert "next add" in lines[1]
    assert end.startswith("All done: 3 jobs in")
    assert "chatter" not in text
    assert (tmp_path / "logs/console.log").read_text().count("chatter") == 2
    status, text = run(tmp_path, GOOD)
    assert (status, text) == (0, "Everything is there, and nothing has changed: no job to run.\n")


@pytest.mark.parametrize(
    ("script", "words", "log", "failed"),
    [
        (BAD, "ValueError: bees.csv, row 7: no  [31mlegs; write how many", "logs/count/bee.log", 1),
        (DEAD, "ended from outside", "logs/", 2),
        (EARLY, "ModuleNotFoundError: No module named 'no_such_module'", "logs/console.log", 2),
    ],
)
def test_a_failed_job_says_what_where_and_what_next(tmp_path, script, words, log, failed):
    status, text = run(tmp_path, script)
    assert status == 1, text
    assert text.count(" FAILED ") == failed
    assert "count (name=bee)" in text
    assert words in text
    assert f"log: {log}" in text
    assert "give the same command again" in text
    assert f"failed, {2 - failed} of 3 done, 1 did not start" in text
    assert "Traceback" not in text
    assert "\x1b" not in text
    assert len(text.splitlines()) < 18


def test_a_stopped_run_says_so(tmp_path):
    (tmp_path / "Snakefile").write_text(RULES)
    (tmp_path / "count.py").write_text("import time\nopen('begun', 'w')\ntime.sleep(60)\n")
    process = subprocess.Popen(
        **command(tmp_path), stderr=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    while not (tmp_path / "begun").exists() and process.poll() is None:
        time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)
    _, text = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Stopped: 0 of 3 jobs done. The same command goes on from there." in text
    assert "Traceback" not in text
    assert "FAILED" not in text


@pytest.mark.parametrize("arguments", [("-n",), ("-n", "--quiet", "rules"), ("--list-rules",)])
def test_what_runs_nothing_looks_as_without_the_logger(tmp_path, arguments):
    _, text = run(tmp_path, GOOD, *arguments)
    assert "add" in text
    if "-n" in arguments:
        assert "Job stats:" in text
        assert "This was a dry-run" in text


def test_the_cause_is_the_last_exception_of_that_script():
    log = (
        'Traceback (most recent call last):\n  File "x.one.py", line 1\nOSError: first\n'
        'Traceback (most recent call last):\n  File "x.two.py", line 1\nKeyError: second\n'
        "and how to mend it\n12:00:00 two INFO more\n"
    )
    assert causes.exception(log) == ["KeyError: second", "and how to mend it"]
    assert causes.exception(log, ".one.py") == ["OSError: first"]
    assert causes.exception("step 3\nstep 4\n") == []


def test_the_message_of_a_job_is_its_cause_whole_and_without_its_class(tmp_path):
    said = "the list did not arrive: this machine seems to be offline; " + "restore it, or " * 40
    log = tmp_path / "fetch.log"
    log.write_text(
        "11:59:59 fetch ERROR an earlier one\nTraceback (most recent call last):\n"
        f'  File "a.py", line 1\nsome.module.DownloadError: {said}\n'
        f"12:00:00 fetch ERROR {said}name a file\n  line 3: no number\n"
    )
    words = causes.explanation([str(log)], "fetch", 0, 0, "")
    assert words == (str(log), [f"{said}name a file", "line 3: no number"])
    assert causes.short(["two words " * 500])[0].endswith((" words ...", " two ..."))


def test_jobs_that_wait_share_the_cores():
    assert estimate.remaining([], [30.0] * 3, 2) == 60
    assert estimate.remaining([10.0, -5.0], [30.0], 2) == 30
    assert estimate.remaining([10.0], [30.0], 1) == 40
    texts = [estimate.rough(seconds) for seconds in (3, 44, 95, 7200, 36000)]
    assert texts == ["10 s", "40 s", "2 min", "2 h", "10 h"]


@pytest.mark.parametrize(("width", "columns"), [(80, 2), (60, 1), (140, 3)])
def test_a_table_fits_the_terminal(width, columns, tmp_path, monkeypatch, capsys):
    def cell(text, interval="", best=False):
        return {"text": text, "range": interval, "best": best}

    accuracy = cell("45.06", "[40.78, 49.42]", True)
    row = [cell("a variant with quite a long label, λ and all"), accuracy, accuracy, accuracy]
    headers = ["Configuration", "Accuracy, end (%)", "Accuracy, best (%)", "Accuracy, selected (%)"]
    sheet = {"title": "Accuracy " * 20, "headers": headers, "rows": [row], "notes": []}
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    Path("results/table1.json").write_text(json.dumps([sheet]))
    Path("results/report.html").touch()
    shown = terminal.lines(sheet, width)
    assert max(map(len, shown)) <= width
    assert "\n".join(shown).count("45.06 [40.78, 49.42] *") == columns
    found = "\n".join(terminal.where_next())
    assert "make run TARGET=results/countbench/audit.html" in found
    assert "TARGET=results/report.html" not in found
