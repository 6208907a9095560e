"""Text and rows: the same trainer, other losses; what comes along is what its record says."""

import functools
import hashlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sdesim
from sdesim import training
from sdesim.training import samples
from sdesim.training import step as steps
from sdesim.training.setup import _pixels

pytestmark = [pytest.mark.relaxed, pytest.mark.usefixtures("float32")]  # as users have it

LENGTH = 32
TOKENS = training.text(length=LENGTH)
FEWER = TOKENS._replace(
    train_x=TOKENS.train_x[:600], train_y=TOKENS.train_y[:600], test_x=TOKENS.test_x[:100], test_y=TOKENS.test_y[:100]
)
TEXT = training.split(FEWER, seed=0)
ROWS = training.split(training.diabetes(), seed=0)
SMALL = training.Transformer(tokens=TOKENS.outputs, width=32, layers=1, heads=2, length=LENGTH)
RUN = dict(batch=16, evaluation_batch=50, train_images=200, schedule=training.Constant())
ADAMW = training.optimizer("adamw", b2=0.95)


class Flat(nn.Module):
    """One layer, of samples of any form, with a logit for each of two classes."""

    @nn.compact
    def __call__(self, x):
        return nn.Dense(2)(x.reshape(x.shape[0], -1))


@functools.cache
def trained(name="easgd", agents=2, epochs=6, **more):
    options = dict(optimizer=ADAMW, eta=0.01, **RUN)
    return training.train(
        SMALL, TEXT, training.algorithm(name), agents=agents, epochs=epochs, **options, **more
    ).history


def entropy(counts):
    """In nats, of a law of these counts."""
    law = counts / counts.sum()
    return float(-(law * np.log(law)).sum())


# -- what comes along --------------------------------------------------------------------------------------------------


def test_bundled_files_are_those_that_the_record_names():
    record = (samples.BUNDLED / "SOURCES.md").read_text()
    files = [path for path in samples.BUNDLED.iterdir() if path.name != "SOURCES.md"]
    assert len(files) == 2 and sum(path.stat().st_size for path in files) < 2**20
    for path in files:
        assert f"## {path.name}" in record and hashlib.sha256(path.read_bytes()).hexdigest() in record


