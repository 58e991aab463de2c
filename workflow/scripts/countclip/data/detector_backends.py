"""Detector backends: OpenVINO on a CPU, torch or TensorRT on a GPU; and their weights.

A network takes prepared images, each uint8 (height, width, 3), RGB. For each it returns, in the
same order, the raw predictions of YOLO, float32 (1, 4 + classes, anchors). Weights are read only
after their digest is verified.
"""

import ast
import atexit
import functools
import json
import logging
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from countclip.runtime.files import publish, sha256
from countclip.runtime.folders import contents

log = logging.getLogger(__name__)


class Network(Protocol):
    """Loaded weights of a detector."""

    names: dict[int, str]
    square: int | None
    """The only side in pixels that the weights take; None for any multiple of 32."""

    def __call__(self, images: list[np.ndarray]) -> Iterator[Any]: ...


def load(weights: str | Path, *, device: str, precision: str, threads: int) -> Network:
    """Load a .pt, .onnx or .engine file or an OpenVINO folder.

    device: `cpu`, or a GPU as torch names it. precision: `f32`, or `bf16` with OpenVINO.
    ValueError if these do not go together.
    """
    weights = Path(weights)
    kind = "openvino" if weights.is_dir() else weights.suffix
    if kind not in ("openvino", ".pt", ".onnx", ".engine"):
        raise ValueError(
            f"detector.weights: {weights} is no .pt, .onnx or .engine file, nor an OpenVINO folder"
        )
    if kind == (".engine" if device == "cpu" else "openvino"):
        raise ValueError(f"detector.device: {weights} does not run on {device}")
    if device == "cpu" and kind != ".pt":
        return OnOpenVINO(weights, precision, threads)
    if kind == ".onnx" and not _onnxruntime_sees_gpus():
        raise ValueError(
            f"detector.device: on {device} {weights} needs onnxruntime-gpu, not onnxruntime; "
            "or set detector.export to null or engine"
        )
    if precision != "f32":
        raise ValueError(f"detector.precision: {weights} runs in f32 alone on {device}")
    return OnTorch(weights, device)


class OnOpenVINO:
    """An .onnx file or an OpenVINO folder on a CPU.

    Each image is a batch of its own in one of `threads` threads. On a CPU that is as fast as larger
    batches, and no result depends on other images or the number of threads.
    """

    def __init__(self, weights: Path, precision: str, threads: int) -> None:
        import openvino
        import torch

        path = next(weights.glob("*.xml"), None) if weights.is_dir() else weights
        if path is None:
            raise ValueError(f"detector.weights: {weights} has no .xml file, as OpenVINO's have")
        self.names = _names(weights)
        model = _openvino().read_model(path)
        size = model.input().partial_shape[2]
        self.square = None if size.is_dynamic else size.get_length()
        if self.square is None:
            model.reshape([1, 3, -1, -1])
        steps = openvino.preprocess.PrePostProcessor(model)
        tensor = steps.input().tensor()
        tensor.set_element_type(openvino.Type.u8).set_layout(openvino.Layout("NHWC"))
        steps.input().model().set_layout(openvino.Layout("NCHW"))
        steps.input().preprocess().convert_element_type(openvino.Type.f32).scale(255.0)
        settings = {
            "NUM_STREAMS": threads,
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,  # the default depends on the machine
        }
        self._model = _openvino().compile_model(steps.build(), "CPU", settings)
        torch.set_num_threads(1)  # torch only filters predictions; more would slow OpenVINO down
        self._pool = ThreadPoolExecutor(threads)
        self._thread = threading.local()

    def __call__(self, images: list[np.ndarray]) -> Iterator[Any]:
        return self._pool.map(self._predict, images)

    def _predict(self, image: np.ndarray) -> Any:
        import torch

        if not hasattr(self._thread, "request"):
            self._thread.request = self._model.create_infer_request()
        result = self._thread.request.infer({0: image[None]}, share_inputs=True)
        return torch.from_numpy(result[0].copy())


class OnTorch:
    """A .pt file, or any file on a GPU, run by ultralytics in float32.

    Images of one shape form a batch. On a CPU each image is a batch of its own, in one thread.
    """

    def __init__(self, weights: Path, device: str) -> None:
        import torch

        ultralytics()
        from ultralytics.nn.autobackend import AutoBackend

        if device == "cpu":
            log.warning("%s on a CPU is slow: set detector.export to onnx", weights)
            torch.set_num_threads(1)
        self._device = torch.device(device)
        self._model = AutoBackend(str(weights), device=self._device, verbose=False).eval()
        self.names = dict(self._model.names)
        any_size = weights.suffix == ".pt" or self._model.dynamic
        self.square = None if any_size else self._model.imgsz[0]

    def __call__(self, images: list[np.ndarray]) -> Iterator[Any]:
        import torch

        found = [None] * len(images)
        groups: dict[Any, list[int]] = {}
        for i, image in enumerate(images):
            groups.setdefault(i if self._device.type == "cpu" else image.shape, []).append(i)
        for group in groups.values():
            batch = torch.from_numpy(np.stack([images[i] for i in group])).to(self._device)
            with torch.inference_mode():
                raw = self._model(batch.permute(0, 3, 1, 2).contiguous().float().div_(255))
            raw = raw[0] if isinstance(raw, (list, tuple)) else raw
            for i, predictions in zip(group, raw.split(1), strict=True):
                found[i] = predictions
        return iter(found)


