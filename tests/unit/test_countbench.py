"""The audit tells apart what came, and repairs are applied only when they are right."""

import io
import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from countclip import countbench, network, pictures
from countclip.captions import WORDS
from countclip.connection import connection
from countclip.files import sha256, write_table

REQUEST = {"timeout": 0.5, "deadline": 5, "retries": 0, "max_bytes": 100_000}
PICTURE = {
    "max_pixels": 1_000_000,
    "min_side": 32,
    "placeholder_urls": 3,
    "placeholder_distance": 2,
}
COLUMNS = "index,action,url,file,sha256,provenance,license,reason\n"


def png(size: tuple[int, int], pixel: int | None = None) -> bytes:
    image = Image.new("L", size, pixel) if pixel else Image.effect_noise(size, 60)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def scene(index: int) -> tuple[str, dict]:
    return "scene", {"stream": "countbench", "index": index, "number": 2 + index % 9}


PLAN = [  # what an address does, and the status that the audit must find
    (scene(0), "alive"),
    (scene(1), "alive"),
    (("redirect", {"location": "http://a.miniature.example/0"}), "moved"),
    (("status", {"status": 404}), "dead"),
    (("status", {"status": 410}), "dead"),
    (("status", {"status": 403}), "forbidden"),
    (("status", {"status": 503}), "server_error"),
    (("slow", {}), "timeout"),
    (("html", {}), "not_an_image"),
    (("truncated", scene(2)[1]), "undecodable"),
    (("file", {"path": "small.png"}), "too_small"),
    (("file", {"path": "flat.png"}), "placeholder"),
    (("placeholder", {}), "placeholder"),
    (("placeholder", {}), "placeholder"),
    (("placeholder", {}), "placeholder"),
    (scene(3), "alive"),
]


@pytest.fixture
def web(tmp_path: Path):
    yield from serve(tmp_path)


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    for folder, environment in serve(tmp_path_factory.mktemp("audited")):
        audit(folder, environment)
        yield folder, environment


def serve(folder: Path):
    """A folder with list.json of the PLAN (and two odd rows), and the way to its server."""
    (folder / "small.png").write_bytes(png((16, 200)))
    (folder / "flat.png").write_bytes(png((64, 64), 200))
    urls = [f"http://a.miniature.example/{i}" for i in range(len(PLAN))]
    answers = [(url, kind, json.dumps(p)) for url, ((kind, p), _) in zip(urls, PLAN, strict=True)]
    answers.append(("http://a.miniature.example/other", "scene", json.dumps(scene(5)[1])))
    world = pd.DataFrame(answers, columns=["url", "kind", "payload"])
    write_table(world, folder / "world.parquet")
    urls += [urls[0], "ftp://a.miniature.example/x.jpg"]  # an address twice; an unusable one
    rows = [
        {"image_url": url, "text": f"{WORDS[2 + i % 9].title()} cats", "number": 2 + i % 9}
        for i, url in enumerate(urls)
    ]
    (folder / "list.json").write_text(json.dumps(rows))
    with connection("miniature", folder / "world.parquet") as environment:
        yield folder, environment


def audit(folder: Path, environment: dict) -> pd.DataFrame:
    countbench.audit(
        str(folder / "list.json"),
        str(folder / "audit.csv"),
        str(folder / "audited.parquet"),
        state=str(folder / "state"),
        environment=environment,
        threads=4,
        request=REQUEST,
        picture=PICTURE,
    )
    return pd.read_csv(folder / "audit.csv", keep_default_na=False)


def repair(folder: Path, environment: dict, lines: str) -> list[dict]:
    (folder / "repairs.csv").write_text(COLUMNS + lines)
    made = [str(folder / name) for name in ("benchmark.parquet", "images.parquet", "summary.json")]
    countbench.repair(
        str(folder / "list.json"),
        str(folder / "audit.csv"),
        str(folder / "audited.parquet"),
        str(folder / "repairs.csv"),
        *made,
        environment=environment,
        request=REQUEST,
        picture=PICTURE,
    )
    return pd.read_parquet(made[0]).to_dict("records")


def test_every_planned_fault_is_found(web) -> None:
    folder, environment = web
    table = audit(folder, environment)
    assert table["status"].tolist() == [status for _, status in PLAN] + ["alive", "unreachable"]
    assert table["final_url"][2] == "http://a.miniature.example/0"
    assert (table["detail"] != "").equals(table["status"] != "alive")
    assert not (folder / "state").exists()


def test_an_audit_is_the_same_twice_and_goes_on_after_a_kill(web, monkeypatch) -> None:
    folder, environment = web
    audit(folder, environment)
    first = [(folder / name).read_bytes() for name in ("audit.csv", "audited.parquet")]
    asked, get = [], network.get

    def killed(url: str, **arguments):
        if len(asked) >= 6:
            raise KeyboardInterrupt
        asked.append(url)
        return get(url, **arguments)

    monkeypatch.setattr(network, "get", killed)
    with pytest.raises(KeyboardInterrupt):
        audit(folder, environment)
    kept = len(list((folder / "state").glob("*.answer")))
    assert kept >= 5
    monkeypatch.setattr(network, "get", lambda url, **a: asked.append(url) or get(url, **a))
    asked.clear()
    audit(folder, environment)
    assert len(asked) == len(PLAN) + 2 - kept
    assert first == [(folder / name).read_bytes() for name in ("audit.csv", "audited.parquet")]


