"""diffrax runs every model, and its Euler on our increments is our Euler-Maruyama."""

import itertools

import catalogue
import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import coupling, noise
from sdesim.interop import as_diffrax

AGENTS, DIMS = 4, 2


class Given(diffrax.AbstractPath):
    """A Brownian path known at the steps: its increments as given."""

    dw: jax.Array
    dt: float

    @property
    def t0(self):
        return 0.0

    @property
    def t1(self):
        return self.dw.shape[0] * self.dt

    def evaluate(self, t0, t1=None, left=True, use_levy=False):
        return self.dw[jnp.round(t0 / self.dt).astype(int)]


def loss(x):
    return jnp.sum(0.5 * x * x + 0.3 * jnp.cos(2 * x))


def start():
    return jnp.asarray(np.random.default_rng(1).normal(size=(AGENTS, DIMS)))


RULES = catalogue.some(
    catalogue.rules(AGENTS),
    "uncoupled",
    "quorum",
    "elastic",
    "state-dependent",
    "saturating",
    "tree",
    "outer",
    "streaming",
    "mixing-turns",
)
LAWS = catalogue.some(catalogue.laws(DIMS), "gaussian", "uniform", "student-t", "diagonal", "full", "gamma")


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("rule", RULES)
def test_euler_on_the_same_increments_is_the_same_path(rule, law):
    kinds = {type(make()) for make in RULES.values()}
    assert {*kinds, coupling.Spiking} == set(coupling.RULES.values())  # it jumps at epochs, and is refused
    dt, steps = 0.05, 20
    model = sdesim.Dynamics(loss, RULES[rule](), LAWS[law](), eta=0.05, batch=3.0)
    dw = np.sqrt(dt) * np.random.default_rng(2).normal(size=(steps, AGENTS, DIMS))
    # at dt = eta, which laws that only the iteration has can run too
    ours = sdesim.simulate(model, agents=AGENTS, dims=DIMS, steps=steps, init=start(), increments=dw[:, None])
    theirs = sdesim.diffrax_solve(
        model, start(), key=jax.random.key(0), t1=steps * dt, dt0=dt, path=Given(jnp.asarray(dw), dt)
    )
    np.testing.assert_allclose(theirs.ys.x[-1], ours.agents[0], rtol=1e-10, atol=1e-12)
    assert np.abs(ours.agents[0] - start()).max() > 0.1


