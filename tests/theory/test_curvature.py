"""Constants of losses against random search and known derivatives; traces of noise against samples."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sdesim
from sdesim import noise, objectives
from sdesim.objectives import CoupledDoubleWells, LogCosh, OscillatingDoubleWell, Quadratic, QuarticDoubleWell
from sdesim.theory import bounds, curvature

BOXED = [QuarticDoubleWell(), OscillatingDoubleWell(), CoupledDoubleWells(), CoupledDoubleWells(a=-6.0)]
NAMES = ("concavity", "smoothness", "third")


def values(found):
    return np.array([getattr(found, name) for name in NAMES])


@pytest.mark.parametrize(
    ("loss", "dims"),
    [(Quadratic([[2.0, 0.6], [0.6, -1.0]]), 2), (Quadratic([3.0, 1.0, 0.5]), 3), (Quadratic(-2.0), 2)],
)
def test_quadratic(loss, dims):
    found = curvature.constants(loss, dims)
    eigenvalues = np.linalg.eigvalsh(np.asarray(loss.curvature) * (1.0 if loss.curvature.ndim == 2 else np.eye(dims)))
    np.testing.assert_allclose(values(found), [-eigenvalues[0], eigenvalues[-1], 0.0], rtol=1e-12)
    assert found.strong_convexity == -found.concavity
    assert (found.certified, found.box) == (True, None)


@pytest.mark.parametrize("weight", [1.5, -0.5, -3.0])
def test_log_cosh_is_exact_everywhere(weight):
    """The extremes are met: at 0, far away, and where tanh^2 x = 1/3."""
    loss = LogCosh(1.0, weight, tilt=0.3)
    points = np.array([0.0, 40.0, LogCosh.STEEPEST])
    assert curvature.constants(LogCosh(1.0, weight), 2) == curvature.constants(loss, 2)
    found = curvature.constants(loss, 2)
    assert (found.certified, found.box) == (True, None)
    met = curvature.estimate(loss, np.stack([points, points[::-1]], axis=1))
    np.testing.assert_allclose(values(met), values(found), rtol=1e-9)
    everywhere = curvature.estimate(loss, np.linspace(-5, 5, 2001)[:, None])
    assert np.all(values(everywhere) <= values(found) + 1e-9)


@settings(max_examples=25)
@given(st.sampled_from(BOXED), st.integers(1, 6), st.floats(-3.0, 2.0), st.floats(0.1, 4.0), st.integers(0, 2**32))
def test_certified_constants_bound_a_random_search(loss, dims, low, width, seed):
    """Nowhere in the box is anything worse, in any number of dimensions."""
    dims = loss.dims or dims
    box = (low, low + width)
    found = curvature.constants(loss, dims, box)
    assert (found.certified, found.box) == (True, box)
    points = np.random.default_rng(seed).uniform(*box, (500, dims))
    points[:20] = np.where(points[:20] > low + width / 2, *box[::-1])  # and at corners
    points[20:200] = points[20:200, :1]  # and where the coordinates are equal
    assert np.all(
        values(curvature.estimate(loss, points)) <= values(found) * (1 + np.sign(values(found)) * 1e-9) + 1e-12
    )


@pytest.mark.parametrize("box", [(-3.0, 3.0), (-2.0, 2.2), (0.5, 0.6), (1.0, 2.5)])
@pytest.mark.parametrize("loss", BOXED)
def test_certified_constants_are_tight_in_one_dimension(loss, box):
    """Within 1 % of what a dense search finds, so that they could not be much smaller."""
    met = values(curvature.estimate(loss, np.linspace(*box, 4001)[:, None]))
    found = values(curvature.constants(loss, 1, box))
    assert np.all(found - met < 0.01 * np.abs(met))


@pytest.mark.parametrize("dims", [2, 3, 5])
def test_constants_of_coupled_wells_are_tight(dims):
    """Points at which cosines are 1, 0 or -1, or coordinates lie at the edge, all combinations: within 4 %."""
    loss, edge = CoupledDoubleWells(), 2.2
    wave = np.pi / float(loss.w)
    one = np.array([0.0, wave / 2, wave, 1.5 * wave, 2 * wave, 2.5 * wave, 3 * wave, edge])
    mesh = np.stack(np.meshgrid(*[one] * 2, [0.0, wave], indexing="ij"), -1).reshape(-1, 3)
    points = mesh[:, :2] if dims == 2 else np.concatenate([mesh[:, :2], np.repeat(mesh[:, 2:], dims - 2, axis=1)], 1)
    met, found = values(curvature.estimate(loss, points)), values(curvature.constants(loss, dims, (-edge, edge)))
    assert np.all(met <= found * (1 + 1e-9))
    assert np.all(met > 0.96 * found)


def test_a_grid_alone_would_not_be_a_bound(monkeypatch):
    """With eight intervals the grid misses the peaks of the fast oscillation by far; the Lipschitz part covers them."""
    monkeypatch.setattr(curvature, "GRID", 8)
    loss, box = OscillatingDoubleWell(), (-3.0, 3.0)
    coarse = values(curvature.constants(loss, 1, box))
    on_grid = values(curvature.estimate(loss, np.linspace(*box, 9)[:, None]))
    met = values(curvature.estimate(loss, np.linspace(*box, 4001)[:, None]))
    assert np.all(on_grid < 0.99 * met)
    assert np.all(coarse >= met)


def test_oscillating_wells_have_the_concavity_that_makes_the_bounds_useless():
    """k > concavity is beyond the stability of the iteration at the learning rate of the figures, 0.05."""
    found = curvature.constants(OscillatingDoubleWell(), 1, (-3.0, 3.0))
    assert found.concavity == pytest.approx(110, rel=5e-3)
    with pytest.raises(ValueError, match="the chain is unstable"):
        bounds.synchronization_level_discrete(4, 0.05, 1.0, 120.0, found.concavity, found.smoothness)


# -- estimates ---------------------------------------------------------------------------------------------------------


def users_loss(x):
    """Hessian [[12 x^2 + 2 y, 2 x], [2 x, 0]], third derivatives 24 x (xxx) and 2 (xxy)."""
    return x[0] ** 4 + x[0] ** 2 * x[1]


def test_estimate_of_a_users_loss():
    points = np.array([[[1.0, 0.5], [0.0, -2.0]], [[0.5, 1.0], [-1.5, 0.0]]])  # (sims, agents, dims)
    found = curvature.estimate(users_loss, points)
    flat = points.reshape(-1, 2)
    spectra = [np.linalg.eigvalsh([[12 * x * x + 2 * y, 2 * x], [2 * x, 0.0]]) for x, y in flat]
    thirds = [np.abs(np.linalg.eigvalsh([[24 * x, 2.0], [2.0, 0.0]])).max() for x, _ in flat]
    expected = [-np.min(spectra), np.max(spectra), max(*thirds, 2.0)]
    np.testing.assert_allclose(values(found), expected, rtol=1e-12)
    assert not found.certified
    assert found.box is None
    assert found.kind == "estimate along trajectories, 4 points"


def test_estimate_does_not_depend_on_the_chunks():
    """In 40 dimensions 90 points take two chunks of third derivatives."""
    points = np.random.default_rng(3).uniform(-2, 2, (90, 40))
    assert 30 < curvature.TENSORS // 40**3 < 90
    whole = values(curvature.estimate(CoupledDoubleWells(), points))
    parts = [values(curvature.estimate(CoupledDoubleWells(), part)) for part in np.split(points, 3)]
    np.testing.assert_allclose(whole, np.max(parts, axis=0), rtol=1e-12)


def test_estimate_along_a_run_is_below_the_certified_constants(float32):
    """In the precision that users have, of the agents of a run, with the box that they stayed in."""
    loss = OscillatingDoubleWell()
    model = sdesim.Dynamics(loss, sdesim.Quorum(3.0), noise.Uniform(8.0), eta=0.05)
    x = sdesim.simulate(
        model, agents=20, sims=10, steps=60, init=sdesim.init.Uniform(-3, 3), observe=sdesim.observe.Snapshot(), every=1
    )
    snapshots = np.asarray(x.observed["snapshot"])
    reach = float(np.abs(snapshots).max())
    assert curvature.share_outside(snapshots, (-reach, reach)) == 0
    met, found = values(curvature.estimate(loss, x.agents)), values(curvature.constants(loss, 1, (-reach, reach)))
    assert np.all(met <= found * (1 + 1e-6))
    assert np.all(met > 0.5 * found)


def test_share_outside():
    points = np.zeros((4, 5, 2))  # (times, agents, dims)
    points[1, 0, 1] = 3.0
    points[2, 0, 0] = -3.0
    points[3, 4, 0] = np.nan
    assert curvature.share_outside(points, (-2.0, 2.0)) == 3 / 20
    assert curvature.share_outside(points, (-2.0, 2.0), axis=(0, -1)) == 2 / 5  # trajectories that ever leave
    assert curvature.share_outside(points, (-3.0, 3.0)) == 1 / 20  # the box is closed


# -- noise -------------------------------------------------------------------------------------------------------------

MATRIX = np.array([[1.0, 0.5], [-0.3, 2.0]])
LAWS = {
    "silent": noise.Silent(),
    "uniform": noise.Uniform(3.0),
    "gaussian": noise.Gaussian([1.0, 2.0]),
    "student": noise.StudentT(1.5, 9.0),
    "diagonal": noise.Diffusion(lambda x: 1.0 + x**2),
    "full": noise.Diffusion(lambda x: jnp.sum(x) * MATRIX, kind="full"),
    "gamma": noise.GammaMultiplicative(4.0),
}


@pytest.mark.parametrize("law", LAWS.values(), ids=LAWS)
def test_noise_trace_against_samples(law, z_scores):
    """One step of the iteration at learning rate 1 moves an agent by -grad f + zeta."""
    loss, start = Quadratic(0.7), np.array([0.5, 1.0])
    trace = curvature.gradient_noise_trace(law, 2, start[None] if law.state_dependent else None, loss)
    model = sdesim.Dynamics(loss, noise=law, eta=1.0)
    x = np.asarray(sdesim.simulate(model, agents=50, sims=2000, dims=2, steps=1, init=start, seed=5).agents)
    square = np.sum((x - 0.3 * start) ** 2, axis=(1, 2)) / 50
    if isinstance(law, noise.Silent):
        assert trace == 0
        return
    assert abs(z_scores(square, trace)) < 4.5
    assert abs(z_scores(square, 1.05 * trace)) > 4.5


def test_noise_trace_is_the_greatest_over_points():
    law = noise.Diffusion(lambda x: 1.0 + x**2)
    assert curvature.gradient_noise_trace(law, 1, [[0.0], [1.0], [-2.0]]) == pytest.approx(25.0)


# -- arguments ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: curvature.constants(users_loss, 2), TypeError, "use estimate"),
        (lambda: curvature.constants(OscillatingDoubleWell(), 1), ValueError, "box=None: OscillatingDoubleWell"),
        (lambda: curvature.constants(OscillatingDoubleWell(), 2, (-1, 1)), ValueError, "dims=2"),
        (lambda: curvature.constants(QuarticDoubleWell(), 1, (1, 1)), ValueError, r"box=\(1, 1\): low must be less"),
        (lambda: curvature.constants(QuarticDoubleWell(), 1, (1, np.inf)), ValueError, "both finite"),
        (lambda: curvature.constants(QuarticDoubleWell(), 1, 3.0), ValueError, r"box=3.0: must be \(low, high\)"),
        (lambda: curvature.constants(Quadratic(), 0), ValueError, "dims=0"),
        (lambda: curvature.estimate(users_loss, [[1.0, np.nan], [0.0, 0.0]]), ValueError, "1 of 2 are not finite"),
        (lambda: curvature.estimate(users_loss, np.zeros((0, 2))), ValueError, r"points: of shape \(0, 2\)"),
        (lambda: curvature.estimate(lambda x: x, [[1.0, 2.0]]), ValueError, "must be one real number"),
        (
            lambda: curvature.estimate(lambda x: jnp.sum(jnp.sqrt(x)), [[0.0, 2.0]]),
            ValueError,
            "derivatives are not",
        ),
        (lambda: curvature.gradient_noise_trace(LAWS["full"], 2), ValueError, "points=None: Diffusion depends on"),
        (lambda: curvature.gradient_noise_trace(noise.StudentT(1.0, 2.0), 2), ValueError, "no finite variance"),
    ],
)
def test_bad_arguments_are_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


class Steeper(QuarticDoubleWell):
    """Another loss than its parent's."""

    def loss(self, x):
        return 50 * super().loss(x)


class Turned(Quadratic):
    """Another gradient than its parent's: what is descended has no potential."""

    def gradient(self, x):
        return -super().gradient(x)


@pytest.mark.parametrize("loss", [Steeper(), Turned()])
def test_a_subclass_is_not_certified_with_the_constants_of_its_parent(loss):
    with pytest.raises(TypeError, match=r"known are .*; use estimate"):
        curvature.constants(loss, 1, (-1.0, 1.0))
    assert curvature.estimate(Steeper(), [[1.0]]).smoothness == pytest.approx(100.0)


def test_every_objective_is_known_or_said_not_to_be():
    """A loss that is added to sdesim.objectives needs its constants here."""
    kinds = [
        k for k in vars(objectives).values() if isinstance(k, type) and issubclass(k, objectives.AbstractObjective)
    ]
    unknown = {k.__name__ for k in kinds} - {k.__name__ for k in curvature._KNOWN}
    of_agents = {"AbstractByAgent", "ByAgent", "Each", "_Some"}  # whose constants differ between agents
    assert unknown == {"AbstractObjective", "Function", *of_agents}
