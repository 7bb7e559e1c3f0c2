"""What can be asked of a fitted posterior: tables, diagnosis, priors."""

from __future__ import annotations

from typing import Any

from sklearn.utils.validation import check_is_fitted

from skbayesiv._data.checks import check_level
from skbayesiv._estimators.pickling import pack_tree, unpack_tree
from skbayesiv._estimators.predictive_methods import PredictiveMethods
from skbayesiv._models.parts.priors import PriorRow
from skbayesiv._reports.caveats import PosteriorTable
from skbayesiv._reports.diagnosis import Diagnosis, diagnose
from skbayesiv._reports.given_rows import given_rows
from skbayesiv._sampling.libraries import load_jax
from skbayesiv._typing import is_whole


class PosteriorMethods(PredictiveMethods):
    """Tables of a posterior, and its way through serialisers."""

    def _check_one(self, what: str) -> None:
        """Raise if `what` cannot be asked, as the fit is of more than one experiment."""

    def __getstate__(self) -> dict[str, Any]:
        state = super().__getstate__()
        if "_tree_" in state:
            state["_tree_"] = pack_tree(self.idata_)
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "_tree_" in state:
            self._tree_ = unpack_tree(self._tree_)

    def summary(
        self,
        var_names: list[str] | None = None,
        ci_prob: float = 0.94,
        ci_kind: str = "hdi",
        round_to: Any = "auto",
    ) -> Any:
        """Table of the posterior: mean, sd, interval, Monte Carlo errors, ESS and R-hat.

        Parameters
        ----------
        var_names : list of str, optional
            Variables of the posterior; by default all but `corr` and `cov`.
        ci_prob : float, default=0.94
            Probability of the interval.
        ci_kind : {"hdi", "eti"}, default="hdi"
            Highest-density or equal-tailed interval.
        round_to : int or "auto", default="auto"
            Digits after the point; "auto" shows those that the Monte Carlo error supports.

        Returns
        -------
        pandas.DataFrame
            Without R-hat when there is one chain, for it compares chains. What the fit warned of
            (`warnings_`) prints beneath.
        """
        check_is_fitted(self)
        load_jax()
        from arviz_stats.summary import summary

        found = [str(name) for name in self.idata_.posterior.data_vars]
        names = [name for name in found if name not in {"corr", "cov"}]
        if var_names is not None:
            names = [var_names] if isinstance(var_names, str) else var_names
        _check_summary(names, found, ci_prob, ci_kind, round_to)
        table = summary(
            self.idata_, var_names=names, ci_prob=ci_prob, ci_kind=ci_kind, round_to=round_to
        )
        if self.idata_.posterior.sizes["chain"] == 1:
            table = table.drop(columns="r_hat")
        return PosteriorTable.of(table, self.warnings_)

    def diagnose(
        self,
        X: Any = None,
        t: Any = None,
        y: Any = None,
        *,
        z: Any = None,
        sample_weight: Any = None,
        clusters: Any = None,
    ) -> Diagnosis:
        """Look at everything that can be wrong with the posterior, and warn of what is.

        Parameters
        ----------
        X, t, y, z, sample_weight, clusters
            Rows of the fit. What is robust to heteroskedasticity needs them; a fit keeps at most
            20,000, and without rows what follows from the moments is computed.

        Returns
        -------
        Diagnosis
            Strength of the instruments, R-hat, effective sample sizes and divergences, posterior
            of the errors' correlation, and the sensitivity of the effect to each component of
            the prior. Prints as tables.

        Warns
        -----
        InferenceWarning
            As `fit` does, here by all rows that were passed or kept.
        WeakInstrumentWarning
            Also if the effect's sensitivity to a component of the prior is above 0.05.
        """
        check_is_fitted(self)
        self._check_one("diagnose")
        return diagnose(self, given_rows(self, X, t, y, z, sample_weight, clusters))

    def prior_summary(self) -> Any:
        """Table of the priors that were used, with "auto" resolved, in the data's units.

        Returns
        -------
        pandas.DataFrame
            One row for each parameter, with columns distribution, loc and scale. Intercepts
            marked ``(centered)`` are the mean responses at the regressors' means.
        """
        check_is_fitted(self)
        import pandas as pd

        table = self._model.prior_table()
        return pd.DataFrame.from_dict(table, orient="index", columns=list(PriorRow._fields))


def _check_summary(names: Any, found: list[str], ci_prob: Any, ci_kind: Any, round_to: Any) -> None:
    """Raise unless arguments of `summary` are what ArviZ takes."""
    if not isinstance(names, list | tuple) or not all(name in found for name in map(str, names)):
        raise ValueError(f"var_names must be variables of the posterior, {found}; got {names!r}.")
    check_level(ci_prob, "ci_prob")
    if not isinstance(ci_kind, str) or ci_kind not in ("hdi", "eti"):
        raise ValueError(f"ci_kind must be 'hdi' or 'eti'; got {ci_kind!r}.")
    whole = is_whole(round_to)
    word = isinstance(round_to, str) and round_to in ("auto", "none")
    if not (whole or round_to is None or word):
        raise ValueError(f"round_to must be a whole number or 'auto'; got {round_to!r}.")
