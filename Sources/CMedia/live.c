/* H.264 in memory for live video: one access unit for each frame, and one frame for each access unit. */
#include <libavutil/opt.h>
#include <string.h>

#include "internal.h"

/* ---- Encoder ---- */

struct cm_live_encoder {
    AVCodecContext *codec;
    AVPacket *packet;
    cm_converter converter;
    int64_t frames;
};

static cm_code check(const cm_live_options *options, cm_error *error) {
    int width = options->width, height = options->height;
    if (width < 2 || height < 2 || width > 16384 || height > 16384 || width % 2 || height % 2) {
        return cm_fail(
            error, CM_UNSUPPORTED, "a size of %dx%d cannot be encoded; both sides must be even",
            width, height);
    }
    if (!(options->frame_rate >= 0.1 && options->frame_rate <= 1000)) {
        return cm_fail(
            error, CM_INVALID_ARGUMENT, "a frame rate of %g is not between 0.1 and 1000",
            options->frame_rate);
    }
    if (options->bit_rate < 1000 || options->bit_rate > 1000000000) {
        return cm_fail(
            error, CM_INVALID_ARGUMENT, "a bit rate of %lld bits per second is out of range",
            (long long)options->bit_rate);
    }
    return CM_OK;
}

/* `zerolatency` has no lookahead and no B-frames, and `baseline` makes decoders expect none: x264 also writes
 * the VUI restriction that no frame is reordered, so decoders need not wait for later ones. */
static cm_code open_codec(
    cm_live_encoder *encoder, const cm_live_options *options, cm_error *error) {
    const AVCodec *codec = avcodec_find_encoder_by_name("libx264");
    if (codec == NULL)
        return cm_fail(error, CM_UNSUPPORTED, "this build of FFmpeg has no encoder 'libx264'");
    AVCodecContext *context = avcodec_alloc_context3(codec);
    encoder->codec = context;
    encoder->packet = av_packet_alloc();
    if (context == NULL || encoder->packet == NULL)
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for an encoder");
    context->width = options->width;
    context->height = options->height;
    context->pix_fmt = AV_PIX_FMT_YUV420P;
    context->framerate = av_d2q(options->frame_rate, 1000);
    context->time_base = av_inv_q(context->framerate);
    context->bit_rate = options->bit_rate;
    context->rc_max_rate = options->bit_rate;
    context->rc_buffer_size = (int)(options->bit_rate / 2);
    context->gop_size = (int)(10 * options->frame_rate) + 1;
    context->thread_count = 1;
    context->color_primaries = AVCOL_PRI_BT709;
    context->color_trc = AVCOL_TRC_BT709;
    context->colorspace = AVCOL_SPC_BT709;
    context->color_range = AVCOL_RANGE_MPEG;
    context->chroma_sample_location = AVCHROMA_LOC_LEFT;
    av_opt_set(context->priv_data, "preset", "superfast", 0);
    av_opt_set(context->priv_data, "tune", "zerolatency", 0);
    av_opt_set(context->priv_data, "profile", "baseline", 0);
    av_opt_set(context->priv_data, "forced-idr", "1", 0);
    av_opt_set(context->priv_data, "x264-params", "scenecut=0:annexb=1:repeat-headers=1", 0);
    int status = avcodec_open2(context, codec, NULL);
    if (status < 0)
        return cm_fail_av(error, CM_ENCODER, status, "cannot open the encoder 'libx264'");
    return CM_OK;
}

cm_code cm_live_encoder_open(
    cm_live_encoder **result, const cm_live_options *options, cm_error *error) {
    *result = NULL;
    cm_log_begin();
    cm_code code = check(options, error);
    if (code != CM_OK) return code;
    cm_live_encoder *encoder = av_mallocz(sizeof *encoder);
    if (encoder == NULL) return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for an encoder");
    code = open_codec(encoder, options, error);
    if (code != CM_OK) {
        cm_live_encoder_free(encoder);
        return code;
    }
    *result = encoder;
    return CM_OK;
}

