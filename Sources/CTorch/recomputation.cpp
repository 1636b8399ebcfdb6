// Regions of a graph that keep no activations: tensors that their operators save for gradients are dropped,
// and recomputed on demand by running the region again.
//
// The engine calls hooks for saved tensors. Unlike a node that replaces the whole region, this keeps the
// graph as it is: gradients reach every weight that the region uses.
#include <ATen/SavedTensorHooks.h>
#include <torch/csrc/autograd/engine.h>
#include <torch/csrc/autograd/grad_mode.h>
#include <torch/csrc/autograd/saved_variable_hooks.h>

#include <memory>
#include <mutex>
#include <vector>

#include "internal.h"

using namespace swan;

namespace {

class Region {
public:
    Region(ct_body run, void (*release)(void *), void *context)
        : run(run), release(release), context(context) {}
    ~Region() { release(context); }
    Region(const Region &) = delete;
    Region &operator=(const Region &) = delete;

    /// The index of the next tensor that an operator saves; unlimited in the first run.
    size_t next(bool isAgain) {
        if (!isAgain) return count++;
        TORCH_CHECK(seen < count, "a region saves more tensors when run again than at first");
        return seen++;
    }

    void keep(size_t index, const at::Tensor &tensor) { values[index] = tensor.detach(); }

    /// Returns tensor number `index` and forgets it: one is rarely requested twice.
    at::Tensor take(const std::shared_ptr<Region> &self, size_t index);

private:
    // The engine has a thread for every device, and a region may have nodes on several.
    std::mutex guard;
    const ct_body run;
    void (*const release)(void *);
    void *const context;
    size_t count = 0;
    size_t seen = 0;
    std::vector<at::Tensor> values;
};

/// The region that the calling thread is in, and whether it is a second run.
struct Visit {
    std::shared_ptr<Region> region;
    bool isAgain = false;
};

thread_local Visit visit;

at::Tensor Region::take(const std::shared_ptr<Region> &self, size_t index) {
    const std::lock_guard lock(guard);
    if (values.empty() || !values[index].defined()) {
        values.assign(count, at::Tensor());
        seen = 0;
        const at::AutoGradMode recording(true);
        Visit before = std::exchange(visit, Visit{self, true});
        void *const failure = run(context);
        visit = std::move(before);
        if (failure != nullptr) throw Failure(failure, release);
        TORCH_CHECK(
            seen == count && values[index].defined(),
            "a region saves fewer tensors when run again than at first");
    }
    return std::move(values[index]);
}

/// The graph's stand-in for a saved tensor.
class Place : public torch::autograd::SavedVariableHooks {
public:
    explicit Place(const Visit &visit)
        : region(visit.region), isAgain(visit.isAgain), index(region->next(isAgain)) {}

    void call_pack_hook(const at::Tensor &tensor) override {
        if (isAgain) region->keep(index, tensor);
    }

    at::Tensor call_unpack_hook() override { return region->take(region, index); }

private:
    const std::shared_ptr<Region> region;
    const bool isAgain;
    const size_t index;
};

/// libtorch's engine, with the current region's hooks for saved tensors. In a Python process, Python provides
/// the hooks instead.
class RecomputingEngine : public torch::autograd::Engine {
public:
    static Engine &shared() {
        static RecomputingEngine engine;
        return engine;
    }

    ~RecomputingEngine() override { Engine::stop(); }

    std::unique_ptr<torch::autograd::SavedVariableHooks> get_default_saved_variable_hooks() override {
        if (!visit.region) return nullptr;
        return std::make_unique<Place>(visit);
    }

private:
    RecomputingEngine() = default;
};

void install() {
    static std::once_flag once;
    std::call_once(once, [] {
        torch::autograd::set_default_engine_stub(RecomputingEngine::shared);
        at::SavedTensorDefaultHooks::lazy_initialize();
    });
}

}  // namespace

struct ct_region_s {
    Visit before;
};

ct_region ct_region_enter(
    ct_body run, void (*release)(void *context), void *context, ct_error *error) {
    return guarded(error, static_cast<ct_region>(nullptr), [&]() -> ct_region {
        auto region = std::make_shared<Region>(run, release, context);
        install();
        auto left = std::make_unique<ct_region_s>();
        left->before = std::exchange(visit, Visit{std::move(region), false});
        return left.release();
    });
}

void ct_region_leave(ct_region region) {
    visit = std::move(region->before);
    delete region;
}
