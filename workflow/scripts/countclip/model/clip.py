"""CLIP models: the one place that builds and loads one of open_clip."""

import copy
import json
import tempfile
import textwrap
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError, safe_open
from torch import Tensor

from countclip.model.libraries import open_clip
from countclip.model.preprocessing import Preprocessing
from countclip.runtime.files import read_json
from countclip.runtime.machine import raise_machine_error
from countclip.runtime.resources import resource

LARGEST_LOGIT_SCALE = float(np.log(100))
"""CLIP clips the learnt logit scale (a logarithm) so that logits are never scaled by over 100."""


class Clip:
    """An open_clip model with its tokenizer and the preprocessing of its images.

    name: open_clip's model name. For weights that were trained with QuickGELU, such as OpenAI's and
        LAION-400M's, a `-quickgelu` one: under the plain name they silently compute something else.
    pretrained: a tag that open_clip knows (`openai`), a file (.safetensors), or None (random).
    config: a JSON file that registers `name`: an architecture of open_clip's form, or an
        `open_clip_config.json` with the preprocessing too; None for a model of open_clip.
        `<name>.merges.txt.gz` beside it replaces the tokenizer's vocabulary, and the files of a
        tokenizer of Hugging Face those of the hub.
    weights: a file of fine-tuned weights (.safetensors), read in place of the pretrained ones; the
        preprocessing stays theirs.
    """

    def __init__(
        self,
        name: str,
        pretrained: str | None,
        config: str | None = None,
        weights: str | None = None,
    ) -> None:
        self.architecture = _architecture(name, config)
        self.preprocessing = _preprocessing(self.architecture, name, pretrained, config)
        self.merges = _merges(name, self.architecture, config)
        self.model = _model(name, weights or pretrained)
        self.tokenizer = _tokenizer(name, self.architecture, config, self.merges)
        # What a tokenizer puts behind a text; where the towers see it, it must be theirs.
        self.model.text_padding = Padding(
            self.tokenizer.context_length, int(self.tokenizer([""])[0, -1])
        )
        self.image_size = self.preprocessing.size

    @property
    def is_plain(self) -> bool:
        """Whether its text tower is CLIP's: causal, and read at the end token."""
        return is_causal(text_tower(self.model)) and isinstance(
            self.tokenizer, open_clip.SimpleTokenizer
        )

    @property
    def pad(self) -> int:
        """Token id behind a text."""
        return self.model.text_padding.token

    @property
    def token_limit(self) -> int:
        """Tokens that a caption may have, without those that mark its start and end."""
        if isinstance(self.tokenizer, open_clip.SimpleTokenizer):
            return self.tokenizer.context_length - 2
        marks = 3 if self.tokenizer.tokenizer_mode == "clips" else (
            self.tokenizer.tokenizer.num_special_tokens_to_add()
        )  # fmt: skip
        return self.tokenizer.context_length - marks

    def encode(self, text: str) -> list[int]:
        """Token ids of a text, without those that mark its start and end."""
        if isinstance(self.tokenizer, open_clip.SimpleTokenizer):
            return self.tokenizer.encode(text)
        cleaned = self.tokenizer.clean_fn(text)
        return self.tokenizer.tokenizer.encode(cleaned, add_special_tokens=False)

    def decode(self, ids: list[int]) -> str:
        """The text of token ids."""
        if isinstance(self.tokenizer, open_clip.SimpleTokenizer):
            return self.tokenizer.decode(ids)
        return self.tokenizer.tokenizer.decode(ids)

    def words(self, tokens: np.ndarray) -> np.ndarray:
        """Which token ids (n, length) are of a text's words: no marks, no padding."""
        place, ends = np.arange(tokens.shape[1]), lengths(tokens, self.pad)
        if isinstance(self.tokenizer, open_clip.SimpleTokenizer):
            return (place > 0) & (place < ends[:, None] - 1)
        marks = self.tokenizer.tokenizer.all_special_ids
        return (place < ends[:, None]) & ~np.isin(tokens, marks)

    def whole(self, tokens: np.ndarray) -> np.ndarray:
        """Token ids (n, length) with the padding that the text tower sees."""
        if is_causal(text_tower(self.model)):
            return tokens
        behind = self.model.text_padding.length - tokens.shape[1]
        return np.pad(tokens, ((0, 0), (0, behind)), constant_values=self.pad)

    def tokenize(self, captions: Iterable[str]) -> np.ndarray:
        """Token ids (n, length of the longest caption), unsigned, padded with `pad`."""
        ids = self.tokenizer(list(captions)).numpy()
        kind = np.uint16 if ids.max(initial=0) < 1 << 16 else np.uint32
        return cut_padding(ids.astype(kind), self.pad)

    def open_clip_config(self) -> dict[str, Any]:
        """What `open_clip_config.json` beside weights says: architecture and preprocessing.

        A vocabulary beside the model's config is named by its absolute path: open_clip looks for it
        as a program's working directory has it.
        """
        architecture = copy.deepcopy(self.architecture)
        if self.merges:
            architecture["text_cfg"]["tokenizer_kwargs"] = {"bpe_path": str(self.merges.resolve())}
        keys = ("mean", "std", "interpolation", "resize_mode", "fill_color")
        preprocessing = {key: getattr(self.preprocessing, key) for key in keys}
        return {"model_cfg": architecture, "preprocess_cfg": preprocessing}

    def normalise(self, images: Tensor) -> Tensor:
        """uint8 (n, height, width, 3) -> float (n, 3, height, width) as the model expects it."""
        return self.preprocessing.normalise(images)


