"""Rules of one's own check and describe themselves, and are treated as the built-in ones are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sdesim
from sdesim import coupling
from sdesim.coupling.base import lower_gain


class Limited(coupling.AbstractPull):
    """dx^i = k_i tanh(mean - x^i) dt."""

    def pull(self, x, shared, t, mean):
        k = coupling.per_agent(mean.taken(self.k), x)
        return k * jnp.tanh(mean(x)[None] - x)

    def stiffness(self, agents):
        return float(np.max(self.k))

    def gentler(self, excess, agents):
        return lower_gain(self.k, excess)


class Even(coupling.AbstractCoupling):
    """For pairs alone."""

    def pull(self, x, shared, t, mean):
        return jax.tree.map(jnp.zeros_like, x)

    def check_run(self, agents):
        if agents % 2:
            raise ValueError(f"pairs: must be of an even number of agents, got {agents}")


def run(rule, **options):
    model = sdesim.Dynamics(lambda x: 0 * jnp.sum(x), coupling=rule, eta=0.1)
    return sdesim.simulate(model, **(dict(agents=3, steps=1) | options))


def test_its_numbers_are_checked_by_name():
    with pytest.raises(ValueError, match=r"^k=inf: must be finite"):
        Limited(np.inf)
    with pytest.raises(
        ValueError, match=r"^coupling.k: must be a number or of shape \(agents,\) = \(3,\), got shape \(2,\)"
    ):
        run(Limited([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"^coupling.pairs: must be of an even number of agents, got 3"):
        run(Even())
    with pytest.raises(ValueError, match=r"^velocity_coupling.k: must be a number or of shape"):
        model = sdesim.Dynamics(
            lambda x: jnp.sum(x), momentum=sdesim.HeavyBall(0.5), velocity_coupling=Limited([1.0, 2.0])
        )
        sdesim.simulate(model, agents=3, steps=1)


def test_it_is_warned_of_with_the_number_to_lower():
    with pytest.warns(
        sdesim.StabilityWarning, match=r"multiplies its fastest mode by 2\..*\(k=30 to less than 20, such as 10\)"
    ):
        run(Limited(30.0))


def test_gains_of_the_agents_own_meet_their_own_steps():
    gains, ticks = np.array([1.0, 4.0, 2.0]), np.array([0.3, 0.1, 0.2])
    assert Limited(gains).stiffest(ticks) == pytest.approx(0.1)  # 4 * 0.1 is the most
    assert Limited(3.0).stiffest(ticks) == pytest.approx(0.3)
    assert Even().stiffest(ticks) == pytest.approx(0.3)
