/* Re-encodes audio whose codec the container does not support, in sync with the video.
 *
 * The new track starts with the first frame and has no gaps: silence replaces a late start and lost
 * packets, and audio before the first frame is cut. */
#include <libavutil/audio_fifo.h>
#include <libavutil/channel_layout.h>
#include <libavutil/opt.h>
#include <libswresample/swresample.h>
#include <math.h>
#include <string.h>

#include "channels.h"
#include "internal.h"

struct cm_recoder {
    AVCodecContext *decoder, *encoder;
    struct SwrContext *resampler;
    AVAudioFifo *queue; /* samples for the encoder */
    AVFrame *frame;     /* decoded */
    AVFrame *silence;   /* in the format of `frame` */
    AVFrame *block;     /* for the encoder */
    AVPacket *packet;   /* encoded */
    AVRational unit;    /* of the track's timestamps */
    double origin;      /* time of the first video frame */
    double time;        /* end of the queued audio, in seconds since the first video frame */
    int64_t missing;    /* samples of silence before those of `frame` */
    int used;           /* samples of `frame` that were queued or skipped */
    int64_t encoded;    /* samples */
    int64_t damaged;
    bool holds, started, ending, over;
};

/* Timestamps are rounded, to a millisecond in Matroska; larger differences are gaps. */
static const double tolerance = 0.005;

enum { silence_samples = 4096, lowest_rate = 1000, highest_rate = 768000 };

/* ---- Decoder ---- */

cm_code cm_recoder_open(
    cm_recoder **result, const AVStream *track, double origin, cm_error *error) {
    const AVCodecParameters *parameters = track->codecpar;
    const char *name = avcodec_get_name(parameters->codec_id);
    const AVCodec *codec = avcodec_find_decoder(parameters->codec_id);
    if (codec == NULL)
        return cm_fail(
            error, CM_UNSUPPORTED, "this build of FFmpeg has no decoder for its '%s' audio", name);
    cm_recoder *recoder = av_mallocz(sizeof *recoder);
    *result = recoder;
    if (recoder != NULL) {
        recoder->decoder = avcodec_alloc_context3(codec);
        recoder->frame = av_frame_alloc();
        recoder->silence = av_frame_alloc();
        recoder->block = av_frame_alloc();
        recoder->packet = av_packet_alloc();
    }
    if (recoder == NULL || recoder->decoder == NULL || recoder->frame == NULL
        || recoder->silence == NULL || recoder->block == NULL || recoder->packet == NULL) {
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for its audio");
    }
    recoder->origin = origin;
    recoder->unit = track->time_base;
    int status = avcodec_parameters_to_context(recoder->decoder, parameters);
    recoder->decoder->pkt_timebase = track->time_base;
    recoder->decoder->thread_count = 1;
    recoder->decoder->max_samples = 1 << 22;
    if (status >= 0) status = avcodec_open2(recoder->decoder, codec, NULL);
    if (status < 0)
        return cm_fail_av(error, CM_DECODER, status, "its '%s' audio cannot be decoded", name);
    return CM_OK;
}

void cm_recoder_send(cm_recoder *recoder, const AVPacket *packet) {
    if (packet != NULL && packet->size == 0) return;
    if (packet == NULL) recoder->ending = true;
    int status = avcodec_send_packet(recoder->decoder, packet);
    if (status < 0 && status != AVERROR_EOF) recoder->damaged++;
}

int64_t cm_recoder_damaged(const cm_recoder *recoder) { return recoder->damaged; }

/* Determines how much silence to insert before the frame, and how much of the frame to skip. */
static void place(cm_recoder *recoder) {
    const AVFrame *frame = recoder->frame;
    recoder->missing = recoder->used = 0;
    double lag = 0;
    if (frame->best_effort_timestamp != AV_NOPTS_VALUE) {
        double time = (double)frame->best_effort_timestamp * av_q2d(recoder->unit);
        lag = time - recoder->origin - recoder->time;
    }
    if (recoder->started && fabs(lag) < tolerance) lag = 0;
    recoder->started = true;
    double samples = lag * frame->sample_rate;
    if (samples > 0) recoder->missing = samples < 1e15 ? llrint(samples) : (int64_t)1e15;
    if (samples < 0)
        recoder->used = -samples < frame->nb_samples ? (int)lrint(-samples) : frame->nb_samples;
}

static bool is_usable(const AVFrame *frame) {
    return frame->nb_samples > 0 && frame->sample_rate >= lowest_rate
        && frame->sample_rate <= highest_rate && cm_channels_of_frame(frame) != 0;
}

