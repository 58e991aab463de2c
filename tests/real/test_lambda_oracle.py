import json

import pytest

from countclip.data.lambda_schemes import lambdas


@pytest.mark.parametrize("scheme", ["norm", "modal", "log"])
def test_lambdas_of_the_published_counting_sets(shared, scheme):
    oracle = json.loads((shared / "reference/lambda_oracle.json").read_text(encoding="utf-8"))
    assert len(oracle) >= 1
    for name, table in oracle.items():
        expected = {int(k): row[scheme] for k, row in table.items()}
        counts = {int(k): row["n"] for k, row in table.items()}
        assert lambdas(counts, scheme) == pytest.approx(expected, rel=1e-12), name
