"""Models that are measured without training: their weights, answers, table and list."""

import io
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pandas as pd
import pytest
from PIL import Image

import families
from countclip.benchmarks import store
from countclip.data.number_words import NUMBERS, WORDS
from countclip.evaluation import counting, zero_shot
from countclip.model import hub as weights_of
from countclip.model.clip import preprocessing_of
from countclip.report import sheets
from countclip.report import zero_shot as report
from countclip.runtime.files import sha256
from countclip.runtime.network import DownloadError
from countclip.runtime.resources import HOME
from countclip.settings import config_files
from countclip.training import checkpoints
from hub import COMMIT, ENDPOINT, NARROW, TOKEN, Hub, serving
from kill import killed_often

BODY = bytes(range(256)) * 4000
LIST = config_files.load(HOME / "config/zero_shot.yaml")["zero_shot"]
NAME, TAG = "ViT-B-32", "laion2b_s34b_b79k"
REPOSITORY = "laion/CLIP-ViT-B-32-laion2B-s34B-b79K"


# ---- the table ----


def benchmark() -> list[dict]:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 40, 56, 3), np.uint8)
    return [
        {
            "index": 3 * i,
            "image": Image.fromarray(image),
            "caption": f"{WORDS[n]} dogs",
            "number": n,
        }
        for i, (n, image) in enumerate(zip(NUMBERS, pixels, strict=True))
    ]


def store_benchmark(folder: Path) -> tuple[str, str]:
    """The files of `benchmark`: its rows, and its images unchanged."""
    rows, bodies = benchmark(), []
    for row in rows:
        body = io.BytesIO()
        image = row.pop("image")
        image.save(body, "PNG")
        bodies.append(body.getvalue())
        size = {"width": image.width, "height": image.height}
        row |= size | {"included": True, "sha256": sha256(bodies[-1])}
    table, images = str(folder / "benchmark.parquet"), str(folder / "images.parquet")
    pd.DataFrame(rows).to_parquet(table)
    store.write_images([row["index"] for row in rows], bodies, images)
    return table, images


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Path:
    """Three families on a benchmark of nine images, from files as users have them."""
    folder = tmp_path_factory.mktemp("zero_shot")
    stored = store_benchmark(folder)
    for family in ("vit", "siglip2", "coca"):
        clip = families.make(family, folder)
        file = folder / family / "weights.safetensors"
        checkpoints.save(clip.model, file, {})
        model = {
            "name": f"small-{family}",
            "pretrained": str(file),
            "config": str(folder / family / "open_clip_config.json"),
        }
        paths = {f"{kind}_path": str(folder / f"own/{family}.{end}")
                 for kind, end in (("predictions", "parquet"), ("facts", "json"))}  # fmt: skip
        zero_shot.measure(family, model, None, *stored, **paths, batch=4)
    assert not list(folder.rglob("*.npy"))  # no packed images are left
    return folder


def test_the_table_has_every_model_with_n_interval_and_parameters(measured, tmp_path):
    published = "name,pretrained,benchmark,n,accuracy,source\nsmall-coca,x,own,513,71.2,somebody\n"
    (tmp_path / "published.csv").write_text(published, encoding="utf-8")
    models = [
        {"id": name, "label": f"the {name}", "name": f"small-{name}", "pretrained": "x"}
        for name in ("siglip2", "vit", "coca")
    ]
    paths = {f"{end}_path": str(tmp_path / f"table.{end}") for end in ("csv", "json", "markdown")}
    report.make_table(
        [str(measured / f"own/{model['id']}.parquet") for model in models],
        [str(measured / f"own/{model['id']}.json") for model in models],
        {"own": {row["index"]: row["number"] for row in benchmark()}},
        models=models, variant="repaired", published_csv=str(tmp_path / "published.csv"),
        scale="partial", **paths,
    )  # fmt: skip
    table = sheets.read_csv(paths["csv_path"]).set_index("model")
    assert list(table.index) == ["siglip2", "vit", "coca"]
    assert set(table["n"]) == {9}
    for family, row in table.iterrows():
        answers = pd.read_parquet(measured / f"own/{family}.parquet")
        assert row["accuracy"] == pytest.approx(
            100 * (answers["prediction"] == answers["number"]).mean()
        )
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]
        model = families.make(family, tmp_path).model
        assert row["parameters"] == sum(p.numel() for p in model.parameters())
        assert row["image_size"] == 64
    coca = table.loc["coca"]
    assert coca["published_difference"] == pytest.approx(coca["accuracy"] - 71.2)
    assert table["published"].isna().tolist() == [True, True, False]
    text = Path(paths["markdown_path"]).read_text(encoding="utf-8")
    assert "Published: somebody (n = 513)" in text
    assert "Partial run" in text or "partial run" in text


def test_answers_are_those_of_the_evaluation_of_a_baseline(measured, tmp_path):
    family = "siglip2"
    model = {
        "name": f"small-{family}",
        "pretrained": str(measured / family / "weights.safetensors"),
        "config": str(measured / family / "open_clip_config.json"),
    }
    path = str(tmp_path / "predictions.parquet")
    counting.evaluate({"end": None}, model, benchmark(), "baseline", 0, path, batch=4)
    one, other = pd.read_parquet(path), pd.read_parquet(measured / f"own/{family}.parquet")
    np.testing.assert_allclose(
        np.stack(one["similarity"]), np.stack(other["similarity"]), atol=1e-6
    )


# ---- the list ----


