"""What rows and draws say together: densities, simulated outcomes, intervals."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from skbayesiv._data.checks import check_length, check_level, check_outcome, check_weights
from skbayesiv._data.rows import IVData, second_is_outcome
from skbayesiv._estimators.batches import SumsEstimator
from skbayesiv._estimators.call_forms import NEED_ROUTING
from skbayesiv._models.parts.model import Model
from skbayesiv._reports.fitted import effect_draws
from skbayesiv._results.predictive import (
    NewRows,
    check_n_draws,
    evenly_spaced,
    log_predictive,
    mean_log_predictive,
    pointwise_log_likelihood,
    predictive_std,
    simulate,
)
from skbayesiv._results.tree import by_chain
from skbayesiv._typing import Array, Values

PREDICTIVE_DIMS = {"y": ("row",), "t": ("row", "treatment"), "y_t": ("row",)}


class PredictiveMethods(SumsEstimator):
    """Predictions of a posterior; a subclass sets `_tree_`, `moments_` and `_model`.

    `_tree_` is a function without arguments that builds the tree, or the tree: building it takes
    as long as drawing what is in it, so that it is built when `idata_` is first looked at.
    """

    _tree_: Any
    _model: Model
    likelihood: str

    @property
    def idata_(self) -> Any:
        """Draws of the posterior, with their statistics, densities and data."""
        check_is_fitted(self)
        if callable(self._tree_):
            self._tree_ = self._tree_()
        return self._tree_

    def log_likelihood(
        self, X: Any, t: Any = None, y: Any = None, *, z: Any = None, n_draws: int | None = None
    ) -> Any:
        """Pointwise log-likelihood: the joint density of (y, t) given z and X.

        Each row counts once: with frequency weights multiply by these, and the sum over rows is
        the total that `idata_` holds.

        Parameters
        ----------
        X, t, y, z
            Rows, as in ``fit(X, t, y, z=z)``.
        n_draws : int, optional
            Use about this many evenly spaced draws instead of all.

        Returns
        -------
        xarray.DataTree
            Group ``log_likelihood`` with `y_t` of dims (chain, draw, row). Merge it with
            ``est.idata_.copy()`` through ``update`` for `arviz.loo`; it then takes the place of
            the total that `idata_` holds.

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If t, z or y is missing, if the rows are not as in `fit`, if `n_draws` is not positive,
            or with ``likelihood="gmm"``, which gives rows no density.
        """
        rows = self._observed_rows(X, t, y, z, "log_likelihood")
        values = self._draws(n_draws)
        return self._tree("log_likelihood", {"y_t": pointwise_log_likelihood(values, rows)})

    def log_predictive_density(self, X: Any, t: Any = None, y: Any = None, *, z: Any = None) -> Any:
        """Log of the posterior predictive density of each row's (y, t) given z and X.

        Parameters
        ----------
        X, t, y, z
            Rows, as in ``fit(X, t, y, z=z)``.

        Returns
        -------
        ndarray of shape (n_samples,)
        """
        rows = self._observed_rows(X, t, y, z, "log_predictive_density")
        return log_predictive(self._draws(None), rows)

    def _mean_log_predictive(self, X: Any, t: Any, y: Any, z: Any, sample_weight: Any) -> float:
        """Weighted mean of `log_predictive_density`, at a cost that hardly grows with the rows."""
        rows = self._observed_rows(X, t, y, z, "log_predictive_density")
        assert rows.t is not None
        assert rows.y is not None
        weight = check_weights(sample_weight, len(rows.y))
        data = IVData(rows.x, rows.z, rows.t, rows.y, weight, self.moments_.columns)
        return mean_log_predictive(self._draws(None), data)

    def sample_posterior_predictive(
        self,
        X: Any = None,
        t: Any = None,
        *,
        z: Any = None,
        given: str = "all",
        n_draws: int | None = 500,
        random_state: Any = None,
    ) -> Any:
        """Simulate outcomes from the posterior.

        Given z, both y and t are simulated. Given t and z, y is simulated given both: its error
        follows the treatment's. Given t alone, the treatment is set, as in do(t). Direct effects
        of the instruments are taken at z, or at its mean in the fit when it is not passed.

        Parameters
        ----------
        X, t, z
            Rows, as in `predict`.
        given : {"all", "do", "z"}, default="all"
            What to condition on: all of t and z that is passed or, in column mode, that X holds;
            do(t), with z for direct effects of the instruments only; or z, without t.
        n_draws : int or None, default=500
            Use about this many evenly spaced draws; None uses all.
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        xarray.DataTree
            Group ``posterior_predictive`` with `y`, and `t` where it was simulated.
        """
        self._check_density("sample_posterior_predictive")
        if given not in ("all", "do", "z"):
            raise ValueError(f'given must be "all", "do" or "z"; got {given!r}.')
        rows = self._predictive_rows(X, t, z, given)
        generator = np.random.default_rng(_seed(random_state))
        simulated = simulate(self._draws(n_draws), rows, generator)
        return self._tree("posterior_predictive", simulated)

    def sample_prior_predictive(
        self, X: Any = None, *, z: Any = None, n_draws: int = 500, random_state: Any = None
    ) -> Any:
        """Draw the parameters from their priors and, given rows, outcomes from these.

        Parameters
        ----------
        X, z
            Rows to simulate y and t for; without them only the parameters are drawn, those that
            have a proper prior. With ``likelihood="gmm"``, or segments, they must be None.
        n_draws : int, default=500
        random_state : int, RandomState instance or None, default=None

        Returns
        -------
        xarray.DataTree
            Groups ``prior`` and, given rows, ``prior_predictive``.
        """
        check_is_fitted(self)
        check_n_draws(n_draws)
        rows = None
        if X is not None or z is not None:
            self._check_density("sample_prior_predictive of rows")
            rows = self._predictive_rows(X, None, z, "z")
        import xarray as xr

        generator = np.random.default_rng(_seed(random_state))
        values = self._model.prior_draws(n_draws, generator)
        by_segment = self._by_segment(values)
        groups = {"prior": by_chain(values, 1, self._model.coords, by_segment=by_segment)}
        if rows is not None:
            simulated = simulate(values, rows, generator)
            groups["prior_predictive"] = by_chain(simulated, 1, self._model.coords, PREDICTIVE_DIMS)
        return xr.DataTree.from_dict(groups)

    def predict_interval(self, X: Any, t: Any = None, z: Any = None, level: float = 0.95) -> Array:
        """Equal-tailed predictive interval of the outcome.

        Parameters
        ----------
        X, t, z
            As in `predict`: the outcome under do(t), or given z. Direct effects of the
            instruments are taken at z, or at its mean in the fit when it is not passed.
        level : float, default=0.95

        Returns
        -------
        ndarray of shape (n_samples, 2)

        Raises
        ------
        NotFittedError
            If the estimator is not fitted.
        ValueError
            If neither t nor z is given, if the rows are not as in `fit`, if `level` is not between
            0 and 1, or with ``likelihood="gmm"``, which gives rows no density.
        """
        self._check_density("predict_interval")
        tails = _tails(level)
        rows = self._predictive_rows(X, t, z, "do or z")
        values = self._draws(None)
        generator = np.random.default_rng(0)
        parts = [
            np.quantile(simulate(values, chunk, generator)["y"], tails, axis=0).T
            for chunk in rows.chunks(4 * len(values["beta_t"]))
        ]
        return np.concatenate(parts)

    def effect_interval(self, t0: Any = 0.0, t1: Any = None, level: float = 0.95) -> Array:
        """Equal-tailed posterior interval of the effect of moving the treatment from t0 to t1.

        Of a fit with segments it is that of the average effect over the compliers, `effect_`.

        Parameters
        ----------
        t0, t1 : float or array-like of shape (K,)
            By default from 0 to 1, each of several treatments alone.
        level : float, default=0.95

        Returns
        -------
        ndarray of shape (2,), or (K, 2) for each treatment alone
        """
        steps = self._steps(t0, t1)
        draws = effect_draws(self) @ steps.T
        return np.asarray(np.quantile(draws, _tails(level), axis=0)).T

    def _predictive_std(self, x: Array, t: Array | None, z: Array | None) -> Array:
        """Standard deviation of y: the posterior's of the mean, and the error's."""
        rows = NewRows(x, self._instruments(z, x.shape[0]), t)
        return predictive_std(self._draws(None), rows)

    def _draws(self, n_draws: int | None) -> Values:
        """Draws of the parameters by name, flat; zero columns restored."""
        check_is_fitted(self)
        posterior = self.idata_.posterior
        values = {str(name): posterior[name].to_numpy() for name in posterior.data_vars}
        values.setdefault("beta_t", np.empty((*values["cov"].shape[:2], 0)))
        return evenly_spaced(values, values["cov"].shape[0], n_draws)

    def _by_segment(self, names: Collection[str]) -> Collection[str]:
        """Variables that are there for each segment: none."""
        return ()

    def _tree(self, group: str, values: Values) -> Any:
        import xarray as xr

        chains = self.idata_.posterior.sizes["chain"]
        data = by_chain(values, chains, self._model.coords, PREDICTIVE_DIMS)
        return xr.DataTree.from_dict({group: data})

    def _predictive_rows(self, X: Any, t: Any, z: Any, given: str) -> NewRows:
        """Rows with what they are conditioned on; "do or z" prefers do(t), as `predict` does."""
        x, t, z = self._new_rows(X, t, z)
        if given == "z":
            t = None
        missing = {"z": z, "do": t}.get(given, x) is None
        if self.n_treatments_ and missing:
            what = "z" if given == "z" else "t"
            raise ValueError(f'{what} must be passed with given="{given}"; got {what}=None.')
        do = t is not None and (z is None or given in ("do", "do or z"))
        return NewRows(x, self._instruments(z, x.shape[0]), t, do=do)

    def _instruments(self, z: Array | None, n_rows: int) -> Array:
        """Return z, or else its mean in the fit, at which direct effects are then taken."""
        if z is not None:
            return z
        return np.tile(self.moments_.mean[self.moments_.columns.z], (n_rows, 1))

    def _check_density(self, what: str) -> None:
        check_is_fitted(self)
        if not self._model.has_density:
            raise ValueError(
                f'{what} is not defined with likelihood="{self.likelihood}": a quasi-posterior '
                "rests on moment conditions and gives rows no density. For held-out densities and "
                'simulated rows use likelihood="normal"; score (R^2 of E[y | X, z]) compares fits '
                "of both."
            )

    def _observed_rows(self, X: Any, t: Any, y: Any, z: Any, what: str) -> NewRows:
        self._check_density(what)
        t, y = second_is_outcome(t, y, z)
        if self.n_treatments_ and self.treatment is None and (t is None or z is None):
            raise ValueError(
                "t and z must both be given: the density is of (y, t) given z and X. "
                f"{NEED_ROUTING}"
            )
        x, t, z = self._new_rows(X, t, z)
        empty = np.empty((x.shape[0], 0))
        y = check_outcome(y)
        check_length(y, "y", x.shape[0])
        return NewRows(x, empty if z is None else z, empty if t is None else t, y)


def _tails(level: float) -> list[float]:
    """Probabilities of an equal-tailed interval's ends."""
    check_level(level)
    return [(1 - level) / 2, (1 + level) / 2]


def _seed(random_state: Any) -> int:
    try:
        return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    except (TypeError, ValueError) as error:
        raise ValueError(
            "random_state must be None, a RandomState or a whole number below 2^32; got "
            f"{random_state!r}."
        ) from error
