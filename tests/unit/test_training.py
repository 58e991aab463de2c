"""Batches, models and the loop, on a random CLIP of the miniature's size."""

import copy
import itertools
import json
import os
import random
import shutil
import signal

import numpy as np
import open_clip
import pandas as pd
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

import tiny_training
from countclip.data.number_words import WORDS
from countclip.evaluation import counting
from countclip.model.clip import Clip, encode_image, encode_text, image_size
from countclip.model.inputs import tokens_of
from countclip.training import checkpoints, cpu, loggers, trainable
from countclip.training.checkpoints import Outputs
from countclip.training.contrastive import Contrastive
from countclip.training.counting import Batches, Pairs
from countclip.training.loop import fit
from countclip.training.losses import CountClipLoss
from countclip.training.optim import make_optimizer, rate_multiplier
from countclip.training.settings import OptimizerSettings, ScheduleSettings, from_config
from kill import Forks


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return tiny_training.make_config(tmp_path_factory.mktemp("model"))


@pytest.fixture
def clip(config):
    return tiny_training.make_clip(config)


@pytest.fixture
def batches(clip):
    return tiny_training.make_batches(clip)


def test_tokens_are_clips_own_for_the_words_that_were_asked_for(clip):
    full = open_clip.get_tokenizer("ViT-B-32")
    for word in [*WORDS.values(), "dogs", "cats"]:
        ours = [clip.tokenizer.decoder[token] for token in clip.tokenizer.encode(word)]
        assert ours == [full.decoder[token] for token in full.encode(word)]
    assert all(len(clip.tokenizer.encode(word)) == 1 for word in WORDS.values())


def test_a_result_loads_with_plain_open_clip(clip, undisturbed):
    """QuickGELU included, which the name stands for; and says what it is of."""
    path = str(undisturbed / "end.safetensors")
    plain, _, _ = open_clip.create_model_and_transforms("tiny-test", pretrained=path)
    ours = Clip("tiny-test", path).model
    assert any(isinstance(module, open_clip.transformer.QuickGELU) for module in plain.modules())
    image, text = torch.rand(2, 3, 64, 64), clip.tokenizer(["two dogs", "cats"])
    assert torch.equal(plain.encode_image(image), ours.encode_image(image))
    expected = plain.encode_text(text, normalize=True)
    torch.testing.assert_close(encode_text(ours, text), expected, atol=1e-6, rtol=0)
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["about"]) == {"name": "tiny-test", "step": 12}


def test_embeddings_are_normalised_in_float32_whatever_the_models_precision(clip):
    """In bfloat16 their lengths would differ by some thousandths, and so would cosines."""
    images = torch.rand(4, 3, 64, 64)
    tokens = clip.tokenizer(["two dogs", "three cats", "four dogs", "cats"])
    with torch.autocast("cpu", torch.bfloat16):
        assert clip.model.visual(images).dtype == torch.bfloat16
        embedded = encode_image(clip.model, images), encode_text(clip.model, tokens)
    for embeddings in embedded:
        assert (embeddings.double().norm(dim=1) - 1).abs().max() < 1e-6


def test_patches_by_product_are_those_of_the_convolution(clip):
    images = torch.rand(2, 3, 64, 64)
    expected = clip.model.visual(images)
    cpu.patches_by_product(clip.model)
    assert "forward" in vars(clip.model.visual.conv1)
    torch.testing.assert_close(clip.model.visual(images), expected, atol=1e-5, rtol=1e-5)


def test_a_text_tower_that_is_read_elsewhere_is_read_there(config, tmp_path):
    architecture = json.loads(config.read_text(encoding="utf-8"))
    architecture["text_cfg"]["pool_type"] = "last"
    other = tmp_path / "tiny-last.json"
    other.write_text(json.dumps(architecture), encoding="utf-8")
    shutil.copy(config.with_suffix(".merges.txt.gz"), tmp_path / "tiny-last.merges.txt.gz")
    clip = Clip("tiny-last", None, str(other))
    texts = ["two dogs", "cats"]
    found = encode_text(clip.model, torch.from_numpy(clip.tokenize(texts).astype(np.int64)))
    expected = clip.model.encode_text(clip.tokenizer(texts), normalize=True)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("name", "file", "message"),
    [
        ("local-dir:models/mine", None, "model.name local-dir:models/mine: .*use a plain name"),
        ("hf-hub:someone/mine", None, "model.name hf-hub:someone/mine: .*use a plain name"),
        ("ViT-B-32", "my-vit.json", "model.config my-vit.json: .*call it ViT-B-32.json"),
        ("ViT-B-23", None, "model.name ViT-B-23: open_clip has no such model"),
    ],
)
def test_a_name_that_would_be_another_model_is_refused(name, file, message):
    """Under the first two open_clip reads no file of weights, the third it builds without it."""
    for build in (image_size, lambda name, file: Clip(name, None, file)):
        with pytest.raises(ValueError, match=message):
            build(name, file)


