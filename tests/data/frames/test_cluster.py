"""A worker that dies during the pass does not change the result: dask runs its tasks again."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from engines import assert_same, experiment, reference, roles

from skbayesiv._data.moments import Moments

pytest.importorskip("dask.dataframe")
distributed = pytest.importorskip("distributed")


SIZES = [1500, 0, 1, 400, 1099]


def kill_once(part, marker):
    """Pass a partition on; the first worker to see the last one is killed."""
    if len(part) == SIZES[-1] and not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return part


@pytest.mark.slow
@pytest.mark.parametrize("by", [None, "fold"])
def test_killed_worker(tmp_path, by):
    import dask.dataframe as dd

    table = experiment(sum(SIZES))
    starts = np.cumsum([0, *SIZES[:-1]])
    parts = [
        table.slice(start, size).to_pandas() for start, size in zip(starts, SIZES, strict=True)
    ]
    frame = dd.from_map(parts.__getitem__, range(len(parts)), meta=parts[0].iloc[:0])
    whole = Moments.from_frame(frame, by=by, **roles(table))
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster):
        marker = tmp_path / "killed"
        # The pilot's rows come from the first partition: the worker dies in the pass itself.
        deadly = frame.map_partitions(kill_once, marker, meta=frame._meta)
        after = Moments.from_frame(deadly, by=by, **roles(table))
    assert marker.exists()
    if by is None:
        whole, after = {0: whole}, {0: after}
    assert after.keys() == whole.keys()
    for key, moments in after.items():
        np.testing.assert_array_equal(moments.shift, whole[key].shift)
        assert_same(moments, whole[key])
    total = sum(list(after.values())[1:], next(iter(after.values())))
    assert_same(total, reference(table))
