"""Objects that a language model finds in captions, by AlignCLIP's prompt.

The model answers at any endpoint that speaks OpenAI's chat protocol, such as a server of one's
own. It is optional: the workflow's parser is in objects.py. An answer is hostile text. So one is
taken only if it is nothing but a list of names, and otherwise dropped with a reason.
"""

import json
import logging
import os
import re
import threading
from collections.abc import Iterable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from countclip.data import number_words
from countclip.data.objects import Objects
from countclip.runtime.files import progress
from countclip.runtime.hosts import is_public
from countclip.runtime.network import DownloadError, explained, post, session

log = logging.getLogger(__name__)

PROMPT = (
    "The following is a caption for an image. Please directly indicate the objects contained in it,"
    " separated by commas."
)
"""Of AlignCLIP's authors (supplementary, section 3); the caption follows on a line of its own."""
LONGEST_CAPTION = 1000
"""Characters of a caption that are sent."""
LARGEST = 1 << 18
"""Bytes of a response."""
LONGEST_ANSWER, LONGEST_NAME, MOST_WORDS, MOST_OBJECTS = 1000, 40, 4, 50
"""Characters of an answer and of an object's name, words of a name, and objects of an answer."""
GIVE_UP = 20
"""Captions in a row without an answer after which the job ends."""
ANYWHERE = ("0.0.0.0/0", "::/0")
"""The endpoint may be in a private network, since the user names it."""
OF_A_CAPTION = ("http_400", "http_413", "http_422", "too_large", "timeout", "truncated")
"""Failures that may be a caption's; these and http_429 and http_5xx are counted, others end the
job."""
NOTHING = ("none", "nothing", "no objects", "n/a")
"""Answers that name no object."""
_NAME = re.compile(r"[^\W\d_]+(?:[-'’ ][^\W\d_]+)*")
_BEFORE = {"a", "an", "the", "and", "some", "several", "many", "one", *number_words.WORDS.values()}


class Endpoint(NamedTuple):
    """Where a model answers.

    base_url: such as http://localhost:8000/v1. key_variable: of the environment, which holds the
    key; None sends none. timeout: seconds for an answer. retries: after a failure that may pass.
    parallel: requests at a time.
    """

    base_url: str
    key_variable: str | None = None
    timeout: float = 60
    retries: int = 5
    parallel: int = 4


class Question(NamedTuple):
    """What decides the answers. parameters: further fields of a request, such as `temperature`."""

    model: str
    parameters: dict[str, float | int | str | bool]

    def body(self, caption: str) -> bytes:
        text = " ".join(caption.split())[:LONGEST_CAPTION]
        message = {"role": "user", "content": f"{PROMPT}\n{text}"}
        fields = {**self.parameters, "model": self.model, "messages": [message]}
        return json.dumps(fields).encode()


class DroppedError(ValueError):
    """An answer that is no list of objects; its text is the reason."""


