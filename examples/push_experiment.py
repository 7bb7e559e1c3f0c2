"""The effect of a push notification when assignment does not force delivery
==========================================================================

The whole analysis as one script, with tables only.

Ten thousand customers were assigned to a push notification by a coin flip. Three in ten of those
assigned never received it, and they differ from the others: comparing those who received the
push with those who did not is biased. The assignment is an instrument.

Run it on the built-in reconstruction of the data, or on a file with the same columns::

    python examples/push_experiment.py --csv app_engagement_push.csv
"""

from __future__ import annotations

import argparse
import warnings

import pandas as pd

from skbayesiv import BayesianIV, HierarchicalBayesianIV, TwoStageLS
from skbayesiv.datasets import load_push_experiment
from skbayesiv.exceptions import NoTreatmentWarning

OUTCOME, ASSIGNED, DELIVERED = "in_app_purchase", "push_assigned", "push_delivered"

NOTEBOOK_PRIORS = {
    "intercept_y_loc": 50,
    "intercept_y_scale": 10,
    "intercept_t_loc": 0,
    "intercept_t_scale": 1,
    "beta_t_scale": 10,
    "beta_z_scale": 10,
    "sigma_scale": 2,
    "lkj_eta": 2,
    "intercept_prior": "raw",
}

EARLIER_EFFECTS = [3.4, 3.6, 4.25, 4.0, 3.9]
EARLIER_ERRORS = [0.5, 0.55, 0.6, 0.45, 0.44]
HYPER_PRIORS = {"beta_t_bar_loc": 4, "beta_t_bar_scale": 2, "sigma_t_bar_scale": 2}
SEED = 20


def title(text: str) -> None:
    """Print a heading."""
    print(f"\n{text}\n{'-' * len(text)}")


def print_group_means(frame: pd.DataFrame) -> None:
    """Mean outcome by assignment and by delivery."""
    title("Outcome by group")
    for column in (ASSIGNED, DELIVERED):
        table = frame.groupby(column)[OUTCOME].agg(["size", "mean", "std"])
        print(table.to_string(float_format="%.6f"), "\n")
    share = frame.loc[frame[ASSIGNED] == 1, DELIVERED].mean()
    print(f"Delivered among the assigned: {share:.1%}")


def print_least_squares(frame: pd.DataFrame) -> None:
    """Regress on assignment, on delivery, and on both."""
    for columns in ([ASSIGNED], [DELIVERED], [ASSIGNED, DELIVERED]):
        title(f"OLS: {OUTCOME} ~ {' + '.join(columns)}")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NoTreatmentWarning)
            print(TwoStageLS().fit(frame[columns], frame[OUTCOME]).summary())


def print_posterior(est: BayesianIV) -> None:
    """Table of the posterior and the number of divergences."""
    print(est.summary(round_to=4).to_string())
    print(f"\nDivergences: {int(est.idata_.sample_stats['diverging'].sum())}")


def main() -> None:
    """Print the whole analysis."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--csv", metavar="PATH", help="a CSV with the columns of the experiment")
    parser.add_argument("--draws", type=int, default=4000, help="draws of each of four chains")
    options = parser.parse_args()
    sampling = {"draws": options.draws, "random_state": SEED}
    path = options.csv
    frame = pd.read_csv(path) if path else load_push_experiment(as_frame=True).frame

    print_group_means(frame)
    print_least_squares(frame)
    t, y, z = frame[DELIVERED], frame[OUTCOME], frame[ASSIGNED]

    title("Two-stage least squares: delivery instrumented by assignment")
    two_stage = TwoStageLS().fit(None, t, y, z=z)
    print(two_stage.summary())

    title("Bayesian instrumental variables, the published notebook's priors")
    bayes = BayesianIV(**NOTEBOOK_PRIORS, **sampling).fit(None, t, y, z=z)
    print_posterior(bayes)

    title("The effect: posterior next to the classical interval")
    low, high = two_stage.conf_int(level=0.94).loc[DELIVERED]
    lower, upper = bayes.effect_interval(level=0.94)
    print(f"2SLS     {two_stage.effect_:.4f}   94% interval [{low:.4f}, {high:.4f}]")
    print(f"Bayes    {bayes.effect_:.4f}   94% interval [{lower:.4f}, {upper:.4f}]")

    criterion = BayesianIV(likelihood="gmm", **sampling).fit(None, t, y, z=z)
    lower, upper = criterion.effect_interval(level=0.94)
    print(f"Moments  {criterion.effect_:.4f}   94% interval [{lower:.4f}, {upper:.4f}]")
    print('(the last with likelihood="gmm", which assumes E[z e] = 0 only)')

    title("Correlation of the errors")
    corr = bayes.idata_.posterior["corr"].sel(equation=OUTCOME, equation_=DELIVERED)
    print(f"{float(corr.mean()):.4f} (sd {float(corr.std()):.4f})")
    print("Positive: customers who receive the push would have bought more even without it.")

    title("With five earlier experiments")
    hierarchical = HierarchicalBayesianIV(
        EARLIER_EFFECTS, EARLIER_ERRORS, **HYPER_PRIORS, **NOTEBOOK_PRIORS, **sampling
    ).fit(None, t, y, z=z)
    print_posterior(hierarchical)

    title("What the earlier experiments contribute")
    print(hierarchical.borrowing())


if __name__ == "__main__":
    main()
