"""Write ivmodels.json and ivmodels_conditional.json: figures of ivmodels on small data.

The first has Anderson-Rubin and Cragg-Donald statistics, the second conditional likelihood ratios.

Not a test, and ivmodels is not a dependency of the project. In an environment of its own:

    pip install ivmodels==0.10.0 && python generate_ivmodels.py
"""

import json
from pathlib import Path

import numpy as np
from ivmodels.confidence_set import ConfidenceSet
from ivmodels.tests import (
    anderson_rubin_test,
    conditional_likelihood_ratio_test,
    inverse_anderson_rubin_test,
    inverse_conditional_likelihood_ratio_test,
    rank_test,
)

# Name: (seed, number of instruments, first-stage coefficient, direct effect of instrument 0).
ONE_TREATMENT = {
    "interval": (0, 2, 1.0, 0.0),
    "rays": (22, 1, 0.2, 0.0),
    "line": (2, 1, 0.0, 0.0),
    "empty": (3, 3, 1.0, 2.5),
}
TWO_TREATMENTS = (4, 3)
CONDITIONAL = {
    "interval": (0, 2, 1.0, 0.0),
    "rays": (2, 5, 0.15, 0.0),
    "line": (2, 3, 0.0, 0.0),
    "interval of instruments that disagree": (1, 3, 1.0, 2.5),
}
N_ROWS = 40


def simulate(seed, n_instruments, n_treatments, strength, direct):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N_ROWS, 1))
    z = rng.normal(size=(N_ROWS, n_instruments)) + 0.5 * x
    first_stage = np.full((n_instruments, n_treatments), strength) * rng.uniform(
        0.5, 1.5, (n_instruments, n_treatments)
    )
    errors = rng.multivariate_normal(
        np.zeros(1 + n_treatments), 0.4 * np.eye(1 + n_treatments) + 0.6, N_ROWS
    )
    t = z @ first_stage + x + errors[:, 1:]
    y = t.sum(1) - x[:, 0] + direct * z[:, 0] + errors[:, 0]
    return {name: np.round(values, 3) for name, values in {"y": y, "t": t, "z": z, "X": x}.items()}


def case(data, effects, with_set):
    arrays = {"Z": data["z"], "X": data["t"], "C": data["X"]}
    tests = [
        anderson_rubin_test(y=data["y"], beta=np.asarray(effect), critical_values="f", **arrays)
        for effect in effects
    ]
    statistic, p_value = rank_test(**arrays)
    result = {
        "data": {name: values.tolist() for name, values in data.items()},
        "effects": effects,
        "anderson_rubin": [[float(value) for value in test] for test in tests],
        "cragg_donald": [float(statistic), float(p_value)],
    }
    if with_set:
        quadric = inverse_anderson_rubin_test(y=data["y"], critical_values="f", **arrays)
        result["confidence_set"] = ends(ConfidenceSet.from_quadric(quadric))
    return result


def ends(found):
    return [
        [None if np.isinf(end) else float(np.real(end)) for end in interval]
        for interval in found.boundaries
    ]


def with_real_ends(from_quadric=ConfidenceSet.from_quadric):
    """Ends are complex numbers without imaginary part, which NumPy 2 does not subtract in place."""

    def convert(quadric):
        found = from_quadric(quadric)
        found.boundaries = [tuple(float(np.real(end)) for end in ends) for ends in found.boundaries]
        return found

    return staticmethod(convert)


def conditional(data, effects):
    ConfidenceSet.from_quadric = with_real_ends()
    arrays = {"Z": data["z"], "X": data["t"], "C": data["X"], "y": data["y"]}
    tests = [
        conditional_likelihood_ratio_test(beta=np.asarray(effect), tol=1e-12, **arrays)
        for effect in effects
    ]
    found = inverse_conditional_likelihood_ratio_test(
        tol=1e-10, max_value=1e4, max_eval=10_000, **arrays
    )
    return {
        "data": {name: values.tolist() for name, values in data.items()},
        "effects": effects,
        "tests": [[float(value) for value in test] for test in tests],
        "confidence_set": ends(found),
    }


def main():
    cases = {
        name: case(
            simulate(seed, n_instruments, 1, strength, direct),
            [[-1.0], [0.0], [1.0], [2.5]],
            with_set=True,
        )
        for name, (seed, n_instruments, strength, direct) in ONE_TREATMENT.items()
    }
    seed, n_instruments = TWO_TREATMENTS
    cases["two treatments"] = case(
        simulate(seed, n_instruments, 2, 1.0, 0.0), [[0.0, 0.0], [1.0, 1.0]], with_set=False
    )
    write("ivmodels.json", cases)
    effects = [[-1.0], [0.0], [1.0], [2.5]]
    ratios = {
        name: conditional(simulate(seed, n_instruments, 1, strength, direct), effects)
        for name, (seed, n_instruments, strength, direct) in CONDITIONAL.items()
    }
    write("ivmodels_conditional.json", ratios)


def write(name, cases):
    Path(__file__).with_name(name).write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
