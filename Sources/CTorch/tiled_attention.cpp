// Attention in bfloat16 by the processor's tiles. Scores never leave the second-level cache
// (https://arxiv.org/abs/2205.14135), and products have the keys and values on the left, so that a softmax
// runs along the lanes of vectors.
#include <torch/library.h>

#include <limits>

#include "tiles.h"

namespace swan {
namespace {

#if defined(__x86_64__)
using namespace tiles;

/// Keys and queries whose scores are in the cache at a time.
constexpr int64_t keyBlock = 256, mostQueries = 128;

struct AttentionProblem {
    int64_t heads, queries, keys, depth;
    /// The distances between batch rows, heads and tokens.
    struct Strides {
        int64_t row, head, token;
    };
    Strides qs, ks, vs, ys;
    const Number *q, *k, *v;
    Number *y;
    /// The scale of scores, as powers of 2.
    float scale;
    /// The queries of a task, a multiple of 32.
    int64_t block;

    int64_t keyBlocks() const { return (keys + keyBlock - 1) / keyBlock; }
    /// The size of one head's transposed values.
    int64_t turnedSize() const { return keyBlocks() * keyBlock * depth; }
};

/// The first 16 multiples of a number: the offsets of a column of 16 rows.
SWAN_TILES SWAN_INLINE __m512i multiples(int64_t of) {
    const __m512i indices = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    return _mm512_mullo_epi32(_mm512_set1_epi32(static_cast<int>(of)), indices);
}

/// Transposes 16 rows of 16 pairs, `stride` pairs apart in the result.
SWAN_TILES void turn(const int32_t *from, int32_t *to, int64_t stride) {
    const __m512i column = multiples(16);
    for (int i = 0; i < 16; ++i) {
        _mm512_storeu_si512(to + i * stride, _mm512_i32gather_epi32(column, from + i, 4));
    }
}

/// One block of a head's values [keys, D] as [D, 256], with zeros past the last key.
SWAN_TILES void turnValues(
    const AttentionProblem &p, const Number *values, int64_t first, Number *to) {
    const int64_t count = std::min(keyBlock, p.keys - first);
    for (int64_t key = 0; key < keyBlock; key += 32) {
        for (int64_t d = 0; d < p.depth; d += 16) {
            alignas(64) int32_t pairs[16 * 16];
            for (int pair = 0; pair < 16; ++pair) {
                const auto row = [&](int64_t index) SWAN_ALWAYS {
                    return values + (first + index) * p.vs.token + d;
                };
                const int64_t at = key + 2 * pair;
                __m512i low = _mm512_setzero_si512(), high = low;
                if (at < count) {
                    low = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)row(at)));
                }
                if (at + 1 < count) {
                    high = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)row(at + 1)));
                }
                _mm512_store_si512(
                    pairs + 16 * pair, _mm512_or_si512(low, _mm512_slli_epi32(high, 16)));
            }
            turn(pairs, reinterpret_cast<int32_t *>(to + d * keyBlock + key), keyBlock / 2);
        }
    }
}

/// Packs queries as the right-hand side of products: panels of 32 queries.
SWAN_TILES void packQueries(
    const AttentionProblem &p, const Number *q, int64_t count, Number *to) {
    for (int64_t query = 0; query < p.block; query += 16) {
        for (int64_t d = 0; d < p.depth; d += side) {
            alignas(64) int32_t pairs[16 * 16] = {};
            for (int64_t i = 0; i < std::min<int64_t>(16, count - query); ++i) {
                std::memcpy(pairs + 16 * i, q + (query + i) * p.qs.token + d, 64);
            }
            Number *const step = to + query / side * side * p.depth + d * side;
            turn(pairs, reinterpret_cast<int32_t *>(step + query % side / 16 * stepSize / 2), 16);
        }
    }
}

SWAN_TILES SWAN_INLINE __m512 power(const float *score, __m512 scale, __m512 highest) {
    const __m512 exponent = _mm512_fmsub_ps(_mm512_load_ps(score), scale, highest);
    // An infinity becomes a number; NaN, as the second operand, is preserved.
    return exponential2(_mm512_max_ps(_mm512_set1_ps(-200), exponent));
}

