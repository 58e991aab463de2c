"""A machine that is cut off while it asks again keeps what it was told before."""

import json

import pytest

from .conftest import HOME, Workflow

ANSWERS = "results/countbench/answers.parquet"
NOBODY = "http://127.0.0.1:9"


def behind(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, proxy)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("proxy", "message"),
    [
        (NOBODY, "this machine seems to be offline"),
        ("socks://127.0.0.1:9", "a proxy of the kind 'socks' is not supported"),
    ],
)
def test_each_download_says_once_why_nothing_arrived(tmp_path, monkeypatch, proxy, message) -> None:
    behind(proxy, monkeypatch)
    rules = {
        "download_countbench": "results/countbench/list.json",
        "make_manifest": "results/laion/manifest.tsv",
        "fetch_weights": "results/weights/yolov8n.pt",
    }
    said = Workflow(tmp_path)(
        *rules.values(), cores=3, fails=True, only=[HOME / "config/paper.yaml"]
    )
    assert "Trying to restart" not in said
    assert "Traceback" not in said
    for rule in rules:
        log = (tmp_path / f"logs/{rule}").with_suffix(".log")
        log = log if log.exists() else next((tmp_path / "logs" / rule).glob("*.log"))
        lines = log.read_text().splitlines()
        assert f"{rule} ERROR" in lines[-1]
        assert message in lines[-1]
        assert said.count(lines[-1]) == 1


def test_an_outage_leaves_the_answers_of_before(tmp_path, monkeypatch) -> None:
    behind(NOBODY, monkeypatch)
    rows = [
        {"image_url": f"http://{i}.example/", "text": "two cats", "number": 2} for i in range(60)
    ]
    (tmp_path / "list.json").write_text(json.dumps(rows))
    (tmp_path / ANSWERS).parent.mkdir(parents=True)
    (tmp_path / ANSWERS).write_text("of last year")
    said = Workflow(tmp_path)(
        *(ANSWERS, "--forcerun", "ask_countbench"),
        fails=True,
        network="internet",
        laion={"source": "local", "folder": str(tmp_path)},
        countbench={"list": str(tmp_path / "list.json")},
    )
    assert "this machine seems to be offline" in said
    assert (tmp_path / ANSWERS).read_text() == "of last year"
