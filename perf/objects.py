"""Objects of real captions on two cores, and the mentions of millions of them in bounded memory."""

import argparse
import tempfile

from common import SHARED, report, run

PARSER = """
import sys, time
from concurrent.futures import ProcessPoolExecutor
from countclip.data.objects import Objects
from countclip.experiments.soft_labels.caption_sets import CaptionSet, files_of, read_captions
def parse(captions):
    objects = Objects()
    objects("a first caption")
    start = time.process_time()
    for caption in captions:
        objects(caption)
    return time.process_time() - start
paths = CaptionSet(tuple(sys.argv[1:]))
batches = [one for file in files_of(paths) for one in read_captions(file, paths)]
texts = [text for batch in batches for text in batch.texts]
with ProcessPoolExecutor(2) as pool:
    print(len(texts), max(pool.map(parse, (texts[::2], texts[1::2]))))
"""

MENTIONS = """
import sys, time
from collections import Counter
import numpy as np
from countclip.experiments.soft_labels.object_counts import Store, write_objects
folder, millions = sys.argv[1], int(sys.argv[2])
rng, store = np.random.default_rng(0), Store(folder + "/store")
start, size = time.perf_counter(), 200_000
for batch in range(millions * 1_000_000 // size):
    ranks = np.floor(2_000_000 * rng.random(size) ** 2.5).astype(int)  # a long tail
    store.add(f"{batch:06}", {"phrases": Counter(f"object number {rank}" for rank in ranks)}, {})
found = write_objects(store, "phrases", folder + "/objects.parquet")
print(time.perf_counter() - start, found["mentions"], found["objects"])
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--millions", type=int, default=20, help="mentions that are counted")
    millions = parser.parse_args().millions
    laion = SHARED / "laion"
    files = [str(laion / "laion400m_rows.parquet"), str(laion / "img2dataset_test_10000.parquet")]
    output, _ = run(PARSER, *files)
    captions, seconds = map(float, output.split())
    print(f"{captions:,.0f} captions: {captions / seconds:,.0f} a CPU second by two processes")
    with tempfile.TemporaryDirectory() as folder:
        output, peak = run(MENTIONS, folder, str(millions))
    counting, mentions, objects = map(float, output.split())
    print(f"{mentions:,.0f} mentions of {objects:,.0f} objects: {counting:.0f} s, {peak:.0f} MB")
    report(
        "objects", captions_per_second=captions / seconds, mentions=mentions, objects=objects,
        counting_seconds=counting, counting_mb=peak,
    )  # fmt: skip


if __name__ == "__main__":
    main()
