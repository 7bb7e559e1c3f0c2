"""BayesianIV: the joint Gaussian model of outcome and treatment with correlated errors."""

from __future__ import annotations

from functools import partial
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skbayesiv._data.fourth_moments import FourthMoments, check_fourth_moments
from skbayesiv._data.identified import check_identified
from skbayesiv._data.moments import Moments
from skbayesiv._data.named import NamedFrame
from skbayesiv._data.rows import KEPT_ROWS, IVData, read_rows, second_is_outcome
from skbayesiv._data.sums import Sums
from skbayesiv._estimators.base import CHECK
from skbayesiv._estimators.posterior_methods import PosteriorMethods
from skbayesiv._estimators.progress import fit_track, n_subtasks
from skbayesiv._honesty.findings import Allows
from skbayesiv._linear.equation import Equation
from skbayesiv._models.build import (
    LIKELIHOODS,
    build_model,
    check_sums,
    read_batch,
    read_sums,
    warn_of_unused,
)
from skbayesiv._models.parts.model import Model
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._models.parts.priors import LEARNED
from skbayesiv._models.sampling import sample_model
from skbayesiv._reports.fitted import effect_draws
from skbayesiv._results.convergence import check_convergence
from skbayesiv._results.tree import build_tree
from skbayesiv._sampling.backends import BACKENDS
from skbayesiv._sampling.target import PIECES, Settings
from skbayesiv._typing import Array

LOC: list[Any] = [Interval(Real, None, None, closed="neither"), "array-like"]
SCALE: list[Any] = [Interval(Real, 0, None, closed="neither"), "array-like", StrOptions({"auto"})]
PROBABILITY = (
    'partial_fit must not be used with sample_weight_type="probability": the effective number of '
    "rows is that of all rows together. Fit to all of them."
)


def sums_of(moments: Moments, fourth_moments: FourthMoments | None, of: str = "") -> Sums:
    """Checked moments and fourth-order sums of the same columns; `of` says of what in an error."""
    if fourth_moments is not None:
        check_fourth_moments(fourth_moments)
        if fourth_moments.columns != moments.columns:
            raise ValueError(
                f"fourth_moments must be of the columns of moments, {moments.columns}; got "
                f"{fourth_moments.columns}{of}."
            )
    return Sums(moments, fourth_moments)


