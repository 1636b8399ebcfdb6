/* Writes RGB24 frames and the input's audio into a container: conversion and muxer. */
#include <CSwanSystem.h>
#include <libavutil/avstring.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

enum { most_tracks = 64 };

struct cm_movie {
    AVFormatContext *muxer;
    AVCodecContext *encoder;
    AVStream *video;
    AVPacket *packet;
    cm_converter converter;
    cm_palette *palette; /* GIF; otherwise NULL */
    cm_codec codec;
    int width, height;
    int descriptor; /* of a pipe or a device; -1: a file */
    cm_timing timing;
    int64_t frames, last;
    double seconds; /* when the last frame is shown */
    int64_t dropped;
    bool header_written;
    char *path;
    char container[16];

    cm_sound *tracks[most_tracks]; /* audio and subtitles */
    int track_count;
    const char *sound_encoder; /* of the track added last; NULL: copied */
};

/* In seconds. A longer gap between two frames is taken for damage. */
static const double longest_gap = 3600;

/* ---- Muxer ---- */

static int write_to_descriptor(void *opaque, uint8_t *bytes, int size) {
    const cm_movie *movie = opaque;
    int number = cs_write_all(movie->descriptor, bytes, (size_t)size, NULL);
    return number == 0 ? size : AVERROR(number);
}

static int open_output(cm_movie *movie) {
    if (movie->descriptor < 0) return avio_open(&movie->muxer->pb, movie->path, AVIO_FLAG_WRITE);
    enum { size = 1 << 16 };
    unsigned char *buffer = av_malloc(size);
    if (buffer != NULL)
        movie->muxer->pb =
            avio_alloc_context(buffer, size, 1, movie, NULL, write_to_descriptor, NULL);
    if (movie->muxer->pb == NULL) {
        av_free(buffer);
        return AVERROR(ENOMEM);
    }
    /* Whoever reads a pipe gets each frame when it is done. */
    movie->muxer->flags |= AVFMT_FLAG_CUSTOM_IO | AVFMT_FLAG_FLUSH_PACKETS;
    return 0;
}

static int close_output(cm_movie *movie) {
    if (movie->descriptor < 0) return avio_closep(&movie->muxer->pb);
    avio_flush(movie->muxer->pb);
    int status = movie->muxer->pb->error;
    av_freep(&movie->muxer->pb->buffer);
    avio_context_free(&movie->muxer->pb);
    return status;
}

static void close_muxer(cm_movie *movie) {
    if (movie->muxer == NULL) return;
    if (movie->muxer->pb != NULL) close_output(movie);
    avformat_free_context(movie->muxer);
    movie->muxer = NULL;
    movie->video = NULL;
}

static cm_code open_muxer(cm_movie *movie, cm_error *error) {
    int status = avformat_alloc_output_context2(&movie->muxer, NULL, movie->container, movie->path);
    if (status < 0) {
        return cm_fail_av(
            error, CM_UNSUPPORTED, status, "this build of FFmpeg cannot write '%s'",
            movie->container);
    }
    if (avformat_query_codec(movie->muxer->oformat, movie->encoder->codec_id, FF_COMPLIANCE_NORMAL)
        == 0) {
        const char *name = avcodec_get_name(movie->encoder->codec_id);
        return cm_fail(
            error, CM_UNSUPPORTED, "the container '%s' cannot hold '%s'", movie->container, name);
    }
    /* Without this, Matroska files contain random numbers, and equal streams would differ. */
    movie->muxer->flags |= AVFMT_FLAG_BITEXACT;
    movie->video = avformat_new_stream(movie->muxer, NULL);
    if (movie->video == NULL) return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a stream");
    movie->video->time_base = movie->timing.tick;
    movie->video->avg_frame_rate = movie->timing.rate;
    movie->video->sample_aspect_ratio = (AVRational){1, 1};
    status = avcodec_parameters_from_context(movie->video->codecpar, movie->encoder);
    if (status < 0) return cm_fail_av(error, CM_ENCODER, status, "cannot describe the stream");
    status = open_output(movie);
    if (status < 0) return cm_fail_output(error, status, true, "cannot be created");
    return CM_OK;
}

