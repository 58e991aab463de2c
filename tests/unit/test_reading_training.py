"""Readers on frozen embeddings: queries, ranking, training, resuming, predictions."""

import json
import os
import signal

import numpy as np
import pandas as pd
import pytest
import torch

import tiny_training
from countclip.experiments.reading import (
    clusters,
    data,
    embeddings,
    predictions,
    ranking,
    statements,
    train,
)
from countclip.experiments.reading.clusters import Draws, FalseNegatives, false_negatives_of
from countclip.experiments.reading.data import Question
from countclip.experiments.reading.embed import embed
from countclip.experiments.reading.embeddings import Embeddings
from countclip.experiments.reading.evaluate import predict
from countclip.experiments.reading.model import Reader
from countclip.experiments.reading.objective import Batches, Frozen
from countclip.experiments.reading.pool import make_pool
from countclip.model.clip import Clip
from countclip.model.embeddings import similarities
from countclip.training.losses import ClipLoss
from countclip.training.masked import MaskedClipLoss

# ---- readers ----


def unit(*shape, seed=0):
    vectors = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.mark.parametrize("hidden", [0, 16])
@pytest.mark.parametrize(
    ("asks", "expected"),
    [
        ("image", lambda image, question: image),
        ("question", lambda image, question: question),
        ("image+question", lambda image, question: 0.3 * image + 0.7 * question),
    ],
)
def test_an_untrained_reader_is_zero_shot(asks, expected, hidden):
    image, question, answer = (torch.from_numpy(unit(6, 8, seed=seed)) for seed in range(3))
    reader = Reader(8, asks=asks, hidden=hidden, logit_scale=20.0, image_weight=0.3)
    query = expected(image, question)
    query = query / query.norm(dim=1, keepdim=True)
    torch.testing.assert_close(reader.query(image, question), query)
    torch.testing.assert_close(reader.answer(answer), answer)
    assert reader.logit_scale.exp().item() == pytest.approx(20)


def test_what_is_not_asked_changes_nothing():
    image, question = (torch.from_numpy(unit(4, 8, seed=seed)) for seed in range(2))
    for asks, same in (("image", "question"), ("question", "image")):
        reader = Reader(8, asks=asks, hidden=4, logit_scale=10.0)
        torch.nn.init.normal_(reader.second.weight)
        other = torch.from_numpy(unit(4, 8, seed=9))
        changed = (image, other) if same == "question" else (other, question)
        assert torch.equal(reader.query(image, question), reader.query(*changed))


def test_an_unknown_query_is_an_error():
    with pytest.raises(ValueError, match="asks 'both': must be one of image, question, image"):
        Reader(8, asks="both", hidden=0, logit_scale=1.0)


def test_the_objective_gives_the_gradients_of_its_loss():
    n, answers = 9, [[word] * 10 for word in "aabcdefgh"]
    found = FalseNegatives(answers, [ten[0] for ten in answers])
    split = Embeddings(unit(n, 2, 8, seed=1), unit(n, 8, seed=2), unit(n, 8, seed=3))
    draws = Draws([0] * 5 + [1] * 4, size=9, random_share=0.3, seed=0)
    for treatment in ("negatives", "masked", "positives"):
        torch.manual_seed(0)
        reader = Reader(8, asks="image+question", hidden=5, logit_scale=10.0)
        torch.nn.init.normal_(reader.second.weight)
        objective = Frozen(reader, treatment)
        batch = Batches(split, draws, found).batch(0)
        assert batch.false_negatives.sum() == 2
        losses = objective.backward(batch, 0)
        grads = {name: one.grad.clone() for name, one in reader.named_parameters()}
        reader.zero_grad()
        rows = draws.rows(0)
        mean = split.image.mean(axis=1)[rows]
        image = torch.from_numpy(mean / np.linalg.norm(mean, axis=1, keepdims=True))
        query = reader.query(image, torch.from_numpy(split.question[rows]))
        answer = reader.answer(torch.from_numpy(split.answer[rows]))
        scale = reader.logit_scale.exp()
        if treatment == "negatives":
            loss = ClipLoss()(query, answer, scale)
        else:
            loss = MaskedClipLoss(treatment)(query, answer, scale, batch.false_negatives)
        loss.backward()
        torch.testing.assert_close(losses["loss"], loss.detach())
        for name, parameter in reader.named_parameters():
            torch.testing.assert_close(grads[name], parameter.grad)


