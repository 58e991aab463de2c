"""Lambda schemes: the weight of the counting loss for each class (Eqs. 3 to 6)."""

from math import log2

SCHEMES = ("constant", "norm", "modal", "log")


def lambdas(
    counts: dict[int, int],
    scheme: str,
    lambda_0: float = 1.0,
    normalise: str = "none",
) -> dict[int, float]:
    """Class -> lambda, for the classes that have samples.

    counts: class -> number of training pairs. A class without samples gets no lambda: no pair needs
        it, and the schemes divide by its count.
    scheme: `constant` (Paiss et al.), `norm` (Eq. 3), `modal` (Eq. 4) or `log` (Eqs. 5 and 6, with
        the division by sigma_max as printed, so that the range does not end at 2).
    normalise: `none` (the paper), or `mean`, which scales the lambdas to a mean of `lambda_0` over
        the training pairs. The paper's schemes also change the total weight of the loss (by about
        0.5, 5.8 and 1.3 on its counting set); `mean` separates the two effects.
    """
    counts = {number: n for number, n in sorted(counts.items()) if n > 0}
    if not counts:
        raise ValueError("the counting set has no pairs: no lambda can be computed")
    total, modal = sum(counts.values()), max(counts.values())
    if scheme == "constant":
        raw = dict.fromkeys(counts, 1.0)
    elif scheme == "norm":
        raw = {number: 1 - n / total for number, n in counts.items()}
    elif scheme == "modal":
        raw = {number: modal / n for number, n in counts.items()}
    elif scheme == "log":
        raw = _log(counts, total)
    else:
        raise ValueError(f"unknown lambda scheme {scheme!r}; use one of {', '.join(SCHEMES)}")
    if normalise == "mean":
        mean = sum(raw[number] * n for number, n in counts.items()) / total
        # Under `norm`, a class that holds all pairs has lambda 0, and the mean is 0 too.
        raw = {number: value / mean if mean else 1.0 for number, value in raw.items()}
    elif normalise != "none":
        raise ValueError(f"unknown normalise {normalise!r}; use none or mean")
    return {number: value * lambda_0 for number, value in raw.items()}


def _log(counts: dict[int, int], total: int) -> dict[int, float]:
    if len(counts) == 1:  # log2(1) is 0, so sigma is undefined; nothing to balance
        return dict.fromkeys(counts, 1.0)
    sigma = {number: log2(log2(total / n)) for number, n in counts.items()}
    low, high = min(sigma.values()), max(sigma.values())
    if high <= 0:  # two classes of equal size: sigma is 0 for both
        return dict.fromkeys(counts, 1.0)
    return {number: (value - low) / high + 1 for number, value in sigma.items()}
