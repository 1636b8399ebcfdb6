// Exchanges between processes that gradients flow through. libtorch's own functional collectives have none,
// or wrong ones.
#include "c10d.h"

#include <torch/csrc/autograd/custom_function.h>

#include <numeric>

using namespace swan;

at::Tensor swan::exchange(
    const Group &group, const at::Tensor &input, std::vector<int64_t> received,
    std::vector<int64_t> sent) {
    auto plain = input.contiguous();
    std::vector<int64_t> shape = plain.sizes().vec();
    shape[0] = std::accumulate(received.begin(), received.end(), int64_t{0});
    auto output = at::empty(shape, plain.options());
    finish(group->backend->alltoall_base(output, plain, received, sent));
    return output;
}

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;
using Counts = std::vector<int64_t>;

/// Rows to all ranks, as an exchange: gathers of unequal parts do not exist in every backend.
at::Tensor gather(const Group &group, const at::Tensor &input, const Counts &counts) {
    const auto size = static_cast<int64_t>(counts.size());
    auto plain = input.contiguous();
    Counts shape = plain.sizes().vec();
    const bool isEven = std::all_of(
        counts.begin(), counts.end(), [&](int64_t count) { return count == counts[0]; });
    if (isEven) {
        shape[0] = counts[0] * size;
        auto output = at::empty(shape, plain.options());
        finish(group->backend->_allgather_base(output, plain));
        return output;
    }
    Counts repeats(plain.dim(), 1);
    repeats[0] = size;
    return exchange(group, plain.repeat(repeats), counts, Counts(size, plain.size(0)));
}

at::Tensor sum(const Group &group, const at::Tensor &input) {
    std::vector<at::Tensor> tensors{input.contiguous().clone()};
    finish(group->backend->allreduce(tensors));
    return tensors[0];
}

void save(AutogradContext *context, const Group &group) {
    context->saved_data["group"] = c10::IValue::make_capsule(group);
}

Group savedGroup(AutogradContext *context) {
    return c10::static_intrusive_pointer_cast<ct_group_s>(
        context->saved_data["group"].toCapsule());
}

struct Exchange : torch::autograd::Function<Exchange> {
    static at::Tensor forward(
        AutogradContext *context, const at::Tensor &input, const Group &group, Counts received,
        Counts sent) {
        save(context, group);
        context->saved_data["received"] = received;
        context->saved_data["sent"] = sent;
        return exchange(group, input, std::move(received), std::move(sent));
    }

    static tensor_list backward(AutogradContext *context, tensor_list gradients) {
        auto received = context->saved_data["received"].toIntVector();
        auto sent = context->saved_data["sent"].toIntVector();
        auto gradient = exchange(savedGroup(context), gradients[0], sent, received);
        return {gradient, {}, {}, {}};
    }
};

struct Gather : torch::autograd::Function<Gather> {
    static at::Tensor forward(
        AutogradContext *context, const at::Tensor &input, const Group &group, Counts counts,
        bool isSame) {
        save(context, group);
        context->saved_data["counts"] = counts;
        context->saved_data["isSame"] = isSame;
        return gather(group, input, counts);
    }

    static tensor_list backward(AutogradContext *context, tensor_list gradients) {
        const auto group = savedGroup(context);
        const auto counts = context->saved_data["counts"].toIntVector();
        const auto rank = group->backend->getRank();
        const auto first = std::accumulate(counts.begin(), counts.begin() + rank, int64_t{0});
        auto gradient = gradients[0];
        if (!context->saved_data["isSame"].toBool()) gradient = sum(group, gradient);
        return {gradient.narrow(0, first, counts[rank]).contiguous(), {}, {}, {}};
    }
};

struct Sum : torch::autograd::Function<Sum> {
    static at::Tensor forward(
        AutogradContext *context, const at::Tensor &input, const Group &group, bool isSame) {
        save(context, group);
        context->saved_data["isSame"] = isSame;
        return sum(group, input);
    }

    static tensor_list backward(AutogradContext *context, tensor_list gradients) {
        const bool isSame = context->saved_data["isSame"].toBool();
        return {isSame ? gradients[0] : sum(savedGroup(context), gradients[0]), {}, {}};
    }
};

}  // namespace

ct_tensor ct_exchanged(
    ct_group group, ct_tensor input, const int64_t *received, const int64_t *sent,
    ct_error *error) {
    return guardedPeers<ct_tensor>(error, nullptr, [&] {
        return give(Exchange::apply(
            borrow(input), borrow(group), counts(group, received), counts(group, sent)));
    });
}

ct_tensor ct_gathered(
    ct_group group, ct_tensor input, const int64_t *parts, bool is_same, ct_error *error) {
    return guardedPeers<ct_tensor>(error, nullptr, [&] {
        return give(Gather::apply(borrow(input), borrow(group), counts(group, parts), is_same));
    });
}

ct_tensor ct_summed(ct_group group, ct_tensor input, bool is_same, ct_error *error) {
    return guardedPeers<ct_tensor>(
        error, nullptr, [&] { return give(Sum::apply(borrow(input), borrow(group), is_same)); });
}
