"""A machine that is cut off while it asks again keeps what it was told before."""

import json

from .conftest import Workflow

ANSWERS = "results/countbench/answers.parquet"
NOBODY = "http://127.0.0.1:9"


def test_an_outage_leaves_the_answers_of_before(tmp_path, monkeypatch) -> None:
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, NOBODY)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
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
