/* Writes RGB24 frames and the input's audio into a container: conversion, encoder, muxer. */
#include <libavutil/avstring.h>
#include <libavutil/opt.h>
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
    cm_codec codec;
    int width, height;
    AVRational tick; /* one frame, or a part of it if their rate varies */
    AVRational rate;
    int64_t step;    /* ticks from frame to frame */
    int64_t frames, last;
    bool header_written;
    char *path;
    char container[16];

    cm_sound *tracks[most_tracks]; /* audio and subtitles */
    int track_count;
    const char *sound_encoder; /* of the track added last; NULL: copied */
};

/* Frames whose rate varies lie on multiples of this. MPEG-4 has 16 bits for it. */
static const AVRational fine_tick = {1, 60000};
/* In seconds. A longer gap between two frames is taken for damage. */
static const double longest_gap = 3600;

/* ---- Encoder ---- */

static const char *const h264_encoders[] = {"libx264", "libopenh264", "mpeg4", NULL};
static const char *const lossless_encoders[] = {"libx264rgb", NULL};
static const char *const ffv1_encoders[] = {"ffv1", NULL};
static const char *const mpeg4_encoders[] = {"mpeg4", NULL};

static const char *const *encoders_of(cm_codec codec) {
    switch (codec) {
    case CM_CODEC_H264_LOSSLESS: return lossless_encoders;
    case CM_CODEC_FFV1: return ffv1_encoders;
    case CM_CODEC_MPEG4: return mpeg4_encoders;
    default: return h264_encoders;
    }
}

static bool is_rgb(cm_codec codec) {
    return codec == CM_CODEC_H264_LOSSLESS || codec == CM_CODEC_FFV1;
}

static enum AVPixelFormat pixel_format(cm_codec codec) {
    switch (codec) {
    case CM_CODEC_H264_LOSSLESS: return AV_PIX_FMT_RGB24;
    case CM_CODEC_FFV1: return AV_PIX_FMT_0RGB32;
    default: return AV_PIX_FMT_YUV420P;
    }
}

static void set_quality(cm_movie *movie, const char *name, const cm_movie_options *options) {
    AVCodecContext *encoder = movie->encoder;
    char number[32];
    if (strncmp(name, "libx264", 7) == 0) {
        const char *preset = options->preset == NULL ? "veryfast" : options->preset;
        av_opt_set(encoder->priv_data, "preset", preset, 0);
        if (movie->codec == CM_CODEC_H264_LOSSLESS) {
            av_opt_set(encoder->priv_data, "qp", "0", 0);
        } else {
            snprintf(number, sizeof number, "%g", options->crf);
            av_opt_set(encoder->priv_data, "crf", number, 0);
        }
    } else if (strcmp(name, "mpeg4") == 0) {
        encoder->flags |= AV_CODEC_FLAG_QSCALE;
        encoder->global_quality = 3 * FF_QP2LAMBDA;
    } else if (strcmp(name, "ffv1") == 0) {
        encoder->level = 3;
    } else {
        /* Encoders that support only a bit rate: 0.2 bits per pixel, ample for plain footage. */
        encoder->bit_rate = (int64_t)(0.2 * movie->width * movie->height * av_q2d(movie->rate));
    }
}

static cm_code open_encoder(cm_movie *movie, const cm_movie_options *options, cm_error *error) {
    const AVCodec *codec = NULL;
    for (const char *const *name = encoders_of(movie->codec); *name != NULL && codec == NULL;
         name++) {
        codec = avcodec_find_encoder_by_name(*name);
    }
    if (codec == NULL) {
        const char *wanted = encoders_of(movie->codec)[0];
        return cm_fail(error, CM_UNSUPPORTED, "this build of FFmpeg has no encoder '%s'", wanted);
    }
    movie->encoder = avcodec_alloc_context3(codec);
    movie->packet = av_packet_alloc();
    if (movie->encoder == NULL || movie->packet == NULL) {
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for an encoder");
    }
    /* MPEG-4 stores the time base in 16 bits. */
    if (codec->id == AV_CODEC_ID_MPEG4)
        av_reduce(&movie->tick.num, &movie->tick.den, movie->tick.num, movie->tick.den, 65535);
    AVCodecContext *encoder = movie->encoder;
    encoder->width = movie->width;
    encoder->height = movie->height;
    encoder->pix_fmt = pixel_format(movie->codec);
    encoder->time_base = movie->tick;
    encoder->framerate = movie->rate;
    encoder->sample_aspect_ratio = (AVRational){1, 1};
    bool small = (int64_t)movie->width * movie->height <= 640 * 480;
    encoder->thread_count = options->threads > 0 ? options->threads : small ? 1 : 2;
    encoder->color_primaries = AVCOL_PRI_BT709;
    encoder->color_trc = AVCOL_TRC_BT709;
    encoder->colorspace = is_rgb(movie->codec) ? AVCOL_SPC_RGB : AVCOL_SPC_BT709;
    encoder->color_range = is_rgb(movie->codec) ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    if (!is_rgb(movie->codec)) encoder->chroma_sample_location = AVCHROMA_LOC_LEFT;
    encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    set_quality(movie, codec->name, options);
    int status = avcodec_open2(encoder, codec, NULL);
    if (status < 0)
        return cm_fail_av(
            error, CM_ENCODER, status, "cannot open the encoder '%s'", codec->name);
    return CM_OK;
}

/* ---- Muxer ---- */

