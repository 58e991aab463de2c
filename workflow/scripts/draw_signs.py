"""Draw the miniature's reading set: scenes of signs, and questions on them in TextVQA's form."""

from countclip.runtime.job import start
from miniature import signs

spec = start(snakemake)  # noqa: F821
signs.make_questions(spec["miniature_signs"], dict(snakemake.output.items()))  # noqa: F821
