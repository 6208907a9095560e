"""Bad input to models and runs: one line that names the argument, its value and what would be right."""

import re
import warnings

import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import coupling, noise


def square(x):
    return jnp.sum(x**2)


def simulate(model=None, **options):
    return sdesim.simulate(sdesim.Dynamics(square) if model is None else model, **({"steps": 2} | options))


def refused(kind, message, call):
    """One line of at most 300 characters, starting with the argument."""
    with pytest.raises(kind, match=message) as error:
        call()
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


@pytest.mark.parametrize("value", [0, -1, 2.0, True, "3", np.float64(1)])
@pytest.mark.parametrize("name", ["agents", "sims", "dims", "epoch", "every"])
def test_counts(name, value):
    refused(ValueError, rf"^{name}=.*must be an integer (of at least|from) 1", lambda: simulate(**{name: value}))


@pytest.mark.parametrize("value", [-1, 0.5, False])
@pytest.mark.parametrize("name", ["steps", "first_sim"])
def test_counts_from_zero(name, value):
    refused(ValueError, rf"^{name}={value}: must be an integer (of at least|from) 0", lambda: simulate(**{name: value}))


@pytest.mark.parametrize(
    ("name", "value"),
    [("agents", 2**17 + 1), ("dims", 2**16 + 1), ("steps", 2**31), ("sims", 2**32 + 1), ("first_sim", 2**32)],
)
def test_limits_of_the_generator(name, value):
    refused(ValueError, rf"^{name}={value}: must be an integer from", lambda: simulate(**{name: value}))


def test_period():
    call = lambda: sdesim.iterate(sdesim.Dynamics(square), steps=1, period=0)
    refused(ValueError, "^period=0: must be an integer from 1", call)


@pytest.mark.parametrize("seed", [-1, 2**64, 0.5, "a"])
def test_seed(seed):
    refused(ValueError, "^seed=.*must be an integer from 0", lambda: simulate(seed=seed))


# -- models ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (dict(eta=-0.1), r"^eta=-0.1: must be finite and at least 0"),
        (dict(eta=np.nan), r"^eta=nan: must be finite"),
        (dict(eta=[0.1, -0.1]), r"^eta=\[0.1, -0.1\]: must be finite"),
        (dict(batch=0), r"^batch=0.0: must be finite and greater than 0"),
        (dict(rates="iterations"), r"^rates='iterations': did you mean 'iteration'\? known: iteration, noise"),
        (dict(weak_order=3), r"^weak_order=3: must be 1 or 2"),
        (dict(weak_order=2, momentum=sdesim.Nesterov(0.9)), r"^weak_order=2: .*without momentum"),
        (dict(velocity_coupling=coupling.Quorum(1.0)), r"^velocity_coupling: .*without momentum"),
    ],
)
def test_model_values(parts, message):
    refused(ValueError, message, lambda: sdesim.Dynamics(square, **parts))


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (dict(objective=3.0), r"^objective=3.0: must be an objective of sdesim or a function"),
        (dict(coupling=2.0), r"^coupling=2.0: must be one of sdesim.coupling"),
        (dict(coupling=coupling.Quorum), r"^coupling=.*must be one of sdesim.coupling"),
        (dict(noise=0.5), r"^noise=0.5: must be one of sdesim.noise"),
        (dict(momentum=0.9), r"^momentum=0.9: must be None, Nesterov, HeavyBall or Friction"),
        (dict(eta="fast"), r"^eta='fast': must be a number or an array of numbers"),
    ],
)
def test_model_types(parts, message):
    refused(TypeError, message, lambda: sdesim.Dynamics(**({"objective": square} | parts)))


@pytest.mark.parametrize(
    ("delta", "message"), [(-0.1, "^delta=-0.1: must be"), (1.5, "^delta=1.5: a momentum must be")]
)
@pytest.mark.parametrize("rule", [sdesim.HeavyBall, sdesim.Nesterov])
def test_momentum(rule, delta, message):
    refused(ValueError, message, lambda: rule(delta))


@pytest.mark.parametrize("name", ["eta", "batch"])
def test_one_number_an_agent(name):
    model = sdesim.Dynamics(square, **{name: [0.1, 0.2, 0.3]})
    refused(ValueError, rf"^{name}: .*\(agents,\) = \(4,\), got shape \(3,\)", lambda: simulate(model, agents=4))


