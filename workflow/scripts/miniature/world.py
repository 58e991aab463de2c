"""The miniature's world: a LAION-like table, a benchmark, and the answer of each address.

Everything follows from a seed, except the benchmark, which never changes: the committed repairs and
their images belong to it. Captions are as varied as real ones, and addresses fail like real ones.
The faults are planned, so every run has the same.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from countclip.data.number_words import NUMBERS, WORDS, find
from countclip.runtime.files import sha256, write_json, write_table, write_text
from countclip.runtime.provenance import modules
from miniature import server
from miniature.scenes import CLASSES, COLOURS, PATTERNS, Scene, make, plural

COUNTED = (
    "{number} {things}",
    "{number} {things} on a {pattern} background",
    "a picture of {number} {things}",
    "set of {number} {things}",
    "drawing with {number} {things}",
    "{number} small {things}, clip art",
    "{number} {things} isolated on a {pattern} ground",
    "there are {number} {things} here",
)
UNCOUNTED = (
    "{things}",
    "{things} on a {pattern} background",
    "a picture of {things}",
    "set of {things}",
    "drawing with {things}",
    "small {things}, clip art",
    "{things} isolated on a {pattern} ground",
    "there are {things} here",
)
# Like real captions, these shout, hyphenate and contain markup; all name the correct number.
WILD_COUNTED = (
    "{Number}-pack of {things}",
    "{NUMBER} {THINGS}!!! FREE SHIPPING",
    "{Number} {Things} - Vector Clip Art",
    "<b>{number}</b> {things} &amp; more | shop",
    "✨ {number} {things} ✨ 😍",
    "Bachblüten: {number} {things}",
    "{things} ({number})",
    "often seen: {number} {things} for a kitten",
    "Seventy years old, the fourth print: {number} {things}",
    "{number} {things}, {number} of them {colour}",
    "{things}\x07 -- {number}\ufffd {things} \u200bprint",
)
WILD_UNCOUNTED = (
    "Seventy years of {things}",
    "the fourth print of {things}",
    "often {colour}, always {things}",
    "kitten with {things}",
    "Bachblüten und {things}",
    "nineteen {things}? {pattern} wallpaper",
    '<a href="http://shop.miniature.example/">{things}</a> &lt;script&gt;alert(1)&lt;/script&gt;',
    "🎉🎉 {THINGS} 🎉🎉",
    "{things} \ufffd\ufffd {pattern}",
    "\x00\x1b[31m{things}\x7f\t{pattern}",
    "{pattern} card with {things}: freight included",
    '=HYPERLINK("http://x.miniature.example") {things}',
    "",
)
LYING = (
    "{wrong} {things}",
    "a picture of {wrong} {things}",
    "two-tone {things} on a {pattern} background",
    "{things}, page {wrong} of the catalogue",
    "ships in {wrong} days: {things}",
)
HOSTS = ("cdn", "photos", "static", "shop", "img")

# Share of each fault among the addresses of the LAION-like table.
FAULTS = {
    "missing": 0.05,
    "forbidden": 0.01,
    "broken": 0.01,
    "html": 0.01,
    "truncated": 0.006,
    "cut_off": 0.004,
    "mislabelled": 0.005,
    "redirect": 0.02,
    "loop": 0.004,
    "placeholder": 0.006,
    "robots": 0.003,
    "unusable": 0.01,
}
SLOW = 6  # addresses that never answer, for each of which a client waits its whole timeout
DEAD = {"missing": 26, "removed": 14, "gone": 10, "slow": 4}  # of the benchmark's addresses
PLACEHOLDERS, PAGES = 4, 2
PER_CLASS = 60
BENCHMARK_SEED = 2
LEAKS = 4  # benchmark pairs in the LAION-like table, and as many of their images alone
COPIES = 8  # duplicates of a row there, and as many of its image at another address


def caption(scene: Scene, template: str, wrong: int | None = None) -> str:
    """Fill in a template for a scene; numbers outside two to ten are digits."""
    things = scene.name if scene.number == 1 else plural(scene.name)
    things = f"{scene.colour} {things}" if scene.colour else things
    number = "one" if scene.number == 1 else WORDS.get(scene.number, str(scene.number))
    return template.format(
        number=number,
        Number=number.title(),
        NUMBER=number.upper(),
        things=things,
        Things=things.title(),
        THINGS=things.upper(),
        colour=scene.colour or "colourful",
        pattern=scene.pattern,
        wrong=WORDS.get(wrong, ""),
    )


def pretraining_pairs(n: int, seed: int, named_share: float) -> Iterator[tuple[Scene, str]]:
    """Yield `n` scenes with simple captions; `named_share` of these name the number (1 to 10)."""
    rng = np.random.default_rng([seed, 3])
    for index in range(n):
        scene = make("pretraining", seed * 10_000_000 + index, int(rng.integers(1, 11)))
        templates = COUNTED if rng.random() < named_share else UNCOUNTED
        yield scene, caption(scene, str(rng.choice(templates)))


def vocabulary() -> list[str]:
    """All texts that `pretraining_pairs` consists of, for a tokenizer of only these words."""
    words = ["one", *WORDS.values(), *COLOURS, *PATTERNS, *CLASSES, *map(plural, CLASSES)]
    return words + [template.format(number="", things="", pattern="") for template in COUNTED]


def make_world(
    folder: str | Path,
    *,
    seed: int,
    rows: int,
    parts: int,
    counting_share: float,
    lying_share: float,
    class_shares: list[float],
) -> None:
    """Write world.parquet, laion.tsv, laion/part-*.parquet and countbench.json into `folder`.

    The metadata of world.parquet hold the digests of the server's modules. Editing one of these
    makes a new world, from which everything is fetched again.

    seed: of the LAION-like table. rows: of all its `parts` together.
    counting_share: rows whose caption names the number of objects in the image.
    lying_share: rows whose caption has a number word that is not the number of objects.
    class_shares: of two to ten among the counting rows; they add up to 1.
    """
    if len(class_shares) != len(NUMBERS) or abs(sum(class_shares) - 1) > 1e-6:
        raise ValueError(
            f"miniature.class_shares: {class_shares} must be {len(NUMBERS)} shares, for two to ten,"
            f" that add up to 1"
        )
    folder = Path(folder)
    web: dict[str, tuple[str, dict[str, Any]]] = {}
    benchmark = _benchmark(web, np.random.default_rng([BENCHMARK_SEED, 1]))
    table = _laion(
        web,
        benchmark,
        np.random.default_rng([seed, 2]),
        rows,
        counting_share,
        lying_share,
        class_shares,
    )
    manifest = ["part\turl\tbytes\tsha256"]
    for part in range(parts):
        name = f"part-{part:05}"
        path = folder / "laion" / f"{name}.parquet"
        write_table(table.slice(part * -(-rows // parts), -(-rows // parts)), path)
        url = f"http://hub.miniature.example/laion/{name}.parquet"
        web[url] = ("file", {"path": f"laion/{name}.parquet"})
        manifest.append(f"{name}\t{url}\t{path.stat().st_size}\t{sha256(path)}")
    write_text("\n".join(manifest) + "\n", folder / "laion.tsv")
    write_json(benchmark, folder / "countbench.json")
    answers = sorted(
        (url, kind, json.dumps(payload, sort_keys=True)) for url, (kind, payload) in web.items()
    )
    columns = zip(*answers, strict=True)
    # A job that reads this file starts the server without importing it (connection.py).
    write_table(
        pa.table(dict(zip(("url", "kind", "payload"), map(list, columns), strict=True))),
        folder / "world.parquet",
        {"server": ", ".join(modules(Path(server.__file__)))},
    )


def _benchmark(web: dict, rng: np.random.Generator) -> list[dict[str, Any]]:
    """The counterpart of CountBench. Every image also has a mirror, as a target of repairs."""
    numbers = rng.permutation(np.repeat(NUMBERS, PER_CLASS)).tolist()
    fates = [
        fate
        for fate, n in {**DEAD, "placeholder": PLACEHOLDERS, "html": PAGES}.items()
        for _ in range(n)
    ]
    fates = rng.permutation(fates + ["scene"] * (len(numbers) - len(fates))).tolist()
    rows = []
    for index, (number, fate) in enumerate(zip(numbers, fates, strict=True)):
        scene = make("countbench", index, number)
        shown = {"stream": "countbench", "index": index, "number": number}
        text = caption(scene, str(rng.choice(COUNTED)))
        if index % 27 == 0:  # CountBench has 21 captions with several number words
            other = int(rng.choice([n for n in NUMBERS if n != number]))
            text = (
                f"{text}, card {WORDS[other]}"
                if index % 2
                else f"{WORDS[other].title()}-tone: {text}"
            )
        host = "gone" if fate == "gone" else rng.choice(HOSTS)
        url = f"http://{host}.miniature.example/bench/{rng.integers(2**40):010x}.jpg"
        web[f"http://mirror.miniature.example/{index:03}.jpg"] = ("scene", shown)
        web[url] = {
            "missing": ("status", {"status": 404}),
            "removed": ("status", {"status": 410}),
            "gone": ("status", {"status": 502}),
            "slow": ("slow", {}),
            "placeholder": ("placeholder", {}),
            "html": ("html", {}),
            "scene": ("scene", shown),
        }[fate]
        rows.append({"image_url": url, "text": text, "number": number})
    # As in CountBench, one pair occurs twice.
    last = max(index for index, fate in enumerate(fates) if fate == "scene")
    first = next(
        i for i, fate in enumerate(fates) if (fate, numbers[i]) == ("scene", numbers[last])
    )
    rows[last] = dict(rows[first])
    return rows


def _laion(
    web: dict,
    benchmark: list[dict[str, Any]],
    rng: np.random.Generator,
    rows: int,
    counting_share: float,
    lying_share: float,
    class_shares: list[float],
) -> pa.Table:
    """The table of captions and addresses, with a few duplicates and leaks of the benchmark."""
    counting, lying = round(rows * counting_share), round(rows * lying_share)
    kinds = rng.permutation(
        ["counting"] * counting + ["lying"] * lying + ["other"] * (rows - counting - lying)
    )
    fates = rng.choice([*FAULTS, "scene"], rows, p=[*FAULTS.values(), 1 - sum(FAULTS.values())])
    fates[rng.choice(rows, SLOW, replace=False)] = "slow"
    urls, texts = [], []
    for index, (kind, fate) in enumerate(zip(kinds, fates, strict=True)):
        if kind == "other":
            number = int(rng.integers(1, 13))
            templates = WILD_UNCOUNTED if rng.random() < 0.1 else UNCOUNTED
        else:
            number = int(rng.choice(NUMBERS, p=class_shares))
            templates = LYING if kind == "lying" else COUNTED
            templates = WILD_COUNTED if kind == "counting" and rng.random() < 0.15 else templates
        scene = make("laion", index, number)
        wrong = int(rng.choice([n for n in NUMBERS if n != number]))
        texts.append(caption(scene, str(rng.choice(templates)), wrong))
        urls.append(_address(web, rng, str(fate), index, number))
    sound = np.flatnonzero(fates == "scene").tolist()
    _add_duplicates_and_leaks(web, benchmark, rng, urls, texts, sound)
    return pa.table(
        {
            "SAMPLE_ID": pa.array(rng.integers(1, 2**40, rows), pa.float64()),
            "URL": urls,
            "TEXT": texts,
            "HEIGHT": pa.array([128.0] * rows),
            "WIDTH": pa.array([128.0] * rows),
            "LICENSE": ["?"] * rows,
            "NSFW": ["UNLIKELY"] * rows,
            "similarity": pa.array(rng.uniform(0.28, 0.42, rows)),
        }
    )


def _address(web: dict, rng: np.random.Generator, fate: str, index: int, number: int) -> str:
    """Add an address for scene `index` with the answer of its fate, and return it."""
    shown = {"stream": "laion", "index": index, "number": number}
    ending = rng.choice(
        [".jpg", ".png", "", ".jpg?w=600", ".jpg_200x200.jpg"], p=[0.6, 0.15, 0.1, 0.1, 0.05]
    )
    site, page = f"{rng.choice(HOSTS)}.miniature.example", f"{rng.integers(2**40):010x}"
    url = f"http://{site}/{page}{ending}"
    if fate == "unusable":  # no scheme, a space, or a letter outside ASCII
        return [
            f"{site}/{page}.jpg",
            f"http://{site}/my pictures/{page}.jpg",
            f"http://{site}/blüte-{page}.jpg",
        ][index % 3]
    if fate == "redirect":
        web[f"http://{site}/moved/{page}{ending}"] = ("scene", shown)
    web[url] = {
        "missing": ("status", {"status": 404}),
        "forbidden": ("status", {"status": 403}),
        "broken": ("status", {"status": 500}),
        "html": ("html", {}),
        "truncated": ("truncated", shown),
        "cut_off": ("cut_off", shown),
        "mislabelled": ("scene", {**shown, "type": "text/plain"}),
        "redirect": ("redirect", {"location": f"http://{site}/moved/{page}{ending}"}),
        "loop": ("redirect", {"location": url}),
        "placeholder": ("placeholder", {}),
        "robots": ("scene", {**shown, "X_Robots_Tag": "noai"}),
        "slow": ("slow", {}),
        "scene": ("scene", shown),
    }[fate]
    return url


def _add_duplicates_and_leaks(
    web: dict,
    benchmark: list[dict[str, Any]],
    rng: np.random.Generator,
    urls: list[str],
    texts: list[str],
    sound: list[int],
) -> None:
    """Overwrite some rows: duplicates, leaks of the benchmark, a very long caption, a null.

    sound: the rows whose address shows their scene.
    """
    usable = [row for row in sound if find(texts[row])]
    needed = 2 * LEAKS + 3 * COPIES + 2
    if len(usable) < needed:
        raise ValueError(
            f"miniature.rows: of {len(texts)} rows, {len(usable)} have a number word and an image,"
            f" and the planned duplicates and leaks need {needed}: raise rows or counting_share"
        )
    chosen = iter(rng.permutation(usable).tolist())
    alive = [row for row in benchmark if web[row["image_url"]][0] == "scene"]
    for leak in alive[:LEAKS]:  # the same pair
        row = next(chosen)
        urls[row], texts[row] = leak["image_url"], leak["text"]
    for number, leak in enumerate(
        alive[LEAKS : 2 * LEAKS]
    ):  # the same image at another address, with another caption
        row = next(chosen)
        urls[row] = f"http://static.miniature.example/copies/{number}.png"
        texts[row] = f"copy: {leak['text']}"
        web[urls[row]] = web[leak["image_url"]]
    for _ in range(COPIES):  # the same address again, or the same image at another address
        row, copy, elsewhere = next(chosen), next(chosen), next(chosen)
        urls[copy], texts[copy] = urls[row], texts[row]
        urls[elsewhere], texts[elsewhere] = f"{urls[row]}&again", texts[row]
        web[urls[elsewhere]] = web[urls[row]]
    row = next(chosen)
    texts[row] = (texts[row] + ", " + "very " * 4000)[:20_000]
    texts[next(chosen)] = None
