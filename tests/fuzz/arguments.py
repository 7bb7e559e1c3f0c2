"""An experiment -> arguments of a call, with hostile shapes and types, and the truth about them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from fuzz.case import ANSWER, EITHER, ERROR, choose, worst
from fuzz.containers import LOSE_X, SHAPES, read_only, wrap
from fuzz.experiment import ROLES, cast, cluster, draw_experiment, spoil_numbers, weigh

FEW_CLUSTERS = 20


@dataclass
class Arguments:
    """Arguments by name; what they owe; and the numbers in them, None where there are none.

    `places` are the parameters that say where treatment and instruments are, if X holds them.
    """

    values: dict
    numbers: dict | None
    must: str = ANSWER
    notes: list[str] = field(default_factory=list)
    places: dict = field(default_factory=dict)

    def owe(self, note, must=EITHER):
        """Note something hostile, and what it allows."""
        if note:
            self.notes.append(note)
        self.must = worst([self.must, must])


def draw_arguments(
    rng,
    *,
    treated=True,
    weights=True,
    clusters=True,
    plain=False,
    in_columns=False,
    make=draw_experiment,
):
    """Arguments X, t, z, y, sample_weight and clusters with up to three things wrong."""
    experiment = make(rng, treated=treated, plain=plain)
    steps = int(choose(rng, [0, 1, 2, 3], p=[0.1, 0.45, 0.3, 0.15]))
    kinds = ["numbers"] * 4 + ["type"] * 4 + ["dtype", "shape", "missing"]
    kinds += ["weights"] * 2 * weights + ["clusters"] * 2 * clusters
    drawn = [choose(rng, kinds) for _ in range(steps)]
    for kind in drawn:
        if kind in EARLY:
            EARLY[kind](rng, experiment)
    arguments = arguments_of(experiment)
    if in_columns and treated and rng.random() < 0.2:
        put_in_columns(rng, arguments)
    for kind in drawn:
        if kind in LATE:
            LATE[kind](rng, arguments)
    _check_indexes(arguments)
    _check_numbers(arguments)
    return arguments


def arguments_of(experiment):
    """Plain arrays: one column as a vector, no column as None."""
    columns = experiment.columns
    values = {name: columns[name] for name in ROLES if columns[name].shape[1]}
    for name in ("t", "z", "y"):
        if name in values and values[name].shape[1] == 1:
            values[name] = values[name][:, 0]
    truth = {name: columns[name] for name in ROLES}
    for name, part in (("sample_weight", experiment.weight), ("clusters", experiment.clusters)):
        truth[name] = part
        if part is not None:
            values[name] = part
    out = Arguments(values, truth, experiment.must, list(experiment.notes))
    labels = experiment.clusters
    few = labels is not None and len(set(map(repr, labels))) < FEW_CLUSTERS
    out.owe("", EITHER if few else ANSWER)
    return out


def put_in_columns(rng, arguments):
    """Make treatment and instruments columns of X, in any order."""
    parts = {name: arguments.numbers[name] for name in ("X", "t", "z")}
    table = np.column_stack(list(parts.values()))
    roles = np.repeat(list(parts), [part.shape[1] for part in parts.values()])
    order = rng.permutation(len(roles))
    covariates = order[roles[order] == "X"]
    arguments.numbers["X"] = table[:, covariates]
    for name in ("t", "z"):
        del arguments.values[name]
    arguments.values["X"] = table[:, order]
    where = {name: np.argsort(order)[roles == name].tolist() for name in ("t", "z")}
    arguments.places = {"treatment": where["t"], "instruments": where["z"]}
    arguments.notes.append("t and z columns of X")


def _plain(rng, arguments):
    """Name of an argument that is still a plain array of numbers, or None."""
    names = [
        name
        for name, value in arguments.values.items()
        if type(value) is np.ndarray and value.dtype.kind in "biuf" and value.size
        if 0 < value.ndim < 3 and name != "clusters"
    ]
    return choose(rng, names) if names else None


def retype(rng, arguments):
    """Put an argument into another container."""
    name = _plain(rng, arguments)
    if name is None:
        return
    value, note, must = wrap(rng, name, arguments.values[name])
    arguments.values[name] = value
    arguments.owe(f"{name} {note}", must)
    if note in LOSE_X:
        arguments.numbers = None


def recast(rng, arguments):
    """Give an argument another type of numbers."""
    name = _plain(rng, arguments)
    if name is None:
        return
    value, dtype = cast(rng, np.asarray(arguments.values[name], dtype=float))
    arguments.values[name] = value
    arguments.owe(f"{name} {dtype}", ANSWER)
    if name == "X" and arguments.places:
        arguments.numbers = None
    if arguments.numbers is not None:
        arguments.numbers[name] = value.reshape(len(value), -1) if name in ROLES else value


def reshape(rng, arguments):
    """Give an argument another shape, or make it read-only."""
    name = _plain(rng, arguments)
    if name is None or arguments.must == ERROR:  # another change of shape may undo the first
        return
    if rng.random() < 0.3:
        arguments.values[name] = read_only(arguments.values[name])
        arguments.notes.append(f"{name} read-only")
        return
    note = choose(rng, SHAPES)
    arguments.values[name] = SHAPES[note](arguments.values[name])
    arguments.numbers = None
    lost = note in ("without rows", "one row short", "one row long", "one row")
    arguments.owe(f"{name} {note}", ERROR if lost and len(arguments.values) > 1 else EITHER)


def leave_out(rng, arguments):
    """Pass None for an argument."""
    name = _plain(rng, arguments)
    if name is None or arguments.must == ERROR:  # which may be of the one that is left out
        return
    arguments.values[name] = None
    fine = name == "sample_weight" or (name == "X" and not arguments.places)
    both = name in ("t", "z")  # without both it is least squares
    arguments.owe(f"{name} None", EITHER if fine or both else ERROR)
    if fine and arguments.numbers is not None:
        truth = arguments.numbers[name]
        arguments.numbers[name] = truth[:, :0] if name == "X" else None
    elif both:
        arguments.numbers = None


EARLY = {"numbers": spoil_numbers, "weights": weigh, "clusters": cluster}
LATE = {"type": retype, "dtype": recast, "shape": reshape, "missing": leave_out}


def _check_indexes(arguments):
    """Rows of two pandas objects that do not have the same labels are not known to be the same."""
    kinds = (pd.Series, pd.DataFrame)
    indexes = [value.index for value in arguments.values.values() if isinstance(value, kinds)]
    if any(not index.equals(indexes[0]) for index in indexes[1:]):
        arguments.owe("indexes differ", EITHER)
        arguments.numbers = None


def _check_numbers(arguments):
    """No answer can be had of what is not finite, or of weights that are none."""
    if arguments.numbers is None:
        return
    table = np.column_stack([arguments.numbers[name].astype(float) for name in ROLES])
    weight = arguments.numbers["sample_weight"]
    if weight is not None:
        weight = weight.astype(float)
        if not np.isfinite(weight).all() or (weight < 0).any() or not weight.any():
            arguments.owe("", ERROR)
            return
        table = table[weight > 0]
    if not np.isfinite(table).all():
        arguments.owe("", ERROR)
