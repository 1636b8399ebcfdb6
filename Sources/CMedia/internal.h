/* Declarations shared by the files of CMedia: errors, the demuxer with custom I/O, audio and pixel
 * conversion. */
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

/* FFmpeg 5 made format and codec descriptions const. */
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

/* The same, with the meaning of FFmpeg's `status` and the last line it logged on this thread. */
cm_code cm_fail_av(cm_error *error, cm_code code, int status, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same for an output, with the code chosen by the status (ENOSPC, EPIPE, ...). */
cm_code cm_fail_output(cm_error *error, int status, bool creating, const char *problem);

/* The error code for errno `number` when creating an output or writing to it. */
cm_code cm_code_of_errno(int number, bool creating);

/* Captures FFmpeg's log and clears what it logged on this thread so far. */
void cm_log_begin(void);

/* Conditions that FFmpeg logged on this thread since cm_log_begin. */
bool cm_log_saw_too_many_pixels(void);
bool cm_log_saw_early_end(void);
bool cm_log_saw_refusal(void);     /* a protocol, format or name that is not allowed */
bool cm_log_saw_unknown_host(void);

/* ---- source.c ---- */

/* Opens a regular file; directories, pipes and devices are errors. */
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
    struct cm_live *live; /* NULL: a file, a pipe or memory */
} cm_source;

/* Opens and probes a file, or memory if `path` is NULL. On failure there is nothing to close. */
cm_code cm_source_open(
    cm_source **source, const char *path, const uint8_t *bytes, size_t size, int64_t max_pixels,
    cm_error *error);
void cm_source_close(cm_source **source);

/* ---- live.c ---- */

/* Opens a camera, a screen or a network source. On failure there is nothing to close. */
cm_code cm_source_open_live(
    cm_source **source, const char *url, const cm_live_options *options, cm_error *error);

/* Reads a packet, waiting no longer than the source's limit. */
int cm_live_read(cm_source *source, AVPacket *packet);

/* CM_END if the sender ended the stream, otherwise the reason why nothing more arrives. */
cm_code cm_live_end(const cm_source *source, cm_error *error);

bool cm_live_is_cancelled(const cm_source *source);

void cm_live_close(cm_source *source);

/* A point in time after which a blocking call of FFmpeg is cancelled. */
typedef struct cm_deadline {
    const cm_flag *cancelled;
    int64_t microseconds; /* of av_gettime_relative */
    bool passed;
} cm_deadline;

bool cm_flag_is_raised(const cm_flag *flag);

void cm_deadline_set(cm_deadline *deadline, double seconds);

/* FFmpeg's AVIOInterruptCB for a deadline. */
AVIOInterruptCB cm_deadline_callback(cm_deadline *deadline);

/* Describes why a connection failed. `seconds` is the limit that may have passed. */
cm_code cm_fail_connection(
    cm_error *error, int status, const cm_deadline *deadline, double seconds);

/* Starts FFmpeg's network and TLS libraries, once. */
void cm_network_begin(void);

/* ---- filter.c ---- */

/* Deinterlaces frames that are marked as interlaced, and maps PQ and HLG to BT.709. */
typedef struct cm_filter cm_filter;

/* Whether a frame is marked as interlaced. */
bool cm_is_interlaced(const AVFrame *frame);

/* Whether a frame's transfer is PQ or HLG. */
bool cm_is_high_dynamic_range(const AVFrame *frame);

/* Whether a frame must pass the filter, which is NULL as long as none had to. */
bool cm_filter_is_needed(const cm_filter *filter, const AVFrame *frame);

/* Takes a frame with a timestamp in `time_base`; creates the filter if there is none. */
cm_code cm_filter_push(
    cm_filter **filter, AVFrame *frame, AVRational time_base, cm_error *error);

/* After the last frame. */
cm_code cm_filter_end(cm_filter *filter, cm_error *error);

/* The next filtered frame, if there is one. */
cm_code cm_filter_pull(
    cm_filter *filter, AVFrame *frame, AVRational time_base, bool *found, cm_error *error);

/* Whether there are no more frames. */
bool cm_filter_has_ended(const cm_filter *filter);

/* What the filter does; nothing if it is NULL. */
cm_treatment cm_filter_treatment(const cm_filter *filter);

void cm_filter_free(cm_filter **filter);

/* ---- devices.c ---- */