static int write_header(AVFormatContext *muxer, const char *container, bool seekable) {
    AVDictionary *options = NULL;
    /* Move the index to the front, so that playback can start before a download ends. A pipe gets
     * pieces with an index each. */
    bool moves = strcmp(container, "mp4") == 0 || strcmp(container, "mov") == 0;
    const char *flags =
        seekable ? "+faststart" : "+frag_keyframe+empty_moov+default_base_moof+delay_moov";
    if (moves) av_dict_set(&options, "movflags", flags, 0);
    int status = avformat_write_header(muxer, &options);
    av_dict_free(&options);
    return status;
}

/* ---- Sound ---- */

/* Whether the container accepts the video and audio, found by writing a header to nowhere: a
 * muxer may list a codec and still reject it. */
static bool takes(const cm_movie *movie, const cm_sound *added) {
    AVFormatContext *trial = NULL;
    if (avformat_alloc_output_context2(&trial, movie->muxer->oformat, NULL, NULL) < 0) return false;
    AVStream *video = avformat_new_stream(trial, NULL), *sound = avformat_new_stream(trial, NULL);
    bool takes = video != NULL && sound != NULL
        && avcodec_parameters_copy(video->codecpar, movie->video->codecpar) >= 0
        && cm_sound_describe(added, sound) >= 0 && avio_open_dyn_buf(&trial->pb) >= 0;
    if (takes) {
        video->time_base = movie->timing.tick;
        takes = write_header(trial, movie->container, true) >= 0;
    }
    if (trial->pb != NULL) {
        uint8_t *bytes = NULL;
        avio_close_dyn_buf(trial->pb, &bytes);
        av_free(bytes);
        trial->pb = NULL;
    }
    avformat_free_context(trial);
    return takes;
}

/* The encoders for audio that cannot be copied. Matroska files get lossless audio. */
static const char *const *sound_encoders(const cm_movie *movie) {
    static const char *const lossless[] = {"flac", "libopus", "aac", NULL};
    static const char *const webm[] = {"libopus", "libvorbis", NULL};
    static const char *const avi[] = {"libmp3lame", "pcm_s16le", NULL};
    static const char *const lossy[] = {"aac", NULL};
    if (strcmp(movie->container, "matroska") == 0) return lossless;
    if (strcmp(movie->container, "webm") == 0) return webm;
    return strcmp(movie->container, "avi") == 0 ? avi : lossy;
}

/* Whether a container may hold a codec, as far as its muxer says. */
static bool lists(cm_output_format *output, const AVCodecDescriptor *codec) {
    if (codec == NULL) return false;
    int answer = avformat_query_codec(output, codec->id, FF_COMPLIANCE_NORMAL);
    if (answer >= 0 || strcmp(output->name, "mpegts") != 0) return answer == 1;
    /* This muxer does not say. */
    static const char transport[] = "aac,ac3,eac3,mp2,mp3,opus,dts";
    return av_match_list(codec->name, transport, ',') != 0;
}

static cm_code choose_codec(cm_movie *movie, cm_sound *added, cm_error *error) {
    cm_output_format *output = movie->muxer->oformat;
    const char *codec = cm_sound_codec(added);
    if (output->audio_codec == AV_CODEC_ID_NONE)
        return cm_fail(error, CM_UNSUPPORTED, "'%s' holds pictures alone", output->name);
    bool listed = lists(output, avcodec_descriptor_get_by_name(codec));
    if (listed && takes(movie, added)) return CM_OK;
    cm_code code = CM_UNSUPPORTED;
    if (cm_sound_is_audio(added)) {
        for (const char *const *name = sound_encoders(movie); *name != NULL; name++) {
            code = cm_sound_recode(added, *name, output, error);
            movie->sound_encoder = *name;
            if (code == CM_OK && takes(movie, added)) return CM_OK;
            if (code == CM_DECODER || code == CM_OUT_OF_MEMORY) return code;
        }
        if (code != CM_OK) return code;
    }
    return cm_fail(error, CM_UNSUPPORTED, "'%s' cannot hold '%s'", output->name, codec);
}

