"""The audit tells apart what came, repairs are applied only when they are right, and a number says
which rows it counts."""

import io
import json
import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from countclip.benchmarks import (
    audit,
    check_links,
    countbench,
    repair_suggestions,
    repairs,
    repairs_csv,
    store,
)
from countclip.data.number_words import WORDS
from countclip.runtime import network
from countclip.runtime.connection import connection
from countclip.runtime.files import sha256, write_table
from countclip.runtime.network import DownloadError

REQUEST = {"timeout": 4, "deadline": 60, "max_bytes": 100_000}
PICTURE = {
    "max_pixels": 1_000_000,
    "min_side": 32,
    "placeholder_urls": 3,
    "placeholder_distance": 2,
    "changed_distance": 8,
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
    (("redirect", {"location": "http://a.miniature.example/image_unavailable.png"}), "placeholder"),
    (("scene", {**scene(7)[1], "X_Robots_Tag": "noai"}), "not_allowed"),
    (("status", {"status": 418}), "forbidden"),
]


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """A folder with an audit of the PLAN, and the way to its server."""
    for folder, environment in serve(tmp_path_factory.mktemp("audited")):
        ask(folder, environment)
        judge(folder)
        yield folder, environment


@pytest.fixture
def copied(audited, tmp_path: Path):
    """The same in a folder of the test's own."""
    folder, environment = audited
    return shutil.copytree(folder, tmp_path, dirs_exist_ok=True), environment


def serve(folder: Path):
    """A folder with list.json of the PLAN (and two odd rows), and the way to its server."""
    (folder / "small.png").write_bytes(png((16, 200)))
    (folder / "flat.png").write_bytes(png((64, 64), 200))
    urls = [f"http://a.miniature.example/{i}" for i in range(len(PLAN))]
    answers = [(url, kind, json.dumps(p)) for url, ((kind, p), _) in zip(urls, PLAN, strict=True)]
    for name, index in (("other", 5), ("image_unavailable.png", 6)):
        shown = json.dumps(scene(index)[1])
        answers.append((f"http://a.miniature.example/{name}", "scene", shown))
    world = pd.DataFrame(answers, columns=["url", "kind", "payload"])
    write_table(world, folder / "world.parquet")
    urls += [urls[0], "ftp://a.miniature.example/x.jpg"]  # an address twice; an unusable one
    rows = [
        {"image_url": url, "text": f"{WORDS[2 + i % 9].title()} cats, no. {i}", "number": 2 + i % 9}
        for i, url in enumerate(urls)
    ]
    (folder / "list.json").write_text(json.dumps(rows))
    with connection("miniature", folder / "world.parquet") as environment:
        yield folder, environment


def ask(folder: Path, environment: dict) -> None:
    check_links.check_links(
        str(folder / "list.json"),
        str(folder / "answers.parquet"),
        state=str(folder / "state"),
        environment=environment,
        request=REQUEST,
        threads=4,
        per_host=4,
        pause=0,
        retries=0,
    )


def judge(folder: Path, lock: str | None = None) -> pd.DataFrame:
    audit.audit(
        list_json=str(folder / "list.json"),
        answers_parquet=str(folder / "answers.parquet"),
        audit_csv=str(folder / "audit.csv"),
        images_parquet=str(folder / "audited.parquet"),
        image_limits=PICTURE,
        lock_csv=lock,
    )
    return pd.read_csv(folder / "audit.csv", keep_default_na=False)


def repair(folder: Path, environment: dict, lines: str) -> list[dict]:
    (folder / "repairs.csv").write_text(COLUMNS + lines)
    repairs.repair(
        list_json=str(folder / "list.json"),
        audit_csv=str(folder / "audit.csv"),
        audited_images=str(folder / "audited.parquet"),
        repairs_csv=str(folder / "repairs.csv"),
        benchmark_parquet=str(folder / "benchmark.parquet"),
        images_parquet=str(folder / "images.parquet"),
        summary_json=str(folder / "summary.json"),
        state=str(folder / "state"),
        environment=environment,
        request=REQUEST,
        pause=0,
        image_limits=PICTURE,
    )
    return pd.read_parquet(folder / "benchmark.parquet").to_dict("records")


