// Work that a device does side by side: a thread's own stream, and marks that streams wait for.
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include "internal.h"

using namespace swan;

struct ct_mark_s {
    c10::Event event;
    c10::Device device;
};

bool ct_stream_use_own(int32_t deviceType, int32_t deviceIndex, ct_error *error) {
    return guarded(error, false, [&] {
        const auto type = static_cast<c10::DeviceType>(deviceType);
        if (type == c10::DeviceType::CPU) return true;
        const c10::impl::VirtualGuardImpl streams(type);
        const c10::Device device(type, static_cast<c10::DeviceIndex>(deviceIndex));
        streams.exchangeStream(streams.getStreamFromGlobalPool(device));
        return true;
    });
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
