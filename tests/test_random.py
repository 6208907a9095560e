"""The generator: bits against JAX's own and published vectors; increments against independence, end to end."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from places import ROOT
from scipy import stats

import sdesim
from sdesim import noise, random
from sdesim.asynchrony.compute import words_of_jobs
from sdesim.ensembles.setup import draw_lanes
from sdesim.random import Stream

try:
    from jax.extend.random import threefry_2x32
except ImportError:
    from jax._src.prng import threefry_2x32


def jax_threefry(key0, key1, count0, count1):
    """JAX's primitive for arrays of keys, one word pair each."""
    one = lambda k0, k1, c0, c1: threefry_2x32(jnp.stack([k0, k1]), jnp.stack([c0, c1]))
    return np.asarray(jax.jit(jax.vmap(one))(key0, key1, count0, count1)).T


# -- bits ------------------------------------------------------------------------------------------------------------


def plain_threefry(key, counter, rounds):
    """The word pair by the definition of Salmon et al., section 3.2, on Python's integers."""
    cut, (x, y) = 0xFFFFFFFF, counter
    keys = (*key, 0x1BD11BDA ^ key[0] ^ key[1])
    x, y = (x + keys[0]) & cut, (y + keys[1]) & cut
    for done in range(1, rounds + 1):
        by = (24, 13, 15, 26, 6, 17, 29, 16)[done % 8]
        x = (x + y) & cut
        y = ((y << by | y >> (32 - by)) & cut) ^ x
        if done % 4 == 0:
            s = done // 4
            x, y = (x + keys[s % 3]) & cut, (y + keys[(s + 1) % 3] + s) & cut
    return x, y


