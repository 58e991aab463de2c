"""Weights that another program saved: what they are, and what to do, in a few lines."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from safetensors.torch import load_file, save_file

from countclip.model.clip import CONVERT, Clip
from countclip.runtime.resources import HOME
from kill import Forks

FOLDER = HOME / "resources/miniature/clip"
OURS = load_file(FOLDER / "miniature-vit.safetensors")
SCALAR = OURS["logit_scale"]


def run_code(code: str, folder: str) -> None:
    os.chdir(folder)
    exec(code, {})


@pytest.fixture(scope="module")
def python() -> Iterator[Forks]:
    """`python -c`, which has torch already."""
    with Forks(run_code) as forks:
        yield forks


def load(path) -> Clip:
    return Clip("miniature-vit", str(path), str(FOLDER / "miniature-vit.json"))


def complaint(tensors: dict, path) -> str:
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, path)
    with pytest.raises(
        ValueError, match=f"^{path}: not the weights of a miniature-vit: "
    ) as failed:
        load(path)
    assert len(str(failed.value)) < 900
    return str(failed.value)


@pytest.mark.parametrize(
    ("prefix", "by"),
    [
        ("_orig_mod.", ", of torch.compile;"),
        ("module._orig_mod.", ", of DistributedDataParallel and torch.compile;"),
        ("state_dict.model.", ", of Lightning and a checkpoint;"),
        ("net.clip.", "'net.clip.'; save"),
        ("shadow_model.", "'shadow_model.'; save"),
    ],
)
def test_a_wrapper_is_named_and_its_command_takes_it_off(prefix, by, tmp_path, python):
    path = tmp_path / "wrapped.safetensors"
    others = {"epoch": SCALAR, "optimizer.state": SCALAR}
    text = complaint({f"{prefix}{name}": w for name, w in OURS.items()} | others, path)
    assert f"begin with '{prefix}'" in text
    assert by in text
    *command, code = shlex.split(text.splitlines()[-1])
    assert command == ["python", "-c"]
    assert python(code, str(tmp_path)) == 0
    same = load(tmp_path / "plain.safetensors").model.state_dict()
    assert all(same[name].equal(tensor) for name, tensor in OURS.items())


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (
            ["vision_model.post_layernorm.bias"],
            "Hugging Face transformers.*open_clip_model",
        ),
        (["text_model.final_layer_norm.weight", "logit_scale"], "Hugging Face transformers"),
        (["clip.text_model.embeddings.token_embedding.weight"], "Hugging Face transformers"),
        (["base_model.model.visual.conv1.lora_B.weight"], "low-rank additions .LoRA. alone; merge"),
        (
            [f"layer{n}.weight" for n in range(500)],
            r"Unexpected.*layer0.weight.* \.\.\.\n  Set",
        ),
        ([], "Set model.name to the model whose weights these are, or model.pretrained"),
    ],
)
def test_another_programs_names_are_recognised(names, message, tmp_path):
    text = complaint(dict.fromkeys(names, SCALAR), tmp_path / "other.safetensors")
    assert re.search(message, text)


def test_tensors_of_another_size_are_named(tmp_path):
    wide = OURS | {"visual.proj": OURS["visual.proj"].repeat(1, 2)}
    text = complaint(wide, tmp_path / "wide.safetensors")
    assert "size mismatch for visual.proj" in text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\n", "git lfs pull"),
        ((FOLDER / "miniature-vit.safetensors").read_bytes()[:5000], "no whole .safetensors file"),
        (b"", "no whole .safetensors file"),
    ],
)
def test_a_file_that_is_not_whole_is_named(body, message, tmp_path):
    (tmp_path / "cut.safetensors").write_bytes(body)
    with pytest.raises(ValueError, match=f"cut.safetensors: not the weights .*{message}"):
        load(tmp_path / "cut.safetensors")


def test_the_command_that_converts_a_checkpoint_runs(tmp_path):
    import torch

    torch.save({"state_dict": OURS, "epoch": 3}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="Convert one that you trust:\n  python -c"):
        load(tmp_path / "weights.pt")
    command = shlex.split(CONVERT)
    subprocess.run([sys.executable, *command[1:]], cwd=tmp_path, check=True)
    assert load(tmp_path / "weights.safetensors").model is not None


def test_a_pickle_by_another_name_is_told_with_the_conversion(tmp_path):
    path = tmp_path / "renamed.safetensors"
    torch.save({"logit_scale": SCALAR}, path)
    with pytest.raises(ValueError, match="is a pickle by another name; convert it") as failed:
        load(path)
    assert CONVERT in str(failed.value)
