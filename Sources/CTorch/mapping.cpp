// Files mapped into memory, and reads of parts that the file no longer has.
//
// The system answers such a read with SIGBUS, which terminates the process. The handler here maps zeros in
// place of the rest of the file and marks the mapping as damaged; operators on its tensors fail with the
// file's name.
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <mutex>

#include "internal.h"

/// A mapping, or a slot for one. Entries are never freed: a handler may be reading one at any time.
struct ct_mapping_s {
    std::atomic<uintptr_t> start{0}, end{0};
    std::atomic<bool> damaged{false};
    ct_mapping_s *next = nullptr;
    // Guarded by the lock.
    std::string path;
    int descriptor = -1;
    struct stat opened = {};
};

namespace {

std::mutex lock;
std::atomic<ct_mapping_s *> all{nullptr};
struct sigaction before;
uintptr_t page_size = 4096;

/// Uses only functions that are safe in a signal handler.
bool cover(uintptr_t address) {
    for (ct_mapping_s *mapping = all.load(); mapping != nullptr; mapping = mapping->next) {
        const uintptr_t start = mapping->start.load(), end = mapping->end.load();
        if (address < start || address >= end) continue;
        if (!mapping->damaged.exchange(true)) swan::damagedFiles.fetch_add(1);
        const uintptr_t page = address & ~(page_size - 1);
        const size_t size = (end - page + page_size - 1) & ~(page_size - 1);
        const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
        return mmap(reinterpret_cast<void *>(page), size, PROT_READ | PROT_WRITE, flags, -1, 0)
            != MAP_FAILED;
    }
    return false;
}

void on_bus_error(int number, siginfo_t *info, void *context) {
    const int kept = errno;
    const bool isRead = info->si_code == BUS_ADRERR || info->si_code == BUS_OBJERR;
    const bool isCovered = isRead && cover(reinterpret_cast<uintptr_t>(info->si_addr));
    errno = kept;
    if (isCovered) return;
    if ((before.sa_flags & SA_SIGINFO) != 0) {
        before.sa_sigaction(number, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(number);
    } else {
        // The interrupted instruction runs again, and the signal has its default effect.
        signal(number, SIG_DFL);
        if (info->si_code <= 0) raise(number);
    }
}

void install() {
    page_size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    struct sigaction action = {};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGBUS, &action, &before);
}

bool is_changed(const ct_mapping_s &mapping, bool written) {
    if (mapping.damaged.load()) return true;
    struct stat now = {};
    if (fstat(mapping.descriptor, &now) != 0) return false;
    // Past the end of a file, its last page has zeros, and reading them raises no signal.
    if (now.st_size < mapping.opened.st_size) return true;
    if (!written) return false;
    const auto &then = mapping.opened;
    return now.st_size != then.st_size || now.st_mtim.tv_sec != then.st_mtim.tv_sec
        || now.st_mtim.tv_nsec != then.st_mtim.tv_nsec;
}

}  // namespace

namespace swan {

std::atomic<int> damagedFiles{0};

void findDamage(const at::Tensor &tensor) {
    if (!tensor.defined() || !tensor.has_storage() || !tensor.device().is_cpu()) return;
    const auto address = reinterpret_cast<uintptr_t>(tensor.storage().data());
    const std::lock_guard<std::mutex> guard(lock);
    for (const ct_mapping_s *mapping = all.load(); mapping != nullptr; mapping = mapping->next) {
        if (address < mapping->start.load() || address >= mapping->end.load()) continue;
        if (mapping->damaged.load()) throw DamagedFile(mapping->path);
    }
}

}  // namespace swan

ct_mapping ct_mapping_create(void *start, size_t count, int descriptor, const char *path) {
    static std::once_flag once;
    std::call_once(once, install);
    const std::lock_guard<std::mutex> guard(lock);
    ct_mapping_s *mapping = all.load();
    while (mapping != nullptr && mapping->end.load() != 0) mapping = mapping->next;
    if (mapping == nullptr) {
        mapping = new ct_mapping_s;
        mapping->next = all.load();
        all.store(mapping);
    }
    mapping->path = path;
    mapping->descriptor = descriptor;
    fstat(descriptor, &mapping->opened);
    mapping->damaged.store(false);
    mapping->start.store(reinterpret_cast<uintptr_t>(start));
    mapping->end.store(reinterpret_cast<uintptr_t>(start) + count);
    return mapping;
}

void ct_mapping_release(ct_mapping mapping) {
    const std::lock_guard<std::mutex> guard(lock);
    mapping->end.store(0);
    mapping->start.store(0);
    if (mapping->damaged.exchange(false)) swan::damagedFiles.fetch_sub(1);
}

bool ct_mapping_is_cut(ct_mapping mapping) { return is_changed(*mapping, false); }

bool ct_mapping_is_changed(ct_mapping mapping) { return is_changed(*mapping, true); }

char *ct_mapping_find_cut(void) {
    const std::lock_guard<std::mutex> guard(lock);
    for (const ct_mapping_s *mapping = all.load(); mapping != nullptr; mapping = mapping->next) {
        if (mapping->end.load() == 0 || !is_changed(*mapping, false)) continue;
        return ::strdup(mapping->path.c_str());
    }
    return nullptr;
}

void ct_touch(const void *start, size_t count) {
    const auto *bytes = static_cast<const volatile char *>(start);
    for (size_t offset = 0; offset < count; offset += page_size) (void)bytes[offset];
    if (count > 0) (void)bytes[count - 1];
}