class Padding(NamedTuple):
    """Tokens that a text tower gets of each text, and the id behind the text's own."""

    length: int
    token: int


def _merges(name: str, architecture: dict[str, Any], config: str | None) -> Path | None:
    """The vocabulary beside a model's config, by the model's name or as the config names it."""
    if config is None:
        return None
    folder = Path(resource(config)).parent
    named = (architecture["text_cfg"].get("tokenizer_kwargs") or {}).get("bpe_path")
    places = [folder / f"{name}.merges.txt.gz", *([folder / named] if named else [])]
    return next((place for place in places if place.exists()), None)


def _tokenizer(
    name: str, architecture: dict[str, Any], config: str | None, merges: Path | None
) -> Any:
    """The tokenizer of a model; ValueError where its package or its files are not there.

    Of a model with a config it is chosen as open_clip does for a folder: a name with `siglip` in it
    means nothing.
    """
    text = architecture["text_cfg"]
    try:
        if config is None:
            return open_clip.get_tokenizer(name)
        options = dict(text.get("tokenizer_kwargs") or {})
        folder = Path(resource(config)).parent
        if merges:
            options["bpe_path"] = str(merges)
        length = text.get("context_length", 77)
        source = text.get("hf_tokenizer_name")
        if not source:
            return open_clip.SimpleTokenizer(context_length=length, **options)
        if options.pop("trust_remote_code", False):
            raise ValueError(
                f"model.config {config}: tokenizer_kwargs has trust_remote_code, which would run"
                " the code of whoever made the tokenizer; delete it, or use another model"
            )
        if any((folder / file).is_file() for file in TOKENIZER_FILES):
            source = str(folder)
        return open_clip.tokenizer.HFTokenizer(
            source, context_length=length, tokenizer_mode=text.get("tokenizer_mode"), **options
        )
    except ModuleNotFoundError as error:
        raise ValueError(
            f"model.name {name}: its tokenizer needs the package {error.name}, which is not"
            f" installed: pip install {error.name}, or use a model with CLIP's own tokenizer"
        ) from error
    except OSError as error:
        raise_machine_error(error)
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise ConnectionError(
            f"model.name {name}: its tokenizer, {text.get('hf_tokenizer_name')}, could not be"
            " downloaded: this machine seems to be offline; restore the network and run again, or"
            f" put tokenizer.json and tokenizer_config.json beside model.config [{reason[0]}]"
        ) from error


TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def _model(name: str, pretrained: str | None) -> torch.nn.Module:
    """The model with its weights; ConnectionError where open_clip cannot download these."""
    weights = _weights(name, pretrained)
    try:
        return _load(name, weights)
    except (RuntimeError, OSError, ValueError) as error:
        if weights is None or Path(weights).is_file():
            raise
        raise_machine_error(error)
        reason = str(error).strip().splitlines()[-1:] or [type(error).__name__]
        raise ConnectionError(
            f"model.pretrained {pretrained}: these weights of {name} could not be downloaded: this"
            " machine seems to be offline, or behind a proxy that it cannot use; restore the"
            " network and run again, or name a .safetensors file of yours as model.pretrained"
            f" [{reason[0]}]"
        ) from error


def _weights(name: str, pretrained: str | None) -> str | None:
    """The file or tag that open_clip loads into the model `name`; ValueError where it cannot."""
    if pretrained is None:
        return None
    path = Path(resource(pretrained))
    if path.is_file():
        if path.suffix != ".safetensors":
            raise ValueError(
                f"model.pretrained {pretrained}: weights are read from a .safetensors file alone;"
                " other kinds may run code of their maker. Convert one that you trust:\n"
                f"  {CONVERT}"
            )
        return str(path)
    published = open_clip.get_pretrained_cfg(name, pretrained)
    if not published:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise ValueError(
            f"model.pretrained {pretrained}: there is no such file, and open_clip knows no such"
            f" weights for {name} (it knows {tags})"
        )
    if published.get("quick_gelu") and not open_clip.get_model_config(name).get("quick_gelu"):
        raise ValueError(
            f"model.name {name}, pretrained {pretrained}: those weights were trained with"
            f" QuickGELU; use {name}-quickgelu"
        )
    return pretrained


CONVERT = """python -c "import torch; from safetensors.torch import save_file; \
w = torch.load('weights.pt', map_location='cpu', weights_only=True); \
save_file(w.get('state_dict', w), 'weights.safetensors')\""""
RENAME = """python -c "from safetensors.torch import load_file, save_file; \
w = load_file({file!r}); p = {prefix!r}; \
save_file({{k[len(p):]: w[k] for k in w if k.startswith(p)}}, 'plain.safetensors')\""""
WRAPPERS = {
    "module.": "DistributedDataParallel",
    "_orig_mod.": "torch.compile",
    "model.": "Lightning",
    "state_dict.": "a checkpoint",
}
"""What puts its name before those of a model's tensors."""


def _load(name: str, weights: str | None) -> torch.nn.Module:
    """open_clip's model with the weights of a tag or file; ValueError for another model's file."""
    try:
        return open_clip.create_model(name, pretrained=weights)
    except (RuntimeError, SafetensorError, KeyError, IndexError, StopIteration) as error:
        if weights is None or not Path(weights).is_file():
            raise
        why = _why_foreign(weights, error)
        raise ValueError(f"{weights}: not the weights of a {name}: {why}") from error


