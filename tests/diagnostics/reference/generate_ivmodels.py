"""Write ivmodels.json: Anderson-Rubin and Cragg-Donald figures of ivmodels on small data.

Not a test, and ivmodels is not a dependency of the project. In an environment of its own:

    pip install ivmodels==0.10.0 && python generate_ivmodels.py
"""

import json
from pathlib import Path

import numpy as np
from ivmodels.confidence_set import ConfidenceSet
from ivmodels.tests import anderson_rubin_test, inverse_anderson_rubin_test, rank_test

# Name: (seed, number of instruments, first-stage coefficient, direct effect of instrument 0).
ONE_TREATMENT = {
    "interval": (0, 2, 1.0, 0.0),
    "rays": (22, 1, 0.2, 0.0),
    "line": (2, 1, 0.0, 0.0),
    "empty": (3, 3, 1.0, 2.5),
}
TWO_TREATMENTS = (4, 3)
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
        result["confidence_set"] = [
            [None if np.isinf(end) else float(np.real(end)) for end in interval]
            for interval in ConfidenceSet.from_quadric(quadric).boundaries
        ]
    return result


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
    path = Path(__file__).with_name("ivmodels.json")
    path.write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
