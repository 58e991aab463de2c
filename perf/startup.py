"""Start-up of the jobs: CPU seconds of their imports, beside the import of torch alone.

python perf/startup.py [--rounds 5]
"""

import argparse
import statistics

import common

TABLES = ("report.table1", "report.ablations", "report.retention", "report.run_page")
MODELS = ("training.counting", "evaluation.counting", "evaluation.retention", "evaluation.wise_ft")
CLOCK = "import time\nimport {name}\nprint(time.process_time())"


def seconds(name: str) -> float:
    """CPU seconds of a process that imports a module and ends."""
    return float(common.run(CLOCK.format(name=name))[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = range(parser.parse_args().rounds)
    names = ["torch", *(f"countclip.{name}" for name in (*TABLES, *MODELS))]
    taken = {name: [] for name in names}
    for _ in rounds:  # in turn, so that other load falls on all
        for name in names:
            taken[name].append(seconds(name))
    median = {name: statistics.median(values) for name, values in taken.items()}
    torch = median["torch"]
    for name, value in median.items():
        print(f"{name:32} {value:5.2f} CPU s  {value / torch:5.2f} x torch")
    tables = max(median[f"countclip.{name}"] for name in TABLES)
    models = max(median[f"countclip.{name}"] for name in MODELS)
    print(f"tables: at most 1.5 s; models: at most {1.5 * torch + 1:.2f} s")
    common.report("startup", tables_s=tables, training_ratio=(models - 1) / torch)


if __name__ == "__main__":
    main()