def test_every_planned_fault_is_found(audited) -> None:
    folder, _ = audited
    table = judge(folder)
    assert table["status"].tolist() == [status for _, status in PLAN] + ["alive", "unreachable"]
    assert table["final_url"][2] == "http://a.miniature.example/0"
    assert (table["detail"] != "").equals(table["status"] != "alive")
    assert table.columns.tolist() == list(audit.COLUMNS)
    assert set(table["status"]) <= set(countbench.STATUSES)
    evidence = table[["http", "content_type", "bytes"]].iloc[[0, 3, 7, 8]].to_numpy().tolist()
    assert [row[:2] for row in evidence] == [
        ["200", "image/jpeg"], ["404", "text/html; charset=utf-8"], ["", ""],
        ["200", "text/html; charset=utf-8"],
    ]  # fmt: skip
    assert [bool(row[2]) for row in evidence] == [True, False, False, True]
    assert not (folder / "state").exists()


def test_what_a_host_calls_its_answer_is_no_formula() -> None:
    answer = {
        **{"index": 0, "url": "http://x", "final_url": "http://x", "http": 200, "reason": ""},
        **{"content_type": "=HYPERLINK(1)", "body": b"no picture"},
    }
    record = audit._record(countbench.Row(0, "http://x", "two cats", 2), answer, 10**6, 32)
    assert record["content_type"] == "HYPERLINK(1)"
    assert record["detail"].startswith("no known image format")


def test_names_of_stand_ins_are_told_apart_from_words_that_end_alike() -> None:
    assert audit.REMOVED.search("/img/no-photo.png")
    assert not audit.REMOVED.search("/img/piano_photo.png")


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
        with pytest.raises(DownloadError, match="wrong_sha256.*list_sha256 says 0000"):
            check_links.download_list(url, path, expected="0" * 64, **given)
        assert not path.exists()
        with pytest.raises(ValueError, match="set countbench.list_url"):
            check_links.download_list(None, path, expected=None, **given)
        check_links.download_list(url, path, expected=sha256(body), **given)
    assert path.read_bytes() == body
    assert [row.caption for row in countbench.load(path)] == ["two cats"]


def test_repairs_are_applied_and_counted(copied, caplog) -> None:
    folder, environment = copied
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
    assert (rows[4]["license"], rows[1]["license"]) == ("CC0", "")
    of = {
        name: [row["index"] for row in rows if row[name]]
        for name in ("original", "repaired", "included")
    }
    assert of["original"] == [0, 1, 2, 15, 19]
    assert of["repaired"] == [0, 2, 3, 4, 10, 15, 19]
    assert of["included"] == [0, 1, 2, 3, 4, 10, 15, 19]
    summary = json.loads((folder / "summary.json").read_text())
    assert sum(summary["by_status"].values()) == summary["rows"] == len(rows)
    assert summary["by_status"].keys() <= (countbench.STATUSES | countbench.DECISIONS).keys()
    for variant in ("original", "repaired"):
        about = summary[variant]
        assert about["n"] == len(of[variant]) == sum(about["n_per_class"].values())
        assert sorted(of[variant] + about["missing"]) == [row["index"] for row in rows]
    images = list(store.read_benchmark(folder / "benchmark.parquet", folder / "images.parquet"))
    assert [row["index"] for row in images] == of["included"]
    assert all(row["image"].mode == "RGB" for row in images)
    unnamed = [record.message for record in caplog.records if "sha256 is" in record.message]
    assert [message[:8] for message in unnamed] == ["index 3:"]
    before = [(folder / name).read_bytes() for name in ("benchmark.parquet", "summary.json")]
    repair(folder, environment, (folder / "repairs.csv").read_text().removeprefix(COLUMNS))
    assert before == [
        (folder / name).read_bytes() for name in ("benchmark.parquet", "summary.json")
    ]


