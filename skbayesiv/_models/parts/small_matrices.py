"""Linear algebra of small matrices written out as scalars.

A matrix is a list of rows; an entry is a scalar, or an array when the same small matrix is
repeated over draws or blocks. Under JAX the loops run at trace time and XLA fuses the lot into
one kernel; under NumPy the same code is vectorised over the entries' shape.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import add, sub
from typing import Any

Matrix = list[list[Any]]


def total(terms: Iterable[Any], empty: Any = 0.0) -> Any:
    """Sum that starts with the first term: adding an array to zero is a pass for nothing."""
    terms = iter(terms)
    return reduce(add, terms, next(terms, empty))


def less(value: Any, terms: Iterable[Any]) -> Any:
    """A value less the sum of terms."""
    return reduce(sub, terms, value)


def cholesky(a: Matrix, xp: Any) -> Matrix:
    """Lower triangular L with L L' = A, for a positive definite A."""
    size = len(a)
    lower: Matrix = [[None] * size for _ in range(size)]
    for j in range(size):
        pivot = less(a[j][j], (lower[j][k] * lower[j][k] for k in range(j)))
        lower[j][j] = xp.sqrt(pivot)
        inverse = 1.0 / lower[j][j]
        for i in range(j + 1, size):
            products = (lower[i][k] * lower[j][k] for k in range(j))
            lower[i][j] = less(a[i][j], products) * inverse
    return lower


def log_determinant(lower: Matrix, xp: Any) -> Any:
    """log |A| from the Cholesky factor of A."""
    return 2.0 * total(xp.log(lower[j][j]) for j in range(len(lower)))


def invert_lower(lower: Matrix) -> Matrix:
    """Inverse of a lower triangular matrix (entries above the diagonal are None)."""
    size = len(lower)
    inverse: Matrix = [[None] * size for _ in range(size)]
    for j in range(size):
        inverse[j][j] = 1.0 / lower[j][j]
        for i in range(j + 1, size):
            dot = total(lower[i][k] * inverse[k][j] for k in range(j, i))
            inverse[i][j] = -dot / lower[i][i]
    return inverse


def solve_lower(lower: Matrix, b: list[Any]) -> list[Any]:
    """L^-1 b, by forward substitution."""
    x: list[Any] = []
    for i, row in enumerate(lower):
        x.append(less(b[i], (row[j] * x[j] for j in range(i))) / row[i])
    return x


def solve_transposed(lower: Matrix, b: list[Any]) -> list[Any]:
    """L'^-1 b, by backward substitution."""
    size = len(lower)
    x: list[Any] = [None] * size
    for i in reversed(range(size)):
        x[i] = less(b[i], (lower[j][i] * x[j] for j in range(i + 1, size))) / lower[i][i]
    return x


def gram_of_lower(lower: Matrix) -> Matrix:
    """L'L of a lower triangular matrix: the inverse of A when L is A's inverse factor."""
    size = len(lower)
    gram: Matrix = [[None] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            entry = total(lower[k][i] * lower[k][j] for k in range(i, size))
            gram[i][j] = gram[j][i] = entry
    return gram


def product(a: Matrix, b: Matrix) -> Matrix:
    """A B."""
    inner, cols = range(len(b)), range(len(b[0]))
    return [[total(row[k] * b[k][j] for k in inner) for j in cols] for row in a]


def times_vector(a: Matrix, v: list[Any]) -> list[Any]:
    """A v."""
    return [total(row[k] * v[k] for k in range(len(v))) for row in a]
