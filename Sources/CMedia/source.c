/* A demuxer with custom I/O, so that FFmpeg opens no files itself.
 *
 * Three protections, each of them sufficient for today's formats: the container must be in
 * `allowed_formats`; the protocol whitelist is empty; and the callback for opening another file
 * always fails. */
#include <fcntl.h>
#include <libavutil/avstring.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "internal.h"

/* Self-contained formats. Excludes hls, concat, dash, imf, image2, sdp, tedcaptions, lavfi and
 * all others that open files named in their content. Audio formats are included for a better error
 * message: "no video stream". */
static const char allowed_formats[] =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,ogg,asf,ivf,obu,h264,hevc,"
    "mjpeg,m4v,vc1,dv,mxf,nut,rm,wtv,"
    "yuv4mpegpipe,gif,apng,png_pipe,jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,ppm_pipe,pgm_pipe,"
    "pam_pipe,pbm_pipe,qoi_pipe,jpegxl_pipe,wav,mp3,flac,aac,aiff,amr,w64,au";

/* Formats that refer to other files, which get their own error message. */
static const char listing_formats[] =
    "hls,applehttp,concat,dash,webm_dash_manifest,imf,sdp,rtsp,lavfi,tty";

enum { io_buffer_size = 1 << 16 };

static int read_bytes(void *opaque, uint8_t *buffer, int size) {
    cm_source *source = opaque;
    if (source->descriptor < 0) {
        int64_t left = source->length - source->position;
        if (left <= 0) return AVERROR_EOF;
        int count = left < size ? (int)left : size;
        memcpy(buffer, source->bytes + source->position, (size_t)count);
        source->position += count;
        return count;
    }
    for (;;) {
        if (atomic_load_explicit(&source->interrupted, memory_order_relaxed)) return AVERROR_EXIT;
        if (source->pipe) {
            struct pollfd waiting = {.fd = source->descriptor, .events = POLLIN};
            int ready = poll(&waiting, 1, 100);
            if (ready == 0 || (ready < 0 && errno == EINTR)) continue;
        }
        ssize_t count = read(source->descriptor, buffer, (size_t)size);
        if (count > 0) {
            source->any_bytes = true;
            return (int)count;
        }
        if (count == 0) return AVERROR_EOF;
        if (errno == EINTR || errno == EAGAIN) continue;
        source->read_errno = errno;
        return AVERROR(errno);
    }
}

static int64_t seek_to(void *opaque, int64_t offset, int whence) {
    cm_source *source = opaque;
    if (whence & AVSEEK_SIZE) return source->length;
    whence &= ~AVSEEK_FORCE;
    if (source->descriptor >= 0) {
        off_t position = lseek(source->descriptor, offset, whence);
        return position < 0 ? AVERROR(errno) : position;
    }
    int64_t base = whence == SEEK_CUR ? source->position : whence == SEEK_END ? source->length : 0;
    if (offset < -base || offset > INT64_MAX - base) return AVERROR(EINVAL);
    source->position = base + offset;
    return source->position;
}

static int refuse_to_open(
    struct AVFormatContext *format, AVIOContext **io, const char *url, int flags,
    AVDictionary **options) {
    (void)format, (void)io, (void)url, (void)flags, (void)options;
    return AVERROR(EACCES);
}

cm_code cm_open_regular(const char *path, int *descriptor, cm_error *error) {
    /* Without O_NONBLOCK, opening a pipe without a writer would block. */
    int opened = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (opened < 0) {
        bool absent = errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG;
        if (absent) return cm_fail(error, CM_NOT_FOUND, "no such file");
        /* The error for sockets. */
        if (errno == ENXIO) return cm_fail(error, CM_UNSUPPORTED, "is not a regular file");
        return cm_fail(error, CM_UNREADABLE, "cannot be read: %s", strerror(errno));
    }
    struct stat status;
    cm_code code = CM_OK;
    if (fstat(opened, &status) != 0) {
        code = cm_fail(error, CM_UNREADABLE, "cannot be read: %s", strerror(errno));
    } else if (S_ISDIR(status.st_mode)) {
        code = cm_fail(error, CM_IS_DIRECTORY, "is a directory, not a file");
    } else if (!S_ISREG(status.st_mode)) {
        code = cm_fail(error, CM_UNSUPPORTED, "is not a regular file");
    }
    if (code == CM_OK) *descriptor = opened;
    else close(opened);
    return code;
}

