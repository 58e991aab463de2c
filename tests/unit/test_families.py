"""Families of open_clip: their preprocessing, embeddings and losses are open_clip's."""

import copy
import json

import numpy as np
import open_clip
import pytest
import torch
from open_clip.loss import SigLipLoss
from PIL import Image

import families
from countclip.data.number_words import WORDS
from countclip.evaluation import relevancy
from countclip.model import embeddings
from countclip.model.clip import (
    Clip,
    cut_padding,
    encode_text,
    lengths,
    preprocessing_from,
    preprocessing_of,
    token_table,
)
from countclip.model.inputs import nine_captions, pack_images, tokens_of
from countclip.model.libraries import Fabric
from countclip.model.preprocessing import Preprocessing
from countclip.training import checkpoints, trainable
from countclip.training.batches import Batch
from countclip.training.contrastive import Contrastive
from countclip.training.counting import Batches, Pairs
from countclip.training.losses import ClipLoss, CountClipLoss, SigmoidLoss

CAPTIONS = ["two dogs", "a photo of nine dogs that look into the camera", "dogs"]


@pytest.fixture(scope="module", params=list(families.MEMBERS))
def family(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("families")


@pytest.fixture(scope="module")
def clip(family, folder) -> Clip:
    clip = families.make(family, folder)
    clip.model.eval()
    return clip


def images() -> list[Image.Image]:
    """Images of several shapes and modes."""
    pixels = np.random.default_rng(5).integers(0, 256, (9, 13, 3), np.uint8)
    whole = Image.fromarray(pixels).resize((260, 180), Image.Resampling.BICUBIC)
    return [whole, whole.crop((0, 0, 70, 180)), whole.resize((40, 40)), whole.convert("L")]


@pytest.fixture(scope="module")
def theirs(family, clip, folder):
    """The member and its preprocessing as open_clip itself opens it from a folder."""
    home = folder / family
    checkpoints.save(clip.model, home / "open_clip_model.safetensors", {})
    model, _, preprocess = open_clip.create_model_and_transforms(f"local-dir:{home}")
    return model.eval(), preprocess, open_clip.get_tokenizer(f"local-dir:{home}")


@torch.no_grad()
def test_images_and_texts_are_embedded_as_open_clip_does(clip, theirs):
    model, preprocess, tokenizer = theirs
    packed = np.stack([clip.preprocessing.resize(image) for image in images()])
    expected = torch.stack([preprocess(image) for image in images()])
    pixels = clip.normalise(torch.from_numpy(packed))
    torch.testing.assert_close(pixels, expected, atol=1e-6, rtol=0)
    found = embeddings.embed_images(clip, packed, batch=3)
    wanted = torch.nn.functional.normalize(model.encode_image(expected), dim=-1)
    torch.testing.assert_close(found, wanted, atol=1e-6, rtol=0)
    text = embeddings.embed_texts(clip, clip.tokenize(CAPTIONS), batch=2)
    wanted = torch.nn.functional.normalize(model.encode_text(tokenizer(CAPTIONS)), dim=-1)
    torch.testing.assert_close(text, wanted, atol=1e-6, rtol=0)
    assert (text[0] - text[2]).abs().max() > 1e-3


def test_the_folder_of_fine_tuned_weights_says_what_they_need(clip, theirs):
    """What a training writes beside weights is what they began with."""
    written = json.loads(json.dumps(clip.open_clip_config()))
    assert written["model_cfg"] == clip.architecture
    assert Preprocessing.of({"size": clip.image_size}, written["preprocess_cfg"]) == (
        clip.preprocessing
    )


def batches(clip: Clip) -> Batches:
    side = clip.image_size
    pixels = np.random.default_rng(0).integers(0, 256, (8, side, side, 3), dtype=np.uint8)
    texts = ["two dogs", "three dogs on a lawn", "four dogs", "five dogs"]
    return Batches(
        Pairs.counting(clip, pixels, np.arange(4), texts, [2, 3, 4, 5]),
        Pairs.plain(clip, pixels, np.arange(4, 8), ["cats and more cats, all asleep"] * 4),
        size=4, n_counting=2, counterfactuals=8, lambdas=dict.fromkeys(range(2, 11), 1.0), seed=1,
    )  # fmt: skip


def test_a_step_gives_each_tower_the_gradient_of_open_clips_own_loss(clip, family, folder):
    """Plain autograd through open_clip's modules, at its full context."""
    clip = families.make(family, folder)
    sigmoid = clip.model.logit_bias is not None
    criterion = CountClipLoss(20.0)
    if sigmoid:
        criterion.clip_loss = SigmoidLoss(clip.model)
    objective = Contrastive(clip, criterion)
    objective.setup(Fabric(accelerator="cpu", devices=1))
    objective.train()
    source = batches(clip)
    for step in (0, 1):  # the second one after what the first left behind
        objective.zero_grad(set_to_none=True)
        batch = source.batch(step)
        losses = objective.backward(batch, seed=3)
    found = {n: p.grad.clone() for n, p in clip.model.named_parameters() if p.grad is not None}
    assert not any(name.startswith("text_decoder.") for name in found)
    clip.model.zero_grad(set_to_none=True)
    token_table(clip.model).sparse = False
    texts = clip.tokenizer(texts_of(clip, batch))
    image = clip.model.encode_image(clip.normalise(batch.images[:]), normalize=True)
    text = clip.model.encode_text(texts, normalize=True)
    scale = clip.model.logit_scale.exp()
    if sigmoid:
        clip_loss = SigLipLoss()(image, text[:4], scale, clip.model.logit_bias)
    else:
        clip_loss = ClipLoss()(image, text[:4], scale)
    candidates = torch.cat([text[:2, None], text[4:].reshape(2, 8, -1)], dim=1)
    count = torch.einsum("nd,nkd->nk", image[:2], candidates) * 20
    loss = clip_loss - torch.log_softmax(count, dim=1)[:, 0].mean()
    loss.backward()
    assert losses["loss"].item() == pytest.approx(loss.item(), rel=1e-4)
    for name, parameter in clip.model.named_parameters():
        if parameter.grad is None or parameter.grad.abs().max() == 0:
            continue
        torch.testing.assert_close(
            found[name].to_dense(), parameter.grad.to_dense(), atol=2e-5, rtol=2e-3, msg=name
        )
    assert ("logit_bias" in found) == sigmoid


def texts_of(clip: Clip, batch: Batch) -> list[str]:
    return [clip.decode([int(t) for t in row[words]]) for row, words in zip(
        batch.tokens, clip.words(batch.tokens.numpy()), strict=True
    )]  # fmt: skip


def test_last_blocks_of_a_tower_without_them_are_refused_by_key(clip, family):
    options = {"tower": "image", "lora_rank": None, "logit_scale": True}
    if "timm_model_name" in clip.architecture["vision_cfg"] or family == "resnet":
        with pytest.raises(ValueError, match="training.last_blocks .*set both to null"):
            trainable.choose(clip.model, last_blocks=1, **options)
    trainable.choose(clip.model, last_blocks=1, **options | {"tower": "text"})
    trained = {n for n, p in clip.model.named_parameters() if p.requires_grad}
    assert any("resblocks.1." in name for name in trained)
    assert not any("resblocks.0." in name or "text_decoder" in name for name in trained)
    assert any(name.endswith("ln_final.weight") for name in trained)
    clip.model.requires_grad_(True)


def test_relevancy_adds_up_whatever_the_tower(clip):
    tokens = clip.tokenize(CAPTIONS)
    image = torch.nn.functional.normalize(torch.randn(3, clip.architecture["embed_dim"]), dim=-1)
    found = relevancy.attributions(clip, image, tokens, steps=8)
    assert found.shape == tokens.shape
    assert (found[~clip.words(tokens)] == 0).all()
    assert np.abs(found).max() > 0
    clip.model.requires_grad_(True)


def test_the_nine_captions_stay_apart_at_the_limit(clip):
    long = "dogs and " * 80 + "nine cats"
    tokens = tokens_of(clip, [nine_captions(clip, long, 9)])
    assert len(np.unique(tokens[0], axis=0)) == 9


@pytest.mark.parametrize("pad", ["<pad>", "</s>"])
def test_a_tokenizer_of_hugging_face_beside_the_config_is_read(pad, tmp_path):
    """SigLIP pads with its end token, SigLIP 2 with another; where transformers is installed."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    made = tokenizers.Tokenizer(tokenizers.models.Unigram())
    made.pre_tokenizer = tokenizers.pre_tokenizers.Metaspace()
    marks = ["<pad>", "</s>", "<unk>"]
    trainer = tokenizers.trainers.UnigramTrainer(
        vocab_size=300, special_tokens=marks, unk_token="<unk>"
    )
    made.train_from_iterator([*CAPTIONS, *WORDS.values(), "and cats"] * 40, trainer)
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, pad_token=pad, eos_token="</s>", unk_token="<unk>",
        padding_side="right",
    ).save_pretrained(tmp_path)  # fmt: skip
    architecture, preprocessing = copy.deepcopy(families.MEMBERS["siglip2"])
    architecture["text_cfg"] |= {
        "hf_tokenizer_name": "nobody/nothing",
        "tokenizer_kwargs": {"clean": "canonicalize"},
    }
    whole = {"model_cfg": architecture, "preprocess_cfg": preprocessing}
    path = tmp_path / "open_clip_config.json"
    path.write_text(json.dumps(whole), encoding="utf-8")
    clip = Clip("with-sentencepieces", None, str(path))
    clip.model.eval()
    assert (clip.pad, clip.token_limit) == (marks.index(pad), 63)
    checkpoints.save(clip.model, tmp_path / "open_clip_model.safetensors", {})
    model, _, _ = open_clip.create_model_and_transforms(f"local-dir:{tmp_path}")
    tokens = open_clip.get_tokenizer(f"local-dir:{tmp_path}")(CAPTIONS)
    with torch.no_grad():
        expected = model.eval().encode_text(tokens, normalize=True)
        found = embeddings.embed_texts(clip, clip.tokenize(CAPTIONS), batch=2)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    tokens = tokens_of(clip, [nine_captions(clip, "dogs and " * 80 + "nine cats", 9)])
    assert len(np.unique(tokens[0], axis=0)) == 9
    first, last = relevancy.word_span(clip, CAPTIONS[1], 9)
    named = clip.decode(clip.tokenize([CAPTIONS[1]])[0, first:last].tolist())
    assert named.replace("\u2581", "").replace(" ", "") == "nine"


def test_padding_that_a_tower_sees_comes_back():
    tokens = np.array([[5, 1, 7, 1, 1, 1], [5, 5, 1, 1, 1, 1]], np.uint32)
    assert lengths(tokens, 1).tolist() == [3, 2]
    assert cut_padding(tokens, 1).tolist() == [[5, 1, 7], [5, 5, 1]]
    assert cut_padding(np.zeros((0, 6), np.uint16)).shape == (0, 1)
    assert lengths(np.full((1, 4), 9), 9).tolist() == [0]


def test_sigmoid_loss_is_open_clips_whole_and_in_pieces():
    torch.manual_seed(1)
    image, text = (torch.nn.functional.normalize(torch.randn(7, 5), dim=-1) for _ in range(2))
    image.requires_grad_()
    model = torch.nn.Module()
    model.logit_bias = torch.nn.Parameter(torch.tensor(-3.0))
    expected = SigLipLoss()(image, text, torch.tensor(12.0), model.logit_bias)
    gradients = torch.autograd.grad(expected, [image, model.logit_bias])
    for rows in (None, 3):
        loss = SigmoidLoss(model, rows)
        found = loss(image, text, torch.tensor(12.0))
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(torch.autograd.grad(found, [image, model.logit_bias]), gradients)
        assert not list(loss.parameters())
        assert not loss.state_dict()


@pytest.mark.parametrize(
    ("name", "pretrained", "expected"),
    [
        ("ViT-L-14", "laion2b_s32b_b82k", {"mean": (0.5,) * 3, "std": (0.5,) * 3}),
        ("ViT-H-14-quickgelu", "dfn5b", {"resize_mode": "squash"}),
        ("ViT-L-14-CLIPA", "datacomp1b", {"interpolation": "bilinear", "resize_mode": "squash"}),
        ("ViT-B-16-SigLIP", "webli", {"mean": (0.5,) * 3, "resize_mode": "squash"}),
        ("convnext_base_w", "laion2b_s13b_b82k", {"size": 256}),
        ("ViT-B-32-quickgelu", "openai", {"size": 224, "resize_mode": "shortest"}),
    ],
)
def test_a_tag_says_what_its_weights_need(name, pretrained, expected):
    found = preprocessing_of(name, pretrained)
    assert {key: getattr(found, key) for key in expected} == expected
    published = open_clip.get_pretrained_cfg(name, pretrained)
    for key in ("mean", "std", "interpolation", "resize_mode"):
        assert getattr(found, key) == published.get(key, getattr(Preprocessing(), key))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"size": [224, 448]}, "only squares"),
        ({"resize_mode": "stretch"}, "resize_mode 'stretch': must be one of"),
        ({"interpolation": "lanczos"}, "interpolation 'lanczos': must be one of"),
    ],
)
def test_preprocessing_that_open_clip_lacks_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Preprocessing.of(settings)


def test_a_json_that_is_no_model_is_refused(tmp_path):
    path = tmp_path / "open_clip_config.json"
    path.write_text('{"model_cfg": {"embed_dim": 4, "vision_cfg": []}}', encoding="utf-8")
    with pytest.raises(ValueError, match="must have embed_dim, vision_cfg and text_cfg"):
        Clip("mine", None, str(path))


def test_images_are_packed_by_the_preprocessing(tmp_path):
    spec = {"preprocessing": {"size": 24, "resize_mode": "longest", "fill_color": 200}}
    pack_images(images(), 4, preprocessing_from(spec), str(tmp_path / "images.npy"))
    packed = np.load(tmp_path / "images.npy")
    assert packed.shape == (4, 24, 24, 3)
    assert (packed[1][:, 0] == 200).all()  # a tall one gets bars at its sides


def test_text_of_the_wrong_length_is_not_embedded_silently(clip):
    """A tower that sees the padding gets it back whatever was cut."""
    whole = torch.from_numpy(clip.tokenizer(CAPTIONS).numpy())
    cut = torch.from_numpy(cut_padding(whole.numpy(), clip.pad))
    with torch.no_grad():
        torch.testing.assert_close(
            encode_text(clip.model, cut), encode_text(clip.model, whole), atol=1e-6, rtol=0
        )
