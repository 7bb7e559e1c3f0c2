"""Evidence and what an interval allows for -> what the reader must be told."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from skbayesiv._honesty.evidence import DOUBT, STRONG, Evidence, bias_by_number
from skbayesiv.exceptions import (
    OURS,
    FewClustersWarning,
    HeteroskedasticityWarning,
    IgnoredClustersWarning,
    InferenceWarning,
    ManyInstrumentsWarning,
    WeakInstrumentWarning,
)

DIFFERENT = 0.20  # robust and classical standard errors differ by more
SIGNIFICANT = 2.0  # and by more than chance, in standard errors of the difference
ENOUGH_CLUSTERS = 40
CLUSTERS_BEYOND_DOUBT = 1000
ENOUGH_DOF = 20
BIASED = 0.5  # standard errors: at worst a 95% interval covers 92%
MANY = 0.2  # instruments for each independent unit
BIAS_REDUCED = 'TwoStageLS(cov_type="CR2") with fit(..., clusters=...)'
CLUSTERED = "TwoStageLS() with fit(..., clusters=...)"


@dataclass(frozen=True)
class Allows:
    """What an interval allows for.

    Attributes
    ----------
    uneven : bool
        Errors of unequal variances.
    clusters : bool
        Errors that are correlated within clusters.
    few_clusters : bool
        And these few.
    many : bool
        Instruments whose number biases two-stage least squares.
    posterior : bool
        Whether it is a posterior's, not an estimate's.
    """

    uneven: bool
    clusters: bool
    few_clusters: bool = False
    many: bool = False
    posterior: bool = True


def findings(evidence: Evidence | None, allows: Allows) -> tuple[InferenceWarning, ...]:
    """All that is wrong, each cause once."""
    if evidence is None:
        return ()
    found = [*_instruments(evidence, allows), *_clusters(evidence, allows)]
    if not found:
        found = [*_spread(evidence, allows)]
    if not evidence.weakness:
        found += evidence.weighted_effect
    return tuple(found)


def beyond_doubt(correlation: float, dof: float, n_instruments: int) -> bool:
    """Whether instruments are strong and few enough whatever the variances of the errors.

    Parameters
    ----------
    correlation : float
        Smallest canonical correlation of treatments and instruments, given the covariates.
    dof : float
        Residual degrees of freedom of the first stage.
    n_instruments : int
    """
    if dof <= 0.0:
        return False
    left = 1.0 - correlation**2
    f = dof * correlation**2 / left / n_instruments / DOUBT if left > 0.0 else np.inf
    if f <= STRONG:
        return False
    few = n_instruments <= MANY * dof and bias_by_number(n_instruments, f) <= BIASED
    return n_instruments == 1 or few


def warn_of(found: Iterable[InferenceWarning]) -> None:
    """Warn of findings, pointing at the user's line."""
    for warning in found:
        warnings.warn(warning, skip_file_prefixes=OURS)


def robust_set(evidence: Evidence) -> str:
    """The confidence set that needs no strong instruments."""
    p = evidence.design
    if p.n_treatments > 1:
        return "skbayesiv.diagnostics.anderson_rubin, which tests all effects at once"
    name = "anderson_rubin" if p.n_instruments == 1 else "conditional_likelihood_ratio"
    return f"skbayesiv.diagnostics.{name}_confidence_set"


def _instruments(evidence: Evidence, allows: Allows) -> Iterator[InferenceWarning]:
    """Weak, or strong but too many."""
    if evidence.weakness:
        leans = allows.posterior and allows.many
        then = "leans on its priors" if leans else "can cover far less than it says"
        yield WeakInstrumentWarning(
            f"The instruments may be weak: {evidence.weakness}. The interval of the effect then "
            f"{then}: report {robust_set(evidence)}, which needs no strong instruments."
        )
        return
    q, report = evidence.design.n_instruments, f"report {robust_set(evidence)}"
    bias = 0.0 if allows.many else evidence.many
    if bias > BIASED:
        refit = 'refit with likelihood="gmm"' if allows.posterior else 'use method="liml"'
        yield ManyInstrumentsWarning(
            f"{q} instruments are many for an effective F of {evidence.f:.3g}: they can bias the "
            f"estimate by {bias:.2g} standard errors: {report}, or {refit}."
        )
    elif q > 1 and q > MANY * evidence.n_units:
        yield ManyInstrumentsWarning(
            f"{q} instruments are many for {evidence.n_units:.12g} {_units(evidence)}, one for "
            f"every {evidence.n_units / q:.2g}, fewer than {1.0 / MANY:g}: {report}."
        )


def _units(evidence: Evidence) -> str:
    return "clusters" if evidence.design.n_clusters else "observations"


def _clusters(evidence: Evidence, allows: Allows) -> Iterator[InferenceWarning]:
    """Ignored, or few."""
    g = evidence.design.n_clusters
    if g is None:
        return
    few = "" if allows.few_clusters else _few(g, evidence)
    if not allows.clusters:
        who = "likelihood" if allows.posterior else "standard error"
        enough = 'likelihood="gmm" with fit(..., clusters=...)' if allows.posterior else CLUSTERED
        refit = BIAS_REDUCED if few else enough
        spread = evidence.spread
        by = ""
        if spread is not None:
            k = int(np.argmax(np.abs(spread.ratio - 1.0)))
            by = (
                f": the clustered standard error of 2SLS is {spread.robust[k]:.3g}, the classical "
                f"one {spread.classical[k]:.3g}"
            )
        yield IgnoredClustersWarning(
            f"The {who} takes rows as independent and ignores the {g} clusters{by}. Use {refit}."
        )
    elif few:
        effect = "wide with its prior's tails" if allows.posterior else "too narrow"
        yield FewClustersWarning(
            f"{few}: the covariance between them is not known well, and the interval is {effect}. "
            f"Report {BIAS_REDUCED}, whose t distribution allows for it, or "
            "skbayesiv.diagnostics.anderson_rubin_confidence_set."
        )


def _few(g: int, evidence: Evidence) -> str:
    """Why clusters are few; empty if they are not."""
    if g < ENOUGH_CLUSTERS:
        return f"There are {g} clusters, below {ENOUGH_CLUSTERS}"
    if g < CLUSTERS_BEYOND_DOUBT and evidence.cluster_dof < ENOUGH_DOF:
        return (
            f"Few of the {g} clusters decide the effect, as few assigned ones do: its t statistic "
            f"has {evidence.cluster_dof:.2g} degrees of freedom, below {ENOUGH_DOF}"
        )
    return ""


def _spread(evidence: Evidence, allows: Allows) -> Iterator[InferenceWarning]:
    """Standard errors that tell that the errors' variances are not equal."""
    spread = None if allows.uneven else evidence.spread
    if spread is None:
        return
    apart = np.where(np.abs(spread.t) > SIGNIFICANT, np.abs(spread.ratio - 1.0), 0.0)
    k = int(np.argmax(apart))
    if apart[k] > DIFFERENT:
        side = "narrow" if spread.ratio[k] > 1.0 else "wide"
        refit = (
            'report TwoStageLS() with its robust interval, or refit with likelihood="gmm"'
            if allows.posterior
            else 'set cov_type="robust"'
        )
        yield HeteroskedasticityWarning(
            f"The robust standard error of the effect of {evidence.design.treatments[k]} is "
            f"{spread.robust[k]:.3g}, the classical one {spread.classical[k]:.3g}: "
            f"{abs(spread.ratio[k] - 1.0):.0%} apart. The interval assumes errors of one variance "
            f"and is that much too {side}: {refit}."
        )
