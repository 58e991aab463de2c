"""How heavy is the audit's page of 540 rows, and when does Chromium first paint it?

python perf/audit_page.py [--rounds 5]
"""

import argparse
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image

from common import HOME, report

sys.path.insert(0, str(HOME / "tests"))
import audits
from browser.conftest import open_chromium

PAINT = "return performance.getEntriesByName('first-contentful-paint')[0].startTime"
DOWN = (
    "const began = performance.now();"
    "for (let i = 0; i < 50; i += 1) move('ArrowRight');"
    "document.body.getBoundingClientRect(); return (performance.now() - began) / 50"
)


def photo(index: int, side: int = 500) -> bytes:
    """A picture about as hard to compress as a photo: soft noise."""
    noise = np.random.default_rng(index).integers(0, 255, (side // 8, side // 8, 3), np.uint8)
    return audits.png(Image.fromarray(noise).resize((side, side), Image.Resampling.BICUBIC))


parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
parser.add_argument("--rounds", type=int, default=5)
rounds = parser.parse_args().rounds
with TemporaryDirectory() as folder:
    rows = [audits.row(2 + index % 9, picture=photo(index)) for index in range(540)]
    audit = audits.Audit(Path(folder), rows)
    audit.repair()
    began = time.perf_counter()
    page = audit.render()
    seconds = time.perf_counter() - began
    megabytes = page.stat().st_size / 1e6
    paints, keys = [], []
    for turn in range(rounds):
        browser = open_chromium(Path(folder) / str(turn))  # nothing is warm
        browser.open(page)
        paints.append(browser.run(PAINT) / 1000)
        keys.append(browser.run(DOWN))
        browser.quit()
print(f"{megabytes:.1f} MB, mended and rendered in {seconds:.1f} s")
print(f"first contentful paint {', '.join(f'{paint:.2f}' for paint in paints)} s")
report(
    "audit_page",
    megabytes=megabytes,
    mend_and_render_seconds=seconds,
    first_paint_seconds=statistics.median(paints),
    key_milliseconds=statistics.median(keys),
)
