// Gradients, and the guards that turn their recording on and off.
#include <c10/core/InferenceMode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/grad_mode.h>

#include <memory>

#include "internal.h"

using namespace swan;

struct ct_guard_s {
    std::unique_ptr<c10::InferenceMode> inference;
    std::unique_ptr<at::AutoGradMode> grad;
};

bool ct_tensor_set_requires_grad(ct_tensor tensor, bool value, ct_error *error) {
    return guarded(error, false, [&] {
        borrow(tensor).requires_grad_(value);
        return true;
    });
}

bool ct_gradients(
    ct_tensor output, const ct_tensor *inputs, int32_t count, ct_tensor *gradients, ct_error *error) {
    return guarded(error, false, [&] {
        findDevices();
        torch::autograd::variable_list wanted;
        wanted.reserve(count);
        for (int32_t i = 0; i < count; ++i) wanted.push_back(borrow(inputs[i]));
        auto found = torch::autograd::grad(
            {borrow(output)}, wanted, {}, /*retain_graph=*/std::nullopt, /*create_graph=*/false,
            /*allow_unused=*/true);
        for (int32_t i = 0; i < count; ++i) {
            gradients[i] = found[i].defined() ? give(std::move(found[i])) : nullptr;
        }
        return true;
    });
}

ct_tensor ct_tensor_detach(ct_tensor tensor, ct_error *error) {
    return guarded(
        error, static_cast<ct_tensor>(nullptr), [&] { return give(borrow(tensor).detach()); });
}

ct_guard ct_guard_enter(ct_guard_kind kind) {
    auto *guard = new ct_guard_s();
    switch (kind) {
        case CT_GUARD_INFERENCE: guard->inference = std::make_unique<c10::InferenceMode>(true); break;
        case CT_GUARD_NO_GRAD: guard->grad = std::make_unique<at::AutoGradMode>(false); break;
        case CT_GUARD_GRAD: guard->grad = std::make_unique<at::AutoGradMode>(true); break;
    }
    return guard;
}

void ct_guard_leave(ct_guard guard) { delete guard; }