cm_code cm_recoder_hold(cm_recoder *recoder, cm_error *error) {
    while (!recoder->holds && !recoder->over) {
        int status = avcodec_receive_frame(recoder->decoder, recoder->frame);
        if (status == AVERROR(EAGAIN)) return CM_END;
        if (status == AVERROR(ENOMEM))
            return cm_fail_av(error, CM_OUT_OF_MEMORY, status, "out of memory for its audio");
        recoder->over = status == AVERROR_EOF || (status < 0 && recoder->ending);
        if (status == 0 && is_usable(recoder->frame)) {
            place(recoder);
            recoder->holds = true;
        } else if (status != AVERROR_EOF) {
            recoder->damaged++;
            if (status == 0) av_frame_unref(recoder->frame);
            if (status < 0 && !recoder->over) return CM_END;
        }
    }
    if (recoder->holds || recoder->started) return CM_OK;
    return cm_fail(error, CM_DECODER, "its audio cannot be decoded");
}

/* ---- Encoder ---- */

static int nearest_rate(const AVCodec *codec, int rate) {
    if (codec->supported_samplerates == NULL) return rate;
    int best = 0;
    for (const int *listed = codec->supported_samplerates; *listed != 0; listed++) {
        /* The lowest rate that loses nothing, otherwise the highest. */
        bool better = best < rate ? *listed > best : *listed >= rate && *listed < best;
        if (better) best = *listed;
    }
    return best;
}

static enum AVSampleFormat nearest_format(const AVCodec *codec, enum AVSampleFormat format) {
    const enum AVSampleFormat *listed = codec->sample_fmts;
    if (listed == NULL) return format;
    while (av_get_bytes_per_sample(*listed) < av_get_bytes_per_sample(format)
           && listed[1] != AV_SAMPLE_FMT_NONE) {
        listed++;
    }
    return *listed;
}

static int open_encoder(
    cm_recoder *recoder, const AVCodec *codec, uint64_t channels, bool global_header) {
    avcodec_free_context(&recoder->encoder);
    AVCodecContext *encoder = recoder->encoder = avcodec_alloc_context3(codec);
    if (encoder == NULL) return AVERROR(ENOMEM);
    encoder->sample_rate = nearest_rate(codec, recoder->frame->sample_rate);
    encoder->sample_fmt = nearest_format(codec, recoder->frame->format);
    encoder->time_base = (AVRational){1, encoder->sample_rate};
    encoder->thread_count = 1;
    /* Omit the library version from the stream, so that the same audio gives the same bytes. */
    encoder->flags |= AV_CODEC_FLAG_BITEXACT;
    if (global_header) encoder->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
    if (codec->id == AV_CODEC_ID_FLAC) {
        if (av_get_bytes_per_sample(encoder->sample_fmt) > 2) encoder->bits_per_raw_sample = 24;
    } else {
        /* 96 kbit/s per channel at 48 kHz, which is nearly transparent. */
        encoder->bit_rate = 2 * (int64_t)encoder->sample_rate * cm_channel_count(channels);
    }
    int status = cm_set_channels_of_encoder(encoder, channels);
    return status < 0 ? status : avcodec_open2(encoder, codec, NULL);
}

cm_code cm_recoder_start(
    cm_recoder *recoder, const char *name, cm_output_format *output, cm_error *error) {
    const AVCodec *codec = avcodec_find_encoder_by_name(name);
    if (codec == NULL || !recoder->holds)
        return cm_fail(error, CM_UNSUPPORTED, "this build of FFmpeg has no encoder '%s'", name);
    uint64_t own = cm_channels_of_frame(recoder->frame), common = cm_common_layout(own);
    /* AAC supports further layouts, but few players do. */
    uint64_t choices[] = {
        codec->id == AV_CODEC_ID_AAC ? common : own, common, AV_CH_LAYOUT_STEREO};
    int status = -1;
    for (unsigned i = 0; i < sizeof choices / sizeof *choices && status < 0; i++)
        status = open_encoder(recoder, codec, choices[i], output->flags & AVFMT_GLOBALHEADER);
    if (status < 0)
        return cm_fail_av(error, CM_ENCODER, status, "cannot open the encoder '%s'", name);
    av_audio_fifo_free(recoder->queue);
    recoder->queue = av_audio_fifo_alloc(
        recoder->encoder->sample_fmt, cm_channel_count(cm_channels_of_encoder(recoder->encoder)),
        silence_samples);
    if (recoder->queue == NULL)
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for its audio");
    return CM_OK;
}

