"""Makes the counting set from all parts, and the funnel that says where every row went."""

from countclip import counting_set
from countclip.job import start

spec = start(snakemake)  # noqa: F821
roles = ("candidates", "counts", "images", "detections")
counting_set.assemble(
    {
        part: {role: snakemake.input[role][i] for role in roles}  # noqa: F821
        for i, part in enumerate(spec["parts"])
    },
    snakemake.input.benchmark,  # noqa: F821
    dict(snakemake.output.items()),  # noqa: F821
    **spec["counting_set"],
)
