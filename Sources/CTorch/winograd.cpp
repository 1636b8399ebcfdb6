// A causal 3x3x3 convolution of frames that lie channels last, in float32 on the CPU, by Winograd's
// minimal filtering F(2x2x2, 3x3x3) (Lavin and Gray, https://arxiv.org/abs/1509.09308, in three
// dimensions): two frames by two rows by two columns of outputs from 4x4x4 inputs with 64
// multiplications a channel pair where the sum as it is written takes 216.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <algorithm>

#include "parallel.h"
#include "products.h"

namespace swan {
namespace {

struct Problem : Products {
    int64_t frames, height, width, tileColumns;

    /// No front where the one frame that there is has nothing before it.
    const float *front, *x, *weight, *bias, *residual;
    float *result;

    /// Planes of the tiles of one pair of frames, of which the second need not be there.
    int planes(int64_t frame) const { return front == nullptr ? 1 : frame + 1 < frames ? 4 : 3; }
    /// Frame `index` of one video, counted from the two before its first.
    const float *frame(int64_t batch, int64_t index) const {
        const int64_t size = height * width * inputs;
        if (front == nullptr) return x + batch * size;
        return index < 2 ? front + (batch * 2 + index) * size
                         : x + (batch * frames + index - 2) * size;
    }
};

/// d0 - d2, d1 + d2, d2 - d1, d1 - d3.
template <typename V>
SWAN_INLINE void transformInput(V &a, V &b, V &c, V &d) {
    const V first = a - c, second = b + c, third = c - b, fourth = b - d;
    a = first, b = second, c = third, d = fourth;
}

/// 16 pixels, in the lines and columns of a tile, as 16 components at `to`, `stride` apart.
template <int L, typename Pixel>
SWAN_INLINE void transformPlane(const Pixel &pixel, float *to, int64_t stride) {
    Vector<L> d[16];
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; ++i) d[i] = pixel(i);
#pragma clang loop unroll(full)
    for (int i = 0; i < 4; ++i) transformInput(d[i], d[4 + i], d[8 + i], d[12 + i]);
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; i += 4) transformInput(d[i], d[i + 1], d[i + 2], d[i + 3]);
#pragma clang loop unroll(full)
    for (int i = 0; i < 16; ++i) store<L>(to + i * stride, d[i]);
}

/// One tile's inputs as the components of `count` planes at `to`, `stride` apart; one plane is the third
/// frame as it is. `place(frame, pixel)` is where the channels of one of 16 pixels lie.
template <int L, typename Place>
SWAN_INLINE void transformTile(
    const Place &place, int64_t channels, int count, float *to, int64_t stride) {
    eachVector<L>(channels, [&](int64_t channel, int64_t rest) SWAN_ALWAYS {
        const auto at = [&](int frame, int i) SWAN_ALWAYS {
            return loadSome<L>(place(frame, i) + channel, rest);
        };
        if (count == 1) {
            const auto pixel = [&](int i) SWAN_ALWAYS { return at(2, i); };
            return transformPlane<L>(pixel, to + channel, stride);
        }
        const auto plane = [&](int index, int first, int sign, int second) SWAN_ALWAYS {
            const auto pixel = [&](int i) SWAN_ALWAYS {
                return sign > 0 ? at(first, i) + at(second, i) : at(first, i) - at(second, i);
            };
            transformPlane<L>(pixel, to + index * 16 * stride + channel, stride);
        };
        plane(0, 0, -1, 2);
        plane(1, 1, +1, 2);
        plane(2, 2, -1, 1);
        if (count == 4) plane(3, 1, -1, 3);
    });
}

/// The components of a tile's planes at `from`, `stride` apart, as up to 2x2x2 pixels of the result.
template <int L>
SWAN_INLINE void finishTile(
    const Problem &p, const float *from, int64_t stride, int64_t batch, int64_t frame, int64_t row,
    int64_t column) {
    using V = Vector<L>;
    const int count = p.planes(frame);
    eachVector<L>(p.outputs, [&](int64_t channel, int64_t rest) SWAN_ALWAYS {
        V y[2][16];
        for (int i = 0; i < 16; ++i) {
            const float *at = from + i * stride + channel;
            y[0][i] = load<L>(at);
            if (count == 1) continue;
            const V b = load<L>(at + 16 * stride), c = load<L>(at + 32 * stride);
            y[0][i] += b + c;
            y[1][i] = count == 4 ? b - c - load<L>(at + 48 * stride) : V{};
        }
        const V bias = loadSome<L>(p.bias + channel, rest);
        for (int f = 0; f < (count == 4 ? 2 : 1); ++f) {
            V *d = y[f];
            for (int i = 0; i < 4; ++i) {
                const V upper = d[i] + d[4 + i] + d[8 + i];
                d[4 + i] = d[4 + i] - d[8 + i] - d[12 + i];
                d[i] = upper;
            }
            for (int r = 0; r < 2 && row + r < p.height; ++r) {
                const V *e = d + 4 * r;
                const V pair[2] = {e[0] + e[1] + e[2], e[1] - e[2] - e[3]};
                for (int c = 0; c < 2 && column + c < p.width; ++c) {
                    const int64_t at =
                        (((batch * p.frames + frame + f) * p.height + row + r) * p.width + column
                         + c) * p.outputs + channel;
                    V value = pair[c] + bias;
                    if (p.residual != nullptr) value += loadSome<L>(p.residual + at, rest);
                    storeSome<L>(p.result + at, value, rest);
                }
            }
        }
    });
}

