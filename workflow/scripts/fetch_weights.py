"""Download the detector's weights and verify their sha256, without reading them."""

from countclip.runtime import network
from countclip.runtime.connection import connection
from countclip.runtime.job import start

spec = start(snakemake)  # noqa: F821
detector, inputs = spec["detector"], snakemake.input  # noqa: F821
if not (detector["download"] and detector["sha256"]):
    raise ValueError("detector.weights is to be downloaded: set detector.download and .sha256")
otherwise = "correct detector.download and .sha256, or set detector.weights to a file of yours"
with (
    connection(spec["network"], inputs.get("world")) as environment,
    network.explained("the detector's weights", otherwise),
):
    network.download(
        detector["download"]["url"],
        snakemake.output.weights,  # noqa: F821
        session=network.session(environment),
        size=detector["download"]["bytes"],
        sha256=detector["sha256"],
        partial=f"results/.state/weights/{detector['sha256'][:16]}.partial",
    )
