"""BayesianIVCV: choose the prior scale of the effect by cross-validation, from sums alone."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from itertools import product
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from scipy.stats import rankdata
from sklearn.base import clone
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.validation import check_is_fitted

from skbayesiv._data.arrays import as_numbers
from skbayesiv._data.named import NamedFrame
from skbayesiv._data.rows import IVData
from skbayesiv._data.sums import Sums
from skbayesiv._estimators.base import BaseIV
from skbayesiv._estimators.bayesian import BayesianIV
from skbayesiv._estimators.progress import task
from skbayesiv._honesty.findings import Allows
from skbayesiv._linear.equation import Equation
from skbayesiv._models.build import LIKELIHOODS, Fold, check_sums, training_sums
from skbayesiv._models.sampling import Sampled, sample_models
from skbayesiv._results.predictive import mean_log_predictive
from skbayesiv._sampling.backends import needs_rows
from skbayesiv._sampling.target import PIECES
from skbayesiv._typing import Array, Values

DEFAULT = BayesianIV(backend="independence")
SCORES = ("r2", "log_predictive_density")
LAYOUT = ("n_features_in_", "feature_names_in_", "_features_", "n_treatments_", "n_instruments_")


def _of_best(name: str) -> Callable[..., Any]:
    """Make a method of BayesianIV's that asks the best estimator."""

    @functools.wraps(getattr(BayesianIV, name))
    def ask(self: Any, *args: Any, **kwargs: Any) -> Any:
        check_is_fitted(self)
        return getattr(self.best_estimator_, name)(*args, **kwargs)

    return ask


class BayesianIVCV(BaseIV):
    """BayesianIV with the prior scale of the effect chosen by cross-validation.

    It is to :class:`BayesianIV` as ``RidgeCV`` is to ``Ridge``. The rows are read once: the
    moments of a training set are the total less those of its fold, and no tree is built but the
    best estimator's. It chooses what ``GridSearchCV`` would with the same folds and scoring.

    Parameters
    ----------
    estimator : BayesianIV or HierarchicalBayesianIV, optional
        Template with all other parameters, its backend included;
        ``BayesianIV(backend="independence")``, which samples all candidates and folds at once, when
        None.
    beta_t_scale : array-like of float, default=(0.1, 1.0, 10.0)
        Candidates, in units of y per unit of t.
    cv : int, splitter or iterable, default=5
        As in scikit-learn's ``check_cv``.
    scoring : {"r2", "log_predictive_density"}, default="r2"
        R^2 of E[y | X, z], or the held-out joint log density of (y, t), which
        ``likelihood="gmm"`` does not define.
    n_jobs : int, optional
        Threads, as in joblib, for a backend that samples them one by one.

    Attributes
    ----------
    best_params_ : dict
    best_score_ : float
    best_index_ : int
    best_estimator_ : BayesianIV
        Fitted to all rows with the best scale.
    cv_results_ : dict of ndarray
        ``param_beta_t_scale``, ``params``, ``split<i>_test_score``, ``mean_test_score``,
        ``std_test_score``, ``rank_test_score``, as from ``GridSearchCV``.
    n_splits_ : int
    coef_, intercept_, effect_, first_stage_coef_, first_stage_intercept_, idata_, moments_
    n_treatments_, n_instruments_, n_features_in_, feature_names_in_
        Of `best_estimator_`.

    Examples
    --------
    >>> from skbayesiv import BayesianIV, BayesianIVCV
    >>> from skbayesiv.datasets import make_noncompliance
    >>> data = make_noncompliance(500, effect=1.0, random_state=0)
    >>> search = BayesianIVCV(
    ...     BayesianIV(random_state=0),
    ...     beta_t_scale=[0.01, 1.0],
    ...     scoring="log_predictive_density",
    ... ).fit(None, data.t, data.y, z=data.z)
    >>> search.best_params_
    {'beta_t_scale': 1.0}
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [BayesianIV, None],
        "beta_t_scale": ["array-like"],
        "cv": ["cv_object"],
        "scoring": [StrOptions(set(SCORES))],
        "n_jobs": [Integral, None],
    }

    best_estimator_: BayesianIV
    best_params_: dict[str, float]

    def __init__(
        self,
        estimator: Any = None,
        *,
        beta_t_scale: Any = (0.1, 1.0, 10.0),
        cv: Any = 5,
        scoring: str = "r2",
        n_jobs: int | None = None,
    ) -> None:
        self.estimator = estimator
        self.beta_t_scale = beta_t_scale
        self.cv = cv
        self.scoring = scoring
        self.n_jobs = n_jobs

    @property
    def _template(self) -> BayesianIV:
        return DEFAULT if self.estimator is None else self.estimator

    @property
    def treatment(self) -> Any:
        """Columns of X that hold the treatment, as the template has them."""
        return self._template.treatment

    @property
    def instruments(self) -> Any:
        """Columns of X that hold the instruments, as the template has them."""
        return self._template.instruments

    @property
    def covariates(self) -> Any:
        """Columns of X that are the covariates, as the template has them."""
        return self._template.covariates

    @property
    def sample_weight_type(self) -> str:
        """What weights are, as the template has it."""
        return self._template.sample_weight_type

    @property
    def idata_(self) -> Any:
        """Posterior of the best estimator."""
        check_is_fitted(self)
        return self.best_estimator_.idata_

    def _fit_data(self, data: IVData | NamedFrame) -> None:
        """Folds -> sums -> all posteriors -> scores -> the best, fitted to all rows."""
        if isinstance(data, NamedFrame):
            raise TypeError(
                f"X must be a frame in memory: {type(self).__name__} needs rows; got "
                f"{type(data.frame).__name__}."
            )
        self._check_scoring()
        scales = np.ravel(as_numbers(self.beta_t_scale, "beta_t_scale")).astype(float).tolist()
        if not scales:
            raise ValueError("beta_t_scale must list candidates; got none.")
        folds = _folds(self.cv, data)
        training = training_sums(self._template, data, folds)
        self.cv_results_ = _results(scales, self._scores(data, folds, training, scales))
        self.n_splits_ = len(folds)
        self.best_index_ = int(self.cv_results_["rank_test_score"].argmin())
        self.best_score_ = float(self.cv_results_["mean_test_score"][self.best_index_])
        self.best_params_ = {"beta_t_scale": scales[self.best_index_]}
        best = self._candidate(scales[self.best_index_])
        best.__dict__.update({name: vars(self)[name] for name in LAYOUT if name in vars(self)})
        with task(self, "best estimator", PIECES) as track, track.lent_to(best):
            best._fit_data(data)
        self.best_estimator_ = best
        self.moments_ = best.moments_
        for name in ("coef_", "intercept_", "first_stage_coef_", "first_stage_intercept_"):
            setattr(self, name, getattr(best, name))

    def _check_scoring(self) -> None:
        likelihood = self._template.likelihood
        if self.scoring != "r2" and not LIKELIHOODS[likelihood].density:
            raise ValueError(
                f'scoring must be "r2" with likelihood="{likelihood}": a quasi-posterior gives '
                f"rows no density; got {self.scoring!r}."
            )

    def _candidate(self, scale: float) -> BayesianIV:
        est: BayesianIV = clone(self._template).set_params(beta_t_scale=scale)
        est._validate_params()
        return est

    def _scores(
        self, data: IVData, folds: list[Fold], training: list[Sums], scales: list[float]
    ) -> Array:
        """Scores of shape (scales, folds)."""
        for sums in training:
            check_sums(self._template, sums)
        candidates = [self._candidate(scale) for scale in scales]
        backend, settings = candidates[0].backend, candidates[0]._settings()
        models = [est._build_model(sums) for est in candidates for sums in training]
        rows = [data.take(fold[0]) for fold in folds] * len(scales) if needs_rows(backend) else None
        held = [data.take(fold[1]) for fold in folds]
        with task(self, "folds", total=len(models)) as track:
            sampled = track(sample_models(models, backend, settings, rows, self.n_jobs, track))
            pairs = zip(product(candidates, held), sampled, strict=True)
            scores = [self._score(est, own, test) for (est, test), own in pairs]
        return np.reshape(scores, (len(scales), len(folds)))

    def _n_progress_steps(self) -> int:
        return 2

    def _score(self, est: BayesianIV, sampled: Sampled | Exception, held: IVData) -> float:
        """Score the posterior of a candidate on the rows that it did not see."""
        if isinstance(sampled, Exception):
            raise sampled
        values = sampled[1].values
        est._set_coefficients(values)
        return _SCORERS[self.scoring](est, values, held)

    summary = _of_best("summary")
    predict_interval = _of_best("predict_interval")
    effect_interval = _of_best("effect_interval")
    log_predictive_density = _of_best("log_predictive_density")
    _mean_log_predictive = _of_best("_mean_log_predictive")

    def _allows(self) -> Allows:
        return self.best_estimator_._allows()

    def _check_interval(self, data: IVData | NamedFrame | None = None) -> None:
        """Check the best estimator's, as its parameter says."""
        self.best_estimator_._check_interval(data)
        self.warnings_ = self.best_estimator_.warnings_

    def _reduced_form(self) -> tuple[float, Array]:
        return self.best_estimator_._reduced_form()

    def _direct_effect(self, z: Array | None) -> Array | float:
        return self.best_estimator_._direct_effect(z)

    def _predictive_std(self, x: Array, t: Array | None, z: Array | None) -> Array:
        return self.best_estimator_._predictive_std(x, t, z)

    def _effect_and_error(self) -> tuple[Array, Array]:
        return self.best_estimator_._effect_and_error()

    def _kept_rows(self) -> Equation | None:
        return self.best_estimator_._kept_rows()

    def _rows_or_moments(self) -> Equation:
        return self.best_estimator_._rows_or_moments()

    def _check_density(self, what: str) -> None:
        self.best_estimator_._check_density(what)