def test_what_is_no_model():
    refused(TypeError, "^model=.*must be a sdesim.Dynamics", lambda: simulate(square))


# -- losses ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda x: x**2, r"has shape \(3,\) and type .*must be one real number \(sum over the coordinates\?\)"),
        (lambda x: jnp.sum(x > 0), r"type int.*must be one real number"),
        (lambda x: jnp.sum(x.astype(complex)), r"type complex.*must be one real number"),
        (lambda x: float(x[0]), r"cannot be evaluated at a point of shape \(3,\): .*: use jax\.numpy"),
        (lambda x: jnp.sum(x @ jnp.ones((4, 4))), r"cannot be evaluated at a point of shape \(3,\)"),
        (lambda x, y: jnp.sum(x), r"cannot be evaluated at a point of shape \(3,\): TypeError"),
    ],
    ids=["vector", "integer", "complex", "float", "shapes", "arguments"],
)
def test_losses(loss, message):
    with pytest.raises(ValueError, match=rf"^objective: .*{message}"):
        simulate(sdesim.Dynamics(loss), dims=3)


def test_objective_of_other_dimensions():
    model = sdesim.Dynamics(sdesim.objectives.OscillatingDoubleWell())
    refused(ValueError, r"^dims=2: OscillatingDoubleWell has 1 dimension", lambda: simulate(model, dims=2))


def test_a_loss_of_one_number_may_take_it_bare():
    """Both forms of the same loss give the same run."""
    runs = [simulate(sdesim.Dynamics(f), init=0.7).agents for f in (lambda x: jnp.cos(x), lambda x: jnp.cos(x[0]))]
    np.testing.assert_array_equal(*runs)


# -- runs ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(dt=0.0), r"^dt=0.0: must be finite and greater than 0"),
        (dict(dt=-1.0), r"^dt=-1.0: must be finite"),
        (dict(order="gauss_seidel"), r"^order='gauss_seidel': did you mean 'gauss-seidel'\? known: jacobi, gauss"),
        (
            dict(init=np.ones((3, 7)), sims=2, agents=4),
            r"^init: an array of shape \(3, 7\) does not fit .* \(2, 4, 7\)",
        ),
        (dict(init=np.ones((1, 1, 1, 1))), r"^init: an array of shape \(1, 1, 1, 1\) does not fit"),
        (dict(init=[np.nan, 1.0], dims=2), r"^init=\[nan, 1.0\]: must be finite, and 1 of its 2 numbers are not"),
        (dict(init=np.inf), r"^init=inf: must be finite"),
        (dict(velocity=1.0), r"^velocity: the model has no momentum"),
        (dict(increments=np.zeros((2, 1, 3, 1)), agents=2), r"^increments: .*\(2, 1, 2, 1\), got \(2, 1, 3, 1\)"),
    ],
)
def test_run_values(options, message):
    refused(ValueError, message, lambda: simulate(**options))


def test_velocity_must_be_finite():
    model = sdesim.Dynamics(square, momentum=sdesim.Nesterov(0.9))
    refused(ValueError, "^velocity=nan: must be finite", lambda: simulate(model, velocity=np.nan))


def test_modified_drift_has_one_order():
    model = sdesim.Dynamics(square, weak_order=2)
    refused(ValueError, "^order='gauss-seidel': .*weak_order=2", lambda: simulate(model, order="gauss-seidel"))


# -- stability -------------------------------------------------------------------------------------------------------

# (rule, agents, step, order): step * stiffness is just inside 2; a hundredth more is outside.
EDGES = [
    (lambda s: coupling.Quorum(s * 2.0), 5, "jacobi"),
    (lambda s: coupling.Quorum(s * np.array([1.0, 2.0, 0.5])), 3, "jacobi"),
    (lambda s: coupling.Elastic(s * 2.0 / 6), 5, "jacobi"),
    (lambda s: coupling.Elastic(s * 0.5, s * 1.5), 5, "jacobi"),
    (lambda s: coupling.Elastic(s * 2.0, s * 0.1), 5, "gauss-seidel"),
    (lambda s: coupling.Tree(s * 2.0 / 5, (4,)), 4, "jacobi"),
    (lambda s: coupling.Spiking(s * 0.5, 4.0, 1.0, 1.0), 5, "jacobi"),
]


