/* What the files of CMedia share: errors, the demuxer behind its own input, and pixel conversion.
 */
#ifndef CMEDIA_INTERNAL_H
#define CMEDIA_INTERNAL_H

#include <errno.h>
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/dict.h>
#include <libavutil/frame.h>
#include <libavutil/pixdesc.h>
#include <libswscale/swscale.h>
#include <stdatomic.h>

#include "CMedia.h"

/* FFmpeg 5 made the descriptions of formats and codecs constant. */
#if LIBAVFORMAT_VERSION_MAJOR >= 59
typedef const AVInputFormat cm_input_format;
typedef const AVOutputFormat cm_output_format;
#else
typedef AVInputFormat cm_input_format;
typedef AVOutputFormat cm_output_format;
#endif

/* ---- log.c ---- */

/* Sets code and message; returns the code. */
cm_code cm_fail(cm_error *error, cm_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* The same, adding what FFmpeg's `status` means and the last line it logged on this thread. */
cm_code cm_fail_av(cm_error *error, cm_code code, int status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same for an output, the code being chosen by the status (ENOSPC, EPIPE, ...). */
cm_code cm_fail_output(cm_error *error, int status, bool creating, const char *doing);

/* Silences FFmpeg and forgets what it logged on this thread so far. */
void cm_log_begin(void);

/* What FFmpeg said on this thread since cm_log_begin, beside the last error line. */
bool cm_log_saw_too_many_pixels(void);
bool cm_log_saw_early_end(void);

/* ---- source.c ---- */

/* Opens a file that is no directory, pipe or device, which have to be asked for as a video. */
cm_code cm_open_regular(const char *path, int *descriptor, cm_error *error);

typedef struct cm_source {
    AVFormatContext *format;
    AVIOContext *io;
    int descriptor; /* -1: in memory */
    bool owned, pipe;
    const uint8_t *bytes; /* in memory */
    int64_t position;     /* in memory */
    int64_t length;       /* -1: unknown */
    int read_errno;
    bool any_bytes; /* something was read */
    atomic_bool interrupted;
} cm_source;

/* Opens and probes a file, or memory where `path` is NULL. On failure there is nothing to close. */
cm_code cm_source_open(
    cm_source **source, const char *path, const uint8_t *bytes, size_t size, int64_t max_pixels,
    cm_error *error);
void cm_source_close(cm_source **source);

/* ---- sound.c ---- */

/* A file read for its audio track alone, whose packets go into another container as they are. */
typedef struct cm_sound cm_sound;

/* Turns a track down that `output` cannot hold, or whose video is not `seconds` long within
 * `tolerance` (0: any length). */
cm_code cm_sound_open(
    cm_sound **sound, const char *path, cm_output_format *output, double seconds, double tolerance,
    cm_error *error);

/* The length of the video in the file, in seconds; 0: unknown. */
double cm_sound_video_seconds(const cm_sound *sound);

/* Makes `stream` a copy of the track's description. */
int cm_sound_describe(const cm_sound *sound, AVStream *stream);

/* Writes the packets that begin before `end`, in seconds of video. */
cm_code cm_sound_write(
    cm_sound *sound, AVFormatContext *muxer, const AVStream *stream, double end, cm_error *error);

void cm_sound_close(cm_sound **sound);

/* ---- picture.c ---- */

/* How the stored picture becomes the shown one: transposed first, then mirrored. */
typedef struct cm_orientation {
    bool transposed, mirrored_x, mirrored_y;
} cm_orientation;

cm_orientation cm_orientation_of_matrix(const int32_t matrix[9]);
cm_orientation cm_orientation_of_degrees(double clockwise);
bool cm_orientation_is_upright(cm_orientation orientation);

/* Copies RGB24 of width x height (as stored) into packed rows, turned upright. */
void cm_copy_upright(
    uint8_t *target, const uint8_t *source, ptrdiff_t stride, int width, int height,
    cm_orientation orientation);

typedef struct cm_picture_key {
    int width, height, format, space, full_range, chroma;
} cm_picture_key;

/* A conversion that is set up once and used until the source's description changes. */
typedef struct cm_converter {
    struct SwsContext *scaler;
    AVFrame *source, *target;
    cm_picture_key key;
    bool still; /* colours as in a picture's own library, whatever it takes */
} cm_converter;

/* Any decoded frame to RGB24 of width x height. `*result` is borrowed: the frame itself where it is
 * RGB24 already. */
cm_code cm_to_rgb(
    cm_converter *converter, AVFrame *frame, int width, int height, const AVFrame **result,
    cm_error *error);

/* Packed RGB24 to a frame of `format`. `space` is swscale's (SWS_CS_...). `*result` is borrowed,
 * and may be kept by reference: its buffers are replaced while somebody else still holds them. */
cm_code cm_from_rgb(
    cm_converter *converter, const uint8_t *rgb, int width, int height, enum AVPixelFormat format,
    int space, enum AVChromaLocation chroma, AVFrame **result, cm_error *error);

void cm_converter_free(cm_converter *converter);

/* ---- still.c ---- */

/* Whether the pixels are such as cm_still_to_rgb takes. */
bool cm_still_knows(enum AVPixelFormat format);

/* Y'CbCr of 8 bits to RGB24 of the same size. */
cm_code cm_still_to_rgb(const AVFrame *frame, bool full_range, AVFrame *target, cm_error *error);

/* Makes a description of a picture's size and format writable, with rows padded for swscale's wide
 * stores. */
cm_code cm_make_picture(
    AVFrame **frame, int width, int height, enum AVPixelFormat format, cm_error *error);

#endif
