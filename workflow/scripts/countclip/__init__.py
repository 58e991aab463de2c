"""All the logic of the workflow. Imports no Snakemake: tests and notebooks import it directly."""

import os

# Gradients are allocated anew at each step. In pages of 4 kB the kernel needs longer to hand them
# out than the optimizer to read them; torch looks at this once, so it is set before torch is there.
os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
