"""Pretrained weights of open_clip's models from the Hugging Face hub, pinned and verified."""

import logging
from pathlib import Path, PurePosixPath

import httpx2
import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from countclip.data.laion import hub_proxies, hub_token, login_advice
from countclip.model.libraries import open_clip
from countclip.runtime import network
from countclip.runtime.machine import OF_CONNECTIONS, raise_machine_error
from countclip.runtime.network import DownloadError

log = logging.getLogger(__name__)

SAFE_NAME = "open_clip_model.safetensors"
"""What the weights of open_clip are called on the hub, where a tag names no file."""


def source_of(name: str, pretrained: str) -> tuple[str, str]:
    """Repository of a tag's weights on the hub, and their file; ValueError where it has none.

    The file is the .safetensors one beside a pickle: a pickle may run code of its maker.
    """
    published = open_clip.get_pretrained_cfg(name, pretrained)
    if not published:
        tags = ", ".join(open_clip.list_pretrained_tags_by_model(name)) or "none"
        raise ValueError(
            f"zero_shot.models: {name}: open_clip knows no weights {pretrained!r} (it knows {tags})"
        )
    place = PurePosixPath(published.get("hf_hub") or "")
    if len(place.parts) < 2:
        raise ValueError(
            f"zero_shot.models: {name}, {pretrained}: these weights are not on the hub; download"
            " them, convert them to .safetensors, and name that file as pretrained"
        )
    repository = "/".join(place.parts[:2])
    file = "/".join(place.parts[2:])
    return repository, str(PurePosixPath(file).with_suffix(".safetensors")) if file else SAFE_NAME


def fetch(
    name: str,
    pretrained: str,
    path: str | Path,
    *,
    endpoint: str,
    state: str | Path,
    environment: dict[str, str],
) -> None:
    """Publish the weights of a tag at `path`, with the size and sha256 that the hub states.

    The hub's client says where they are. Its own download begins anew after a kill (huggingface_hub
    2.4), so the bytes come as those of LAION do.
    state: folder of the download, where a killed one continues. endpoint: the hub; it alone gets
    the token in HF_TOKEN. environment: as `connection` yields it (connection.py).
    PermissionError, FileNotFoundError and ConnectionError say what to do.
    """
    repository, file = source_of(name, pretrained)
    endpoint = endpoint.rstrip("/")
    page = f"{endpoint}/{repository}"
    info = _ask(name, repository, page, endpoint, environment)
    held = {sibling.rfilename: sibling.lfs for sibling in info.siblings}
    if held.get(file) is None:
        raise FileNotFoundError(
            f"{page} has no {file} with a sha256 at {info.sha}, and other kinds of weights may run"
            " code of their maker: convert them yourself, and name that file as pretrained of"
            " zero_shot.models"
        )
    log.info("%s: %s of %s at %s", name, file, repository, info.sha)
    login = hub_token()
    try:
        with network.explained(f"the weights of {name}", _OTHERWISE):
            network.download(
                huggingface_hub.hf_hub_url(repository, file, revision=info.sha, endpoint=endpoint),
                path,
                session=network.session(environment),
                size=held[file].size,
                sha256=held[file].sha256,
                partial=Path(state) / f"{held[file].sha256}.partial",
                headers={"Authorization": f"Bearer {login}"} if login else None,
            )
    except DownloadError as error:
        if error.reason in ("http_401", "http_403"):
            raise PermissionError(login_advice(int(error.reason[-3:]), page)) from error
        raise


def _ask(
    name: str, repository: str, page: str, endpoint: str, environment: dict[str, str]
) -> huggingface_hub.ModelInfo:
    """What the hub says of a repository: its present commit, and each file's size and sha256."""
    hub = huggingface_hub.HfApi(endpoint=endpoint, token=hub_token() or False)
    try:
        with hub_proxies(environment):
            return hub.model_info(repository, files_metadata=True, timeout=60)
    except OfflineModeIsEnabled as error:
        raise ConnectionError(
            f"HF_HUB_OFFLINE is set in the environment, so the weights of {name} cannot come from"
            f" {page}: unset it, or {_OTHERWISE}"
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        if status in (401, 403):
            raise PermissionError(login_advice(status, page)) from error
        if status == 404:
            raise FileNotFoundError(f"{page} is not there (404): {_OTHERWISE}") from error
        raise ConnectionError(_unreached(name, page, f"http_{status}")) from error
    except httpx2.HTTPError as error:
        raise_machine_error(error, OF_CONNECTIONS)
        raise ConnectionError(_unreached(name, page, str(error) or type(error).__name__)) from error


_OTHERWISE = "name a .safetensors file of yours as pretrained of zero_shot.models"


def _unreached(name: str, page: str, why: str) -> str:
    return (
        f"the weights of {name} did not arrive from {page} ({why}): {network.OFFLINE}, or that host"
        f" is; restore the network and run again (what has arrived is kept), or {_OTHERWISE}"
    )