static cm_code open_descriptor(cm_source *source, const char *path, cm_error *error) {
    bool standard_input = strcmp(path, "-") == 0;
    source->descriptor = standard_input ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (source->descriptor < 0) {
        bool absent = errno == ENOENT || errno == ENOTDIR || errno == ENAMETOOLONG;
        if (absent) return cm_fail(error, CM_NOT_FOUND, "no such file");
        return cm_fail(error, CM_UNREADABLE, "cannot be read: %s", strerror(errno));
    }
    source->owned = !standard_input;
    struct stat status;
    if (fstat(source->descriptor, &status) != 0) {
        return cm_fail(error, CM_UNREADABLE, "cannot be read: %s", strerror(errno));
    }
    if (S_ISDIR(status.st_mode))
        return cm_fail(error, CM_IS_DIRECTORY, "is a directory, not a video file");
    if (S_ISREG(status.st_mode)) {
        source->length = status.st_size;
        if (source->length == 0) return cm_fail(error, CM_EMPTY, "is empty");
        return CM_OK;
    }
    if (isatty(source->descriptor)) {
        return cm_fail(error, CM_UNSUPPORTED, "is a terminal; pipe a video into it");
    }
    source->pipe = true;
    source->length = -1;
    return CM_OK;
}

cm_code cm_read_file(
    const char *path, size_t limit, uint8_t **bytes, size_t *size, cm_error *error) {
    cm_source source = {.descriptor = -1};
    *bytes = NULL;
    *size = 0;
    bool standard_input = strcmp(path, "-") == 0;
    cm_code code = standard_input ? open_descriptor(&source, path, error)
                                  : cm_open_regular(path, &source.descriptor, error);
    struct stat status;
    if (code == CM_OK && !standard_input) {
        source.owned = true;
        if (fstat(source.descriptor, &status) == 0) source.length = status.st_size;
    }
    size_t capacity = source.length > 0 ? (size_t)source.length + 1 : 1 << 16;
    while (code == CM_OK) {
        if (capacity > limit + 1) capacity = limit + 1;
        uint8_t *larger = *size < capacity ? realloc(*bytes, capacity) : NULL;
        if (*size > limit) {
            code = cm_fail(error, CM_TOO_LARGE, "exceeds the limit of %zu bytes", limit);
        } else if (larger == NULL) {
            code = cm_fail(
                error, CM_OUT_OF_MEMORY, "out of memory for a file of %zu bytes", capacity);
        } else {
            *bytes = larger;
            ssize_t count = read(source.descriptor, *bytes + *size, capacity - *size);
            if (count == 0) break;
            if (count > 0) *size += (size_t)count;
            if (count < 0 && errno != EINTR && errno != EAGAIN)
                code = cm_fail(error, CM_IO, "cannot be read: %s", strerror(errno));
            if (*size == capacity) capacity *= 2;
        }
    }
    if (code == CM_OK && *size == 0) code = cm_fail(error, CM_EMPTY, "is empty");
    if (source.owned) close(source.descriptor);
    if (code != CM_OK) {
        free(*bytes);
        *bytes = NULL;
    }
    return code;
}

/* Newer demuxers recognize scripts by the path, which they are not given, so check the content. */
static const char *script_in(AVIOContext *io) {
    char head[513];
    int count = avio_read(io, (unsigned char *)head, sizeof head - 1);
    head[count > 0 ? count : 0] = '\0';
    if (strncmp(head, "#EXTM3U", 7) == 0) return "hls";
    if (strncmp(head, "ffconcat", 8) == 0) return "concat";
    return strstr(head, "<MPD") != NULL ? "dash" : NULL;
}

static cm_code refuse_script(const char *name, cm_error *error) {
    return cm_fail(
        error, CM_FORBIDDEN_FORMAT,
        "is a '%s' script that refers to other files, which Swan does not open",
        name);
}

static cm_code probe(cm_source *source, cm_input_format **format, cm_error *error) {
    /* Without a name, the format is detected from the content, never from an extension. */
    int score = av_probe_input_buffer2(source->io, format, "", NULL, 0, 0);
    if (score < 0 || *format == NULL) {
        if (source->read_errno != 0)
            return cm_fail(error, CM_IO, "cannot be read: %s", strerror(source->read_errno));
        if (score == AVERROR_EXIT) return cm_fail(error, CM_END, "interrupted");
        if (source->pipe && !source->any_bytes) return cm_fail(error, CM_EMPTY, "is empty");
        const char *script = script_in(source->io);
        if (script != NULL) return refuse_script(script, error);
        return cm_fail(error, CM_NOT_A_VIDEO, "is not a video in a supported format");
    }
    if (av_match_list((*format)->name, allowed_formats, ',')) return CM_OK;
    if (av_match_list((*format)->name, listing_formats, ',')) {
        return refuse_script((*format)->name, error);
    }
    if (score <= AVPROBE_SCORE_EXTENSION) {
        return cm_fail(error, CM_NOT_A_VIDEO, "is not a video in a supported format");
    }
    return cm_fail(
        error, CM_FORBIDDEN_FORMAT,
        "is in the unsupported format '%s'; convert it to MP4, MKV, WebM, AVI or MPEG-TS first",
        (*format)->name);
}

