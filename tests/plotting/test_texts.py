"""What each figure says: titles, labels, legends, and the words inside."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from figures import DRAW

PUSH = "effect of push_delivered on in_app_purchase"
MEANS = ("least squares", "mean, 95% interval")
TWO_STAGE = ("2SLS 3.29", "94% CI [1.95, 4.64]")
EARLIER = tuple(f"earlier {j}: {b:g}" for j, b in enumerate((3.4, 3.6, 4.25, 4.0, 3.9)))


@dataclass(frozen=True)
class Panel:
    """Texts of one axes."""

    title: str = ""
    x: str = ""
    y: str = ""
    legend: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()

    @classmethod
    def of(cls, axis):
        legend = axis.get_legend()
        return cls(
            axis.get_title() or axis.get_title(loc="left"),
            axis.get_xlabel(),
            axis.get_ylabel(),
            tuple(text.get_text() for text in legend.get_texts()) if legend else (),
            tuple(text.get_text() for text in axis.texts if text.get_text()),
        )


def drawn(density):
    """Legend of a posterior: its mean and its interval."""
    return (
        f"posterior, mean {density.mean:.3g}",
        f"94% HDI [{density.lower:.3g}, {density.upper:.3g}]",
    )


def outcome(_):
    by_z = ("0  (5,057 rows, mean 69.29)", "1  (4,943 rows, mean 71.66)")
    by_t = ("0  (6,453 rows, mean 65.52)", "1  (3,547 rows, mean 79.45)")
    title = "in_app_purchase by push_assigned and by push_delivered"
    return [
        Panel(title, "", "rows per bin", by_z),
        Panel("", "in_app_purchase", "rows per bin", by_t),
    ]


def first_stage(_):
    return [
        Panel("First stage: slope 0.7176", "push_assigned", "mean of push_delivered", MEANS),
        Panel("Reduced form: slope 2.364", "push_assigned", "mean of in_app_purchase", MEANS),
    ]


def several_instruments(display):
    x = "t as 2 instruments predict it, given X"
    slope = f"Reduced form: slope {display.effect:.4g}"  # that of the first stage is one
    return [
        Panel("First stage: slope 1", x, "mean of t", MEANS),
        Panel(slope, x, "mean of y", MEANS),
    ]


def diagram(*names):
    return lambda _: [Panel("Causal diagram (dashed: not observed)", inside=names)]


def effect(*legend):
    return lambda d: [
        Panel("Posterior of the effect", PUSH, "density", (*drawn(d.posterior), *legend))
    ]


def correlation(display):
    return [
        Panel(
            "Posterior of the error correlation",
            "correlation of the errors of in_app_purchase and push_delivered",
            "density",
            (*drawn(display.posterior), "no confounding"),
        )
    ]


def errors(_):
    regions = ("95%", "80%", "60%", "40%", "20%")
    joint = Panel("", "error of in_app_purchase", "error of push_delivered", inside=regions)
    return [Panel(), Panel(), joint, Panel()]


def comparison(display):
    alone, with_history = (drawn(each.posterior) for each in display.displays)
    return [
        Panel("Alone", "", "density", (*alone, *TWO_STAGE)),
        Panel("With history", PUSH, "density", (*with_history, *EARLIER)),
    ]


def prior_posterior(display):
    names = (
        "beta_t[push_delivered]",
        "beta_z[push_assigned, push_delivered]",
        "sigma[in_app_purchase]",
        "sigma[push_delivered]",
        "corr[in_app_purchase, push_delivered]",
    )
    widths = [f"prior {panel.width_ratio:.3g} times as wide" for panel in display.panels]
    return [Panel(w, name, "density / peak") for w, name in zip(widths, names, strict=True)]


def one(*texts, **more):
    return lambda _: [Panel(*texts, **more)]


SAYS = {
    "OutcomeDisplay": outcome,
    "ComplianceDisplay": one(
        "push_delivered by push_assigned",
        "push_assigned",
        "rows",
        ("0", "1"),
        ("100.0%", "28.2%", "0.0%", "71.8%"),
    ),
    "FirstStageDisplay": first_stage,
    "FirstStageDisplay, simulated": several_instruments,
    "CausalDiagramDisplay": diagram("push_assigned", "push_delivered", "in_app_purchase", "income"),
    "CausalDiagramDisplay, all edges": diagram(
        "z0, z1", "t", "y", "age,\nincome,\nregion,\nand 1 more", "unobserved"
    ),
    "EffectDisplay": effect(*TWO_STAGE),
    "EffectDisplay, history": effect(*TWO_STAGE, *EARLIER),
    "CorrelationDisplay": correlation,
    "ErrorDensityDisplay": errors,
    "EffectForestDisplay": one(
        "Effects with 94% intervals",
        PUSH,
        "",
        (
            TWO_STAGE[0],
            "earlier experiments, as reported",
            "mean effect, posterior",
            "this experiment, posterior",
        ),
    ),
    "EffectComparisonDisplay": comparison,
    "ExclusionSensitivityDisplay": one(
        "If the instrument is not quite excluded",
        "prior sd of the instrument's direct effect on outcome",
        "effect",
        ("95% interval", "posterior mean", "no effect"),
    ),
    "PriorPosteriorDisplay": prior_posterior,
    "PriorSensitivityDisplay": one(
        "What the posterior leans on",
        f"sensitivity (power scaling) of the\n{PUSH}",
        "",
        ("matters above 0.05", "prior", "likelihood"),
    ),
    "CrossValidationDisplay": one(
        "Cross-validation over beta_t_scale",
        "beta_t_scale",
        "held-out score\n(mean of 2 folds)",
        ("best: 10", "mean and standard error"),
    ),
}
ROWS = {
    "EffectForestDisplay": [
        *(f"experiment {j}" for j in range(5)),
        "beta_t_bar (mean effect)",
        "beta_t (this effect)",
    ],
    "PriorSensitivityDisplay": [
        *("intercept_y", "intercept_t", "beta_t", "beta_z", "beta_z_sd", "sigma", "corr"),
        *("beta_t_bar", "sigma_t_bar", "beta_j", "this experiment", "earlier experiments"),
    ],
}


@pytest.mark.parametrize("name", SAYS)
def test_what_a_figure_says(name, request):
    display = DRAW[name](request.getfixturevalue)
    assert type(display).__name__ == name.split(",")[0]
    assert [Panel.of(axis) for axis in display.figure_.axes] == SAYS[name](display)


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_named(name, request):
    display = DRAW[name](request.getfixturevalue)
    assert [text.get_text() for text in display.ax_.get_yticklabels()] == ROWS[name]


def test_words_beside_the_panels(request):
    """Titles and legends of whole figures."""
    errors, prior, trace = (
        DRAW[name](request.getfixturevalue).figure_
        for name in ("ErrorDensityDisplay", "PriorPosteriorDisplay", "TraceDisplay")
    )
    assert errors.get_suptitle() == "Joint density of the errors (correlation 0.30)"
    (legend,) = prior.legends
    assert [text.get_text() for text in legend.get_texts()] == ["posterior", "prior"]
    assert trace.get_suptitle() == "Chains: densities, and ranks less their expectation"
    named = [axis.get_title(loc="left") for axis in trace.axes]
    assert named == ["beta_t[push_delivered]", "", "beta_z[push_assigned, push_delivered]", ""]
