// Convolutions over frames, rows and columns that see only the current and earlier frames.
#include "operators.h"
#include "processor.h"

namespace swan {
namespace {

// The number of dimensions of a prepared kernel identifies its form: 4 for `conv2d`, 2 for Winograd's
// filtering, 6 for the processor's tiles.
bool isStacked(const at::Tensor &prepared) { return prepared.dim() == 4; }
bool isForWinograd(const at::Tensor &prepared) { return prepared.dim() == 2; }
bool isForTiles(const at::Tensor &prepared) { return prepared.dim() == 6; }

/// [O, I, f, s, s] -> [O, f I, s, s]: concatenates the channels of the frames. For many sizes, a
/// two-dimensional convolution is several times faster on a CPU than the engine's three-dimensional one.
at::Tensor stacked(const at::Tensor &weight) {
    TORCH_CHECK(weight.dim() == 5, "a kernel must be [O, I, f, s, s], not ", weight.sizes());
    return weight.transpose(1, 2)
        .reshape({weight.size(0), weight.size(1) * weight.size(2), weight.size(3), weight.size(4)})
        .contiguous(at::MemoryFormat::ChannelsLast);
}

/// The kernel in the form for the composite.
at::Tensor prepareComposite(const at::Tensor &weight, int64_t) { return stacked(weight); }

/// [O, I, f, s, s] -> the form that is fastest here.
at::Tensor prepareOnCPU(const at::Tensor &weight, int64_t stride) {
    TORCH_CHECK(weight.dim() == 5, "a kernel must be [O, I, f, s, s], not ", weight.sizes());
    const bool isCube = weight.sizes().slice(2) == at::IntArrayRef({3, 3, 3}) && stride == 1;
    if (!isCube || wantGradients(weight)) return stacked(weight);
    // With fewer channels, converting to and from the form costs more than it saves.
    if (weight.size(1) >= 8 && weight.scalar_type() == at::kFloat) {
        static const auto pack = find<at::Tensor(const at::Tensor &)>("swan::winograd_weight");
        return pack.call(weight);
    }
    if (weight.size(1) >= 16 && suitsTiles(weight)) {
        static const auto pack = find<at::Tensor(const at::Tensor &)>("swan::tiled_convolution_weight");
        return pack.call(weight);
    }
    return stacked(weight);
}

/// x [B, F, H, W, I] -> [B, F', H, W, f I]: concatenates the frames that each output sees.
at::Tensor stackedFrames(const at::Tensor &x, int64_t frames, int64_t stride) {
    if (frames == 1) return x;
    const int64_t outputs = (x.size(1) - frames) / stride + 1;
    std::vector<at::Tensor> parts;
    for (int64_t offset = 0; offset < frames; ++offset) {
        parts.push_back(x.slice(1, offset, offset + (outputs - 1) * stride + 1, stride));
    }
    return at::cat(parts, -1);
}

/// Frames x [B, F, H, W, I] after `front` [B, f - 1, H, W, I], or zeros if there is none -> [B, F', H, W, O],
/// plus the residual if there is one. With `isJoined`, x includes the frames before.
at::Tensor composite(
    const at::Tensor &x, const at::Tensor &weight, const at::Tensor &prepared, const at::Tensor &bias,
    const std::optional<at::Tensor> &front, const std::optional<at::Tensor> &residual,
    int64_t stride, bool isJoined) {
    TORCH_CHECK(
        x.dim() == 5 && weight.dim() == 5, "frames ", x.sizes(), " do not fit a kernel ", weight.sizes());
    const int64_t frames = weight.size(2);
    auto all = x;
    if (!isJoined && frames > 1) {
        auto shape = x.sizes().vec();
        shape[1] = frames - 1;
        all = at::cat({front ? *front : at::zeros(shape, x.options()), x}, 1);
    }
    const auto kernel = isStacked(prepared) ? prepared : stacked(weight);
    auto result =
        convolvedFrames(stackedFrames(all, frames, stride), kernel, bias, weight.size(-1) / 2);
    if (!residual) return result;
    return wantGradients(result, residual) ? result + *residual : result.add_(*residual);
}

at::Tensor onCPU(
    const at::Tensor &x, const at::Tensor &weight, const at::Tensor &prepared, const at::Tensor &bias,
    const std::optional<at::Tensor> &front, const std::optional<at::Tensor> &residual,
    int64_t stride, bool isJoined) {
    using Kernel = at::Tensor(
        const std::optional<at::Tensor> &, const at::Tensor &, const at::Tensor &, const at::Tensor &,
        const std::optional<at::Tensor> &);
    const bool isPlain = !isJoined && !wantGradients(x, bias, front, residual);
    if (isPlain && isForWinograd(prepared)) {
        static const auto kernel = find<Kernel>("swan::winograd");
        return kernel.call(front, x, prepared, bias, residual);
    }
    if (isPlain && isForTiles(prepared)) {
        static const auto kernel = find<Kernel>("swan::tiled_convolution");
        return kernel.call(front, x, prepared, bias, residual);
    }
    return composite(x, weight, prepared, bias, front, residual, stride, isJoined);
}

}  // namespace
}  // namespace swan

TORCH_LIBRARY_FRAGMENT(swan, library) {
    swan::define(
        library, "causal_conv3d_weight", "(Tensor(a) weight, int stride=1) -> Tensor(a)",
        swan::prepareComposite, swan::prepareOnCPU);
    swan::define(
        library, "causal_conv3d",
        "(Tensor x, Tensor weight, Tensor prepared, Tensor bias, Tensor? front=None, "
        "Tensor? residual=None, int stride=1, bool joined=False) -> Tensor",
        swan::composite, swan::onCPU);
}