class BayesianIV(PosteriorMethods):
    r"""Bayesian instrumental variables with jointly normal errors.

    The model is, for one outcome, K treatments, Q instruments and P covariates,

    .. math::

        y = a_y + t'\beta_t + x'\gamma_y + e_y, \qquad
        t = a_t + z'\beta_z + x'\gamma_t + e_t, \qquad
        (e_y, e_t) \sim N(0, \Sigma).

    The rows are compressed once to their moments; all coefficients are integrated out, the error
    covariance and the first stages' spread are sampled, and each of these draws gets an exact
    draw of the coefficients.
    After the pass over the data nothing depends on the number of rows.

    Parameters
    ----------
    intercept_y_loc, intercept_y_scale : float or "auto", default="auto"
        Normal prior of the outcome's intercept. "auto" is N(mean y, 2.5 sd y).
    intercept_t_loc, intercept_t_scale : float, array-like of shape (K,) or "auto"
        Normal prior of the first stage's intercepts. "auto" is N(mean t, 2.5 sd t).
    beta_t_loc : float or array-like of shape (K,), default=0.0
        Prior mean of the treatment's effect, in units of y per unit of t.
    beta_t_scale : float, array-like of shape (K,) or "auto", default="auto"
        Prior standard deviation of the effect. "auto" is 2.5 sd y / sd t.
    beta_z_loc : float or array-like of shape (Q, K), default=0.0
        Prior mean of the first stage, in units of t per unit of z.
    beta_z_scale : float, array-like of shape (Q, K), "auto" or "learned", default="learned"
        Prior standard deviation of the first stage. "learned" learns it from the data for each
        treatment: beta_z[q, k] ~ N(beta_z_loc, (beta_z_sd[k] / sd z_q)^2) with
        beta_z_sd[k] ~ HalfCauchy(sd t_k), in units of t per standard deviation of an instrument
        [6]_. Fixed scales make the posterior behave like 2SLS when several instruments are weak:
        with 10 of them at a first-stage F of 2, 95% intervals covered .46 of the time under
        "auto" and LKJ(1), and .96 under the defaults. "auto" is 2.5 sd t / sd z.
    gamma_y_loc : float or array-like of shape (P,), default=0.0
    gamma_t_loc : float or array-like of shape (P, K), default=0.0
    gamma_scale : float, array-like of shape (P,) or "auto", default="auto"
        Prior standard deviation of the covariates' coefficients in both equations. "auto" is
        2.5 sd response / sd x.
    sigma_scale : float, array-like of shape (1 + K,) or "auto", default="auto"
        Scales of the half-Cauchy priors of the errors' standard deviations, outcome first.
        "auto" is 2.5 sd of the response.
    lkj_eta : float, default=0.5
        Shape of the LKJ prior of the errors' correlation: 1 is uniform, less favours strong
        correlations, and 0.5 is the arcsine prior of one correlation. With weak instruments this
        prior and that of the first stage decide the coverage of the effect's interval.
    sigma_prior : {"lkj", "regression"}, default="lkj"
        "regression" writes the outcome's error as ``e_y = alpha'e_t + v`` with
        alpha ~ N(0, 2.5 sd y / sd t) and sd(v) ~ half-t with 3 degrees of freedom. It is wide
        where one instrument is weak, and does not mend the coverage with several weak ones under
        a fixed `beta_z_scale`.
    likelihood : {"normal", "gmm"}, default="normal"
        "gmm" replaces the joint normal likelihood by one of the continuously updated GMM
        criterion Q of E[z e] = 0 [3]_ [4]_, the likelihood ratio of normal theory
        (1 - Q/m)^((m - q)/2) for the mean of z e (q instruments, m rows or clusters) [5]_,
        which is exp(-Q/2) when these are many: it assumes nothing else of the errors, and keeps
        coverage when they are heteroskedastic, clustered or heavy-tailed, when effects vary and
        when instruments are weak. Effects (and direct effects) have priors; all other
        coefficients have flat ones and robust covariances. There is no `sigma` and no `corr`:
        `cov` is the sample's covariance of the residuals at each draw, with no uncertainty of its
        own. What needs a density of the rows (log-likelihoods, predictive draws) is not defined.
    exclusion_scale : float or array-like of shape (Q,), default=0.0
        Prior standard deviation of direct effects of the instruments on the outcome
        ("plausibly exogenous" instruments [2]_). 0 is exact exclusion. In the criterion they add
        to the variance of the mean of z e, which is otherwise that of the errors without them.
    intercept_prior : {"centered", "raw"}, default="centered"
        Whether the intercepts' priors speak of the mean response at the mean of the regressors,
        or at zero.
    fit_intercept : bool, default=True
    draws : int, default=1000
        Draws of each chain after warm-up, at least 4.
    tune : int, default=1000
        Warm-up steps of each chain.
    chains : int, default=4
    target_accept : float, default=0.8
        Acceptance rate that the step size is tuned to.
    backend : {"numpyro", "independence", "pymc"}, default="numpyro"
        NumPyro's NUTS on the collapsed posterior; or independent proposals there, chosen by
        their weights, which need no compilation and no JAX, take milliseconds, have no use for
        `tune` and `target_accept`, and warn where they do not cover the posterior; or PyMC's NUTS
        on the model of all rows, which is slower by orders of magnitude and there to compare with.
    random_state : int, RandomState instance or None, default=None
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
        the probability that the row was drawn (or assigned), as in surveys. The likelihood is
        then that of Kish's effective number of rows, (sum w)^2 / sum w^2; with
        ``likelihood="gmm"`` the criterion's scores are ``w z e``.
    check : {"auto", False}, default="auto"
        Whether a fit warns when its interval is not what it promises: weak or many instruments,
        unequal error variances, few or ignored clusters. It looks at 1% of the rows, evenly
        spaced, between 20,000 and 100,000, or at the first rows of a lazy frame, or at what
        moments tell.

    Attributes
    ----------
    idata_ : xarray.DataTree
        Built when it is first looked at.
        Groups posterior, sample_stats, log_prior, log_density (`total` of each draw, the log
        likelihood of all rows; with ``likelihood="gmm"`` instead `criterion`, the log
        quasi-likelihood (m - q)/2 log(1 - Q/m) of the draw's effects), constant_data (the moments
        and, for the criterion, the fourth-order sums) and, up to 20,000 rows, observed_data.
        `arviz.loo`, `compare` and `psense_summary` need a group log_likelihood of the rows:
        ``tree = est.idata_.copy()`` and ``tree.update(est.log_likelihood(X, t, y, z=z).children)``.
    coef_ : ndarray of shape (K + P,)
        Posterior means of the treatments' effects, then of the covariates' coefficients.
    intercept_ : float
    effect_ : float or ndarray of shape (K,)
        Posterior mean of the effect.
    first_stage_intercept_ : ndarray of shape (K,)
    first_stage_coef_ : ndarray of shape (K, Q + P)
        Posterior means of the instruments' coefficients, then of the covariates'.
    moments_ : Moments
        Everything that the fit took from the rows.
    fourth_moments_ : FourthMoments
        And what the criterion took, with ``likelihood="gmm"``.
    warnings_ : tuple of InferenceWarning
        What the fit warned of; empty when the interval can be taken at its word.
    n_treatments_, n_instruments_ : int
        K and Q.
    n_features_in_ : int
        Number of columns of X, in column mode with treatment and instruments among them.
    feature_names_in_ : ndarray of str
        Their names, if X had any.

    References
    ----------
    .. [1] Lopes, H. F. and Polson, N. G. (2014). Bayesian instrumental variables: priors and
       likelihoods. Econometric Reviews 33, 100-121.
    .. [2] Conley, T. G., Hansen, C. B. and Rossi, P. E. (2012). Plausibly exogenous. Review of
       Economics and Statistics 94, 260-272.
    .. [3] Chernozhukov, V. and Hong, H. (2003). An MCMC approach to classical estimation. Journal
       of Econometrics 115, 293-346.
    .. [4] Andrews, I. and Mikusheva, A. (2022). Optimal decision rules for weak GMM. Econometrica
       90, 715-748.
    .. [5] Anderson, T. W. (2003). An introduction to multivariate statistical analysis, 3rd
       edition. Wiley.
    .. [6] Chamberlain, G. and Imbens, G. (2004). Random effects estimators with many instrumental
       variables. Econometrica 72, 295-306.

    Examples
    --------
    >>> from skbayesiv import BayesianIV
    >>> from skbayesiv.datasets import load_push_experiment
    >>> X, t, y, z = load_push_experiment(return_X_t_y_z=True)
    >>> est = BayesianIV(random_state=0).fit(X, t, y, z=z)
    >>> print(f"{est.effect_:.1f}")
    3.3
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "intercept_y_loc": [*LOC, StrOptions({"auto"})],
        "intercept_y_scale": SCALE,
        "intercept_t_loc": [*LOC, StrOptions({"auto"})],
        "intercept_t_scale": SCALE,
        "beta_t_loc": LOC,
        "beta_t_scale": SCALE,
        "beta_z_loc": LOC,
        "beta_z_scale": [*SCALE[:2], StrOptions({"auto", LEARNED})],
        "gamma_y_loc": LOC,
        "gamma_t_loc": LOC,
        "gamma_scale": SCALE,
        "sigma_scale": SCALE,
        "lkj_eta": [Interval(Real, 0, None, closed="neither")],
        "sigma_prior": [StrOptions({"lkj", "regression"})],
        "likelihood": [StrOptions(LIKELIHOODS.keys())],
        "exclusion_scale": [Interval(Real, 0, None, closed="left"), "array-like"],
        "intercept_prior": [StrOptions({"centered", "raw"})],
        "fit_intercept": ["boolean"],
        "draws": [Interval(Integral, 4, None, closed="left")],
        "tune": [Interval(Integral, 0, None, closed="left")],
        "chains": [Interval(Integral, 1, None, closed="left")],
        "target_accept": [Interval(Real, 0, 1, closed="neither")],
        "backend": [StrOptions(BACKENDS.keys())],  # a view, so that additions count
        "random_state": ["random_state"],
        "treatment": [str, Integral, "array-like", None],
        "instruments": [str, Integral, "array-like", None],
        "covariates": [str, Integral, "array-like", None],
        "sample_weight_type": [StrOptions({"frequency", "probability"})],
        "check": CHECK,
    }

    def __init__(
        self,
        *,
        intercept_y_loc: Any = "auto",
        intercept_y_scale: Any = "auto",
        intercept_t_loc: Any = "auto",
        intercept_t_scale: Any = "auto",
        beta_t_loc: Any = 0.0,
        beta_t_scale: Any = "auto",
        beta_z_loc: Any = 0.0,
        beta_z_scale: Any = "learned",
        gamma_y_loc: Any = 0.0,
        gamma_t_loc: Any = 0.0,
        gamma_scale: Any = "auto",
        sigma_scale: Any = "auto",
        lkj_eta: float = 0.5,
        sigma_prior: str = "lkj",
        likelihood: str = "normal",
        exclusion_scale: Any = 0.0,
        intercept_prior: str = "centered",
        fit_intercept: bool = True,
        draws: int = 1000,
        tune: int = 1000,
        chains: int = 4,
        target_accept: float = 0.8,
        backend: str = "numpyro",
        random_state: Any = None,
        treatment: Any = None,
        instruments: Any = None,
        covariates: Any = None,
        sample_weight_type: str = "frequency",
        check: Any = "auto",
    ) -> None:
        self.intercept_y_loc = intercept_y_loc
        self.intercept_y_scale = intercept_y_scale
        self.intercept_t_loc = intercept_t_loc
        self.intercept_t_scale = intercept_t_scale
        self.beta_t_loc = beta_t_loc
        self.beta_t_scale = beta_t_scale
        self.beta_z_loc = beta_z_loc
        self.beta_z_scale = beta_z_scale
        self.gamma_y_loc = gamma_y_loc
        self.gamma_t_loc = gamma_t_loc
        self.gamma_scale = gamma_scale
        self.sigma_scale = sigma_scale
        self.lkj_eta = lkj_eta
        self.sigma_prior = sigma_prior
        self.likelihood = likelihood
        self.exclusion_scale = exclusion_scale
        self.intercept_prior = intercept_prior
        self.fit_intercept = fit_intercept
        self.draws = draws
        self.tune = tune
        self.chains = chains
        self.target_accept = target_accept
        self.backend = backend
        self.random_state = random_state
        self.treatment = treatment
        self.instruments = instruments
        self.covariates = covariates
        self.sample_weight_type = sample_weight_type
        self.check = check

    def _fit_data(self, data: IVData | NamedFrame) -> None:
        self._fit_sums(read_sums(self, data), data.rows)

    def _batch_sums(self, data: IVData | NamedFrame, earlier: Sums | None) -> Sums:
        if data.probability:
            raise ValueError(PROBABILITY)
        return read_batch(self, data, earlier)

    def _sums(self) -> Sums:
        return Sums(self.moments_, getattr(self, "fourth_moments_", None))

    def _allows(self) -> Allows:
        model = self._model
        return Allows(uneven=model.robust, clusters=model.clustered, many=model.many_instruments)

    def _kept_rows(self) -> Equation | None:
        if self._rows is None:
            return None
        return Equation.from_data(self._rows, self.moments_, fit_intercept=self.fit_intercept)

    def fit_moments(self, moments: Moments, fourth_moments: FourthMoments | None = None) -> Self:
        """Fit from moments: the rows are not needed again.

        Parameters
        ----------
        moments : Moments
            Of the columns ``[X, z, t, y]``.
        fourth_moments : FourthMoments, optional
            Of the same rows; needed with ``likelihood="gmm"``.

        Returns
        -------
        self : object
            If an error is raised, the estimator is as it was before.

        Raises
        ------
        ValueError
            If the moments are not finite, if their rows and columns do not identify the effect
            or leave y no error, or if what the model needs is not among the sums: fourth-order
            sums with ``likelihood="gmm"``, rows with ``backend="pymc"``.
        """
        new = self._start_from(moments)
        new._fit_sums(sums_of(moments, fourth_moments))
        new._check_interval()
        self.__dict__ = new.__dict__
        return self

    def _fit_sums(self, sums: Sums, rows: IVData | None = None) -> None:
        """Sums -> model -> draws of its target -> exact draws of the rest -> tree, attributes."""
        check_sums(self, sums)
        warn_of_unused(self)
        self._fit_model(self._build_model(sums), sums, rows)

    def _fit_model(self, model: Model, sums: Sums, rows: IVData | None) -> None:
        """Sample a model and set all fitted attributes."""
        draws, posterior = sample_model(
            model, self.backend, self._settings(), rows, fit_track(self, "draws")
        )
        effect = posterior.values["beta_t"].reshape(*draws.position.shape[:2], -1)
        check_convergence(draws, effect, tune=self.tune, target_accept=self.target_accept)
        self.moments_ = sums.moments
        if sums.fourth is not None:
            self.fourth_moments_ = sums.fourth
        self._rows = rows if rows is not None and rows.n_rows <= KEPT_ROWS else None
        self._tree_ = partial(build_tree, model.coords, posterior, draws, sums, self._rows)
        self._model = model
        self._accept(posterior)

    def _build_model(self, sums: Sums) -> Model:
        """Model of the data under the parameters: all that a fit or a search asks."""
        return build_model(self, sums)

    def _accept(self, posterior: Posterior) -> None:
        """Set what the posterior says."""
        self._set_coefficients(posterior.values)

    def to_pymc(
        self,
        X: Any = None,
        t: Any = None,
        y: Any = None,
        *,
        z: Any = None,
        sample_weight: Any = None,
        clusters: Any = None,
    ) -> Any:
        """State the same model row by row in PyMC.

        Variables have the posterior's names and dimensions, so the model can be drawn
        (``pm.model_to_graphviz``), intervened on (``pm.do``) and sampled with any of PyMC's
        samplers. With ``likelihood="gmm"`` it has the effects' prior, the criterion as a potential
        on the sums, which need no rows, and `direct` with its distribution given the effects.

        Parameters
        ----------
        X, t, y, z, sample_weight, clusters
            Rows, as in `fit`; the model is then what a fit to them would use. Without them it is
            the fitted model, whose rows were kept if there were at most 20,000.

        Returns
        -------
        pymc.Model

        Raises
        ------
        NotFittedError
            If there are no rows and no fit.
        ValueError
            If the rows are not as `fit` wants them, or are needed and were not kept.
        """
        if X is None and t is None and y is None:
            check_is_fitted(self)
            if clusters is not None:
                raise ValueError(
                    "clusters must be passed with the rows (X, t, y, z); got clusters only."
                )
            return self._model.to_pymc(self._rows)
        data = self._given(X, t, y, z, sample_weight=sample_weight, clusters=clusters)
        sums = read_sums(self, data)
        check_identified(sums.moments, fit_intercept=self.fit_intercept)
        return self._build_model(sums).to_pymc(data)

    def _given(self, X: Any, t: Any, y: Any, z: Any, **extra: Any) -> IVData:
        """Check rows that may be other than those of the fit."""
        self._validate_params()
        t, y = second_is_outcome(t, y, z)
        return read_rows(
            X, y, t, z, **extra, roles=self._roles, finite=False, probability=self._probability
        )

    def _n_progress_steps(self) -> int:
        return n_subtasks(PIECES)

    def _settings(self) -> Settings:
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return Settings(self.draws, self.tune, self.chains, float(self.target_accept), seed)

    def _without_history(self) -> BayesianIV:
        """Fit of the current experiment alone: this one."""
        return self

    def _effect_and_error(self) -> tuple[Array, Array]:
        check_is_fitted(self)
        draws = effect_draws(self)
        return draws.mean(axis=0), draws.std(axis=0)

    def _set_coefficients(self, values: dict[str, Array]) -> None:
        """Posterior means; products of coefficients are averaged over the draws."""
        mean = {name: value.mean(axis=0) for name, value in values.items()}
        k = values["beta_t"].shape[1]
        self.intercept_ = float(mean.get("intercept_y", 0.0))
        self.coef_ = np.concatenate([mean["beta_t"], mean["gamma_y"]])
        self.first_stage_intercept_ = mean.get("intercept_t", np.zeros(k))
        self.first_stage_coef_ = np.concatenate([mean["beta_z"], mean["gamma_t"]]).T
        beta = values["beta_t"]
        through = {
            name: np.einsum("n...k,nk->n...", values[name], beta).mean(axis=0)
            for name in ("intercept_t", "beta_z", "gamma_t")
            if name in values
        }
        self._direct = mean.get("direct", np.zeros(values["beta_z"].shape[1]))
        on_z = through["beta_z"] + self._direct
        on_x = through["gamma_t"] + mean["gamma_y"]
        intercept = self.intercept_ + float(through.get("intercept_t", 0.0))
        self._reduced = (intercept, np.concatenate([on_z, on_x]))

    def _reduced_form(self) -> tuple[float, Array]:
        return self._reduced

    def _direct_effect(self, z: Array | None) -> Array | float:
        at = self.moments_.mean[self.moments_.columns.z] if z is None else z
        return at @ self._direct