def test_an_address_that_showed_its_picture_is_not_asked_again(copied, monkeypatch) -> None:
    folder, environment = copied
    asked = []

    def get(url, **how):
        asked.append(url.rpartition("/")[2])
        return network_get(url, **how)

    network_get = network.get
    monkeypatch.setattr(network, "get", get)
    good = "3,replace,http://a.miniature.example/other,,,web,,\n"
    dead = "4,replace,http://a.miniature.example/3,,,web,,\n"
    message = r"line 3 \(index 4\): .*http_404; run again later"
    with pytest.raises(ValueError, match=message):
        repair(folder, environment, good + dead)
    row = repair(folder, environment, good)[3]
    assert asked == ["other", "3"]
    digest = row["sha256"]
    assert repair(folder, environment, good.replace(",,web", f",{digest},web"))[3] == row
    assert asked == ["other", "3"]
    with pytest.raises(ValueError, match=f"sha256 is {digest}"):  # asked whether it is there now
        repair(folder, environment, good.replace(",,web", f",{'0' * 64},web"))
    assert asked == ["other", "3", "other"]


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
        ('3,exclude,,,,,,"why', "after line 1: unexpected end of data; nothing more was read"),
        ("3,accept,,,,,,why", "no image to accept"),
        ("12,accept,,,abc,,,why", "now shows another image"),
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


def test_a_repairs_csv_of_a_spreadsheet_that_knows_no_utf8_is_named(audited) -> None:
    folder, _ = audited
    (folder / "latin.csv").write_bytes((COLUMNS + "0,exclude,,,,,,café\n").encode("latin-1"))
    with pytest.raises(ValueError, match="latin.csv: is not UTF-8"):
        repairs_csv.read_repairs(folder / "latin.csv", 21, [])


# ---- the lock file ----


