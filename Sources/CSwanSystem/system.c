#define _GNU_SOURCE
#include "CSwanSystem.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

int cs_rename_new(const char *from, const char *to) {
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return 0;
    if (errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP) return errno;
    /* The file system or kernel cannot check and rename atomically. */
    struct stat status;
    if (lstat(to, &status) == 0) return EEXIST;
    return rename(from, to) == 0 ? 0 : errno;
}

void cs_name_thread(const char *name) { pthread_setname_np(pthread_self(), name); }

static int write_bytes(int descriptor, const uint8_t *bytes, size_t size, size_t *written) {
    while (*written < size) {
        ssize_t count = write(descriptor, bytes + *written, size - *written);
        if (count >= 0) {
            *written += (size_t)count;
        } else if (errno == EAGAIN) {
            struct pollfd waiting = {.fd = descriptor, .events = POLLOUT};
            poll(&waiting, 1, 1000);
        } else if (errno != EINTR) {
            return errno;
        }
    }
    return 0;
}

int cs_write_all(int descriptor, const void *bytes, size_t size, size_t *written) {
    /* Writing to a closed pipe raises SIGPIPE for this thread: block it, and consume it if this
     * write raised it. */
    sigset_t broken, before, pending;
    sigemptyset(&broken);
    sigaddset(&broken, SIGPIPE);
    sigpending(&pending);
    bool was_pending = sigismember(&pending, SIGPIPE) == 1;
    pthread_sigmask(SIG_BLOCK, &broken, &before);
    size_t count = 0;
    int number = write_bytes(descriptor, bytes, size, &count);
    if (number == EPIPE && !was_pending) {
        struct timespec at_once = {0};
        while (sigtimedwait(&broken, NULL, &at_once) == -1 && errno == EINTR) {
        }
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (written != NULL) *written = count;
    return number;
}
