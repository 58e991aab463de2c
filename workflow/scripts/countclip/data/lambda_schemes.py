"""How much does the counting loss of each class weigh? The lambda schemes, Eqs. 3-6."""

from math import log2

SCHEMES = ("constant", "norm", "modal", "log")


def weights(
    counts: dict[int, int],
    scheme: str,
    lambda_0: float = 1.0,
    normalise: str = "none",
) -> dict[int, float]:
    """Lambda of each class that has samples.

    counts: class -> number of training pairs. A class without samples gets no lambda: no pair can
        ask for it, and the schemes divide by its count.
    scheme: `constant` (Paiss et al.), `norm` (Eq. 3), `modal` (Eq. 4) or `log` (Eqs. 5 and 6, with
        the division by sigma_max as printed, so it does not end at 2).
    normalise: `none` (the paper) or `mean`, which scales the lambdas so that their mean over the
        training pairs is `lambda_0`. The paper's schemes also change the total weight of the loss
        (about 0.5, 5.8 and 1.3 on its counting set); `mean` separates the two effects.
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
        # Under `norm` a class that holds every pair weighs 0, and so does the mean.
        raw = {number: value / mean if mean else 1.0 for number, value in raw.items()}
    elif normalise != "none":
        raise ValueError(f"unknown normalise {normalise!r}; use none or mean")
    return {number: value * lambda_0 for number, value in raw.items()}


def _log(counts: dict[int, int], total: int) -> dict[int, float]:
    if len(counts) == 1:  # log2(1) is 0 and sigma is undefined: nothing to balance
        return dict.fromkeys(counts, 1.0)
    sigma = {number: log2(log2(total / n)) for number, n in counts.items()}
    low, high = min(sigma.values()), max(sigma.values())
    if high <= 0:  # two classes of equal size: sigma is 0 for both
        return dict.fromkeys(counts, 1.0)
    return {number: (value - low) / high + 1 for number, value in sigma.items()}
