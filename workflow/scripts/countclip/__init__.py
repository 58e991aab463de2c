"""All the logic of the workflow. Imports no Snakemake, so tests and notebooks import it directly."""
