"""Download one model's pretrained weights from the hub, verified."""

from countclip.model import hub
from countclip.runtime.connection import connection
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
with connection(spec["network"], snakemake.input.get("world")) as environment:  # noqa: F821
    hub.fetch(
        spec["model"]["name"],
        spec["model"]["pretrained"],
        snakemake.output.weights,  # noqa: F821
        endpoint=spec["zero_shot"]["endpoint"],
        state=f"results/.state/zero_shot/{snakemake.wildcards.model}",  # noqa: F821
        environment=environment,
    )