def test_the_logit_scale_stays_below_a_hundred():
    objective = Frozen(Reader(4, asks="image", hidden=0, logit_scale=500.0), "masked")
    objective.after_step()
    assert objective.columns()["logit_scale"] == pytest.approx(100)


# ---- ranking ----


def test_the_most_similar_answer_is_predicted_and_ties_count_against_the_model():
    pool = np.eye(4, dtype=np.float32)
    queries = np.array(
        [
            [0.9, 0.1, 0.3, 0.2],  # 0 is best; 2, 3, 1 follow
            [0.5, 0.5, 0.1, 0.0],  # two are best
            [0, 0, 0, 0],  # all alike
            [np.nan, 0, 0, 1],
            [0.1, 0.2, 0.3, 0.9],
        ],
        dtype=np.float32,
    )
    ranked = ranking.rank(queries, pool, np.array([2, 0, 1, 0, -1]))
    assert ranked.predicted.tolist() == [0, -1, -1, -1, 3]
    assert ranked.rank.tolist() == [2, 2, 4, 4, -1]
    assert ranked.top[0].tolist() == [0, 2, 3, 1]
    assert ranked.top[4].tolist() == [3, 2, 1, 0]
    shares = np.exp(5 * queries[0]) / np.exp(5 * queries[0]).sum()
    scaled = ranking.rank(queries, pool, np.array([2, 0, 1, 0, -1]), logit_scale=5)
    np.testing.assert_allclose(scaled.probabilities[0], np.sort(shares)[::-1], rtol=1e-6)
    np.testing.assert_allclose(scaled.probabilities[2], 0.25)


def test_ranks_do_not_depend_on_blocks(monkeypatch):
    queries, pool = unit(37, 6), unit(50, 6, seed=1)
    targets = np.random.default_rng(0).integers(-1, 50, 37)
    whole = ranking.rank(queries, pool, targets)
    monkeypatch.setattr(ranking, "BLOCK", 5)
    for one, other in zip(whole, ranking.rank(queries, pool, targets), strict=True):
        np.testing.assert_array_equal(one, other)
    assert whole.top.shape == whole.probabilities.shape == (37, 10)
    similar = queries @ pool.T
    for row in np.flatnonzero(targets >= 0):
        better = (similar[row] > similar[row, targets[row]]).sum()
        assert whole.rank[row] == better + 1


def test_within_a_cluster_only_its_answers_compete():
    pool = np.eye(4, dtype=np.float32)
    queries = np.array([[0.9, 0.5, 0, 0], [0.9, 0.5, 0, 0], [0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0]])
    members = {0: np.array([1, 2]), 1: np.array([0])}
    hits, numbers = ranking.within(
        queries, pool, np.array([1, 1, 3, -1]), np.array([0, 1, 7, 0]), members
    )
    np.testing.assert_array_equal(hits, [1, 0, 1, np.nan])
    np.testing.assert_array_equal(numbers, [2, 2, 1, np.nan])


def test_an_answer_without_a_ranking_is_right_or_far_behind():
    ranked = predictions.of_places(np.array([3, -1, 2]), np.array([3, 1, -1]))
    assert ranked.rank.tolist() == [1, 11, -1]
    assert ranked.top.tolist() == [[3], [-1], [2]]


# ---- embeddings ----


