// Attention by head: softmax(scale q k^T) v for q [B, N, Lq, D], k and v [B, N, Lk, D] -> [B, N, Lq, D].
#include "operators.h"
#include "processor.h"

#include <algorithm>
#include <cmath>

namespace swan {
namespace {

using Mask = const std::optional<at::Tensor> &;

/// The engine's fused attention.
at::Tensor fused(
    const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, Mask mask,
    std::optional<double> scale) {
    // Fewer keys than the lanes of a vector in the engine's kernel.
    constexpr int64_t fewKeys = 16;
    auto result = at::scaled_dot_product_attention(q, k, v, mask, 0.0, false, scale);
    // If all of a few scores are NaN, the kernel mistakes the row for a masked one and returns zeros.
    if (q.is_cpu() && k.size(2) < fewKeys && !wantGradients(result)) {
        result.add_((q.mean() + k.mean()) * 0);
    }
    return result;
}

/// The same, in the type that is best for products.
at::Tensor composite(
    const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, Mask mask,
    std::optional<double> scale) {
    const auto type = productType(q);
    if (type == q.scalar_type()) return fused(q, k, v, mask, scale);
    // A boolean mask is the same for every dtype.
    const bool isBias = mask.has_value() && at::isFloatingType(mask->scalar_type());
    const auto converted = isBias ? std::make_optional(mask->to(type)) : mask;
    return fused(q.to(type), k.to(type), v.to(type), converted, scale).to(q.scalar_type());
}

/// Calls `attend` for each head with its q, k and v and its place [1, 1, Lq, D] in the result.
template <typename Attend>
at::Tensor headByHead(
    const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const Attend &attend) {
    auto result = at::empty({q.size(0), q.size(1), q.size(2), v.size(3)}, q.options());
    for (int64_t row = 0; row < q.size(0); ++row) {
        for (int64_t head = 0; head < q.size(1); ++head) {
            const auto part = [&](const at::Tensor &x) {
                return x.narrow(0, row, 1).narrow(1, head, 1);
            };
            attend(part(q), part(k), part(v), part(result));
        }
    }
    return result;
}

/// The composite, one head at a time, so that conversions need little memory.
at::Tensor inTurn(
    const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, std::optional<double> scale) {
    return headByHead(
        q, k, v,
        [scale](const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const at::Tensor &place) {
            place.copy_(composite(q, k, v, std::nullopt, scale));
        });
}

/// Two matrix products around a softmax, for a few rows of a head at a time.
///
/// For bfloat16 on a CPU without tiles, whose instructions the engine's fused kernel does not keep busy: it
/// runs at a fifth of the rate of plain products there, this at nearly half. Scores are rounded to the dtype
/// before the softmax, which the fused kernel does not do.
at::Tensor byMatrices(
    const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, std::optional<double> scale) {
    // A tile's scores stay in the cache between the products.
    const int64_t rows =
        std::max<int64_t>(32, (1 << 21) / std::max<int64_t>(1, k.size(2)) / 32 * 32);
    const double factor = scale.value_or(1 / std::sqrt(static_cast<double>(q.size(3))));
    const auto nothing = at::zeros({1}, q.options());
    return headByHead(
        q, k, v,
        [&](const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, const at::Tensor &place) {
            const auto matrix = [](const at::Tensor &x) { return x.select(0, 0).select(0, 0); };
            const auto queries = matrix(q), values = matrix(v), target = matrix(place);  // [L, D]
            const auto keys = matrix(k).transpose(0, 1);  // [D, Lk]
            for (int64_t start = 0; start < queries.size(0); start += rows) {
                const int64_t count = std::min(rows, queries.size(0) - start);
                const auto scores =
                    at::addmm(nothing, queries.narrow(0, start, count), keys, 0.0, factor);
                target.narrow(0, start, count).copy_(at::matmul(scores.softmax(-1), values));
            }
        });
}

/// Whether the tiled kernel supports these tensors.
bool fitTiles(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v) {
    for (const auto &part : {q, k, v}) {
        if (!suitsTiles(part) || part.numel() == 0 || part.size(3) != q.size(3)
            || q.size(3) % 32 != 0 || part.sizes().slice(0, 2) != q.sizes().slice(0, 2)) {
            return false;
        }
    }
    return true;
}

at::Tensor onCPU(
    const at::Tensor &q, const at::Tensor &k, const at::Tensor &v, Mask mask,
    std::optional<double> scale) {
    TORCH_CHECK(
        q.dim() == 4 && k.dim() == 4 && v.dim() == 4, "attention over ", q.sizes(), ", ", k.sizes(),
        ", ", v.sizes());
    const bool isPlain = !mask.has_value() && !wantGradients(q, k, v);
    if (!isPlain) return composite(q, k, v, mask, scale);
    if (productType(q) != q.scalar_type()) return inTurn(q, k, v, scale);
    const int64_t scores = q.size(2) * k.size(2);
    // Rearranging queries and values pays off from this number of scores on.
    if (scores >= 1 << 14 && fitTiles(q, k, v) && scale.value_or(1) > 0) {
        using Kernel = at::Tensor(const at::Tensor &, const at::Tensor &, const at::Tensor &, double);
        static const auto kernel = find<Kernel>("swan::tiled_attention");
        return kernel.call(q, k, v, scale.value_or(1 / std::sqrt(static_cast<double>(q.size(3)))));
    }
    if (q.scalar_type() == at::kBFloat16 && scores >= 1 << 18) return byMatrices(q, k, v, scale);
    return composite(q, k, v, mask, scale);
}

}  // namespace
}  // namespace swan

TORCH_LIBRARY_FRAGMENT(swan, library) {
    swan::define(
        library, "attention",
        "(Tensor q, Tensor k, Tensor v, Tensor? mask=None, float? scale=None) -> Tensor",
        swan::composite, swan::onCPU);
    library.def("attention_by_matrices(Tensor q, Tensor k, Tensor v, float? scale=None) -> Tensor", swan::byMatrices);
}
