// What the processor multiplies by itself, for kernels to be chosen by.
#pragma once

#include <ATen/ATen.h>

#include "CTorch.h"

namespace swan {

/// Whether kernels by tiles (AMX) take the numbers of a tensor.
inline bool suitsTiles(const at::Tensor &tensor) {
    return tensor.scalar_type() == at::kBFloat16 && tensor.is_cpu() && ct_has_tiles();
}

/// What products of a tensor are best taken in: float32 for 16 bits on a processor without instructions for
/// them, where the engine's own products of them take several times as long.
inline at::ScalarType productType(const at::Tensor &tensor) {
    const auto type = tensor.scalar_type();
    return tensor.is_cpu() && !ct_multiplies(static_cast<int32_t>(type)) ? at::kFloat : type;
}

}  // namespace swan
