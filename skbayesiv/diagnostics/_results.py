"""Results of hypothesis tests."""

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


@dataclass(frozen=True)
class ConditionalTest:
    """Statistic and p-value of a test whose law under the null is that given another statistic.

    Attributes
    ----------
    name : str
        Name of the test.
    null : str
        Hypothesis that a small p-value speaks against.
    statistic : float
        Value of the statistic.
    strength : float
        Statistic that is conditioned on: how strong the first stage is, by the part of it that is
        uncorrelated with the scores of the effect under the null.
    dof : int
        Number of instruments. As `strength` grows the law goes from a chi-square with so many
        degrees of freedom to one with a single one.
    dof_denominator : float or None
        Degrees of freedom of the denominator, where these are F instead of chi-square.
    p_value : float
        Probability under the null, given `strength`, of a statistic at least as large.

    Examples
    --------
    >>> from skbayesiv.diagnostics import ConditionalTest
    >>> name = "Conditional likelihood ratio"
    >>> print(ConditionalTest(name, "the effect is 0", 4.5, 20.0, 3, None, 0.04))
    Conditional likelihood ratio: 4.5 given a strength of 20, p = 0.04 (null: the effect is 0)
    """

    name: str
    null: str
    statistic: float
    strength: float
    dof: int
    dof_denominator: float | None
    p_value: float

    def __str__(self) -> str:
        return (
            f"{self.name}: {self.statistic:.4g} given a strength of {self.strength:.4g}, "
            f"p = {self.p_value:.4g} (null: {self.null})"
        )
