// The steps of the benchmark's workloads as one would write them by hand in C++, with sdesim's own random words.
//
// Simulations are the fastest axis, in blocks of LANES padded at the end, so that the compiler vectorizes over them and
// one block's state stays in cache for all steps. Each word pair serves the agents 2i and 2i + 1.

#include <cmath>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

namespace {

#ifndef LANES
#define LANES 16
#endif

using u32 = std::uint32_t;
constexpr int B = LANES;
constexpr float PI = 3.14159265358979f;

inline float as_float(u32 w) { float f; std::memcpy(&f, &w, 4); return f; }
inline u32 as_word(float f) { u32 w; std::memcpy(&w, &f, 4); return w; }
inline u32 rotate(u32 w, int by) { return (w << by) | (w >> (32 - by)); }

// Threefry-2x32 with 20 rounds.
inline void threefry(u32 k0, u32 k1, u32 c0, u32 c1, u32& a, u32& b) {
    const u32 k2 = k0 ^ k1 ^ 0x1BD11BDAu;
    a = c0 + k0;
    b = c1 + k1;
#define ROUND(by) a += b; b = rotate(b, by) ^ a;
#define EVEN ROUND(13) ROUND(15) ROUND(26) ROUND(6)
#define ODD ROUND(17) ROUND(29) ROUND(16) ROUND(24)
    EVEN a += k1; b += k2 + 1u;
    ODD a += k2; b += k0 + 2u;
    EVEN a += k0; b += k1 + 3u;
    ODD a += k1; b += k2 + 4u;
    EVEN a += k2; b += k0 + 5u;
#undef ROUND
#undef EVEN
#undef ODD
}

// sin(pi h), to 1.7e-7.
inline float sinpi(float h) {
    const float n = std::rint(h), r = h - n, s = r * r;
    const float y = r * (3.14159258f + s * (-5.16770688f + s * (2.55003138f + s * (-0.598045174f + s * 0.0772201281f))));
    return as_float(as_word(y) ^ (static_cast<u32>(static_cast<std::int32_t>(n)) << 31));
}

// log x for normal x, to 2e-7 relative to max(1, |log x|): Cephes' polynomial.
inline float logarithm(float x) {
    u32 w = as_word(x);
    float e = static_cast<float>(static_cast<std::int32_t>(w >> 23) - 126);
    float m = as_float((w & 0x007FFFFFu) | 0x3F000000u);  // in [1/2, 1)
    const bool low = m < 0.70710678f;
    e = low ? e - 1.0f : e;
    m = low ? m + m - 1.0f : m - 1.0f;
    const float z = m * m;
    float y = 7.0376836292e-2f;
    y = y * m - 1.1514610310e-1f;
    y = y * m + 1.1676998740e-1f;
    y = y * m - 1.2420140846e-1f;
    y = y * m + 1.4249322787e-1f;
    y = y * m - 1.6668057665e-1f;
    y = y * m + 2.0000714765e-1f;
    y = y * m - 2.4999993993e-1f;
    y = y * m + 3.3333331174e-1f;
    y = y * m * z - 0.5f * z + e * -2.12194440e-4f;
    return m + y + e * 0.693359375f;
}

// The variates of the agents 2i and 2i + 1: uniform on (-1, 1), or the Box-Muller pair.
template <bool GAUSSIAN>
inline void variates(u32 a, u32 b, float& even, float& odd) {
    const float first = static_cast<float>(static_cast<std::int32_t>(a >> 9));
    const float second = static_cast<float>(static_cast<std::int32_t>(b >> 9));
    if (GAUSSIAN) {
        const float radius = std::sqrt(-2.0f * logarithm(first * 0x1p-23f + 0x1p-24f));
        const float turn = second * 0x1p-22f + 0x1p-23f;
        even = radius * sinpi(turn + 0.5f);
        odd = radius * sinpi(turn);
    } else {
        even = first * 0x1p-22f + (0x1p-23f - 1.0f);
        odd = second * 0x1p-22f + (0x1p-23f - 1.0f);
    }
}

struct Problem {
    int sims, agents, dims, steps;
    float eta, k, delta, amplitude, start;
};

struct Key {
    u32 first, second;
};

// The key of one step: Threefry(seed; stream of the noise, step).
Key step_key(const u32* seed, u32 step) {
    Key key;
    threefry(seed[0], seed[1], 0, step, key.first, key.second);
    return key;
}

// The gradient of the oscillating double well.
inline float slope(float x) {
    return (0.4f * x * x - 1.0f) * x - 0.075f + 2.16f * sinpi(x * (3.6f / PI)) + 6.4f * sinpi(x * (16.0f / PI) + 0.5f);
}

// x <- x + eta (k (mean - x) - f'(x) + zeta)
template <bool GAUSSIAN>
void oscillating(const Problem& p, const u32* seed, float* out) {
    const int pairs = p.agents / 2;
    const auto x = std::make_unique<float[]>(static_cast<std::size_t>(p.agents) * B);
    alignas(64) float sum[B], pull[B];
    const float keep = 1.0f - p.eta * p.k, kick = p.eta * p.amplitude;
    for (int first = 0; first < p.sims; first += B) {
        for (int i = 0; i < p.agents * B; ++i) x[i] = p.start;
        for (int s = 0; s < B; ++s) sum[s] = p.start * p.agents;
        for (u32 t = 0; t < static_cast<u32>(p.steps); ++t) {
            const Key key = step_key(seed, t);
            for (int s = 0; s < B; ++s) pull[s] = p.eta * p.k / p.agents * sum[s], sum[s] = 0.0f;
            for (u32 i = 0; i < static_cast<u32>(pairs); ++i) {
                float* const even = x.get() + 2 * i * B;
                float* const odd = even + B;
#pragma GCC ivdep
                for (int s = 0; s < B; ++s) {
                    u32 a, b;
                    float ze, zo;
                    threefry(key.first, key.second, i << 16, static_cast<u32>(first + s), a, b);
                    variates<GAUSSIAN>(a, b, ze, zo);
                    const float xe = even[s] * keep + pull[s] - p.eta * slope(even[s]) + kick * ze;
                    const float xo = odd[s] * keep + pull[s] - p.eta * slope(odd[s]) + kick * zo;
                    even[s] = xe;
                    odd[s] = xo;
                    sum[s] += xe + xo;
                }
            }
        }
        for (int s = 0; s < B && first + s < p.sims; ++s)
            for (int i = 0; i < p.agents; ++i) out[static_cast<std::size_t>(first + s) * p.agents + i] = x[i * B + s];
    }
}

// v <- delta v - eta grad f(x + delta v) + eta zeta,  x <- x + v + eta k (mean - x), on the coupled double wells.
//
// A block of 50 simulations would leave a fifth of the padded lanes idle, so coordinates and simulations are one axis.
template <bool GAUSSIAN>
void wells(const Problem& p, const u32* seed, float* out) {
    const int n = p.sims, d = p.dims, lanes = (d * n + B - 1) / B * B;
    const std::size_t size = static_cast<std::size_t>(p.agents) * lanes;
    std::vector<float> x(size, p.start), v(size), mean(lanes, p.start), next(lanes), sums(n);
    std::vector<float> sine(2 * lanes), cosine(2 * lanes), total(2 * lanes);
    std::vector<u32> simulation(lanes), coordinate(lanes);
    for (int l = 0; l < d * n; ++l) {
        simulation[l] = static_cast<u32>(l % n);
        coordinate[l] = static_cast<u32>(l / n);
    }
    const float scale = 0.15f, cross = 6.0f * 4.4f / (d > 1 ? d - 1 : 1), turns = 4.4f / PI;
    const float keep = 1.0f - p.eta * p.k, pull = p.eta * p.k, kick = p.eta * p.amplitude;
    for (u32 t = 0; t < static_cast<u32>(p.steps); ++t) {
        const Key key = step_key(seed, t);
        for (u32 i = 0; i < static_cast<u32>(p.agents / 2); ++i) {
            for (int agent = 0; agent < 2; ++agent) {
                const float* const xs = x.data() + static_cast<std::size_t>(2 * i + agent) * lanes;
                const float* const vs = v.data() + static_cast<std::size_t>(2 * i + agent) * lanes;
                float* const sines = sine.data() + agent * lanes;
                float* const cosines = cosine.data() + agent * lanes;
                float* const totals = total.data() + agent * lanes;
#pragma GCC ivdep
                for (int l = 0; l < lanes; ++l) {
                    const float turn = turns * (xs[l] + p.delta * vs[l]);
                    sines[l] = sinpi(turn);
                    cosines[l] = sinpi(turn + 0.5f);
                }
                for (int s = 0; s < n; ++s) sums[s] = 0.0f;
                for (int j = 0; j < d; ++j)
                    for (int s = 0; s < n; ++s) sums[s] += cosines[j * n + s];
                for (int j = 0; j < d; ++j) std::memcpy(totals + j * n, sums.data(), n * sizeof(float));
            }
            float *const xe = x.data() + static_cast<std::size_t>(2 * i) * lanes, *const xo = xe + lanes;
            float *const ve = v.data() + static_cast<std::size_t>(2 * i) * lanes, *const vo = ve + lanes;
            const auto gradient = [&](float y, int at) {
                return scale * ((4.0f * y * y - 8.0f) * y + 0.4f + cross * sine[at] * (total[at] - cosine[at]));
            };
#pragma GCC ivdep
            for (int l = 0; l < lanes; ++l) {
                u32 a, b;
                float ze, zo;
                threefry(key.first, key.second, (i << 16) | coordinate[l], simulation[l], a, b);
                variates<GAUSSIAN>(a, b, ze, zo);
                const float even = p.delta * ve[l] - p.eta * gradient(xe[l] + p.delta * ve[l], l) + kick * ze;
                const float odd = p.delta * vo[l] - p.eta * gradient(xo[l] + p.delta * vo[l], lanes + l) + kick * zo;
                ve[l] = even;
                vo[l] = odd;
                xe[l] = xe[l] * keep + even + pull * mean[l];
                xo[l] = xo[l] * keep + odd + pull * mean[l];
                next[l] += xe[l] + xo[l];
            }
        }
        for (int l = 0; l < lanes; ++l) mean[l] = next[l] / p.agents, next[l] = 0.0f;
    }
    for (int s = 0; s < n; ++s)
        for (int i = 0; i < p.agents; ++i)
            for (int j = 0; j < d; ++j)
                out[(static_cast<std::size_t>(s) * p.agents + i) * d + j] =
                    x[static_cast<std::size_t>(i) * lanes + j * n + s];
}

}  // namespace

extern "C" {

// One run: `out` is (sims, agents, dims). Agents must be even.
void sdesim_run(int dims, int gaussian, int sims, int agents, int steps, const u32* seed, float eta, float k,
                float delta, float amplitude, float start, float* out) {
    const Problem p{sims, agents, dims, steps, eta, k, delta, amplitude, start};
    if (dims == 1)
        gaussian ? oscillating<true>(p, seed, out) : oscillating<false>(p, seed, out);
    else
        gaussian ? wells<true>(p, seed, out) : wells<false>(p, seed, out);
}

// The generator alone, `times` word pairs of each of B simulations, folded into one word: a bound on any step that uses it.
u32 sdesim_words(u32 times, const u32* seed) {
    const Key key = step_key(seed, 0);
    alignas(64) u32 fold[B] = {};
    for (u32 i = 0; i < times; ++i)
#pragma GCC ivdep
        for (int s = 0; s < B; ++s) {
            u32 a, b;
            threefry(key.first, key.second, i, static_cast<u32>(s), a, b);
            fold[s] ^= a + b;
        }
    u32 all = 0;
    for (int s = 0; s < B; ++s) all ^= fold[s];
    return all;
}
}