@pytest.mark.parametrize("momentum", [sdesim.Friction(1.5), sdesim.Nesterov(0.7), sdesim.HeavyBall(0.7)])
def test_second_order_terms_have_the_same_limit(momentum):
    """Ours is semi-implicit and diffrax's Euler explicit, so paths agree in the limit: halving dt halves the gap."""
    horizon = 1.0
    model = sdesim.Dynamics(
        loss, coupling.Elastic(0.5), noise.Gaussian(0.7), 0.04, momentum, velocity_coupling=coupling.Quorum(0.4)
    )
    gaps = []
    for steps in (200, 400, 800):
        dt = horizon / steps
        rng = np.random.default_rng(2)
        fine = np.sqrt(horizon / 800) * rng.normal(size=(800, AGENTS, DIMS))
        dw = fine.reshape(steps, 800 // steps, AGENTS, DIMS).sum(1)
        ours = sdesim.simulate(
            model, agents=AGENTS, dims=DIMS, steps=steps, init=start(), dt=dt, increments=dw[:, None]
        )
        theirs = sdesim.diffrax_solve(
            model, start(), key=jax.random.key(0), t1=horizon, dt0=dt, path=Given(jnp.asarray(dw), dt)
        )
        gaps.append(float(np.abs(theirs.ys.x[-1] - ours.agents[0]).max()))
    assert gaps[0] < 0.1
    for coarse, fine in itertools.pairwise(gaps):
        assert 1.8 < coarse / fine < 2.2


def test_schedule_runs_by_step_number():
    schedule = sdesim.schedules.Halving(0.1, 4, 0.02)
    model = sdesim.Dynamics(loss, coupling.Quorum(2.0), eta=schedule)
    steps = 16
    times = np.concatenate([[0.0], np.cumsum([float(schedule(n)) for n in range(steps)])])
    ours = sdesim.simulate(model, agents=AGENTS, dims=DIMS, steps=steps, init=start())
    theirs = sdesim.diffrax_solve(
        model,
        start(),
        key=jax.random.key(0),
        t1=float(times[-1]),
        dt0=None,
        steps=steps,
        stepsize_controller=diffrax.StepTo(ts=times),
    )
    np.testing.assert_allclose(theirs.ys.x[-1], ours.agents[0], rtol=1e-10)
    with pytest.raises(ValueError, match="steps=None"):
        sdesim.diffrax_terms(model, start(), Given(jnp.zeros((1, AGENTS, DIMS)), 0.1))


def test_adaptive_and_higher_order_solvers_agree_with_a_fine_euler():
    """One Brownian tree, three solvers: stochastic Runge-Kutta and adaptive Heun find the path of a fine Euler."""
    model = sdesim.Dynamics(loss, coupling.Elastic(0.5), noise.Uniform(1.0), eta=0.3)
    x, t1 = start(), 1.0
    path = diffrax.VirtualBrownianTree(
        0.0, t1, 2**-13, jax.ShapeDtypeStruct(x.shape, x.dtype), jax.random.key(5), diffrax.SpaceTimeLevyArea
    )
    run = lambda solver, dt0, **options: np.asarray(
        sdesim.diffrax_solve(model, x, key=jax.random.key(0), t1=t1, dt0=dt0, solver=solver, path=path, **options).ys.x[
            -1
        ]
    )
    fine = run(diffrax.Euler(), 2**-12)
    rough = run(diffrax.Euler(), 2**-4)
    srk = run(diffrax.ShARK(), 2**-4)
    adaptive = run(
        diffrax.Heun(),
        2**-6,
        stepsize_controller=diffrax.ClipStepSizeController(
            diffrax.PIDController(rtol=1e-3, atol=1e-4, dtmin=2**-12), store_rejected_steps=200
        ),
    )
    assert np.abs(srk - fine).max() < np.abs(rough - fine).max() / 10
    assert np.abs(adaptive - fine).max() < np.abs(rough - fine).max() / 10


def test_what_has_no_diffrax_form_is_refused_with_the_reason():
    x = start()
    multiplicative = sdesim.Dynamics(loss, noise=LAWS["diagonal"]())
    with pytest.raises(ValueError, match="Itô solver"):
        sdesim.diffrax_solve(multiplicative, x, key=jax.random.key(0), t1=1.0, dt0=0.1, solver=diffrax.Heun())
    sdesim.diffrax_solve(multiplicative, x, key=jax.random.key(0), t1=1.0, dt0=0.1, solver=diffrax.ItoMilstein())
    heavy = sdesim.Dynamics(loss, noise=noise.StudentT(1.0, 1.5))
    with pytest.raises(ValueError, match="no variance"):
        sdesim.diffrax_solve(heavy, x, key=jax.random.key(0), t1=1.0, dt0=0.1)


SOLVERS = {
    "Euler": diffrax.BrownianIncrement,
    "Heun": diffrax.BrownianIncrement,
    "SEA": diffrax.SpaceTimeLevyArea,
    "SRA1": diffrax.SpaceTimeLevyArea,
    "ShARK": diffrax.SpaceTimeLevyArea,
    "GeneralShARK": diffrax.SpaceTimeLevyArea,
    "SlowRK": diffrax.SpaceTimeLevyArea,
    "SPaRK": diffrax.SpaceTimeLevyArea,
}


@pytest.mark.parametrize("name", SOLVERS)
def test_paths_have_the_areas_that_solvers_need(name):
    assert as_diffrax._levy_area(getattr(diffrax, name)()) is SOLVERS[name]


def test_a_stochastic_runge_kutta_solver_without_a_path():
    """The default path is the tree that a user would make: the same numbers."""
    model = sdesim.Dynamics(loss, sdesim.Quorum(2.0), noise.Gaussian(1.0), eta=0.1)
    x, key = start(), jax.random.key(3)
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    tree = diffrax.VirtualBrownianTree(0.0, 0.5, 0.025, shape, key, diffrax.SpaceTimeLevyArea)
    runs = [
        sdesim.diffrax_solve(model, x, key=key, t1=0.5, dt0=0.1, solver=diffrax.ShARK(), path=path).ys.x
        for path in (None, tree)
    ]
    np.testing.assert_array_equal(*runs)


def test_reverse_mode_goes_through():
    """Without noise, the end is differentiated by its gain as central differences have it."""
    end = lambda k: jnp.sum(
        sdesim.diffrax_solve(
            sdesim.Dynamics(loss, sdesim.Quorum(k), eta=0.1), start(), key=jax.random.key(0), t1=1.0, dt0=0.1
        ).ys.x
        ** 3
    )
    difference = (float(end(1.0 + 1e-5)) - float(end(1.0 - 1e-5))) / 2e-5
    assert float(jax.grad(end)(1.0)) == pytest.approx(difference, rel=1e-6)


def test_more_steps_than_the_usual_limit():
    assert as_diffrax._most_steps(1.0, 0.1, {}) == 4096
    assert as_diffrax._most_steps(1.0, 1e-4, {}) == 10001
    assert as_diffrax._most_steps(1.0, 1e-4, {"stepsize_controller": diffrax.PIDController(1e-3, 1e-3)}) == 4096


class Cauchy(noise.AbstractAdditive):
    """A law of a user's that has no variance and says so."""

    @property
    def amplitude(self):
        return jnp.ones(())

    def iteration_only(self):
        return "Cauchy has no variance"

    def variates(self, words, dtype, batch):
        return jnp.tan(jnp.pi * sdesim.random.centered(words[0].own, dtype) / 2)


MODEL = dict(model=sdesim.Dynamics(loss, sdesim.Quorum(2.0), noise.Gaussian(1.0), eta=0.1))
HEAVY = dict(model=sdesim.Dynamics(loss, noise=Cauchy()))
STEPWISE = dict(model=sdesim.Dynamics(loss, eta=sdesim.schedules.Halving(0.1, 5)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(dt0=0.0), r"^dt0=0.0: must be finite and greater than 0"),
        (dict(dt0=-0.1), r"^dt0=-0.1: must be finite and greater than 0"),
        (dict(dt0=1e-12), r"^dt0=1e-12: must be at least"),
        (dict(dt0=None), r"^dt0=None: must be the length of a step"),
        (dict(dt0="a"), r"^dt0='a': must be a number"),
        (dict(t1=0.0), r"^t1=0.0: must be finite and greater than 0"),
        (dict(t1=np.inf), r"^t1=inf: must be finite"),
        (dict(t1=[1.0, 2.0]), r"^t1=\[1.0, 2.0\]: must be one number"),
        (dict(x=jnp.zeros(3)), r"^x: of shape \(3,\), must be \(agents, dims\)"),
        (dict(x="a"), r"^x='a': must be a number"),
        (dict(v=jnp.zeros((4, 2))), r"^v: must be left out, as the model has no momentum"),
        (dict(key=0), r"^key=0: must be one key of jax.random"),
        (dict(key=jax.random.split(jax.random.key(0))), r"^key=.*must be one key"),
        (dict(solver=diffrax.Heun), r"^solver=the class Heun: must be a solver of diffrax"),
        (dict(path=3), r"^path=3: must be a path of diffrax"),
        (dict(model=3), r"^model=3: must be a sdesim.Dynamics"),
        (HEAVY, r"^noise: Cauchy has no variance"),
        (STEPWISE, r"^steps=None: the learning rate depends on the step"),
        (STEPWISE | dict(steps=10**12), r"^steps=1000000000000: must be an integer"),
    ],
)
def test_bad_arguments(changes, message):
    given = dict(MODEL, x=start(), key=jax.random.key(0), t1=1.0, dt0=0.1) | changes
    with pytest.raises((ValueError, TypeError), match=message):
        sdesim.diffrax_solve(given.pop("model"), given.pop("x"), **given)


def test_increments_need_a_variance_too():
    with pytest.raises(ValueError, match=r"^increments: Cauchy has no variance"):
        sdesim.simulate(**HEAVY, steps=1, increments=np.zeros((1, 1, 1, 1)))