static cm_code attach(cm_movie *movie, cm_sound *added, cm_error *error) {
    AVStream *stream = avformat_new_stream(movie->muxer, NULL);
    int status = AVERROR(ENOMEM);
    if (stream != NULL) status = cm_sound_describe(added, stream);
    if (status < 0)
        return cm_fail_av(error, CM_OUT_OF_MEMORY, status, "cannot describe a track");
    cm_sound_attach(added, movie->muxer, stream);
    movie->tracks[movie->track_count++] = added;
    return CM_OK;
}

cm_code cm_movie_carry(cm_movie *movie, const char *path, int index, cm_error *error) {
    if (movie->header_written || movie->muxer == NULL || movie->track_count == most_tracks) {
        return cm_fail(
            error, CM_INVALID_ARGUMENT, "at most %d tracks can be added, before the first frame",
            most_tracks);
    }
    movie->sound_encoder = NULL;
    cm_sound *added = NULL;
    cm_code code = cm_sound_open(&added, path, index, error);
    if (code == CM_OK) code = choose_codec(movie, added, error);
    if (code == CM_OK) code = attach(movie, added, error);
    if (code != CM_OK) cm_sound_close(&added);
    return code;
}

const char *cm_movie_audio_codec(const cm_movie *movie) {
    return movie->track_count == 0 ? NULL : cm_sound_codec(movie->tracks[movie->track_count - 1]);
}

const char *cm_movie_audio_encoder(const cm_movie *movie) { return movie->sound_encoder; }

bool cm_movie_has_audio(const cm_movie *movie) {
    for (int i = 0; i < movie->track_count; i++) {
        if (cm_sound_is_audio(movie->tracks[i]) && cm_sound_was_written(movie->tracks[i]))
            return true;
    }
    return false;
}

int64_t cm_movie_damaged_audio(const cm_movie *movie) {
    int64_t damaged = 0;
    for (int i = 0; i < movie->track_count; i++) damaged += cm_sound_damaged(movie->tracks[i]);
    return damaged;
}

/* The end of the frames written so far, in seconds. */
static double end_of_pictures(const cm_movie *movie) {
    int64_t end = movie->last + movie->timing.step;
    return movie->frames == 0 ? 0 : (double)end * av_q2d(movie->timing.tick);
}

/* ---- Frames ---- */

static cm_code begin(cm_movie *movie, cm_error *error) {
    if (movie->header_written) return CM_OK;
    int status = write_header(movie->muxer, movie->container, movie->descriptor < 0);
    if (status < 0) return cm_fail_output(error, status, false, "cannot write the header");
    movie->header_written = true;
    return CM_OK;
}

static cm_code write_packets(cm_movie *movie, cm_error *error) {
    for (;;) {
        int status = avcodec_receive_packet(movie->encoder, movie->packet);
        if (status == AVERROR(EAGAIN) || status == AVERROR_EOF) return CM_OK;
        if (status < 0) return cm_fail_av(error, CM_ENCODER, status, "cannot encode a frame");
        movie->packet->stream_index = movie->video->index;
        if (movie->packet->duration <= 0) movie->packet->duration = movie->timing.step;
        av_packet_rescale_ts(movie->packet, movie->timing.tick, movie->video->time_base);
        status = av_interleaved_write_frame(movie->muxer, movie->packet);
        if (status >= 0 && movie->muxer->pb->error < 0) status = movie->muxer->pb->error;
        if (status < 0) return cm_fail_output(error, status, false, "cannot be written");
    }
}