def test_an_outage_publishes_nothing(web) -> None:
    folder, _ = web
    (folder / "audit.csv").write_text("the audit of last year")
    nowhere = {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    with pytest.raises(countbench.OutageError, match="offline"):
        audit(folder, nowhere)
    assert (folder / "audit.csv").read_text() == "the audit of last year"
    assert not (folder / "audited.parquet").exists()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image_url": "http://x", "text": "Seventy often", "number": 7}, "row 1.*whole word"),
        ({"image_url": "http://x", "text": "eleven", "number": 11}, "row 1.*not one of"),
        ({"image_url": "http://x", "number": 2}, "row 1.*text"),
        ({"image_url": None, "text": "two", "number": 2}, "row 1.*strings"),
        ("two", "row 1"),
    ],
)
def test_a_wrong_list_names_its_row(tmp_path, row, message) -> None:
    good = {"image_url": "http://x", "text": "two cats", "number": 2}
    (tmp_path / "list.json").write_text(json.dumps([good, row]))
    with pytest.raises(ValueError, match=message):
        countbench.load(tmp_path / "list.json")


def test_the_list_is_downloaded_only_as_it_was_published(tmp_path) -> None:
    world = pd.DataFrame(
        [("http://bench.miniature.example/list.json", "file", json.dumps({"path": "given.json"}))],
        columns=["url", "kind", "payload"],
    )
    write_table(world, tmp_path / "world.parquet")
    body = b'[{"image_url": "http://x.example/a", "text": "two cats", "number": 2}]'
    (tmp_path / "given.json").write_bytes(body)
    path = tmp_path / "list.json"
    with connection("miniature", tmp_path / "world.parquet") as environment:
        given = {"max_bytes": 1000, "environment": environment}
        url = "http://bench.miniature.example/list.json"
        with pytest.raises(network.DownloadError, match="wrong_sha256.*list_sha256 says 0000"):
            countbench.download_list(url, path, expected="0" * 64, **given)
        assert not path.exists()
        with pytest.raises(ValueError, match="set countbench.list_url"):
            countbench.download_list(None, path, expected=None, **given)
        countbench.download_list(url, path, expected=sha256(body), **given)
    assert path.read_bytes() == body
    assert [row.caption for row in countbench.load(path)] == ["two cats"]


def test_repairs_are_applied_and_counted(web) -> None:
    folder, environment = web
    audit(folder, environment)
    good = png((64, 64))
    (folder / "mine.png").write_bytes(good)
    rows = repair(
        folder,
        environment,
        "3,replace,http://a.miniature.example/other,,,archive copy,CC BY 4.0,\n"
        f"4,replace,,mine.png,{sha256(good)},photo of mine,CC0,\n"
        "10,accept,,,,,,small but clear\n"
        '1,exclude,,,,,,"shows three, not two"\n',
    )
    status = {row["index"]: row["status"] for row in rows}
    assert [status[i] for i in (3, 4, 10, 1, 2, 5)] == [
        "repaired", "repaired", "accepted", "excluded", "moved", "forbidden",
    ]  # fmt: skip
    assert rows[4]["sha256"] == sha256(good)
    assert rows[4]["provenance"] == "photo of mine"
    included = [row["index"] for row in rows if row["included"]]
    assert included == [0, 2, 3, 4, 10, 15, 16]
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["n"] == len(included) == sum(summary["n_per_class"].values())
    assert sum(summary["by_status"].values()) == summary["rows"] == len(rows)
    assert sorted(included + summary["missing"]) == [row["index"] for row in rows]
    images = list(pictures.read_benchmark(folder / "benchmark.parquet", folder / "images.parquet"))
    assert [row["index"] for row in images] == included
    assert all(row["image"].mode == "RGB" for row in images)
    before = [(folder / name).read_bytes() for name in ("benchmark.parquet", "summary.json")]
    repair(folder, environment, (folder / "repairs.csv").read_text().removeprefix(COLUMNS))
    assert before == [
        (folder / name).read_bytes() for name in ("benchmark.parquet", "summary.json")
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("99,exclude,,,,,,why", "line 2: index '99' must be"),
        ("0,drop,,,,,,why", "action 'drop' must be"),
        ("0,exclude,,,,,,", "exclude needs a reason"),
        ("3,replace,http://a.miniature.example/0,,,,,", "replace needs a provenance"),
        ("3,replace,,,,mine,,", "a url or a file"),
        ("3,replace,,../list.json,,mine,,", r"line 2 \(index 3\): .*outside"),
        ("3,replace,,nothing.png,,mine,,", "no file .*nothing.png"),
        ("3,replace,,list.json,,mine,,", "not_an_image"),
        ("3,replace,,flat.png,,mine,,", "placeholder"),
        ("3,replace,,small.png,,mine,,", "too_small"),
        ("3,replace,http://a.miniature.example/12,,,web,,", "a placeholder of the audit"),
        ("3,replace,http://a.miniature.example/3,,,web,,", "http_404"),
        ("3,replace,http://a.miniature.example/0,,abc,web,,", "sha256 is [0-9a-f]{64}"),
        ("3,accept,,,,,,why", "no picture to accept"),
        ("12,accept,,,abc,,,why", "now shows another picture"),
        ("0,exclude,,,,,,why\n0,exclude,,,,,,why", "line 3: index 0 was on line 2"),
        ("7,exclude,,,,,,why\n07,exclude,,,,,,why", "line 3: index 7 was on line 2"),
        ("0,exclude", "must have 8 fields"),
    ],
)
def test_a_wrong_repair_names_its_line(audited, line, message) -> None:
    folder, environment = audited
    with pytest.raises(ValueError, match=message):
        repair(folder, environment, line + "\n")
    assert not (folder / "benchmark.parquet").exists()
