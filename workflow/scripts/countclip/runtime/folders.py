"""Users' folders: which of their files count, and which file a name means."""

import logging
import os
import unicodedata
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from countclip.runtime.files import check_name
from countclip.runtime.resources import HOME, is_ours

log = logging.getLogger(__name__)

_LEFT_BEHIND = {
    *("__macosx", "thumbs.db", "thumbs.db:encryptable", "ehthumbs.db", "desktop.ini", "icon\r"),
    *("@eadir", "#recycle", "@recycle", "#snapshot", "@recently-snapshot", "$recycle.bin"),
    *("system volume information", "network trash folder", "temporary items", "lost+found"),
    *("recycler", "picasa.ini", "zbthumbnail.info", "pspbrwse.jbf", "ehthumbs_vista.db"),
    *("__pycache__", "cvs"),
}
"""Names, in lower case, of what macOS, Windows, network drives and other tools leave in folders."""

_OF_DESKTOPS = {
    *(".ds_store", ".localized", ".directory", "thumbs.db", "thumbs.db:encryptable", "ehthumbs.db"),
    *("ehthumbs_vista.db", "desktop.ini", "icon\r"),
}
"""Names, in lower case, of what macOS, Windows and KDE put into folders that a user only opens."""

_UNFINISHED = ("~", ".crdownload", ".part", ".partial", ".tmp")
"""Ends of names, in lower case, of editors' backups and of downloads that were cut short."""


def is_left_behind(name: str) -> bool:
    """Whether a file or folder is hidden, or is what a tool left: nothing that a user put there."""
    name = name.lower()
    return name.startswith((".", "~$")) or name.endswith(_UNFINISHED) or name in _LEFT_BEHIND


def is_of_desktop(name: str) -> bool:
    """Whether a file is what a desktop puts into any folder, at which nobody wonders."""
    return name.lower() in _OF_DESKTOPS


class Contents(NamedTuple):
    """Files of a folder and below it, and what is passed over; both sorted.

    files: also those that cannot be read, such as a broken link, for the reader to report.
    passed: hidden files and folders, what tools left behind, and links back to a folder above.
    """

    files: list[Path]
    passed: list[Path]

    def unusual(self) -> "Contents":
        """The same, but nothing that a desktop put there is among what is passed over."""
        return Contents(self.files, [p for p in self.passed if not is_of_desktop(p.name)])

    def log_passed(self, folder: str | Path) -> None:
        if self.passed:
            log.warning("%s: %s", folder, self.note())

    def note(self) -> str:
        """Number and first names of what is passed over."""
        names = ", ".join(map(str, self.passed[:5])) + (", ..." if self.passed[5:] else "")
        return f"{len(self.passed)} hidden, left by a tool or a loop of links, passed over: {names}"


def contents(folder: str | Path, deep: bool = True) -> Contents:
    """List the files of a user's folder; links are followed.

    deep: also the files of folders in it. A folder that cannot be listed counts as a file.
    """
    found = Contents([], [])
    _list(Path(folder), deep, {_identity(Path(folder))}, found)
    return Contents(*map(sorted, found))


def subfolders(folder: str | Path) -> list[Path]:
    """The folders in a user's folder, sorted, linked ones too."""
    return [path for path in sorted(Path(folder).iterdir())
            if path.is_dir() and not is_left_behind(path.name)]  # fmt: skip


def _list(folder: Path, deep: bool, above: set[tuple[int, int]], found: Contents) -> None:
    for path in folder.iterdir():
        if is_left_behind(path.name):
            found.passed.append(path)
        elif not os.path.isdir(path):
            found.files.append(path)
        elif deep and (identity := _identity(path)) in above:
            found.passed.append(path)
        elif deep:
            try:
                _list(path, deep, above | {identity}, found)
            except OSError:  # such as a missing right
                found.files.append(path)


def _identity(folder: Path) -> tuple[int, int]:
    """Device and inode, which a folder keeps under all its names."""
    status = folder.stat()
    return status.st_dev, status.st_ino


# ---- the file that a name means ----


class ImageFolder(NamedTuple):
    """A folder in which a table names images; follow_links: also to files elsewhere."""

    path: Path
    follow_links: bool = False


def inside(folder: ImageFolder, name: str) -> Path:
    """The path of a file in a folder; ValueError for one outside.

    A link to a file outside is allowed where follow_links says so.
    """
    check_name(name)
    path = stored(folder.path / name)
    real, place = path.resolve(), f"image {name!r} must be a file inside {folder.path}"
    if name and real.is_relative_to(folder.path.resolve()):
        return real
    path = Path(os.path.abspath(path))
    if not (name and path.is_relative_to(os.path.abspath(folder.path))):
        raise ValueError(place)
    if folder.follow_links:
        return path
    raise ValueError(
        f"{place}, and is a link to {real}: copy that file into the folder, or set"
        " `follow_links: true` where the config names the folder"
    )


def stored(path: Path) -> Path:
    """The path in the Unicode form that the disk has it in.

    macOS writes an umlaut as two characters (NFD), most other systems as one (NFC). Other file
    systems take these for two names.
    """
    if str(path).isascii() or os.path.lexists(path):
        return path
    found = Path(path.anchor)
    for part in path.relative_to(path.anchor).parts:
        if not (part.isascii() or os.path.lexists(found / part)):
            part = _names(found).get(unicodedata.normalize("NFC", part), part)
        found /= part
    return found


def _names(folder: Path) -> dict[str, str]:
    try:
        return _composed_names(folder, folder.stat().st_mtime_ns)
    except OSError:
        return {}


@lru_cache(maxsize=16)  # a table may name thousands of files in one folder
def _composed_names(folder: Path, _changed: int) -> dict[str, str]:
    """NFC form of each name in a folder -> the name."""
    return {unicodedata.normalize("NFC", name): name for name in sorted(os.listdir(folder))}


# ---- folders that are inputs ----


def files_of(path: str) -> list[str]:
    """A path of the config as files: itself, or what a folder holds."""
    folder = (HOME if is_ours(path) else Path()) / path
    if not folder.is_dir():
        return [path]
    return sorted(f"{path}/{file.relative_to(folder)}" for file in contents(folder).files)
