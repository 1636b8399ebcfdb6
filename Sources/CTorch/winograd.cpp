// A causal 3x3x3 convolution of channels-last frames, in float32 on the CPU, by Winograd's minimal filtering
// (Lavin and Gray, https://arxiv.org/abs/1509.09308, in three dimensions): two frames by S rows by S columns
// of outputs from 4 by T by T inputs, T = S + 2. With S = 4 this takes 144 multiplications per channel pair
// where direct summation takes 864, with S = 2 64 instead of 216; but the transformed kernel is 16/3 of its
// size instead of 64/27.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <algorithm>

#include "parallel.h"
#include "products.h"

namespace swan {
namespace {

struct Problem : Products {
    int64_t frames, height, width, tileColumns;
    /// S: the rows and columns of a tile's outputs.
    int side;

    /// No front if the only frame has nothing before it.
    const float *front, *x, *weight, *bias, *residual;
    float *result;

    /// The planes of the tiles of one pair of frames, of which the second may be missing.
    int planes(int64_t frame) const { return front == nullptr ? 1 : frame + 1 < frames ? 4 : 3; }
    /// Frame `index` of one video, counted from the two before its first.
    const float *frame(int64_t batch, int64_t index) const {
        const int64_t size = height * width * inputs;
        if (front == nullptr) return x + batch * size;
        return index < 2 ? front + (batch * 2 + index) * size
                         : x + (batch * frames + index - 2) * size;
    }
};

/// The components of a tile: four planes of T x T.
template <int S>
constexpr int components = 4 * (S + 2) * (S + 2);

/// F(S, 3) along one dimension, from the polynomials' values at S + 1 points and their leading coefficients.
template <int S>
struct Filter;

/// At 0, 1 and -1.
template <>
struct Filter<2> {
    /// Transforms T inputs at `d`, `step` apart, to T components in place.
    template <typename V>
    static SWAN_INLINE void transformInput(V *d, int step) {
        const V a = d[0], b = d[step], c = d[2 * step];
        d[0] = a - c, d[step] = b + c, d[2 * step] = c - b, d[3 * step] = b - d[3 * step];
    }

    /// Transforms T components to S outputs, in the first S places.
    template <typename V>
    static SWAN_INLINE void transformOutput(V *d, int step) {
        const V b = d[step], c = d[2 * step];
        d[0] += b + c, d[step] = b - c - d[3 * step];
    }

    /// Transforms a kernel's three numbers to T components.
    static void transformKernel(double a, double b, double c, double *to, int step) {
        to[0] = a, to[step] = (a + b + c) / 2, to[2 * step] = (a - b + c) / 2, to[3 * step] = c;
    }
};

/// At 0, +-sqrt(1/2) and +-sqrt(2): of the points that need few operations, those with the smallest error,
/// half of that at 0, +-1 and +-2.
template <>
struct Filter<4> {
    static constexpr double near = 0.70710678118654752, far = 1.41421356237309505;

    template <typename V>
    static SWAN_INLINE void transformInput(V *d, int step) {
        const V a = d[0], b = d[step], c = d[2 * step], e = d[3 * step], f = d[4 * step];
        const V evenNear = f - c * 2.0f, oddNear = (e - b * 2.0f) * float(near);
        const V evenFar = f - c * 0.5f, oddFar = (e - b * 0.5f) * float(far);
        d[0] = a - c * 2.5f + f;
        d[step] = evenNear + oddNear, d[2 * step] = evenNear - oddNear;
        d[3 * step] = evenFar + oddFar, d[4 * step] = evenFar - oddFar;
        d[5 * step] = b - e * 2.5f + d[5 * step];
    }

    template <typename V>
    static SWAN_INLINE void transformOutput(V *d, int step) {
        const V evenNear = d[step] + d[2 * step], oddNear = (d[step] - d[2 * step]) * float(near);
        const V evenFar = d[3 * step] + d[4 * step], oddFar = (d[3 * step] - d[4 * step]) * float(far);
        d[0] += evenNear + evenFar;
        d[step] = oddNear + oddFar;
        d[2 * step] = evenNear * 0.5f + evenFar * 2.0f;
        d[3 * step] = oddNear * 0.5f + oddFar * 2.0f + d[5 * step];
    }