def test_texts_and_images_are_embedded_once_with_what_was_cut(tmp_path, caplog):
    config = tiny_training.make_config(tmp_path)
    long = "dogs and cats " * 30
    tens = [["dogs"] * 10, ["cats"] * 10, ["cats!"] * 10, [long] * 10]
    asked = ["two dogs?", "cats?", "cats?", long]
    questions = [Question("", n, f"i{n // 2}", text, ten)
                 for n, (text, ten) in enumerate(zip(asked, tens, strict=True))]  # fmt: skip
    paths = {name: str(tmp_path / name) for name in ("questions", "images", "embeddings", "other")}
    data.make_split(
        questions, [], split="train", counts=None, ocr=None, questions_parquet=paths["questions"],
        images_parquet=paths["other"], summary_json=tmp_path / "summary.json",
    )  # fmt: skip
    pixels = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)  # two parts each
    with open(paths["images"], "wb") as file:
        np.save(file, pixels)
    pool = pd.DataFrame(
        {
            "place": range(3),
            "answer": ["cats", "x", "y"],
            "spelling": ["cats", long + "dogs", long + "cats"],
            "count": [1, 1, 1],
        }
    )
    pool.to_csv(tmp_path / "pool.csv", index=False)  # fmt: skip
    embed(
        {"train": paths}, str(tmp_path / "pool.csv"), str(tmp_path / "pool.safetensors"),
        str(tmp_path / "embed.json"),
        model={"name": "tiny-test", "pretrained": None, "config": str(config)},
        question_template="{question}", answer_template="{answer}",
        accelerator="cpu", precision="32-true", threads=1,
    )  # fmt: skip
    split = embeddings.read_split(paths["embeddings"])
    assert split.image.shape == (4, 2, 64)
    np.testing.assert_array_equal(split.image[0], split.image[1])
    np.testing.assert_array_equal(split.question[1], split.question[2])
    np.testing.assert_allclose(np.linalg.norm(split.answer, axis=1), 1, rtol=1e-5)
    summary = json.loads((tmp_path / "embed.json").read_text())
    assert (summary["train_questions_cut"], summary["train_answers_cut"]) == (1, 1)
    assert summary["pool_cut"] == 2
    assert summary["pool_answers_with_the_tokens_of_another"] == 1
    assert "1 answers of the pool have the tokens of another one" in caplog.text
    with pytest.raises(ValueError, match="has no answer, image, index, question, so it is not"):
        embeddings.read_split(tmp_path / "pool.safetensors")


# ---- a training, from files to predictions ----

