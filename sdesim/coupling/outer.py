"""A center that an outer optimizer moves: DiLoCo, SlowMo, Lookahead and Local SGD as one velocity field."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, PyTree

from sdesim.coupling.base import AbstractCoupling, Mean, Order, lower_gain, toward
from sdesim.fields import check_finite, check_flags, check_sign, concrete, number, shown


class Outer(AbstractCoupling):
    """Agents and a center, which an optimizer with momentum moves by how far the agents have come.

        dx^i      = k (center - x^i) dt
        dvelocity = k (D - (1 - momentum) velocity) dt,    D = x_mean - center
        dcenter   = k lr ((1 + momentum) D + momentum^2 velocity) dt     by Nesterov's momentum,
                    k lr (D + momentum velocity) dt                      by the heavy ball

    An exchange of weight 1 is the step of the outer optimizer, SGD along -D. In Gauss-Seidel order agents jump onto the
    center, descend for a period, and the center follows: DiLoCo (2311.08105), with the heavy ball SlowMo (1910.00643)
    at a constant learning rate, of one agent without momentum Lookahead (1907.08610), and with lr = 1 and no momentum
    Local SGD. So `Iteration(period, pace=1, order="gauss-seidel")` with k = 1 is the algorithm at any learning rate.
    Without momentum the rule is `Elastic(k, center_rate=k lr)`, and DOWNPOUR at lr = agents; but where some take part,
    D is the mean over whoever came, and not their share of all.

    The center starts at the mean of the initial agents, at rest.

    Attributes:
        k: gain, one number, in 1/time.
        lr: outer learning rate, at least 0, without unit.
        momentum: of the outer optimizer, from 0 to 1, without unit.
        nesterov: whether it is Nesterov's; else the heavy ball's.
    """

    k: Array = eqx.field(converter=number)
    lr: Array = eqx.field(converter=number, default=0.7)
    momentum: Array = eqx.field(converter=number, default=0.9)
    nesterov: bool = eqx.field(static=True, default=True)

    def __check_init__(self):
        check_finite("k", self.k)
        check_sign("lr", self.lr)
        check_sign("momentum", self.momentum)
        if (most := concrete(self.momentum, np.max)) is not None and most > 1:
            raise ValueError(f"momentum={most:g}: must be from 0 to 1")
        check_flags(nesterov=self.nesterov)

    def check_run(self, agents: int):
        for name in ("k", "lr", "momentum"):
            if jnp.shape(value := getattr(self, name)) != ():
                raise ValueError(f"{name}={shown(value)}: must be one number")

    def init(self, x: PyTree, mean: Mean):
        center = mean(x)
        return {"center": center, "velocity": jax.tree.map(jnp.zeros_like, center)}

    def pull(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return toward(shared["center"], x, self.k)

    def flow(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        come = jax.tree.map(jnp.subtract, mean(x), shared["center"])
        of_come, of_velocity = self._weights()
        rate = self.k * self.lr
        return {
            "center": jax.tree.map(lambda d, v: rate * (of_come * d + of_velocity * v), come, shared["velocity"]),
            "velocity": jax.tree.map(lambda d, v: self.k * (d - (1 - self.momentum) * v), come, shared["velocity"]),
        }

    def center(self, x: PyTree, shared: PyTree, t: Array, mean: Mean):
        return shared["center"]

    def _weights(self) -> tuple[Array, Array]:
        """Of D and of the velocity in what moves the center."""
        if self.nesterov:
            return 1 + self.momentum, self.momentum**2
        return jnp.ones_like(self.momentum), self.momentum

    def _field(self) -> np.ndarray | None:
        """The rates of D and of the velocity, (2, 2), by the flow alone; None where they cannot be looked at."""
        k, lr, momentum, of_come, of_velocity = (
            concrete(a, np.max) for a in (self.k, self.lr, self.momentum, *self._weights())
        )
        if k is None or lr is None or momentum is None or of_come is None or of_velocity is None:
            return None
        return k * np.array([[-lr * of_come, -lr * of_velocity], [1.0, momentum - 1.0]])

    def stiffness(self, agents: int):
        flow, k = self._field(), concrete(self.k, np.max)
        if flow is None or k is None:
            return None
        return float(np.abs(np.linalg.eigvals(flow - np.diag([k, 0.0]))).max(initial=abs(k)))

    def amplification(self, step: float, agents: int, order: Order):
        flow, k = self._field(), concrete(self.k, np.max)
        if flow is None or k is None:
            return None
        kept = np.diag([1 - step * k, 1.0])
        one = kept + step * flow if order == "jacobi" else (np.eye(2) + step * flow) @ kept
        return float(np.abs(np.linalg.eigvals(one)).max(initial=abs(1 - step * k)))

    def gentler(self, excess: float, agents: int):
        return lower_gain(self.k, excess)
