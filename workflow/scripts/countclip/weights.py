"""Which weights may a detector read, and in what form? Those of a known digest, exported once."""

import json
import tempfile
from pathlib import Path

from countclip.files import publish, sha256
from countclip.runtimes import ultralytics


def digest(weights: str | Path) -> str:
    """sha256 of a weights file, or of the names and contents of a folder."""
    weights = Path(weights)
    if weights.is_file():
        return sha256(weights)
    files = sorted(path for path in weights.rglob("*") if path.is_file())
    listing = [[file.relative_to(weights).as_posix(), sha256(file)] for file in files]
    return sha256(json.dumps(listing).encode())


def checked(weights: str | Path, expected: str | None) -> str:
    """The digest of weights that may be read: they exist and are those that the config names.

    A .pt file is a pickle, and reading one runs whatever it holds. So it is read only if the
    config names its sha256, which says that a person trusts this very file.
    """
    if not Path(weights).exists():
        raise FileNotFoundError(
            f"detector.weights: {weights} does not exist, and weights are never downloaded "
            "in passing. Name a file or an OpenVINO folder, or set detector.download"
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
    """Export a .pt file to `path`, whose suffix says to what: .onnx, or .engine (TensorRT).

    Both take pictures of any shape up to `image_size`. An engine is made on the GPU that it will
    run on, for up to `batch` pictures at a time.
    """
    checked(weights, sha256)
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
    """Without the date and folder of its making, and the shapes in between, which are listed in
    any order: so equal weights are equal files."""
    import onnx

    model = onnx.load(exported)
    kept = [entry for entry in model.metadata_props if entry.key not in ("date", "description")]
    del model.metadata_props[:]
    model.metadata_props.extend(kept)
    del model.graph.value_info[:]
    with publish(path) as temporary:
        onnx.save(model, temporary)