/* Loads libavdevice, which adds FFmpeg's input and output devices. */
cm_code cm_devices_load(cm_error *error);

/* ---- sound.c ---- */

/* The audio track of a file, to be added to another container. */
typedef struct cm_sound cm_sound;

/* `index` is that of a stream of audio or subtitles; negative: the best audio. */
cm_code cm_sound_open(cm_sound **sound, const char *path, int index, cm_error *error);

/* Whether the track is audio, not subtitles. */
bool cm_sound_is_audio(const cm_sound *sound);

/* FFmpeg's name of the track's codec. */
const char *cm_sound_codec(const cm_sound *sound);

/* Re-encodes packets with the given encoder from now on, instead of copying them. */
cm_code cm_sound_recode(
    cm_sound *sound, const char *encoder, cm_output_format *output, cm_error *error);

/* Configures `stream` for the packets. */
int cm_sound_describe(const cm_sound *sound, AVStream *stream);

/* Sets the destination of packets. Call this before writing the first one. */
void cm_sound_attach(cm_sound *sound, AVFormatContext *muxer, AVStream *stream);

/* Writes the audio up to the end of the video written so far, `pictures`, in seconds. */
cm_code cm_sound_write(cm_sound *sound, double pictures, cm_error *error);

/* Writes the rest up to the end of the video or, if `whole`, to the end of the audio. */
cm_code cm_sound_finish(cm_sound *sound, double pictures, bool whole, cm_error *error);

bool cm_sound_was_written(const cm_sound *sound);

/* The number of skipped packets: damaged, or rejected by the output. */
int64_t cm_sound_damaged(const cm_sound *sound);

void cm_sound_close(cm_sound **sound);

/* The destination of audio packets. */
typedef struct cm_outlet {
    AVFormatContext *muxer;
    AVStream *stream;
    int64_t written, refused; /* packets */
} cm_outlet;

/* Writes a packet with timestamps in `unit`. A packet that the container rejects is counted and
 * skipped; errors are failures of the file. */
cm_code cm_outlet_write(cm_outlet *outlet, AVPacket *packet, AVRational unit, cm_error *error);

/* ---- recode.c ---- */

/* Re-encodes audio in sync with the video. */
typedef struct cm_recoder cm_recoder;

/* Close the recoder even on failure. */
cm_code cm_recoder_open(
    cm_recoder **recoder, const AVStream *track, double origin, cm_error *error);

/* Sends a packet, or NULL to flush; damage is counted. */
void cm_recoder_send(cm_recoder *recoder, const AVPacket *packet);

/* Ensures that decoded audio is available. CM_END: another packet is needed. */
cm_code cm_recoder_hold(cm_recoder *recoder, cm_error *error);

/* Opens the encoder for the format of the available audio. */
cm_code cm_recoder_start(
    cm_recoder *recoder, const char *encoder, cm_output_format *output, cm_error *error);

int cm_recoder_describe(const cm_recoder *recoder, AVStream *stream);

/* Encodes audio before `end`, and silence for gaps before the end of the video. CM_END: another
 * packet is needed. */
cm_code cm_recoder_pass(
    cm_recoder *recoder, cm_outlet *outlet, double end, double pictures, cm_error *error);

/* Flushes the encoder and writes the rest. */
cm_code cm_recoder_finish(cm_recoder *recoder, cm_outlet *outlet, cm_error *error);

int64_t cm_recoder_damaged(const cm_recoder *recoder);

void cm_recoder_close(cm_recoder **recoder);

/* ---- encoder.c ---- */

/* The times that frames of an output can have. */
typedef struct cm_timing {
    AVRational rate;
    AVRational tick;   /* one frame, or a part of it if their rate varies */
    int64_t step;      /* ticks from frame to frame */
    int64_t least_gap; /* ticks between two frames; one that comes earlier is left out */
    bool coarse;       /* a tick is no part of the time between two frames */
    bool drops;        /* a frame that has no tick of its own is left out */
} cm_timing;

cm_timing cm_timing_for(const cm_movie_options *options);

/* Whether a codec has no chroma planes of half the size. */
bool cm_codec_is_rgb(cm_codec codec);

/* Opens the best encoder for a codec. May make the tick coarser. The caller frees it, also after a
 * failure. */
cm_code cm_encoder_open(
    AVCodecContext **encoder, cm_timing *timing, const cm_movie_options *options,
    cm_error *error);

