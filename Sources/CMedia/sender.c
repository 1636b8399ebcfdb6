/* Sends RGB24 frames as they come: encoder without delay, muxer, network or video device. */
#include <libavutil/opt.h>
#include <libavutil/time.h>
#include <string.h>

#include "internal.h"

struct cm_sender {
    AVFormatContext *muxer;
    AVCodecContext *encoder;
    AVStream *stream;
    AVPacket *packet;
    cm_converter converter;
    cm_deadline deadline;
    double seconds;
    int width, height;
    int64_t last, last_key; /* timestamps in ticks; -1: none */
    bool header_written;
};

/* Milliseconds, the unit of FLV: frames that are distinct here are distinct everywhere. */
static const AVRational tick = {1, 1000};
enum { key_interval = 2000 };

/* ---- Encoder ---- */

static void set_encoder(cm_sender *sender, const cm_sender_options *options) {
    AVCodecContext *encoder = sender->encoder;
    encoder->width = options->width;
    encoder->height = options->height;
    encoder->time_base = tick;
    encoder->framerate =
        (AVRational){options->frame_rate.numerator, options->frame_rate.denominator};
    encoder->pix_fmt = AV_PIX_FMT_YUV420P;
    encoder->sample_aspect_ratio = (AVRational){1, 1};
    encoder->color_primaries = AVCOL_PRI_BT709;
    encoder->color_trc = AVCOL_TRC_BT709;
    encoder->colorspace = AVCOL_SPC_BT709;
    encoder->color_range = AVCOL_RANGE_MPEG;
    encoder->chroma_sample_location = AVCHROMA_LOC_LEFT;
    encoder->thread_count = options->width * options->height <= 640 * 480 ? 1 : 2;
    if (options->device) return;
    /* One second of buffer keeps the rate even enough for a receiver with a small one. */
    encoder->bit_rate = encoder->rc_max_rate = options->bit_rate;
    encoder->rc_buffer_size = options->bit_rate < INT32_MAX ? (int)options->bit_rate : INT32_MAX;
    encoder->max_b_frames = 0;
    /* Key frames are asked for by time; this only bounds their distance. */
    encoder->gop_size = 600;
    av_opt_set(encoder->priv_data, "preset", options->preset, 0);
    av_opt_set(encoder->priv_data, "tune", "zerolatency", 0);
    av_opt_set(encoder->priv_data, "forced-idr", "1", 0);
}

static cm_code open_encoder(
    cm_sender *sender, const cm_sender_options *options, cm_error *error) {
    const char *name = options->device ? "rawvideo" : "libx264";
    const AVCodec *codec = avcodec_find_encoder_by_name(name);
    if (codec == NULL)
        return cm_fail(
            error, CM_UNSUPPORTED, "this build of FFmpeg has no encoder '%s', which live video "
            "needs", name);
    sender->encoder = avcodec_alloc_context3(codec);
    sender->packet = av_packet_alloc();
    if (sender->encoder == NULL || sender->packet == NULL)
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for an encoder");
    set_encoder(sender, options);
    if (sender->muxer->oformat->flags & AVFMT_GLOBALHEADER)
        sender->encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    int status = avcodec_open2(sender->encoder, codec, NULL);
    if (status < 0)
        return cm_fail_av(error, CM_ENCODER, status, "cannot open the encoder '%s'", name);
    return CM_OK;
}

/* ---- Receiver ---- */

static cm_code make_muxer(
    cm_sender *sender, const char *url, const char *format, const cm_sender_options *options,
    cm_error *error) {
    if (options->device) {
        cm_code code = cm_devices_load(error);
        if (code != CM_OK) return code;
    }
    int status = avformat_alloc_output_context2(&sender->muxer, NULL, format, url);
    if (status < 0)
        return cm_fail_av(
            error, CM_UNSUPPORTED, status, "this build of FFmpeg cannot send '%s'", format);
    sender->muxer->interrupt_callback = cm_deadline_callback(&sender->deadline);
    /* Packets leave at once. */
    sender->muxer->flags |= AVFMT_FLAG_FLUSH_PACKETS;
    sender->muxer->max_delay = 0;
    return CM_OK;
}

static cm_code connect_muxer(
    cm_sender *sender, const char *url, const cm_sender_options *options, cm_error *error) {
    cm_network_begin();
    cm_deadline_set(&sender->deadline, options->seconds);
    AVDictionary *settings = NULL;
    int status = av_dict_parse_string(&settings, options->settings, "=", "\n", 0);
    if (status >= 0 && !(sender->muxer->oformat->flags & AVFMT_NOFILE)) {
        av_dict_set(&settings, "protocol_whitelist", options->protocols, 0);
        status = avio_open2(
            &sender->muxer->pb, url, AVIO_FLAG_WRITE, &sender->muxer->interrupt_callback,
            &settings);
    }
    if (status >= 0) status = avformat_write_header(sender->muxer, &settings);
    av_dict_free(&settings);
    if (status < 0)
        return cm_fail_connection(error, status, &sender->deadline, options->seconds);
    sender->header_written = true;
    return CM_OK;
}

static cm_code make_stream(cm_sender *sender, cm_error *error) {
    sender->stream = avformat_new_stream(sender->muxer, NULL);
    if (sender->stream == NULL)
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a stream");
    sender->stream->time_base = tick;
    sender->stream->avg_frame_rate = sender->encoder->framerate;
    sender->stream->sample_aspect_ratio = (AVRational){1, 1};
    int status = avcodec_parameters_from_context(sender->stream->codecpar, sender->encoder);
    if (status < 0) return cm_fail_av(error, CM_ENCODER, status, "cannot describe the stream");
    return CM_OK;
}

