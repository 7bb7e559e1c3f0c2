"""Tables of coefficients from the normal and the t distribution."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from skbayesiv._reports.coefficients import coefficient_table

ESTIMATE, ERROR = np.array([2.0, -0.5]), np.array([1.0, 0.25])


@pytest.mark.parametrize(("dof", "law"), [(np.inf, stats.norm), (5.0, stats.t(5.0))])
def test_statistics(dof, law):
    table = coefficient_table("", ["a", "b"], ESTIMATE, ERROR, dof=dof, level=0.9).to_frame()
    assert_allclose(table["t_stat"], ESTIMATE / ERROR)
    assert_allclose(table["p_value"], 2 * law.sf(np.abs(ESTIMATE / ERROR)))
    assert_allclose(table["lower"], ESTIMATE + law.ppf(0.05) * ERROR)
    assert_allclose(table["upper"], ESTIMATE + law.ppf(0.95) * ERROR)


def test_an_exact_fit_has_no_statistics():
    table = coefficient_table("", ["a"], np.zeros(1), np.zeros(1), dof=np.inf, level=0.9).table
    assert np.isnan(table.loc["a", ["t_stat", "p_value"]]).all()


@pytest.mark.parametrize("level", [0.0, 1.0, -1.0, "95%"])
def test_level(level):
    with pytest.raises(ValueError, match="level must lie strictly between 0 and 1; got"):
        coefficient_table("", ["a"], ESTIMATE[:1], ERROR[:1], dof=np.inf, level=level)
