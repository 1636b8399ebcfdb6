// Registration of Swan's operators, and when their kernels may run.
//
// An operator has a schema, kernels for devices, and a composite: the same computation with the engine's own
// operators. The composite serves every device without a kernel, every tensor that no kernel supports, and
// gradients: it records itself, while kernels record nothing. So the autograd keys fall through, and a
// kernel's function delegates to the composite if gradients are needed.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <optional>
#include <string>

namespace swan {

inline bool wantsGradient(const at::Tensor &tensor) {
    return tensor.defined() && tensor.requires_grad();
}
inline bool wantsGradient(const std::optional<at::Tensor> &tensor) {
    return tensor.has_value() && wantsGradient(*tensor);
}
inline bool wantsGradient(at::TensorList tensors) {
    for (const auto &tensor : tensors) {
        if (wantsGradient(tensor)) return true;
    }
    return false;
}

/// Whether gradients are needed of what is computed from these tensors, with respect to any of them.
template <typename... Tensors>
bool wantGradients(const Tensors &...tensors) {
    return (wantsGradient(tensors) || ...);
}

/// Defines the operator `name`: the CPU function, and the composite, which is also the overload `composite`.
template <typename Function>
void define(
    torch::Library &library, const std::string &name, const std::string &signature,
    Function *composite, Function *onCPU) {
    using c10::DispatchKey;
    library.def((name + signature).c_str());
    library.impl(name.c_str(), torch::dispatch(DispatchKey::CompositeExplicitAutograd, composite));
    library.impl(name.c_str(), torch::dispatch(DispatchKey::CPU, onCPU));
    library.impl(
        name.c_str(),
        torch::dispatch(DispatchKey::Autograd, torch::CppFunction::makeFallthrough()));
    library.def((name + ".composite" + signature).c_str(), composite);
}

/// One of Swan's operators, as a callable function.
template <typename Function>
c10::TypedOperatorHandle<Function> find(const char *name) {
    return c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Function>();
}

/// A convolution of channels-last images: x [B, F, H, W, I] -> [B, F, H', W', O].
inline at::Tensor convolvedFrames(
    const at::Tensor &x, const at::Tensor &weight, const at::Tensor &bias, int64_t padding) {
    const auto pictures = x.flatten(0, 1).permute({0, 3, 1, 2});
    const auto result = at::conv2d(pictures, weight, bias, 1, padding).permute({0, 2, 3, 1});
    return result.unflatten(0, {x.size(0), x.size(1)});
}

}  // namespace swan
