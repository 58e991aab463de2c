"""Objects by a language model: a real server on this machine that answers as a test plans it."""

import json
import logging
import socket
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

import loopback
from countclip.data.llm_objects import (
    GIVE_UP,
    LARGEST,
    LONGEST_CAPTION,
    MOST_OBJECTS,
    PROMPT,
    Answers,
    DroppedError,
    Endpoint,
    Question,
    ask,
    objects_of,
    text_of,
)
from countclip.data.objects import Objects
from countclip.experiments.soft_labels import settings
from countclip.experiments.soft_labels.caption_sets import CaptionSet
from countclip.experiments.soft_labels.llm_counts import count_llm_objects
from countclip.experiments.soft_labels.statistics import statistics
from countclip.runtime.network import DownloadError
from countclip.runtime.resources import HOME
from countclip.settings import experiments
from countclip.settings.common import ConfigError

KEY = "sk-made-up-17"
QUESTION = Question("small-model", {"temperature": 0, "seed": 3})


def completion(text: object, end: str = "stop", **message: object) -> bytes:
    choice = {"message": {"role": "assistant", "content": text, **message}, "finish_reason": end}
    return json.dumps({"choices": [choice]}).encode()


class Model(loopback.Handler):
    """Answers a caption by the server's `answer`; notes path, key and fields of each request."""

    def do_POST(self) -> None:
        fields = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.requests.append((self.path, self.headers["Authorization"], fields))
        caption = fields["messages"][-1]["content"].rpartition("\n")[2]
        with suppress(OSError):
            self.server.answer(self, caption)


@pytest.fixture
def model(monkeypatch):
    """A model that lists the last word of a caption."""
    monkeypatch.setenv("MADE_UP_KEY", KEY)

    def answer(handler, caption):
        handler.send(200, completion(caption.split()[-1]), "application/json")

    with loopback.serving(loopback.Server(Model, answer=answer, requests=[])) as server:
        server.endpoint = Endpoint(f"{server.url}/v1", "MADE_UP_KEY", timeout=5, retries=1)
        yield server


def asked(model) -> list[str]:
    return [fields["messages"][-1]["content"].rpartition("\n")[2] for *_, fields in model.requests]


# ---- requests ----


def test_a_request_has_prompt_caption_settings_and_key(model, tmp_path):
    answers = Answers(tmp_path / "answers.jsonl")
    long = "a lamp\n on  a " + "very " * 400 + "big desk"
    assert ask(["two owls", long, "two owls"], QUESTION, model.endpoint, answers) == {}
    assert len(model.requests) == 2
    for path, authorization, fields in model.requests:
        assert (path, authorization) == ("/v1/chat/completions", f"Bearer {KEY}")
        content = fields.pop("messages")[0]["content"]
        assert fields == {"model": "small-model", "temperature": 0, "seed": 3}
        assert content.startswith(f"{PROMPT}\n")
        caption = content.removeprefix(f"{PROMPT}\n")
        assert caption == "two owls" or caption == " ".join(long.split())[:LONGEST_CAPTION]
    assert answers.of["two owls"] == "owls"


def test_without_a_variable_no_key_is_sent_and_an_empty_one_is_an_error(model, tmp_path):
    answers = Answers(tmp_path / "answers.jsonl")
    ask(["an owl"], QUESTION, model.endpoint._replace(key_variable=None), answers)
    assert model.requests[0][1] is None
    with pytest.raises(ValueError, match="no key in OTHER_KEY: export it"):
        ask(["a yak"], QUESTION, model.endpoint._replace(key_variable="OTHER_KEY"), answers)


def test_answers_are_kept_and_a_killed_job_asks_only_what_is_left(model, tmp_path):
    path = tmp_path / "answers.jsonl"
    ask(["an owl", "a yak"], QUESTION, model.endpoint, Answers(path))
    with open(path, "ab") as file:
        file.write(b'["a cut li')  # as a kill leaves it
    answers = Answers(path)
    assert answers.of == {"an owl": "owl", "a yak": "yak"}
    ask(["a yak", "an elk", "an owl"], QUESTION, model.endpoint, answers)
    assert Counter(asked(model)) == {"an owl": 1, "a yak": 1, "an elk": 1}
    assert Answers(path).of == {"an owl": "owl", "a yak": "yak", "an elk": "elk"}


