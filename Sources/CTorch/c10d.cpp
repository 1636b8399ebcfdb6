// Stores, groups and collectives of c10d, with Gloo. The only file that knows them.
#define USE_C10D_GLOO

#include "c10d.h"

#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <c10/util/Logging.h>

#include <dlfcn.h>

#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <filesystem>
#include <limits>

using namespace swan;

// The layout follows from declarations of our own (gloo-declarations): a changed one must not go unnoticed.
static_assert(sizeof(c10d::ProcessGroupGloo) == 488);
static_assert(sizeof(c10d::ProcessGroupGloo::Options) == 176);

struct ct_work_s {
    c10::intrusive_ptr<c10d::Work> work;
    // Kept until the work is done.
    std::vector<at::Tensor> tensors;
};

namespace {

std::chrono::milliseconds duration(int64_t milliseconds) {
    return std::chrono::milliseconds(milliseconds);
}

/// Starts work on tensors without their history.
template <typename Start>
ct_work start(ct_error *error, std::vector<ct_tensor> handles, Start &&start) {
    return guardedPeers<ct_work>(error, nullptr, [&] {
        std::vector<at::Tensor> tensors;
        for (auto *handle : handles) {
            tensors.push_back(borrow(handle).detach());
            TORCH_CHECK(tensors.back().is_contiguous(), "a tensor to exchange is not contiguous");
        }
        auto work = start(tensors);
        return new ct_work_s{std::move(work), std::move(tensors)};
    });
}

/// Keeps c10d from writing its warnings and errors, with stack traces, to standard error: errors say the same. The
/// engine reads the variable only here.
void quietLog() {
    static const bool isQuiet = [] {
        ::setenv("TORCH_CPP_LOG_LEVEL", "FATAL", 0);
        c10::initLogging();
        return true;
    }();
    (void)isQuiet;
}

/// The functions of scripts/nccl.cpp.
struct NCCL {
    using Open = c10d::Backend *(*)(c10d::Store *, int, int, int64_t);

    Open open = nullptr;
    std::string failure;

    /// The library is beside libtorch's folder, where the set-up compiles it.
    static std::filesystem::path path() {
        Dl_info info;
        if (::dladdr(reinterpret_cast<void *>(&c10::initLogging), &info) == 0) return {};
        const auto library = std::filesystem::canonical(info.dli_fname);
        return library.parent_path().parent_path().parent_path() / "nccl" / "libswan_nccl.so";
    }

    NCCL() {
        void *library = ::dlopen(path().c_str(), RTLD_NOW | RTLD_LOCAL);
        if (library == nullptr) {
            failure = ::dlerror();
            return;
        }
        const auto version = reinterpret_cast<int (*)()>(::dlsym(library, "swan_nccl_version"));
        if (version == nullptr || version() != 1) {
            failure = path().string() + " is of another version of the program";
            return;
        }
        open = reinterpret_cast<Open>(::dlsym(library, "swan_nccl_open"));
    }
};

const NCCL &nccl() {
    static const NCCL library;
    return library;
}

/// Closes the connections of a group of Gloo, whose backend has no abort: a receive that times out closes all
/// connections of its rank, on both sides, and what waits for them fails.
void closeConnections(c10d::Backend &backend) {
    if (backend.getSize() < 2) return;
    std::vector<at::Tensor> nothing{at::empty({1}, at::kByte)};
    const auto peer = (backend.getRank() + 1) % backend.getSize();
    constexpr int unusedTag = std::numeric_limits<int>::max();
    backend.recv(nothing, peer, unusedTag)->wait(duration(1));
}

}  // namespace

// Stores

ct_store ct_store_open(
    const char *host, uint16_t port, int listening, int64_t milliseconds, ct_error *error) {
    return guardedPeers<ct_store>(error, nullptr, [&] {
        quietLog();
        c10d::TCPStoreOptions options;
        options.port = port;
        options.isServer = listening >= 0;
        if (listening >= 0) options.masterListenFd = listening;
        options.waitWorkers = false;
        options.timeout = duration(milliseconds);
        return new ct_store_s{c10::make_intrusive<c10d::TCPStore>(host, options)};
    });
}

ct_store ct_store_clone(ct_store store, ct_error *error) {
    return guardedPeers<ct_store>(
        error, nullptr, [&] { return new ct_store_s{store->store->clone()}; });
}

ct_store ct_store_part(ct_store store, const char *prefix, ct_error *error) {
    return guardedPeers<ct_store>(error, nullptr, [&] {
        return new ct_store_s{c10::make_intrusive<c10d::PrefixStore>(prefix, store->store)};
    });
}

void ct_store_release(ct_store store) { delete store; }

bool ct_store_set(
    ct_store store, const char *key, const void *bytes, size_t count, ct_error *error) {
    return guardedPeers<bool>(error, false, [&] {
        const auto *start = static_cast<const uint8_t *>(bytes);
        store->store->set(key, std::vector<uint8_t>(start, start + count));
        return true;
    });
}

bool ct_store_get(
    ct_store store, const char *key, int64_t milliseconds, void **bytes, size_t *count,
    ct_error *error) {
    return guardedPeers<bool>(error, false, [&] {
        store->store->wait({key}, duration(milliseconds));
        const auto value = store->store->get(key);
        *count = value.size();
        *bytes = std::malloc(value.size() + 1);
        if (*bytes == nullptr) throw std::bad_alloc();
        std::memcpy(*bytes, value.data(), value.size());
        return true;
    });
}