def test_windows_are_the_text_and_targets_what_comes_next():
    written = (samples.BUNDLED / "genesis-exodus.txt").read_text()
    said = lambda numbers: "".join(TOKENS.characters[n] for n in np.ravel(numbers))
    assert written.startswith(said(TOKENS.train_x)) and said(TOKENS.train_x).startswith("In the beginning God created")
    assert written[1:].startswith(said(TOKENS.train_y))
    tested = said(TOKENS.test_x)
    assert tested in written[-len(written) // 10 - 1 :] and len(tested) > 0.09 * len(written)
    assert (TOKENS.outputs, TOKENS.train_x.dtype) == (62, np.uint8)


def test_rows_are_the_measurements():
    rows = training.diabetes(seed=3)
    together = np.concatenate([rows.train_x, rows.test_x])
    assert together.shape == (442, 10) and rows.test_x.shape == (44, 10)
    assert rows.columns == ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6")
    targets = np.concatenate([rows.train_y, rows.test_y])
    np.testing.assert_allclose(targets.mean(), 152.13, atol=0.01)  # as scikit-learn's documentation has it
    np.testing.assert_allclose(np.median(targets), 140.5)
    x = np.column_stack([np.ones(442), together])
    residual = targets - x @ np.linalg.lstsq(x.astype(float), targets, rcond=None)[0]
    assert 1 - residual.var() / targets.var() == pytest.approx(0.51775, abs=1e-4)  # R^2 of Efron et al.'s full model
    assert (training.diabetes(seed=4).test_y != rows.test_y).any()


def test_targets_are_standardized_by_the_training_set():
    whole = np.concatenate([ROWS.train_y, ROWS.validation_y])
    assert abs(whole.mean()) < 1e-6 and whole.std() == pytest.approx(1, abs=1e-6)
    rows = training.diabetes()
    np.testing.assert_allclose(ROWS.test_y, (rows.test_y - rows.train_y.mean()) / rows.train_y.std(), rtol=1e-5)


# -- losses and gradients ----------------------------------------------------------------------------------------------


def test_a_gradient_of_text_is_that_of_a_plain_loss():
    params = SMALL.init(jax.random.key(1), jnp.zeros((2, LENGTH), jnp.int32))["params"]
    index = jnp.array([3, 70, 11, 5])

    def plain(params):
        logits = SMALL.apply({"params": params}, jnp.asarray(TEXT.train_x, jnp.int32)[index])
        law = jax.nn.log_softmax(logits)
        right = jnp.take_along_axis(law, jnp.asarray(TEXT.train_y)[index][..., None], axis=-1)
        return -right.mean()

    found = steps.gradient(steps.Task(SMALL, 4), _pixels(TEXT, "train"), params, index, jax.random.key(0))
    expected = jax.value_and_grad(plain)(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, expected)
    assert float(optax.tree.norm(expected[1])) > 0.1


def test_a_gradient_of_rows_is_that_of_a_plain_loss():
    network = training.Perceptron(hidden=(5,))
    params = network.init(jax.random.key(1), jnp.zeros((2, 10)))["params"]
    index = jnp.arange(0, 60, 3)

    def plain(params):
        x = (ROWS.train_x[index] - ROWS.mean) / ROWS.std
        return jnp.mean((network.apply({"params": params}, x)[:, 0] - ROWS.train_y[index]) ** 2)

    found = steps.gradient(steps.Task(network, 20), _pixels(ROWS, "train"), params, index, jax.random.key(0))
    expected = jax.value_and_grad(plain)(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), found, expected)


def test_a_transformer_does_not_see_what_is_to_come():
    network = training.Transformer(tokens=9, width=16, layers=2, heads=4, length=12)
    x = jax.random.randint(jax.random.key(0), (3, 12), 0, 9)
    params = network.init(jax.random.key(1), x)
    changed = x.at[:, 7].set((x[:, 7] + 1) % 9)
    before, after = network.apply(params, x), network.apply(params, changed)
    np.testing.assert_array_equal(before[:, :7], after[:, :7])
    assert float(jnp.abs(before[:, 7:] - after[:, 7:]).min(axis=(0, 2)).max()) > 0
    assert float(jnp.abs(before[:, 11] - after[:, 11]).max()) > 1e-5  # attention, from the last to the seventh


def test_a_transformer_is_that_of_flax():
    """Its attention beside flax's own, of the same matrices."""
    network = training.Transformer(tokens=9, width=16, layers=1, heads=4, length=12)
    x = jax.random.randint(jax.random.key(0), (3, 12), 0, 9)
    params = jax.tree.map(
        lambda a: a + 0.1 * jax.random.normal(jax.random.key(2), a.shape), network.init(jax.random.key(1), x)
    )
    p, block = params["params"], params["params"]["block_0"]
    norm = lambda name, x: nn.LayerNorm().apply({"params": name}, x)
    dense = lambda name, x: x @ name["kernel"] + name["bias"]
    stream = p["tokens_in"]["embedding"][x] + p["places"]
    q, k, v = jnp.split(dense(block["attend"], norm(block["norm_attend"], stream)), 3, axis=-1)
    heads = lambda a: a.reshape(3, 12, 4, 4)
    seen = nn.dot_product_attention(heads(q), heads(k), heads(v), mask=nn.make_causal_mask(x)).reshape(3, 12, 16)
    stream = stream + dense(block["write"], seen)
    stream = stream + dense(block["narrow"], nn.gelu(dense(block["widen"], norm(block["norm_widen"], stream))))
    expected = dense(p["tokens_out"], norm(p["norm"], stream))
    np.testing.assert_allclose(network.apply(params, x), expected, rtol=1e-4, atol=1e-5)