@pytest.mark.parametrize("model", LIST["models"].values(), ids=LIST["models"])
def test_every_model_of_the_list_is_open_clips_and_safe_to_download(model):
    name, tag = model["name"], model["pretrained"]
    published = open_clip.get_pretrained_cfg(name, tag)
    assert published, open_clip.list_pretrained_tags_by_model(name)
    is_quick = open_clip.get_model_config(name).get("quick_gelu", False)
    assert published.get("quick_gelu", False) == is_quick
    assert weights_of.source_of(name, tag)[1].endswith(".safetensors")
    assert preprocessing_of(name, tag).size >= 224


def test_the_list_has_the_families_and_published_figures_are_of_its_models():
    names = " ".join(model["name"] for model in LIST["models"].values())
    for family in ("ViT-", "RN50", "convnext", "SigLIP ", "SigLIP2", "coca", "EVA"):
        assert family in names + " "
    published = sheets.read_csv(HOME / "resources/zero_shot_published.csv")
    listed = {(m["name"].removesuffix("-quickgelu"), m["pretrained"])
              for m in LIST["models"].values()}  # fmt: skip
    assert set(zip(published["name"], published["pretrained"], strict=True)) <= listed


# ---- weights from the hub ----


@pytest.fixture
def hub(monkeypatch) -> Iterator[Hub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    files = {"open_clip_model.safetensors": BODY, "open_clip_pytorch_model.bin": b"a pickle"}
    with serving(Hub(files, repository=REPOSITORY, kind="models")) as running:
        yield running


def fetch(hub: Hub, folder: Path) -> bytes:
    path = folder / "weights.safetensors"
    weights_of.fetch(
        NAME, TAG, path, endpoint=ENDPOINT, state=folder / "state", environment=hub.environment
    )
    return path.read_bytes()


def test_weights_arrive_verified_and_no_pickle_is_asked_for(hub, tmp_path):
    assert fetch(hub, tmp_path) == BODY
    asked = [request["path"] for request in hub.requests]
    assert not any("pytorch_model.bin" in path for path in asked)
    assert f"/{REPOSITORY}/resolve/{COMMIT}/open_clip_model.safetensors" not in hub.asked(
        "cdn.example"
    )


def test_a_download_that_is_cut_goes_on_where_it_was(hub, tmp_path):
    hub.cuts = 2
    assert fetch(hub, tmp_path) == BODY
    starts = [int((request["range"] or "bytes=0-")[6:-1]) for request in hub.asked("cdn.example")]
    assert starts == [0, len(BODY) // 2, 3 * len(BODY) // 4]


def fetch_alone(folder: Path, environment: dict[str, str]) -> None:
    """Ready as soon as some bytes more have arrived."""
    before = arrived(folder)

    def wait() -> None:
        while arrived(folder) <= before:
            time.sleep(0.01)
        print("ready", flush=True)

    threading.Thread(target=wait, daemon=True).start()
    fetch(Hub({}, environment=environment), folder)


def arrived(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("state/*.partial"))


def test_a_download_that_is_killed_goes_on_where_it_was(hub, tmp_path):
    body = BODY * 2
    hub.files["open_clip_model.safetensors"] = body
    hub.chunk, hub.pause = 1 << 14, 0.02  # two and a half seconds in all
    killed_often(fetch_alone, tmp_path, hub.environment, times=3, seed=1, longest=0.6)
    assert (tmp_path / "weights.safetensors").read_bytes() == body
    starts = [int((request["range"] or "bytes=0-")[6:-1]) for request in hub.asked("cdn.example")]
    assert starts == sorted(starts)
    assert len({start for start in starts if start}) >= 2


def test_a_file_that_is_altered_on_the_way_is_refused(hub, tmp_path):
    hub.lies = True
    with pytest.raises(DownloadError, match="the file there is another one.*wrong_sha256"):
        fetch(hub, tmp_path)
    assert not (tmp_path / "weights.safetensors").exists()
    hub.lies = False
    assert fetch(hub, tmp_path) == BODY


def test_weights_that_are_only_a_pickle_are_refused(hub, tmp_path):
    del hub.files["open_clip_model.safetensors"]
    with pytest.raises(FileNotFoundError, match=f"{REPOSITORY} has no open_clip_model.safetensors"):
        fetch(hub, tmp_path)


def test_the_hub_alone_gets_the_token_and_says_what_it_demands(hub, tmp_path, monkeypatch):
    hub.gated = True
    with pytest.raises(PermissionError, match="demands a login: sign in"):
        fetch(hub, tmp_path)
    monkeypatch.setenv("HF_TOKEN", NARROW)
    with pytest.raises(PermissionError, match="says 403"):
        fetch(hub, tmp_path)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert fetch(hub, tmp_path) == BODY
    assert {request["authorization"] for request in hub.asked("cdn.example")} == {None}


def test_a_machine_without_a_network_is_told_so(hub, tmp_path):
    gone = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    hub.environment |= gone
    with pytest.raises(ConnectionError, match="this machine seems to be offline.* name a .safe"):
        fetch(hub, tmp_path)


@pytest.mark.parametrize(
    ("name", "tag", "expected"),
    [
        ("ViT-B-32", "nobody_knows", "open_clip knows no weights 'nobody_knows' .it knows "),
        ("RN50", "nobody", "open_clip knows no weights 'nobody'"),
    ],
)
def test_a_tag_that_open_clip_lacks_is_refused(name, tag, expected):
    with pytest.raises(ValueError, match=expected):
        weights_of.source_of(name, tag)


def test_a_tag_that_names_its_file_gets_the_safe_one_beside_it():
    for name, tag in open_clip.list_pretrained():
        published = open_clip.get_pretrained_cfg(name, tag).get("hf_hub", "")
        if not published:
            continue
        repository, file = weights_of.source_of(name, tag)
        assert published.startswith(f"{repository}/")
        assert file.endswith(".safetensors")
