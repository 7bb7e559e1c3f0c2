"""The generator of JAX's programs: its numbers are SplitMix64's, and pass for random ones."""

from __future__ import annotations

import jax
import numpy as np
import pytest
from scipy import stats

from skbayesiv._sampling.splitmix import splitmix


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def keys():
    return jax.random.split(jax.random.key(1, impl=splitmix()), 20_000)


def test_the_stream_is_splitmix64():
    """The first numbers of state 1234567, as they are published with other implementations."""
    halves = np.array([1234567], dtype="<u8").view("<u4")
    key = jax.random.wrap_key_data(halves, impl=splitmix())
    numbers = jax.random.bits(key, (3,), np.uint64)
    assert [int(number) for number in numbers] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


@pytest.mark.parametrize("width", [8, 16, 32, 64])
def test_bits_of_all_widths_are_uniform(keys, width):
    numbers = np.asarray(jax.random.bits(keys[0], (50_000,), f"uint{width}"), dtype=float)
    bins = np.bincount((numbers / 2.0**width * 64).astype(int), minlength=64)
    assert stats.chisquare(bins).pvalue > 1e-3


def first_numbers(keys):
    """Children by split and by number, and their own numbers: independent of each other."""
    half = keys[:10_000]
    children = jax.vmap(lambda key: jax.random.split(key, 2))(half)
    folded = jax.vmap(jax.random.fold_in)(keys[10_000:], np.arange(10_000))
    same = jax.vmap(lambda i: jax.random.fold_in(keys[0], i))(np.arange(10_000))
    families = [keys[10_000:], half, children[:, 0], children[:, 1], folded, same]
    return np.array([jax.vmap(jax.random.normal)(family) for family in families])


def test_keys_are_independent_of_each_other(keys):
    drawn = first_numbers(keys)
    for numbers in drawn:
        assert stats.kstest(numbers, "norm").pvalue > 1e-3
        assert abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.04
    off = np.corrcoef(drawn)[~np.eye(len(drawn), dtype=bool)]
    assert np.abs(off).max() < 0.04


def test_the_seed_decides(keys):
    again = jax.random.split(jax.random.key(1, impl=splitmix()), 20_000)
    other = jax.random.split(jax.random.key(2, impl=splitmix()), 20_000)
    data = [np.asarray(jax.random.key_data(key)) for key in (keys, again, other)]
    assert np.array_equal(data[0], data[1])
    assert (data[0] != data[2]).any(1).all()
    assert len(np.unique(data[0].view(np.uint64))) == 20_000
