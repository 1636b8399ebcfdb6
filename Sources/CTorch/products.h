// Shared by convolutions with Winograd's filtering: packed kernels, and the products of many tiles'
// components with them.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <vector>

#include "lanes.h"
#include "parallel.h"

namespace swan {

inline const float *floats(const at::Tensor &tensor) {
    return static_cast<const float *>(tensor.const_data_ptr());
}

inline void checkFloatsOnCPU(const at::Tensor &tensor) {
    TORCH_CHECK(
        tensor.scalar_type() == at::kFloat && tensor.is_cpu(),
        "this convolution is for float32 on the CPU");
}

inline int64_t roundedUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

/// The number of rows in a product at a time: as many as fit in registers.
template <int L>
constexpr int rowsAtOnce = L == 16 ? 12 : 6;

/// The sizes of the products: for every component, [tiles of a block, inputs] x [inputs, outputs].
struct Products {
    int64_t inputs, outputs, paddedInputs, paddedOutputs, tiles, tilesPerBlock;
    /// The distance from one component's numbers to the next: a block plus one cache line, so that the
    /// components of one tile do not all map to the same few lines of the cache.
    int64_t inputStride() const { return tilesPerBlock * paddedInputs + 16; }
    int64_t productStride() const { return tilesPerBlock * paddedOutputs + 16; }

    int64_t blocks() const { return (tiles + tilesPerBlock - 1) / tilesPerBlock; }

    /// Sets all sizes for a `weight` that `packed` made with this number of components.
    ///
    /// The tiles of a block stay in the second-level cache; there are a few more if a tile is little work. A
    /// kernel that exceeds the third-level cache is read from memory once per block: then blocks are large.
    void fit(
        const at::Tensor &weight, int64_t components, int64_t inputCount, int64_t outputCount,
        int64_t tileCount) {
        inputs = inputCount, outputs = outputCount, tiles = tileCount;
        paddedInputs = roundedUp(inputs, lanes()), paddedOutputs = roundedUp(outputs, lanes());
        TORCH_CHECK(
            weight.dim() == 2 && weight.size(0) == components && weight.is_contiguous()
                && weight.size(1) == inputs * paddedOutputs,
            "a packed kernel ", weight.sizes(), " does not match ", inputs, " and ", outputs,
            " channels");
        const int64_t unit = lanes() == 16 ? rowsAtOnce<16> : rowsAtOnce<8>;
        const bool isSmall = weight.numel() <= 3 << 20;
        tilesPerBlock = (!isSmall ? 12 : inputs < 32 ? 4 : 1) * unit;
        tilesPerBlock = std::min(tilesPerBlock, roundedUp(tiles, unit));
    }
};

/// Memory that a thread keeps between calls.
struct Scratch {
    std::vector<float> inputs, products, zeros;

    static Scratch &ofThread() {
        static thread_local Scratch scratch;
        return scratch;
    }

    void reserve(const Products &p, int64_t components) {
        const auto atLeast = [](std::vector<float> &memory, int64_t count) {
            if (static_cast<int64_t>(memory.size()) < count) memory.resize(count);
        };
        atLeast(inputs, components * p.inputStride());
        atLeast(products, components * p.productStride());
        atLeast(zeros, p.paddedInputs);
    }
};

/// c [R, W L] = a [R, depth] b [depth, W L], with contiguous b.
template <int L, int R, int W>
SWAN_INLINE void multiply(
    const float *a, int64_t aStride, const float *b, int64_t depth, float *c, int64_t cStride) {
    Vector<L> sum[R][W] = {};
    for (int64_t k = 0; k < depth; ++k) {
        Vector<L> right[W];
#pragma clang loop unroll(full)
        for (int w = 0; w < W; ++w) right[w] = load<L>(b + (k * W + w) * L);
#pragma clang loop unroll(full)
        for (int r = 0; r < R; ++r) {
            const Vector<L> left = fill<L>(a[r * aStride + k]);
#pragma clang loop unroll(full)
            for (int w = 0; w < W; ++w) sum[r][w] += left * right[w];
        }
    }
#pragma clang loop unroll(full)
    for (int r = 0; r < R; ++r) {
#pragma clang loop unroll(full)
        for (int w = 0; w < W; ++w) store<L>(c + r * cStride + w * L, sum[r][w]);
    }
}

/// A block's products of `components`, with kernels `weight` in panels two vectors wide, the last of them
/// one.
template <int L>
SWAN_INLINE void multiplyAll(
    const Products &p, int components, const float *weight, Scratch &scratch) {
    constexpr int R = rowsAtOnce<L>;
    for (int component = 0; component < components; ++component) {
        const float *const a = scratch.inputs.data() + component * p.inputStride();
        const float *const b = weight + component * p.inputs * p.paddedOutputs;
        float *const c = scratch.products.data() + component * p.productStride();
        for (int64_t column = 0; column < p.paddedOutputs; column += 2 * L) {
            const bool isWide = column + 2 * L <= p.paddedOutputs;
            const float *right = b + column * p.inputs;
            for (int64_t row = 0; row < p.tilesPerBlock;) {
                const float *left = a + row * p.paddedInputs;
                float *to = c + row * p.paddedOutputs + column;
                if (isWide) {
                    multiply<L, R, 2>(left, p.paddedInputs, right, p.inputs, to, p.paddedOutputs);
                    row += R;
                } else if (row + 2 * R <= p.tilesPerBlock) {
                    multiply<L, 2 * R, 1>(
                        left, p.paddedInputs, right, p.inputs, to, p.paddedOutputs);
                    row += 2 * R;
                } else {
                    multiply<L, R, 1>(left, p.paddedInputs, right, p.inputs, to, p.paddedOutputs);
                    row += R;
                }
            }
        }
    }
}

/// A weight [O, I, taps ...] as [components, O' I], with O' the outputs rounded up to whole vectors, in this
/// processor's order. `transform(taps, components)` transforms a kernel.
template <int components, typename Transform>
at::Tensor packed(const at::Tensor &weight, const Transform &transform) {
    const int width = lanes();
    const int64_t outputs = weight.size(0), inputs = weight.size(1);
    const int64_t padded = roundedUp(outputs, width);
    const auto plain = weight.to(at::kFloat).contiguous();
    const int64_t taps = plain[0][0].numel();
    auto result = at::zeros({components, inputs * padded}, plain.options());
    const float *kernels = floats(plain);
    float *target = static_cast<float *>(result.mutable_data_ptr());
    parallelFor((padded + 2 * width - 1) / (2 * width), 1, [&](int64_t first, int64_t last) {
        for (int64_t block = first; block < last; ++block) {
            const int64_t start = block * 2 * width;
            const int64_t count = std::min<int64_t>(2 * width, padded - start);
            const int64_t real = std::min(count, outputs - start);
            for (int64_t input = 0; input < inputs; ++input) {
                for (int64_t output = 0; output < real; ++output) {
                    double values[components];
                    transform(kernels + ((start + output) * inputs + input) * taps, values);
                    float *to = target + (start * inputs + input * count) + output;
                    for (int k = 0; k < components; ++k) {
                        to[k * inputs * padded] = static_cast<float>(values[k]);
                    }
                }
            }
        }
    });
    return result;
}

}  // namespace swan
