"""The figure of the documentation's front page; the README shows it as _static/effect.png."""

from skbayesiv import BayesianIV, HierarchicalBayesianIV, TwoStageLS
from skbayesiv.datasets import load_push_experiment
from skbayesiv.plotting import EffectComparisonDisplay

X, t, y, z = load_push_experiment(return_X_t_y_z=True, as_frame=True)
history = {
    "effects": [3.4, 3.6, 4.25, 4.0, 3.9],
    "std_errors": [0.5, 0.55, 0.6, 0.45, 0.44],
}
display = EffectComparisonDisplay.from_estimators(
    {
        "This experiment alone": BayesianIV(random_state=0).fit(X, t, y, z=z),
        "With five earlier experiments": HierarchicalBayesianIV(**history, random_state=0).fit(
            X, t, y, z=z
        ),
    },
    two_stage=TwoStageLS().fit(X, t, y, z=z),
)
