"""The documentation's table of meta-estimators says what happens."""

from __future__ import annotations

import csv

from meta_estimators import TABLE, table


def test_the_documented_table_is_what_happens():
    with TABLE.open(newline="") as file:
        documented = [tuple(row) for row in csv.reader(file)][1:]
    assert table() == documented