def test_an_audit_notices_what_has_changed_since_the_lock_file(audited, tmp_path) -> None:
    folder, _ = audited
    plain = judge(folder)
    lock = str(tmp_path / "lock.csv")
    audit.write_lock(audit_csv=str(folder / "audit.csv"), lock_csv=lock)
    lines = pd.read_csv(lock, dtype=str)
    assert lines.columns.tolist() == list(audit.LOCK)
    assert lines["index"].tolist() == ["0", "1", "2", "15", "19"]
    assert judge(folder, lock)["status"].tolist() == plain["status"].tolist()

    def flipped(phash: str, bits: int) -> str:
        return f"{int(phash, 16) ^ ((1 << bits) - 1):016x}"

    other = lines.assign(sha256="0" * 64, date="2024-02-03")
    other["phash"] = [
        flipped(phash, bits) for phash, bits in zip(other["phash"], (0, 8, 9, 30, 0), strict=True)
    ]
    other.to_csv(lock, index=False)
    table = judge(folder, lock)
    assert table["status"][[0, 1, 2, 15]].tolist() == ["alive", "alive", "changed", "changed"]
    assert table["lock_distance"][[0, 1, 2, 15]].tolist() == ["0", "8", "9", "30"]
    assert table["detail"][1] == "re-encoded since 2024-02-03, 8 of 64 bits apart"
    assert table["detail"][15] == "30 of 64 bits from the image of 2024-02-03"

    later = str(tmp_path / "later.csv")
    audit.write_lock(audit_csv=str(folder / "audit.csv"), lock_csv=later, earlier_csv=lock)
    kept = pd.read_csv(later, dtype=str)
    assert kept["date"].eq("2024-02-03").tolist() == [False, False, True, True, False]
    judge(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("url,sha256\n", "the first line must name"),
        (",".join(audit.LOCK) + "\n0,http://x,ab,xyz,1,1,1,2024-01-01\n", "line 2"),
        (",".join(audit.LOCK) + "\n0,http://x\n", "line 2"),
    ],
)
def test_a_wrong_lock_file_names_its_line(tmp_path, text, message) -> None:
    (tmp_path / "lock.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        audit.read_lock(tmp_path / "lock.csv")


# ---- offers ----


def test_offers_are_lines_that_the_repairs_accept(audited, tmp_path) -> None:
    folder, environment = audited
    rows = json.loads((folder / "list.json").read_text())
    good, other = png((64, 64)), png((80, 64))
    entries = [
        (rows[3]["image_url"], "whatever", 2, good),
        ("http://elsewhere.example/", rows[4]["text"], rows[4]["number"], other),
        (rows[5]["image_url"], "whatever", 2, None),  # the copy has lost it too
        (rows[6]["image_url"], "whatever", 2, (folder / "flat.png").read_bytes()),
        (rows[7]["image_url"], "whatever", 2, b"<html>"),
        (rows[0]["image_url"], "whatever", 2, good),  # which is alive
    ]
    columns = dict(
        zip(repair_suggestions.COPY_COLUMNS, map(list, zip(*entries, strict=True)), strict=True)
    )
    columns["image"] = [{"bytes": body, "path": None} for body in columns["image"]]
    pq.write_table(pa.table(columns), tmp_path / "copy.parquet")
    lines = tmp_path / "offered/repairs.csv"
    for _ in range(2):
        repair_suggestions.suggest(
            list_json=str(folder / "list.json"),
            audit_csv=str(folder / "audit.csv"),
            suggestions_csv=str(lines),
            image_limits=PICTURE,
            copy_parquet=str(tmp_path / "copy.parquet"),
        )
    table = pd.read_csv(lines, keep_default_na=False, dtype=str)
    assert table.columns.tolist() == COLUMNS.strip().split(",")
    found = {int(line["index"]): line for line in table.to_dict("records")}
    usable = (*countbench.USABLE, "not_allowed")
    planned = [status for _, status in PLAN] + ["alive", "unreachable"]
    assert list(found) == [i for i, status in enumerate(planned) if status not in usable]
    assert {found[3]["sha256"], found[4]["sha256"]} == {sha256(good), sha256(other)}
    assert (lines.parent / found[4]["file"]).read_bytes() == other
    assert len(list((lines.parent / "images").iterdir())) == 2
    for index in (5, 6, 7):
        archive = f"https://web.archive.org/web/2021id_/{rows[index]['image_url']}"
        assert (found[index]["url"], found[index]["file"]) == (archive, "")
    shutil.copytree(lines.parent / "images", folder / "images")
    taken = "".join(line for line in lines.open() if line[:2] in ("3,", "4,"))
    mended = repair(folder, environment, taken)
    assert [row["index"] for row in mended if row["status"] == "repaired"] == [3, 4]
    (folder / "benchmark.parquet").unlink()


def test_a_copy_without_its_columns_is_named(audited, tmp_path) -> None:
    folder, _ = audited
    pq.write_table(pa.table({"image_url": ["http://x"]}), tmp_path / "copy.parquet")
    with pytest.raises(ValueError, match="copy.parquet: has no column image, number, text"):
        repair_suggestions.suggest(
            list_json=str(folder / "list.json"),
            audit_csv=str(folder / "audit.csv"),
            suggestions_csv=str(tmp_path / "offered/repairs.csv"),
            image_limits=PICTURE,
            copy_parquet=str(tmp_path / "copy.parquet"),
        )


# ---- the variants ----


@pytest.fixture
def benchmark(tmp_path) -> str:
    rows = pd.DataFrame(
        {
            "index": range(6),
            "number": [2, 3, 4, 5, 6, 7],
            "original": [True, True, False, False, True, False],
            "repaired": [True, False, True, False, True, False],
        }
    )
    rows["included"] = rows["original"] | rows["repaired"]
    rows.to_parquet(tmp_path / "benchmark.parquet")
    return str(tmp_path / "benchmark.parquet")


def test_a_variant_says_which_rows_it_counts(benchmark, tmp_path) -> None:
    indices = tmp_path / "indices.txt"
    indices.write_text("# alive for everybody\n1\n2 # mended\n\n3\n")
    assert countbench.rows_of("original", benchmark) == {0: 2, 1: 3, 4: 6}
    assert countbench.rows_of("repaired", benchmark) == {0: 2, 2: 4, 4: 6}
    assert countbench.rows_of("intersection", benchmark, str(indices)) == {1: 3, 2: 4}


@pytest.mark.parametrize(
    ("variant", "text", "message"),
    [
        ("intersection", None, "must name a list"),
        ("intersection", "1\n6\n", "line 2: '6' is no row of 0 to 5"),
        ("intersection", "two\n", "line 1: 'two'"),
        ("intersection", "3\n", "no row is left"),
        ("mended", None, "'mended' is not one of original, repaired"),
    ],
)
def test_a_wrong_variant_is_named(benchmark, tmp_path, variant, text, message) -> None:
    path = None
    if text is not None:
        path = str(tmp_path / "indices.txt")
        Path(path).write_text(text)
    with pytest.raises(ValueError, match=message):
        countbench.rows_of(variant, benchmark, path)