cm_code cm_live_encoder_encode(
    cm_live_encoder *encoder, const uint8_t *rgb, bool key, cm_access_unit *unit, cm_error *error) {
    cm_log_begin();
    AVCodecContext *codec = encoder->codec;
    AVFrame *frame = NULL;
    cm_code code = cm_from_rgb(
        &encoder->converter, rgb, codec->width, codec->height, codec->pix_fmt, SWS_CS_ITU709,
        AVCHROMA_LOC_LEFT, &frame, error);
    if (code != CM_OK) return code;
    frame->pts = encoder->frames++;
    frame->pict_type = key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    frame->colorspace = codec->colorspace;
    frame->color_range = codec->color_range;
    av_packet_unref(encoder->packet);
    int status = avcodec_send_frame(codec, frame);
    if (status >= 0) status = avcodec_receive_packet(codec, encoder->packet);
    if (status < 0) return cm_fail_av(error, CM_ENCODER, status, "cannot encode a frame");
    *unit = (cm_access_unit){
        .bytes = encoder->packet->data,
        .size = (size_t)encoder->packet->size,
        .key = (encoder->packet->flags & AV_PKT_FLAG_KEY) != 0,
    };
    return CM_OK;
}

void cm_live_encoder_free(cm_live_encoder *encoder) {
    if (encoder == NULL) return;
    cm_converter_free(&encoder->converter);
    avcodec_free_context(&encoder->codec);
    av_packet_free(&encoder->packet);
    av_free(encoder);
}

/* ---- Decoder ---- */

struct cm_live_decoder {
    AVCodecContext *codec;
    AVPacket *packet;
    AVFrame *frame, *next;
    cm_converter converter;
    int64_t max_pixels;
    bool has_key; /* the frames that later ones refer to are complete */
};

bool cm_is_key_frame(const uint8_t *bytes, size_t size) {
    enum { idr = 5 };
    for (size_t at = 0; at + 3 < size; at++) {
        if (bytes[at] != 0 || bytes[at + 1] != 0 || bytes[at + 2] != 1) continue;
        if ((bytes[at + 3] & 0x1F) == idr) return true;
    }
    return false;
}

static cm_code open_decoder(cm_live_decoder *decoder, cm_error *error) {
    const AVCodec *codec = avcodec_find_decoder(AV_CODEC_ID_H264);
    if (codec == NULL)
        return cm_fail(error, CM_UNSUPPORTED, "this build of FFmpeg has no decoder for H.264");
    decoder->codec = avcodec_alloc_context3(codec);
    decoder->packet = av_packet_alloc();
    decoder->frame = av_frame_alloc();
    decoder->next = av_frame_alloc();
    if (!decoder->codec || !decoder->packet || !decoder->frame || !decoder->next)
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a decoder");
    decoder->codec->max_pixels = decoder->max_pixels;
    /* Threads that decode several frames at once would delay them. */
    decoder->codec->thread_count = 1;
    decoder->codec->flags |= AV_CODEC_FLAG_LOW_DELAY;
    decoder->codec->err_recognition = AV_EF_CRCCHECK | AV_EF_BITSTREAM | AV_EF_BUFFER | AV_EF_EXPLODE;
    /* Damage is an error, after which a key frame comes; it is not painted over. */
    decoder->codec->error_concealment = 0;
    int status = avcodec_open2(decoder->codec, codec, NULL);
    if (status < 0) return cm_fail_av(error, CM_DECODER, status, "cannot open the H.264 decoder");
    return CM_OK;
}

cm_code cm_live_decoder_open(cm_live_decoder **result, int64_t max_pixels, cm_error *error) {
    *result = NULL;
    cm_log_begin();
    cm_live_decoder *decoder = av_mallocz(sizeof *decoder);
    if (decoder == NULL) return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a decoder");
    decoder->max_pixels = max_pixels;
    cm_code code = open_decoder(decoder, error);
    if (code != CM_OK) {
        cm_live_decoder_free(decoder);
        return code;
    }
    *result = decoder;
    return CM_OK;
}

