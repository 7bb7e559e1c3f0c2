"""The result of a hypothesis test."""

from dataclasses import dataclass

from scipy import stats


@dataclass(frozen=True)
class HypothesisTest:
    """Statistic, degrees of freedom and p-value of a test.

    Attributes
    ----------
    name : str
        Name of the test.
    null : str
        Hypothesis that a small p-value speaks against.
    statistic : float
        Value of the statistic: chi-square when `dof_denominator` is None, otherwise F (already
        divided by `dof`).
    dof : int
        Degrees of freedom of the chi-square, or of the numerator of F.
    dof_denominator : float or None
        Degrees of freedom of the denominator of F.
    p_value : float
        Probability under the null of a statistic at least as large.

    Examples
    --------
    >>> from skbayesiv.diagnostics import HypothesisTest
    >>> print(HypothesisTest.chi2("Sargan", "the instruments are valid", 3.84, 1))
    Sargan: chi2(1) = 3.84, p = 0.05004 (null: the instruments are valid)
    """

    name: str
    null: str
    statistic: float
    dof: int
    dof_denominator: float | None
    p_value: float

    @classmethod
    def chi2(cls, name: str, null: str, statistic: float, dof: int) -> "HypothesisTest":
        """Test whose statistic is chi-square under the null."""
        return cls(name, null, statistic, dof, None, float(stats.chi2.sf(statistic, dof)))

    @classmethod
    def wald(
        cls, name: str, null: str, wald: float, dof: int, dof_denominator: float | None
    ) -> "HypothesisTest":
        """Wald statistic, as chi-square or, given a denominator, as F = wald / dof."""
        if dof_denominator is None:
            return cls.chi2(name, null, wald, dof)
        p_value = float(stats.f.sf(wald / dof, dof, dof_denominator))
        return cls(name, null, wald / dof, dof, dof_denominator, p_value)

    def __str__(self) -> str:
        if self.dof_denominator is None:
            law = f"chi2({self.dof})"
        else:
            law = f"F({self.dof}, {self.dof_denominator:g})"
        return (
            f"{self.name}: {law} = {self.statistic:.4g}, p = {self.p_value:.4g} (null: {self.null})"
        )
