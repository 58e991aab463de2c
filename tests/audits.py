"""Audits made up without a network, for tests of their page."""

import io
import json
from pathlib import Path

import pandas as pd
from PIL import Image

from countclip.benchmarks import audit, countbench, image_checks, repairs, repairs_csv, store
from countclip.data.number_words import WORDS
from countclip.report import audit_page
from countclip.runtime.resources import resource

PICTURE = {"max_pixels": 10**6, "min_side": 32, "placeholder_distance": 0}
SUFFIX = {
    **dict.fromkeys(("list", "summary"), "json"),
    **dict.fromkeys(("audit", "repairs", "offered"), "csv"),
    **dict.fromkeys(("audited_images", "benchmark", "images"), "parquet"),
    "page": "html",
}
HEADER = ",".join(repairs_csv.COLUMNS) + "\n"


def picture(index: int, side: int = 96) -> bytes:
    """A PNG of its own for each index: stripes that differ in number and colour."""
    image = Image.radial_gradient("L").resize((side, side)).rotate(7 * index)
    colours = [(37 * index % 256, 91 * index % 256, 53 * index % 256), (250, 250, 250)]
    coloured = Image.composite(*(Image.new("RGB", image.size, c) for c in colours), image)
    return png(coloured)


def png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def row(number: int, status: str = "alive", **own: str | bytes) -> dict:
    """A row of the list and of its audit; a picture came where the status is of one.

    own: caption, url, final_url, detail or picture, for one that is not made up.
    """
    return {"number": number, "status": status, "detail": "", **own}


class Audit:
    """The files of an audit in a folder, and what follows from its repairs.csv."""

    def __init__(self, folder: Path, rows: list[dict]) -> None:
        self.folder = folder
        entries, records, bodies = [], [], {}
        for index, made in enumerate(rows):
            url = made.get("url", f"https://example.org/{index}.jpg")
            caption = made.get("caption", f"a photo of {WORDS[made['number']]} cats, {index}")
            entries.append({"image_url": url, "text": caption, "number": made["number"]})
            final = made.get("final_url", url if made["status"] in countbench.USABLE else "")
            seen = {"index": index, "url": url, "final_url": final}
            seen |= {"status": made["status"], "detail": made["detail"]}
            if made["status"] in (*countbench.USABLE, "placeholder", "too_small", "changed"):
                bodies[index] = made.get("picture") or picture(index)
                seen |= image_checks.examine(bodies[index], 10**6, 1)[0]._asdict()
            records.append(seen)
        table = pd.DataFrame(records, columns=audit.COLUMNS)
        table = table.astype(dict.fromkeys(("width", "height", "bytes", "http"), "Int64"))
        self.list.write_text(json.dumps(entries), encoding="utf-8")
        table.to_csv(self.audit, index=False)
        store.write_images(list(bodies), list(bodies.values()), str(self.audited_images))
        for lines in (self.repairs, self.offered):
            lines.write_text(HEADER, encoding="utf-8")

    def __getattr__(self, name: str) -> Path:
        if name not in SUFFIX:
            raise AttributeError(name)
        return self.folder / f"{name}.{SUFFIX[name]}"

    def repair(self, lines: str | None = None) -> pd.DataFrame:
        """The benchmark after these lines of repairs.csv, or after those that are there."""
        if lines is not None:
            self.repairs.write_text(HEADER + lines, encoding="utf-8")
        repairs.repair(
            list_json=str(self.list),
            audit_csv=str(self.audit),
            audited_images=str(self.audited_images),
            repairs_csv=str(self.repairs),
            benchmark_parquet=str(self.benchmark),
            images_parquet=str(self.images),
            summary_json=str(self.summary),
            state=str(self.folder / "state"),
            environment={},
            request={"timeout": 1, "deadline": 1, "retries": 0, "max_bytes": 10**6},
            pause=0,
            image_limits=PICTURE,
        )
        return pd.read_parquet(self.benchmark)

    def render(self, lines: str = "", scale: str = "paper", **own: str) -> Path:
        """The page of the audit with these lines of repairs.csv. own: further arguments."""
        self.repair(lines)
        return self.render_page(scale=scale, **own)

    def render_page(self, scale: str = "paper", **own: str) -> Path:
        """The page of the files as they are."""
        audit_page.render_audit(
            list_json=str(self.list),
            audit_csv=str(self.audit),
            audited_images=str(self.audited_images),
            repairs_csv=str(self.repairs),
            suggestions_csv=str(self.offered),
            benchmark=str(self.benchmark),
            images=str(self.images),
            template=resource("resources/audit.html.jinja"),
            page=str(self.page),
            scale=scale,
            save_as="resources/countbench/repairs.csv",
            **own,
        )
        return self.page