/// One block of tiles of one pair of frames.
template <int L>
SWAN_INLINE void runBlock(
    const Problem &p, Scratch &scratch, int64_t batch, int64_t frame, int64_t firstTile) {
    const int64_t count = std::min(p.tilesPerBlock, p.tiles - firstTile);
    const int planeCount = p.planes(frame);
    const float *frames[4];
    for (int f = 0; f < 4; ++f) frames[f] = p.frame(batch, std::min(frame + f, p.frames + 1));
    for (int64_t tile = 0; tile < count; ++tile) {
        const int64_t row = (firstTile + tile) / p.tileColumns * 2 - 1;
        const int64_t column = (firstTile + tile) % p.tileColumns * 2 - 1;
        float *const to = scratch.inputs.data() + tile * p.paddedInputs;
        const int64_t corner = (row * p.width + column) * p.inputs;
        if (row >= 0 && column >= 0 && row + 4 <= p.height && column + 4 <= p.width) {
            const auto place = [&](int f, int i) SWAN_ALWAYS {
                return frames[f] + corner + (i / 4 * p.width + i % 4) * p.inputs;
            };
            transformTile<L>(place, p.inputs, planeCount, to, p.inputStride());
        } else {
            const auto place = [&](int f, int i) SWAN_ALWAYS {
                const int64_t y = row + i / 4, x = column + i % 4;
                const bool inside = y >= 0 && y < p.height && x >= 0 && x < p.width;
                return inside ? frames[f] + (y * p.width + x) * p.inputs : scratch.zeros.data();
            };
            transformTile<L>(place, p.inputs, planeCount, to, p.inputStride());
        }
    }
    multiplyAll<L>(p, planeCount * 16, p.weight, scratch);
    for (int64_t tile = 0; tile < count; ++tile) {
        finishTile<L>(
            p, scratch.products.data() + tile * p.paddedOutputs, p.productStride(),
            batch, frame, (firstTile + tile) / p.tileColumns * 2,
            (firstTile + tile) % p.tileColumns * 2);
    }
}

void run4(const Problem &p, Scratch &s, int64_t batch, int64_t frame, int64_t tile) {
    runBlock<4>(p, s, batch, frame, tile);
}
SWAN_TARGET_8 void run8(
    const Problem &p, Scratch &s, int64_t batch, int64_t frame, int64_t tile) {
    runBlock<8>(p, s, batch, frame, tile);
}
SWAN_TARGET_16 void run16(
    const Problem &p, Scratch &s, int64_t batch, int64_t frame, int64_t tile) {
    runBlock<16>(p, s, batch, frame, tile);
}

/// A kernel's 3x3x3 numbers as the 4x4x4 that are multiplied with: G along each dimension.
void transformKernel(const float *kernel, double *result) {
    const auto along = [](double a, double b, double c, double *target, int step) {
        target[0] = a;
        target[step] = (a + b + c) / 2;
        target[2 * step] = (a - b + c) / 2;
        target[3 * step] = c;
    };
    double columns[36], rows[48];  // [3, 3, 4], [3, 4, 4]
    for (int i = 0; i < 9; ++i) {
        const float *x = kernel + 3 * i;
        along(x[0], x[1], x[2], columns + 4 * i, 1);
    }
    for (int frame = 0; frame < 3; ++frame) {
        for (int i = 0; i < 4; ++i) {
            const double *x = columns + 12 * frame + i;
            along(x[0], x[4], x[8], rows + 16 * frame + i, 4);
        }
    }
    for (int i = 0; i < 16; ++i) along(rows[i], rows[16 + i], rows[32 + i], result + i, 16);
}

/// [O, I, 3, 3, 3] -> [64, O' I], see `packed`.
at::Tensor packWeight(const at::Tensor &weight) {
    TORCH_CHECK(
        weight.dim() == 5 && weight.size(2) == 3 && weight.size(3) == 3 && weight.size(4) == 3,
        "a kernel is [O, I, 3, 3, 3], not ", weight.sizes());
    return packed<64>(weight, transformKernel);
}

/// x [B, F, H, W, I] after front [B, 2, H, W, I], zeros where there is none -> [B, F, H, W, O], plus the
/// residual if there is one.
at::Tensor convolve(
    const std::optional<at::Tensor> &front, const at::Tensor &x, const at::Tensor &weight,
    const at::Tensor &bias, const std::optional<at::Tensor> &residual) {
    TORCH_CHECK(x.dim() == 5, "frames are [B, F, H, W, C], not ", x.sizes());
    TORCH_CHECK(
        !front || (front->dim() == 5 && front->size(0) == x.size(0) && front->size(1) == 2
                   && front->sizes().slice(2) == x.sizes().slice(2)),
        "frames ", x.sizes(), " do not follow ", front->sizes());
    for (const auto &tensor : {front.value_or(x), x, weight, bias}) checkFloatsOnCPU(tensor);
    const auto plainX = x.contiguous(), plainBias = bias.contiguous();
    Problem p{};
    p.frames = x.size(1), p.height = x.size(2), p.width = x.size(3);
    p.tileColumns = (p.width + 1) / 2;
    p.fit(weight, 64, x.size(4), bias.size(0), (p.height + 1) / 2 * p.tileColumns);
    auto result = at::empty({x.size(0), p.frames, p.height, p.width, p.outputs}, x.options());
    at::Tensor plainResidual;
    if (residual.has_value()) {
        TORCH_CHECK(residual->sizes() == result.sizes(), "the residual is ", residual->sizes());
        plainResidual = residual->contiguous();
        p.residual = floats(plainResidual);
    }
    // The one first frame of a video meets the last of the kernel's three frames alone, which is a sum of
    // the packed planes: a third of the products.
    at::Tensor plainFront, used = weight;
    if (!front && p.frames == 1) {
        const auto packed = weight.view({4, 16, -1});
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
        scratch.reserve(p, 64);
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