/// The softmax weights of a block of keys for 16 queries, e^(score - highest), packed for the right-hand side
/// of products.
///
/// Raises `highest`, and rescales the sums made with the old one.
SWAN_TILES void weigh(
    const AttentionProblem &p, const float *scores, int64_t count, __m512 &highest, __m512 &total,
    float *sums, Number *weights) {
    const __m512 scale = _mm512_set1_ps(p.scale);
    __m512 top[4];
    for (auto &t : top) t = _mm512_set1_ps(-std::numeric_limits<float>::infinity());
    int64_t key = 0;
    for (; key + 4 <= count; key += 4) {
        for (int i = 0; i < 4; ++i) {
            top[i] = _mm512_max_ps(top[i], _mm512_load_ps(scores + (key + i) * p.block));
        }
    }
    for (; key < count; ++key) {
        top[0] = _mm512_max_ps(top[0], _mm512_load_ps(scores + key * p.block));
    }
    const __m512 found = _mm512_max_ps(_mm512_max_ps(top[0], top[1]), _mm512_max_ps(top[2], top[3]));
    const __m512 now = _mm512_max_ps(highest, _mm512_mul_ps(found, scale));
    if (_mm512_cmpneq_ps_mask(now, highest) != 0) {
        const __m512 change = exponential2(_mm512_sub_ps(highest, now));
        total = _mm512_mul_ps(total, change);
        for (int64_t d = 0; d < p.depth; ++d) {
            float *const place = sums + d * p.block;
            _mm512_store_ps(place, _mm512_mul_ps(_mm512_load_ps(place), change));
        }
        highest = now;
    }
    // Interleaves two keys, one from each of two vectors.
    alignas(64) int16_t order[32];
    for (int i = 0; i < 16; ++i) order[2 * i] = i, order[2 * i + 1] = 16 + i;
    const __m512i interleaved = _mm512_load_si512(order);
    const int64_t padded = roundedUp(count, side);
    for (int64_t pair = 0; pair < padded / 2; ++pair) {
        __m512 first = _mm512_setzero_ps(), second = first;
        if (2 * pair < count) first = power(scores + 2 * pair * p.block, scale, highest);
        if (2 * pair + 1 < count) second = power(scores + (2 * pair + 1) * p.block, scale, highest);
        total = _mm512_add_ps(total, _mm512_add_ps(first, second));
        const auto both = (__m512i)_mm512_cvtne2ps_pbh(second, first);
        _mm512_storeu_si512(
            weights + pair / 16 * stepSize + pair % 16 * 32,
            _mm512_permutexvar_epi16(interleaved, both));
    }
}

/// Sums [D, block] divided by the totals, as tokens of the result.
SWAN_TILES void finish(
    const AttentionProblem &p, const float *sums, const __m512 *totals, int64_t count, Number *y) {
    const __m512i column = multiples(p.block);
    for (int64_t query = 0; query < count; ++query) {
        const __m512 total = _mm512_set1_ps(totals[query / 16][query % 16]);
        for (int64_t d = 0; d < p.depth; d += 16) {
            const __m512 sum = _mm512_i32gather_ps(column, sums + d * p.block + query, 4);
            storeNumbers(y + query * p.ys.token + d, _mm512_div_ps(sum, total));
        }
    }
}

/// One block of a head's queries.
SWAN_TILES void run(
    const AttentionProblem &p, int64_t row, int64_t head, int64_t firstQuery, const Number *turned) {
    const TileShape shape;
    static thread_local LineScratch<Number> queriesOfThread, lastKeys, weightsOfThread;
    static thread_local LineScratch<float> scoresOfThread, sumsOfThread;
    Number *const queries = queriesOfThread.reserve(p.depth * p.block);
    Number *const weights = weightsOfThread.reserve(keyBlock * p.block);
    float *const scores = scoresOfThread.reserve(keyBlock * p.block);
    float *const sums = sumsOfThread.reserve(p.depth * p.block);
    const int64_t count = std::min(p.block, p.queries - firstQuery);
    const Number *const q =
        p.q + row * p.qs.row + head * p.qs.head + firstQuery * p.qs.token;
    const Number *const k = p.k + row * p.ks.row + head * p.ks.head;
    packQueries(p, q, count, queries);
    __m512 highest[mostQueries / 16], totals[mostQueries / 16];
    for (int i = 0; i < mostQueries / 16; ++i) {
        // Lower than any score, and not an infinity, whose difference to itself is NaN.
        highest[i] = _mm512_set1_ps(std::numeric_limits<float>::lowest() / 4);
        totals[i] = _mm512_setzero_ps();
    }
    std::memset(sums, 0, p.depth * p.block * sizeof(float));
    for (int64_t first = 0; first < p.keys; first += keyBlock) {
        const int64_t keys = std::min(keyBlock, p.keys - first);
        for (int64_t key = 0; key < keys; key += side) {
            const Number *tokens = k + (first + key) * p.ks.token;
            int64_t stride = p.ks.token;
            if (key + side > keys) {
                Number *const ends = lastKeys.reserve(side * p.depth);
                std::memset(ends, 0, side * p.depth * sizeof(Number));
                for (int64_t i = 0; i < keys - key; ++i) {
                    std::memcpy(
                        ends + i * p.depth, tokens + i * stride, p.depth * sizeof(Number));
                }
                tokens = ends, stride = p.depth;
            }
            const auto left = [tokens](int64_t step) SWAN_ALWAYS { return tokens + step * side; };
            for (int64_t query = 0; query < p.block; query += side) {
                multiply(
                    left, stride, queries + query * p.depth, p.depth / side,
                    scores + key * p.block + query, p.block, false);
            }
        }
        for (int64_t query = 0; query < p.block; query += 16) {
            Number *const panel = weights + query / side * side * keyBlock;
            weigh(
                p, scores + query, keys, highest[query / 16], totals[query / 16], sums + query,
                panel + query % side / 16 * stepSize / 2);
        }
        const Number *const values = turned + first * p.depth;
        const int64_t steps = (keys + side - 1) / side;
        for (int64_t d = 0; d < p.depth; d += side) {
            const auto left = [values, d](int64_t step)
                SWAN_ALWAYS { return values + d * keyBlock + step * side; };
            for (int64_t query = 0; query < p.block; query += side) {
                multiply(
                    left, keyBlock, weights + query * keyBlock, steps,
                    sums + d * p.block + query, p.block, true);
            }
        }
    }
    finish(
        p, sums, totals, count,
        p.y + row * p.ys.row + head * p.ys.head + firstQuery * p.ys.token);
}

