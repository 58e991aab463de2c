"""The filter on a part as large as LAION's, beside the procedure as published and a bare decode.

The part is made of real captions and addresses (tests/real says where they lie): rows drawn with
replacement, number words as frequent as in LAION, a number put into each address so that no two
are alike.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from common import SHARED, report, run

SCHEMA = pa.schema(
    {
        "SAMPLE_ID": pa.float64(),
        "URL": pa.string(),
        "TEXT": pa.string(),
        "HEIGHT": pa.float64(),
        "WIDTH": pa.float64(),
        "LICENSE": pa.string(),
        "NSFW": pa.string(),
        "similarity": pa.float64(),
    }
)
GROUP = 1_000_000
ENRICHED = 2_082  # rows of the authors' own counting list, which they found among 2 M
SCANNED = 2_000_000

# Libraries are loaded before the clock starts, on all sides (pyarrow loads pandas by itself).
FILTER = """
import sys, time
import pandas
from countclip.data import filtering
part, folder = sys.argv[1:]
start = time.perf_counter()
filtering.filter_part(
    part=part, candidates=folder + "/candidates.parquet", counts=folder + "/counts.json",
    state=folder + "/state",
    threads=2, several="largest", non_counting_ratio=1.0, seed=0, nsfw_drop=["NSFW", "UNSURE"],
    similarity_min=None, min_side=None,
)
print(time.perf_counter() - start)
"""

DECODE = """
import sys, time
import pyarrow as pa, pyarrow.parquet as pq
pa.set_cpu_count(2)
start = time.perf_counter()
with pq.ParquetFile(sys.argv[1]) as file:
    for group in range(file.num_row_groups):
        file.read_row_group(group, columns=["URL", "TEXT"])
print(time.perf_counter() - start)
"""

# As the paper and its notebooks describe it, written anew: every column in memory, then a loop over
# the rows that tries image endings on the address and looks for a number word in the caption.
PUBLISHED = """
import re, sys, time
import pandas as pd
start = time.perf_counter()
table = pd.read_parquet(sys.argv[1])
endings = [".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tiff", ".svg", ".ico", ".jfif"]
words = re.compile(r"\\b(two|three|four|five|six|seven|eight|nine|ten)\\b", re.IGNORECASE)
found = []
for url, text in zip(table["URL"], table["TEXT"]):
    for ending in endings:
        if ending in url and (numbers := words.findall(text)):
            found.append((url[: url.index(ending) + len(ending)], text, numbers))
print(time.perf_counter() - start)
"""


def build(path: Path, rows: int, seed: int = 0) -> None:
    """Write a part of so many rows, in LAION-400M's schema and row groups."""
    real = pq.read_table(SHARED / "laion/laion400m_rows.parquet")
    other = pq.read_table(SHARED / "laion/img2dataset_test_10000.parquet")
    urls = [url.rpartition(".") for url in (real["URL"].to_pylist() + other["URL"].to_pylist())]
    heads, tails = pa.array([u[0] for u in urls]), pa.array([u[1] + u[2] for u in urls])
    texts = pa.chunked_array([*real["TEXT"].chunks, *other["TEXT"].chunks]).combine_chunks()
    counting = np.array(real["source_file"].to_pylist() + [""] * len(other)) == "counting"
    assert counting.sum() == ENRICHED
    weights = np.where(counting, 1 / SCANNED, (1 - ENRICHED / SCANNED) / (~counting).sum())
    rng = np.random.default_rng(seed)
    # Only what repeats in LAION too is a dictionary: captions drawn twice must not shrink the file.
    with pq.ParquetWriter(
        path, SCHEMA, compression="snappy", use_dictionary=["LICENSE", "NSFW"]
    ) as writer:
        for start in range(0, rows, GROUP):
            n = min(GROUP, rows - start)
            rows_drawn = pa.array(rng.choice(len(texts), n, p=weights))
            number = pa.array(rng.integers(10**7, 10**8, n)).cast(pa.string())
            verdicts = rng.choice(["UNLIKELY", "UNSURE", "NSFW"], n, p=[0.93, 0.05, 0.02])
            columns = {
                "SAMPLE_ID": rng.integers(0, 2**42, n).astype(float),
                "URL": pc.binary_join_element_wise(
                    heads.take(rows_drawn), number, tails.take(rows_drawn), ""
                ),
                "TEXT": texts.take(rows_drawn),
                "HEIGHT": rng.integers(64, 2000, n).astype(float),
                "WIDTH": rng.integers(64, 2000, n).astype(float),
                "LICENSE": pa.array(["?"] * n),
                "NSFW": pa.array(verdicts),
                "similarity": rng.uniform(0.3, 0.45, n),
            }
            writer.write_table(pa.table(columns, SCHEMA), row_group_size=GROUP)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=13_000_000)
    parser.add_argument("--published-rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--part", type=Path, help="made there if missing, and kept")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="countclip-filter-") as folder:
        part, few = options.part or Path(folder, "part.parquet"), Path(folder, "few.parquet")
        if not part.exists():
            build(part, options.rows)
        build(few, options.published_rows, seed=1)
        rows, megabytes = pq.read_metadata(part).num_rows, part.stat().st_size / 1e6
        print(f"part: {rows / 1e6:.1f} M rows, {megabytes:.0f} MB", flush=True)
        sides = {
            "filter": (FILTER, part, rows),
            "decode": (DECODE, part, rows),
            "published": (PUBLISHED, few, options.published_rows),
        }
        rates: dict[str, list[float]] = {name: [] for name in sides}
        peaks: dict[str, float] = {}
        for _ in range(options.rounds):
            for name, (code, path, n) in sides.items():  # in turn: other load falls on all
                seconds, peak = run(code, str(path), folder)
                rates[name].append(n / float(seconds))
                peaks[name] = max(peak, peaks.get(name, 0))
        for name, values in rates.items():
            shown = ", ".join(f"{value / 1e6:.2f}" for value in values)
            print(f"{name}: {shown} M rows/s, peak {peaks[name]:.0f} MB")
        print((Path(folder) / "counts.json").read_text())
    rate = {name: statistics.median(values) for name, values in rates.items()}
    report(
        "filter",
        ratio_published=rate["filter"] / rate["published"],
        ratio_limit=rate["filter"] / rate["decode"],
        peak_mb=peaks["filter"],
    )


if __name__ == "__main__":
    main()