class Answers:
    """Answers by caption in a file of JSON lines, to which each is added as it arrives."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.of: dict[str, str] = {}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        whole = 0
        if self.path.exists():
            with open(self.path, "rb") as file:
                for number, line in enumerate(file, 1):
                    if not line.endswith(b"\n"):
                        break  # of a job that was killed
                    try:
                        caption, answer = json.loads(line)
                    except ValueError as error:
                        raise ValueError(
                            f"{path}: line {number} is damaged: {error}; delete that line"
                        ) from error
                    self.of[caption] = answer
                    whole += len(line)
            os.truncate(self.path, whole)

    def add(self, caption: str, answer: str) -> None:
        self.of[caption] = answer
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps([caption, answer]) + "\n")


def ask(
    captions: Iterable[str], question: Question, endpoint: Endpoint, answers: Answers
) -> dict[str, str]:
    """Add the answers that are lacking; returns why a caption has none.

    DownloadError where the endpoint refuses or is not there; what has arrived stays.
    """
    left = [caption for caption in dict.fromkeys(captions) if caption not in answers.of]
    log.info("%d captions have an answer, %d are asked about", len(answers.of), len(left))
    client = _Client(question, endpoint)
    failed: dict[str, str] = {}
    in_a_row = 0
    running: dict[Future[str], str] = {}
    waiting = iter(left)
    with (
        progress(total=len(left), unit="caption", desc="ask the model") as bar,
        ThreadPoolExecutor(endpoint.parallel) as pool,
        explained("objects of captions", "correct soft_labels.llm"),
    ):
        while True:
            while len(running) < endpoint.parallel and (caption := next(waiting, None)) is not None:
                running[pool.submit(client.answer, caption)] = caption
            if not running:
                return failed
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                caption = running.pop(future)
                bar.update()
                in_a_row += 1
                try:
                    answers.add(caption, future.result())
                    in_a_row = 0
                except DroppedError as error:
                    if in_a_row == GIVE_UP:
                        raise ValueError(
                            f"{client.url}: {GIVE_UP} responses in a row are unusable, the last one"
                            f" as {error}; correct soft_labels.llm"
                        ) from error
                    failed[caption] = str(error)
                except DownloadError as error:
                    if not _is_of_a_caption(error) or in_a_row == GIVE_UP:
                        raise
                    failed[caption] = error.reason


def _is_of_a_caption(error: DownloadError) -> bool:
    return error.reason in (*OF_A_CAPTION, "http_429") or error.reason.startswith("http_5")


class _Client:
    """Requests of several threads to one endpoint."""

    def __init__(self, question: Question, endpoint: Endpoint) -> None:
        self.question, self.endpoint = question, endpoint
        self.url = f"{endpoint.base_url.rstrip('/')}/chat/completions"
        self.key = _key(endpoint.key_variable)
        self.headers = {"Content-Type": "application/json"}
        if self.key:
            self.headers["Authorization"] = f"Bearer {self.key}"
        # A proxy cannot reach what listens on this machine alone.
        self.environment = {"http_proxy": ""} if _is_local(self.url) else {}
        self.resting: dict[str, float] = {}
        self.of_thread = threading.local()

    def answer(self, caption: str) -> str:
        """The model's text; DroppedError for a response without one."""
        if not hasattr(self.of_thread, "session"):
            self.of_thread.session = session(
                self.environment, allowed=ANYWHERE, resting=self.resting
            )
        response = post(
            self.url, self.question.body(caption), session=self.of_thread.session,
            max_bytes=LARGEST, headers=self.headers, timeout=self.endpoint.timeout,
            retries=self.endpoint.retries,
        )  # fmt: skip
        text = text_of(response.body)
        if self.key and self.key in text:
            raise DroppedError("echoes_key")  # nothing may write it to a file
        return text


def _key(variable: str | None) -> str:
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ValueError(
            f"soft_labels.llm.key_variable: the environment has no key in {variable}: export it, or"
            " set key_variable to null if the endpoint needs none"
        )
    return key


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return not is_public(host)
    except ValueError:
        return host == "localhost"


def text_of(body: bytes) -> str:
    """The text of a response, cut above LONGEST_ANSWER; DroppedError for one without."""
    try:
        choice = json.loads(body)["choices"][0]
        text, end = choice["message"]["content"], choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise DroppedError("no_chat_completion") from None
    if end == "content_filter" or choice["message"].get("refusal"):
        raise DroppedError("refused")
    if end == "length":
        raise DroppedError("cut_off")
    if not isinstance(text, str):
        raise DroppedError("no_chat_completion")
    return text.encode(errors="replace").decode()[: LONGEST_ANSWER + 1]


def objects_of(answer: str, parser: Objects) -> set[str]:
    """The objects that an answer lists, in lower case, the last word of each in the singular.

    DroppedError for an answer that is anything else: several lines, a sentence, too much.
    """
    text = answer.strip().removesuffix(".").lower()
    if len(answer) > LONGEST_ANSWER:
        raise DroppedError("too_long")
    if not text:
        raise DroppedError("empty")
    if text in NOTHING:
        return set()
    found = set()
    for item in text.split(","):
        words = item.strip(" \"“”'‘’`*").split(" ")
        while words and (words[0] in _BEFORE or words[0].isdecimal()):
            del words[0]
        name = " ".join(words)
        if len(words) > MOST_WORDS or len(name) > LONGEST_NAME or not _NAME.fullmatch(name):
            raise DroppedError("no_list_of_objects")
        found.add(" ".join([*words[:-1], parser.singular(words[-1])]))
    if len(found) > MOST_OBJECTS:
        raise DroppedError("too_many_objects")
    return found
