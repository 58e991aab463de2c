"""What does a host ask of programs? The one reading of it, for everything that asks hosts."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

OPT_OUTS = ("noai", "noimageai", "noindex", "noimageindex")
"""Directives of X-Robots-Tag that keep a program like this one off; img2dataset's own defaults:
https://github.com/rom1504/img2dataset#opt-out-directives"""


def retry_after(value: str) -> float:
    """Seconds that a Retry-After header asks for (a number or a date); 0 if it makes no sense."""
    try:
        return max(0.0, float(int(value)))
    except (ValueError, OverflowError):
        pass
    try:
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):  # TypeError: a date without a zone
        return 0.0