/* ---- palette.c ---- */

/* Reduces frames to 256 colors. */
typedef struct cm_palette cm_palette;

cm_code cm_palette_open(cm_palette **palette, int width, int height, cm_error *error);

/* Adds a frame in RGB32, keeping a reference. */
cm_code cm_palette_push(cm_palette *palette, const AVFrame *frame, cm_error *error);

/* The next frame with a palette, which the caller frees; CM_END: more frames are needed first, which is
 * never so if the `last` was added. */
cm_code cm_palette_pull(cm_palette *palette, bool last, AVFrame **frame, cm_error *error);

void cm_palette_free(cm_palette **palette);

/* ---- picture.c ---- */

/* How to display a stored image: transpose first, then mirror. */
typedef struct cm_orientation {
    bool transposed, mirrored_x, mirrored_y;
} cm_orientation;

cm_orientation cm_orientation_of_matrix(const int32_t matrix[9]);
cm_orientation cm_orientation_of_degrees(double clockwise);
bool cm_orientation_is_upright(cm_orientation orientation);

/* Copies RGB24 of width x height (as stored) into packed rows, in upright orientation. */
void cm_copy_upright(
    uint8_t *target, const uint8_t *source, ptrdiff_t stride, int width, int height,
    cm_orientation orientation);

/* ---- properties.c ---- */

bool cm_is_positive(AVRational value);

/* How to display a stream's frames, of which this is the first. */
cm_orientation cm_find_orientation(const AVStream *stream, const AVFrame *first);

/* A stream's frame rate. `coded` is the one in the video's own headers. */
AVRational cm_find_frame_rate(const AVStream *stream, AVRational coded);

/* Whether frames are not at multiples of that rate, as far as the headers say. */
bool cm_rate_varies(const AVStream *stream, AVRational coded);

/* ---- picture.c, continued ---- */

typedef struct cm_picture_key {
    int width, height, format, space, full_range, chroma;
} cm_picture_key;

/* A conversion that is reused until the properties of the source change. */
typedef struct cm_converter {
    struct SwsContext *scaler;
    AVFrame *source, *target;
    cm_picture_key key;
    bool still;   /* exact colors, as in the image format's own library */
    bool opaque;  /* alpha is dropped */
    bool keeps_alpha; /* the result is RGBA */
    bool blended; /* transparent parts became black */
} cm_converter;

/* Converts any decoded frame to RGB24, or RGBA, of width x height. `*result` is borrowed, and is the frame
 * itself if it is already RGB24. */
cm_code cm_to_rgb(
    cm_converter *converter, AVFrame *frame, int width, int height, const AVFrame **result,
    cm_error *error);

/* Converts packed RGB24 to a frame of `format`. `space` is swscale's (SWS_CS_...). `*result` is
 * borrowed; it may be kept by reference, because buffers in use are replaced instead of
 * overwritten. */
cm_code cm_from_rgb(
    cm_converter *converter, const uint8_t *rgb, int width, int height, enum AVPixelFormat format,
    int space, enum AVChromaLocation chroma, AVFrame **result, cm_error *error);

void cm_converter_free(cm_converter *converter);

/* ---- fit.c ---- */

/* Converts frames to RGB24 of one size. */
typedef struct cm_fitter {
    cm_converter converter;
    AVFrame *canvas;   /* for frames of another shape */
    cm_fit fit;
    int width, height; /* of the first frame */
    double aspect;     /* of its pixels */
    bool was_used;     /* frames had another size */
} cm_fitter;

/* `*picture` is borrowed. */
cm_code cm_fitter_convert(
    cm_fitter *fitter, AVFrame *frame, const AVFrame **picture, cm_error *error);

void cm_fitter_free(cm_fitter *fitter);

/* ---- still.c ---- */

/* Whether cm_still_to_rgb supports a pixel format. */
bool cm_still_supports(enum AVPixelFormat format);

/* Converts 8-bit Y'CbCr to RGB24 of the same size. */
cm_code cm_still_to_rgb(const AVFrame *frame, bool full_range, AVFrame *target, cm_error *error);

/* Allocates a writable frame of a size and format, with rows padded for swscale's wide stores. */
cm_code cm_make_picture(
    AVFrame **frame, int width, int height, enum AVPixelFormat format, cm_error *error);

#endif
