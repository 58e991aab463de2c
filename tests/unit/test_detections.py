"""What a detector's files say of its classes."""

import json

import pyarrow as pa
import pytest

from countclip.data.detections import class_names
from countclip.runtime.files import write_table


def write(path, names):
    write_table(pa.table({"key": ["0"]}), path, {"class_names": json.dumps(names)})
    return path


def test_classes_are_named_by_id_and_those_of_two_detectors_are_refused(tmp_path):
    one = write(tmp_path / "one.parquet", {"0": "star", "7": "heart"})
    same = write(tmp_path / "same.parquet", {"0": "star", "7": "heart"})
    assert class_names(one) == class_names(one, same) == {0: "star", 7: "heart"}
    other = write(tmp_path / "other.parquet", {"0": "heart", "7": "star"})
    with pytest.raises(ValueError, match=r"other.parquet: its classes are not those of .*one"):
        class_names(one, same, other)