static void close_muxer(cm_movie *movie) {
    if (movie->muxer == NULL) return;
    if (movie->muxer->pb != NULL) avio_closep(&movie->muxer->pb);
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
    movie->video->time_base = movie->tick;
    movie->video->avg_frame_rate = movie->rate;
    movie->video->sample_aspect_ratio = (AVRational){1, 1};
    status = avcodec_parameters_from_context(movie->video->codecpar, movie->encoder);
    if (status < 0) return cm_fail_av(error, CM_ENCODER, status, "cannot describe the stream");
    status = avio_open(&movie->muxer->pb, movie->path, AVIO_FLAG_WRITE);
    if (status < 0) return cm_fail_output(error, status, true, "cannot be created");
    return CM_OK;
}

static int write_header(AVFormatContext *muxer, const char *container) {
    AVDictionary *options = NULL;
    /* Move the index to the front, so that playback can start before a download ends. */
    bool moves = strcmp(container, "mp4") == 0 || strcmp(container, "mov") == 0;
    if (moves) av_dict_set(&options, "movflags", "+faststart", 0);
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
        video->time_base = movie->tick;
        takes = write_header(trial, movie->container) >= 0;
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
    static const char *const lossy[] = {"aac", NULL};
    return strcmp(movie->container, "matroska") == 0 ? lossless : lossy;
}

static cm_code choose_codec(cm_movie *movie, cm_sound *added, cm_error *error) {
    cm_output_format *output = movie->muxer->oformat;
    const char *codec = cm_sound_codec(added);
    const AVCodecDescriptor *known = avcodec_descriptor_get_by_name(codec);
    bool listed = known != NULL
        && avformat_query_codec(output, known->id, FF_COMPLIANCE_NORMAL) == 1;
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
    return movie->frames == 0 ? 0 : (double)(movie->last + movie->step) * av_q2d(movie->tick);
}

/* ---- Frames ---- */

static cm_code begin(cm_movie *movie, cm_error *error) {
    if (movie->header_written) return CM_OK;
    int status = write_header(movie->muxer, movie->container);
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
        if (movie->packet->duration <= 0) movie->packet->duration = movie->step;
        av_packet_rescale_ts(movie->packet, movie->tick, movie->video->time_base);
        status = av_interleaved_write_frame(movie->muxer, movie->packet);
        if (status >= 0 && movie->muxer->pb->error < 0) status = movie->muxer->pb->error;
        if (status < 0) return cm_fail_output(error, status, false, "cannot be written");
    }
}

/* The tick of a frame that is shown at a time; negative: one step after the frame before. */
static int64_t tick_at(const cm_movie *movie, double seconds) {
    if (movie->frames == 0) return 0;
    int64_t next = movie->last + movie->step;
    if (seconds < 0) return next;
    double ticks = round(seconds / av_q2d(movie->tick));
    /* Damaged timestamps may be anything. */
    double latest = (double)next + longest_gap / av_q2d(movie->tick);
    if (!(ticks > (double)movie->last)) return movie->last + 1;
    return ticks > latest ? next : (int64_t)ticks;
}

cm_code cm_movie_append(
    cm_movie *movie, const uint8_t *rgb, double seconds, cm_error *error) {
    cm_log_begin();
    if (movie->muxer == NULL) return cm_fail(error, CM_INVALID_ARGUMENT, "is already finished");
    cm_code code = begin(movie, error);
    AVFrame *frame = NULL;
    if (code == CM_OK) {
        code = cm_from_rgb(
            &movie->converter, rgb, movie->width, movie->height, movie->encoder->pix_fmt,
            SWS_CS_ITU709, AVCHROMA_LOC_LEFT, &frame, error);
    }
    if (code != CM_OK) return code;
    frame->pts = tick_at(movie, seconds);
    frame->colorspace = movie->encoder->colorspace;
    frame->color_range = movie->encoder->color_range;
    int status = avcodec_send_frame(movie->encoder, frame);
    if (status < 0) return cm_fail_av(error, CM_ENCODER, status, "cannot encode a frame");
    movie->last = frame->pts;
    movie->frames++;
    code = write_packets(movie, error);
    for (int i = 0; i < movie->track_count && code == CM_OK; i++)
        code = cm_sound_write(movie->tracks[i], end_of_pictures(movie), error);
    return code;
}

static cm_code finish(cm_movie *movie, bool whole_sound, cm_error *error) {
    if (movie->frames == 0) return cm_fail(error, CM_EMPTY, "no frame was written");
    int status = avcodec_send_frame(movie->encoder, NULL);
    if (status < 0) return cm_fail_av(error, CM_ENCODER, status, "cannot finish the video");
    cm_code code = write_packets(movie, error);
    for (int i = 0; i < movie->track_count && code == CM_OK; i++)
        code = cm_sound_finish(movie->tracks[i], end_of_pictures(movie), whole_sound, error);
    if (code != CM_OK) return code;
    status = av_write_trailer(movie->muxer);
    if (status >= 0) {
        avio_flush(movie->muxer->pb);
        status = movie->muxer->pb->error;
    }
    int closed = avio_closep(&movie->muxer->pb);
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

static cm_code check_movie(const cm_movie_options *options, cm_error *error) {
    int width = options->width, height = options->height;
    if (width < 1 || height < 1 || width > 16384 || height > 16384) {
        return cm_fail(error, CM_UNSUPPORTED, "a size of %dx%d cannot be encoded", width, height);
    }
    if (!is_rgb(options->codec) && (width % 2 != 0 || height % 2 != 0)) {
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
    av_reduce(
        &movie->rate.num, &movie->rate.den, options->frame_rate.numerator,
        options->frame_rate.denominator, INT32_MAX);
    movie->tick = options->varies ? fine_tick : av_inv_q(movie->rate);
    movie->step = options->varies ? llround(1 / av_q2d(movie->rate) / av_q2d(fine_tick)) : 1;
    if (movie->step < 1) movie->step = 1;
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
    avcodec_free_context(&movie->encoder);
    av_packet_free(&movie->packet);
    av_free(movie->path);
    av_free(movie);
}
