// Concurrent work on a device: a thread's own stream, and marks that streams wait for.
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <map>
#include <mutex>
#include <optional>

#include "internal.h"

using namespace swan;

struct ct_mark_s {
    c10::Event event;
    c10::Device device;
};

struct ct_visit_s {
    std::optional<c10::Stream> before;
};

namespace {

/// A device's side stream, taken from the engine's pool once.
c10::Stream sideStream(c10::Device device) {
    static std::mutex guard;
    static std::map<std::pair<int, int>, c10::Stream> streams;
    const std::lock_guard lock(guard);
    const auto key = std::pair(static_cast<int>(device.type()), static_cast<int>(device.index()));
    const auto found = streams.find(key);
    if (found != streams.end()) return found->second;
    const auto stream = c10::impl::VirtualGuardImpl(device.type()).getStreamFromGlobalPool(device);
    streams.emplace(key, stream);
    return stream;
}

}  // namespace

ct_visit ct_side_stream_enter(int32_t deviceType, int32_t deviceIndex, ct_error *error) {
    return guarded(error, static_cast<ct_visit>(nullptr), [&]() -> ct_visit {
        const auto type = static_cast<c10::DeviceType>(deviceType);
        auto visit = std::make_unique<ct_visit_s>();
        if (type != c10::DeviceType::CPU) {
            const c10::Device device(type, static_cast<c10::DeviceIndex>(deviceIndex));
            visit->before = c10::impl::VirtualGuardImpl(type).exchangeStream(sideStream(device));
        }
        return visit.release();
    });
}

void ct_side_stream_leave(ct_visit visit) {
    guarded(nullptr, false, [&] {
        if (visit->before) {
            c10::impl::VirtualGuardImpl(visit->before->device_type()).exchangeStream(*visit->before);
        }
        return true;
    });
    delete visit;
}

ct_mark ct_stream_mark(int32_t deviceType, int32_t deviceIndex, ct_error *error) {
    return guarded(error, static_cast<ct_mark>(nullptr), [&]() -> ct_mark {
        const auto type = static_cast<c10::DeviceType>(deviceType);
        const c10::Device device(type, static_cast<c10::DeviceIndex>(deviceIndex));
        auto mark = std::make_unique<ct_mark_s>(ct_mark_s{c10::Event(type), device});
        if (type != c10::DeviceType::CPU) {
            mark->event.record(c10::impl::VirtualGuardImpl(type).getStream(device));
        }
        return mark.release();
    });
}

bool ct_stream_wait(ct_mark mark, ct_error *error) {
    return guarded(error, false, [&] {
        const auto type = mark->device.type();
        if (type == c10::DeviceType::CPU) return true;
        mark->event.block(c10::impl::VirtualGuardImpl(type).getStream(mark->device));
        return true;
    });
}

void ct_mark_release(ct_mark mark) { delete mark; }