int cm_recoder_describe(const cm_recoder *recoder, AVStream *stream) {
    stream->time_base = recoder->encoder->time_base;
    return avcodec_parameters_from_context(stream->codecpar, recoder->encoder);
}

static cm_code send_block(
    cm_recoder *recoder, cm_outlet *outlet, const AVFrame *block, cm_error *error) {
    int status = avcodec_send_frame(recoder->encoder, block);
    while (status >= 0) {
        status = avcodec_receive_packet(recoder->encoder, recoder->packet);
        if (status == AVERROR(EAGAIN) || status == AVERROR_EOF) return CM_OK;
        if (status < 0) break;
        cm_code code =
            cm_outlet_write(outlet, recoder->packet, recoder->encoder->time_base, error);
        if (code != CM_OK) return code;
    }
    return cm_fail_av(error, CM_ENCODER, status, "cannot encode its audio");
}

/* Encodes the queue in blocks of the encoder's frame size; the last one may be shorter. */
static cm_code encode(cm_recoder *recoder, cm_outlet *outlet, bool last, cm_error *error) {
    const AVCodecContext *encoder = recoder->encoder;
    int size = encoder->frame_size > 0 ? encoder->frame_size : silence_samples;
    for (;;) {
        int count = av_audio_fifo_size(recoder->queue);
        if (count < (last ? 1 : size)) return CM_OK;
        AVFrame *block = recoder->block;
        av_frame_unref(block);
        block->nb_samples = count < size ? count : size;
        block->format = encoder->sample_fmt;
        block->sample_rate = encoder->sample_rate;
        block->pts = recoder->encoded;
        int status = cm_set_channels_of_frame(block, cm_channels_of_encoder(encoder));
        if (status >= 0) status = av_frame_get_buffer(block, 0);
        if (status >= 0)
            status = av_audio_fifo_read(
                recoder->queue, (void **)block->extended_data, block->nb_samples);
        if (status < 0)
            return cm_fail_av(error, CM_OUT_OF_MEMORY, status, "out of memory for its audio");
        recoder->encoded += block->nb_samples;
        cm_code code = send_block(recoder, outlet, block, error);
        if (code != CM_OK) return code;
    }
}

/* ---- Conversion ---- */

/* Encoders reject NaN and samples far above full scale. */
static void tame(float *samples, int count) {
    for (int i = 0; i < count; i++) {
        if (!(fabsf(samples[i]) <= 4)) samples[i] = isnan(samples[i]) ? 0 : copysignf(4, samples[i]);
    }
}

/* Converts samples and queues them; if `data` is NULL, flushes the resampler. */
static cm_code convert(
    cm_recoder *recoder, const uint8_t *const *data, int count, cm_error *error) {
    enum AVSampleFormat format = recoder->encoder->sample_fmt;
    int channels = cm_channel_count(cm_channels_of_encoder(recoder->encoder));
    uint8_t **samples = NULL;
    int room = swr_get_out_samples(recoder->resampler, count);
    int status = room;
    if (room > 0)
        status = av_samples_alloc_array_and_samples(&samples, NULL, channels, room, format, 0);
    if (room > 0 && status >= 0)
        status = swr_convert(recoder->resampler, samples, room, (const uint8_t **)data, count);
    if (status > 0) {
        bool planar = av_sample_fmt_is_planar(format);
        if (av_get_packed_sample_fmt(format) == AV_SAMPLE_FMT_FLT) {
            for (int plane = 0; plane < (planar ? channels : 1); plane++)
                tame((float *)samples[plane], planar ? status : status * channels);
        }
        status = av_audio_fifo_write(recoder->queue, (void **)samples, status);
    }
    if (samples != NULL) av_freep(&samples[0]);
    av_freep(&samples);
    if (status >= 0) return CM_OK;
    return cm_fail_av(error, CM_UNSUPPORTED, status, "cannot convert its audio");
}

/* Sets up the resampler and silence for the format of the current frame, which may change at any
 * time. */
