"""The networks' parts against JAX's own, and their sizes against the papers'."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sdesim import training
from sdesim.training import networks

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it


@pytest.mark.parametrize(("size", "same"), [((3, 3), False), ((5, 1), True), ((1, 5), True), ((2, 4), False)])
def test_convolution_is_a_convolution(size, same):
    module = networks.Convolution(4, size, same=same)
    x = jax.random.normal(jax.random.key(0), (2, 9, 8, 3))
    params = module.init(jax.random.key(1), x)
    kernel = params["params"]["kernel"]
    dims = ("NHWC", "HWIO", "NHWC")
    padding = [(n // 2, (n - 1) // 2) for n in size] if same else "VALID"
    expected = jax.lax.conv_general_dilated(x, kernel, (1, 1), padding, dimension_numbers=dims)
    np.testing.assert_allclose(module.apply(params, x), expected, rtol=1e-5, atol=1e-5)
    loss = lambda p: (module.apply(p, x) ** 2).sum()
    other = lambda k: (jax.lax.conv_general_dilated(x, k, (1, 1), padding, dimension_numbers=dims) ** 2).sum()
    np.testing.assert_allclose(
        jax.grad(loss)(params)["params"]["kernel"], jax.grad(other)(kernel), rtol=1e-4, atol=1e-4
    )


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere all images are taken at once")
@pytest.mark.parametrize("images", [8, 11])
@pytest.mark.parametrize("stride", [1, 2])
def test_some_images_at_a_time_are_the_same_convolution(monkeypatch, images, stride):
    x = jax.random.normal(jax.random.key(0), (images, 9, 8, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 2, 3, 5))
    xla = lambda x, k: jax.lax.conv_general_dilated(
        x, k, (stride, stride), "VALID", None, None, ("NHWC", "HWIO", "NHWC")
    )
    ours = lambda x, k: networks.convolved(x, k, stride)
    monkeypatch.setattr(networks, "cores", lambda: [0])
    monkeypatch.setattr(networks, "CACHE", 5 * networks.patches(x[:1], 3, 2, stride).nbytes)
    program = str(jax.make_jaxpr(ours)(x, kernel))
    assert "scan[" in program and "length=2" in program  # four at a time, the power of 2 below five

    def derivatives(convolution):
        loss = lambda x, k: (convolution(x, k) ** 3).mean()
        slopes = jax.grad(loss, (0, 1))
        directions = jnp.cos(x), jnp.sin(kernel)
        agents = jax.vmap(slopes, (None, 0))(x, jnp.stack([kernel, 2 * kernel]))
        return convolution(x, kernel), slopes(x, kernel), jax.jvp(slopes, (x, kernel), directions), agents

    found, expected = jax.tree.leaves(derivatives(ours)), jax.tree.leaves(derivatives(xla))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5 * float(jnp.abs(other).max()))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="elsewhere all images are taken at once")
def test_sums_over_images_lose_nothing_in_half_precision(monkeypatch):
    """The derivative by the kernel, of one image after another, is as near to that of float32 as of all at once."""
    x = jax.random.normal(jax.random.key(0), (64, 9, 8, 3))
    kernel = jax.random.normal(jax.random.key(1), (3, 2, 3, 5))

    def slope(dtype):
        return jax.grad(lambda k: (networks.convolved(x.astype(dtype), k) ** 2).sum().astype(jnp.float32))(kernel)

    error = lambda found: float(jnp.linalg.norm(found - exact) / jnp.linalg.norm(exact))
    exact, at_once = slope(jnp.float32), slope(jnp.bfloat16)
    monkeypatch.setattr(networks, "CACHE", 1)  # not one image
    assert error(slope(jnp.float32)) < 1e-6
    assert error(slope(jnp.bfloat16)) < 1.5 * error(at_once) < 0.02


@pytest.mark.parametrize("images", [0, 1])
def test_no_image_and_one(monkeypatch, images):
    monkeypatch.setattr(networks, "CACHE", 1)
    assert networks.convolved(jnp.ones((images, 5, 4, 2)), jnp.ones((3, 2, 2, 7))).shape == (images, 3, 3, 7)


def test_pool_and_norm():
    x = jnp.arange(2 * 5 * 4 * 1.0).reshape(2, 5, 4, 1)
    pooled = networks.max_pool(x)
    assert pooled.shape == (2, 2, 2, 1)
    assert pooled[0, :, :, 0].tolist() == [[5, 7], [13, 15]]
    x = 3 + 2 * jax.random.normal(jax.random.key(0), (64, 4, 4, 5))
    module = networks.BatchNorm()
    normal = module.apply(module.init(jax.random.key(1), x), x)
    np.testing.assert_allclose(normal.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std(axis=(0, 1, 2)), 1, atol=1e-4)


COUNTS = {
    # convolutions with biases, two numbers a normalized channel, one dense layer of 64 inputs
    "three-layer": (32, 9 * 9 * 3 * 64 + 64 + 25 * 64 * 128 + 128 + 9 * 128 * 64 + 64 + 2 * 256 + 64 * 10 + 10),
    "seven-layer": (28, 75 * 64 + 64 + 25 * 64 * 128 + 128 + 9 * 128 * 64 + 64 + 256 * 256 + 256 + 2570),
    "low-rank": (
        32,
        (15 * 10 + 50 * 96 + 96)
        + (5 * 96 * 51 + 5 * 51 * 128 + 128)
        + (5 * 128 * 51 + 5 * 51 * 256 + 256)
        + (256 * 64 + 64)
        + (1024 * 256 + 256)
        + 2570,
    ),
}


@pytest.mark.parametrize("name", COUNTS)
def test_sizes_are_the_papers(name):
    side, count = COUNTS[name]
    network = training.NETWORKS[name]()
    params = jax.eval_shape(lambda k: network.init(k, jnp.zeros((2, side, side, 3))), jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
    logits = jax.eval_shape(lambda p: network.apply(p, jnp.zeros((7, side, side, 3))), params)
    assert logits.shape == (7, 10)


def test_first_weights_have_the_papers_laws():
    network = training.ThreeLayer()
    params = network.init(jax.random.key(0), jnp.zeros((2, 32, 32, 3)))["params"]
    dense = params["Dense_0"]
    for leaf in (dense["kernel"], dense["bias"]):
        assert np.abs(leaf).max() <= 1 / 8  # 1 / sqrt(64 inputs)
    assert np.abs(dense["kernel"]).max() > 0.12
    kernel = params["Convolution_1"]["kernel"]  # Kaiming: variance 2 / inputs
    assert kernel.std() == pytest.approx(np.sqrt(2 / (25 * 64)), rel=0.01)
    network = training.LowRank()
    params = network.init(jax.random.key(0), jnp.zeros((2, 32, 32, 3)))["params"]
    for i in range(6):  # of pairs, between which nothing is rectified: LeCun, variance 1 / inputs
        kernel = params[f"Convolution_{i}"]["kernel"]
        assert kernel.std() * np.sqrt(kernel[..., 0].size) == pytest.approx(1, rel=0.1)


def test_images_that_are_too_small_are_refused():
    with pytest.raises(ValueError, match=r"too small for a pool|smaller than a"):
        training.ThreeLayer().init(jax.random.key(0), jnp.zeros((2, 16, 16, 3)))
