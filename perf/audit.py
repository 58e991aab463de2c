"""Does the audit of the real list find what is there, and as fast as its hosts allow?

A proxy answers for the 540 links of CountBench.json with planned faults of every kind and planned
delays (tests/internet.py). At 32 links at a time the time is compared with the necessary time of
the slowest host: what its own requests take under the limit per host. us.123rf.com has 81 of them.
"""

import argparse
import socket
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from common import HOME, SHARED, report
from countclip.benchmarks import audit, check_links, countbench, image_checks

sys.path.insert(0, str(HOME / "tests"))

import pandas as pd

from internet import Fate, host_of, internet, picture, plan

THREADS, PER_HOST, PAUSE, RETRIES = 32, 2, 0.2, 1
REQUEST = {"timeout": 3.0, "deadline": 20, "max_bytes": 10_000_000}
PICTURE = {
    "max_pixels": 50_000_000, "min_side": 32, "placeholder_urls": 3, "placeholder_distance": 2,
    "changed_distance": 8,
}  # fmt: skip


def found_of(
    list_path: str, fates: dict[str, Fate], folder: Path, pause: float = PAUSE
) -> tuple[pd.DataFrame, float]:
    """The audit's table with the planned status of each row, and the seconds that asking took."""
    answers, audit_csv = str(folder / "answers.parquet"), str(folder / "audit.csv")
    begin = time.perf_counter()
    with internet(fates, folder) as environment:
        check_links.check_links(
            list_path,
            answers,
            state=str(folder / "state"),
            environment=environment,
            request=REQUEST,
            threads=THREADS,
            per_host=PER_HOST,
            pause=pause,
            retries=RETRIES,
        )
        seconds = time.perf_counter() - begin
    lock = write_lock(fates, folder)
    audit.audit(
        list_json=list_path,
        answers_parquet=answers,
        audit_csv=audit_csv,
        images_parquet=str(folder / "images.parquet"),
        image_limits=PICTURE,
        lock_csv=lock,
    )
    table = pd.read_csv(audit_csv, keep_default_na=False)
    planned = table["url"].map(lambda url: fates[url].status)
    return table.assign(planned=planned.replace("re-encoded", "alive")), seconds


def write_lock(fates: dict[str, Fate], folder: Path) -> str:
    """A lock file of an earlier time, when the pictures were encoded better, or others."""
    lines = []
    for number, (url, fate) in enumerate(fates.items()):
        if fate.status in ("alive", "re-encoded", "changed"):
            body = picture(number + 10_000 if fate.status == "changed" else number)
            seen, _, _ = image_checks.examine(body, PICTURE["max_pixels"], PICTURE["min_side"])
            lines.append({"index": number, "url": url, **seen._asdict(), "date": "2023-02-01"})
    pd.DataFrame(lines, columns=list(audit.LOCK)).to_csv(folder / "lock.csv", index=False)
    return str(folder / "lock.csv")


def necessary(urls: list[str], fates: dict[str, Fate]) -> dict[str, float]:
    """Host -> the seconds that its requests take, PER_HOST at a time with a pause after each: never
    more than any order of them takes."""
    work, links = {}, {}
    for url in urls:
        fate, host = fates[url], host_of(url)
        attempts = 1 + RETRIES * (fate.status in ("server_error", "timeout"))
        one = REQUEST["timeout"] if fate.status == "timeout" else fate.delay
        work[host] = work.get(host, 0.0) + attempts * (one + PAUSE)
        links[host] = links.get(host, 0) + 1
    return {host: seconds / min(PER_HOST, links[host]) - PAUSE for host, seconds in work.items()}


def offline(list_path: str, folder: Path) -> dict[str, float]:
    """Seconds until the audit says that the machine is cut off, in two ways of being so."""
    seconds = {}
    with socket.create_server(("127.0.0.1", 0), backlog=64) as hole:  # nobody answers there
        ways = {"refused": 9, "black hole": hole.getsockname()[1]}
        for way, port in ways.items():
            proxy = f"http://127.0.0.1:{port}"
            begin = time.perf_counter()
            try:
                check_links.check_links(
                    list_path,
                    str(folder / "answers.parquet"),
                    state=str(folder / "state"),
                    environment={"http_proxy": proxy, "https_proxy": proxy},
                    request=REQUEST | {"timeout": 60.0, "deadline": 60},
                    threads=THREADS,
                    per_host=PER_HOST,
                    pause=PAUSE,
                    retries=RETRIES,
                )
            except check_links.OutageError:
                seconds[way] = time.perf_counter() - begin
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", default=str(SHARED / "countbench/CountBench.json"))
    parser.add_argument("--delay", type=float, default=0.4, help="mean seconds of an answer")
    options = parser.parse_args()
    urls = [row.url for row in countbench.load(options.list)]
    fates = plan(urls, delay=options.delay)
    with tempfile.TemporaryDirectory() as folder:
        table, seconds = found_of(options.list, fates, Path(folder))
        for way, until in offline(options.list, Path(folder)).items():
            print(f"offline ({way}): the audit stops after {until:.1f} s")
    print(pd.crosstab(table["planned"], table["status"]).to_string())
    least = necessary(urls, fates)
    host, links = Counter(map(host_of, urls)).most_common(1)[0]
    slowest = max(least, key=least.get)
    print(f"{len(urls)} links of {len(least)} hosts, {links} of them at {host}")
    print(f"{seconds:.1f} s; the slowest host, {slowest}, needs {least[slowest]:.1f} s")
    agreement = (table["planned"] == table["status"]).mean()
    report("audit", planned_found_agreement=agreement, time_ratio=seconds / least[slowest])


if __name__ == "__main__":
    main()