/// softmax(scale q k^T) v: q [B, N, Lq, D], k and v [B, N, Lk, D] -> [B, N, Lq, D]; D a multiple of 32.
at::Tensor attention(
    const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, double scale) {
    for (const auto &tensor : {q, k, v}) {
        requireTileable(tensor);
        TORCH_CHECK(
            tensor.dim() == 4 && tensor.sizes().slice(0, 2) == q.sizes().slice(0, 2)
                && tensor.numel() > 0 && tensor.size(3) == q.size(3) && q.size(3) % side == 0,
            "attention over ", q.sizes(), ", ", k.sizes(), ", ", v.sizes());
    }
    TORCH_CHECK(k.size(2) == v.size(2), k.size(2), " keys do not match ", v.size(2), " values");
    TORCH_CHECK(scale > 0, "the scale must be above 0, not ", scale);
    // Channels must be adjacent; tokens and heads may be in any order.
    const auto inRows = [](const at::Tensor &x) { return x.stride(3) == 1 ? x : x.contiguous(); };
    const auto plainQ = inRows(q), plainK = inRows(k), plainV = inRows(v);
    auto result =
        at::empty({q.size(0), q.size(2), q.size(1), q.size(3)}, q.options()).transpose(1, 2);
    const auto strides = [](const at::Tensor &x) {
        return AttentionProblem::Strides{x.stride(0), x.stride(1), x.stride(2)};
    };
    AttentionProblem p{};
    p.heads = q.size(1), p.queries = q.size(2), p.keys = k.size(2), p.depth = q.size(3);
    p.qs = strides(plainQ), p.ks = strides(plainK), p.vs = strides(plainV), p.ys = strides(result);
    p.q = numbers(plainQ), p.k = numbers(plainK), p.v = numbers(plainV), p.y = places(result);
    p.scale = static_cast<float>(scale * 1.4426950408889634);
    const int64_t blocks = (p.queries + mostQueries - 1) / mostQueries;
    p.block = roundedUp((p.queries + blocks - 1) / blocks, side);

    // The number of heads whose values fit in 32 MB.
    const int64_t all = q.size(0) * p.heads;
    const int64_t group = std::clamp<int64_t>((16 << 20) / p.turnedSize(), 1, all);
    const auto turned = at::empty({group, p.turnedSize()}, q.options());
    for (int64_t first = 0; first < all; first += group) {
        const int64_t heads = std::min(group, all - first);
        parallelFor(heads * p.keyBlocks(), 1, [&](int64_t begin, int64_t end) {
            for (int64_t task = begin; task < end; ++task) {
                const int64_t head = task / p.keyBlocks(), block = task % p.keyBlocks();
                const int64_t place = first + head;
                turnValues(
                    p, p.v + place / p.heads * p.vs.row + place % p.heads * p.vs.head,
                    block * keyBlock,
                    places(turned) + head * p.turnedSize() + block * keyBlock * p.depth);
            }
        });
        parallelFor(heads * blocks, 1, [&](int64_t begin, int64_t end) {
            for (int64_t task = begin; task < end; ++task) {
                const int64_t head = task / blocks, place = first + head;
                run(p, place / p.heads, place % p.heads, task % blocks * p.block,
                    numbers(turned) + head * p.turnedSize());
            }
        });
    }
    return result;
}
#endif

}  // namespace
}  // namespace swan

TORCH_LIBRARY_FRAGMENT(swan, library) {
    library.def(
        "tiled_attention(Tensor q, Tensor k, Tensor v, float scale) -> Tensor");
}

#if defined(__x86_64__)
TORCH_LIBRARY_IMPL(swan, CPU, library) { library.impl("tiled_attention", swan::attention); }
#endif
