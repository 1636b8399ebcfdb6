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

namespace {

using torch::autograd::variable_list;

variable_list borrowed(const ct_tensor *handles, int32_t count) {
    variable_list tensors;
    tensors.reserve(count);
    for (int32_t i = 0; i < count; ++i) tensors.push_back(borrow(handles[i]));
    return tensors;
}

void differentiate(ct_tensor output, const variable_list &inputs, ct_tensor *gradients) {
    findDevices();
    auto found = torch::autograd::grad(
        {borrow(output)}, inputs, {}, /*retain_graph=*/std::nullopt, /*create_graph=*/false,
        /*allow_unused=*/true);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        gradients[i] = found[i].defined() ? give(std::move(found[i])) : nullptr;
    }
}

/// Hooks of leaves for the time of one backward pass.
class Arrivals {
public:
    Arrivals(
        variable_list inputs, ct_arrival arrived, void (*release)(void *), void *context)
        : inputs(std::move(inputs)) {
        for (std::size_t i = 0; i < this->inputs.size(); ++i) {
            const auto index = static_cast<int32_t>(i);
            hooks.push_back(this->inputs[i].register_hook([=](const at::Tensor &gradient) {
                if (!gradient.defined()) return;
                void *const failure = arrived(context, index, give(at::Tensor(gradient)));
                if (failure != nullptr) throw Failure(failure, release);
            }));
        }
    }
    ~Arrivals() {
        for (std::size_t i = 0; i < hooks.size(); ++i) inputs[i].remove_hook(hooks[i]);
    }
    Arrivals(const Arrivals &) = delete;
    Arrivals &operator=(const Arrivals &) = delete;

    const variable_list inputs;

private:
    std::vector<unsigned> hooks;
};

}  // namespace

bool ct_gradients(
    ct_tensor output, const ct_tensor *inputs, int32_t count, ct_tensor *gradients, ct_error *error) {
    return guarded(error, false, [&] {
        differentiate(output, borrowed(inputs, count), gradients);
        return true;
    });
}

bool ct_gradients_arriving(
    ct_tensor output, const ct_tensor *inputs, int32_t count, ct_arrival arrived,
    void (*release)(void *error), void *context, ct_tensor *gradients, ct_error *error) {
    return guarded(error, false, [&] {
        const Arrivals arrivals(borrowed(inputs, count), arrived, release, context);
        differentiate(output, arrivals.inputs, gradients);
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
