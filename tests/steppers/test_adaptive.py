"""Adam and RMSprop as steppers, beside optax and their SDEs: weak order, the square-root scaling rule, coupling."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sdesim
from sdesim import coupling, noise, objectives, statistics
from sdesim.steppers import Adam, AdamSDE

H, START, END = 1.0, 1.0, 1.0
"""Of the quadratic: its curvature, where agents start; and until when they go, in units of eta^2 iterations."""
NOISE, RATES, EPS = 1.0, (1.5, 2.0), 0.3
"""What stays where eta falls: eta sigma, (1 - b1, 1 - b2) / eta^2, and eta eps."""


def numbers(eta, kind):
    b1 = None if kind == "rmsprop" else 1 - RATES[0] * eta**2
    return dict(b1=b1, b2=1 - RATES[1] * eta**2, eps=EPS / eta, second=0.5 * (NOISE / eta) ** 2, debias=False)


def model_of(eta, batch=1):
    return sdesim.Dynamics(objectives.Quadratic(H), noise=noise.Gaussian(NOISE / eta), eta=eta, batch=batch)


@jax.jit
def ends(model, stepper, steps, seed):
    """Mean square of uncoupled agents after some steps, of 150 simulations."""

    def one(sim):
        state = stepper.init(model, jnp.full((2000, 1), START))
        step = lambda n, state: stepper.step(model, state, n, seed=seed, sim=sim)
        return jnp.mean(jax.lax.fori_loop(0, steps, step, state).x ** 2)

    return jax.lax.map(one, jnp.arange(150))


@pytest.mark.parametrize("kind", ["adam", "rmsprop"])
def test_it_is_that_of_optax(kind):
    model = sdesim.Dynamics(objectives.Quadratic(np.array([1.0, 3.0])), eta=0.1)
    stepper, other = {
        "adam": (Adam(0.9, 0.99, 1e-3), optax.adam(0.1, 0.9, 0.99, 1e-3)),
        "rmsprop": (Adam(None, 0.9, 1e-2, debias=False), optax.rmsprop(0.1, 0.9, 1e-2, eps_in_sqrt=False)),
    }[kind]
    x = jnp.array([1.0, -2.0])
    state = other.init(x)
    for _ in range(7):
        with jax.numpy_dtype_promotion("standard"):
            updates, state = other.update(jnp.array([1.0, 3.0]) * x, state, x)
        x = optax.apply_updates(x, updates)
    run = sdesim.simulate(model, steps=7, init=np.array([1.0, -2.0]), stepper=stepper)
    np.testing.assert_allclose(run.agents[0, 0], x, rtol=1e-12)


def test_the_weak_error_of_the_sde_falls_as_the_square_of_the_learning_rate():
    """In units of iterations the SDE's steps are a fixed share, whose own error is of the same order."""
    etas, errors = [], []
    for steps in (3, 6, 12):
        eta = np.sqrt(END / steps)
        found = ends(model_of(eta), Adam(**numbers(eta, "adam")), steps, 1)
        exact = ends(model_of(eta), AdamSDE(**numbers(eta, "adam"), dt=eta / 4), 4 * steps, 2)
        etas.append(eta)
        errors.append(np.asarray(exact - found))
    errors = np.array(errors)
    fitted = lambda kept: statistics.slope(np.array(etas), errors[:, kept].mean(1))
    error, slope = statistics.jackknife(fitted, errors.shape[1])[0], fitted(np.arange(errors.shape[1]))
    assert error < 0.3
    assert abs(slope - 2) < 4 * error
    assert slope - 1 > 3 * error


@pytest.mark.parametrize("kind", ["adam", "rmsprop"])
def test_the_sde_knows_the_square_root_scaling_rule(kind):
    """A batch kappa times as large at sqrt(kappa) eta, kappa (1 - b), eps / sqrt(kappa) is the same SDE, to gradients'
    own squares, of which the noise leaves a millionth; by the linear rule it is another one."""
    eta, kappa, step = 1e-3, 4, 0.05
    path = lambda eta, batch, made: (
        sdesim.simulate(
            sdesim.Dynamics(objectives.Quadratic(H), noise=noise.Gaussian(1e3), eta=eta, batch=batch),
            agents=3,
            steps=20,
            init=START,
            stepper=AdamSDE(**{**made, "second": 0.5e6 / batch}, dt=step / eta),
        ).agents
    )
    right = path(eta, 1, numbers(eta, kind))
    root, linear = np.sqrt(kappa) * eta, kappa * eta
    scaled = path(root, kappa, numbers(root, kind))
    np.testing.assert_allclose(scaled, right, atol=1e-4)
    assert np.abs(path(linear, kappa, numbers(linear, kind)) - right).max() > 0.05


def test_the_algorithm_follows_the_square_root_scaling_rule():
    """Four iterations of one sample are one of four, to an error of the order of eta^2; by the linear rule not so."""
    eta = np.sqrt(END / 48)
    one = ends(model_of(eta), Adam(**numbers(eta, "adam")), 48, 1)
    four = lambda factor, steps: ends(
        sdesim.Dynamics(objectives.Quadratic(H), noise=noise.Gaussian(NOISE / eta), eta=factor * eta, batch=4),
        Adam(**numbers(factor * eta, "adam")),
        steps,
        2,
    )
    off = lambda found: abs(float(jnp.mean(found) / jnp.mean(one)) - 1)
    assert off(four(2.0, 12)) < 0.06
    assert off(four(4.0, 3)) > 0.15


@pytest.mark.parametrize("order", ["jacobi", "gauss-seidel"])
@pytest.mark.parametrize("stepper", [Adam, AdamSDE])
def test_a_rule_pulls_as_it_does_on_sgd(stepper, order):
    """Without a gradient agents meet as by the iteration, and their mean stays."""
    model = sdesim.Dynamics(lambda x: 0.0 * jnp.sum(x), coupling.Elastic(0.7), eta=0.2)
    init = np.linspace(-1, 1, 8).reshape(4, 2)
    run = lambda stepper: sdesim.simulate(model, agents=4, steps=5, init=init, stepper=stepper)
    mine, other = run(stepper(order=order)), run(sdesim.Iteration(order=order))
    np.testing.assert_allclose(mine.agents, other.agents, rtol=1e-12)
    np.testing.assert_allclose(mine.center, other.center, rtol=1e-12)


def test_what_it_has_no_meaning_with_is_refused():
    quadratic = objectives.Quadratic(1.0)
    run = lambda stepper, **of: sdesim.simulate(sdesim.Dynamics(quadratic, eta=0.1, **of), steps=1, stepper=stepper)
    with pytest.raises(ValueError, match=r"^momentum=HeavyBall: Adam has its own"):
        run(Adam(), momentum=sdesim.HeavyBall(0.9))
    with pytest.raises(ValueError, match=r"^weak_order=2"):
        run(AdamSDE(), weak_order=2)
    with pytest.raises(ValueError, match=r"^dt=0\.05: .*leave dt out"):
        run(AdamSDE(dt=0.05), noise=noise.GammaMultiplicative(2.0))
    with pytest.raises(ValueError, match=r"^noise=Diffusion: must be of each coordinate by itself"):
        run(AdamSDE(), noise=noise.Diffusion(lambda x: jnp.eye(1), "full"))
    with pytest.raises(ValueError, match=r"^b2=1: must be less than 1"):
        Adam(b2=1.0)
    with pytest.raises(ValueError, match=r"^stepper=Adam"):
        sdesim.analysis.linearize(sdesim.Dynamics(quadratic, eta=0.1), Adam(), agents=2)
