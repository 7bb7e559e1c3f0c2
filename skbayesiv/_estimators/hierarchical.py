"""HierarchicalBayesianIV: the effect's prior learnt from earlier experiments."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self, overload

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skbayesiv._columns import treatment_position
from skbayesiv._data.named import NamedFrame
from skbayesiv._data.rows import IVData
from skbayesiv._data.sums import Sums
from skbayesiv._estimators.base import BaseIV
from skbayesiv._estimators.bayesian import BayesianIV
from skbayesiv._estimators.call_forms import treatment_form
from skbayesiv._estimators.earlier_estimates import (
    history_tables,
    said_by,
    unused_name,
    warn_of_weak,
)
from skbayesiv._estimators.experiments import ExperimentFits
from skbayesiv._estimators.pickling import (
    pack_likelihoods,
    pack_table,
    unpack_likelihoods,
    unpack_table,
)
from skbayesiv._estimators.segments import SegmentMethods
from skbayesiv._honesty.findings import warn_of
from skbayesiv._models.build import build_model
from skbayesiv._models.history.carried import with_history
from skbayesiv._models.history.likelihoods import WEAK_F
from skbayesiv._models.history.model import HistoryModel
from skbayesiv._models.history.table import SHOWN, History, build_history
from skbayesiv._models.parts.model import Model
from skbayesiv._models.parts.posterior import Posterior
from skbayesiv._models.parts.scales import SCALE_PRIORS
from skbayesiv._reports.borrowing import Borrowing, borrowing_report, warn_of_conflict
from skbayesiv._reports.meta_analysis import MetaAnalysis
from skbayesiv.exceptions import OURS, WeakInstrumentWarning

TABLES = ("effects", "std_errors", "first_stage_f", "segment_covariates")
NO_HISTORY = (
    "effects is empty: there are no earlier experiments to learn from, so the effect keeps "
    "BayesianIV's prior N(beta_t_loc, beta_t_scale^2)."
)


class HierarchicalBayesianIV(SegmentMethods):
    r"""Bayesian instrumental variables that learn the effect's prior from earlier experiments.

    Or from segments of the rows, such as countries, or from both together.

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

    With `segments`, each segment g of the rows has all the parameters of :class:`BayesianIV` for
    itself, and the segments' effects share the population with the earlier experiments',

    .. math::

        \beta_g \sim N(\bar\beta_t + w_g'\delta, \bar\sigma_t^2),

    with covariates :math:`w_g` of the segments, if there are any, about their means. A segment
    that says much keeps its own effect, and one that says little gets the population's. "auto"
    scales of all other priors come from all rows together, so that a small segment is not its own
    yardstick. A segment that identifies no effect of its own, as where nobody was treated, is
    named in `silent_segments_` and gets the population's prediction.

    Parameters
    ----------
    effects : array-like of shape (J,) or (J, K), or DataFrame, optional
        Effects of earlier experiments, in units of y per unit of t; NaN where an experiment did
        not measure a treatment. A DataFrame's or Series's index names the experiments, and its
        columns name the treatments; where there are names they decide, not the order.
    std_errors : array-like of the shape of `effects`, optional
        Matched to `effects` by names where both have them.
    likelihoods : dict of EffectLikelihood, optional
        What experiments say of the effect, by their names in `effects`: of those whose instruments
        are not very strong (first-stage F below 100 times the number of experiments) it takes the
        place of effect and standard error. :meth:`from_estimators`, :meth:`next_prior` and
        :func:`fit_experiments` give them. Of one treatment.
    first_stage_f : array-like of shape (J,), optional
        First-stage F of experiments of which no likelihood is known, NaN where it is not known
        either. Below 10 an effect and a standard error are no summary, and a fit warns.
    beta_t_bar_loc : float or array-like of shape (K,), default=0.0
    beta_t_bar_scale : float, array-like of shape (K,) or "auto", default="auto"
        Normal prior of the mean effect. "auto" is 2.5 times the root of the earlier effects'
        mean square plus their squared error, averages weighted by precision. With segments it is
        2.5 sd y / sd t of all rows.
    sigma_t_bar_scale : float, array-like of shape (K,) or "auto", default="auto"
        Scale of the prior of the effects' standard deviation. "auto" is the root of the earlier
        effects' variance plus their squared error, averages weighted by precision. One experiment
        far more precise than all others decides it: then give a number. With segments it is
        sd y / sd t of all rows.
    sigma_t_bar_prior : {"half-cauchy", "half-normal", "half-t"}, default="half-cauchy"
        "half-t" has 3 degrees of freedom.
    robust_weight : float, default=0.0
        Prior probability, below 1, that the effect is not exchangeable with the earlier ones but
        comes from the vague prior N(beta_t_loc, beta_t_scale^2). How much conflict it takes to
        let the history go is decided by `beta_t_scale`: the wider the vague prior, the less it
        expects the effect at hand. One row's worth of information is a natural width: sqrt(n)
        times the standard error of the estimate. It must be 0 with segments.
    segments : str or int, optional
        Column of X that labels the segments of the rows, by name or position. Labels may also be
        passed to `fit`.
    segment_covariates : DataFrame of shape (G, M), optional
        What may predict a segment's effect: numbers, with the segments' labels as index. Rows of
        other segments may be there, for predictions.
    delta_scale : float, array-like of shape (M,) or (M, K), or "auto", default="auto"
        Prior standard deviation of delta, in units of the effect per unit of a segment covariate.
        "auto" is the scale of sigma_t_bar's prior per standard deviation of the covariate.
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
    effects_ : DataFrame
        Effects by segment, where there are segments. The posterior then has the dimension segment
        in all parameters but `beta_t_bar`, `sigma_t_bar`, `delta` (dimensions segment_covariate
        and treatment) and `effect`: the average effect over the compliers, segments weighted by
        their rows and the strength of their first stage, whose posterior mean is `effect_`. Other
        coefficients in `coef_`, `intercept_` and the first stage's are averages over segments by
        rows. Parameters of more than 2e7 numbers are left out of the posterior.
    segments_ : ndarray of shape (G,)
        Labels of the segments.
    segment_moments_ : dict of Moments
        By label.
    silent_segments_ : dict of str
        Why a segment identifies no effect of its own, by label; empty if all do.
    coef_, intercept_, effect_, first_stage_coef_, first_stage_intercept_
    moments_, fourth_moments_, n_treatments_, n_instruments_, n_features_in_, feature_names_in_
        As in :class:`BayesianIV`.

    Warns
    -----
    PriorDataConflictWarning
        If the two-stage least squares estimate lies in the outer 5% of what the history predicts.
    WeakInstrumentWarning
        If `first_stage_f` has experiments below 10 that are summed up by effect and error, unless
        ``check=False``.

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
        "likelihoods": [dict, None],
        "first_stage_f": ["array-like", None],
        "beta_t_bar_loc": [Interval(Real, None, None, closed="neither"), "array-like"],
        "beta_t_bar_scale": BayesianIV._parameter_constraints["beta_t_scale"],
        "sigma_t_bar_scale": BayesianIV._parameter_constraints["beta_t_scale"],
        "sigma_t_bar_prior": [StrOptions(SCALE_PRIORS.keys())],
        "robust_weight": [Interval(Real, 0, 1, closed="left")],
        "segments": [str, Integral, None],
        "segment_covariates": [pd.DataFrame, None],
        "delta_scale": BayesianIV._parameter_constraints["beta_t_scale"],
    }
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"segments": True}
    __metadata_request__predict: ClassVar[dict[str, bool]] = {"segments": True}
    __metadata_request__score: ClassVar[dict[str, bool]] = {"segments": True}

    exchangeable_probability_: float
    _alone: BayesianIV | None

    def __init__(
        self,
        effects: Any = None,
        std_errors: Any = None,
        *,
        likelihoods: Any = None,
        first_stage_f: Any = None,
        beta_t_bar_loc: Any = 0.0,
        beta_t_bar_scale: Any = "auto",
        sigma_t_bar_scale: Any = "auto",
        sigma_t_bar_prior: str = "half-cauchy",
        robust_weight: float = 0.0,
        segments: Any = None,
        segment_covariates: Any = None,
        delta_scale: Any = "auto",
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
        self.likelihoods = likelihoods
        self.first_stage_f = first_stage_f
        self.beta_t_bar_loc = beta_t_bar_loc
        self.beta_t_bar_scale = beta_t_bar_scale
        self.sigma_t_bar_scale = sigma_t_bar_scale
        self.sigma_t_bar_prior = sigma_t_bar_prior
        self.robust_weight = robust_weight
        self.segments = segments
        self.segment_covariates = segment_covariates
        self.delta_scale = delta_scale

    @overload
    def fit(
        self,
        X: Any = None,
        y: ArrayLike | str | None = None,
        *,
        t: ArrayLike | None = None,
        z: ArrayLike | None = None,
        sample_weight: ArrayLike | str | None = None,
        clusters: ArrayLike | str | None = None,
        segments: ArrayLike | str | None = None,
    ) -> Self: ...
    @overload
    def fit(
        self,
        X: Any,
        t: ArrayLike,
        /,
        y: ArrayLike,
        *,
        z: ArrayLike,
        sample_weight: ArrayLike | None = None,
        clusters: ArrayLike | None = None,
        segments: ArrayLike | None = None,
    ) -> Self: ...
    @treatment_form
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        t: Any = None,
        z: Any = None,
        sample_weight: Any = None,
        clusters: Any = None,
        segments: Any = None,
    ) -> Self:
        """Fit the model, of segments where there are any.

        Parameters
        ----------
        X, y, t, z, sample_weight, clusters
            As in :meth:`BayesianIV.fit`.
        segments : array-like of shape (n_samples,), or str, optional
            Label of each row's segment: strings, whole numbers, dates or categories, none missing.
            With a name for y it may be the name of a column. The parameter `segments` names a
            column of X in its place.

        Returns
        -------
        self : object
            The fitted estimator. If an error is raised, the estimator is as it was before.

        Raises
        ------
        ValueError
            If the arguments are not as :meth:`BayesianIV.fit` wants them, or no segment
            identifies an effect.
        """
        return self._fit(X, y, t, z, sample_weight, clusters, segments)

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        state["likelihoods"] = pack_likelihoods(state["likelihoods"])
        return state | {name: pack_table(state[name]) for name in TABLES}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self.likelihoods = unpack_likelihoods(self.likelihoods)
        for name in TABLES:
            setattr(self, name, unpack_table(getattr(self, name)))

    @classmethod
    def from_estimators(
        cls,
        estimators: Sequence[BaseIV] | ExperimentFits,
        names: Sequence[str] | None = None,
        **parameters: Any,
    ) -> Self:
        """Make fitted estimators the history of the next one.

        Parameters
        ----------
        estimators : sequence of fitted TwoStageLS, BayesianIV or HierarchicalBayesianIV
            Or what :func:`fit_experiments` returns, with its names. Priors are no data, and a
            history is not this experiment: what is taken is the likelihood of its effect alone,
            the first stage integrated out. Nothing is counted twice, and nothing that is weak
            passes for a normal.
        names : sequence of str, optional
            Names of the experiments, by default their numbers. Treatments keep theirs: an
            estimator without one of the others' treatments has not measured it.
        **parameters
            Parameters of the new estimator.

        Returns
        -------
        HierarchicalBayesianIV
            Not fitted. Its `effects` and `std_errors` are for the eye where `likelihoods` has
            the experiment: LIML's of a posterior, of TwoStageLS its own. With several treatments
            there are no likelihoods; they are then two-stage estimates, taken as normal.

        Raises
        ------
        ValueError
            If an estimator has no treatment.

        Warns
        -----
        WeakInstrumentWarning
            If there are several treatments and instruments are weak.
        """
        if isinstance(estimators, ExperimentFits):
            if names is not None:
                raise ValueError(f"names must be None with fits, which have theirs; got {names!r}.")
            tables = {
                "effects": estimators.effects,
                "std_errors": estimators.std_errors,
                "likelihoods": estimators.likelihoods or None,
            }
        else:
            tables = vars(history_tables(estimators, names))
        return cls(**tables, **parameters)

    def next_prior(self, name: str | None = None) -> Self:
        """Return an unfitted estimator whose history also has this experiment.

        Parameters
        ----------
        name : str, optional
            Name of this experiment, by default its number.

        Returns
        -------
        HierarchicalBayesianIV
            Not fitted. What is added is what this experiment says without its history and
            without the vague prior of the effect, as in `from_estimators`. Hyper-priors
            are those of this fit, in numbers: "auto" would take them from one experiment more, and
            one after the other would not be all together.
        """
        check_is_fitted(self)
        self._check_one("next_prior")
        treatments = list(self.moments_.columns.treatments)
        history, own = self._history, said_by(self)
        names = [] if history is None else list(history.names)
        if not (name is None or isinstance(name, str)):
            raise TypeError(f"name must be a string; got {name!r}.")
        if name in names:
            raise ValueError(f"name must not be that of an earlier experiment; got {name!r}.")
        name = name or unused_name(names)
        index = [*names, name]
        warn_of_weak({name: own}, several=len(treatments) > 1)
        parameters = self.get_params(deep=False)
        before = {} if history is None else history.parameters()
        rows = {"effects": own.effects, "std_errors": own.std_errors}
        for table, row in rows.items():
            values = [*before.pop(table, ()), row]
            parameters[table] = pd.DataFrame(values, index=index, columns=treatments)
        likelihoods = before.pop("likelihoods", {})
        if own.likelihood is not None and len(treatments) == 1:
            likelihoods[name] = own.likelihood
        f = [*before.pop("first_stage_f", ()), np.nan]
        parameters["first_stage_f"] = None if np.isnan(f).all() else pd.Series(f, index=index)
        return type(self)(**parameters | before | {"likelihoods": likelihoods or None})

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
        self._check_one("borrowing")
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
        if self._segmented:
            history = self._design.population.history
            return history if history.n_experiments else None
        return self._model.history if isinstance(self._model, HistoryModel) else None

    def _build_model(self, sums: Sums) -> Model:
        model = build_model(self, sums)
        history = build_history(self, sums.columns.treatments)
        return model if history is None else with_history(model, history, self.robust_weight)

    def _check_interval(self, data: IVData | NamedFrame | None = None) -> None:
        super()._check_interval(data)
        history = self._history
        weak = [] if history is None or not self.check else history.misjudged
        if history is not None and weak:
            found = WeakInstrumentWarning(
                f"{len(weak)} of {history.n_experiments} earlier experiments have a first-stage F "
                f"below {WEAK_F:g} ({', '.join(weak[:SHOWN])}): an effect and a standard error are "
                "no summary of what they say, and many of them are confidently wrong. Fit them and "
                "use from_estimators, which carries their likelihoods, or leave them out."
            )
            warn_of((found,))
            self.warnings_ = (*self.warnings_, found)

    def _accept(self, posterior: Posterior) -> None:
        super()._accept(posterior)
        self._alone = None
        self.exchangeable_probability_ = posterior.exchangeable_probability or 0.0
        if self._segmented:
            self.exchangeable_probability_ = 1.0
        elif self._history is not None:
            warn_of_conflict(self, self._history)
        elif self.n_treatments_:
            warnings.warn(NO_HISTORY, UserWarning, skip_file_prefixes=OURS)
