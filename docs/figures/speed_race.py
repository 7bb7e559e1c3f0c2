"""Effective draws per second as rows grow, from what `make bench` measured last."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from skbayesiv.plotting._display import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION, quiet

COLOURS = {
    "skbayesiv, independence": BLUE,
    "skbayesiv, NumPyro": GREEN,
    "PyMC on rows": VERMILLION,
    "PyMC + NumPyro on rows": PURPLE,
    "PyMC + nutpie on rows": ORANGE,
    "bayesm's rivGibbs": GREY,
}
ROOM = 1.5  # from a line to its name, a factor
LINE = 2.6  # from one name to the next, a factor


def draw(ax: plt.Axes, table: pd.DataFrame) -> None:
    """One line for each method, with its name where it starts; those on rows stand below theirs."""
    parts = dict(list(table.groupby("method", sort=False)))
    for method, part in parts.items():
        ax.loglog(part["rows"], part["rate"], color=COLOURS[method], lw=2.5, marker="o", ms=6)
    on_rows = {name: part for name, part in parts.items() if name.endswith("on rows")}
    height = min((part["rate"].min() for part in on_rows.values()), default=1.0) / ROOM
    for name in sorted(on_rows, key=lambda name: -on_rows[name]["rate"].iloc[0]):
        label(ax, name, on_rows[name]["rows"].iloc[0], height, "top")
        height /= LINE
    for name in parts.keys() - on_rows.keys():
        first = parts[name].iloc[0]
        below = name == "skbayesiv, NumPyro"
        height_ = first["rate"] / ROOM**2 if below else first["rate"] * ROOM
        label(ax, name, first["rows"], height_, "top" if below else "bottom")
    ax.set_ylim(height, table["rate"].max() * 6)


def label(ax: plt.Axes, name: str, x: float, y: float, va: str) -> None:
    """A method's name in its colour."""
    ax.text(x, y, name, color=COLOURS[name], fontsize=11.5, weight="bold", va=va)


table = pd.read_csv(Path.cwd().parent / "_data" / "race.csv")
table["rate"] = table["effective"] / table["seconds"]
fig, ax = plt.subplots(figsize=(5.0, 5.2), layout="constrained")
draw(ax, table[table["rate"] > 0])
ax.set_xlim(700, 1.4e7)
ax.set_xlabel("rows", fontsize=11)
ax.set_title("Effective draws of the effect per second", fontsize=12, loc="left")
ax.tick_params(labelsize=11)
ax.grid(color="0.9")
ax.set_axisbelow(True)
quiet(ax)
