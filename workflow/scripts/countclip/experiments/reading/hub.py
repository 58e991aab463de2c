"""TextVQA on the Hugging Face hub: Parquet files, pinned and verified as LAION's parts are."""

import logging
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from countclip.data.laion import DataSet
from countclip.runtime.files import publish, sha256, write_json

log = logging.getLogger(__name__)

TEXTVQA = DataSet("TextVQA", "reading")
"""For `laion.make_manifest` and `laion.download_part`."""
REPOSITORY = "lmms-lab/textvqa"
"""Its Parquet has the images inside; facebook/textvqa is a script, which nothing runs any more."""
_PART = re.compile(r"(?P<split>\w+)-(?P<place>\d{5})-of-(?P<parts>\d{5})\b.*")


def parts_of(names: Iterable[str], split: str) -> list[str]:
    """The parts of a split among those of a manifest, such as validation-00002-of-00003, in order.

    ValueError where there are none, or not as many as their names say.
    """
    names = sorted(names)
    found = {name: _PART.fullmatch(name) for name in names}
    parts = [name for name, match in found.items() if match and match["split"] == split]
    places = [(int(found[name]["place"]), int(found[name]["parts"])) for name in parts]
    if not parts or places != [(place, len(parts)) for place in range(len(parts))]:
        raise ValueError(
            f"the manifest has the parts {', '.join(parts) or 'none'} of the split {split}: it"
            f" must have all of them, such as {split}-00000-of-00003; list the data set anew"
        )
    return parts


def download_parts(
    parts: Sequence[str],
    download: Callable[[str, Path], None],
    folder: str | Path,
    files_json: str | Path,
) -> None:
    """Publish a folder of Parquet files, one a part, and the list of their digests.

    download: publishes a part at a path. The list names each file in the order of the parts, which
    is that of their names.
    """
    with publish(folder) as temporary:
        temporary.mkdir()
        for number, part in enumerate(parts, 1):
            log.info("%s, %d of %d", part, number, len(parts))
            download(part, temporary / f"{part}.parquet")
    write_json({file.name: sha256(file) for file in sorted(Path(folder).iterdir())}, files_json)