static cm_code set_up(cm_recoder *recoder, cm_error *error) {
    const AVFrame *frame = recoder->frame;
    AVFrame *silence = recoder->silence;
    uint64_t channels = cm_channels_of_frame(frame);
    if (recoder->resampler != NULL && silence->format == frame->format
        && silence->sample_rate == frame->sample_rate
        && cm_channels_of_frame(silence) == channels) {
        return CM_OK;
    }
    if (recoder->resampler != NULL) {
        cm_code code = convert(recoder, NULL, 0, error);
        if (code != CM_OK) return code;
    }
    swr_free(&recoder->resampler);
    av_frame_unref(silence);
    silence->format = frame->format;
    silence->sample_rate = frame->sample_rate;
    silence->nb_samples = silence_samples;
    int status = cm_set_channels_of_frame(silence, channels);
    if (status >= 0) status = av_frame_get_buffer(silence, 0);
    if (status >= 0) {
        av_samples_set_silence(
            silence->extended_data, 0, silence_samples, cm_channel_count(channels),
            frame->format);
        status = cm_make_resampler(&recoder->resampler, silence, recoder->encoder);
    }
    if (status >= 0) {
        /* Keep downmixed channels within full scale. */
        av_opt_set_double(recoder->resampler, "rematrix_maxval", 1, 0);
        status = swr_init(recoder->resampler);
    }
    if (status >= 0) return CM_OK;
    swr_free(&recoder->resampler);
    return cm_fail_av(error, CM_UNSUPPORTED, status, "cannot convert its audio");
}

/* The number of `count` samples before `end`. */
static int64_t due(const cm_recoder *recoder, int64_t count, double end) {
    double samples = (end - recoder->time) * recoder->frame->sample_rate;
    return samples >= (double)count ? count : samples > 0 ? llrint(samples) : 0;
}

static cm_code queue_silence(cm_recoder *recoder, cm_outlet *outlet, double end, cm_error *error) {
    cm_code code = CM_OK;
    for (;;) {
        int64_t left = recoder->missing < silence_samples ? recoder->missing : silence_samples;
        int count = (int)due(recoder, left, end);
        if (count == 0) return CM_OK;
        code = convert(
            recoder, (const uint8_t *const *)recoder->silence->extended_data, count, error);
        if (code == CM_OK) code = encode(recoder, outlet, false, error);
        if (code != CM_OK) return code;
        recoder->missing -= count;
        recoder->time += (double)count / recoder->frame->sample_rate;
    }
}

static cm_code queue_frame(cm_recoder *recoder, cm_outlet *outlet, double end, cm_error *error) {
    const AVFrame *frame = recoder->frame;
    int count = (int)due(recoder, frame->nb_samples - recoder->used, end);
    if (count == 0) return CM_OK;
    int channels = cm_channel_count(cm_channels_of_frame(frame));
    bool planar = av_sample_fmt_is_planar(frame->format);
    int step = av_get_bytes_per_sample(frame->format) * (planar ? 1 : channels);
    const uint8_t *planes[64] = {0};
    for (int plane = 0; plane < (planar ? channels : 1); plane++)
        planes[plane] = frame->extended_data[plane] + (ptrdiff_t)recoder->used * step;
    cm_code code = convert(recoder, planes, count, error);
    if (code == CM_OK) code = encode(recoder, outlet, false, error);
    recoder->used += count;
    recoder->time += (double)count / frame->sample_rate;
    return code;
}

cm_code cm_recoder_pass(
    cm_recoder *recoder, cm_outlet *outlet, double end, double pictures, cm_error *error) {
    for (;;) {
        cm_code code = cm_recoder_hold(recoder, error);
        if (code != CM_OK || !recoder->holds) return code;
        code = set_up(recoder, error);
        /* After the last video frame, silence and later audio are not needed. */
        if (code == CM_OK) code = queue_silence(recoder, outlet, pictures, error);
        if (code != CM_OK || recoder->missing > 0) return code;
        code = queue_frame(recoder, outlet, end, error);
        if (code != CM_OK || recoder->used < recoder->frame->nb_samples) return code;
        av_frame_unref(recoder->frame);
        recoder->holds = false;
    }
}

cm_code cm_recoder_finish(cm_recoder *recoder, cm_outlet *outlet, cm_error *error) {
    cm_code code = recoder->resampler == NULL ? CM_OK : convert(recoder, NULL, 0, error);
    if (code == CM_OK) code = encode(recoder, outlet, true, error);
    return code == CM_OK ? send_block(recoder, outlet, NULL, error) : code;
}

void cm_recoder_close(cm_recoder **pointer) {
    cm_recoder *recoder = *pointer;
    if (recoder == NULL) return;
    avcodec_free_context(&recoder->decoder);
    avcodec_free_context(&recoder->encoder);
    swr_free(&recoder->resampler);
    av_audio_fifo_free(recoder->queue);
    av_frame_free(&recoder->frame);
    av_frame_free(&recoder->silence);
    av_frame_free(&recoder->block);
    av_packet_free(&recoder->packet);
    av_free(recoder);
    *pointer = NULL;
}