/* Decodes the start of streams with incomplete headers, with the same limit on pixels. */
static int find_streams(AVFormatContext *format, int64_t max_pixels) {
    /* A YUV4MPEG2 header is complete; waiting for more frames would delay a live pipe. */
    if (strcmp(format->iformat->name, "yuv4mpegpipe") == 0) return 0;
    unsigned count = format->nb_streams;
    AVDictionary **options = count == 0 ? NULL : av_calloc(count, sizeof *options);
    if (count != 0 && options == NULL) return AVERROR(ENOMEM);
    for (unsigned i = 0; i < count; i++) av_dict_set_int(&options[i], "max_pixels", max_pixels, 0);
    int status = avformat_find_stream_info(format, options);
    for (unsigned i = 0; i < count; i++) av_dict_free(&options[i]);
    av_free(options);
    return status;
}

static cm_code open_format(cm_source *source, int64_t max_pixels, cm_error *error) {
    unsigned char *buffer = av_malloc(io_buffer_size);
    if (buffer == NULL) return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a read buffer");
    source->io = avio_alloc_context(
        buffer, io_buffer_size, 0, source, read_bytes, NULL, source->pipe ? NULL : seek_to);
    if (source->io == NULL) {
        av_free(buffer);
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a read buffer");
    }
    cm_input_format *input = NULL;
    cm_code code = probe(source, &input, error);
    if (code != CM_OK) return code;

    source->format = avformat_alloc_context();
    if (source->format == NULL)
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a demuxer");
    source->format->pb = source->io;
    source->format->flags |= AVFMT_FLAG_CUSTOM_IO;
    source->format->io_open = refuse_to_open;
    AVDictionary *options = NULL;
    av_dict_set(&options, "format_whitelist", allowed_formats, 0);
    av_dict_set(&options, "protocol_whitelist", "none", 0);
    av_dict_set(&options, "enable_drefs", "0", 0);
    av_dict_set(&options, "use_absolute_path", "0", 0);
    int status = avformat_open_input(&source->format, "", input, &options);
    av_dict_free(&options);
    if (status >= 0) status = find_streams(source->format, max_pixels);
    if (status == AVERROR_EXIT) return cm_fail(error, CM_END, "interrupted");
    if (status < 0 && source->read_errno != 0) {
        return cm_fail(error, CM_IO, "cannot be read: %s", strerror(source->read_errno));
    }
    if (status < 0)
        return cm_fail_av(error, CM_NOT_A_VIDEO, status, "is not a complete video file");
    if (cm_log_saw_too_many_pixels()) {
        return cm_fail(
            error, CM_TOO_LARGE, "has frames larger than the limit of %lld pixels",
            (long long)max_pixels);
    }
    return CM_OK;
}

cm_code cm_source_open(
    cm_source **result, const char *path, const uint8_t *bytes, size_t size, int64_t max_pixels,
    cm_error *error) {
    *result = NULL;
    cm_log_begin();
    cm_source *source = av_mallocz(sizeof *source);
    if (source == NULL) return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a reader");
    atomic_init(&source->interrupted, false);
    source->descriptor = -1;
    cm_code code = CM_OK;
    if (path != NULL) {
        code = open_descriptor(source, path, error);
    } else {
        source->bytes = bytes;
        source->length = (int64_t)size;
        if (size == 0) code = cm_fail(error, CM_EMPTY, "is empty");
    }
    if (code == CM_OK) code = open_format(source, max_pixels, error);
    if (code != CM_OK) {
        cm_source_close(&source);
        return code;
    }
    *result = source;
    return CM_OK;
}

void cm_source_close(cm_source **pointer) {
    cm_source *source = *pointer;
    if (source == NULL) return;
    avformat_close_input(&source->format);
    cm_live_close(source);
    if (source->io != NULL) {
        av_freep(&source->io->buffer);
        avio_context_free(&source->io);
    }
    if (source->owned) close(source->descriptor);
    av_free(source);
    *pointer = NULL;
}