def _folds(cv: Any, data: IVData) -> list[Fold]:
    """Training and test rows of each fold."""
    from sklearn.model_selection import check_cv

    try:
        splitter = check_cv(cv, data.y, classifier=False)
        folds = list(splitter.split(np.empty((data.n_rows, 1)), data.y))
        if not folds:
            raise ValueError("it makes no folds")
        return folds
    except (TypeError, ValueError) as error:
        raise ValueError(f"cv must split {data.n_rows} rows; got {cv!r}: {error}") from error


def _r2(est: BayesianIV, values: Values, held: IVData) -> float:
    from sklearn.metrics import r2_score

    intercept, coef = est._reduced_form()
    predicted = intercept + np.column_stack([held.z, held.x]) @ coef
    return float(r2_score(held.y, predicted))


def _density(est: BayesianIV, values: Values, held: IVData) -> float:
    return mean_log_predictive(values, replace(held, sample_weight=None))


_SCORERS: dict[str, Callable[..., float]] = {"r2": _r2, "log_predictive_density": _density}


def _results(scales: list[float], scores: Array) -> dict[str, Any]:
    mean = scores.mean(axis=1)
    splits = {f"split{k}_test_score": scores[:, k] for k in range(scores.shape[1])}
    return {
        "param_beta_t_scale": np.ma.masked_array(scales, mask=False),
        "params": [{"beta_t_scale": scale} for scale in scales],
        **splits,
        "mean_test_score": mean,
        "std_test_score": scores.std(axis=1),
        "rank_test_score": rankdata(-mean, method="min").astype(np.int32),
    }
