#include <fcntl.h>
#include <libavutil/mem.h>
#include <libavutil/sha.h>
#include <stdio.h>
#include <unistd.h>

#include "internal.h"

enum { DIGEST_BITS = 256, DIGEST_BYTES = DIGEST_BITS / 8, PIECE = 1 << 20 };

static void finish(struct AVSHA *sha, char hexadecimal[65]) {
    uint8_t digest[DIGEST_BYTES];
    av_sha_final(sha, digest);
    for (int index = 0; index < DIGEST_BYTES; ++index) {
        snprintf(hexadecimal + 2 * index, 3, "%02x", digest[index]);
    }
}

cm_sha256_sum *cm_sha256_begin(void) {
    struct AVSHA *sha = av_sha_alloc();
    if (sha) { av_sha_init(sha, DIGEST_BITS); }
    return sha;
}

void cm_sha256_add(cm_sha256_sum *sum, const void *bytes, size_t size) {
    av_sha_update(sum, bytes, size);
}

void cm_sha256_end(cm_sha256_sum *sum, char hexadecimal[65]) {
    finish(sum, hexadecimal);
    av_free(sum);
}

cm_code cm_sha256(const char *path, char hexadecimal[65], cm_error *error) {
    int descriptor = -1;
    cm_code opened = cm_open_regular(path, &descriptor, error);
    if (opened != CM_OK) return opened;
    struct AVSHA *sha = av_sha_alloc();
    uint8_t *piece = av_malloc(PIECE);
    cm_code code = CM_OK;
    if (!sha || !piece) {
        code = cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for its checksum");
    } else {
        av_sha_init(sha, DIGEST_BITS);
        ssize_t count;
        while ((count = read(descriptor, piece, PIECE)) != 0) {
            if (count > 0) {
                av_sha_update(sha, piece, (unsigned)count);
            } else if (errno != EINTR) {
                code = cm_fail(error, CM_UNREADABLE, "cannot be read: %s", strerror(errno));
                break;
            }
        }
        finish(sha, hexadecimal);
    }
    av_free(piece);
    av_free(sha);
    close(descriptor);
    return code;
}