WORDS = [f"w{chr(97 + n // 26)}{chr(97 + n % 26)}" for n in range(40)]
READER = {"asks": "image+question", "hidden": 0}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A world whose images show their word in a turned space, which a linear map can turn back."""
    folder = tmp_path_factory.mktemp("world")
    rng = np.random.default_rng(0)
    words, turn = unit(40, 24, seed=5), np.linalg.qr(rng.normal(size=(24, 24)))[0]
    files = {}
    for split, n in (("train", 600), ("validation", 160)):
        labels = rng.integers(0, 40, n)
        table = [
            Question("", 1000 * len(files) + row, f"{split}{row // 2}", f"what {row % 3}?",
                     [WORDS[label]] * 8 + [WORDS[(label + 1) % 40]] * 2)
            for row, label in enumerate(labels)
        ]  # fmt: skip
        files[split] = {
            name: str(folder / f"{split}_{name}") for name in ("questions", "embeddings")
        }
        data.make_split(
            table, [], split=split, counts=None, ocr=None,
            questions_parquet=files[split]["questions"], images_parquet=folder / "images",
            summary_json=folder / "summary.json",
        )  # fmt: skip
        image = words[labels] @ turn + 0.1 * rng.normal(size=(n, 24))
        question = unit(3, 24, seed=8)[np.arange(n) % 3]
        embeddings.write(
            files[split]["embeddings"], image=image[:, None], index=np.arange(n),
            question=question, answer=words[labels],
        )  # fmt: skip
    pool = make_pool(
        data.read_questions(files["train"]["questions"]), 300,
        pool_csv=folder / "pool.csv", summary_json=folder / "pool.json",
    )  # fmt: skip
    order = [WORDS.index(answer) for answer in pool["answer"]]
    embeddings.write(folder / "pool.safetensors", pool=words[order])
    (folder / "embed.json").write_text('{"logit_scale": 10.0}')
    files["pool"] = [str(folder / name) for name in ("pool.csv", "pool.safetensors", "embed.json")]
    return files


def trained(world, folder, state="state", **options):
    outputs = {name: str(folder / f"{name}.{end}") for name, end in
               (("end", "safetensors"), ("history", "csv"), ("model", "json"))}  # fmt: skip
    settings = tiny_training.SETTINGS | {
        "learning_rate": 0.02, "steps": 60, "evaluations": 3, "batch_size": 20, "threads": 1,
        "reader": READER, "treatment": "masked", "random_share": 0.5,
    }  # fmt: skip
    train.train(
        world["train"], world["validation"], *world["pool"], options.pop("clusters", None),
        outputs, str(folder / state), {"name": "test"}, **settings | options,
    )  # fmt: skip
    return outputs


def predicted(world, folder, weights, found=None, reader=READER):
    path = folder / "predictions.parquet"
    predict(
        world["train"], world["validation"], *world["pool"], found or {}, weights, path,
        reader=reader, threads=1,
    )  # fmt: skip
    questions = data.read_questions(world["validation"]["questions"])
    return predictions.read_predictions(path, questions, 40)


def accuracy(table):
    return (table["rank"] == 1).mean()


def test_training_reads_what_zero_shot_does_not(world, tmp_path):
    before = predicted(world, tmp_path, None)
    outputs = trained(world, tmp_path)
    after = predicted(world, tmp_path, outputs["end"])
    assert accuracy(before) < 0.15
    assert accuracy(after) > 0.6
    history = pd.read_csv(outputs["history"])
    assert history["validation_exact"].iloc[-1] == pytest.approx(accuracy(after))
    assert history["validation_exact"].iloc[0] == pytest.approx(accuracy(before))
    dealt = tmp_path / "dealt"
    dealt.mkdir()
    control = predicted(world, dealt, trained(world, dealt, shuffle_answers=True)["end"])
    assert accuracy(control) < 0.15


def test_clusters_of_a_split_are_files_with_their_false_negatives(world, tmp_path):
    made = clusters.make_clusters(
        world["train"], world["validation"], hard_on="answer", size=20, seed=0,
        clusters_parquet=tmp_path / "clusters.parquet", summary_json=tmp_path / "clusters.json",
    )  # fmt: skip
    assert made == json.loads((tmp_path / "clusters.json").read_text())
    shares = made["false_negatives"]
    # A fortieth has the same answer, and as many the next word, which two annotators gave.
    assert shares["1.0"] == pytest.approx(2 / 40, abs=0.02)
    assert shares["0.0"] > 0.4 > shares["0.5"] > shares["1.0"]
    for split, n in (("train", 600), ("validation", 160)):
        assert len(clusters.read_clusters(tmp_path / "clusters.parquet", split)) == n
    found = {"answer": tmp_path / "clusters.parquet"}
    outputs = trained(world, tmp_path, clusters=str(tmp_path / "clusters.parquet"))
    table = predicted(world, tmp_path, outputs["end"], found)
    assert table["within_answer"].between(0, 1).all()
    assert table["within_answer"].mean() >= accuracy(table)
    assert table["candidates_answer"].max() < 20
    assert table["within_image"].isna().all()


def test_a_training_that_is_stopped_ends_with_the_same_bytes(world, tmp_path, monkeypatch):
    outputs = trained(world, tmp_path)
    whole = {name: (tmp_path / os.path.basename(path)).read_bytes()
             for name, path in outputs.items()}  # fmt: skip
    stopped = tmp_path / "stopped"
    stopped.mkdir()
    batch = Batches.batch

    def stopping(self, step):
        if step == 33:
            os.kill(os.getpid(), signal.SIGTERM)
        return batch(self, step)

    monkeypatch.setattr(Batches, "batch", stopping)
    with pytest.raises(SystemExit):
        trained(world, stopped)
    assert (stopped / "state/state.pt").exists()
    monkeypatch.undo()
    outputs = trained(world, stopped)
    for name, path in outputs.items():
        assert (stopped / os.path.basename(path)).read_bytes() == whole[name], name


def test_predictions_of_other_questions_or_another_pool_are_an_error(world, tmp_path):
    predicted(world, tmp_path, None)
    path = tmp_path / "predictions.parquet"
    other = data.read_questions(world["train"]["questions"])
    with pytest.raises(ValueError, match="on other questions than those of the validation split"):
        predictions.read_predictions(path, other, 40)
    with pytest.raises(ValueError, match="from another pool"):
        predictions.read_predictions(path, data.read_questions(world["validation"]["questions"]), 3)


def test_weights_of_another_reader_are_an_error(world, tmp_path):
    outputs = trained(world, tmp_path, steps=1, evaluations=1)
    with pytest.raises(ValueError, match="not the weights of this reader"):
        predicted(world, tmp_path, outputs["end"], reader=READER | {"hidden": 8})


def test_the_image_alone_makes_questions_on_one_image_alike(world):
    questions = data.read_questions(world["train"]["questions"])
    rows = np.arange(6)
    alone = false_negatives_of(questions, "image").among(rows)
    both = false_negatives_of(questions).among(rows)
    same_image = rows[:, None] // 2 == rows // 2
    np.testing.assert_array_equal(alone, (both | same_image) & ~np.eye(6, dtype=bool))


# ---- statements ----


def test_a_second_pass_ranks_the_best_of_the_first_anew():
    first = ranking.Ranked(
        np.array([4, 2, 0, 1]),
        np.array([[4, 2, 0], [2, 0, 1], [0, 1, 2], [1, 3, 0]]),
        np.zeros((4, 3)),
        np.array([2, 7, -1, 1]),
    )
    similarities = np.array([[0.1, 0.9, 0.3], [0.5, 0.2, 0.7], [0.4, 0.4, 0.1], [0.2, np.nan, 0.6]])
    second = statements.again(first, similarities, np.array([2, 4, -1, 1]), 1.0)
    assert second.predicted.tolist() == [2, 1, -1, 0]  # two of the third are alike
    assert second.top.tolist() == [[2, 0, 4], [1, 2, 0], [0, 1, 2], [0, 1, 3]]
    assert second.rank.tolist() == [1, 7, -1, 2]


def test_statements_are_compared_with_the_image(tmp_path):
    config = tiny_training.make_config(tmp_path)
    tens = [["dogs"] * 10, ["cats"] * 10, ["dogs"] * 10]
    table = [Question("", n, f"i{n}", "what is it?", ten) for n, ten in enumerate(tens)]
    paths = {name: str(tmp_path / name) for name in ("questions", "images", "embeddings", "other")}
    data.make_split(
        table, [], split="validation", counts=None, ocr=None, questions_parquet=paths["questions"],
        images_parquet=paths["other"], summary_json=tmp_path / "summary.json",
    )  # fmt: skip
    with open(paths["images"], "wb") as file:
        np.save(file, np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8))
    make_pool(data.read_questions(paths["questions"]), 9, pool_csv=tmp_path / "pool.csv",
              summary_json=tmp_path / "pool.json")  # fmt: skip
    model = {"name": "tiny-test", "pretrained": None, "config": str(config)}
    run = {"accelerator": "cpu", "precision": "32-true", "threads": 1}
    files = [str(tmp_path / name) for name in ("pool.csv", "pool.safetensors", "embed.json")]
    torch.manual_seed(0)
    embed({"validation": paths}, *files, model=model, question_template="{question}",
          answer_template="{answer}", **run)  # fmt: skip
    torch.manual_seed(0)  # the same random weights
    statements.predict(
        paths, *files, str(tmp_path / "predictions.parquet"), reader=READER, n=2,
        template="{question} {answer}", model=model, **run,
    )  # fmt: skip
    torch.manual_seed(0)
    clip = Clip(**model)
    texts = ["what is it dogs", "what is it cats"]
    similar = similarities(
        clip, np.load(paths["images"]), np.repeat(clip.tokenize(texts)[None], 3, axis=0)
    )
    table = predictions.read_predictions(
        tmp_path / "predictions.parquet", data.read_questions(paths["questions"]), 2
    )
    assert table["predicted"].tolist() == similar.argmax(axis=1).tolist()
