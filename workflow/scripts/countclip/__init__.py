"""All the logic of the workflow. Imports no Snakemake: tests and notebooks import it directly."""
