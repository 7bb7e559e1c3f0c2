"""HierarchicalBayesianIV: the effect's prior learnt from earlier experiments."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from numbers import Real
from typing import Any, ClassVar, Self

from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skbayesiv._columns import treatment_position
from skbayesiv._data.sums import Sums
from skbayesiv._estimators.base import BaseIV
from skbayesiv._estimators.bayesian import BayesianIV
from skbayesiv._estimators.earlier_estimates import (
    estimates_table,
    likelihood_estimate,
    unused_name,
)
from skbayesiv._estimators.pickling import pack_table, unpack_table
from skbayesiv._models.build import build_model
from skbayesiv._models.history.model import HistoryModel
from skbayesiv._models.history.table import History, build_history
from skbayesiv._models.parts.model import Model
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._models.parts.scales import SCALE_PRIORS
from skbayesiv._reports.borrowing import Borrowing, borrowing_report, warn_of_conflict
from skbayesiv._reports.meta_analysis import MetaAnalysis
from skbayesiv.exceptions import OURS

NO_HISTORY = (
    "effects is empty: there are no earlier experiments to learn from, so the effect keeps "
    "BayesianIV's prior N(beta_t_loc, beta_t_scale^2)."
)


class HierarchicalBayesianIV(BayesianIV):
    r"""Bayesian instrumental variables that learn the effect's prior from earlier experiments.

    To the model of :class:`BayesianIV` it adds J earlier experiments with effects :math:`b_j` and
    standard errors :math:`s_j`,

    .. math::

        \beta_t \sim N(\bar\beta_t, \bar\sigma_t^2), \qquad
        \beta_j \sim N(\bar\beta_t, \bar\sigma_t^2), \qquad
        b_j \sim N(\beta_j, s_j^2),

    with a normal prior on :math:`\bar\beta_t`. Given :math:`\bar\sigma_t` all of it is normal and
    integrates out, so NUTS sees the error covariance and :math:`\bar\sigma_t` only: there is no
    funnel. This is the meta-analytic-combined approach to historical data [1]_, and with
    `robust_weight` the robust one [2]_, whose two components are sampled separately and weighted
    by their evidence.

    Parameters
    ----------
    effects : array-like of shape (J,) or (J, K), or DataFrame, optional
        Effects of earlier experiments, in units of y per unit of t; NaN where an experiment did
        not measure a treatment. A DataFrame's or Series's index names the experiments, and its
        columns name the treatments; where there are names they decide, not the order.
    std_errors : array-like of the shape of `effects`, optional
        Matched to `effects` by names where both have them.
    beta_t_bar_loc : float or array-like of shape (K,), default=0.0
    beta_t_bar_scale : float, array-like of shape (K,) or "auto", default="auto"
        Normal prior of the mean effect. "auto" is 2.5 times the root of the earlier effects'
        mean square plus their squared error, averages weighted by precision.
    sigma_t_bar_scale : float, array-like of shape (K,) or "auto", default="auto"
        Scale of the prior of the effects' standard deviation. "auto" is the root of the earlier
        effects' variance plus their squared error, averages weighted by precision. One experiment
        far more precise than all others decides it: then give a number.
    sigma_t_bar_prior : {"half-cauchy", "half-normal", "half-t"}, default="half-cauchy"
        "half-t" has 3 degrees of freedom.
    robust_weight : float, default=0.0
        Prior probability, below 1, that the effect is not exchangeable with the earlier ones but
        comes from the vague prior N(beta_t_loc, beta_t_scale^2). How much conflict it takes to
        let the history go is decided by `beta_t_scale`: the wider the vague prior, the less it
        expects the effect at hand. One row's worth of information is a natural width: sqrt(n)
        times the standard error of the estimate.
    intercept_y_loc, intercept_y_scale, intercept_t_loc, intercept_t_scale
    beta_t_loc, beta_t_scale
        The vague prior of the effect: used with `robust_weight`, and when there is no history.
    beta_z_loc, beta_z_scale, gamma_y_loc, gamma_t_loc, gamma_scale
    sigma_scale, lkj_eta, sigma_prior, likelihood, exclusion_scale, intercept_prior, fit_intercept
    draws, tune, chains, target_accept, backend, random_state, treatment, instruments
    covariates, sample_weight_type, check
        As in :class:`BayesianIV`.

    Attributes
    ----------
    idata_ : xarray.DataTree
        As in :class:`BayesianIV`, with `beta_t_bar`, `sigma_t_bar` and `beta_j` (dimension
        experiment; left out above 2e7 numbers) in the posterior.
    exchangeable_probability_ : float
        Posterior probability that the effect is exchangeable with the earlier ones, by bridge
        sampling: 1 without `robust_weight`, 0 without a history.
    coef_, intercept_, effect_, first_stage_coef_, first_stage_intercept_
    moments_, fourth_moments_, n_treatments_, n_instruments_, n_features_in_, feature_names_in_
        As in :class:`BayesianIV`.

    Warns
    -----
    PriorDataConflictWarning
        If the two-stage least squares estimate lies in the outer 5% of what the history predicts.

    References
    ----------
    .. [1] Neuenschwander, B., Capkun-Niggli, G., Branson, M. and Spiegelhalter, D. J. (2010).
       Summarizing historical information on controls in clinical trials. Clinical Trials 7, 5-18.
    .. [2] Schmidli, H. et al. (2014). Robust meta-analytic-predictive priors in clinical trials
       with historical control information. Biometrics 70, 1023-1032.

    Examples
    --------
    >>> from skbayesiv import HierarchicalBayesianIV
    >>> from skbayesiv.datasets import load_push_experiment
    >>> X, t, y, z = load_push_experiment(return_X_t_y_z=True)
    >>> est = HierarchicalBayesianIV(
    ...     effects=[3.4, 3.6, 4.25, 4.0, 3.9],
    ...     std_errors=[0.5, 0.55, 0.6, 0.45, 0.44],
    ...     random_state=0,
    ... ).fit(X, t, y, z=z)
    >>> print(f"{est.effect_:.1f}")
    3.7
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **BayesianIV._parameter_constraints,
        "effects": ["array-like", None],
        "std_errors": ["array-like", None],
        "beta_t_bar_loc": [Interval(Real, None, None, closed="neither"), "array-like"],
        "beta_t_bar_scale": BayesianIV._parameter_constraints["beta_t_scale"],
        "sigma_t_bar_scale": BayesianIV._parameter_constraints["beta_t_scale"],
        "sigma_t_bar_prior": [StrOptions(SCALE_PRIORS.keys())],
        "robust_weight": [Interval(Real, 0, 1, closed="left")],
    }

    exchangeable_probability_: float
    _alone: BayesianIV | None

    def __init__(
        self,
        effects: Any = None,
        std_errors: Any = None,
        *,
        beta_t_bar_loc: Any = 0.0,
        beta_t_bar_scale: Any = "auto",
        sigma_t_bar_scale: Any = "auto",
        sigma_t_bar_prior: str = "half-cauchy",
        robust_weight: float = 0.0,
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
        super().__init__(
            intercept_y_loc=intercept_y_loc,
            intercept_y_scale=intercept_y_scale,
            intercept_t_loc=intercept_t_loc,
            intercept_t_scale=intercept_t_scale,
            beta_t_loc=beta_t_loc,
            beta_t_scale=beta_t_scale,
            beta_z_loc=beta_z_loc,
            beta_z_scale=beta_z_scale,
            gamma_y_loc=gamma_y_loc,
            gamma_t_loc=gamma_t_loc,
            gamma_scale=gamma_scale,
            sigma_scale=sigma_scale,
            lkj_eta=lkj_eta,
            sigma_prior=sigma_prior,
            likelihood=likelihood,
            exclusion_scale=exclusion_scale,
            intercept_prior=intercept_prior,
            fit_intercept=fit_intercept,
            draws=draws,
            tune=tune,
            chains=chains,
            target_accept=target_accept,
            backend=backend,
            random_state=random_state,
            treatment=treatment,
            instruments=instruments,
            covariates=covariates,
            sample_weight_type=sample_weight_type,
            check=check,
        )
        self.effects = effects
        self.std_errors = std_errors
        self.beta_t_bar_loc = beta_t_bar_loc
        self.beta_t_bar_scale = beta_t_bar_scale
        self.sigma_t_bar_scale = sigma_t_bar_scale
        self.sigma_t_bar_prior = sigma_t_bar_prior
        self.robust_weight = robust_weight

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        return state | {name: pack_table(state[name]) for name in ("effects", "std_errors")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.effects = unpack_table(self.effects)
        self.std_errors = unpack_table(self.std_errors)

    @classmethod
    def from_estimators(
        cls, estimators: Sequence[BaseIV], names: Sequence[str] | None = None, **parameters: Any
    ) -> Self:
        """Make fitted estimators the history of the next one.

        Parameters
        ----------
        estimators : sequence of fitted TwoStageLS, BayesianIV or HierarchicalBayesianIV
            Priors are no data, so what is taken is the likelihood alone, as a normal
            distribution: a posterior's mean and covariance with the effect's normal prior divided
            out, and for the last kind without its own history. Nothing is counted twice.
        names : sequence of str, optional
            Names of the experiments, by default their numbers. Treatments keep theirs: an
            estimator without one of the others' treatments has not measured it.
        **parameters
            Parameters of the new estimator.

        Returns
        -------
        HierarchicalBayesianIV
            Not fitted.

        Raises
        ------
        ValueError
            If an estimator has no treatment, or a posterior is no tighter than its prior.
        """
        effects, errors = estimates_table(estimators, names)
        return cls(effects=effects, std_errors=errors, **parameters)

    def next_prior(self, name: str | None = None) -> Self:
        """Return an unfitted estimator whose history also has this experiment.

        Parameters
        ----------
        name : str, optional
            Name of this experiment, by default its number.

        Returns
        -------
        HierarchicalBayesianIV
            Not fitted. What is added is this experiment's estimate without its history and
            without the vague prior of the effect, as in `from_estimators`.
        """
        import pandas as pd

        check_is_fitted(self)
        treatments = list(self.moments_.columns.treatments)
        history, (effect, error) = self._history, likelihood_estimate(self)
        names = [] if history is None else list(history.names)
        if not (name is None or isinstance(name, str)):
            raise TypeError(f"name must be a string; got {name!r}.")
        if name in names:
            raise ValueError(f"name must not be that of an earlier experiment; got {name!r}.")
        index = [*names, name or unused_name(names)]
        b = [effect] if history is None else [*history.effects, effect]
        s = [error] if history is None else [*history.std_errors, error]
        parameters = self.get_params(deep=False)
        parameters["effects"] = pd.DataFrame(b, index=index, columns=treatments)
        parameters["std_errors"] = pd.DataFrame(s, index=index, columns=treatments)
        return type(self)(**parameters)

    def meta_analysis(self) -> MetaAnalysis:
        """Analyse the earlier experiments alone, without the current one.

        The posterior of the mean effect and of the effects' spread, and the prediction for a new
        experiment, by quadrature. It needs no fit.

        Returns
        -------
        MetaAnalysis
        """
        if hasattr(self, "moments_"):
            history = self._history
        else:
            self._validate_params()
            history = build_history(self)
        if history is None:
            raise ValueError(f"meta_analysis needs a history. {NO_HISTORY}")
        return MetaAnalysis.from_history(history)

    def borrowing(self, treatment: int | str = 0) -> Borrowing:
        """Report what the history contributes to the effect, and whether it conflicts.

        Parameters
        ----------
        treatment : int or str, default=0
            Position or name of the treatment, when there are several.

        Returns
        -------
        Borrowing
        """
        check_is_fitted(self)
        if self._history is None:
            raise ValueError(f"borrowing needs a history. {NO_HISTORY}")
        at = treatment_position(treatment, self._history.treatments)
        return borrowing_report(self, self._without_history(), self._history, at)

    def _without_history(self) -> BayesianIV:
        """Fit the current experiment alone, once, under BayesianIV's prior of the effect."""
        if self._history is None:
            return self
        if self._alone is None:
            names = inspect.signature(BayesianIV).parameters
            parameters = {name: getattr(self, name) for name in names}
            fourth = getattr(self, "fourth_moments_", None)
            self._alone = BayesianIV(**parameters).fit_moments(self.moments_, fourth)
        return self._alone

    @property
    def _history(self) -> History | None:
        """Earlier experiments of the fit, None without any."""
        return self._model.history if isinstance(self._model, HistoryModel) else None

    def _build_model(self, sums: Sums) -> Model:
        model = build_model(self, sums)
        history = build_history(self, sums.columns.treatments)
        return model if history is None else HistoryModel(model, history, self.robust_weight)

    def _accept(self, posterior: Posterior) -> None:
        super()._accept(posterior)
        self._alone = None
        self.exchangeable_probability_ = posterior.exchangeable_probability or 0.0
        if self._history is not None:
            warn_of_conflict(self, self._history)
        elif self.n_treatments_:
            warnings.warn(NO_HISTORY, UserWarning, skip_file_prefixes=OURS)