def test_the_default_transformer_has_a_hundred_thousand_parameters():
    network = training.Transformer()
    params = jax.eval_shape(lambda k: network.init(k, jnp.zeros((2, 64), jnp.int32)), jax.random.key(0))
    vocabulary = 62 * 64 + 64 * 64 + 64 * 62 + 62  # tokens in, places, tokens out
    block = 2 * 2 * 64 + 64 * 192 + 192 + 64 * 64 + 64 + 2 * 64 * 256 + 256 + 64
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == vocabulary + 2 * block + 2 * 64 == 112_190


# -- trainings ---------------------------------------------------------------------------------------------------------


def test_text_is_learned_beyond_how_often_characters_are():
    history = trained()
    counts = np.bincount(np.ravel(TOKENS.train_y), minlength=62)
    unigram = entropy(counts)
    assert 3.0 < unigram < 3.1
    start, end = history.test_loss.isel(run=0, model=-1).values[[0, -1]]
    assert start == pytest.approx(np.log(62), abs=0.1)
    assert end < unigram - 0.3
    np.testing.assert_allclose(history.test_perplexity, np.exp(history.test_loss), rtol=1e-5)
    assert history.test_loss.attrs["units"] == "nats" and "token" in history.test_loss.attrs["long_name"]
    assert float(history.test_accuracy.isel(run=0, model=-1, epoch=-1)) > 0.25


def test_agents_of_text_do_not_depend_on_how_many_there_are():
    three, one = trained("msgd", 3, 2), trained("msgd", 1, 2)
    np.testing.assert_allclose(three.batch_loss.isel(agent=0), one.batch_loss.isel(agent=0), rtol=1e-5)
    assert np.ptp(three.batch_loss.values[1]) > 1e-3


def test_one_agent_is_a_plain_loop_of_optax():
    """The trainer's batches and start, and nothing else of it."""
    history = trained("msgd", 1, 2)
    run = training.Training(SMALL, TEXT, training.algorithm("msgd"), optimizer=ADAMW, eta=0.01, **RUN)
    params = jax.tree.map(lambda a: a[0, 0], run.models)
    x, y = jnp.asarray(TEXT.train_x, jnp.int32), jnp.asarray(TEXT.train_y)
    optimizer = optax.adamw(0.01, b2=0.95)
    state = optimizer.init(params)

    @jax.jit
    def step(params, state, index):
        said = lambda p: SMALL.apply({"params": p}, x[index])
        loss = lambda p: optax.softmax_cross_entropy_with_integer_labels(said(p), y[index]).mean()
        value, gradient = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, value

    batches = len(y) // 16
    for epoch in (1, 2):
        words = sdesim.random.seed_words(0)
        order = steps.shuffled(words, jnp.uint32(epoch), jnp.zeros(1, jnp.uint32), 1, len(y))[0, 0]
        losses = []
        for index in order[: batches * 16].reshape(batches, 16):
            params, state, value = step(params, state, index)
            losses.append(float(value))
        np.testing.assert_allclose(np.mean(losses), history.batch_loss.values[epoch, 0, 0], rtol=1e-5)


def test_a_linear_network_of_rows_finds_the_least_squares():
    options = dict(eta=0.02, batch=16, evaluation_batch=1000, schedule=training.Constant(), train_images=1000)
    history = training.train(
        training.Perceptron(hidden=()), ROWS, training.algorithm("qsgd"), agents=4, epochs=60, **options
    ).history
    x = np.column_stack([np.ones(len(ROWS.train_x)), (ROWS.train_x - ROWS.mean) / ROWS.std])
    best = np.linalg.lstsq(x, ROWS.train_y, rcond=None)[0]
    left = ((ROWS.train_y - x @ best) ** 2).mean()
    found = float(history.train_loss.isel(epoch=-1, run=0, model=-1))
    assert left < found < 1.02 * left  # the average of the quorum, over its noise
    r2 = 1 - history.train_loss / np.var(ROWS.train_y)
    np.testing.assert_allclose(history.train_r2, r2, rtol=1e-4, atol=1e-4)
    assert history.train_r2.attrs["units"] == "1" and "test_accuracy" not in history


