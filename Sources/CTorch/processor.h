// The multiplication instructions of the processor, for choosing kernels.
#pragma once

#include <ATen/ATen.h>

#include "CTorch.h"

namespace swan {

/// Whether tiled kernels (AMX) support the dtype and device of a tensor.
inline bool suitsTiles(const at::Tensor &tensor) {
    return tensor.scalar_type() == at::kBFloat16 && tensor.is_cpu() && ct_has_tiles();
}

/// The best type for products of a tensor: float32 for 16-bit types on a processor without instructions for
/// them, where the engine's own products take several times as long.
inline at::ScalarType productType(const at::Tensor &tensor) {
    const auto type = tensor.scalar_type();
    return tensor.is_cpu() && !ct_multiplies(static_cast<int32_t>(type)) ? at::kFloat : type;
}

}  // namespace swan