@pytest.mark.parametrize(
    ("rounds", "counter", "key", "expected"),
    [
        (20, (0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
        (20, (0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
        (20, (0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
        (13, (0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x9D1C5EC6, 0x8BD50731)),
        (13, (0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0xFD36D048, 0x2D17272C)),
        (13, (0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xBA3E4725, 0xF27D669E)),
    ],
)
def test_known_answers(rounds, counter, key, expected):
    """The vectors that Salmon et al. publish with Random123 for Threefry-2x32 of so many rounds."""
    words = [np.uint32(w) for w in (*key, *counter)]
    with np.errstate(over="ignore"):
        assert tuple(int(w) for w in random.threefry2x32(*words, rounds)) == expected
    assert tuple(int(w) for w in random.threefry2x32(*map(jnp.asarray, words), rounds)) == expected
    assert plain_threefry(key, counter, rounds) == expected


def test_bit_exact_with_jax():
    rng = np.random.default_rng(1)
    arguments = rng.integers(0, 2**32, (4, 20_000), dtype=np.uint64).astype(np.uint32)
    arguments[:, :2] = [[0, 2**32 - 1]] * 4
    ours = np.stack(jax.jit(random.threefry2x32)(*jnp.asarray(arguments)))
    np.testing.assert_array_equal(ours, jax_threefry(*arguments))


@pytest.mark.parametrize(("stream", "simulation", "step"), [(0, 0, 0), (1, 7, 3), (16, 2**32 - 1, 2**31 - 2)])
def test_words_are_the_documented_pairs(stream, simulation, step):
    seed = 0x0123456789ABCDEF
    agents, dims = 5, 3
    key = random.step_key(random.seed_words(seed), stream, step)
    words = random.words(key, np.uint32(simulation), agents, dims)

    u32 = lambda *values: [np.array([v], np.uint32) for v in values]
    k0, k1 = jax_threefry(*u32(0x89ABCDEF, 0x01234567, stream, step))[:, 0]
    for agent in range(agents):
        for coordinate in range(dims):
            pair = jax_threefry(*u32(k0, k1, (agent // 2) * 2**16 + coordinate, simulation))[:, 0]
            assert (words.first[agent, coordinate], words.second[agent, coordinate]) == tuple(pair)
            assert words.own[agent, coordinate] == pair[agent % 2]


def test_word_pairs_of_a_step_are_distinct_up_to_the_limits():
    """The last agents and coordinates that are allowed still have counters of their own."""
    agents, dims = np.array([0, 1, 2, 3, random.MAX_AGENTS - 2, random.MAX_AGENTS - 1]), random.MAX_DIMS
    counters = {((a // 2) << random.COORDINATE_BITS) | c for a in agents for c in (0, 1, dims - 1)}
    assert len(counters) == 9 and max(counters) == 2**32 - 1


def test_words_do_not_depend_on_sizes():
    key = random.step_key(random.seed_words(3), 0, 11)
    large, small = random.words(key, 9, 7, 5), random.words(key, 9, 2, 3)
    for a, b in zip(large, small, strict=True):
        np.testing.assert_array_equal(a[:2, :3], b)


def plain_words(generator, seed, stream, step, sim, agents, dims):
    """The word of each agent and coordinate, (agents, dims), by the definition."""
    rounds, words = random.ROUNDS[generator], np.zeros((agents, dims), np.uint32)
    key = plain_threefry((seed & 0xFFFFFFFF, seed >> 32), (stream, step), rounds)
    for agent, coordinate in np.ndindex(agents, dims):
        words[agent, coordinate] = plain_threefry(key, (agent // 2 << 16 | coordinate, sim), rounds)[agent % 2]
    return words


@pytest.mark.parametrize("generator", random.ROUNDS)
@pytest.mark.parametrize(
    ("agents", "sims", "dims", "path"),
    [(4, 16, 1, "agents in pairs"), (3, 16, 2, "blocks"), (4, 2, 1, "one program of all lanes, agents in pairs")],
)
def test_every_path_of_a_run_has_the_words_of_its_generator(generator, agents, sims, dims, path):
    """A start and the first step, drawn uniformly, are the words themselves, to the bit. Those of the other differ."""
    seed = 0x0123456789ABCDEF
    how = dict(agents=agents, sims=sims, dims=dims, seed=seed, random=generator)
    with jax.enable_x64(False):
        model = sdesim.Dynamics(flat, noise=noise.Uniform(1.0), eta=1.0)
        for steps, stream, init in ((0, Stream.POSITION, sdesim.init.Uniform(-1.0, 1.0)), (1, Stream.NOISE, 0.0)):
            result = sdesim.simulate(model, steps=steps, init=init, **how)
            words = np.stack([plain_words(generator, seed, stream, 0, sim, agents, dims) for sim in range(sims)])
            expected = (2.0 * (words >> 9) + 1) * 2.0**-23 - 1
            assert path in result.run["path"] and result.sizes["random"] == generator
            np.testing.assert_array_equal(result.agents, expected.astype(np.float32))


@pytest.mark.parametrize("generator", random.ROUNDS)
def test_jobs_have_the_words_of_their_generator(generator):
    """A worker's clock and its noise, of workers in virtual time."""
    seed, sims, job = random.seed_words(3, generator), np.arange(2), np.array([[0, 4], [5, 1]])
    words = words_of_jobs(seed, Stream.COMPUTE, sims, job, 2)
    for sim, worker, which in np.ndindex(2, 2, 2):
        step = job[sim, worker] + which
        assert words[sim, worker, which] == plain_words(generator, 3, Stream.COMPUTE, step, sim, 2, 1)[worker, 0]


def test_another_generator_is_another_run(tmp_path):
    """It is neither continued nor paired, and is told from what a file or a store has."""
    model = sdesim.Dynamics(sdesim.objectives.Quadratic(1.0), noise=noise.Uniform(1.0), eta=0.1)
    how = dict(agents=2, sims=3)
    fast = sdesim.simulate(model, steps=2, random="threefry13", **how)
    slow = sdesim.simulate(model, steps=2, **how)
    fast.save(tmp_path / "run.nc")
    fast = sdesim.load(tmp_path / "run.nc", model=model)
    assert "random='threefry13'" in fast.settings["call"] and "threefry13" in repr(fast)
    whole = sdesim.simulate(model, steps=4, random="threefry13", **how)
    np.testing.assert_array_equal(sdesim.simulate(model, steps=2, init=fast).agents, whole.agents)

    for other, its in ((fast, "threefry20"), (slow, "threefry13")):
        said = f"random='{its}': the result that init continues has random='{other.sizes['random']}'"
        with pytest.raises(ValueError, match=f"^{said}; leave it out"):
            sdesim.simulate(model, steps=2, init=other, random=its)
    with pytest.raises(ValueError, match=r"^random='threefry13': the result"):
        sdesim.simulate(model, steps=2, init=slow, seed=random.seed_words(0, "threefry13"))
    wrong = "^other: has random='threefry13', and must have random='threefry20' to be paired with"
    with pytest.raises(ValueError, match=wrong):
        slow.paired(fast)
    with pytest.raises(ValueError, match=r"^longer: has random='threefry13'"):
        slow.then(fast)

    grid = {"noise.half_width": [1.0]}
    asked = dict(steps=2, **how)
    first = sdesim.sweep(model, grid, store=tmp_path / "store", **asked)
    np.testing.assert_array_equal(first["agents"].values[0], slow.agents)
    other = sdesim.sweep(model, grid, random="threefry13", **asked)
    np.testing.assert_array_equal(other["agents"].values[0], fast.agents)
    with pytest.raises(ValueError, match=wrong):
        sdesim.statistics.paired(first, other)
    with pytest.raises(ValueError, match=r"Threefry-2x32-20 .* there and .*Threefry-2x32-13 .* here"):
        sdesim.sweep(model, grid, random="threefry13", store=tmp_path / "store", **asked)
    with pytest.raises(ValueError, match="differs in random"):
        sdesim.join([first, other.assign_coords(sim=other["sim"] + 3)])


@pytest.mark.parametrize("seed", [-1, 1 << 64, 1.0, True, "3", None])
def test_seed_is_refused(seed):
    with pytest.raises(ValueError, match=r"^seed=.*integer from 0 to 2\*\*64 - 1"):
        random.seed_words(seed)


def test_a_generator_is_refused():
    with pytest.raises(ValueError, match=r"^random='threefry12': did you mean .* known: threefry20, threefry13"):
        random.seed_words(0, "threefry12")
    with pytest.raises(ValueError, match=r"^seed: is one of random='threefry13', and must be .*'threefry20'"):
        random.seed_words(random.seed_words(0, "threefry13"), "threefry20")


def test_every_bit_of_the_seed_counts():
    draws = [random.words(random.step_key(random.seed_words(1 << i), 0, 0), 0, 2, 1).own for i in range(64)]
    assert len({tuple(np.asarray(d).ravel().tolist()) for d in draws}) == 64


# -- words to numbers ------------------------------------------------------------------------------------------------


def test_uniform_map_is_exact_and_symmetric():
    words = jnp.asarray([0, 511, 512, 2**31 - 1, 2**31, 2**32 - 1], jnp.uint32)
    u, c = (np.asarray(f(words, jnp.float64)) for f in (random.uniform, random.centered))
    np.testing.assert_array_equal(u, (2 * (np.asarray(words) >> 9).astype(float) + 1) / 2**24)
    np.testing.assert_array_equal(c, 2 * u - 1)
    assert u.min() > 0 and u.max() < 1 and c[0] == -c[-1]


def test_maps_agree_between_precisions():
    words = jnp.asarray(np.random.default_rng(2).integers(0, 2**32, 100_000, dtype=np.uint64).astype(np.uint32))
    for f in (random.uniform, random.centered):
        np.testing.assert_array_equal(f(words, jnp.float32).astype(jnp.float64), f(words, jnp.float64))
    for odd in (True, False):
        single, double = (np.asarray(random.turn_sine(words, jnp.asarray(odd), t)) for t in (jnp.float32, jnp.float64))
        turn = 2 * np.pi * np.asarray(random.uniform(words, jnp.float64))
        np.testing.assert_allclose(double, np.sin(turn) if odd else np.cos(turn), rtol=0, atol=1e-15)
        # The reduction is exact; the polynomial is good to 1.7e-7, and its rounding adds half a unit of 1.2e-7.
        np.testing.assert_allclose(single, double, rtol=0, atol=2.4e-7)


# -- increments, as a run sees them ----------------------------------------------------------------------------------

LAWS = {
    "uniform": noise.Uniform(np.sqrt(3.0)),
    "gaussian": noise.Gaussian(1.0),
    "student": noise.StudentT(np.sqrt(0.6), 5.0),
}  # all of unit variance
SIMS, AGENTS, DIMS, STEPS = 48, 6, 3, 300
COUNT = SIMS * AGENTS * DIMS * STEPS


def flat(x):
    """No force: a run at eta = 1 adds up the bare noise."""
    return 0.0 * jnp.sum(x)


def increments(law, *, seed=20, sims=SIMS, agents=AGENTS, dims=DIMS, steps=STEPS, coupling=None, **options):
    model = sdesim.Dynamics(flat, noise=law, eta=1.0, **({} if coupling is None else {"coupling": coupling}))
    result = sdesim.simulate(
        model, agents=agents, sims=sims, dims=dims, steps=steps, seed=seed, observe=sdesim.observe.Snapshot(), every=1,
        **options,
    )  # fmt: skip
    return np.diff(np.asarray(result.observed["snapshot"], float), axis=1)  # (sims, steps, agents, dims)


@pytest.fixture(scope="module")
def drawn():
    return {name: increments(law) for name, law in LAWS.items()}


@pytest.mark.parametrize("name", LAWS)
def test_law_of_the_increments(drawn, name):
    """Kolmogorov-Smirnov of all and of 7 parts of them: threshold 1e-5 each, false alarms 3e-4 in all."""
    law = {"uniform": stats.uniform(-np.sqrt(3), 2 * np.sqrt(3)), "gaussian": stats.norm()}
    law["student"] = stats.t(5, scale=np.sqrt(0.6))
    z = drawn[name]
    splits = [z, z[:, :, 0::2], z[:, :, 1::2], z[:, :, 0], z[..., 0], z[..., -1], z[:, :20], z[:4]]
    for part in splits:
        assert stats.kstest(part.ravel(), law[name].cdf).pvalue > 1e-5
    # The test has power: a scale wrong by 3% is refused.
    assert stats.kstest(1.03 * z.ravel(), law[name].cdf).pvalue < 1e-5


@pytest.mark.parametrize("name", LAWS)
def test_moments_of_the_increments(drawn, name, z_scores):
    """Mean, variance and third moment, two-sided at 4.5 sigma: 7e-6 each; the fourth where it has a finite variance."""
    z = drawn[name].ravel()
    moments = {1: 0.0, 2: 1.0, 3: 0.0} if name != "student" else {1: 0.0, 2: 1.0}
    if name != "student":
        moments |= {4: {"uniform": 1.8, "gaussian": 3.0}[name], 6: {"uniform": 27 / 7, "gaussian": 15.0}[name]}
    for power, expected in moments.items():
        assert abs(z_scores(z**power, expected)) < 4.5, power


def pairs_of(z):
    """What must be uncorrelated: increments, (sims, steps, agents, dims), at two places of one axis."""
    return {
        "next step": (z[:, :-1], z[:, 1:]),
        "step after next": (z[:, :-2], z[:, 2:]),
        "64 steps on": (z[:, :-64], z[:, 64:]),
        "agents of one word pair": (z[:, :, 0::2], z[:, :, 1::2]),
        "agents of neighbor word pairs": (z[:, :, :-2], z[:, :, 2:]),
        "coordinates": (z[..., :-1], z[..., 1:]),
        "simulations": (z[:-1], z[1:]),
        "simulation and step": (z[:-1, 1:], z[1:, :-1]),
        "agent and step": (z[:, 1:, :-1], z[:, :-1, 1:]),
    }


@pytest.mark.parametrize("name", LAWS)
def test_increments_are_uncorrelated(drawn, name, z_scores):
    """Products of values, of squares and of signs: 9 x 3 z-scores of 3 laws within 4.5 sigma, false alarms 6e-4.

    The squares matter: the two normal numbers of a word pair share a radius, and are independent all the same.
    """
    z = drawn[name]
    squares = z**2 - 1 if name != "student" else np.minimum(z**2, 9) - np.mean(np.minimum(z**2, 9))
    for values in (z, squares, np.sign(z)):
        for where, (a, b) in pairs_of(values).items():
            assert abs(z_scores((a * b).ravel(), 0.0)) < 4.5, where
    # The test has power: a leak of 2% of one step's noise into the next is seen.
    leak = z[:, 1:] + 0.02 * z[:, :-1]
    assert abs(z_scores((leak[:, 1:] * leak[:, :-1]).ravel(), 0.0)) > 4.5


@pytest.mark.parametrize("name", LAWS)
def test_seeds_and_streams_are_uncorrelated(drawn, name, z_scores):
    z = drawn[name]
    assert abs(z_scores((z * increments(LAWS[name], seed=21)).ravel(), 0.0)) < 4.5
    assert abs(z_scores((z * increments(LAWS[name], seed=20 + 2**32)).ravel(), 0.0)) < 4.5
    seed, sims = random.seed_words(20), jnp.arange(20_000, dtype=jnp.uint32)
    draw = {
        s: np.asarray(draw_lanes(sdesim.init.Uniform(-1.0, 1.0), seed, sims, 2, 1, jnp.float64, s)).ravel()
        for s in (*Stream, Stream.NOISE + 1)
    }
    streams = list(draw)
    for i, a in enumerate(streams):
        for b in streams[:i]:
            assert abs(z_scores(draw[a] * draw[b], 0.0)) < 4.5, (a, b)


def test_thirteen_rounds_pass_the_same_tests(drawn, z_scores):
    """Law, moments and correlations; and other seeds and the generator of more rounds are independent."""
    fast = {"gaussian": increments(LAWS["gaussian"], random="threefry13")}
    test_law_of_the_increments(fast, "gaussian")
    test_moments_of_the_increments(fast, "gaussian", z_scores)
    test_increments_are_uncorrelated(fast, "gaussian", z_scores)
    others = [increments(LAWS["gaussian"], random="threefry13", seed=seed) for seed in (21, 20 + 2**32)]
    for other in (*others, drawn["gaussian"]):
        assert abs(z_scores((fast["gaussian"] * other).ravel(), 0.0)) < 4.5


def test_the_document_lists_all_streams():
    text = (ROOT / "docs" / "random.md").read_text(encoding="utf-8")
    for stream in Stream:
        assert f"`{stream.name}` {stream.value}" in text, stream


# -- noise is data: it depends on (seed, simulation, agent, coordinate, step) alone ----------------------------------


@pytest.mark.parametrize("name", LAWS)
def test_increments_do_not_depend_on_what_else_runs(drawn, name):
    """Rounding of the sums apart, which differences of positions of size 50 have at 1e-14."""
    z, law = drawn[name], LAWS[name]
    exact = dict(rtol=0, atol=1e-12)
    np.testing.assert_allclose(increments(law, sims=5, first_sim=40), z[40:45], **exact)
    np.testing.assert_allclose(increments(law, agents=3), z[:, :, :3], **exact)
    np.testing.assert_allclose(increments(law, dims=1), z[..., :1], **exact)
    np.testing.assert_allclose(increments(law, steps=40), z[:, :40], **exact)


@pytest.mark.parametrize("k", [0.0, 0.3, 1.5])
@pytest.mark.parametrize("name", LAWS)
def test_increments_do_not_depend_on_the_coupling(drawn, name, k):
    law, sizes = LAWS[name], dict(sims=4, steps=30)
    model = sdesim.Dynamics(flat, noise=law, coupling=sdesim.Quorum(k), eta=1.0)
    result = sdesim.simulate(
        model, agents=AGENTS, dims=DIMS, seed=20, observe=sdesim.observe.Snapshot(), every=1, **sizes
    )
    x = np.asarray(result.observed["snapshot"])
    pull = k * (x.mean(axis=2, keepdims=True) - x)
    np.testing.assert_allclose(np.diff(x, axis=1) - pull[:, :-1], drawn[name][:4, :30], rtol=0, atol=1e-12)


@pytest.mark.parametrize(("name", "tolerance"), [("uniform", 0.0), ("gaussian", 3e-6), ("student", 1e-5)])
def test_noise_is_the_same_in_float32(name, tolerance):
    """One step from 0 is the bare noise. Uniform noise is exact; the others carry float32's log, sine and root."""
    law = {"uniform": noise.Uniform, "gaussian": noise.Gaussian, "student": lambda s: noise.StudentT(s, 5.0)}[name]
    one_step = lambda: np.asarray(increments(law(1.0), sims=2000, steps=1))
    double = one_step()
    with jax.enable_x64(False):
        single = one_step()
    np.testing.assert_allclose(single, double, rtol=tolerance, atol=tolerance)
    assert np.abs(double).max() > 0.9