def test_a_damaged_line_is_named(tmp_path):
    (tmp_path / "answers.jsonl").write_text('["an owl", "owl"]\n{oops\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"answers.jsonl: line 2 is damaged"):
        Answers(tmp_path / "answers.jsonl")


# ---- failures ----


def failing(model, tmp_path, captions, answer, **endpoint) -> dict[str, str]:
    model.answer = answer
    where = model.endpoint._replace(**endpoint)
    return ask(captions, QUESTION, where, Answers(tmp_path / "answers.jsonl"))


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_failure_that_passes_is_tried_again(model, tmp_path, status):
    def answer(handler, caption):
        if len(model.requests) == 1:
            return handler.send(status, b"busy", Retry_After=0)
        return handler.send(200, completion("owl"))

    assert failing(model, tmp_path, ["an owl"], answer) == {}
    assert len(model.requests) == 2


def test_failures_of_single_captions_are_counted_by_reason(model, tmp_path):
    def answer(handler, caption):
        match caption.split()[0]:
            case "long":
                handler.send(200, completion("owl " * LARGEST))
            case "slow":
                time.sleep(1)
            case "refused":
                handler.send(400, b"content policy")
            case "broken":
                handler.send(500, b"")
            case "half":
                handler.send(200, completion("owl", "length"))
            case "page":
                handler.send(200, b"<html>", "text/html")
            case "thief":
                handler.send(200, completion(f"owl, {KEY}"))
            case _:
                handler.send(200, completion("owl"))

    words = ("long", "slow", "refused", "broken", "half", "page", "thief", "good")
    found = failing(
        model, tmp_path, [f"{word} owl" for word in words], answer, timeout=0.5, retries=0
    )
    assert {caption.split()[0]: reason for caption, reason in found.items()} == {
        "long": "too_large", "slow": "timeout", "refused": "http_400", "broken": "http_500",
        "half": "cut_off", "page": "no_chat_completion", "thief": "echoes_key",
    }  # fmt: skip
    assert KEY not in (tmp_path / "answers.jsonl").read_text(encoding="utf-8")


def test_a_refused_key_ends_the_job_and_is_told_nowhere(model, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    with pytest.raises(DownloadError, match=r"demands a login; correct soft_labels.llm") as error:
        failing(model, tmp_path, ["an owl"], lambda handler, _: handler.send(401, KEY.encode()))
    assert KEY not in str(error.value) + caplog.text


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(model, tmp_path, status):
    with loopback.serving(loopback.Server(Model, answer=model.answer, requests=[])) as other:
        with pytest.raises(DownloadError, match="redirects to another address"):
            failing(
                model, tmp_path, ["an owl"],
                lambda handler, _: handler.send(status, b"", Location=f"{other.url}/v1/steal"),
            )  # fmt: skip
        assert (len(model.requests), other.requests) == (1, [])


def test_an_endpoint_that_is_not_there_ends_the_job(tmp_path, model):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    endpoint = Endpoint(f"http://127.0.0.1:{port}/v1", retries=0)
    with pytest.raises(DownloadError, match="127.0.0.1 is not reached"):
        ask(["an owl"], QUESTION, endpoint, Answers(tmp_path / "answers.jsonl"))


def test_an_endpoint_that_never_answers_right_is_not_asked_for_ever(model, tmp_path):
    captions = [f"owl {number}" for number in range(GIVE_UP + 50)]
    with pytest.raises(ValueError, match="20 responses in a row are unusable"):
        failing(model, tmp_path, captions, lambda handler, _: handler.send(200, b"{}"))
    with pytest.raises(DownloadError, match="http_500"):
        failing(model, tmp_path, captions, lambda handler, _: handler.send(500, b""), retries=0)
    assert len(model.requests) < 2 * (GIVE_UP + model.endpoint.parallel + 1)


def test_a_proxy_is_no_way_to_this_machine(model, tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    answers = Answers(tmp_path / "answers.jsonl")
    ask(["an owl"], QUESTION, model.endpoint, answers)
    assert answers.of == {"an owl": "owl"}


# ---- responses and answers ----


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "no_chat_completion"),
        (b"[" * 100_000, "no_chat_completion"),
        (b'{"choices": []}', "no_chat_completion"),
        (b'{"choices": [7]}', "no_chat_completion"),
        (b'{"choices": [{"message": null}]}', "no_chat_completion"),
        (completion(None), "no_chat_completion"),
        (completion(["owl"]), "no_chat_completion"),
        (completion("owl", "content_filter"), "refused"),
        (completion("owl", refusal="I cannot"), "refused"),
        (completion("owl", "length"), "cut_off"),
    ],
)
def test_a_response_without_a_whole_text(body, reason):
    with pytest.raises(DroppedError, match=reason):
        text_of(body)


def test_the_text_of_a_response_can_be_written_to_a_file():
    assert text_of(completion("owl \ud800")).encode() == b"owl ?"


@pytest.fixture(scope="module")
def parser() -> Objects:
    return Objects()


