"""Sums that no rows can have are refused, whether handed over, added up or loaded."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from skbayesiv import BayesianIV, FourthMoments, Moments, TwoStageLS

RNG = np.random.default_rng(0)
Z = RNG.normal(size=200)
T = Z + RNG.normal(size=200)
FRAME = pd.DataFrame({"y": T + RNG.normal(size=200), "t": T, "z": Z})
ROLES = {"outcome": "y", "treatment": "t", "instruments": "z"}
MOMENTS = Moments.from_frame(FRAME, **ROLES)
FOURTH = FourthMoments.from_frame(FRAME, **ROLES)
CLASSICAL = TwoStageLS(cov_type="unadjusted")


def cross(*at, value):
    """The moments with other sums of products."""
    changed = MOMENTS.cross.copy()
    for place in at:
        changed[place] = value
    return replace(MOMENTS, cross=changed)


LARGE = 10.0 * np.sqrt(MOMENTS.cross[0, 0] * MOMENTS.cross[2, 2])
IMPOSSIBLE = {
    "a negative variance": (cross((2, 2), value=-1.0), "sums of squares that are not negative"),
    "asymmetric": (cross((0, 1), value=3.0), "moments.cross must be symmetric"),
    "a correlation of 10": (cross((0, 2), (2, 0), value=LARGE), "has a negative variance"),
    "a mean beyond the squares": (
        replace(MOMENTS, total=MOMENTS.total + 1e6),
        "some combination of the columns has a negative variance",
    ),
    "complex": (replace(MOMENTS, cross=MOMENTS.cross + 0j), "real numbers .* of complex128"),
    "of another shape": (replace(MOMENTS, total=MOMENTS.total[:2]), r"moments.total .*\(2,\)"),
    "half a row": (replace(MOMENTS, n_rows=2.5), "moments.n_rows must be a number of rows"),
    "no weight": (replace(MOMENTS, weight=0.0), "moments.weight must be the sum of the weights"),
    "names of no columns": (replace(MOMENTS, columns="y"), "moments.columns must be names"),
    "a duration": (replace(MOMENTS, weight=np.timedelta64(200, "s")), "moments.weight must be"),
}


@pytest.mark.parametrize("est", [CLASSICAL, BayesianIV()], ids=lambda e: type(e).__name__)
@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_fit_moments(case, est):
    moments, message = IMPOSSIBLE[case]
    with pytest.raises((TypeError, ValueError), match=message):
        est.fit_moments(moments)
    if est is CLASSICAL:
        with pytest.raises((TypeError, ValueError), match=message.replace("moments.", ".*")):
            est.fit_moments(MOMENTS, [moments])


@pytest.mark.parametrize("case", ["complex", "of another shape", "half a row", "no weight"])
def test_sums(case):
    moments, message = IMPOSSIBLE[case]
    for add in (lambda: moments + MOMENTS, lambda: MOMENTS + moments, lambda: MOMENTS - moments):
        with pytest.raises((TypeError, ValueError), match=message):
            add()
    with pytest.raises(TypeError, match="fourth_moments must be FourthMoments; got Moments"):
        FOURTH + MOMENTS


@pytest.mark.parametrize("case", ["a negative variance", "asymmetric", "a correlation of 10"])
def test_load(tmp_path, case):
    moments, message = IMPOSSIBLE[case]
    moments.save(tmp_path / "moments.npz")
    with pytest.raises(ValueError, match=f"must be a file that Moments.save wrote.*{message}"):
        Moments.load(tmp_path / "moments.npz")


IMPOSSIBLE_FOURTH = {
    "a negative square": (replace(FOURTH, cross=-FOURTH.cross), "that are not negative"),
    "of another shape": (replace(FOURTH, total=FOURTH.total[:1]), "fourth_moments.total must be"),
    "without reference": (replace(FOURTH, reference=None), "fourth_moments.reference must be"),
    "moments": (MOMENTS, "fourth_moments must be FourthMoments; got Moments"),
    "other columns": (
        FourthMoments.from_frame(
            FRAME.rename(columns={"z": "coin"}), **ROLES | {"instruments": "coin"}
        ),
        "fourth_moments must be of the columns of moments",
    ),
    "other rows": (FourthMoments.from_frame(FRAME + 1.0, **ROLES), "of the same rows as moments"),
}


@pytest.mark.parametrize("case", IMPOSSIBLE_FOURTH)
def test_fourth_moments(case):
    fourth, message = IMPOSSIBLE_FOURTH[case]
    with pytest.raises((TypeError, ValueError), match=message):
        BayesianIV(likelihood="gmm").fit_moments(MOMENTS, fourth)


def test_what_is_left_of_a_column_is_exactly_nothing():
    """A column that is zero in all rows but those taken away has no rounding left."""
    frame = FRAME.assign(rare=0.1 * (np.arange(200) < 3))
    roles = ROLES | {"covariates": "rare"}
    rest = Moments.from_frame(frame, **roles) - Moments.from_frame(frame[:50], **roles)
    assert (rest.scatter[0] == 0.0).all()
    assert rest.mean[0] == pytest.approx(0.0, abs=1e-15)
