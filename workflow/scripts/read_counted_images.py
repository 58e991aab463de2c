"""Read the images that somebody counted: candidates, and the manifest of their images."""

from countclip.data import counted_images
from countclip.runtime.job import start
from countclip.runtime.resources import resource

spec = start(snakemake)  # noqa: F821
outputs = snakemake.output  # noqa: F821
pairs, limits = spec["pairs"], spec["fetch"]["images"]
nouns = pairs.get("nouns")
counted_images.read_counted_images(
    source=pairs["source"],
    path=resource(pairs["path"]),
    images=resource(pairs["images"]),
    captions=pairs["captions"] and resource(pairs["captions"]),
    nouns_csv=nouns and resource(nouns),
    caption=pairs["caption"],
    several=spec["captions"]["several"],
    expected=pairs["sha256"],
    follow_links=pairs["follow_links"],
    max_bytes=limits["max_bytes"],
    max_pixels=limits["max_pixels"],
    threads=snakemake.threads,  # noqa: F821
    candidates=outputs.candidates,
    counts=outputs.counts,
    manifest=outputs.manifest,
)