/* The tick of a frame that is shown at a time; negative: one step after the frame before. */
static int64_t tick_at(const cm_movie *movie, double seconds) {
    const cm_timing *timing = &movie->timing;
    if (movie->frames == 0) return 0;
    int64_t next = movie->last + timing->step;
    if (seconds < 0 && !timing->coarse) return next;
    double tick = av_q2d(timing->tick);
    double ticks = round(seconds / tick);
    if (seconds < 0) ticks = round((movie->seconds + 1 / av_q2d(timing->rate)) / tick);
    /* Damaged timestamps may be anything. */
    double latest = (double)next + longest_gap / tick;
    if (!(ticks > (double)movie->last)) return movie->last + (timing->drops ? 0 : 1);
    return ticks > latest ? next : (int64_t)ticks;
}

/* Encodes a frame whose time is set. */
static cm_code encode(cm_movie *movie, AVFrame *frame, cm_error *error) {
    frame->colorspace = movie->encoder->colorspace;
    frame->color_range = movie->encoder->color_range;
    int status = avcodec_send_frame(movie->encoder, frame);
    if (status < 0) return cm_fail_av(error, CM_ENCODER, status, "cannot encode a frame");
    return write_packets(movie, error);
}

/* Encodes the frames whose palette is known; `last`: all of them. */
static cm_code encode_paletted(cm_movie *movie, bool last, cm_error *error) {
    for (;;) {
        AVFrame *frame = NULL;
        cm_code code = cm_palette_pull(movie->palette, last, &frame, error);
        if (code == CM_END) return CM_OK;
        if (code == CM_OK) code = encode(movie, frame, error);
        av_frame_free(&frame);
        if (code != CM_OK) return code;
    }
}

static cm_code add_frame(cm_movie *movie, const uint8_t *rgb, int64_t tick, cm_error *error) {
    bool paletted = movie->palette != NULL;
    AVFrame *frame = NULL;
    cm_code code = cm_from_rgb(
        &movie->converter, rgb, movie->width, movie->height,
        paletted ? AV_PIX_FMT_RGB32 : movie->encoder->pix_fmt, SWS_CS_ITU709, AVCHROMA_LOC_LEFT,
        &frame, error);
    if (code != CM_OK) return code;
    frame->pts = tick;
    if (!paletted) return encode(movie, frame, error);
    code = cm_palette_push(movie->palette, frame, error);
    return code == CM_OK ? encode_paletted(movie, false, error) : code;
}

cm_code cm_movie_append(
    cm_movie *movie, const uint8_t *rgb, double seconds, cm_error *error) {
    cm_log_begin();
    if (movie->muxer == NULL) return cm_fail(error, CM_INVALID_ARGUMENT, "is already finished");
    cm_code code = begin(movie, error);
    if (code != CM_OK) return code;
    int64_t tick = tick_at(movie, seconds);
    double time = movie->frames == 0 ? 0
        : seconds < 0                ? movie->seconds + 1 / av_q2d(movie->timing.rate)
                                     : seconds;
    if (movie->frames > 0 && tick < movie->last + movie->timing.least_gap) {
        movie->seconds = time;
        movie->dropped++;
        return CM_OK;
    }
    code = add_frame(movie, rgb, tick, error);
    if (code != CM_OK) return code;
    movie->seconds = time;
    movie->last = tick;
    movie->frames++;
    for (int i = 0; i < movie->track_count && code == CM_OK; i++)
        code = cm_sound_write(movie->tracks[i], end_of_pictures(movie), error);
    return code;
}

int64_t cm_movie_dropped(const cm_movie *movie) { return movie->dropped; }

static cm_code finish(cm_movie *movie, bool whole_sound, cm_error *error) {
    if (movie->frames == 0) return cm_fail(error, CM_EMPTY, "no frame was written");
    cm_code code = movie->palette == NULL ? CM_OK : encode_paletted(movie, true, error);
    if (code != CM_OK) return code;
    int status = avcodec_send_frame(movie->encoder, NULL);
    if (status < 0) return cm_fail_av(error, CM_ENCODER, status, "cannot finish the video");
    code = write_packets(movie, error);
    for (int i = 0; i < movie->track_count && code == CM_OK; i++)
        code = cm_sound_finish(movie->tracks[i], end_of_pictures(movie), whole_sound, error);
    if (code != CM_OK) return code;
    status = av_write_trailer(movie->muxer);
    if (status >= 0) {
        avio_flush(movie->muxer->pb);
        status = movie->muxer->pb->error;
    }
    int closed = close_output(movie);
    if (status >= 0) status = closed;
    if (status < 0) return cm_fail_output(error, status, false, "cannot be completed");
    return CM_OK;
}

