// Tensors of which each rank of a group keeps an equal, flat part.
#include "c10d.h"

#include <torch/csrc/autograd/custom_function.h>

#include <atomic>
#include <numeric>

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
    static tensor_list forward(
        AutogradContext *context, at::TensorList shards, const Group &group, int64_t dtype) {
        tensor_list parts;
        std::vector<int64_t> lengths;
        for (const auto &shard : shards) {
            TORCH_CHECK(shard.dim() == 1, "a shard is flat");
            parts.push_back(shard.detach().to(static_cast<at::ScalarType>(dtype)));
            lengths.push_back(shard.numel());
        }
        context->saved_data["group"] = c10::IValue::make_capsule(group);
        context->saved_data["lengths"] = lengths;
        const int64_t size = group->backend->getSize();
        auto own = parts.size() == 1 ? parts[0].contiguous() : at::cat(parts);
        auto all = counted(own.numel() * size, own.options());
        finish(group->backend->_allgather_base(all, own));
        if (parts.size() == 1) return {all};
        // From all shards of a rank to all ranks' shards of a tensor.
        const auto rows = all.view({size, -1});
        tensor_list wholes;
        int64_t start = 0;
        for (const auto length : lengths) {
            auto whole = counted(length * size, own.options());
            whole.view({size, length}).copy_(rows.narrow(1, start, length));
            wholes.push_back(std::move(whole));
            start += length;
        }
        return wholes;
    }

    static tensor_list backward(AutogradContext *context, tensor_list gradients) {
        const auto group = c10::static_intrusive_pointer_cast<ct_group_s>(
            context->saved_data["group"].toCapsule());
        const auto lengths = context->saved_data["lengths"].toIntVector();
        const int64_t size = group->backend->getSize();
        const auto total = std::accumulate(lengths.begin(), lengths.end(), int64_t{0});
        const auto all = at::empty({size, total}, gradients[0].options().dtype(at::kFloat));
        int64_t start = 0;
        for (std::size_t i = 0; i < lengths.size(); ++i) {
            all.narrow(1, start, lengths[i]).copy_(gradients[i].reshape({size, lengths[i]}));
            gradients[i].reset();
            start += lengths[i];
        }
        auto shards = scatteredSum(group, all.view({-1})).split_with_sizes(lengths);
        shards.resize(shards.size() + 2);
        return shards;
    }
};

}  // namespace

bool ct_unsharded(
    ct_group group, const ct_tensor *shards, int32_t count, int32_t dtype, ct_tensor *wholes,
    ct_error *error) {
    return guardedPeers<bool>(error, false, [&] {
        std::vector<at::Tensor> parts;
        for (int32_t i = 0; i < count; ++i) parts.push_back(borrow(shards[i]));
        auto found = Unsharded::apply(at::TensorList(parts), borrow(group), int64_t{dtype});
        for (int32_t i = 0; i < count; ++i) wholes[i] = give(std::move(found[i]));
        return true;
    });
}

ct_tensor ct_whole(ct_group group, ct_tensor shard, ct_error *error) {
    return guardedPeers<ct_tensor>(error, nullptr, [&] {
        const auto &own = borrow(shard);
        return give(counted(own.numel() * borrow(group)->backend->getSize(), own.options()));
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
