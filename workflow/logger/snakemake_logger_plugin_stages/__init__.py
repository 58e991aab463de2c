"""Snakemake's entry to the logger plugin `stages`; it looks for LogHandler here."""

from snakemake_logger_plugin_stages.handler import LogHandler

__all__ = ["LogHandler"]
