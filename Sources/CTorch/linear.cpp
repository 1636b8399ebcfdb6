// Linear layers with weights that are prepared once, or that stay as stored.
#include "operators.h"
#include "processor.h"

namespace swan {
namespace {

using Stored = const std::optional<at::Tensor> &;

// ---- Types of products ----

at::Tensor operandComposite(const at::Tensor &x) { return x; }

at::Tensor operandOnCPU(const at::Tensor &x) { return x.to(productType(x)); }

// ---- Conversion of stored weights ----

/// x, times a number if given, in `dtype`.
at::Tensor widenComposite(const at::Tensor &x, at::ScalarType dtype, Stored factor) {
    return factor ? (x.to(at::kFloat) * *factor).to(dtype) : x.to(dtype);
}

at::Tensor widenOnCPU(const at::Tensor &x, at::ScalarType dtype, Stored factor) {
    const auto from = x.scalar_type();
    const bool isFloat8 = from == at::kFloat8_e4m3fn || from == at::kFloat8_e5m2;
    const bool isWide = dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16;
    if (!isFloat8 || !isWide) return widenComposite(x, dtype, factor);
    using Kernel = at::Tensor(const at::Tensor &, at::ScalarType, Stored);
    static const auto kernel = find<Kernel>("swan::widen_float8");
    return kernel.call(x, dtype, factor);
}

/// The weight given by values and their factor, which is one number or one for each row.
at::Tensor weight(const at::Tensor &values, at::ScalarType dtype, Stored factor) {
    using Widen = at::Tensor(const at::Tensor &, at::ScalarType, Stored);
    static const auto widen = find<Widen>("swan::widen");
    if (!factor || factor->numel() <= 1) return widen.call(values, dtype, factor);
    return (widen.call(values, at::kFloat, std::nullopt) * *factor).to(dtype);
}

// ---- Layers ----

/// Whether the matrix consists of whole tiles.
bool hasWholeTiles(const at::Tensor &weight) {
    return weight.dim() == 2 && weight.numel() > 0 && weight.size(0) % 32 == 0
        && weight.size(1) % 32 == 0;
}

/// A tiled weight has six dimensions: [O / 32, I / 32, 2, 16, 16, 2].
bool isInTiles(const at::Tensor &weight) { return weight.dim() == 6; }

at::Tensor inTiles(const at::Tensor &weight) {
    static const auto pack = find<at::Tensor(const at::Tensor &)>("swan::tiled_linear_weight");
    return pack.call(weight);
}

/// The weight [O, I] from which `inTiles` made `tiles`.
at::Tensor ofTiles(const at::Tensor &tiles) {
    return tiles.permute({0, 2, 4, 1, 3, 5}).reshape({tiles.size(0) * 32, tiles.size(1) * 32});
}

at::Tensor product(const at::Tensor &x, const at::Tensor &tiles, Stored bias, bool gelu) {
    using Kernel = at::Tensor(const at::Tensor &, const at::Tensor &, Stored, bool);
    static const auto kernel = find<Kernel>("swan::tiled_linear");
    return kernel.call(x, tiles, bias, gelu);
}

at::Tensor prepareComposite(const at::Tensor &weight) { return weight; }

at::Tensor prepareOnCPU(const at::Tensor &weight) {
    const bool fits = hasWholeTiles(weight) && suitsTiles(weight) && !wantGradients(weight);
    return fits ? inTiles(weight) : weight;
}

/// x [..., I], a prepared weight and a bias [O] -> [..., O], followed by GELU (tanh approximation) if `gelu`.
at::Tensor linearComposite(const at::Tensor &x, const at::Tensor &weight, Stored bias, bool gelu) {
    const auto plain = (isInTiles(weight) ? ofTiles(weight) : weight).to(x.scalar_type());
    const auto y = at::linear(x, plain, bias);
    return gelu ? at::gelu(y, "tanh") : y;
}

at::Tensor linearOnCPU(const at::Tensor &x, const at::Tensor &weight, Stored bias, bool gelu) {
    const bool fits = isInTiles(weight) && suitsTiles(x) && !wantGradients(x, bias);
    return fits ? product(x, weight, bias, gelu) : linearComposite(x, weight, bias, gelu);
}

/// The same with a weight as stored in its file, and the factor that it is multiplied by.
at::Tensor storedComposite(
    const at::Tensor &x, const at::Tensor &values, Stored factor, Stored bias, bool gelu) {
    return linearComposite(x, weight(values, x.scalar_type(), factor), bias, gelu);
}

at::Tensor storedOnCPU(
    const at::Tensor &x, const at::Tensor &values, Stored factor, Stored bias, bool gelu) {
    // Packing a matrix, some 20 ms for the largest, pays off for one product from this number of rows on.
    const bool isWorthwhile = x.dim() > 0 && x.numel() >= 4096 * x.size(-1);
    const bool fits = isWorthwhile && hasWholeTiles(values) && suitsTiles(x)
        && !wantGradients(x, values, factor, bias);
    if (!fits) return storedComposite(x, values, factor, bias, gelu);
    return product(x, inTiles(weight(values, x.scalar_type(), factor)), bias, gelu);
}

}  // namespace
}  // namespace swan

TORCH_LIBRARY_FRAGMENT(swan, library) {
    swan::define(
        library, "product_operand", "(Tensor(a) x) -> Tensor(a)", swan::operandComposite,
        swan::operandOnCPU);
    swan::define(
        library, "widen", "(Tensor(a) x, ScalarType dtype, Tensor? factor=None) -> Tensor(a)",
        swan::widenComposite, swan::widenOnCPU);
    swan::define(
        library, "linear_weight", "(Tensor(a) weight) -> Tensor(a)", swan::prepareComposite,
        swan::prepareOnCPU);
    swan::define(
        library, "linear", "(Tensor x, Tensor weight, Tensor? bias=None, bool gelu=False) -> Tensor",
        swan::linearComposite, swan::linearOnCPU);
    swan::define(
        library, "stored_linear",
        "(Tensor x, Tensor values, Tensor? factor=None, Tensor? bias=None, bool gelu=False) -> Tensor",
        swan::storedComposite, swan::storedOnCPU);
}
