"""What a model answers, beside a plain reference: one image and one caption alone, in float64."""

import copy

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

import tiny_training
from countclip.data.number_words import NUMBERS, WORDS
from countclip.evaluation import counting
from countclip.evaluation.counting import Questions
from countclip.model import embeddings
from countclip.training import checkpoints

OBJECTS = ("dogs", "cats", "cats and more dogs, photographed from the old pier")


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return tiny_training.make_clip(tiny_training.make_config(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def rows():
    """Fourteen benchmark rows; some captions differ in their number alone."""
    pixels = np.random.default_rng(0).integers(0, 256, (14, 80, 64, 3), dtype=np.uint8)
    return [
        {
            "index": 3 * i,
            "image": Image.fromarray(one),
            "caption": f"A photo of {WORDS[NUMBERS[i % 9]]} {OBJECTS[i % 3]}",
            "number": NUMBERS[i % 9],
        }
        for i, one in enumerate(pixels)
    ]


@pytest.fixture(scope="module")
def asked(clip, rows):
    return Questions.of(clip, rows)


def reference(clip, asked) -> np.ndarray:
    """(n, 9) cosines as open_clip computes them, each caption alone and padded to 77 tokens."""
    model = copy.deepcopy(clip.model).double().eval()
    pad = clip.tokenizer.context_length - asked.tokens.shape[-1]
    tokens = torch.from_numpy(np.pad(asked.tokens, ((0, 0), (0, 0), (0, pad))).astype(np.int64))
    cosines = np.zeros(tokens.shape[:2])
    with torch.no_grad():
        for i, picture in enumerate(asked.images):
            pixels = clip.normalise(torch.from_numpy(picture[None].copy())).double()
            one = model.encode_image(pixels, normalize=True)
            for j, caption in enumerate(tokens[i]):
                other = model.encode_text(caption[None], normalize=True)
                cosines[i, j] = (one @ other.T).item()
    return cosines


def test_answers_are_those_of_one_image_and_one_caption_at_a_time_in_float64(clip, asked):
    plain = reference(clip, asked)
    fast = embeddings.similarities(clip, asked.images, asked.tokens, batch=4)
    np.testing.assert_allclose(fast, plain, atol=1e-5)
    assert (fast.argmax(axis=1) == plain.argmax(axis=1)).all()


def test_each_image_and_each_distinct_caption_is_encoded_once(clip, asked, monkeypatch):
    seen = {"encode_image": [], "encode_text": []}
    for name, batches in seen.items():
        encode = getattr(embeddings, name)

        def counted(model, batch, encode=encode, batches=batches):
            batches.append(batch)
            return encode(model, batch)

        monkeypatch.setattr(embeddings, name, counted)
    embeddings.similarities(clip, asked.images, asked.tokens, batch=4)
    assert sum(map(len, seen["encode_image"])) == len(asked.images)
    assert sum(map(len, seen["encode_text"])) == 9 * len(OBJECTS)
    lengths = [batch.shape[1] for batch in seen["encode_text"]]
    assert max(lengths) == asked.tokens.shape[-1] < clip.tokenizer.context_length


def test_text_only_is_the_answer_to_the_mean_picture_whatever_the_order(clip, asked):
    image, text = embeddings.embed(clip, asked.images, asked.tokens, batch=4)
    alone = counting.text_only(image, text)
    mean = reference_mean(clip, asked)
    expected = (text.double().numpy() @ mean).argmax(axis=1)
    assert (alone == np.asarray(NUMBERS)[expected]).all()
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(asked.images))
        pictures, captions = asked.images[order], asked.tokens[order]
        moved = counting.text_only(*embeddings.embed(clip, pictures, captions, batch=4))
        assert (moved == alone[order]).all()
    shown_to_others = counting.text_only(image.flip(0), text)
    assert (shown_to_others == alone).all()


def reference_mean(clip, asked) -> np.ndarray:
    model = copy.deepcopy(clip.model).double().eval()
    with torch.no_grad():
        pixels = clip.normalise(torch.from_numpy(asked.images)).double()
        return model.encode_image(pixels, normalize=True).mean(dim=0).numpy()


def test_ties_are_told():
    similarity = np.zeros((2, 9), np.float32)
    similarity[1, 4] = 1
    table = counting.predictions(similarity, np.array([7, 8]), np.array([2, 6]), np.array([2, 2]))
    assert table["tie"].tolist() == [True, False]
    assert table["prediction"].tolist() == [2, 6]


def test_a_model_of_nan_ties_everything_and_answers_nothing_in_silence():
    similarity = np.full((2, 9), np.nan, np.float32)
    similarity[1] = np.arange(9)
    assert counting.answers(similarity)["tie"].tolist() == [True, False]


def test_captions_are_compared_in_float32_whatever_the_models_precision():
    """In bfloat16 two cosines in a thousand's distance would be equal."""
    rng = np.random.default_rng(0)
    image, text = (
        torch.nn.functional.normalize(torch.from_numpy(rng.normal(size=size)).float(), dim=-1)
        for size in ((5, 64), (5, 9, 64))
    )
    plain = embeddings.cosines(image, text)
    with embeddings.fabric_of("cpu", "bf16-mixed", 1).autocast():
        mixed = embeddings.cosines(image, text)
    assert mixed.dtype == np.float32
    assert np.array_equal(mixed, plain)


def test_questions_need_the_number_in_the_caption(clip):
    row = {"index": 0, "image": Image.new("RGB", (64, 64)), "caption": "dogs", "number": 3}
    with pytest.raises(ValueError, match="does not name 3"):
        Questions.of(clip, [row])


def test_predictions_of_each_checkpoint_are_published(clip, rows, tmp_path):
    config = tiny_training.make_config(tmp_path)
    weights = str(tmp_path / "end.safetensors")
    checkpoints.save(clip.model, weights, {})
    model = {"name": "tiny-test", "pretrained": None, "config": str(config)}
    path = tmp_path / "predictions.parquet"
    names = {"end": weights, "selected": weights}
    counting.evaluate(names, model, rows, "mine", 3, str(path))
    once = path.read_bytes()
    counting.evaluate(names, model, iter(rows), "mine", 3, str(path))
    assert path.read_bytes() == once
    table = pd.read_parquet(path)
    asked = Questions.of(clip, rows)
    image, text = embeddings.embed(clip, asked.images, asked.tokens)
    for name, own in table.groupby("checkpoint"):
        assert name in names
        assert own["index"].tolist() == asked.indices.tolist()
        assert own["number"].tolist() == asked.numbers.tolist()
        np.testing.assert_array_equal(np.stack(own["similarity"]), embeddings.cosines(image, text))
        assert own["text_only"].tolist() == counting.text_only(image, text).tolist()
