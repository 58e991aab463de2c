"""Users' folders: what counts in them, and which file a name means."""

import os
import unicodedata

import pytest

from countclip.data.detector_backends import digest
from countclip.data.images import Unusable, read_file
from countclip.runtime.folders import (
    ImageFolder,
    contents,
    inside,
    is_left_behind,
    stored,
    subfolders,
)

JUNK = (
    *(".DS_Store", "._3.jpg", "Thumbs.db", "Desktop.ini", "Icon\r", "~$list.docx"),
    *("__MACOSX/shelf/._3.jpg", ".ipynb_checkpoints/3-checkpoint.jpg", "@eaDir/3.jpg/t.jpg"),
    *("$RECYCLE.BIN/3.jpg", ".git/index", "a/.thumbnails/3.jpg", "a/Thumbs.db"),
)


def write(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())


def names(paths, folder):
    return [path.relative_to(folder).as_posix() for path in paths]


def test_what_tools_leave_is_passed_over_and_named(tmp_path):
    write(tmp_path, "b.jpg", "a/3.jpg", "a/deep/er/4.jpg", "a/thumbs.jpg", *JUNK)
    found = contents(tmp_path)
    assert names(found.files, tmp_path) == ["a/3.jpg", "a/deep/er/4.jpg", "a/thumbs.jpg", "b.jpg"]
    tops = {name if name.startswith("a/") else name.split("/")[0] for name in JUNK}
    tops = {"a/.thumbnails" if name.startswith("a/.") else name for name in tops}
    assert set(names(found.passed, tmp_path)) == tops
    assert f"{len(tops)} hidden" in found.note()
    quiet = {".DS_Store", "Thumbs.db", "a/Thumbs.db", "Desktop.ini", "Icon\r"}
    assert set(names(found.unusual().passed, tmp_path)) == tops - quiet
    assert found.unusual().files == found.files
    assert names(contents(tmp_path, deep=False).files, tmp_path) == ["b.jpg"]
    assert names(subfolders(tmp_path), tmp_path) == ["a"]
    hidden = tmp_path / ".ipynb_checkpoints"  # a user may name it
    assert names(contents(hidden).files, hidden) == ["3-checkpoint.jpg"]


def test_links_are_followed_and_broken_ones_stay(tmp_path):
    write(tmp_path, "store/a.jpg", "store/deep/b.jpg", "top/c.jpg")
    top = tmp_path / "top"
    (top / "year").symlink_to("../store")
    (top / "again").symlink_to(tmp_path / "store")
    (top / "gone").symlink_to("../nowhere")
    (top / "self.jpg").symlink_to("self.jpg")
    (tmp_path / "store/deep/up").symlink_to("../../top")
    found = contents(top)
    linked = [f"{name}/{file}" for name in ("again", "year") for file in ("a.jpg", "deep/b.jpg")]
    assert names(found.files, top) == sorted(["c.jpg", "gone", "self.jpg", *linked])
    assert names(found.passed, top) == ["again/deep/up", "year/deep/up"]
    assert names(subfolders(top), top) == ["again", "year"]


def test_no_junk_counts_into_the_digest_of_weights(tmp_path):
    write(tmp_path, "model.xml", "model.bin")
    before = digest(tmp_path)
    write(tmp_path, ".DS_Store", "__MACOSX/._model.xml")
    assert digest(tmp_path) == before
    write(tmp_path, "metadata.yaml")
    assert digest(tmp_path) != before


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_name_finds_its_file_in_either_unicode_form(tmp_path, form):
    other = {"NFC": "NFD", "NFD": "NFC"}[form]
    name = "Ärzte/Crème brûlée 3.jpg"
    write(tmp_path, unicodedata.normalize(form, name), "plain/ö.jpg")
    found = stored(tmp_path / unicodedata.normalize(other, name))
    assert found.read_bytes().decode() == unicodedata.normalize(form, name)
    assert inside(ImageFolder(tmp_path), unicodedata.normalize(other, name)).is_file()
    mixed = unicodedata.normalize(form, "Ärzte") + "/" + unicodedata.normalize(other, "ü.jpg")
    assert stored(tmp_path / mixed) == tmp_path / mixed  # there is none
    write(tmp_path, unicodedata.normalize(form, "Ärzte/ü.jpg"))
    assert stored(tmp_path / mixed).is_file()


def test_the_form_that_is_there_goes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    both = [unicodedata.normalize(form, "data/ü.jpg") for form in ("NFC", "NFD")]
    write(tmp_path, *both)
    for name in both:
        assert stored(type(tmp_path)(name)).read_bytes() == name.encode()
    os.unlink(both[0])
    assert stored(type(tmp_path)(both[0])) == type(tmp_path)(both[1])


def test_links_out_of_a_folder_need_a_word_of_the_config(tmp_path):
    write(tmp_path, "cache/3f.jpg", "data/here.jpg", "secret.jpg")
    data = tmp_path / "data"
    (data / "3.jpg").symlink_to("../cache/3f.jpg")
    (data / "all").symlink_to("../cache")
    (data / "near.jpg").symlink_to("here.jpg")
    for name in ("3.jpg", "all/3f.jpg"):
        with pytest.raises(ValueError, match=rf"'{name}' must be a file inside .* is a link to .*"
                           r"/cache/3f.jpg: copy .* or set `follow_links: true`"):  # fmt: skip
            inside(ImageFolder(data), name)
        assert inside(ImageFolder(data, follow_links=True), name).read_bytes() == b"cache/3f.jpg"
    for follow in (False, True):
        assert inside(ImageFolder(data, follow), "near.jpg") == (data / "here.jpg").resolve()
        for name in ("../secret.jpg", str(tmp_path / "secret.jpg"), "", "all/../../secret.jpg"):
            with pytest.raises(ValueError, match="must be a file inside [^,]*$"):
                inside(ImageFolder(data, follow), name)


def test_backups_of_editors_and_cut_downloads_are_left_behind():
    found = [name for name in ("7.jpg~", "8.JPG.crdownload", "tmp", "part-0.parquet", "a.part.jpg")
             if is_left_behind(name)]  # fmt: skip
    assert found == ["7.jpg~", "8.JPG.crdownload"]


def test_a_folder_that_may_not_be_listed_is_a_problem_not_nothing(tmp_path):
    write(tmp_path, "a.jpg", "shut/b.jpg")
    (tmp_path / "shut").chmod(0)
    if os.access(tmp_path / "shut", os.R_OK):
        pytest.skip("this user may list any folder")
    found = contents(tmp_path)
    assert names(found.files, tmp_path) == ["a.jpg", "shut"]
    with pytest.raises(Unusable, match="a folder: give this user the right to list it"):
        read_file(tmp_path / "shut", 9)
    (tmp_path / "shut").chmod(0o700)
