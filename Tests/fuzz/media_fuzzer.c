/* Passes arbitrary bytes to the reader of Sources/CMedia, as a file in memory.
 *
 * To build and run it from the root of the package, with any clang, such as that of a Swift toolchain:
 *
 *     clang -g -O1 -std=gnu17 -fsanitize=fuzzer,address -ISources/CMedia/include \
 *         Tests/fuzz/media_fuzzer.c Sources/CMedia/[a-z]*.c -o media_fuzzer \
 *         -lavformat -lavcodec -lswscale -lswresample -lavutil -lm -lpthread -ldl
 *     ./media_fuzzer -max_len=65536 -rss_limit_mb=1024 -timeout=20 corpus/
 *
 * It finds more if the corpus contains a few small files of every container. */
#include <stdlib.h>

#include "CMedia.h"

enum { largest_picture = 1 << 20, most_frames = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    cm_reader_options options = {.max_pixels = largest_picture, .threads = 1};
    cm_reader *reader = NULL;
    cm_error error = {0};
    if (cm_reader_open_memory(&reader, bytes, size, &options, &error) != CM_OK) return 0;

    cm_video_info info;
    cm_reader_info(reader, &info);
    if (info.width < 1 || info.height < 1 || info.frame_rate.numerator < 1
        || info.frame_rate.denominator < 1 || info.frames < 0) {
        abort();
    }
    size_t capacity = 3 * (size_t)info.width * (size_t)info.height;
    /* Exactly one frame, so that AddressSanitizer detects a write past its end. */
    uint8_t *rgb = malloc(capacity);
    if (rgb == NULL) abort();
    for (int frame = 0; frame < most_frames; frame++) {
        cm_frame_info shown;
        if (cm_reader_next(reader, rgb, capacity, &shown, &error) != CM_OK) break;
    }
    free(rgb);
    cm_reader_free(reader);
    return 0;
}