@pytest.mark.parametrize(
    ("answer", "objects"),
    [
        ("Owls, a coffee table, The dog.", {"owl", "coffee table", "dog"}),
        (" \"Knives\", two women, and a t-shirt\n", {"knife", "woman", "t-shirt"}),
        ("dog, dog, Dogs", {"dog"}),
        ("3 birds, several men", {"bird", "man"}),
        ("smartphone, gizmotron", {"smartphone", "gizmotron"}),
        ("None.", set()),
        ("no objects", set()),
        ("café", {"café"}),
    ],
)  # fmt: skip
def test_an_answer_that_is_a_list(answer, objects, parser):
    assert objects_of(answer, parser) == objects


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", "empty"),
        ("  .\n", "empty"),
        ("The objects are: dog, ball", "no_list_of_objects"),
        ("There are no objects in this caption", "no_list_of_objects"),
        ("- dog\n- ball", "no_list_of_objects"),
        ("dog,, ball", "no_list_of_objects"),
        ("dog, <script>alert(1)</script>", "no_list_of_objects"),
        ("dog, ../../etc/passwd", "no_list_of_objects"),
        ("=cmd()", "no_list_of_objects"),
        ("$dog$", "no_list_of_objects"),
        ("dog\x00, ball", "no_list_of_objects"),
        ("dog, \u202egod", "no_list_of_objects"),
        ("d" * 41, "no_list_of_objects"),
        ("the, dog", "no_list_of_objects"),
        ("dog, " * 300, "too_long"),
        (", ".join(map(chr, range(0x4E00, 0x4E00 + MOST_OBJECTS + 1))), "too_many_objects"),
    ],
)
def test_an_answer_that_is_none(answer, reason, parser):
    with pytest.raises(DroppedError, match=reason):
        objects_of(answer, parser)


# ---- a whole set ----


def count(model, tmp_path: Path, **changes) -> dict:
    (tmp_path / "captions.csv").write_text(
        "caption\n" + "\n".join(["two owls", "an owl", "two owls", "", "a tale", "x y", "a yak"]),
        encoding="utf-8",
    )
    count_llm_objects(
        CaptionSet((str(tmp_path / "captions.csv"),)), QUESTION, model.endpoint,
        answers_jsonl=tmp_path / "answers.jsonl",
        objects_parquet=tmp_path / "objects.parquet",
        captions_parquet=tmp_path / "captions.parquet",
        counts_json=tmp_path / "counts.json",
        state=tmp_path / "state",
        **{"max_captions": 4} | changes,
    )  # fmt: skip
    return json.loads((tmp_path / "counts.json").read_text(encoding="utf-8"))


def test_objects_of_a_set_are_counted_and_what_is_dropped_by_reason(model, tmp_path):
    def answer(handler, caption):
        texts = {"two owls": "owls, tree", "an owl": "owl", "a tale": "None", "x y": "I see x"}
        if caption == "x y":
            return handler.send(400, b"")
        return handler.send(200, completion(texts[caption]))

    model.answer = answer
    counts = count(model, tmp_path)
    assert counts["captions"] == 4  # two owls twice, an owl, a tale
    assert {k: v for k, v in counts["dropped"].items() if k != "blank"} == {
        "http_400": 1, "over_max_captions": 1,
    }  # fmt: skip
    assert counts["units"]["llm"] == {
        "objects": 2, "mentions": 5, "seen_once": 0, "tail_objects": 0, "tail_mentions": 0,
        "captions_without": 1,
    }  # fmt: skip
    objects = pq.read_table(tmp_path / "objects.parquet").to_pylist()
    assert sorted(objects, key=lambda row: row["object"]) == [
        {"object": "owl", "mentions": 3, "tail": False},
        {"object": "tree", "mentions": 2, "tail": False},
    ]
    assert pq.read_table(tmp_path / "captions.parquet").to_pydict() == {
        "caption": ["two owls", "an owl", "a tale"], "objects": [["owl", "tree"], ["owl"], []],
    }  # fmt: skip
    before = len(model.requests)
    model.answer = lambda handler, caption: handler.send(200, completion("x"))
    assert count(model, tmp_path)["dropped"].get("http_400") is None
    assert asked(model)[before:] == ["x y"]  # the only one without an answer
    published = str(HOME / "resources/soft_labels_published.csv")
    table = statistics([("Mine", str(tmp_path / "counts.json"))], published, "miniature")
    assert table[["set", "unit", "captions", "objects"]].iloc[0].tolist() == ["Mine", "llm", 5, 3]


# ---- the config ----


def config(**llm) -> dict:
    made = yaml.safe_load((HOME / "config/soft_labels.yaml").read_text(encoding="utf-8"))
    made["soft_labels"]["llm"] |= llm
    return made


def test_by_default_no_model_is_asked():
    assert experiments.llm_sets(config()) == []
    assert "llm" not in settings.units(config(), "counting")


def test_a_set_that_is_asked_about_needs_endpoint_and_model():
    where = {"base_url": "http://10.0.0.7/v1", "model": "m"}
    assert experiments.llm_sets(config(sets=["non_counting"], **where)) == ["non_counting"]
    assert settings.units(config(sets=["counting"], **where), "counting")[-1] == "llm"
    for lacking in where:
        with pytest.raises(ConfigError, match=f"needs soft_labels.llm.{lacking}"):
            experiments.llm_sets(config(sets=["counting"], **where | {lacking: None}))
    with pytest.raises(ConfigError, match="no such sets: owls; caption_sets has counting, non"):
        experiments.llm_sets(config(sets=["owls"], **where))
