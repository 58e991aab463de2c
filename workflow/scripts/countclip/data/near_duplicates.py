"""Near duplicates of images, by the Hamming distance of perceptual hashes."""

import numpy as np


def is_near(left: list[str], right: list[str], distance: int) -> np.ndarray:
    """Whether each hash of `left` is near any hash of `right`: bool `(left,)`.

    Hashes are 64 bits in hex; near hashes differ in at most `distance` of them.
    """
    left_bits, right_bits = (
        np.array([int(h, 16) for h in hashes], np.uint64) for hashes in (left, right)
    )
    right_bits = np.unique(right_bits)
    found = np.zeros(len(left_bits), bool)
    rows = max(1, 2**20 // max(1, len(right_bits)))  # bounds the memory, at a size that caches hold
    for start in range(0, len(left_bits), rows):
        bits = np.bitwise_count(left_bits[start : start + rows, None] ^ right_bits)
        found[start : start + rows] = (bits <= distance).any(axis=1)
    return found


def hamming_distance(left: str, right: str) -> int:
    """Number of the 64 bits in which two perceptual hashes (hex) differ."""
    return (int(left, 16) ^ int(right, 16)).bit_count()