cm_code cm_movie_finish(cm_movie *movie, bool whole_sound, cm_error *error) {
    cm_log_begin();
    if (movie->muxer == NULL) return cm_fail(error, CM_INVALID_ARGUMENT, "is already finished");
    cm_code code = finish(movie, whole_sound, error);
    close_muxer(movie);
    return code;
}

static cm_code open_encoder(cm_movie *movie, const cm_movie_options *options, cm_error *error) {
    movie->packet = av_packet_alloc();
    if (movie->packet == NULL)
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for an encoder");
    cm_code code = cm_encoder_open(&movie->encoder, &movie->timing, options, error);
    if (code == CM_OK && movie->codec == CM_CODEC_GIF)
        code = cm_palette_open(&movie->palette, movie->width, movie->height, error);
    return code;
}

static cm_code check_movie(const cm_movie_options *options, cm_error *error) {
    int width = options->width, height = options->height;
    if (width < 1 || height < 1 || width > 16384 || height > 16384) {
        return cm_fail(error, CM_UNSUPPORTED, "a size of %dx%d cannot be encoded", width, height);
    }
    if (!cm_codec_is_rgb(options->codec) && (width % 2 != 0 || height % 2 != 0)) {
        return cm_fail(
            error, CM_UNSUPPORTED,
            "a size of %dx%d has an odd side, which 4:2:0 video does not support; try %dx%d or %dx%d",
            width, height, width < 2 ? 2 : width / 2 * 2, height < 2 ? 2 : height / 2 * 2,
            (width + 1) / 2 * 2, (height + 1) / 2 * 2);
    }
    if (options->frame_rate.numerator <= 0 || options->frame_rate.denominator <= 0) {
        return cm_fail(
            error, CM_INVALID_ARGUMENT, "a frame rate of %d/%d is not positive",
            options->frame_rate.numerator, options->frame_rate.denominator);
    }
    return CM_OK;
}

cm_code cm_movie_open(
    cm_movie **result, const char *path, const char *container, const cm_movie_options *options,
    cm_error *error) {
    *result = NULL;
    cm_log_begin();
    cm_code code = check_movie(options, error);
    if (code != CM_OK) return code;
    cm_movie *movie = av_mallocz(sizeof *movie);
    if (movie == NULL) return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a writer");
    movie->codec = options->codec;
    movie->width = options->width;
    movie->height = options->height;
    movie->descriptor = options->descriptor;
    movie->timing = cm_timing_for(options);
    snprintf(movie->container, sizeof movie->container, "%s", container);
    /* With an explicit protocol, so that a colon in the name does not select another one. */
    movie->path = av_asprintf("file:%s", path);
    code = movie->path == NULL ? cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a path")
                               : open_encoder(movie, options, error);
    if (code == CM_OK) code = open_muxer(movie, error);
    if (code != CM_OK) {
        cm_movie_free(movie);
        return code;
    }
    *result = movie;
    return CM_OK;
}

const char *cm_movie_encoder(const cm_movie *movie) { return movie->encoder->codec->name; }

void cm_movie_free(cm_movie *movie) {
    if (movie == NULL) return;
    for (int i = 0; i < movie->track_count; i++) cm_sound_close(&movie->tracks[i]);
    close_muxer(movie);
    cm_converter_free(&movie->converter);
    cm_palette_free(&movie->palette);
    avcodec_free_context(&movie->encoder);
    av_packet_free(&movie->packet);
    av_free(movie->path);
    av_free(movie);
}
