// Causal 3x3x3 convolutions in bfloat16 by the processor's tiles.
//
// Frames are copied with a border of zeros, and pixels are counted across whole bordered rows: 32 adjacent
// pixels are then, for every tap of the kernel, 32 rows of a matrix already in memory. The outputs of the two
// border pixels of each row are discarded.
#include <torch/library.h>

#include <vector>

#include "tiles.h"

namespace swan {
namespace {

#if defined(__x86_64__)
using namespace tiles;

struct ConvolutionProblem {
    int64_t frames, height, width, inputs, outputs;
    const Number *front, *x, *weight, *bias, *residual;
    Number *result;
    /// The frames and the two before them, with borders, and where they begin for each step.
    Number *bordered;
    const int64_t *steps;
    int64_t stepCount, paddedInputs;
    /// The pixels of a task.
    int64_t block;

    int64_t rowPixels() const { return width + 2; }
    int64_t frameSize() const { return (height + 2) * rowPixels() * paddedInputs; }
    int64_t pixels() const { return height * rowPixels() - 2; }
};

/// Fills one row of the bordered frames.
void fillRow(const ConvolutionProblem &p, int64_t frame, int64_t row) {
    Number *to = p.bordered + frame * p.frameSize() + row * p.rowPixels() * p.paddedInputs;
    const int64_t size = p.rowPixels() * p.paddedInputs;
    const bool isBorder = row == 0 || row == p.height + 1;
    if (isBorder || (frame < 2 && p.front == nullptr)) {
        std::memset(to, 0, size * sizeof(Number));
        return;
    }
    const Number *frames = frame < 2 ? p.front : p.x;
    const int64_t index = frame < 2 ? frame : frame - 2;
    const Number *from = frames + (index * p.height + row - 1) * p.width * p.inputs;
    std::memset(to, 0, p.paddedInputs * sizeof(Number));
    std::memset(to + size - p.paddedInputs, 0, p.paddedInputs * sizeof(Number));
    to += p.paddedInputs;
    if (p.inputs == p.paddedInputs) {
        std::memcpy(to, from, p.width * p.inputs * sizeof(Number));
        return;
    }
    for (int64_t x = 0; x < p.width; ++x, to += p.paddedInputs, from += p.inputs) {
        std::memcpy(to, from, p.inputs * sizeof(Number));
        std::memset(to + p.inputs, 0, (p.paddedInputs - p.inputs) * sizeof(Number));
    }
}

/// Writes the sums [32 pixels, 32 outputs] as pixels of the result.
SWAN_TILES void finish(
    const ConvolutionProblem &p, const float *sums, int64_t frame, int64_t pixel, int64_t output) {
    for (int64_t half = output; half < std::min(output + side, p.outputs); half += 16) {
        const int64_t rest = std::min<int64_t>(16, p.outputs - half);
        const auto some = static_cast<__mmask16>((1 << rest) - 1);
        const __m512 bias = loadNumbers(p.bias + half, some);
        for (int64_t i = 0; i < side; ++i) {
            const int64_t row = (pixel + i) / p.rowPixels(), column = (pixel + i) % p.rowPixels();
            if (column >= p.width || row >= p.height) continue;
            const int64_t place =
                ((frame * p.height + row) * p.width + column) * p.outputs + half;
            __m512 value = _mm512_add_ps(_mm512_load_ps(sums + i * side + half - output), bias);
            if (p.residual != nullptr) {
                value = _mm512_add_ps(value, loadNumbers(p.residual + place, some));
            }
            storeNumbers(p.result + place, value, some);
        }
    }
}

/// A run of a frame's pixels.
SWAN_TILES void run(const ConvolutionProblem &p, int64_t frame, int64_t first) {
    const TileShape shape;
    alignas(64) float sums[side * side];
    const int64_t last = std::min(first + p.block, p.pixels());
    const Number *const base = p.bordered + frame * p.frameSize();
    const int64_t *const steps = p.steps;
    for (int64_t output = 0; output < p.outputs; output += side) {
        const Number *const right = p.weight + output * p.stepCount * side;
        for (int64_t pixel = first; pixel < last; pixel += side) {
            const Number *const corner = base + pixel * p.paddedInputs;
            const auto left = [corner, steps](int64_t step)
                SWAN_ALWAYS { return corner + steps[step]; };
            multiply(left, p.paddedInputs, right, p.stepCount, sums, side, false);
            finish(p, sums, frame, pixel, output);
        }
    }
}

/// [O, I, 3, 3, 3] -> the form for `tiled_convolution`, with channels padded with zeros to multiples of 32.
at::Tensor packConvolution(const at::Tensor &weight) {
    requireTileable(weight);
    TORCH_CHECK(
        weight.dim() == 5 && weight.numel() > 0 && weight.size(2) == 3 && weight.size(3) == 3 && weight.size(4) == 3,
        "a kernel must be [O, I, 3, 3, 3], not ", weight.sizes());
    const int64_t outputs = roundedUp(weight.size(0), side);
    const int64_t inputs = roundedUp(weight.size(1), side);
    const auto rows = at::constant_pad_nd(
        weight.permute({0, 2, 3, 4, 1}),
        {0, inputs - weight.size(1), 0, 0, 0, 0, 0, 0, 0, outputs - weight.size(0)});
    return packed(rows.reshape({outputs, -1}));
}

/// x [B, F, H, W, I] after front [B, 2, H, W, I], or zeros if there is none -> [B, F, H, W, O], plus the
/// residual if there is one.
at::Tensor convolve(
    const std::optional<at::Tensor> &front, const at::Tensor &x, const at::Tensor &weight,
    const at::Tensor &bias, const std::optional<at::Tensor> &residual) {
    for (const auto &tensor : {front.value_or(x), x, weight, bias, residual.value_or(x)}) {
        requireTileable(tensor);
    }
    TORCH_CHECK(x.dim() == 5 && x.size(4) > 0, "frames must be [B, F, H, W, C], not ", x.sizes());
    TORCH_CHECK(
        !front || (front->dim() == 5 && front->size(0) == x.size(0) && front->size(1) == 2
                   && front->sizes().slice(2) == x.sizes().slice(2)),
        "frames ", x.sizes(), " do not follow ", front->sizes());
    ConvolutionProblem p{};
    p.frames = x.size(1), p.height = x.size(2), p.width = x.size(3);
    p.inputs = x.size(4), p.outputs = bias.numel(), p.paddedInputs = roundedUp(p.inputs, side);
    p.stepCount = 27 * p.paddedInputs / side;
    TORCH_CHECK(
        isPacked(weight, roundedUp(p.outputs, side), p.stepCount),
        "a packed kernel ", weight.sizes(), " does not match ", p.inputs, " and ", p.outputs,
        " channels");
    auto result = at::empty({x.size(0), p.frames, p.height, p.width, p.outputs}, x.options());
    if (result.numel() == 0) return result;
    const auto plainX = x.contiguous(), plainBias = bias.contiguous();
    const auto plainFront = front ? front->contiguous() : at::Tensor();
    at::Tensor plainResidual;
    if (residual.has_value()) {
        TORCH_CHECK(
            residual->sizes() == result.sizes(),
            "the residual must have the size of the result, not ", residual->sizes());
        plainResidual = residual->contiguous();
    }
    std::vector<int64_t> steps;
    for (int64_t tap = 0; tap < 27; ++tap) {
        const int64_t pixel = tap / 3 % 3 * p.rowPixels() + tap % 3;
        for (int64_t input = 0; input < p.paddedInputs; input += side) {
            steps.push_back(tap / 9 * p.frameSize() + pixel * p.paddedInputs + input);
        }
    }
    // The last pixels of a frame are read together with the memory after them.
    const int64_t size = (p.frames + 2) * p.frameSize(), slack = side * p.paddedInputs;
    const auto bordered = at::empty({size + slack}, x.options());
    std::memset(places(bordered) + size, 0, slack * sizeof(Number));
    p.steps = steps.data(), p.weight = numbers(weight), p.bias = numbers(plainBias);
    p.bordered = places(bordered);
    // The pixels that a task traverses once for each 32 outputs stay in the second-level cache.
    const int64_t pixelsInCache = (1 << 19) / (9 * p.paddedInputs);
    p.block = std::clamp(pixelsInCache / side * side, 2 * side, 16 * side);
    const int64_t blocks = (p.pixels() + p.block - 1) / p.block;
    const int64_t rows = p.height + 2;
    for (int64_t sample = 0; sample < x.size(0); ++sample) {
        p.front = front ? numbers(plainFront[sample]) : nullptr;
        p.x = numbers(plainX[sample]);
        p.residual = residual ? numbers(plainResidual[sample]) : nullptr;
        p.result = places(result[sample]);
        parallelFor((p.frames + 2) * rows, 16, [&](int64_t begin, int64_t end) {
            for (int64_t row = begin; row < end; ++row) fillRow(p, row / rows, row % rows);
        });
        parallelFor(p.frames * blocks, 1, [&](int64_t begin, int64_t end) {
            for (int64_t task = begin; task < end; ++task) {
                run(p, task / blocks, task % blocks * p.block);
            }
        });
    }
    return result;
}
#endif

}  // namespace
}  // namespace swan

TORCH_LIBRARY_FRAGMENT(swan, library) {
    library.def("tiled_convolution_weight(Tensor weight) -> Tensor");
    library.def(
        "tiled_convolution(Tensor? front, Tensor x, Tensor weight, Tensor bias, Tensor? residual=None) "
        "-> Tensor");
}

#if defined(__x86_64__)
TORCH_LIBRARY_IMPL(swan, CPU, library) {
    library.impl("tiled_convolution_weight", swan::packConvolution);
    library.impl("tiled_convolution", swan::convolve);
}
#endif
