"""HierarchicalBayesianIV: the effect's prior learnt from earlier experiments."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skbayesiv import _borrowed, _covariance
from skbayesiv._base import BaseIV
from skbayesiv._bayesian import BayesianIV
from skbayesiv._borrowing import (
    Borrowing,
    MetaAnalysis,
    borrowing_report,
    classical_effect,
    warn_of_conflict,
)
from skbayesiv._fourth_moments import FourthMoments
from skbayesiv._history import (
    SIGMA_BAR_PRIORS,
    History,
    automatic_scales,
    log_sigma_prior,
    read_history,
)
from skbayesiv._likelihood import Likelihood
from skbayesiv._moments import Moments
from skbayesiv._posterior import Names, Posterior, coordinates
from skbayesiv._priors import positive_or_auto
from skbayesiv._sampling import Draws, Settings, Target
from skbayesiv._validation import IVData

Array = NDArray[np.float64]

MAX_BETA_J = 20_000_000
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
    `robust_weight` the robust one [2]_.

    Parameters
    ----------
    effects : array-like of shape (J,) or (J, K), or DataFrame, optional
        Effects of earlier experiments, in units of y per unit of t; NaN where an experiment did
        not measure a treatment. A DataFrame's or Series's index names the experiments.
    std_errors : array-like of the shape of `effects`, optional
    beta_t_bar_loc : float or array-like of shape (K,), default=0.0
    beta_t_bar_scale : float, array-like of shape (K,) or "auto", default="auto"
        Normal prior of the mean effect. "auto" is 2.5 times the root mean square of the earlier
        effects with their errors.
    sigma_t_bar_scale : float, array-like of shape (K,) or "auto", default="auto"
        Scale of the prior of the effects' standard deviation. "auto" is the root of the earlier
        effects' variance plus their mean squared error.
    sigma_t_bar_prior : {"half-cauchy", "half-normal", "half-t"}, default="half-cauchy"
        "half-t" has 3 degrees of freedom.
    robust_weight : float, default=0.0
        Prior probability, below 1, that the effect is not exchangeable with the earlier ones but
        comes from the vague prior N(beta_t_loc, beta_t_scale^2).
    intercept_y_loc, intercept_y_scale, intercept_t_loc, intercept_t_scale
    beta_t_loc, beta_t_scale
        The vague prior of the effect: used with `robust_weight`, and when there is no history.
    beta_z_loc, beta_z_scale, gamma_y_loc, gamma_t_loc, gamma_scale
    sigma_scale, lkj_eta, sigma_prior, likelihood, exclusion_scale, intercept_prior, fit_intercept
    draws, tune, chains, target_accept, backend, random_state, treatment, instruments
        As in :class:`BayesianIV`.

    Attributes
    ----------
    idata_ : xarray.DataTree
        As in :class:`BayesianIV`, with `beta_t_bar`, `sigma_t_bar` and `beta_j` (dimension
        experiment; left out above 2e7 numbers) in the posterior.
    exchangeable_probability_ : float
        Posterior probability that the effect is exchangeable with the earlier ones.
    coef_, intercept_, effect_, first_stage_coef_, first_stage_intercept_, moments_
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
        "sigma_t_bar_prior": [StrOptions(set(SIGMA_BAR_PRIORS))],
        "robust_weight": [Interval(Real, 0, 1, closed="left")],
    }

    exchangeable_probability_: float

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
        beta_z_scale: Any = "auto",
        gamma_y_loc: Any = 0.0,
        gamma_t_loc: Any = 0.0,
        gamma_scale: Any = "auto",
        sigma_scale: Any = "auto",
        lkj_eta: float = 1.0,
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
        )
        self.effects = effects
        self.std_errors = std_errors
        self.beta_t_bar_loc = beta_t_bar_loc
        self.beta_t_bar_scale = beta_t_bar_scale
        self.sigma_t_bar_scale = sigma_t_bar_scale
        self.sigma_t_bar_prior = sigma_t_bar_prior
        self.robust_weight = robust_weight

    @classmethod
    def from_estimators(
        cls, estimators: Sequence[BaseIV], names: Sequence[str] | None = None, **parameters: Any
    ) -> Self:
        """Make fitted estimators the history of the next one.

        Parameters
        ----------
        estimators : sequence of fitted TwoStageLS, BayesianIV or HierarchicalBayesianIV
            Of the last kind the estimate without its own history is taken, so that nothing is
            counted twice.
        names : sequence of str, optional
            Names of the experiments.
        **parameters
            Parameters of the new estimator.

        Returns
        -------
        HierarchicalBayesianIV
            Not fitted.
        """
        import pandas as pd

        pairs = [est._effect_and_error() for est in estimators]
        index = list(names) if names is not None else [str(j) for j in range(len(pairs))]
        effects = pd.DataFrame(np.array([pair[0] for pair in pairs]), index=index)
        errors = pd.DataFrame(np.array([pair[1] for pair in pairs]), index=index)
        return cls(effects=effects, std_errors=errors, **parameters)

    def next_prior(self, name: str | None = None) -> Self:
        """Return an unfitted estimator whose history also has this experiment.

        Parameters
        ----------
        name : str, optional
            Name of this experiment, by default its number.
        """
        import pandas as pd

        check_is_fitted(self)
        b, s, names = read_history(self.effects, self.std_errors, self.n_treatments_)
        effect, error = self._effect_and_error()
        index = [*names, name or str(len(names))]
        parameters = self.get_params(deep=False)
        parameters["effects"] = pd.DataFrame(np.vstack([b, effect]), index=index)
        parameters["std_errors"] = pd.DataFrame(np.vstack([s, error]), index=index)
        return type(self)(**parameters)

    def meta_analysis(self) -> MetaAnalysis:
        """Analyse the earlier experiments alone, without the current one.

        The posterior of the mean effect and of the effects' spread, and the prediction for a new
        experiment, by quadrature. It needs no fit when there is one treatment.

        Returns
        -------
        MetaAnalysis
        """
        return MetaAnalysis.from_history(self._history(getattr(self, "n_treatments_", None)))

    def borrowing(self, treatment: int = 0) -> Borrowing:
        """Report what the history contributes to the effect, and whether it conflicts.

        Parameters
        ----------
        treatment : int, default=0
            Position of the treatment, when there are several.

        Returns
        -------
        Borrowing
        """
        check_is_fitted(self)
        history = self._history(self.n_treatments_)
        if not history.n_experiments:
            raise ValueError(f"borrowing needs a history. {NO_HISTORY}")
        return borrowing_report(self, self._without_history(), history, treatment)

    def _history(self, n_treatments: int | None) -> History:
        if n_treatments is None:
            n_treatments = np.shape(self.effects)[1] if np.ndim(self.effects) > 1 else 1
        b, s, names = read_history(self.effects, self.std_errors, n_treatments)
        k = (n_treatments,)
        scale = spread = np.ones(k)
        if b.shape[0]:
            if np.isnan(b).all(axis=0).any():
                raise ValueError("effects must measure every treatment in some experiment.")
            scale, spread = automatic_scales(b, s)
        return History(
            b,
            s,
            names,
            np.broadcast_to(np.asarray(self.beta_t_bar_loc, dtype=float), k),
            positive_or_auto(self.beta_t_bar_scale, "beta_t_bar_scale", k, scale),
            positive_or_auto(self.sigma_t_bar_scale, "sigma_t_bar_scale", k, spread),
            self.sigma_t_bar_prior,
        )

    def _without_history(self) -> BayesianIV:
        """Fit the current experiment alone, under BayesianIV's prior of the effect."""
        names = inspect.signature(BayesianIV).parameters
        parameters = {name: getattr(self, name) for name in names}
        fourth = getattr(self, "fourth_moments_", None)
        return BayesianIV(**parameters).fit_moments(self.moments_, fourth)

    def _effect_and_error(self) -> tuple[Array, Array]:
        if not self._borrows():
            return super()._effect_and_error()
        return self._without_history()._effect_and_error()

    def _borrows(self) -> bool:
        return self.effects is not None and len(self.effects) > 0

    def _fit_moments(
        self, moments: Moments, fourth: FourthMoments | None, data: IVData | None
    ) -> None:
        k = len(moments.columns.treatments)
        if k and not self._borrows():
            warnings.warn(NO_HISTORY, UserWarning, stacklevel=5)
        if k and self._borrows():
            warn_of_conflict(self._history(k), *classical_effect(moments, self.fit_intercept))
        super()._fit_moments(moments, fourth, data)

    def _names(self, moments: Moments) -> Names:
        experiments = self._history(len(moments.columns.treatments)).names
        return coordinates(moments.columns, experiments if self._borrows() else ())

    def _stated_effects(self, model: Likelihood) -> Callable[[], Any] | None:
        if not self._borrows():
            return None
        from skbayesiv._generative_history import state_history

        history = self._history(model.design.shape.n_treatments)
        return partial(state_history, history, model.design.priors.beta_t, self.robust_weight)

    def _sample_rows(
        self, model: Likelihood, settings: Settings, data: Any
    ) -> tuple[Draws, Posterior]:
        if not self._borrows():
            return super()._sample_rows(model, settings, data)
        raise ValueError(
            'backend must be "numpyro" with a history; to use PyMC, sample the model that '
            "to_pymc() returns with pm.sample."
        )

    def _target(self, model: Likelihood) -> Target:
        base, design = super()._target(model), model.design
        if not (design.shape.n_treatments and self._borrows()):
            return base
        arrays = _borrowed.hierarchical_arrays(
            design, self._history(design.shape.n_treatments), self.robust_weight
        )
        k = design.shape.n_treatments
        return Target(
            _borrowed.log_density,
            self._shape(model),
            arrays,
            np.append(base.start, np.log(arrays.sigma_scale) - 1.0),
            np.append(base.spread, np.ones(k)),
        )

    def _shape(self, model: Likelihood) -> _borrowed.HierarchicalShape:
        return _borrowed.HierarchicalShape(
            model.design.shape, self.sigma_t_bar_prior, self.robust_weight > 0, model.given_prior
        )

    def _draw_rest(
        self, model: Likelihood, draws: Draws, generator: np.random.Generator
    ) -> Posterior:
        design = model.design
        if not (design.shape.n_treatments and self._borrows()):
            self.exchangeable_probability_ = 0.0
            return super()._draw_rest(model, draws, generator)
        history = self._history(design.shape.n_treatments)
        shape = self._shape(model)
        arrays = _borrowed.hierarchical_arrays(design, history, self.robust_weight)
        flat = draws.position.reshape(-1, draws.position.shape[-1])
        prior = _borrowed.effect_priors(shape, arrays, flat, generator)
        self.exchangeable_probability_ = float(prior.exchangeable.mean())
        posterior = model.posterior(
            flat[:, : shape.current.dim], generator, (prior.loc, prior.precision)
        )
        unit = _borrowed.effect_units(design)
        keep = history.n_experiments
        if keep * len(flat) * len(unit) > MAX_BETA_J:
            keep = 0
        beta_t = posterior.values["beta_t"]
        hyper = _borrowed.draw_hyperparameters(prior, arrays, beta_t / unit, keep, generator)
        hyper = {name: value * unit for name, value in hyper.items()}
        if shape.robust:
            hyper["exchangeable"] = prior.exchangeable.astype(float)
        extra = self._log_prior(history, hyper, beta_t, posterior.log_prior["beta_t"])
        past = _log_normal(history.effects, hyper["beta_j"], history.errors) if keep else None
        likelihood = posterior.log_likelihood | ({} if past is None else {"history": past})
        return Posterior(posterior.values | hyper, posterior.log_prior | extra, likelihood)

    def _log_prior(
        self, history: History, hyper: dict[str, Array], beta_t: Array, vague: Array
    ) -> dict[str, Array]:
        """Log prior densities of what the hierarchy adds, of shape (N,)."""
        bar, sigma = hyper["beta_t_bar"], hyper["sigma_t_bar"]
        near = _log_normal(beta_t, bar, sigma)
        if self.robust_weight:
            w = self.robust_weight
            near = np.logaddexp(np.log1p(-w) + near, np.log(w) + vague)
        log_sigma = np.log(sigma)
        of_sigma = log_sigma_prior(history.kind, log_sigma, history.sigma_scale, np).sum(-1)
        return {
            "beta_t": near,
            "beta_t_bar": _log_normal(bar, history.loc, history.scale),
            "sigma_t_bar": of_sigma,
            "beta_j": _log_normal(hyper["beta_j"], bar[:, None], sigma[:, None]),
        }


def _log_normal(x: Array, loc: Array, scale: Array) -> Array:
    """Log density summed over all but the draws; what was not measured does not count."""
    value = _covariance.log_normal_density(x, loc, scale, np)
    return np.asarray(np.nansum(value.reshape(len(value), -1), axis=1))
