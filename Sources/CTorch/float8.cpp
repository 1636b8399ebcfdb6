// Conversion of float8 to wider floating-point numbers on the CPU. There are only 256 values, so a table
// holds them all; libtorch's own conversion of the format with four exponent bits takes a dozen times as
// long.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <optional>

#include "parallel.h"

namespace swan {
namespace {

template <typename T>
void look(const void *from, const void *table, void *to, int64_t count) {
    const auto *bytes = static_cast<const uint8_t *>(from);
    const auto *values = static_cast<const T *>(table);
    auto *results = static_cast<T *>(to);
    parallelFor(count, 1 << 18, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) results[i] = values[bytes[i]];
    });
}

/// x, times a number if given, in `dtype`, which has two or four bytes.
at::Tensor widen(
    const at::Tensor &x, at::ScalarType dtype, const std::optional<at::Tensor> &factor) {
    TORCH_CHECK(
        x.scalar_type() == at::kFloat8_e4m3fn || x.scalar_type() == at::kFloat8_e5m2,
        "this conversion is from float8, not from ", x.scalar_type());
    TORCH_CHECK(
        dtype == at::kFloat || dtype == at::kHalf || dtype == at::kBFloat16,
        "this conversion is to float32, float16 or bfloat16, not to ", dtype);
    const auto plain = x.contiguous();
    const auto all = at::arange(256, at::TensorOptions().dtype(at::kByte));
    auto table = all.view(x.scalar_type()).to(at::kFloat);
    if (factor) {
        TORCH_CHECK(factor->numel() == 1, "a factor of ", factor->sizes(), " is not one number");
        table = table * factor->to(at::kFloat).reshape({});
    }
    table = table.to(dtype).contiguous();
    auto result = at::empty(plain.sizes(), at::TensorOptions().dtype(dtype));
    const auto run = dtype == at::kFloat ? look<uint32_t> : look<uint16_t>;
    run(plain.const_data_ptr(), table.const_data_ptr(), result.mutable_data_ptr(), plain.numel());
    return result;
}

}  // namespace
}  // namespace swan

TORCH_LIBRARY_FRAGMENT(swan, library) {
    library.def("widen_float8(Tensor x, ScalarType dtype, Tensor? factor) -> Tensor");
}

TORCH_LIBRARY_IMPL(swan, CPU, library) { library.impl("widen_float8", swan::widen); }