def test_r2_is_of_all_batches():
    """Of batches whose targets are far apart: each by itself would have another variance."""
    kept = np.argsort(ROWS.test_y)
    ordered = ROWS._replace(test_x=ROWS.test_x[kept], test_y=ROWS.test_y[kept])
    network = training.Perceptron(hidden=(3,))
    options = dict(batch=16, epochs=0, eta=0.01, schedule=training.Constant())
    found = [
        training.train(network, ordered, training.algorithm("sgd"), evaluation_batch=size, **options).history.test_r2
        for size in (11, 44)
    ]
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_several_targets():
    two = training.Rows(
        *(a for part in ("train", "test") for a in (getattr(ROWS, f"{part}_x"), getattr(ROWS, f"{part}_x")[:, :2]))
    )
    assert two.outputs == 2
    options = dict(eta=0.1, batch=16, epochs=20, evaluation_batch=50, schedule=training.Constant())
    history = training.train(
        training.Perceptron(2, hidden=()), training.split(two), training.algorithm("sgd"), **options
    ).history
    assert float(history.test_r2.isel(epoch=-1, model=-1, run=0)) > 0.99  # the targets are two of the columns


def test_rows_with_labels_are_classified():
    """A line between two classes is found; what is measured and stepped by is optax's cross-entropy, by hand."""
    x = np.random.default_rng(0).normal(2.0, 3.0, (400, 2))
    y = (x.sum(axis=1) > 4).astype(int)
    network, data = Flat(), training.split(training.Rows(x[:300], y[:300], x[300:], y[300:]))
    options = dict(agents=2, eta=0.3, batch=16, epochs=4, evaluation_batch=50, schedule=training.Constant())
    trained = training.train(network, data, training.algorithm("easgd"), **options)
    of_center = trained.history.sel(model="center").isel(run=0, epoch=-1)
    said = trained.predict(x[300:], epoch="last")
    assert of_center.test_accuracy > 0.9
    np.testing.assert_allclose(of_center.test_accuracy, np.mean(said.argmax(-1) == y[300:]), rtol=1e-6)
    cross_entropy = lambda said, y: optax.softmax_cross_entropy_with_integer_labels(said, y).mean()
    np.testing.assert_allclose(of_center.test_loss, cross_entropy(said, y[300:]), rtol=1e-5)
    seen, params = (data.train_x[:16] - data.mean) / data.std, jax.tree.map(lambda leaf: leaf[0, 0], trained.last)
    by_hand = lambda params: cross_entropy(network.apply({"params": params}, seen), data.train_y[:16])
    found = steps.gradient(trained.task, _pixels(data, "train"), params, jnp.arange(16), jax.random.key(0))
    for leaf, expected in zip(*map(jax.tree.leaves, (found, jax.value_and_grad(by_hand)(params))), strict=True):
        np.testing.assert_allclose(leaf, expected, rtol=1e-4, atol=1e-6)


def test_images_of_real_numbers_are_seen_as_those_of_uint8():
    """To the bit, of the same numbers."""
    images, floats = of_both_kinds()
    task = steps.Task(Flat(), 16)
    one, other = (_pixels(training.split(data), "train") for data in (images, floats))
    assert (one.x.dtype, other.x.dtype) == (jnp.uint8, jnp.float32)
    np.testing.assert_array_equal(*(steps.prepared(task, pixels, jnp.arange(40), None) for pixels in (one, other)))


def of_both_kinds():
    images = training.synthetic(60, 20, classes=2, size=4, noise=20.0)
    return images, images._replace(train_x=images.train_x.astype(float), test_x=images.test_x.astype(float))


