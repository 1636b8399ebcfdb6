// A 3x3 convolution of images after nearest-neighbor upsampling to twice the height and width.
//
// Images are channels last, in float32 on the CPU. By Winograd's minimal filtering (Lavin and Gray,
// https://arxiv.org/abs/1509.09308). Of its four products along a dimension, one is of the difference of two
// equal pixels and drops out: nine products per channel pair remain for four pixels, where direct summation
// takes 36. The large image is never materialized.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <vector>

#include "parallel.h"
#include "products.h"

namespace swan {
namespace {

constexpr int components = 9;

struct Problem : Products {
    int64_t height, width;
    /// The images to upsample in turn: the first of each part, then the second of each.
    std::vector<const float *> parts;
    const float *weight, *bias;
    float *result;
};

/// Transforms the inputs of one tile, a pixel and its neighbors, to components at `to`, `stride` apart.
template <int L>
SWAN_INLINE void transformTile(
    const float *const (&pixels)[components], int64_t channels, float *to, int64_t stride) {
    using V = Vector<L>;
    eachVector<L>(channels, [&](int64_t channel, int64_t rest) SWAN_ALWAYS {
        V d[components];
#pragma clang loop unroll(full)
        for (int i = 0; i < components; ++i) d[i] = loadSome<L>(pixels[i] + channel, rest);
        const auto along = [](V &before, V &here, V &after) SWAN_ALWAYS {
            before = before - here, after = here - after;
        };
#pragma clang loop unroll(full)
        for (int i = 0; i < 3; ++i) along(d[i], d[3 + i], d[6 + i]);
#pragma clang loop unroll(full)
        for (int i = 0; i < 9; i += 3) along(d[i], d[i + 1], d[i + 2]);
#pragma clang loop unroll(full)
        for (int i = 0; i < components; ++i) store<L>(to + i * stride + channel, d[i]);
    });
}

/// Transforms the products of one tile at `from`, `stride` apart, to 2x2 pixels with the first at `to`.
template <int L>
SWAN_INLINE void finishTile(const Problem &p, const float *from, int64_t stride, float *to) {
    using V = Vector<L>;
    eachVector<L>(p.outputs, [&](int64_t channel, int64_t rest) SWAN_ALWAYS {
        V m[components];
#pragma clang loop unroll(full)
        for (int i = 0; i < components; ++i) m[i] = load<L>(from + i * stride + channel);
        const V bias = loadSome<L>(p.bias + channel, rest);
#pragma clang loop unroll(full)
        for (int row = 0; row < 2; ++row) {
            V line[3];
#pragma clang loop unroll(full)
            for (int i = 0; i < 3; ++i) line[i] = row == 0 ? m[i] + m[3 + i] : m[3 + i] - m[6 + i];
            float *const left = to + row * 2 * p.width * p.outputs + channel;
            storeSome<L>(left, line[0] + line[1] + bias, rest);
            storeSome<L>(left + p.outputs, line[1] - line[2] + bias, rest);
        }
    });
}

/// One block of tiles of one image; a tile is a pixel.
template <int L>
SWAN_INLINE void runBlock(
    const Problem &p, Scratch &scratch, int64_t picture, int64_t firstTile) {
    const int64_t parts = static_cast<int64_t>(p.parts.size());
    const int64_t count = std::min(p.tilesPerBlock, p.tiles - firstTile);
    const float *const x =
        p.parts[picture % parts] + picture / parts * p.tiles * p.inputs;
    float *const y = p.result + picture * 4 * p.tiles * p.outputs;
    for (int64_t tile = 0; tile < count; ++tile) {
        const int64_t row = (firstTile + tile) / p.width, column = (firstTile + tile) % p.width;
        const float *pixels[components];
        for (int i = 0; i < components; ++i) {
            const int64_t r = row + i / 3 - 1, c = column + i % 3 - 1;
            const bool inside = r >= 0 && r < p.height && c >= 0 && c < p.width;
            pixels[i] = inside ? x + (r * p.width + c) * p.inputs : scratch.zeros.data();
        }
        transformTile<L>(
            pixels, p.inputs, scratch.inputs.data() + tile * p.paddedInputs, p.inputStride());
    }
    multiplyAll<L>(p, components, p.weight, scratch);
    for (int64_t tile = 0; tile < count; ++tile) {
        const int64_t row = (firstTile + tile) / p.width, column = (firstTile + tile) % p.width;
        finishTile<L>(
            p, scratch.products.data() + tile * p.paddedOutputs, p.productStride(),
            y + (4 * row * p.width + 2 * column) * p.outputs);
    }
}

void run4(const Problem &p, Scratch &s, int64_t picture, int64_t tile) {
    runBlock<4>(p, s, picture, tile);
}
SWAN_TARGET_8 void run8(const Problem &p, Scratch &s, int64_t picture, int64_t tile) {
    runBlock<8>(p, s, picture, tile);
}
SWAN_TARGET_16 void run16(const Problem &p, Scratch &s, int64_t picture, int64_t tile) {
    runBlock<16>(p, s, picture, tile);
}

/// Transforms a kernel's 3x3 numbers to the 3x3 factors of the products.
void transformKernel(const float *kernel, double *result) {
    const auto along = [](double a, double b, double c, double *target, int step) {
        target[0] = a, target[step] = a + b + c, target[2 * step] = c;
    };
    double rows[9];
    for (int i = 0; i < 9; i += 3) along(kernel[i], kernel[i + 1], kernel[i + 2], rows + i, 1);
    for (int i = 0; i < 3; ++i) along(rows[i], rows[3 + i], rows[6 + i], result + i, 3);
}

/// [O, I, 3, 3] -> [9, O' I]; see `packed`.
at::Tensor packWeight(const at::Tensor &weight) {
    TORCH_CHECK(
        weight.dim() == 4 && weight.size(2) == 3 && weight.size(3) == 3,
        "a kernel must be [O, I, 3, 3], not ", weight.sizes());
    return packed<components>(weight, transformKernel);
}

/// P parts [B, F, H, W, I] -> [B, F P, 2 H, 2 W, O], with frames taken from each part in turn.
at::Tensor convolve(at::TensorList parts, const at::Tensor &weight, const at::Tensor &bias) {
    TORCH_CHECK(!parts.empty() && parts[0].dim() == 5, "frames must be [B, F, H, W, C]");
    checkFloatsOnCPU(weight);
    checkFloatsOnCPU(bias);
    std::vector<at::Tensor> plain;
    Problem p{};
    for (const auto &part : parts) {
        checkFloatsOnCPU(part);
        TORCH_CHECK(
            part.sizes() == parts[0].sizes(),
            "parts of unequal size: ", parts[0].sizes(), " and ", part.sizes());
        plain.push_back(part.contiguous());
        p.parts.push_back(floats(plain.back()));
    }
    const auto &x = parts[0];
    const auto plainBias = bias.contiguous();
    p.height = x.size(2), p.width = x.size(3);
    p.fit(weight, components, x.size(4), bias.size(0), p.height * p.width);
    const int64_t frames = x.size(1) * static_cast<int64_t>(parts.size());
    auto result =
        at::empty({x.size(0), frames, 2 * p.height, 2 * p.width, p.outputs}, x.options());
    p.weight = floats(weight), p.bias = floats(plainBias);
    p.result = static_cast<float *>(result.mutable_data_ptr());
    const int64_t blocks = p.blocks();
    const auto run = lanes() == 16 ? run16 : lanes() == 8 ? run8 : run4;
    parallelFor(x.size(0) * frames * blocks, 1, [&](int64_t begin, int64_t end) {
        Scratch &scratch = Scratch::ofThread();
        scratch.reserve(p, components);
        for (int64_t index = begin; index < end; ++index) {
            run(p, scratch, index / blocks, index % blocks * p.tilesPerBlock);
        }
    });
    return result;
}

}  // namespace
}  // namespace swan

TORCH_LIBRARY_FRAGMENT(swan, library) {
    library.def("enlarging_weight(Tensor weight) -> Tensor");
    library.def("enlarging_convolution(Tensor[] parts, Tensor weight, Tensor bias) -> Tensor");
}

TORCH_LIBRARY_IMPL(swan, CPU, library) {
    library.impl("enlarging_weight", swan::packWeight);
    library.impl("enlarging_convolution", swan::convolve);
}
