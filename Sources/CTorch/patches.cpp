// Videos to channels-last patches, and back. Permuting copies element by element in two or three nested
// loops, which here takes as long as a convolution; for float32 on the CPU it is done in one pass.
#include <ATen/ATen.h>
#include <torch/library.h>

#include "operators.h"
#include "parallel.h"

namespace swan {
namespace {

bool isForLoops(const at::Tensor &x) { return x.scalar_type() == at::kFloat && !wantGradients(x); }

void checkVideo(const at::Tensor &x, int64_t p) {
    TORCH_CHECK(
        x.dim() == 5 && p > 0 && x.size(3) % p == 0 && x.size(4) % p == 0, "a video ", x.sizes(),
        " does not divide into patches of ", p);
}

void checkPatches(const at::Tensor &x, int64_t p) {
    TORCH_CHECK(
        x.dim() == 5 && p > 0 && x.size(4) % (p * p) == 0, "patches ", x.sizes(),
        " do not have the patch size ", p);
}

/// x [B, C, T, H, W] in any memory order -> [B, T, H/p, W/p, C p p], in the order channel, column, row.
at::Tensor toPatchesComposite(const at::Tensor &x, int64_t p) {
    checkVideo(x, p);
    const int64_t b = x.size(0), c = x.size(1), t = x.size(2), h = x.size(3) / p, w = x.size(4) / p;
    return x.reshape({b, c, t, h, p, w, p}).permute({0, 2, 3, 5, 1, 6, 4}).reshape({b, t, h, w, c * p * p});
}

/// x [B, T, h, w, C p p], in the order channel, column, row -> [B, T, h p, w p, C].
at::Tensor fromPatchesComposite(const at::Tensor &x, int64_t p) {
    checkPatches(x, p);
    const int64_t b = x.size(0), t = x.size(1), h = x.size(2), w = x.size(3), c = x.size(4) / (p * p);
    return x.reshape({b, t, h, w, c, p, p}).permute({0, 1, 2, 6, 3, 5, 4}).reshape({b, t, h * p, w * p, c});
}

at::Tensor toPatches(const at::Tensor &x, int64_t p) {
    if (!isForLoops(x)) return toPatchesComposite(x, p);
    checkVideo(x, p);
    const int64_t channels = x.size(1), frames = x.size(2);
    const int64_t rows = x.size(3) / p, columns = x.size(4) / p;
    auto result = at::empty({x.size(0), frames, rows, columns, channels * p * p}, x.options());
    const auto *from = static_cast<const float *>(x.const_data_ptr());
    auto *to = static_cast<float *>(result.mutable_data_ptr());
    const auto strides = x.strides();
    parallelFor(x.size(0) * frames * rows, 32, [&](int64_t begin, int64_t end) {
        for (int64_t line = begin; line < end; ++line) {
            const int64_t row = line % rows, frame = line / rows % frames;
            const float *start = from + line / rows / frames * strides[0] + frame * strides[2]
                + row * p * strides[3];
            float *target = to + line * columns * channels * p * p;
            for (int64_t column = 0; column < columns; ++column) {
                for (int64_t c = 0; c < channels; ++c) {
                    for (int64_t j = 0; j < p; ++j) {
                        const float *at = start + c * strides[1] + (column * p + j) * strides[4];
                        for (int64_t i = 0; i < p; ++i) *target++ = at[i * strides[3]];
                    }
                }
            }
        }
    });
    return result;
}

at::Tensor fromPatches(const at::Tensor &x, int64_t p) {
    if (!isForLoops(x)) return fromPatchesComposite(x, p);
    checkPatches(x, p);
    const auto plain = x.contiguous();
    const int64_t rows = x.size(2), columns = x.size(3), channels = x.size(4) / (p * p);
    auto result = at::empty({x.size(0), x.size(1), rows * p, columns * p, channels}, x.options());
    const auto *from = static_cast<const float *>(plain.const_data_ptr());
    auto *to = static_cast<float *>(result.mutable_data_ptr());
    parallelFor(x.size(0) * x.size(1) * rows, 32, [&](int64_t begin, int64_t end) {
        for (int64_t line = begin; line < end; ++line) {
            const float *start = from + line * columns * channels * p * p;
            float *target = to + line * p * columns * p * channels;
            for (int64_t i = 0; i < p; ++i) {
                for (int64_t column = 0; column < columns * p; ++column) {
                    const float *patch =
                        start + column / p * channels * p * p + column % p * p + i;
                    for (int64_t c = 0; c < channels; ++c) *target++ = patch[c * p * p];
                }
            }
        }
    });
    return result;
}

}  // namespace
}  // namespace swan

TORCH_LIBRARY_FRAGMENT(swan, library) {
    const char *const signature = "(Tensor x, int size) -> Tensor";
    swan::define(library, "to_patches", signature, swan::toPatchesComposite, swan::toPatches);
    swan::define(library, "from_patches", signature, swan::fromPatchesComposite, swan::fromPatches);
}
