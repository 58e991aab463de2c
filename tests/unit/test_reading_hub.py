"""TextVQA from a hub: pinned, verified, and told from LAION in every message."""

import json

import pyarrow.parquet as pq
import pytest
from test_reading_data import entry, image, write_parquet

from countclip.data import laion
from countclip.experiments.reading import data, hub, sources
from countclip.runtime.files import sha256
from hub import COMMIT, ENDPOINT, Hub, serving


@pytest.fixture
def textvqa(monkeypatch, tmp_path):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    entries = [entry(number) for number in range(20)]
    files = {"README.md": b"# TextVQA"}
    for part in range(2):
        name = f"data/validation-{part:05}-of-00002.parquet"
        source = write_parquet(tmp_path / "part", entries[10 * part : 10 * part + 10])
        files[name] = source.read_bytes()
    files["data/test-00000-of-00001.parquet"] = files["data/validation-00000-of-00002.parquet"]
    with serving(Hub(files, repository=hub.REPOSITORY)) as running:
        yield running


def make(running, path, **changes):
    settings = {
        "source": "hub", "repository": hub.REPOSITORY, "revision": "main", "endpoint": ENDPOINT,
        "folder": None, "files": [],
    } | changes  # fmt: skip
    manifest = path / "textvqa.tsv"
    laion.make_manifest(manifest, **settings, environment=running.environment, data_set=hub.TEXTVQA)
    return manifest


def download(running, path, part):
    laion.download_part(
        part, path / f"{part}.parquet", manifest=path / "textvqa.tsv", source="hub",
        endpoint=ENDPOINT, state=path / "state", environment=running.environment,
        data_set=hub.TEXTVQA,
    )  # fmt: skip
    return path / f"{part}.parquet"


def test_a_split_comes_from_the_hub_and_is_read(textvqa, tmp_path):
    parts = laion.read_manifest(make(textvqa, tmp_path))
    assert all(f"/datasets/{hub.REPOSITORY}/resolve/{COMMIT}/data/" in one.url
               for one in parts.values())  # fmt: skip
    names = hub.parts_of(parts, "validation")
    assert names == ["validation-00000-of-00002", "validation-00001-of-00002"]
    files = [download(textvqa, tmp_path, name) for name in names]
    assert sum(pq.read_metadata(file).num_rows for file in files) == 20
    assert [one.question_id - 34602 for one in data.read_parquet(files)] == list(range(20))
    assert len(list(data.parquet_images(files))) == 10


def test_the_parts_of_a_split_become_one_source(textvqa, tmp_path):
    names = hub.parts_of(laion.read_manifest(make(textvqa, tmp_path)), "validation")
    folder = tmp_path / "parquet/validation"
    listed = folder.with_suffix(".json")

    def get(part, path):
        download(textvqa, tmp_path, part).rename(path)

    hub.download_parts(names, get, folder, listed)
    digests = json.loads(listed.read_text())
    assert {name: sha256(folder / name) for name in digests} == digests
    assert list(digests) == [f"{name}.parquet" for name in names]
    source = sources.Source.of([str(listed)], {"source": "hub"})
    questions = source.questions()
    assert [one.question_id - 34602 for one in questions] == list(range(20))
    ids = list(dict.fromkeys(one.image_id for one in questions))
    assert [name for name, _ in source.images(ids[3:5])] == ids[3:5]
    assert dict(source.images(ids))[ids[7]] == image(7)


def test_a_split_that_is_not_whole_is_an_error():
    names = ["train-00000-of-00002", "validation-00000-of-00001", "train-00003-of-00002"]
    assert hub.parts_of(names, "validation") == ["validation-00000-of-00001"]
    with pytest.raises(ValueError, match="the parts train-00000-of-00002, train-00003-of-00002"):
        hub.parts_of(names, "train")
    with pytest.raises(ValueError, match="the parts none of the split test"):
        hub.parts_of(names, "test")


def test_messages_name_textvqa_and_its_section_of_the_config(textvqa, tmp_path):
    make(textvqa, tmp_path)
    with pytest.raises(ValueError, match=r"no part 'x'; reading\.parts can be any of test-00000"):
        download(textvqa, tmp_path, "x")
    with pytest.raises(FileNotFoundError, match=r"correct reading\.repository and reading\.rev"):
        make(textvqa, tmp_path, revision="gone")
    textvqa.files.clear()
    with pytest.raises(FileNotFoundError, match=r"or set reading\.manifest to null"):
        download(textvqa, tmp_path, "test-00000-of-00001")
