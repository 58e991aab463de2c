"""Which network does a job get? The machine's own, or the miniature's on the loopback interface.

Only the scripts of jobs that download know; they pass the environment on.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from miniature.server import serve


@contextmanager
def connection(kind: str, world: str | Path | None = None) -> Iterator[dict[str, str]]:
    """Yield the environment variables that lead a session or a subprocess to the network.

    kind: `internet` (as the machine is), or `miniature`: the loopback server of the table `world`
        lives as long as the block, on a port of its own, so that jobs may run side by side.
    """
    if kind == "internet":
        yield {}
    elif kind == "miniature":
        if world is None:
            raise ValueError("connection('miniature') needs the path of world.parquet")
        with serve(world) as proxy:
            yield {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": ""}
    else:
        raise ValueError(f"connection: {kind!r} is neither 'internet' nor 'miniature'")
