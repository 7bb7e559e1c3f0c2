"""TwoStageLS: two-stage least squares, LIML and GMM."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils._param_validation import StrOptions

from skbayesiv._columns import Columns
from skbayesiv._data.checks import check_clusters
from skbayesiv._data.identified import check_identified, explained_treatments, full_rank
from skbayesiv._data.moments import Moments, check_moments
from skbayesiv._data.named import NamedFrame
from skbayesiv._data.rows import IVData
from skbayesiv._data.sums import Sums
from skbayesiv._estimators.base import CHECK
from skbayesiv._estimators.classical_methods import ClassicalMethods
from skbayesiv._honesty.estimand import may_be_weighted, weighted_effect
from skbayesiv._honesty.findings import Allows, beyond_doubt, warn_of
from skbayesiv._linear.covariance import COVARIANCES, suitable
from skbayesiv._linear.equation import Equation
from skbayesiv._linear.estimate import check_size, estimate, minimum_norm
from skbayesiv._linear.least_squares import check_relevant, positions, regress
from skbayesiv._linear.units import FrameRows, check_clusters_add_up
from skbayesiv.exceptions import OURS

NEED_ROWS = (
    "{} needs rows, or cluster_moments: moments hold second-order sums only. Fit to rows, pass "
    'the moments of each cluster, or set cov_type="unadjusted" and method="2sls" or "liml".'
)
CLASSICAL = (
    'cov_type="robust" needs the rows, which partial_fit does not keep: standard errors are '
    'classical. Set cov_type="unadjusted" to have no warning, or fit to all rows.'
)
EXPLAINED = (
    "z explains t exactly, with more instruments than treatments, so that the estimate is that of "
    "least squares: is t among the instruments?"
)
PROBABILITY = (
    '{} must not be used with sample_weight_type="probability": it knows weights as numbers of '
    "rows. Fit to all rows, with robust or clustered standard errors."
)


class TwoStageLS(ClassicalMethods):
    r"""Two-stage least squares, LIML or two-step GMM, with robust standard errors.

    Estimates, for K treatments, Q >= K instruments and P covariates,

    .. math::

        y = a + t'\beta + x'\gamma + e, \qquad E[e] = E[x e] = E[z e] = 0.

    Without treatment and instruments it is ordinary least squares of y on X; if X then lacks full
    rank, `coef_` is the solution of smallest norm and has no standard errors.

    Parameters
    ----------
    method : {"2sls", "liml", "gmm"}, default="2sls"
        With as many instruments as treatments all three are the same estimate. With more,
        "liml" (limited-information maximum likelihood) is less biased when instruments are
        weak or many [2]_, and "gmm" is the two-step estimator that is efficient under
        `cov_type` [3]_.
    cov_type : {"robust", "unadjusted", "clustered", "CR2"}, default="robust"
        Standard errors: robust to heteroskedasticity [1]_, classical, or robust to correlation
        within `clusters`. "CR2" is for few clusters, or rows of which few decide: robust as
        "clustered" (or, without clusters, as "robust", when it is known as HC2), without the
        bias of these [6]_, and with intervals from t distributions whose degrees of freedom are
        each coefficient's own [7]_. Clusters passed to `fit` imply "clustered", unless it is
        "CR2".
    debiased : bool, default=False
        Whether to correct for the number of coefficients, and take intervals and p-values from
        the t instead of the normal distribution: with n - k degrees of freedom, or G - 1 with
        clusters [5]_. It changes nothing with "CR2", which is corrected for few units already.
    fit_intercept : bool, default=True
        Whether the outcome and the treatments have an intercept.
    treatment : str, int or list of these, optional
        Columns of X that hold the treatment, by name or position; together with `instruments`.
    instruments : str, int or list of these, optional
        Columns of X that hold the instruments.
    covariates : str, int, list of these or "rest", optional
        Columns of X that are the covariates. By default all that have no other role; where y is
        the name of a column, as in ``fit(frame, y="revenue")``, none, for a table also holds what
        is no covariate, such as a user's number and what the treatment may have changed. "rest"
        takes every column without another role there too.
    sample_weight_type : {"frequency", "probability"}, default="frequency"
        "frequency": a weight of 2 is a row given twice. "probability": a weight is the inverse of
        the probability that the row was drawn (or assigned), as in surveys; standard errors then
        come from the scores ``w z e`` [4]_, and the number of observations is Kish's effective
        one, (sum w)^2 / sum w^2.
    check : {"auto", False}, default="auto"
        Whether a fit warns when its interval is not what it promises: weak or many instruments,
        unequal error variances where `cov_type` has equal ones, few clusters. It looks at 1% of
        the rows, evenly spaced, between 5,000 and 100,000, or at the first rows of a lazy frame,
        or at what moments tell.

    Attributes
    ----------
    coef_ : ndarray of shape (K + P,)
        Effects of the treatments, then the coefficients of the covariates.
    intercept_ : float
        0.0 without an intercept.
    effect_ : float or ndarray of shape (K,)
        Effect of the treatment.
    covariance_ : DataFrame of shape (1 + K + P, 1 + K + P)
        Covariance of the intercept (if there is one) and `coef_`, by name.
    method_ : {"2sls", "liml", "gmm", "ols"}
        `method`, or "ols" without treatment.
    cov_type_ : {"robust", "unadjusted", "clustered", "CR2"}
        `cov_type`, or "clustered" if clusters were given and it is not "CR2".
    dof_ : float or ndarray of shape (1 + K + P,)
        Degrees of freedom of intervals and p-values; infinite unless `debiased`. With "CR2" those
        of the intercept (if there is one) and of each of `coef_`; NaN where a coefficient is
        decided by clusters alone that fit exactly, so that their errors say nothing of it.
    first_stage_intercept_ : ndarray of shape (K,)
    first_stage_coef_ : ndarray of shape (K, Q + P)
        Least squares coefficients of the treatments on the instruments, then the covariates.
    results_ : linearmodels.iv.results.OLSResults, IVResults or IVGMMResults
        What linearmodels returns, with its tests (see the notes about weights); None if least
        squares was short of rank. Fitted again when first asked for, from the rows that the
        estimator keeps, and not stored with it.
    moments_ : Moments
        Means and cross-products of the data.
    warnings_ : tuple of InferenceWarning
        What the fit warned of; empty when the interval can be taken at its word.
    n_treatments_, n_instruments_ : int
        K and Q.
    n_features_in_ : int
        Number of columns of X, in column mode with treatment and instruments among them.
    feature_names_in_ : ndarray of str
        Their names, if X had any.

    Notes
    -----
    The rows are read twice, in blocks: for their moments, of which the estimate is a function, and
    for the covariance of the scores; once more with "gmm". They are not copied: the estimator
    keeps the arrays that it was given for `summary` and `results_`, which after a change in these
    would be of other rows than the estimate.

    "CR2" replaces the residuals u_g of a cluster g by ``(I - H_gg)^(-1/2) u_g``, with H the hat
    matrix of the treatments as the instruments predict them, and of the covariates. The
    covariance has no bias if errors have one variance, and is robust if they do not. With ten
    clusters, or 30 of which five are assigned, its 95% intervals cover about 95 times in 100 in
    simulations where those of "clustered" cover about 90 times. It needs ``method="2sls"``,
    weights that count rows, and, if X is a lazy frame, clusters. The effect of moving several
    treatments at once has degrees of freedom of its own, for which `effect_interval` reads the
    rows again. linearmodels does not know it: errors and tests of `results_` are then clustered,
    or robust without clusters, and debiased.

    `sample_weight` counts rows by default: all estimates, standard errors and intervals are those
    of the data with each row repeated that many times. linearmodels knows analytic weights only: in
    `results_` the coefficients are the same, but the standard errors and tests treat the weights
    as analytic.

    The rows of a lazy frame are read by its engine, as often. They are not kept, and diagnostics
    of such a fit are classical.

    :meth:`fit_moments` and :meth:`partial_fit` take sums in place of rows. After `partial_fit`
    standard errors are classical, with a warning if `cov_type` says otherwise: sums of second
    order say nothing of heteroskedasticity.

    References
    ----------
    .. [1] White, H. (1982). Instrumental variables regression with independent observations.
       Econometrica 50, 483-499.
    .. [2] Anderson, T. W. and Rubin, H. (1949). Estimation of the parameters of a single
       equation in a complete system of stochastic equations. Annals of Mathematical
       Statistics 20, 46-63.
    .. [3] Hansen, L. P. (1982). Large sample properties of generalized method of moments
       estimators. Econometrica 50, 1029-1054.
    .. [4] Binder, D. A. (1983). On the variances of asymptotically normal estimators from complex
       surveys. International Statistical Review 51, 279-292.
    .. [5] Cameron, A. C. and Miller, D. L. (2015). A practitioner's guide to cluster-robust
       inference. Journal of Human Resources 50, 317-372.
    .. [6] Bell, R. M. and McCaffrey, D. F. (2002). Bias reduction in standard errors for linear
       regression with multi-stage samples. Survey Methodology 28, 169-181.
    .. [7] Pustejovsky, J. E. and Tipton, E. (2018). Small-sample methods for cluster-robust
       variance estimation and hypothesis testing in fixed effects models. Journal of Business &
       Economic Statistics 36, 672-683.

    Examples
    --------
    >>> from skbayesiv import TwoStageLS
    >>> from skbayesiv.datasets import load_push_experiment
    >>> X, t, y, z = load_push_experiment(as_frame=True, return_X_t_y_z=True)
    >>> est = TwoStageLS().fit(X, t, y, z=z)
    >>> est.summary().coefficients
    2SLS of in_app_purchase, 10000 observations, robust standard errors
    Covariates: none
                   estimate std_err t_stat p_value  lower  upper
    Intercept        69.292  0.3624 191.22  0.0000 68.581 70.002
    push_delivered   3.2938  0.7165 4.5974  0.0000 1.8896 4.6981
    >>> est.conf_int(level=0.94).loc["push_delivered"].round(4).tolist()
    [1.9463, 4.6414]
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "method": [StrOptions({"2sls", "liml", "gmm"})],
        "cov_type": [StrOptions(COVARIANCES.keys())],
        "debiased": ["boolean"],
        "fit_intercept": ["boolean"],
        "treatment": [str, Integral, "array-like", None],
        "instruments": [str, Integral, "array-like", None],
        "covariates": [str, Integral, "array-like", None],
        "sample_weight_type": [StrOptions({"frequency", "probability"})],
        "check": CHECK,
    }
    _least_checked: ClassVar[int] = 5000  # for a fit is a matter of a millisecond

    def __init__(
        self,
        *,
        method: str = "2sls",
        cov_type: str = "robust",
        debiased: bool = False,
        fit_intercept: bool = True,
        treatment: Any = None,
        instruments: Any = None,
        covariates: Any = None,
        sample_weight_type: str = "frequency",
        check: Any = "auto",
    ) -> None:
        self.method = method
        self.cov_type = cov_type
        self.debiased = debiased
        self.fit_intercept = fit_intercept
        self.treatment = treatment
        self.instruments = instruments
        self.covariates = covariates
        self.sample_weight_type = sample_weight_type
        self.check = check

    def _allows(self) -> Allows:
        kind = COVARIANCES[self.cov_type_]
        return Allows(
            uneven=kind.robust,
            clusters=kind.suits(clusters=True),
            few_clusters=kind.few_units,
            many=self.method_ == "liml",
            posterior=False,
        )

    def _check_interval(self, data: IVData | NamedFrame | None = None) -> None:
        """Spare the search where the first stage, known from the fit, leaves no doubt."""
        allowed = self.check and self.n_treatments_ and self._allows().uneven
        if allowed and not self._equation.n_clusters:
            p = len(self.coef_) + len(self._equation.constant)
            dof = self._equation.n - p + self.n_treatments_ - self.n_instruments_
            if beyond_doubt(self._relevance, dof, self.n_instruments_):
                look = data is not None and may_be_weighted(self._equation)
                self.warnings_ = weighted_effect(self._evidence(data)) if look else ()
                warn_of(self.warnings_)
                return
        super()._check_interval(data)

    def fit_moments(
        self,
        moments: Moments | None,
        cluster_moments: Mapping[Any, Moments] | Iterable[Moments] | None = None,
    ) -> Self:
        """Fit from moments: the rows are not needed.

        Moments hold sums of products of two columns. From these follow the 2SLS and LIML
        estimates with classical standard errors; from those of each cluster also GMM estimates
        and cluster-robust standard errors. What is robust to heteroskedasticity needs rows.

        Parameters
        ----------
        moments : Moments or None
            Of the columns ``[X, z, t, y]``, such as ``Moments.from_frame`` gives; None for the
            sum of the clusters'.
        cluster_moments : dict or iterable of Moments, optional
            The same of each cluster, such as ``Moments.from_frame(..., by="village")`` gives.
            Standard errors are then clustered, or those of ``cov_type="CR2"``.

        Returns
        -------
        self : object
            The fitted estimator. If an error is raised, the estimator is as it was before.

        Raises
        ------
        ValueError
            If `method` or `cov_type` need rows, or the clusters do not add up to the whole.
        """
        if self._probability:
            raise ValueError(PROBABILITY.format("fit_moments"))
        if isinstance(cluster_moments, Mapping):
            cluster_moments = cluster_moments.values()
        if not (cluster_moments is None or np.iterable(cluster_moments)):
            raise TypeError(
                "cluster_moments must be a mapping or an iterable of Moments; got "
                f"{type(cluster_moments).__name__}."
            )
        parts = list(cluster_moments) if cluster_moments is not None else []
        for part in parts:
            check_moments(part, "cluster_moments")
        whole: Any = sum(parts) if moments is None and parts else moments
        new = self._start_from(whole)
        new._fit_moments(whole, parts)
        new._check_interval()
        self.__dict__ = new.__dict__
        return self

    def _fit_data(self, data: IVData | NamedFrame) -> None:
        if not data.grouped:
            check_clusters(None, 0, required=self.cov_type == "clustered")
        if data.probability and self.cov_type == "unadjusted" and not data.grouped:
            raise ValueError(PROBABILITY.format("cov_type='unadjusted'"))
        if isinstance(data, NamedFrame):
            self._fit_frame(data)
            return
        cov_type = suitable(self.cov_type, clusters=data.grouped)
        self._fit_equation(
            Equation.from_data(data, fit_intercept=self.fit_intercept, cov_type=cov_type)
        )

    def _fit_frame(self, named: NamedFrame) -> None:
        """A pass for the moments, of each cluster if named; more for what needs the scores."""
        moments, clusters = named.moments(), named.cluster_moments()
        kept = self._equation_of(moments, clusters)
        if clusters:
            self._fit_equation(kept)
            return
        self._fit_equation(replace(kept, units=FrameRows(named), cov_type=self.cov_type))
        self._equation = kept

    def _fit_moments(self, moments: Moments, clusters: list[Moments]) -> None:
        if clusters:
            check_clusters_add_up(moments, clusters)
        elif self.cov_type != "unadjusted":
            raise ValueError(NEED_ROWS.format(f"cov_type={self.cov_type!r}"))
        else:
            self._check_method(moments.columns)
        self._fit_equation(self._equation_of(moments, clusters))

    def _equation_of(self, moments: Moments, clusters: list[Moments]) -> Equation:
        """Equation of moments, and perhaps those of each cluster."""
        cov_type = suitable(self.cov_type, clusters=True)
        return Equation.from_moments(
            moments, clusters, fit_intercept=self.fit_intercept, cov_type=cov_type
        )

    def _check_method(self, columns: Columns) -> None:
        """Raise if the method needs more than moments."""
        if self.method == "gmm" and columns.treatments:
            raise ValueError(NEED_ROWS.format("method='gmm'"))

    def _batch_sums(self, data: IVData | NamedFrame, earlier: Sums | None) -> Sums:
        if data.probability:
            raise ValueError(PROBABILITY.format("partial_fit"))
        if self.cov_type not in ("robust", "unadjusted"):
            raise ValueError(NEED_ROWS.format(f"cov_type={self.cov_type!r}"))
        self._check_method(data.columns)
        if self.cov_type == "robust":
            warnings.warn(CLASSICAL, UserWarning, skip_file_prefixes=OURS)
        sums = Sums(data.moments())
        return sums if earlier is None else earlier + sums

    def _sums(self) -> Sums:
        return Sums(self.moments_)

    def _fit_sums(self, sums: Sums) -> None:
        self._fit_equation(Equation.from_moments(sums.moments, fit_intercept=self.fit_intercept))

    def _fit_equation(self, equation: Equation) -> None:
        check_identified(equation.moments, fit_intercept=self.fit_intercept)
        self.moments_ = equation.moments
        if self.n_treatments_:
            self._relevance = check_relevant(self.moments_, fit_intercept=self.fit_intercept)
            self._warn_of_exact_first_stage()
        self._set_first_stage()
        self._set_estimate(equation)

    def _warn_of_exact_first_stage(self) -> None:
        """Warn if instruments explain the treatments exactly and are more than these."""
        if self.n_instruments_ > self.n_treatments_:
            exact = explained_treatments(self.moments_, fit_intercept=self.fit_intercept)
            if len(exact) == self.n_treatments_:
                warnings.warn(EXPLAINED, UserWarning, skip_file_prefixes=OURS)

    def _set_first_stage(self) -> None:
        c = self.moments_.columns
        self.first_stage_intercept_, self.first_stage_coef_ = regress(
            self.moments_, positions(c.t), positions(c.z, c.x), fit_intercept=self.fit_intercept
        )

    def _set_estimate(self, equation: Equation) -> None:
        """Set the coefficients, treatments before covariates, and their covariance."""
        method = self.method if self.n_treatments_ else "ols"
        if method == "ols" and not full_rank(self.moments_, fit_intercept=self.fit_intercept):
            fit = minimum_norm(equation, debiased=self.debiased)
        else:
            check_size(equation, method, debiased=self.debiased)
            fit = estimate(equation, method, debiased=self.debiased)
        first = len(equation.constant)
        self.intercept_ = float(fit.params[0]) if first else 0.0
        self.coef_ = fit.params[first:]
        self.dof_ = fit.dof
        self.method_, self.cov_type_ = method, equation.cov_type
        self._equation, self._covariance = equation, fit.covariance
