// Linear layers in bfloat16 by the processor's tiles, with weights that are packed once.
#include <torch/library.h>

#include "tiles.h"

namespace swan {
namespace {

#if defined(__x86_64__)
using namespace tiles;

struct LinearProblem {
    int64_t rows, inputs, outputs;
    const Number *x, *weight, *bias;
    Number *y;
    bool appliesGELU;
    /// The number of inputs summed before moving on to the next outputs: the rows that fit in the
    /// second-level cache.
    int64_t depth;

    /// The rows and outputs of a task.
    static constexpr int64_t taskRows = 256, taskOutputs = 512;
};

/// GELU in its tanh approximation (https://arxiv.org/abs/1606.08415).
SWAN_TILES SWAN_INLINE __m512 gelu(__m512 x) {
    // x / (1 + e^(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3)
    const __m512 square = _mm512_mul_ps(x, x);
    const __m512 factor =
        _mm512_fmadd_ps(square, _mm512_set1_ps(-0.102943241f), _mm512_set1_ps(-2.30220819f));
    // Bounds that a network's activations never approach; NaN, as the second operand, is preserved.
    const __m512 exponent = _mm512_min_ps(
        _mm512_set1_ps(126), _mm512_max_ps(_mm512_set1_ps(-126), _mm512_mul_ps(x, factor)));
    const __m512 power = exponential2(exponent);
    return _mm512_div_ps(x, _mm512_add_ps(power, _mm512_set1_ps(1)));
}

/// Writes the sums [32, 32] as rows of the result.
SWAN_TILES void finish(
    const LinearProblem &p, const float *sums, int64_t stride, int64_t row, int64_t rows,
    int64_t output) {
    for (int half = 0; half < 2; ++half) {
        const int64_t column = output + 16 * half;
        const __m512 bias = p.bias == nullptr ? _mm512_setzero_ps() : loadNumbers(p.bias + column);
        for (int64_t i = 0; i < rows; ++i) {
            __m512 value = _mm512_add_ps(_mm512_loadu_ps(sums + i * stride + 16 * half), bias);
            if (p.appliesGELU) value = gelu(value);
            storeNumbers(p.y + (row + i) * p.outputs + column, value);
        }
    }
}

/// One task: up to 256 rows and 512 outputs.
SWAN_TILES void run(const LinearProblem &p, int64_t firstRow, int64_t firstOutput) {
    const TileShape shape;
    const int64_t lastRow = std::min(p.rows, firstRow + p.taskRows);
    const int64_t lastOutput = std::min(p.outputs, firstOutput + p.taskOutputs);
    static thread_local LineScratch<float> sumsOfThread;
    static thread_local LineScratch<Number> endsOfThread;
    float *const sums = sumsOfThread.reserve(p.taskRows * p.taskOutputs);
    Number *const ends = endsOfThread.reserve(side * p.inputs);
    // The remaining rows, if fewer than 32, padded with zeros.
    const int64_t rest = (lastRow - firstRow) % side;
    if (rest > 0) {
        std::memset(ends, 0, side * p.inputs * sizeof(Number));
        std::memcpy(ends, p.x + (lastRow - rest) * p.inputs, rest * p.inputs * sizeof(Number));
    }
    for (int64_t start = 0; start < p.inputs; start += p.depth) {
        const int64_t steps = std::min(p.depth, p.inputs - start) / side;
        const bool isLast = start + p.depth >= p.inputs;
        for (int64_t output = firstOutput; output < lastOutput; output += side) {
            const Number *const right = p.weight + output * p.inputs + start * side;
            for (int64_t row = firstRow; row < lastRow; row += side) {
                const bool isWhole = row + side <= lastRow;
                const Number *const rows = isWhole ? p.x + row * p.inputs : ends;
                const auto left = [rows, start](int64_t step)
                    SWAN_ALWAYS { return rows + start + step * side; };
                float *const to = sums + (row - firstRow) * p.taskOutputs + output - firstOutput;
                multiply(left, p.inputs, right, steps, to, p.taskOutputs, start > 0);
                if (!isLast) continue;
                finish(p, to, p.taskOutputs, row, std::min(side, lastRow - row), output);
            }
        }
    }
}

/// [O, I] with O and I multiples of 32 -> the form for `tiled_linear`.
at::Tensor packLinear(const at::Tensor &weight) {
    requireTileable(weight);
    TORCH_CHECK(
        weight.dim() == 2 && weight.numel() > 0 && weight.size(0) % side == 0
            && weight.size(1) % side == 0,
        "a weight must be [O, I], both multiples of 32, not ", weight.sizes());
    return packed(weight);
}

/// x [..., I], a packed weight and a bias [O] -> [..., O], followed by GELU if `gelu`.
at::Tensor linear(
    const at::Tensor &x, const at::Tensor &weight, const std::optional<at::Tensor> &bias, bool gelu) {
    for (const auto &tensor : {x, weight, bias.value_or(x)}) requireTileable(tensor);
    TORCH_CHECK(
        x.dim() > 0 && x.size(-1) > 0 && weight.numel() > 0
            && isPacked(weight, weight.size(0) * side, x.size(-1) / side) && x.size(-1) % side == 0,
        "a packed weight ", weight.sizes(), " does not match ", x.sizes());
    const auto plain = x.contiguous();
    at::Tensor plainBias;
    LinearProblem p{};
    p.appliesGELU = gelu;
    p.inputs = x.size(-1), p.outputs = weight.size(0) * side, p.rows = plain.numel() / p.inputs;
    if (bias.has_value()) {
        TORCH_CHECK(
            bias->numel() == p.outputs,
            "a bias ", bias->sizes(), " does not match the outputs, ", p.outputs);
        plainBias = bias->contiguous();
        p.bias = numbers(plainBias);
    }
    auto shape = x.sizes().vec();
    shape.back() = p.outputs;
    auto result = at::empty(shape, x.options());
    p.x = numbers(plain), p.weight = numbers(weight), p.y = places(result);
    const int64_t parts = (p.inputs + 2047) / 2048;
    p.depth = roundedUp((p.inputs + parts - 1) / parts, side);
    const int64_t columns = (p.outputs + p.taskOutputs - 1) / p.taskOutputs;
    const int64_t tasks = (p.rows + p.taskRows - 1) / p.taskRows * columns;
    parallelFor(tasks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t task = begin; task < end; ++task) {
            run(p, task / columns * p.taskRows, task % columns * p.taskOutputs);
        }
    });
    return result;
}
#endif

}  // namespace
}  // namespace swan

TORCH_LIBRARY_FRAGMENT(swan, library) {
    library.def("tiled_linear_weight(Tensor weight) -> Tensor");
    library.def(
        "tiled_linear(Tensor x, Tensor weight, Tensor? bias, bool gelu) -> Tensor");
}

#if defined(__x86_64__)
TORCH_LIBRARY_IMPL(swan, CPU, library) {
    library.impl("tiled_linear_weight", swan::packLinear);
    library.impl("tiled_linear", swan::linear);
}
#endif