/* Sends an access unit and keeps the newest frame that comes out. */
static int pass(cm_live_decoder *decoder, const uint8_t *bytes, size_t size) {
    /* FFmpeg reads a little beyond the end, so the bytes are copied into a padded packet. */
    int status = av_new_packet(decoder->packet, (int)size);
    if (status < 0) return status;
    memcpy(decoder->packet->data, bytes, size);
    status = avcodec_send_packet(decoder->codec, decoder->packet);
    av_packet_unref(decoder->packet);
    while (status >= 0) {
        status = avcodec_receive_frame(decoder->codec, decoder->next);
        if (status < 0) break;
        av_frame_unref(decoder->frame);
        av_frame_move_ref(decoder->frame, decoder->next);
    }
    return status == AVERROR(EAGAIN) ? 0 : status;
}

static cm_code decode(
    cm_live_decoder *decoder, const uint8_t *bytes, size_t size, cm_error *error) {
    av_frame_unref(decoder->frame);
    if (size == 0 || size > INT32_MAX / 2)
        return cm_fail(error, CM_DECODER, "an access unit of %zu bytes cannot be decoded", size);
    if (!decoder->has_key && !cm_is_key_frame(bytes, size))
        return cm_fail(error, CM_DECODER, "a key frame is needed first");
    int status = pass(decoder, bytes, size);
    if (cm_log_saw_too_many_pixels()) {
        return cm_fail(
            error, CM_TOO_LARGE, "the frame has more than %lld pixels",
            (long long)decoder->max_pixels);
    }
    if (status < 0) return cm_fail_av(error, CM_DECODER, status, "cannot decode a frame");
    const AVFrame *frame = decoder->frame;
    if (frame->buf[0] == NULL) {
        return cm_fail(
            error, CM_DECODER, "the access unit contains no frame, or the stream has B-frames");
    }
    if (frame->decode_error_flags != 0 || (frame->flags & AV_FRAME_FLAG_CORRUPT) != 0)
        return cm_fail(error, CM_DECODER, "the frame is damaged");
    if ((int64_t)frame->width * frame->height > decoder->max_pixels) {
        return cm_fail(
            error, CM_TOO_LARGE, "the frame has %dx%d pixels; the maximum is %lld pixels",
            frame->width, frame->height, (long long)decoder->max_pixels);
    }
    return CM_OK;
}

cm_code cm_live_decoder_decode(
    cm_live_decoder *decoder, const uint8_t *bytes, size_t size, int *width, int *height,
    cm_error *error) {
    cm_log_begin();
    cm_code code = decode(decoder, bytes, size, error);
    decoder->has_key = code == CM_OK;
    if (code != CM_OK) {
        av_frame_unref(decoder->frame);
        avcodec_flush_buffers(decoder->codec);
        return code;
    }
    *width = decoder->frame->width;
    *height = decoder->frame->height;
    return CM_OK;
}

cm_code cm_live_decoder_copy(
    cm_live_decoder *decoder, uint8_t *rgb, size_t capacity, cm_error *error) {
    cm_log_begin();
    AVFrame *frame = decoder->frame;
    int width = frame->width, height = frame->height;
    if (frame->buf[0] == NULL || capacity < 3 * (size_t)width * (size_t)height)
        return cm_fail(error, CM_INVALID_ARGUMENT, "there is no frame of this size");
    const AVFrame *packed = NULL;
    cm_code code = cm_to_rgb(&decoder->converter, frame, width, height, &packed, error);
    if (code != CM_OK) return code;
    cm_copy_upright(
        rgb, packed->data[0], packed->linesize[0], width, height, (cm_orientation){0});
    return CM_OK;
}

void cm_live_decoder_free(cm_live_decoder *decoder) {
    if (decoder == NULL) return;
    cm_converter_free(&decoder->converter);
    avcodec_free_context(&decoder->codec);
    av_packet_free(&decoder->packet);
    av_frame_free(&decoder->frame);
    av_frame_free(&decoder->next);
    av_free(decoder);
}