def _why_foreign(file: str, error: Exception) -> str:
    """What a file of weights holds instead of a model's, in a few lines, and what to do."""
    try:
        with safe_open(file, framework="pt") as tensors:
            names = list(tensors.keys())
    except (OSError, SafetensorError) as broken:
        with open(file, "rb") as start:
            first = start.read(40)
        if first.startswith((b"PK\x03\x04", b"\x80")):  # torch.save's, as a zip or bare
            return f"it is a pickle by another name; convert it, if you trust it:\n  {CONVERT}"
        if first.startswith(b"version https://git-lfs"):
            return "it is Git LFS's pointer to them; get the file itself with git lfs pull"
        return f"it is no whole .safetensors file ({broken}); get it anew"
    if any(".lora_" in name for name in names):
        return "it holds low-rank additions (LoRA) alone; merge them into their model and save that"
    if any("vision_model." in name or "text_model." in name for name in names):
        return (
            "its tensors have the names of Hugging Face transformers, here open_clip's are read;"
            " set model.pretrained to open_clip's tag of the same weights (such as openai), or to"
            " the file open_clip_model.safetensors, which is often in the same repository"
        )
    prefixes = {name.partition("token_embedding.weight")[0] for name in names
                if name.endswith("token_embedding.weight")}  # fmt: skip
    for prefix in prefixes - {""}:
        if any(name.startswith(f"{prefix}visual.") for name in names):
            by = " and ".join(who for word, who in WRAPPERS.items() if f".{word}" in f".{prefix}")
            return (
                f"its tensors' names begin with {prefix!r}{by and f', of {by}'}; save them without,"
                f" and name that file:\n  {RENAME.format(file=file, prefix=prefix)}"
            )
    lines = str(error).splitlines()[1:] or [repr(error)]
    differences = "\n  ".join(textwrap.shorten(line, 200, placeholder=" ...") for line in lines[:3])
    return (
        f"\n  {differences}\n  Set model.name to the model whose weights these are, or"
        " model.pretrained to weights of this one"
    )


def image_size(name: str, config: str | None = None) -> int:
    """The side in pixels of the square that a model sees; its weights are not needed for that."""
    return preprocessing_of(name, None, config).size


def preprocessing_of(
    name: str, pretrained: str | None = None, config: str | None = None
) -> Preprocessing:
    """What a model needs of an image, without loading it.

    A tag of open_clip says it, or an `open_clip_config.json`; a file of weights does not, and gets
    OpenAI's. ValueError for images that are not packed here.
    """
    return _preprocessing(_architecture(name, config), name, pretrained, config)


def _preprocessing(
    architecture: dict[str, Any], name: str, pretrained: str | None, config: str | None
) -> Preprocessing:
    said = [{"size": architecture["vision_cfg"].get("image_size", 224)}]
    if config is not None:
        said.append(_without_size(_read_config(config)[1]))
    if pretrained is not None and not Path(resource(pretrained)).is_file():
        said.append(_without_size(open_clip.get_pretrained_cfg(name, pretrained)))
    try:
        return Preprocessing.of(*said)
    except ValueError as error:
        raise ValueError(f"model.name {name}: {error}; use another model") from error


def preprocessing_from(spec: dict[str, Any]) -> Preprocessing:
    """The preprocessing of a rule's spec (settings/models.py, `packing`)."""
    if "preprocessing" in spec:
        return Preprocessing.of(spec["preprocessing"])
    return preprocessing_of(**spec["model"])


