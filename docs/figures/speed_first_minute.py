"""What the first minute of a fresh process goes to, from what `make bench` measured last."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd

from skbayesiv.plotting._display import BLUE, GREY, ORANGE, SKY, foreground

STAGES = {"imports": GREY, "compile": ORANGE, "draws": BLUE, "rest": SKY}
NAMES = {"imports": "imports", "compile": "compilation", "draws": "draws", "rest": "the rest"}


def result(row: pd.Series) -> str:
    """What a bar says at its end."""
    if row["finished"]:
        return f"{row['total']:.1f} s, {row['effective']:,.0f} effective draws"
    if row["effective"] >= 0.5:
        return f"stopped at {row['total']:.0f} s: {row['effective']:,.0f} effective draws"
    return f"stopped at {row['total']:.0f} s: no draws yet"


table = pd.read_csv(Path.cwd().parent / "_data" / "first_minute.csv")
table["total"] = table[list(STAGES)].sum(axis=1)
table = table.sort_values("total", ignore_index=True)
longest = table["total"].max()
fig, ax = plt.subplots(figsize=(5.0, 0.5 + 0.72 * len(table)), layout="constrained")
left = pd.Series(0.0, index=table.index)
for stage, colour in STAGES.items():
    ax.barh(table.index, table[stage], 0.42, left=left, color=colour, label=NAMES[stage])
    left += table[stage]
for place, row in table.iterrows():
    above = {"y": place - 0.27, "va": "bottom", "fontsize": 10.5, "color": foreground()}
    ax.text(0.0, s=row["method"], ha="left", weight="bold", **above)
    ax.text(longest, s=result(row), ha="right", **above)
ax.set_xlim(0, longest)
ax.set_ylim(len(table) - 0.7, -0.75)
ax.set_yticks([])
ax.set_xlabel("seconds since the process was started", fontsize=11)
ax.tick_params(labelsize=11)
ax.spines[["top", "right", "left"]].set_visible(False)
fig.legend(
    loc="outside upper left", ncols=4, frameon=False, fontsize=11, handlelength=1, columnspacing=1
)