@pytest.mark.parametrize(
    ("pretrained", "message"),
    [
        ("openai", "trained with QuickGELU; use ViT-B-32-quickgelu"),
        ("laion400m_e32", "trained with QuickGELU; use ViT-B-32-quickgelu"),
        ("opnai", "model.pretrained opnai: there is no such file, and .*it knows openai, "),
        ("gone.safetensors", "model.pretrained gone.safetensors: there is no such file"),
    ],
)
def test_weights_that_do_not_fit_the_name_are_refused(pretrained, message):
    with pytest.raises(ValueError, match=message):
        Clip("ViT-B-32", pretrained)


def test_a_pickle_of_weights_is_refused(config, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(tiny_training.make_clip(config).model.state_dict(), path)
    with pytest.raises(ValueError, match="model.pretrained .*weights.pt: .* .safetensors file"):
        Clip("tiny-test", str(path), str(config))


def test_a_batch_has_the_counting_pairs_first_and_their_counterfactuals_last(clip, batches):
    batch = batches.batch(0)
    assert batch.images[:].shape == (6, 64, 64, 3)
    assert batch.tokens.shape[0] == 6 + 4 * 8
    decoder = clip.tokenizer.decoder
    texts = ["".join(decoder[int(t)] for t in row if t) for row in batch.tokens]
    assert all("cats" in text for text in texts[4:6])
    for i, true in enumerate(texts[:4]):
        others = texts[6 + 8 * i : 14 + 8 * i]
        assert len({true, *others}) == 9
        assert all("dogs" in text for text in others)
        number = next(n for n, word in WORDS.items() if word in true)
        assert batch.lambdas[i] == batch.labels[i] == number
    assert batch.labels[4:].tolist() == [0, 0]


def test_batches_depend_on_seed_and_step_alone_and_every_epoch_sees_every_pair(batches):
    assert batches.steps_per_epoch == 5
    from_the_start = [batches.batch(step) for step in range(8)][7]
    straight, other = copy.copy(batches), copy.copy(batches)
    straight._orders, other._orders, other.seed = {}, {}, 2
    for name in ("images", "tokens", "labels", "lambdas"):
        assert torch.equal(getattr(straight.batch(7), name)[:], getattr(from_the_start, name)[:])
    assert not torch.equal(other.batch(7).images[:], from_the_start.images[:])
    for epoch in range(3):
        seen = torch.cat([batches.batch(5 * epoch + i).images[:4] for i in range(5)])
        assert len(torch.unique(seen.flatten(1), dim=0)) == 20
    assert not torch.equal(batches.batch(0).images[:], batches.batch(5).images[:])


def test_counterfactuals_are_drawn_anew(batches):
    batches.k = 1
    drawn = [tuple(batches.batch(5 * epoch).tokens[6:].flatten().tolist()) for epoch in range(8)]
    assert len(set(drawn)) > 4


def test_too_small_a_set_is_named(clip, batches):
    with pytest.raises(ValueError, match="needs 11 non-counting pairs; the training set has 10"):
        Batches(
            batches.counting, batches.others, size=12, n_counting=1,
            counterfactuals=1, lambdas={}, seed=0,
        )  # fmt: skip


def test_a_batch_that_cannot_be_is_refused(clip, config, tmp_path):
    with pytest.raises(ValueError, match="6 pairs cannot have 7 counting pairs"):
        tiny_training.make_batches(clip, n_counting=7)
    with pytest.raises(ValueError, match="devices is 8, but a batch has 6 pairs"):
        tiny_training.train(config, tmp_path, devices=8)


def test_pairs_may_have_any_number_of_counterfactuals(clip):
    """Not only the eight of counting: whatever else has a right caption and wrong ones."""
    texts = [[f"{one} dogs", *(f"{other} cats" for other in WORDS.values())] for one in ["two"] * 4]
    images = np.zeros((4, 64, 64, 3), np.uint8)
    pairs = Pairs(images, np.arange(4), tokens_of(clip, texts), np.full(4, 2))
    none = Pairs.plain(clip, images, np.zeros(0, np.int64), [])
    batches = Batches(
        pairs, none, size=4, n_counting=4, counterfactuals=9, lambdas={2: 1.0}, seed=0
    )
    drawn = batches.batch(0).tokens[4:].reshape(4, 9, -1)
    assert all(len(torch.unique(of_one, dim=0)) == 9 for of_one in drawn)


def unequal(**settings) -> Batches:
    """Batches of four counting pairs, of twelve with two things, five with three, two with nine."""
    numbers = np.array([2] * 12 + [3] * 5 + [9] * 2)
    rows, tokens = np.arange(len(numbers)), np.arange(len(numbers) * 27, dtype=np.uint16)
    images = rows.astype(np.uint8).reshape(-1, 1, 1, 1).repeat(3, axis=3)
    pairs = Pairs(images, rows, tokens.reshape(-1, 9, 3), numbers)
    other = Pairs(images[:2], rows[:2], tokens.reshape(-1, 9, 3)[:2, :1], np.zeros(2, np.int64))
    lambdas = {2: 1.0, 3: 1.0, 9: 1.0}
    common = {"size": 5, "n_counting": 4, "counterfactuals": 1, "lambdas": lambdas, "seed": 4}
    return Batches(pairs, other, **common | settings)


def test_balanced_batches_draw_each_number_and_each_pair_of_it_equally_often():
    batches = unequal(balanced=True)
    seen = [batches.batch(step) for step in range(45)]  # 60 turns of the three numbers
    labels = torch.cat([batch.labels[:4] for batch in seen])
    assert torch.bincount(labels).tolist() == [0, 0, 60, 60, 0, 0, 0, 0, 0, 60]
    assert all(len(set(turn.tolist())) == 3 for turn in labels.split(3))
    rows = torch.cat([torch.as_tensor(batch.images[:4])[:, 0, 0, 0] for batch in seen])
    assert torch.bincount(rows.long()).tolist() == [5] * 12 + [12] * 5 + [30] * 2
    assert len({tuple(turn.tolist()) for turn in labels.split(3)}) == 6  # in every order


def test_balanced_batches_depend_on_seed_and_step_alone():
    batches = unequal(balanced=True)
    from_the_start = [batches.batch(step) for step in range(30)][29]
    straight, other = unequal(balanced=True), unequal(balanced=True, seed=5)
    for name in ("images", "tokens", "labels", "lambdas"):
        assert torch.equal(getattr(straight.batch(29), name)[:], getattr(from_the_start, name)[:])
    assert not torch.equal(other.batch(29).images[:], from_the_start.images[:])


def test_as_is_a_number_comes_as_often_as_it_has_pairs():
    labels = torch.cat([unequal().batch(step).labels[:4] for step in range(19)])
    assert torch.bincount(labels)[[2, 3, 9]].tolist() == [48, 20, 8]


def test_schedules():
    assert [rate_multiplier(ScheduleSettings("none", 10), step) for step in (0, 9)] == [1, 1]
    warm = [rate_multiplier(ScheduleSettings("warmup_cosine", 8), step) for step in range(8)]
    expected = [0.25, 0.5, 0.75, 1.0, 1.0, 0.853553, 0.5, 0.146447]
    assert warm == pytest.approx(expected, abs=1e-6)
    # what the authors' code did, as printed by a run of its scheduler (three decimals)
    ran = [0.333, 0.467, 0.6, 0.733, 0.867, 0.905, 0.655, 0.345, 0.095]
    ran += [1, 0.905, 0.655, 0.345, 0.095] * 2
    steps = [rate_multiplier(ScheduleSettings("as_run", 99), step) for step in range(19)]
    assert steps == pytest.approx(ran, abs=6e-4)
    decay = ScheduleSettings("step", 10, decay_at=(0.6, 0.9), decay_factor=0.1)
    steps = [rate_multiplier(decay, step) for step in range(10)]
    assert steps == pytest.approx([1] * 6 + [0.1] * 3 + [0.01])
    with pytest.raises(ValueError, match="unknown schedule 'linear'; use none, cosine"):
        rate_multiplier(ScheduleSettings("linear", 10), 0)


def test_a_training_has_as_many_steps_as_its_epochs_or_as_it_is_told(config, tmp_path):
    """Four an epoch: 18 pairs, four at a time. A schedule ends with the steps that there are."""
    for name, settings, at in (
        ("as epochs", {"epochs": 2}, [0, 4, 8]),
        ("told", {"epochs": 2, "steps": 6}, [0, 3, 6]),
        ("fewer than evaluations", {"epochs": 5, "steps": 2}, [0, 1, 2]),
    ):
        folder = tmp_path / name
        folder.mkdir()
        tiny_training.make_variant(config, folder)
        tiny_training.train_variant(config, folder, schedule="cosine", **settings)
        history = pd.read_csv(folder / "history.csv")
        assert history["step"].tolist() == at
        last = 1e-3 * rate_multiplier(ScheduleSettings("cosine", at[-1]), at[-1] - 1)
        assert history["learning_rate"].iloc[-1] == pytest.approx(last, rel=1e-4)
        assert history["epoch"].iloc[-1] == at[-1] / 4
        assert json.loads((folder / "model.json").read_text())["steps"]["end"] == at[-1]


def test_a_training_measures_the_benchmark_as_its_evaluation_does(config, tmp_path):
    """`best_on_benchmark` is chosen by that; of captions that write their number twice, too."""
    pixels = np.random.default_rng(0).integers(0, 256, (36, 64, 64, 3), dtype=np.uint8)
    rows = [
        {
            "index": i,
            "image": Image.fromarray(pixels[i]),
            "caption": f"{WORDS[2 + i % 9]} dogs and {WORDS[2 + i % 9]} cats",
            "number": 2 + i % 9,
        }
        for i in range(36)
    ]
    model = {"name": "tiny-test", "pretrained": None, "config": str(config)}
    accuracies = set()
    for replace, wise_ft in (("once", 1.0), ("everywhere", 0.5)):
        folder = tmp_path / replace
        folder.mkdir()
        tiny_training.make_variant(config, folder)
        tiny_training.train_variant(config, folder, rows, replace=replace, wise_ft=wise_ft)
        path = str(folder / "predictions.parquet")
        weights = {"end": str(folder / "end.safetensors")}
        counting.evaluate(weights, model, rows, "mine", 3, path, replace=replace)
        table = pd.read_parquet(path)
        history = pd.read_csv(folder / "history.csv", float_precision="round_trip")
        accuracy = (table["prediction"] == table["number"]).mean()
        assert history["benchmark_accuracy"].iloc[-1] == accuracy
        accuracies.add(accuracy)
    assert len(accuracies) == 2, "or the two would be the same rule"


def test_adamw_decays_matrices_alone_and_adam_everything(clip):
    def groups(name):
        settings = OptimizerSettings(name, 1e-3, (0.9, 0.98), 1e-6, 0.2)
        return make_optimizer(Contrastive(clip, CountClipLoss()).groups(), settings).param_groups

    decay, plain = groups("adamw")
    assert (decay["weight_decay"], plain["weight_decay"]) == (0.2, 0.0)
    assert any(p is clip.model.logit_scale for p in plain["params"])
    (everything,) = groups("adam")
    assert everything["weight_decay"] == 0.2
    assert len(everything["params"]) == len(decay["params"]) + len(plain["params"])


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture(scope="module")
def undisturbed(config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("undisturbed")
    torch.set_num_threads(1)
    tiny_training.train(config, folder)
    return folder


def killed_run(config, folder, after_steps, signal_number, versions=None, wise_ft=1.0):
    """Train until a step is reached, and get a signal in the middle of the next."""
    torch.set_num_threads(1)
    if versions:
        checkpoints.versions = lambda: versions
    steps = itertools.count(1)

    def step(self, batch, seed, plain=Contrastive.backward):
        losses = plain(self, batch, seed)
        if next(steps) == after_steps:
            os.kill(os.getpid(), signal_number)
        return losses

    Contrastive.backward = step
    tiny_training.train(config, folder, checkpoint_minutes=0, wise_ft=wise_ft)


@pytest.fixture(scope="module")
def run_in_a_fork():
    with Forks(killed_run) as forks:
        yield forks


def test_a_run_killed_twenty_times_ends_with_the_same_bytes(
    config, tmp_path, undisturbed, run_in_a_fork
):
    rng = random.Random(0)
    for kill in range(20):
        done = saved_step(tmp_path)
        assert done < 12
        # mostly after the next step or two; now and then before any new one is saved
        assert run_in_a_fork(config, tmp_path, rng.choice([1, 1, 2]), signal.SIGKILL) == -9, kill
        assert saved_step(tmp_path) >= done
    tiny_training.train(config, tmp_path)
    assert files(tmp_path) == files(undisturbed)
    assert not (tmp_path / "state").exists()


def saved_step(folder):
    state = folder / "state/state.pt"
    return torch.load(state, weights_only=True)["run"]["step"] if state.exists() else 0


def test_sigterm_saves_the_step_and_ends(config, tmp_path, undisturbed, run_in_a_fork):
    assert run_in_a_fork(config, tmp_path, 5, signal.SIGTERM) == 128 + signal.SIGTERM
    assert saved_step(tmp_path) == 5
    tiny_training.train(config, tmp_path)
    assert files(tmp_path) == files(undisturbed)


def test_a_run_of_other_libraries_begins_anew(config, tmp_path, undisturbed, run_in_a_fork, caplog):
    older = checkpoints.versions() | {"torch": "1.0"}
    assert run_in_a_fork(config, tmp_path, 5, signal.SIGTERM, older) == 128 + signal.SIGTERM
    tiny_training.train(config, tmp_path)
    assert "'torch': '1.0'" in caplog.text
    assert "going on" not in caplog.text
    assert files(tmp_path) == files(undisturbed)


def test_another_seed_gives_other_weights(config, tmp_path, undisturbed):
    tiny_training.train(config, tmp_path, batches={"seed": 2})
    assert files(tmp_path)["end.safetensors"] != files(undisturbed)["end.safetensors"]


def test_the_history_has_a_row_an_evaluation(undisturbed):
    history = pd.read_csv(undisturbed / "history.csv")
    assert history["step"].tolist() == [0, 3, 6, 9, 12]
    assert history["loss"].iloc[-1] < history["loss"].iloc[1]


def test_the_best_checkpoint_is_the_earliest_of_equals(config, tmp_path):
    # 1, 0, 1, 0, 1 at steps 0, 3, 6, 9, 12; the untouched model is no candidate
    values = itertools.cycle([1.0, 0.0])
    steps = tiny_training.train(config, tmp_path, lambda clip: {"metric": next(values)})
    assert steps == {"end": 12, "metric": 6}
    with safe_open(tmp_path / "metric.safetensors", "pt") as file:
        assert json.loads(file.metadata()["about"])["step"] == 6


def test_patience_ends_a_run_early_and_a_resumed_one_too(config, tmp_path):
    values = iter([0.2, 0.5, 0.4, 0.5])
    steps = tiny_training.train(
        config, tmp_path, lambda clip: {"metric": next(values)}, patience=2
    )  # fmt: skip
    assert steps == {"end": 9, "metric": 3}
    assert pd.read_csv(tmp_path / "history.csv")["step"].tolist() == [0, 3, 6, 9]


def test_memory_that_is_full_names_the_key(config, tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(Contrastive, "backward", full)
    with pytest.raises(RuntimeError, match="set training.micro_batch below 6, which takes"):
        tiny_training.train(config, tmp_path, lambda clip: {"metric": 0.0})


def test_a_loss_that_is_no_number_ends_the_run(config, tmp_path):
    with pytest.raises(FloatingPointError, match="loss is nan by step 3; lower"):
        tiny_training.train(config, tmp_path, batches={"lambdas": dict.fromkeys(WORDS, np.nan)})


def test_events_for_tensorboard(config, tmp_path):
    about = {"variant": "mine", "seed": 1}
    with loggers.open_loggers(["tensorboard"], about, str(tmp_path)) as watching:
        tiny_training.train(config, tmp_path / "run", loggers=watching)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard/mine/seed1"))
    events.Reload()
    assert [event.step for event in events.Scalars("evaluation/metric")] == [3, 6, 9, 12]


def test_an_unknown_logger_is_refused():
    about = {"variant": "mine", "seed": 1}
    with (
        pytest.raises(ValueError, match="training.loggers: unknown 'wandb'; use tensorboard"),
        loggers.open_loggers(["wandb"], about),
    ):
        pass


def test_loggers_are_closed_however_a_run_ends(monkeypatch, tmp_path):
    ends = []
    monkeypatch.setattr(
        loggers.TensorBoardLogger, "finalize", lambda _, status: ends.append(status)
    )
    about = {"variant": "mine", "seed": 1}
    with pytest.raises(SystemExit), loggers.open_loggers(["tensorboard"], about, str(tmp_path)):
        raise SystemExit(143)
    with loggers.open_loggers(["tensorboard"], about, str(tmp_path)):
        pass
    assert ends == ["failed", "success"]


def changed(config, folder, **settings):
    """Names of the tensors that a training with `settings` changes."""
    tiny_training.train(config, folder, **settings)
    start = tiny_training.make_clip(config).model.state_dict()
    end = load_file(folder / "end.safetensors")
    assert set(end) == set(start)
    return {name for name in start if not torch.equal(start[name], end[name])}


def test_one_tower(config, tmp_path):
    moved = changed(config, tmp_path, tower="image", train_logit_scale=False)
    assert moved == {name for name in moved if name.startswith("visual.")}
    assert {"visual.conv1.weight", "visual.proj"} <= moved


@pytest.mark.parametrize("tower", ["text", "image"])
def test_a_frozen_resnet_keeps_its_statistics(config, tmp_path, tower):
    """What a batch norm has seen is no parameter, and in training mode each batch moves it."""
    form = json.loads(config.read_text(encoding="utf-8"))
    form["vision_cfg"] = {"image_size": 64, "layers": [1] * 4, "width": 8, "patch_size": None}
    own = tmp_path / "tiny-resnet.json"
    own.write_text(json.dumps(form), encoding="utf-8")
    shutil.copy(config.with_suffix(".merges.txt.gz"), own.with_suffix(".merges.txt.gz"))
    clip = Clip("tiny-resnet", None, str(own))
    before = copy.deepcopy(clip.model.visual.state_dict())
    fit(
        Contrastive(clip, CountClipLoss(), tower=tower),
        tiny_training.make_batches(clip),
        lambda: tiny_training.of_the_weights(clip),
        Outputs(str(tmp_path / "history"), str(tmp_path / "end")),
        str(tmp_path / "state"),
        {},
        **from_config(**tiny_training.SETTINGS, steps=2, evaluations=1),
    )
    moved = {name for name, value in clip.model.visual.state_dict().items()
             if not torch.equal(value, before[name])}  # fmt: skip
    assert ("bn1.running_mean" in moved) == (tower == "image")
    assert bool(moved) == (tower == "image")


def test_the_last_blocks(config, tmp_path):
    moved = changed(config, tmp_path, last_blocks=1)
    assert {"visual.proj", "ln_final.weight", "text_projection", "logit_scale"} <= moved
    blocks = {name.split("resblocks.")[1][0] for name in moved if "visual.transformer" in name}
    assert blocks == {str(tiny_training.ARCHITECTURE["vision_cfg"]["layers"] - 1)}
    assert "token_embedding.weight" not in moved
    with pytest.raises(ValueError, match="last_blocks is 9; the image tower has 3 blocks"):
        tiny_training.train(config, tmp_path / "more", last_blocks=9)


def test_lora_trains_low_rank_additions_and_publishes_them_merged(config, tmp_path):
    moved = changed(config, tmp_path, lora_rank=2, train_logit_scale=False)
    kinds = {"in_proj_weight", "out_proj.weight", "c_fc.weight", "c_proj.weight"}
    assert {name.split("attn.")[-1].split("mlp.")[-1] for name in moved} == kinds
    start = tiny_training.make_clip(config).model.state_dict()
    end = load_file(tmp_path / "end.safetensors")
    for name in moved:
        singular = torch.linalg.svdvals((end[name] - start[name]).double())
        assert singular[2] < 1e-4 * singular[0]  # rank two


def test_a_model_with_low_rank_additions_is_the_merged_one(config, tmp_path):
    clip = tiny_training.make_clip(config)
    choice = {"tower": "both", "last_blocks": None, "logit_scale": True}
    trainable.choose(clip.model, lora_rank=2, **choice)
    for name, parameter in clip.model.named_parameters():
        if name.endswith(".b"):
            torch.nn.init.normal_(parameter, std=0.1)
    checkpoints.save(clip.model, tmp_path / "w.safetensors", {})
    again = open_clip.create_model("tiny-test", pretrained=str(tmp_path / "w.safetensors"))
    image, text = torch.rand(2, 3, 64, 64), clip.tokenizer(["two dogs", "cats"])
    plain = tiny_training.make_clip(config).model
    for mode in (True, False):  # eval() takes the fused path of nn.MultiheadAttention
        for model in (clip.model, again, plain):
            model.train(mode)
        with torch.inference_mode():
            expected = again.encode_image(image)
            assert torch.allclose(clip.model.encode_image(image), expected, atol=1e-6)
            assert torch.allclose(clip.model.encode_text(text), again.encode_text(text), atol=2e-5)
            assert not torch.allclose(plain.encode_image(image), expected, atol=1e-3)


@pytest.mark.parametrize("settings", [{}, {"lora_rank": 2}, {"tower": "image"}], ids=str)
def test_wise_ft_publishes_weights_in_between_and_leaves_the_training_as_it_is(
    config, tmp_path, settings
):
    ends = {}
    for alpha in (1.0, 0.25):
        folder = tmp_path / str(alpha)
        folder.mkdir()
        tiny_training.train(config, folder, wise_ft=alpha, **settings)
        ends[alpha] = load_file(folder / "end.safetensors")
    start = tiny_training.make_clip(config).model.state_dict()
    for name, between in ends[0.25].items():
        expected = torch.lerp(start[name], ends[1.0][name], 0.25)
        assert torch.allclose(between, expected, rtol=0, atol=1e-6), name
        assert torch.equal(between, start[name]) == torch.equal(ends[1.0][name], start[name]), name
    losses = [pd.read_csv(tmp_path / name / "history.csv")["loss"] for name in ("1.0", "0.25")]
    assert losses[0].equals(losses[1])


def test_wise_ft_evaluates_what_it_publishes_also_of_a_run_that_was_killed(
    config, tmp_path, run_in_a_fork
):
    for folder in ("undisturbed", "killed"):
        (tmp_path / folder).mkdir()
    assert run_in_a_fork(config, tmp_path / "killed", 5, signal.SIGTERM, None, 0.4) == 143
    for folder in ("undisturbed", "killed"):
        tiny_training.train(config, tmp_path / folder, wise_ft=0.4)
    assert files(tmp_path / "killed") == files(tmp_path / "undisturbed")
    clip = tiny_training.make_clip(config)
    clip.model.load_state_dict(load_file(tmp_path / "killed/end.safetensors"))
    history = pd.read_csv(tmp_path / "killed/history.csv", float_precision="round_trip")
    assert history["metric"].iloc[-1] == tiny_training.of_the_weights(clip)["metric"]


def test_fixed_counterfactuals_stay_with_their_pair(clip):
    fixed = tiny_training.make_batches(clip, counterfactuals=1, fixed=True)
    wrong = {}
    for step in range(30):
        tokens = fixed.batch(step).tokens.tolist()
        for i in range(4):
            wrong.setdefault(
                tuple(fixed.batch(step).images[i : i + 1].flatten().tolist()), []
            ).append(tokens[6 + i])
    assert len(wrong) == 20
    assert all(row == rows[0] for rows in wrong.values() for row in rows)


def test_augmented_pictures_are_mirrored_and_moved_and_the_same_in_every_piece(clip):
    plain = tiny_training.make_batches(clip).batch(2).images
    moved = tiny_training.make_batches(clip, augment="flip_shift").batch(2).images
    again = [moved[first : first + 4] for first in (0, 4)]
    assert torch.equal(torch.cat(again), moved[:])
    margin = 64 // 16
    for before, after in zip(plain[:].numpy(), moved[:].numpy(), strict=True):
        inner = after[margin:-margin, margin:-margin]
        places = [
            image[y : y + len(inner), x : x + len(inner)]
            for image in (before, before[:, ::-1])
            for y in range(2 * margin + 1)
            for x in range(2 * margin + 1)
        ]
        assert any(np.array_equal(inner, place) for place in places)
    assert not torch.equal(plain[:], moved[:])


def test_captions_that_no_number_changes_are_refused(clip):
    with pytest.raises(ValueError, match="nobody can tell them apart"):
        tokens_of(clip, [["two dogs", "two dogs"]])