static cm_code open_sender(
    cm_sender *sender, const char *url, const char *format, const cm_sender_options *options,
    cm_error *error) {
    cm_code code = make_muxer(sender, url, format, options, error);
    if (code == CM_OK) code = open_encoder(sender, options, error);
    if (code == CM_OK) code = make_stream(sender, error);
    if (code == CM_OK) code = connect_muxer(sender, url, options, error);
    return code;
}

cm_code cm_sender_open(
    cm_sender **result, const char *url, const char *format, const cm_sender_options *options,
    cm_error *error) {
    *result = NULL;
    cm_log_begin();
    if (options->width % 2 != 0 || options->height % 2 != 0)
        return cm_fail(
            error, CM_UNSUPPORTED, "a size of %dx%d has an odd side, which 4:2:0 video does not "
            "support", options->width, options->height);
    cm_sender *sender = av_mallocz(sizeof *sender);
    if (sender == NULL) return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a sender");
    sender->deadline.cancelled = options->cancelled;
    sender->seconds = options->seconds;
    sender->width = options->width;
    sender->height = options->height;
    sender->last = sender->last_key = -1;
    cm_code code = open_sender(sender, url, format, options, error);
    if (code != CM_OK) {
        cm_sender_free(sender);
        return code;
    }
    *result = sender;
    return CM_OK;
}

const char *cm_sender_encoder(const cm_sender *sender) { return sender->encoder->codec->name; }

/* ---- Frames ---- */

static cm_code fail_sending(cm_sender *sender, int status, cm_error *error) {
    if (cm_flag_is_raised(sender->deadline.cancelled))
        return cm_fail(error, CM_END, "interrupted");
    if (sender->deadline.passed)
        return cm_fail(
            error, CM_LOST, "the receiver took nothing for %g seconds", sender->seconds);
    if (status == AVERROR(EPIPE) || status == AVERROR(ECONNRESET) || status == AVERROR_EOF
        || status == AVERROR(EIO))
        return cm_fail(error, CM_LOST, "the receiver closed the connection");
    char text[AV_ERROR_MAX_STRING_SIZE] = "";
    av_strerror(status, text, sizeof text);
    return cm_fail(error, CM_LOST, "cannot send further: %s", text);
}

static cm_code send_packets(cm_sender *sender, cm_error *error) {
    for (;;) {
        int status = avcodec_receive_packet(sender->encoder, sender->packet);
        if (status == AVERROR(EAGAIN) || status == AVERROR_EOF) return CM_OK;
        if (status < 0) return cm_fail_av(error, CM_ENCODER, status, "cannot encode a frame");
        sender->packet->stream_index = sender->stream->index;
        av_packet_rescale_ts(sender->packet, tick, sender->stream->time_base);
        cm_deadline_set(&sender->deadline, sender->seconds);
        status = av_write_frame(sender->muxer, sender->packet);
        av_packet_unref(sender->packet);
        AVIOContext *io = sender->muxer->pb;
        if (status >= 0 && io != NULL && io->error < 0) status = io->error;
        if (status < 0) return fail_sending(sender, status, error);
    }
}

cm_code cm_sender_send(
    cm_sender *sender, const uint8_t *rgb, int64_t microseconds, cm_error *error) {
    cm_log_begin();
    AVFrame *frame = NULL;
    cm_code code = cm_from_rgb(
        &sender->converter, rgb, sender->width, sender->height, sender->encoder->pix_fmt,
        SWS_CS_ITU709, AVCHROMA_LOC_LEFT, &frame, error);
    if (code != CM_OK) return code;
    int64_t time = microseconds / 1000;
    frame->pts = sender->last = time > sender->last ? time : sender->last + 1;
    bool key = sender->last_key < 0 || frame->pts - sender->last_key >= key_interval;
    frame->pict_type = key ? AV_PICTURE_TYPE_I : AV_PICTURE_TYPE_NONE;
    if (key) sender->last_key = frame->pts;
    frame->colorspace = sender->encoder->colorspace;
    frame->color_range = sender->encoder->color_range;
    int status = avcodec_send_frame(sender->encoder, frame);
    if (status < 0) return cm_fail_av(error, CM_ENCODER, status, "cannot encode a frame");
    return send_packets(sender, error);
}

cm_code cm_sender_finish(cm_sender *sender, cm_error *error) {
    cm_log_begin();
    int status = avcodec_send_frame(sender->encoder, NULL);
    if (status < 0) return cm_fail_av(error, CM_ENCODER, status, "cannot finish the video");
    cm_code code = send_packets(sender, error);
    if (code != CM_OK) return code;
    cm_deadline_set(&sender->deadline, sender->seconds);
    sender->header_written = false;
    status = av_write_trailer(sender->muxer);
    if (status >= 0 && sender->muxer->pb != NULL) {
        avio_flush(sender->muxer->pb);
        status = sender->muxer->pb->error;
    }
    return status < 0 ? fail_sending(sender, status, error) : CM_OK;
}

void cm_sender_free(cm_sender *sender) {
    if (sender == NULL) return;
    if (sender->muxer != NULL) {
        /* Frees what the header allocated; a second at most, because the receiver may be gone. */
        cm_deadline_set(&sender->deadline, 1);
        if (sender->header_written) av_write_trailer(sender->muxer);
        if (sender->muxer->pb != NULL && !(sender->muxer->oformat->flags & AVFMT_NOFILE))
            avio_closep(&sender->muxer->pb);
        avformat_free_context(sender->muxer);
    }
    cm_converter_free(&sender->converter);
    avcodec_free_context(&sender->encoder);
    av_packet_free(&sender->packet);
    av_free(sender);
}
