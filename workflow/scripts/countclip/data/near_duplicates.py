"""Near duplicates of images, by the Hamming distance of perceptual hashes."""

import numpy as np


def near(left: list[str], right: list[str], distance: int) -> np.ndarray:
    """Whether each perceptual hash (hex) of `left` differs from one of `right` in at most
    `distance` of its 64 bits: bool `(left,)`."""
    ours, theirs = (np.array([int(h, 16) for h in hashes], np.uint64) for hashes in (left, right))
    theirs = np.unique(theirs)
    found = np.zeros(len(ours), bool)
    rows = max(1, 2**20 // max(1, len(theirs)))  # bounds the memory, at a size that caches hold
    for start in range(0, len(ours), rows):
        bits = np.bitwise_count(ours[start : start + rows, None] ^ theirs)
        found[start : start + rows] = (bits <= distance).any(axis=1)
    return found


def apart(a: str, b: str) -> int:
    """Hamming distance of two perceptual hashes (hex) in bits, of 64."""
    return (int(a, 16) ^ int(b, 16)).bit_count()