    static void transformKernel(double a, double b, double c, double *to, int step) {
        to[0] = a, to[5 * step] = c;
        for (int i = 0; i < 2; ++i) {
            const double sign = i == 0 ? 1 : -1;
            to[(1 + i) * step] = (a + sign * near * b + c / 2) / -1.5;
            to[(3 + i) * step] = (a + sign * far * b + c * 2) / 6;
        }
    }
};

/// Transforms T x T pixels, in the rows and columns of a tile, to T x T components at `to`, `stride` apart.
template <int L, int S, typename Pixel>
SWAN_INLINE void transformPlane(const Pixel &pixel, float *to, int64_t stride) {
    constexpr int T = S + 2;
    Vector<L> d[T * T];
#pragma clang loop unroll(full)
    for (int column = 0; column < T; ++column) {
#pragma clang loop unroll(full)
        for (int row = 0; row < T; ++row) d[row * T + column] = pixel(row * T + column);
        Filter<S>::transformInput(d + column, T);
    }
#pragma clang loop unroll(full)
    for (int row = 0; row < T; ++row) {
        Filter<S>::transformInput(d + row * T, 1);
#pragma clang loop unroll(full)
        for (int i = row * T; i < (row + 1) * T; ++i) store<L>(to + i * stride, d[i]);
    }
}

/// Transforms the inputs of one tile to the components of `count` planes at `to`, `stride` apart; a single
/// plane is the third frame itself. `place(frame, pixel)` returns the channels of one of T x T pixels.
template <int L, int S, typename Place>
SWAN_INLINE void transformTile(
    const Place &place, int64_t channels, int count, float *to, int64_t stride) {
    eachVector<L>(channels, [&](int64_t channel, int64_t rest) SWAN_ALWAYS {
        const auto at = [&](int frame, int i) SWAN_ALWAYS {
            return loadSome<L>(place(frame, i) + channel, rest);
        };
        if (count == 1) {
            const auto pixel = [&](int i) SWAN_ALWAYS { return at(2, i); };
            return transformPlane<L, S>(pixel, to + channel, stride);
        }
        const auto plane = [&](int index, int first, int sign, int second) SWAN_ALWAYS {
            const auto pixel = [&](int i) SWAN_ALWAYS {
                return sign > 0 ? at(first, i) + at(second, i) : at(first, i) - at(second, i);
            };
            constexpr int size = (S + 2) * (S + 2);
            transformPlane<L, S>(pixel, to + index * size * stride + channel, stride);
        };
        plane(0, 0, -1, 2);
        plane(1, 1, +1, 2);
        plane(2, 2, -1, 1);
        if (count == 4) plane(3, 1, -1, 3);
    });
}

/// Transforms the components of a tile's planes at `from`, `stride` apart, to up to 2 x S x S pixels of the
/// result.
template <int L, int S>
SWAN_INLINE void finishTile(
    const Problem &p, const float *from, int64_t stride, int64_t batch, int64_t frame, int64_t row,
    int64_t column) {
    using V = Vector<L>;
    constexpr int T = S + 2, size = T * T;
    const int count = p.planes(frame);
    eachVector<L>(p.outputs, [&](int64_t channel, int64_t rest) SWAN_ALWAYS {
        V y[2][size];
        for (int i = 0; i < size; ++i) {
            const float *at = from + i * stride + channel;
            y[0][i] = load<L>(at);
            if (count == 1) continue;
            const V b = load<L>(at + size * stride), c = load<L>(at + 2 * size * stride);
            y[0][i] += b + c;
            y[1][i] = count == 4 ? b - c - load<L>(at + 3 * size * stride) : V{};
        }
        const V bias = loadSome<L>(p.bias + channel, rest);
        for (int f = 0; f < (count == 4 ? 2 : 1); ++f) {
            V *d = y[f];
#pragma clang loop unroll(full)
            for (int i = 0; i < T; ++i) Filter<S>::transformOutput(d + i, T);
            for (int r = 0; r < S && row + r < p.height; ++r) {
                Filter<S>::transformOutput(d + r * T, 1);
                for (int c = 0; c < S && column + c < p.width; ++c) {
                    const int64_t at =
                        (((batch * p.frames + frame + f) * p.height + row + r) * p.width + column
                         + c) * p.outputs + channel;
                    V value = d[r * T + c] + bias;
                    if (p.residual != nullptr) value += loadSome<L>(p.residual + at, rest);
                    storeSome<L>(p.result + at, value, rest);
                }
            }
        }
    });
}

/// One block of tiles of one pair of frames.
template <int L, int S>
SWAN_INLINE void runBlock(
    const Problem &p, Scratch &scratch, int64_t batch, int64_t frame, int64_t firstTile) {
    constexpr int T = S + 2;
    const int64_t count = std::min(p.tilesPerBlock, p.tiles - firstTile);
    const int planeCount = p.planes(frame);
    const float *frames[4];
    for (int f = 0; f < 4; ++f) frames[f] = p.frame(batch, std::min(frame + f, p.frames + 1));
    for (int64_t tile = 0; tile < count; ++tile) {
        const int64_t row = (firstTile + tile) / p.tileColumns * S - 1;
        const int64_t column = (firstTile + tile) % p.tileColumns * S - 1;
        float *const to = scratch.inputs.data() + tile * p.paddedInputs;
        const int64_t corner = (row * p.width + column) * p.inputs;
        if (row >= 0 && column >= 0 && row + T <= p.height && column + T <= p.width) {
            const auto place = [&](int f, int i) SWAN_ALWAYS {
                return frames[f] + corner + (i / T * p.width + i % T) * p.inputs;
            };
            transformTile<L, S>(place, p.inputs, planeCount, to, p.inputStride());
        } else {
            const auto place = [&](int f, int i) SWAN_ALWAYS {
                const int64_t y = row + i / T, x = column + i % T;
                const bool inside = y >= 0 && y < p.height && x >= 0 && x < p.width;
                return inside ? frames[f] + (y * p.width + x) * p.inputs : scratch.zeros.data();
            };
            transformTile<L, S>(place, p.inputs, planeCount, to, p.inputStride());
        }
    }
    multiplyAll<L>(p, planeCount * T * T, p.weight, scratch);
    for (int64_t tile = 0; tile < count; ++tile) {
        finishTile<L, S>(
            p, scratch.products.data() + tile * p.paddedOutputs, p.productStride(),
            batch, frame, (firstTile + tile) / p.tileColumns * S,
            (firstTile + tile) % p.tileColumns * S);
    }
}

template <int L>
SWAN_INLINE void runTiles(
    const Problem &p, Scratch &s, int64_t batch, int64_t frame, int64_t tile) {
    if (p.side == 4) return runBlock<L, 4>(p, s, batch, frame, tile);
    runBlock<L, 2>(p, s, batch, frame, tile);
}

void run4(const Problem &p, Scratch &s, int64_t batch, int64_t frame, int64_t tile) {
    runTiles<4>(p, s, batch, frame, tile);
}
SWAN_TARGET_8 void run8(
    const Problem &p, Scratch &s, int64_t batch, int64_t frame, int64_t tile) {
    runTiles<8>(p, s, batch, frame, tile);
}
SWAN_TARGET_16 void run16(
    const Problem &p, Scratch &s, int64_t batch, int64_t frame, int64_t tile) {
    runTiles<16>(p, s, batch, frame, tile);
}

/// Transforms a kernel's 3x3x3 numbers to the 4 x T x T factors of the products.
template <int S>
void transformKernel(const float *kernel, double *result) {
    constexpr int T = S + 2;
    double columns[9 * T], rows[3 * T * T];  // [3, 3, T], [3, T, T]
    for (int i = 0; i < 9; ++i) {
        const float *x = kernel + 3 * i;
        Filter<S>::transformKernel(x[0], x[1], x[2], columns + T * i, 1);
    }
    for (int frame = 0; frame < 3; ++frame) {
        for (int i = 0; i < T; ++i) {
            const double *x = columns + 3 * T * frame + i;
            Filter<S>::transformKernel(x[0], x[T], x[2 * T], rows + T * T * frame + i, T);
        }
    }
    for (int i = 0; i < T * T; ++i) {
        const double *x = rows + i;
        Filter<2>::transformKernel(x[0], x[T * T], x[2 * T * T], result + i, T * T);
    }
}

/// [O, I, 3, 3, 3] -> [4 T T, O' I]; see `packed`.
///
/// A large kernel, which in the networks here is applied to small frames, is packed for S = 2: it would be
/// gigabytes otherwise.
at::Tensor packWeight(const at::Tensor &weight) {
    TORCH_CHECK(
        weight.dim() == 5 && weight.size(2) == 3 && weight.size(3) == 3 && weight.size(4) == 3,
        "a kernel must be [O, I, 3, 3, 3], not ", weight.sizes());
    const bool isSmall = weight.size(0) * weight.size(1) <= 256 * 256;
    return isSmall ? packed<components<4>>(weight, transformKernel<4>)
                   : packed<components<2>>(weight, transformKernel<2>);
}

/// x [B, F, H, W, I] after front [B, 2, H, W, I], or zeros if there is none -> [B, F, H, W, O], plus the
/// residual if there is one.
at::Tensor convolve(
    const std::optional<at::Tensor> &front, const at::Tensor &x, const at::Tensor &weight,
    const at::Tensor &bias, const std::optional<at::Tensor> &residual) {
    TORCH_CHECK(x.dim() == 5, "frames must be [B, F, H, W, C], not ", x.sizes());
    TORCH_CHECK(
        !front || (front->dim() == 5 && front->size(0) == x.size(0) && front->size(1) == 2
                   && front->sizes().slice(2) == x.sizes().slice(2)),
        "frames ", x.sizes(), " do not follow ", front->sizes());
    for (const auto &tensor : {front.value_or(x), x, weight, bias}) checkFloatsOnCPU(tensor);
    const auto plainX = x.contiguous(), plainBias = bias.contiguous();
    Problem p{};
    p.frames = x.size(1), p.height = x.size(2), p.width = x.size(3);
    p.side = weight.size(0) == components<4> ? 4 : 2;
    const int64_t planeSize = (p.side + 2) * (p.side + 2);
    p.tileColumns = (p.width + p.side - 1) / p.side;
    p.fit(
        weight, 4 * planeSize, x.size(4), bias.size(0),
        (p.height + p.side - 1) / p.side * p.tileColumns);
    auto result = at::empty({x.size(0), p.frames, p.height, p.width, p.outputs}, x.options());
    at::Tensor plainResidual;
    if (residual.has_value()) {
        TORCH_CHECK(
            residual->sizes() == result.sizes(),
            "the residual must have the size of the result, not ", residual->sizes());
        plainResidual = residual->contiguous();
        p.residual = floats(plainResidual);
    }
    // The first frame of a video, if alone, meets only the last of the kernel's three frames, which is a sum
    // of the packed planes: a third of the products.
    at::Tensor plainFront, used = weight;
    if (!front && p.frames == 1) {
        const auto packed = weight.view({4, planeSize, -1});
        used = packed[1] + packed[2] - packed[0];
    } else {
        plainFront = front ? front->contiguous()
                           : at::zeros({x.size(0), 2, p.height, p.width, p.inputs}, x.options());
        p.front = floats(plainFront);
    }
    p.x = floats(plainX), p.weight = floats(used), p.bias = floats(plainBias);
    p.result = static_cast<float *>(result.mutable_data_ptr());

    const int64_t blocks = p.blocks();
    const int64_t pairs = (p.frames + 1) / 2;
    const auto run = lanes() == 16 ? run16 : lanes() == 8 ? run8 : run4;
    parallelFor(x.size(0) * pairs * blocks, 1, [&](int64_t begin, int64_t end) {
        Scratch &scratch = Scratch::ofThread();
        scratch.reserve(p, 4 * planeSize);
        for (int64_t index = begin; index < end; ++index) {
            const int64_t block = index % blocks, pair = index / blocks % pairs;
            run(p, scratch, index / blocks / pairs, 2 * pair, block * p.tilesPerBlock);
        }
    });
    return result;
}

}  // namespace
}  // namespace swan

TORCH_LIBRARY_FRAGMENT(swan, library) {
    library.def("winograd_weight(Tensor weight) -> Tensor");
    library.def(
        "winograd(Tensor? front, Tensor x, Tensor weight, Tensor bias, Tensor? residual=None) -> Tensor");
}

TORCH_LIBRARY_IMPL(swan, CPU, library) {
    library.impl("winograd_weight", swan::packWeight);
    library.impl("winograd", swan::convolve);
}