@pytest.mark.slow  # two trainings
def test_images_of_real_numbers_are_trained_on_as_those_of_uint8():
    """To the bit; and networks say nothing of images of the other kind."""
    images, floats = of_both_kinds()
    options = dict(eta=0.1, batch=16, epochs=1, evaluation_batch=20, schedule=training.Constant())
    one, other = (training.train(Flat(), data, training.algorithm("sgd"), **options) for data in (images, floats))
    for name in ("train_loss", "test_loss", "test_accuracy"):
        np.testing.assert_array_equal(one.history[name], other.history[name])
    np.testing.assert_array_equal(one.predict(images.test_x), other.predict(floats.test_x))
    for trained, wrong, right in ((one, floats, "uint8, from 0 to 255"), (other, images, "real numbers")):
        with pytest.raises(ValueError, match=f"samples: must be images of {right}, as the training's"):
            trained.predict(wrong.test_x)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(train_y=TOKENS.train_y[:, :-1]), r"train_y: is of shape .* and must have the next token of each"),
        (
            dict(train_x=TOKENS.train_x.astype(float)),
            "train_x=.*: must be an array of tokens|tokens must be of an integer",
        ),
        (
            dict(test_x=TOKENS.test_x[:, :-1], test_y=TOKENS.test_y[:, :-1]),
            r"test_x: .*must have windows of shape \(32,\)",
        ),
        (dict(train_y=TOKENS.train_y.astype(int) - 99), "train_y: tokens must be from 0"),
    ],
)
def test_unfit_tokens_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        training.split(TOKENS._replace(**change))


def test_unfit_rows_are_refused():
    rows = training.diabetes()
    with pytest.raises(ValueError, match=r"train_x=.*: must be an array of real numbers"):
        training.split(rows._replace(train_x=rows.train_x.astype(int)))
    with pytest.raises(ValueError, match=r"train_y=.*: must be an array of real numbers, \(398,\)"):
        training.split(rows._replace(train_y=rows.train_y[:-1]))
    with pytest.raises(ValueError, match="test_y: labels must be of an integer type"):
        training.split(rows._replace(train_y=rows.train_y.astype(int)))
    with pytest.raises(ValueError, match="train_x: must be finite"):
        training.split(rows._replace(train_x=np.where(rows.train_x > 50, np.nan, rows.train_x)))


def test_what_does_not_go_with_them_is_refused():
    sgd = training.algorithm("sgd")
    with pytest.raises(ValueError, match="crop=8: must be None, as windows are no images"):
        training.train(SMALL, TEXT, sgd, crop=8, **RUN)
    with pytest.raises(ValueError, match="precision='bfloat16': must be float32 or tf32 beside tokens"):
        training.train(SMALL, TEXT, sgd, precision="bfloat16", **RUN)
    with pytest.raises(ValueError, match=r"\(batch, length, classes\) logits, .* e\.g\. Transformer\(tokens=62\) does"):
        training.train(training.Transformer(9, length=LENGTH), TEXT, sgd, **RUN)
    with pytest.raises(ValueError, match=r"Transformer cannot .*length=8: must be at least that of the windows"):
        training.train(training.Transformer(62, length=8), TEXT, sgd, **RUN)
    with pytest.raises(ValueError, match=r"network: must give \(batch, 1\) numbers, .* e\.g\. Perceptron\(outputs=1\)"):
        training.train(training.Perceptron(3), ROWS, sgd, **RUN)
    thirds = np.arange(40) % 3  # whole numbers, which are classes
    with pytest.raises(ValueError, match=r"logits, for labels up to 2, .* e\.g\. Perceptron\(outputs=3\) does"):
        training.train(training.Perceptron(), (np.ones((40, 2)), thirds), sgd, batch=4)
    with pytest.raises(ValueError, match="width=10: must be a multiple of heads=4"):
        training.Transformer(width=10)
    with pytest.raises(ValueError, match="written: has 5 characters"):
        training.text("hello")
    with pytest.raises(TypeError, match="written=3: must be a text"):
        training.text(3)