bool ct_store_add(
    ct_store store, const char *key, int64_t amount, int64_t *result, ct_error *error) {
    return guardedPeers<bool>(error, false, [&] {
        *result = store->store->add(key, amount);
        return true;
    });
}

bool ct_store_has(ct_store store, const char *key, bool *result, ct_error *error) {
    return guardedPeers<bool>(error, false, [&] {
        *result = store->store->check({key});
        return true;
    });
}

// Groups

ct_group ct_group_open_gloo(
    ct_store store, int32_t rank, int32_t size, const char *address, int64_t milliseconds,
    ct_error *error) {
    return guardedPeers<ct_group>(error, nullptr, [&] {
        using c10d::ProcessGroupGloo;
        auto options = ProcessGroupGloo::Options::create(duration(milliseconds));
        options->devices.push_back(ProcessGroupGloo::createDeviceForHostname(address));
        auto backend = c10::make_intrusive<ProcessGroupGloo>(store->store, rank, size, options);
        return c10::make_intrusive<ct_group_s>(std::move(backend)).release();
    });
}

ct_group ct_group_open_nccl(
    ct_store store, int32_t rank, int32_t size, int32_t device, int64_t milliseconds,
    ct_error *error) {
    return guardedPeers<ct_group>(error, nullptr, [&] {
        TORCH_CHECK(
            nccl().open != nullptr, "groups of GPUs need NCCL: run scripts/bootstrap --cuda (",
            nccl().failure, ")");
        TORCH_CHECK(
            at::hasCUDA(), "groups of GPUs need a GPU, and scripts/bootstrap --cuda where there is one");
        // A wait ends after the deadline, with an error instead of the end of the process.
        ::setenv("TORCH_NCCL_BLOCKING_WAIT", "1", 0);
        ::setenv("TORCH_NCCL_ASYNC_ERROR_HANDLING", "0", 0);
        const c10::DeviceGuard guard(c10::Device(c10::kCUDA, static_cast<int8_t>(device)));
        auto backend = c10::intrusive_ptr<c10d::Backend>::reclaim(
            nccl().open(store->store.get(), rank, size, milliseconds));
        backend->setBoundDeviceId(guard.current_device());
        return c10::make_intrusive<ct_group_s>(std::move(backend)).release();
    });
}

void ct_group_release(ct_group group) { Group::reclaim(group); }

void ct_group_abort(ct_group group) {
    ct_error error = {};
    guardedPeers<bool>(&error, false, [&] {
        if (group->backend->getBackendName() == "gloo") {
            closeConnections(*group->backend);
        } else {
            group->backend->abort();
        }
        return true;
    });
    // That the connections are closed is the error.
    ct_error_free(&error);
}

// Works

bool ct_work_wait(ct_work work, int64_t milliseconds, ct_error *error) {
    return guardedPeers<bool>(error, false, [&] {
        // A message that was aborted does not throw; its tensor was not written.
        if (!work->work->wait(duration(milliseconds))) {
            throw std::runtime_error("the connection was closed on this side");
        }
        return true;
    });
}

void ct_work_release(ct_work work) { delete work; }

// Collectives

ct_work ct_broadcast(ct_group group, ct_tensor tensor, int32_t root, ct_error *error) {
    return start(error, {tensor}, [&](std::vector<at::Tensor> &tensors) {
        c10d::BroadcastOptions options;
        options.rootRank = root;
        return group->backend->broadcast(tensors, options);
    });
}

ct_work ct_all_reduce(ct_group group, ct_tensor tensor, ct_reduction reduction, ct_error *error) {
    return start(error, {tensor}, [&](std::vector<at::Tensor> &tensors) {
        c10d::AllreduceOptions options;
        options.reduceOp = reduction == CT_SUM   ? c10d::ReduceOp::SUM
                           : reduction == CT_MAX ? c10d::ReduceOp::MAX
                                                 : c10d::ReduceOp::MIN;
        return group->backend->allreduce(tensors, options);
    });
}

ct_work ct_all_gather(ct_group group, ct_tensor output, ct_tensor input, ct_error *error) {
    return start(error, {output, input}, [&](std::vector<at::Tensor> &tensors) {
        return group->backend->_allgather_base(tensors[0], tensors[1]);
    });
}

ct_work ct_reduce_scatter(ct_group group, ct_tensor output, ct_tensor input, ct_error *error) {
    return start(error, {output, input}, [&](std::vector<at::Tensor> &tensors) {
        return group->backend->_reduce_scatter_base(tensors[0], tensors[1]);
    });
}

ct_work ct_all_to_all(
    ct_group group, ct_tensor output, ct_tensor input, const int64_t *received, const int64_t *sent,
    ct_error *error) {
    return start(error, {output, input}, [&](std::vector<at::Tensor> &tensors) {
        auto in = counts(group, received);
        auto out = counts(group, sent);
        return group->backend->alltoall_base(tensors[0], tensors[1], in, out);
    });
}

ct_work ct_send(ct_group group, ct_tensor tensor, int32_t to, int32_t tag, ct_error *error) {
    return start(error, {tensor}, [&](std::vector<at::Tensor> &tensors) {
        return group->backend->send(tensors, to, tag);
    });
}

ct_work ct_receive(ct_group group, ct_tensor tensor, int32_t from, int32_t tag, ct_error *error) {
    return start(error, {tensor}, [&](std::vector<at::Tensor> &tensors) {
        return group->backend->recv(tensors, from, tag);
    });
}

ct_work ct_barrier(ct_group group, ct_error *error) {
    return start(error, {}, [&](std::vector<at::Tensor> &) { return group->backend->barrier(); });
}
