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

/* A file read for its audio track alone, which goes into another container. */
typedef struct cm_sound cm_sound;

cm_code cm_sound_open(cm_sound **sound, const char *path, cm_error *error);

/* What FFmpeg calls the codec of the track. */
const char *cm_sound_codec(const cm_sound *sound);

/* From here on packets are not copied, but encoded anew by the encoder of that name. */
cm_code cm_sound_recode(
    cm_sound *sound, const char *encoder, cm_output_format *output, cm_error *error);

/* Makes `stream` what the packets need. */
int cm_sound_describe(const cm_sound *sound, AVStream *stream);

/* Says where packets go, before the first is written. */
void cm_sound_attach(cm_sound *sound, AVFormatContext *muxer, AVStream *stream);

/* Writes the sound that belongs to pictures which end at `pictures` so far, in seconds. */
cm_code cm_sound_write(cm_sound *sound, double pictures, cm_error *error);

/* Writes the rest, as far as the pictures go or, where `whole`, to its own end. */
cm_code cm_sound_finish(cm_sound *sound, double pictures, bool whole, cm_error *error);

bool cm_sound_was_written(const cm_sound *sound);

/* Packets that were passed over: damaged ones, and such as the output does not take. */
int64_t cm_sound_damaged(const cm_sound *sound);

void cm_sound_close(cm_sound **sound);

/* Where packets of sound go. */
typedef struct cm_outlet {
    AVFormatContext *muxer;
    AVStream *stream;
    int64_t written, refused; /* packets */
} cm_outlet;

/* Writes a packet whose times are in `unit`. One that the container refuses is counted and passed
 * over; what fails is the file. */
cm_code cm_outlet_write(cm_outlet *outlet, AVPacket *packet, AVRational unit, cm_error *error);

/* ---- recode.c ---- */

/* Sound from one codec to another, laid on the time of the pictures. */
typedef struct cm_recoder cm_recoder;

/* On failure, too, there may be something to close. */
cm_code cm_recoder_open(
    cm_recoder **recoder, const AVStream *track, double origin, cm_error *error);

/* Takes a packet, NULL for the end; damage is counted. */
void cm_recoder_send(cm_recoder *recoder, const AVPacket *packet);

/* Sees to it that decoded sound waits. CM_END: another packet is needed. */
cm_code cm_recoder_hold(cm_recoder *recoder, cm_error *error);

/* Opens the encoder for sound such as waits. */
cm_code cm_recoder_start(
    cm_recoder *recoder, const char *encoder, cm_output_format *output, cm_error *error);

int cm_recoder_describe(const cm_recoder *recoder, AVStream *stream);

/* Encodes what there is before `end`, and silence for gaps before the end of the pictures. CM_END:
 * another packet is needed. */
cm_code cm_recoder_pass(
    cm_recoder *recoder, cm_outlet *outlet, double end, double pictures, cm_error *error);

/* Encodes and writes what is still on its way. */
cm_code cm_recoder_finish(cm_recoder *recoder, cm_outlet *outlet, cm_error *error);

int64_t cm_recoder_damaged(const cm_recoder *recoder);

void cm_recoder_close(cm_recoder **recoder);

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
