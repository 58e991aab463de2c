r"""Soft VQA accuracy and exact match, as the evaluator of M4C scores TextVQA.

That evaluator (Hu et al. 2020, mmf/utils/m4c_evaluators.py) follows EvalAI's. It has peculiarities,
which are kept, so that numbers compare:

- It normalises answers even where all annotators agree; VQA v2's script does not.
- Of full stops without a digit behind them it deletes the first 32 (`FULL_STOPS`).
- "a" and "the" become the empty answer, "none" becomes 0, "somebody'd" loses its apostrophe.

The short formula min(matches / 3, 1) differs: three matches score 1 there, and 0.9 here.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache

ANSWERS = 10
"""Answers of each question, one an annotator."""
FULL_STOPS = 32
"""Full stops that are deleted: the evaluator passes a flag of `re`, 32, where a count belongs."""
_SIGNS = ';/[]"{}()=+\\_-><@`!'
_FULL_STOP = re.compile(r"\.(?!\d)")
_COUNTED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {"none": "0"} | {word: str(number) for number, word in enumerate(_COUNTED)}
_ARTICLES = ("a", "an", "the")
_CONTRACTED = """
    ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've hasn't
    haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't
    mightn't've must've mustn't needn't not've o'clock oughtn't 'ow's'at shan't she'd've should've
    shouldn't shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll
    someone's something'd something'd've something'll that's there'd there'd've there're there's
    they'd they'd've they'll they're they've 'twas wasn't we'd've we've weren't what'll what're
    what's what've when's where'd where's where've who'd who'd've who'll who's who've why'll why're
    why's won't would've wouldn't wouldn't've y'all y'all'll y'all'd've you'd you'll you're you've
    you'd've
"""
_CONTRACTIONS = {"somebody'd": "somebodyd"} | {
    word[: sign.start()] + word[sign.end() :]: word
    for word in _CONTRACTED.split()
    for sign in re.finditer("'", word)
}
"""A contraction with one apostrophe missing -> the contraction."""


@cache
def normalise(answer: str) -> str:
    """An answer as it is compared: lower case, without articles and most punctuation."""
    answer = answer.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    answer = re.sub(r"[\n\t]", " ", answer.strip()).strip()
    signs = {
        sign: "" if f"{sign} " in answer or f" {sign}" in answer else " "
        for sign in _SIGNS
        if sign in answer
    }
    answer = _FULL_STOP.sub("", answer.translate(str.maketrans(signs)), count=FULL_STOPS)
    words = (_NUMBERS.get(word, word) for word in answer.split())
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


def scores(answers: Sequence[str]) -> dict[str, float]:
    """The soft score of each normalised answer that an annotator gave; any other scores 0.

    answers: of the ten annotators. With k of them alike the score is 0.3, 0.6, 0.9 or 1 for k of 1,
    2, 3 or more: the mean over the annotators of min(1, matches among the other nine / 3).
    """
    if len(answers) != ANSWERS:
        raise ValueError(f"{len(answers)} answers; a question must have {ANSWERS}")
    counts = Counter(map(normalise, answers))
    return {
        answer: (k * min(3, k - 1) + (ANSWERS - k) * min(3, k)) / (3 * ANSWERS)
        for answer, k in counts.items()
    }


def soft_accuracy(predicted: str, answers: Sequence[str]) -> float:
    """The score of a predicted answer, in [0, 1]."""
    return scores(answers).get(normalise(predicted), 0.0)


def majority(answers: Iterable[str]) -> str:
    """The most frequent normalised answer; of several the first by text."""
    counts = Counter(map(normalise, answers))
    return min(counts, key=lambda answer: (-counts[answer], answer))


def exact_match(predicted: str, answers: Iterable[str]) -> bool:
    """Whether a predicted answer is the most frequent one, both normalised."""
    return normalise(predicted) == majority(answers)


def agreement(answers: Sequence[str]) -> tuple[float, float]:
    """Soft score and exact match of the annotators among each other, means over the ten.

    Each annotator's answer is scored by the nine others: min(1, matches / 3), and whether it is the
    majority of these nine.
    """
    normalised = [*map(normalise, answers)]
    counts = Counter(normalised)
    soft = sum(k * min(3, k - 1) for k in counts.values()) / (3 * len(normalised))
    hits = [
        answer == majority(normalised[:place] + normalised[place + 1 :])
        for place, answer in enumerate(normalised)
    ]
    return soft, sum(hits) / len(hits)
