// Groups of processes.
#pragma once

#include <torch/custom_class.h>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>

#include <cstdint>
#include <vector>

#include "internal.h"

struct ct_store_s {
    c10::intrusive_ptr<c10d::Store> store;
};

struct ct_group_s : torch::CustomClassHolder {
    explicit ct_group_s(c10::intrusive_ptr<c10d::Backend> backend) : backend(std::move(backend)) {}

    const c10::intrusive_ptr<c10d::Backend> backend;
};

namespace swan {

using Group = c10::intrusive_ptr<ct_group_s>;

/// A number for each rank of a group.
inline std::vector<int64_t> counts(ct_group group, const int64_t *values) {
    return std::vector<int64_t>(values, values + group->backend->getSize());
}

inline Group borrow(ct_group group) { return Group::reclaim_copy(group); }

/// The message of an exception of Gloo without the place in its source, "[…/pair.cc:547] ", that it starts with.
inline std::string withoutPlace(const std::string &message) {
    const auto end = message.find("] ");
    const auto place = message.substr(0, end == std::string::npos ? 0 : end);
    return place.rfind('[', 0) == 0 && place.find(".cc:") != std::string::npos ? message.substr(end + 2)
                                                                                : message;
}

/// Waits for an operation. What backends throw has no class of c10's, and would not be known as a peer's failure
/// where it comes out of a backward pass.
inline void finish(const c10::intrusive_ptr<c10d::Work> &work) {
    try {
        work->wait();
    } catch (const c10::Error &) {
        throw;
    } catch (const std::bad_alloc &) {
        throw;
    } catch (const std::exception &e) {
        throw c10::DistBackendError(
            {__func__, __FILE__, static_cast<uint32_t>(__LINE__)}, withoutPlace(e.what()));
    }
}

/// Rows of dimension 0 to and from each rank.
at::Tensor exchange(
    const Group &group, const at::Tensor &input, std::vector<int64_t> received,
    std::vector<int64_t> sent);

/// Runs `body`; failures of peers and of the network become CT_ERROR_PEER.
template <typename Result, typename Body>
Result guardedPeers(ct_error *error, Result failure, Body &&body) noexcept {
    return guarded<Result>(error, failure, [&]() -> Result {
        try {
            return body();
        } catch (const c10::OutOfMemoryError &) {
            throw;
        } catch (const c10::DistError &e) {
            fill(error, CT_ERROR_PEER, e.what_without_backtrace());
        } catch (const c10::Error &) {
            throw;
        } catch (const std::bad_alloc &) {
            throw;
        } catch (const std::exception &e) {
            // Gloo's exceptions have no class of c10's.
            fill(error, CT_ERROR_PEER, withoutPlace(e.what()));
        }
        return failure;
    });
}

}  // namespace swan