def _without_size(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings of preprocessing without the size: the architecture decides it, as in open_clip."""
    return {key: value for key, value in settings.items() if key != "size"}


def _architecture(name: str, config: str | None) -> dict[str, Any]:
    """The architecture of `name`, which `config` registers; ValueError where there is none."""
    if ":" in name:  # hf-hub:..., local-dir:...
        raise ValueError(
            f"model.name {name}: such a name brings weights with it, and open_clip would never read"
            " fine-tuned ones; use a plain name, and the weights' file as model.pretrained"
        )
    if config is not None:
        if Path(config).name not in (f"{name}.json", OPEN_CLIP_CONFIG):
            raise ValueError(
                f"model.config {config}: open_clip takes a model's name from its file's; call it"
                f" {name}.json, or model.name {Path(config).stem}"
            )
        with tempfile.TemporaryDirectory() as folder:  # open_clip reads no UTF-8 with a mark
            copied = Path(folder, f"{name}.json")
            copied.write_text(json.dumps(_read_config(config)[0]), encoding="utf-8")
            open_clip.add_model_config(copied)
    architecture = open_clip.get_model_config(name)
    if architecture is None:
        raise ValueError(f"model.name {name}: open_clip has no such model; name its model.config")
    return architecture


OPEN_CLIP_CONFIG = "open_clip_config.json"


def _read_config(config: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Architecture and preprocessing of a JSON file, of either form; ValueError for another."""
    described = read_json(resource(config))
    is_whole = isinstance(described, dict) and "model_cfg" in described
    architecture = described["model_cfg"] if is_whole else described
    preprocessing = (described.get("preprocess_cfg") or {}) if is_whole else {}
    if not (
        isinstance(architecture, dict)
        and isinstance(preprocessing, dict)
        and all(isinstance(architecture.get(k), dict) for k in ("vision_cfg", "text_cfg"))
        and "embed_dim" in architecture
    ):
        raise ValueError(
            f"model.config {config}: must have embed_dim, vision_cfg and text_cfg, as a model's"
            " JSON of open_clip has them, or these below model_cfg"
        )
    return architecture, preprocessing


def text_tower(model: torch.nn.Module) -> torch.nn.Module:
    """The module with a model's token embedding and text transformer; of CLIP the model itself."""
    return getattr(model, "text", model)


def token_table(model: torch.nn.Module) -> torch.nn.Module:
    """The embedding of a model's tokens."""
    tower = text_tower(model)
    if hasattr(tower, "token_embedding"):
        return tower.token_embedding
    return tower.transformer.get_input_embeddings()  # of Hugging Face


def is_causal(tower: torch.nn.Module) -> bool:
    """Whether a text tower is CLIP's: what stands behind the end token changes nothing."""
    pool = getattr(tower, "text_pool_type", getattr(tower, "pool_type", None))
    return (
        pool == "argmax"
        and getattr(tower, "attn_mask", None) is not None
        and getattr(tower, "cls_emb", None) is None
        and not getattr(tower, "use_pad_mask", False)
    )


def lengths(tokens: np.ndarray, pad: int = 0) -> np.ndarray:
    """How many tokens each text (..., context) has before its padding."""
    is_text = tokens != pad
    last = tokens.shape[-1] - is_text[..., ::-1].argmax(axis=-1)
    return np.where(is_text.any(axis=-1), last, 0)


def cut_padding(tokens: np.ndarray, pad: int = 0) -> np.ndarray:
    """Cut token ids (..., context) to the longest text; `encode_text` puts padding back."""
    return tokens[..., : max(1, lengths(tokens, pad).max(initial=1))]


def encode_image(model: torch.nn.Module, images: Tensor) -> Tensor:
    """Normalised embeddings (n, d) of images that `Clip.normalise` has prepared."""
    return unit_length(model.encode_image(images, normalize=False))


def encode_text(model: torch.nn.Module, tokens: Tensor) -> Tensor:
    """Normalised embeddings (n, d) of token ids (n, length), where length may be under the context.

    CLIP's text tower is causal and pools at the end token, so what stands behind the longest
    caption of a batch changes nothing; leaving it out saves most of the tower's work. Other towers
    get the padding that their tokenizer writes.
    """
    tower, length = text_tower(model), tokens.shape[1]
    if not is_causal(tower):
        whole = getattr(model, "text_padding", Padding(length, 0))
        padded = F.pad(tokens, (0, whole.length - length), value=whole.token)
        return unit_length(model.encode_text(padded, normalize=False))
    x = tower.token_embedding(tokens) + tower.positional_embedding[:length]
    x = tower.transformer(x, attn_mask=tower.attn_mask[:length, :length])
    x = tower.ln_final(x)[torch.arange(len(x), device=x.device), tokens.argmax(dim=-1)]
    if isinstance(tower.text_projection, torch.nn.Linear):
        return unit_length(tower.text_projection(x))
    return unit_length(x if tower.text_projection is None else x @ tower.text_projection)


def unit_length(embeddings: Tensor) -> Tensor:
    """Normalised embeddings, in float32 or wider: autocast on a CPU would leave bfloat16, lengths
    some thousandths off one, and of equally similar captions the longest vector would win."""
    wide = torch.promote_types(embeddings.dtype, torch.float32)
    return F.normalize(embeddings.to(wide), dim=-1)
