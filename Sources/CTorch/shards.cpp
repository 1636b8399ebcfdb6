// Tensors of which each rank of a group keeps an equal, flat part.
#include "c10d.h"

#include <torch/csrc/autograd/custom_function.h>

#include <atomic>

using namespace swan;

namespace {

using torch::autograd::AutogradContext;
using torch::autograd::tensor_list;

/// The bytes of whole tensors that exist.
struct Bytes {
    std::atomic<int64_t> now{0};
    std::atomic<int64_t> maximum{0};

    void add(int64_t count) {
        const auto sum = now.fetch_add(count) + count;
        auto old = maximum.load();
        while (old < sum && !maximum.compare_exchange_weak(old, sum)) {
        }
    }
};

Bytes bytes;

/// An uninitialized tensor whose bytes are counted as long as a view of it exists.
at::Tensor counted(int64_t elements, const at::TensorOptions &options) {
    auto memory = at::empty({elements}, options);
    const auto size = static_cast<int64_t>(memory.nbytes());
    bytes.add(size);
    return at::from_blob(
        memory.data_ptr(), {elements},
        [memory, size](void *) mutable {
            memory.reset();
            bytes.now.fetch_sub(size);
        },
        options);
}

/// This rank's shard of the sum. Its order depends on the ranks alone, unlike that of a ring: neighbours are
/// added first, then neighbouring pairs, so that ranks may also add numbers of their own in pairs before.
at::Tensor scatteredSum(const Group &group, const at::Tensor &whole) {
    const at::NoGradGuard none;
    const int64_t size = group->backend->getSize();
    if (size == 1) return whole;
    TORCH_CHECK(whole.dim() == 1 && whole.numel() % size == 0, "a sum that has no equal shards");
    const std::vector<int64_t> each(size, whole.numel() / size);
    auto rows = exchange(group, whole, each, each).view({size, -1});
    for (int64_t step = 1; step < size; step *= 2) {
        for (int64_t i = 0; i + step < size; i += 2 * step) rows[i].add_(rows[i + step]);
    }
    return rows[0].clone();
}

struct Unsharded : torch::autograd::Function<Unsharded> {
    static at::Tensor forward(
        AutogradContext *context, const at::Tensor &shard, const Group &group, int64_t dtype) {
        context->saved_data["group"] = c10::IValue::make_capsule(group);
        auto part = shard.detach().to(static_cast<at::ScalarType>(dtype)).contiguous();
        auto whole = counted(part.numel() * group->backend->getSize(), part.options());
        finish(group->backend->_allgather_base(whole, part));
        return whole;
    }

    static tensor_list backward(AutogradContext *context, tensor_list gradients) {
        const auto group = c10::static_intrusive_pointer_cast<ct_group_s>(
            context->saved_data["group"].toCapsule());
        return {scatteredSum(group, gradients[0].to(at::kFloat).contiguous()), {}, {}};
    }
};

}  // namespace

ct_tensor ct_unsharded(ct_group group, ct_tensor shard, int32_t dtype, ct_error *error) {
    return guardedPeers<ct_tensor>(error, nullptr, [&] {
        TORCH_CHECK(borrow(shard).dim() == 1, "a shard is flat");
        return give(Unsharded::apply(borrow(shard), borrow(group), int64_t{dtype}));
    });
}

void ct_unsharded_bytes(int64_t *now, int64_t *maximum, bool resets) {
    *now = bytes.now.load();
    *maximum = bytes.maximum.load();
    if (resets) bytes.maximum.store(*now);
}

ct_tensor ct_scattered_sum(ct_group group, ct_tensor whole, ct_error *error) {
    return guardedPeers<ct_tensor>(error, nullptr, [&] {
        return give(scatteredSum(borrow(group), borrow(whole).detach().contiguous()));
    });
}