@pytest.mark.parametrize(("rule", "agents", "order"), EDGES)
def test_stiff_coupling_warns(rule, agents, order):
    """At the limit of the rule's own stiffness, in units of the step."""
    eta = 0.1

    def go(scale, **parts):
        model = sdesim.Dynamics(square, coupling=rule(scale / eta), eta=eta, **parts)
        epoch = 1 if isinstance(model.coupling, coupling.Spiking) else None
        simulate(model, agents=agents, order=order, steps=1, epoch=epoch)

    with warnings.catch_warnings():
        warnings.simplefilter("error", sdesim.StabilityWarning)
        go(0.99)
    with pytest.warns(sdesim.StabilityWarning, match=rf"^coupling: .*with {agents} agents"):
        go(1.01)


def test_stability_warning_states_the_limit():
    """The numbers that the warning names as stable do not warn, nor those just below its limits."""
    make = lambda k, rate=None: sdesim.Dynamics(square, coupling=coupling.Elastic(k, rate), eta=0.05)
    with pytest.warns(sdesim.StabilityWarning, match=r"eta \* stiffness = 4.5 is beyond 2.*2.25 times") as caught:
        simulate(make(10.0), agents=8)
    said = str(caught[0].message)
    k, rate = ([*map(float, found)] for found in re.findall(r"to less than ([\d.]+), such as ([\d.]+\d)", said))
    assert k[0] == pytest.approx(2 / 0.05 / 9, rel=1e-3) and rate[0] == pytest.approx(2 / 0.05 - 10, rel=1e-3)
    assert "center_rate=80 to less than 30, such as 15, which by default is k * agents" in said
    with warnings.catch_warnings():
        warnings.simplefilter("error", sdesim.StabilityWarning)
        for stable in (make(0.999 * k[0]), make(k[1]), make(10.0, 0.999 * rate[0]), make(10.0, rate[1])):
            simulate(stable, agents=8)
    with pytest.warns(sdesim.StabilityWarning, match=r"\(center_rate=40 to less than 30, such as 15\)"):
        simulate(make(10.0, 40.0), agents=8)


def test_stability_of_velocity_coupling_and_small_steps():
    stiff = dict(coupling=coupling.Quorum(1.0), velocity_coupling=coupling.Quorum(30.0))
    model = sdesim.Dynamics(square, eta=0.1, momentum=sdesim.Friction(1.0), noise=noise.Gaussian(1.0), **stiff)
    with pytest.warns(sdesim.StabilityWarning, match=r"^velocity_coupling: "):
        simulate(model, agents=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error", sdesim.StabilityWarning)
        simulate(model, agents=3, dt=0.05)


@pytest.mark.parametrize("law", [sdesim.init.Point(np.zeros(3)), sdesim.init.Normal(np.zeros(3), 1.0)])
@pytest.mark.parametrize("name", ["init", "velocity"])
def test_a_law_of_other_dimensions_is_refused(law, name):
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(), momentum=sdesim.HeavyBall(0.9))
    with pytest.raises(ValueError, match=rf"^{name}: \w+ has numbers of 3 coordinates, and dims=2"):
        sdesim.simulate(model, dims=2, steps=1, **{name: law})


def test_a_divergence_is_told_with_what_helps_at_the_line_that_called():
    """A gradient that is not finite where agents start is no matter of the step."""
    with pytest.warns(sdesim.DivergenceWarning, match="gradient of the loss is not finite where 1 of them") as told:
        sdesim.simulate(sdesim.Dynamics(lambda x: jnp.linalg.norm(x)), dims=2, steps=3)
    assert told[0].filename == __file__
    with pytest.warns(sdesim.DivergenceWarning, match="a smaller eta or gain would be stable"):
        sdesim.simulate(sdesim.Dynamics(lambda x: jnp.sum(x**4), eta=1.0), init=10.0, steps=10)


def test_an_error_of_others_in_one_line():
    said = sdesim.fields.said_by
    assert said(ValueError("\n  a   reason\nand more")) == "ValueError: a reason"
    assert said(KeyError()) == "KeyError" and len(said(OSError("x" * 999))) == len("OSError: ") + 200