def _onnxruntime_sees_gpus() -> bool:
    import onnxruntime

    return "CUDAExecutionProvider" in onnxruntime.get_available_providers()


@functools.cache
def _openvino() -> Any:
    """OpenVINO's core, one for the whole process.

    Its CPU plugin sets an alternate signal stack and unmaps it when the core is deleted. The next
    signal, such as Ctrl-C, would then be a segmentation fault.
    """
    import openvino

    return openvino.Core()


def _names(weights: Path) -> dict[int, str]:
    """The names of the classes, from the metadata that ultralytics writes into an export."""
    ultralytics()
    from ultralytics.nn.backends.base import BaseBackend

    names = BaseBackend.read_metadata(weights).get("names")
    if not names:
        raise ValueError(f"{weights} does not name its classes; export it with ultralytics")
    return ast.literal_eval(names) if isinstance(names, str) else names


@functools.cache
def ultralytics() -> ModuleType:
    """Import ultralytics; stop it from installing, reporting and using a user's settings."""
    folder = tempfile.mkdtemp(prefix="countclip-yolo-")
    os.environ.update(YOLO_CONFIG_DIR=folder, YOLO_AUTOINSTALL="false", YOLO_OFFLINE="true")
    import torchvision  # noqa: F401 without it, ultralytics uses another NMS
    import ultralytics

    ultralytics.settings.update({"sync": False})
    shutil.rmtree(folder, ignore_errors=True)  # now, since this process may be killed
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # exports create it again
    return ultralytics


def digest(weights: str | Path) -> str:
    """sha256 of a weights file, or of the names and contents of a folder."""
    weights = Path(weights)
    if weights.is_file():
        return sha256(weights)
    files = contents(weights).files
    listing = [[file.relative_to(weights).as_posix(), sha256(file)] for file in files]
    return sha256(json.dumps(listing).encode())


def verified_digest(weights: str | Path, expected: str | None) -> str:
    """The digest of weights, after verifying that they may be read.

    They must exist and have the digest `expected`, if it is set. A .pt file is a pickle, which can
    run any code when it is read. So it needs a digest, by which a person states trust in this file.
    """
    if not Path(weights).exists():
        raise FileNotFoundError(
            f"detector.weights: {weights} does not exist, and is never downloaded unless "
            "detector.download is set. Name a file or an OpenVINO folder, or set that key"
        )
    found = digest(weights)
    if expected is None and Path(weights).suffix == ".pt":
        raise ValueError(
            f"detector.sha256: {weights} is a pickle, which can run any code when it is read. If "
            f"you trust where it comes from, set detector.sha256 to its digest, {found}"
        )
    if expected not in (None, found):
        raise ValueError(f"detector.sha256: {weights} has {found}, not {expected}; it is not read")
    return found


def export_weights(
    weights: str | Path, path: str | Path, *, sha256: str | None, image_size: int, batch: int
) -> None:
    """Export a .pt file to `path`, by its suffix as .onnx or .engine (TensorRT).

    Both take images of any shape up to `image_size`. An engine is built on the GPU that it will run
    on, for up to `batch` images at a time.
    """
    verified_digest(weights, sha256)
    form = Path(path).suffix.removeprefix(".")
    with tempfile.TemporaryDirectory(prefix="countclip-export-") as folder:
        source = Path(folder) / "weights.pt"  # ultralytics writes beside its source
        source.symlink_to(Path(weights).resolve())
        model = ultralytics().YOLO(str(source), task="detect")
        device = {"device": 0, "batch": batch} if form == "engine" else {"device": "cpu"}
        exported = Path(model.export(format=form, imgsz=image_size, dynamic=True, **device))
        if form == "onnx":
            publish_onnx(exported, path)
        else:
            with publish(path) as temporary:
                temporary.write_bytes(exported.read_bytes())


def publish_onnx(exported: str | Path, path: str | Path) -> None:
    """Publish an ONNX file in a canonical form: equal weights give equal files.

    Its date, its folder and the shapes between layers, whose order varies, are removed.
    """
    import onnx

    model = onnx.load(exported)
    stable = [entry for entry in model.metadata_props if entry.key not in ("date", "description")]
    del model.metadata_props[:]
    model.metadata_props.extend(stable)
    del model.graph.value_info[:]
    with publish(path) as temporary:
        onnx.save(model, temporary)
