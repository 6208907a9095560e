"""Annotations are true: rooms that state shapes are traced with every argument and every result checked against them.

In a process of its own, since the hook must be there before sdesim is imported.
"""

import subprocess
import sys

ROOMS = ("init", "noise", "objectives", "observe", "random", "schedules", "steppers", "sums")

SCRIPT = """
import jaxtyping

with jaxtyping.install_import_hook({rooms}, "beartype.beartype"):
    import jax
    import jax.numpy as jnp

    import sdesim
    from sdesim import init, noise, objectives, observe, random, schedules

laws = [
    noise.Silent(), noise.Uniform(1.0), noise.Gaussian(jnp.array([1.0, 2.0])), noise.StudentT(1.0, 5.0),
    noise.Diffusion(lambda x: 1 + x**2), noise.Diffusion(lambda x: jnp.eye(2), kind="full"),
    noise.GammaMultiplicative(2.0),
]
watched = [
    observe.Quorum(), observe.Center(), observe.Spread(), observe.QuorumLoss(), observe.MeanLoss(), observe.Snapshot(),
    observe.Velocity(), observe.Density(-1.0, 1.0),
    observe.Moments(), observe.Histogram(-1.0, 1.0), observe.Occupancy([[0.0, 0.0]], 1.0),
    observe.FirstPassage(0.0, 1.0),
]
x = jnp.zeros((3, 2))
pair = jnp.uint32(0), jnp.uint32(0)
for law in (init.Uniform(-1.0, 1.0), init.Normal(), init.Point(1.0)):
    jax.eval_shape(lambda: law.draw(random.words(pair, 0, 3, 2), x.dtype))
fast = dict(momentum=sdesim.Nesterov(0.5), batch=[1.0, 2.0, 3.0])
for law in laws:
    for more in ({}, fast):
        gain = sdesim.Quorum(schedules.Growth(1.0, 1.0))
        model = sdesim.Dynamics(objectives.LogCosh(), gain, law, schedules.Halving(0.1, 2), **more)
        for order in ("jacobi", "gauss-seidel"):
            for stepper in (sdesim.EulerMaruyama(order=order), sdesim.Iteration(2, order=order)):
                state = stepper.init(model, x)
                jax.eval_shape(lambda s: stepper.step(model, s, 0), state)
view = observe.View(state, jnp.int32(1), model, sdesim.coupling.ArrayMean(3), jnp.zeros(1))
for o in watched:
    series = isinstance(o, observe.AbstractSeries)
    jax.eval_shape(lambda: o.value(view) if series else o.finish(o.update(o.init(view), view)))
try:
    law.apply(jnp.zeros(3), jnp.zeros((3, 2)), jnp.zeros((3, 2)), jnp.ones(()), jnp.ones(()))
except jaxtyping.TypeCheckError:
    print("checked")
"""


def test_calls_are_what_annotations_say():
    script = SCRIPT.replace("{rooms}", str([f"sdesim.{room}" for room in ROOMS]))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.split() == ["checked"]
