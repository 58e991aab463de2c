"""Weights are read under their digest alone, and downloaded as the config describes them."""

import pickle
from pathlib import Path

import pytest

from countclip.data import detector_backends
from countclip.runtime.files import sha256


class Trap:
    def __reduce__(self) -> tuple:
        return Path.touch, (Path("trapped"),)


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A .pt file that would leave a file behind if it were read."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "trap.pt"
    path.write_bytes(pickle.dumps(Trap()))
    return path


@pytest.mark.parametrize("expected", [None, "0" * 64])
def test_a_pickle_is_read_under_its_digest_alone(trap: Path, expected: str | None) -> None:
    with pytest.raises(ValueError, match=f"detector.sha256: .*{sha256(trap)}"):
        detector_backends.export_weights(trap, "x.onnx", sha256=expected, image_size=32, batch=1)
    assert not Path("trapped").exists()
    assert detector_backends.verified_digest(trap, sha256(trap)) == sha256(trap)


def test_no_weights_no_download() -> None:
    with pytest.raises(FileNotFoundError, match="yolov8n.pt does not exist.*never downloaded"):
        detector_backends.verified_digest("yolov8n.pt", None)


def test_digest_of_a_folder_sees_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/x.bin").write_bytes(b"1")
    first = detector_backends.digest(tmp_path)
    assert first == detector_backends.digest(tmp_path)
    (tmp_path / "a/x.bin").rename(tmp_path / "a/y.bin")
    assert first != detector_backends.digest(tmp_path)
