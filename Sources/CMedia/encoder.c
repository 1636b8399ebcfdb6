/* The video encoders of a container, their settings, and the times that frames can have. */
#include <libavutil/opt.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "internal.h"

/* Frames whose rate varies lie on multiples of this. MPEG-4 has 16 bits for it. */
static const AVRational fine_tick = {1, 60000};
/* GIF has hundredths of a second. Players take less than two of them for a mistake, and show such
 * frames for ten. */
static const AVRational gif_tick = {1, 100}, fastest_gif_tick = {1, 50};
static const AVRational webp_tick = {1, 1000};

static const struct {
    const char *encoders[4]; /* in order of preference */
    enum AVPixelFormat format;
    bool rgb;
} kinds[] = {
    [CM_CODEC_H264] = {{"libx264", "libopenh264", "mpeg4", NULL}, AV_PIX_FMT_YUV420P, false},
    [CM_CODEC_H264_LOSSLESS] = {{"libx264rgb", NULL}, AV_PIX_FMT_RGB24, true},
    [CM_CODEC_FFV1] = {{"ffv1", NULL}, AV_PIX_FMT_0RGB32, true},
    [CM_CODEC_MPEG4] = {{"mpeg4", NULL}, AV_PIX_FMT_YUV420P, false},
    [CM_CODEC_VP9] = {{"libvpx-vp9", "libvpx", NULL}, AV_PIX_FMT_YUV420P, false},
    [CM_CODEC_GIF] = {{"gif", NULL}, AV_PIX_FMT_PAL8, true},
    [CM_CODEC_APNG] = {{"apng", NULL}, AV_PIX_FMT_RGB24, true},
    [CM_CODEC_WEBP] = {{"libwebp_anim", NULL}, AV_PIX_FMT_RGB32, true},
};

bool cm_codec_is_rgb(cm_codec codec) { return kinds[codec].rgb; }

cm_timing cm_timing_for(const cm_movie_options *options) {
    cm_timing timing = {.least_gap = 1};
    av_reduce(
        &timing.rate.num, &timing.rate.den, options->frame_rate.numerator,
        options->frame_rate.denominator, INT32_MAX);
    timing.tick = options->varies ? fine_tick : av_inv_q(timing.rate);
    timing.coarse = options->codec == CM_CODEC_GIF || options->codec == CM_CODEC_WEBP;
    if (options->codec == CM_CODEC_WEBP) timing.tick = webp_tick;
    if (options->codec == CM_CODEC_GIF) {
        bool fast = av_q2d(timing.rate) > 50;
        timing.tick = fast ? fastest_gif_tick : gif_tick;
        timing.least_gap = fast ? 1 : 2;
        timing.drops = true;
    }
    timing.step = llround(1 / av_q2d(timing.rate) / av_q2d(timing.tick));
    if (timing.step < timing.least_gap) timing.step = timing.least_gap;
    return timing;
}

/* Quality as of H.264's CRF on the scale of VP9, 0 to 63. */
static double vp9_crf(double crf) { return fmin(crf * 4 / 3, 63); }

static void set_bit_rate(AVCodecContext *encoder, double bits_per_pixel) {
    double pixels = (double)encoder->width * encoder->height * av_q2d(encoder->framerate);
    encoder->bit_rate = (int64_t)(bits_per_pixel * pixels);
}

static void set_quality(
    AVCodecContext *encoder, const char *name, const cm_movie_options *options) {
    void *own = encoder->priv_data;
    if (strncmp(name, "libx264", 7) == 0) {
        const char *preset = options->preset == NULL ? "veryfast" : options->preset;
        av_opt_set(own, "preset", preset, 0);
        if (options->codec == CM_CODEC_H264_LOSSLESS) av_opt_set(own, "qp", "0", 0);
        else av_opt_set_double(own, "crf", options->crf, 0);
    } else if (strcmp(name, "mpeg4") == 0) {
        encoder->flags |= AV_CODEC_FLAG_QSCALE;
        encoder->global_quality = 3 * FF_QP2LAMBDA;
    } else if (strcmp(name, "ffv1") == 0) {
        encoder->level = 3;
    } else if (strncmp(name, "libvpx", 6) == 0) {
        bool newer = strcmp(name, "libvpx-vp9") == 0;
        av_opt_set(own, "deadline", "good", 0);
        av_opt_set(own, "cpu-used", "5", 0);
        av_opt_set_double(own, "crf", newer ? vp9_crf(options->crf) : options->crf / 2 + 4, 0);
        if (newer) av_opt_set(own, "row-mt", "1", 0);
        /* VP8 takes the rate for a limit. */
        else set_bit_rate(encoder, 0.5);
    } else if (strcmp(name, "libwebp_anim") == 0) {
        av_opt_set(own, "quality", "90", 0);
    } else if (strcmp(name, "apng") == 0) {
        av_opt_set(own, "pred", "up", 0);
    } else if (strcmp(name, "gif") != 0) {
        /* Encoders that support only a bit rate: ample for plain footage. */
        set_bit_rate(encoder, 0.2);
    }
}

cm_code cm_encoder_open(
    AVCodecContext **result, cm_timing *timing, const cm_movie_options *options,
    cm_error *error) {
    const AVCodec *codec = NULL;
    const char *const *name = kinds[options->codec].encoders;
    for (; *name != NULL && codec == NULL; name++) codec = avcodec_find_encoder_by_name(*name);
    if (codec == NULL) {
        const char *wanted = kinds[options->codec].encoders[0];
        return cm_fail(error, CM_UNSUPPORTED, "this build of FFmpeg has no encoder '%s'", wanted);
    }
    AVCodecContext *encoder = *result = avcodec_alloc_context3(codec);
    if (encoder == NULL)
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for an encoder");
    /* MPEG-4 stores the time base in 16 bits. */
    if (codec->id == AV_CODEC_ID_MPEG4)
        av_reduce(&timing->tick.num, &timing->tick.den, timing->tick.num, timing->tick.den, 65535);
    bool rgb = kinds[options->codec].rgb;
    encoder->width = options->width;
    encoder->height = options->height;
    encoder->pix_fmt = kinds[options->codec].format;
    encoder->time_base = timing->tick;
    encoder->framerate = timing->rate;
    encoder->sample_aspect_ratio = (AVRational){1, 1};
    bool small = (int64_t)options->width * options->height <= 640 * 480;
    encoder->thread_count = options->threads > 0 ? options->threads : small ? 1 : 2;
    encoder->color_primaries = AVCOL_PRI_BT709;
    encoder->color_trc = AVCOL_TRC_BT709;
    encoder->colorspace = rgb ? AVCOL_SPC_RGB : AVCOL_SPC_BT709;
    encoder->color_range = rgb ? AVCOL_RANGE_JPEG : AVCOL_RANGE_MPEG;
    if (!rgb) encoder->chroma_sample_location = AVCHROMA_LOC_LEFT;
    encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    set_quality(encoder, codec->name, options);
    int status = avcodec_open2(encoder, codec, NULL);
    if (status < 0)
        return cm_fail_av(
            error, CM_ENCODER, status, "cannot open the encoder '%s'", codec->name);
    return CM_OK;
}
