// 3x3 convolutions to twice the height and width: of upsampled pixels, and to four sub-pixels.
#include "operators.h"

namespace swan {
namespace {

/// A packed kernel has two dimensions, others have four.
bool isPacked(const at::Tensor &prepared) { return prepared.dim() == 2; }

/// Whether Winograd's filtering suits a kernel [O, I, 3, 3] and its bias. Below 8 channels, converting to and
/// from the filter's form costs more than it saves.
bool suitsFiltering(const at::Tensor &weight, const at::Tensor &bias) {
    return weight.dim() == 4 && weight.size(1) >= 8 && weight.scalar_type() == at::kFloat
        && !wantGradients(weight, bias);
}

// ---- Of upsampled pixels ----

/// A kernel [O, I, 3, 3] as one for the small image [4 O, I, 2, 2]: for the upper and lower (left and right)
/// pixel of two, the rows (columns) that fall on the same small pixel are summed.
at::Tensor folded(const at::Tensor &weight) {
    TORCH_CHECK(
        weight.dim() == 4 && weight.size(2) == 3 && weight.size(3) == 3,
        "a kernel must be [O, I, 3, 3], not ", weight.sizes());
    const auto fold = [](const at::Tensor &w, int64_t dim) -> std::vector<at::Tensor> {
        const auto a = w.narrow(dim, 0, 1), b = w.narrow(dim, 1, 1), c = w.narrow(dim, 2, 1);
        return {at::cat({a, b + c}, dim), at::cat({a + b, c}, dim)};
    };
    std::vector<at::Tensor> parts;
    for (const auto &row : fold(weight, 2)) {
        for (const auto &part : fold(row, 3)) parts.push_back(part);
    }
    return at::cat(parts).contiguous(at::MemoryFormat::ChannelsLast);
}

at::Tensor prepareEnlargingComposite(const at::Tensor &weight, const at::Tensor &) {
    return folded(weight);
}

at::Tensor prepareEnlargingOnCPU(const at::Tensor &weight, const at::Tensor &bias) {
    if (!suitsFiltering(weight, bias)) return folded(weight);
    static const auto pack = find<at::Tensor(const at::Tensor &)>("swan::enlarging_weight");
    return pack.call(weight);
}

/// The pixels in one of four places of a grid [B, F, H+1, W+1, 2, 2, O] -> [B, F, H, W, O].
at::Tensor pixels(const at::Tensor &grid, int64_t row, int64_t column) {
    return grid.narrow(2, row, grid.size(2) - 1).narrow(3, column, grid.size(3) - 1)
        .select(4, row).select(4, column);
}

/// P parts [B, F, H, W, I] -> [B, F P, 2 H, 2 W, O], with frames taken from each part in turn. For each of
/// the four pixels of an input pixel, this is a 2x2 convolution of the small image, which is 4/9 of the work.
at::Tensor enlargeComposite(
    at::TensorList parts, const at::Tensor &weight, const at::Tensor &prepared, const at::Tensor &bias) {
    TORCH_CHECK(!parts.empty() && parts[0].dim() == 5, "frames must be [B, F, H, W, C]");
    const auto kernel = isPacked(prepared) ? folded(weight) : prepared;
    const auto biases = bias.repeat({4});
    const int64_t outputs = weight.size(0), count = static_cast<int64_t>(parts.size());
    const int64_t b = parts[0].size(0), f = parts[0].size(1), h = parts[0].size(2), w = parts[0].size(3);
    std::vector<at::Tensor> grids;
    for (const auto &part : parts) {
        grids.push_back(convolvedFrames(part, kernel, biases, 1).unflatten(-1, {2, 2, outputs}));
    }
    const std::vector<int64_t> shape{b, f * count, 2 * h, 2 * w, outputs};
    if (wantsGradient(at::TensorList(grids))) {
        std::vector<at::Tensor> images;
        for (const auto &grid : grids) {
            const auto row = [&](int64_t i) {
                return at::stack({pixels(grid, i, 0), pixels(grid, i, 1)}, 4);
            };
            images.push_back(at::stack({row(0), row(1)}, 3));  // [B, F, H, 2, W, 2, O]
        }
        return at::stack(images, 2).reshape(shape);
    }
    auto result = at::empty(shape, parts[0].options());
    const auto target = result.view({b, f, count, h, 2, w, 2, outputs});
    for (int64_t part = 0; part < count; ++part) {
        for (int64_t row = 0; row < 2; ++row) {
            for (int64_t column = 0; column < 2; ++column) {
                target.select(2, part).select(3, row).select(4, column)
                    .copy_(pixels(grids[part], row, column));
            }
        }
    }
    return result;
}

at::Tensor enlargeOnCPU(
    at::TensorList parts, const at::Tensor &weight, const at::Tensor &prepared, const at::Tensor &bias) {
    if (!isPacked(prepared) || wantGradients(parts, bias)) {
        return enlargeComposite(parts, weight, prepared, bias);
    }
    using Kernel = at::Tensor(at::TensorList, const at::Tensor &, const at::Tensor &);
    static const auto kernel = find<Kernel>("swan::enlarging_convolution");
    return kernel.call(parts, prepared, bias);
}

// ---- To sub-pixels ----

at::Tensor prepareSubpixelComposite(const at::Tensor &weight, const at::Tensor &) { return weight; }

at::Tensor prepareSubpixelOnCPU(const at::Tensor &weight, const at::Tensor &bias) {
    if (!suitsFiltering(weight, bias)) return weight;
    // The last frame of a causal kernel, which is all that a single frame meets. The form also includes the
    // other frames, which is little overhead for the narrow networks with such layers.
    static const auto pack = find<at::Tensor(const at::Tensor &)>("swan::winograd_weight");
    return pack.call(at::constant_pad_nd(weight.unsqueeze(2), {0, 0, 0, 0, 2, 0}));
}

/// P parts [B, F, H, W, 4 O], with outputs grouped by pixel -> [B, F P, 2 H, 2 W, O], with frames taken from
/// each part in turn.
at::Tensor inPlace(const std::vector<at::Tensor> &parts) {
    std::vector<at::Tensor> images;
    for (const auto &part : parts) {
        images.push_back(
            part.unflatten(-1, {2, 2, part.size(4) / 4}).permute({0, 1, 2, 4, 3, 5, 6}));
    }
    const auto &x = parts[0];
    return at::stack(images, 2).reshape(
        {x.size(0), x.size(1) * static_cast<int64_t>(parts.size()), 2 * x.size(2), 2 * x.size(3),
         x.size(4) / 4});
}

/// P parts [B, F, H, W, I] -> [B, F P, 2 H, 2 W, O].
at::Tensor subpixelsComposite(
    at::TensorList parts, const at::Tensor &weight, const at::Tensor &, const at::Tensor &bias) {
    TORCH_CHECK(!parts.empty() && parts[0].dim() == 5, "frames must be [B, F, H, W, C]");
    std::vector<at::Tensor> convolved;
    for (const auto &part : parts) convolved.push_back(convolvedFrames(part, weight, bias, 1));
    return inPlace(convolved);
}

at::Tensor subpixelsOnCPU(
    at::TensorList parts, const at::Tensor &weight, const at::Tensor &prepared, const at::Tensor &bias) {
    TORCH_CHECK(!parts.empty() && parts[0].dim() == 5, "frames must be [B, F, H, W, C]");
    if (!isPacked(prepared) || wantGradients(parts, bias)) {
        return subpixelsComposite(parts, weight, prepared, bias);
    }
    using Kernel = at::Tensor(
        const std::optional<at::Tensor> &, const at::Tensor &, const at::Tensor &, const at::Tensor &,
        const std::optional<at::Tensor> &);
    static const auto kernel = find<Kernel>("swan::winograd");
    std::vector<at::Tensor> convolved;
    for (const auto &part : parts) {
        const auto frames = part.flatten(0, 1).unsqueeze(1);
        convolved.push_back(kernel.call(std::nullopt, frames, prepared, bias, std::nullopt)
                                .reshape({part.size(0), part.size(1), part.size(2), part.size(3), -1}));
    }
    return inPlace(convolved);
}

}  // namespace
}  // namespace swan

TORCH_LIBRARY_FRAGMENT(swan, library) {
    const char *const prepare = "(Tensor(a) weight, Tensor bias) -> Tensor(a)";
    const char *const convolve =
        "(Tensor[] parts, Tensor weight, Tensor prepared, Tensor bias) -> Tensor";
    swan::define(
        library, "enlarging_conv_weight", prepare, swan::prepareEnlargingComposite,
        swan::prepareEnlargingOnCPU);
    swan::define(library, "enlarging_conv", convolve, swan::enlargeComposite, swan::enlargeOnCPU);
    swan::define(
        library, "subpixel_conv_weight", prepare, swan::prepareSubpixelComposite,
        swan::prepareSubpixelOnCPU);
    swan::define(library, "subpixel_conv", convolve, swan::subpixelsComposite, swan::subpixelsOnCPU);
}
