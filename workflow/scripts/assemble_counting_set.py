"""Makes the counting set from all parts, and the funnel that says where every row went."""

from countclip.data import counting_set
from countclip.runtime.job import start
from countclip.runtime.resources import resource

spec = start(snakemake)  # noqa: F821
given = snakemake.input  # noqa: F821
settings = spec["counting_set"]
nouns = settings.pop("nouns", None)
roles = [role for role in ("candidates", "counts", "images", "detections") if given.get(role)]
counting_set.assemble(
    {part: {role: given[role][i] for role in roles} for i, part in enumerate(spec["parts"])},
    given.benchmark,
    dict(snakemake.output.items()),  # noqa: F821
    nouns and resource(nouns),
    **settings,
)
