/* Decodes the best video stream of a file into upright RGB24 frames of one size. */
#include <libavutil/imgutils.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

struct cm_reader {
    cm_source *source;
    AVStream *stream;
    AVCodecContext *decoder;
    AVPacket *packet;
    AVFrame *frame;
    cm_filter *filter; /* NULL: frames are as decoded */
    cm_fitter fitter;
    cm_orientation orientation;
    cm_video_info info;
    int width, height; /* as stored, of the first frame */
    int64_t max_pixels;
    bool holds_first, draining, truncated, still, stays_high, stays_combed;
    int64_t damaged;
    double origin;   /* of timestamps, in seconds */
    double expected; /* time of the next frame if it has no timestamp */
};

enum { default_max_pixels = 64 * 1000 * 1000 };

/* ---- Properties ---- */

static void describe(cm_reader *reader, const AVFrame *first) {
    const AVStream *stream = reader->stream;
    const AVFormatContext *format = reader->source->format;
    cm_video_info *info = &reader->info;
    bool transposed = reader->orientation.transposed;
    info->width = transposed ? first->height : first->width;
    info->height = transposed ? first->width : first->height;

    AVRational rate = cm_find_frame_rate(stream, reader->decoder->framerate);
    info->frame_rate = (cm_rational){rate.num, rate.den};
    info->varies = cm_rate_varies(stream, reader->decoder->framerate);
    AVRational aspect = first->sample_aspect_ratio;
    if (cm_is_positive(stream->sample_aspect_ratio)) aspect = stream->sample_aspect_ratio;
    if (!cm_is_positive(aspect)) aspect = (AVRational){1, 1};
    av_reduce(&aspect.num, &aspect.den, aspect.num, aspect.den, 1 << 20);
    reader->fitter.aspect = av_q2d(aspect);
    if (transposed) aspect = (AVRational){aspect.den, aspect.num};
    info->sample_aspect_ratio = (cm_rational){aspect.num, aspect.den};

    if (stream->duration > 0) {
        info->seconds = (double)stream->duration * av_q2d(stream->time_base);
    } else if (format->duration > 0) {
        info->seconds = (double)format->duration / AV_TIME_BASE;
    }
    double frames = info->seconds * av_q2d(rate);
    bool fields =
        cm_is_positive(stream->avg_frame_rate) && av_q2d(stream->avg_frame_rate) > 1.5 * av_q2d(rate);
    if (stream->nb_frames > 0 && !fields) frames = (double)stream->nb_frames;
    info->frames = frames < 1e12 ? llround(frames) : 0;
    for (unsigned i = 0; i < format->nb_streams; i++) {
        if (format->streams[i]->codecpar->codec_type == AVMEDIA_TYPE_AUDIO) info->has_audio = true;
    }
    snprintf(info->codec, sizeof info->codec, "%s", avcodec_get_name(stream->codecpar->codec_id));
    snprintf(info->format, sizeof info->format, "%s", format->iformat->name);
}

/* An index entry past the end of the file shows that the file is truncated. */
static bool index_passes_end(const cm_reader *reader) {
#if LIBAVFORMAT_VERSION_INT >= AV_VERSION_INT(59, 0, 100)
    int64_t length = reader->source->length;
    if (length < 0) return false;
    int count = avformat_index_get_entries_count(reader->stream);
    for (int i = count - 1; i >= 0 && i >= count - 64; i--) {
        const AVIndexEntry *entry = avformat_index_get_entry(reader->stream, i);
        if (entry != NULL && (entry->pos > length || entry->size > length - entry->pos))
            return true;
    }
#else
    (void)reader;
#endif
    return false;
}

/* ---- Decoding ---- */

/* Sends one packet of the stream to the decoder, or flushes it after the last one. */
static cm_code feed(cm_reader *reader, cm_error *error) {
    cm_source *source = reader->source;
    for (;;) {
        int status = source->live != NULL ? cm_live_read(source, reader->packet)
                                          : av_read_frame(source->format, reader->packet);
        if (atomic_load_explicit(&source->interrupted, memory_order_relaxed)) {
            if (status >= 0) av_packet_unref(reader->packet);
            return CM_END;
        }
        if (status == AVERROR(ENOMEM))
            return cm_fail_av(error, CM_OUT_OF_MEMORY, status, "cannot read a packet");
        if (cm_log_saw_early_end()) reader->truncated = true;
        if (status < 0) {
            if (status != AVERROR_EOF && status != AVERROR(EAGAIN)) reader->truncated = true;
            reader->draining = true;
            avcodec_send_packet(reader->decoder, NULL);
            return CM_OK;
        }
        if (reader->packet->stream_index != reader->stream->index) {
            av_packet_unref(reader->packet);
            continue;
        }
        bool corrupt = (reader->packet->flags & AV_PKT_FLAG_CORRUPT) != 0;
        /* A packet truncated by the end of the file would decode to half a frame. */
        bool cut = corrupt && source->io != NULL && source->io->eof_reached;
        if (cut) reader->truncated = true;
        if (corrupt) reader->damaged++;
        status = cut ? 0 : avcodec_send_packet(reader->decoder, reader->packet);
        av_packet_unref(reader->packet);
        if (status == AVERROR(ENOMEM)) {
            return cm_fail_av(
                error, CM_OUT_OF_MEMORY, status, "out of memory to decode a frame of %dx%d",
                reader->decoder->width, reader->decoder->height);
        }
        if (status < 0) reader->damaged++;
        return CM_OK;
    }
}

static cm_code decode(cm_reader *reader, cm_error *error) {
    for (;;) {
        if (atomic_load_explicit(&reader->source->interrupted, memory_order_relaxed)) return CM_END;
        int status = avcodec_receive_frame(reader->decoder, reader->frame);
        if (status == 0) {
            const AVFrame *frame = reader->frame;
            if (frame->data[0] != NULL && frame->width > 0 && frame->height > 0) return CM_OK;
            reader->damaged++;
            continue;
        }
        if (status == AVERROR(ENOMEM))
            return cm_fail_av(error, CM_OUT_OF_MEMORY, status, "out of memory for a frame");
        if (status != AVERROR(EAGAIN) && status != AVERROR_EOF) reader->damaged++;
        if (reader->draining) {
            if (reader->source->live != NULL) return cm_live_end(reader->source, error);
            if (reader->source->read_errno != 0) {
                return cm_fail(
                    error, CM_IO, "cannot read further: %s", strerror(reader->source->read_errno));
            }
            return CM_END;
        }
        cm_code code = feed(reader, error);
        if (code != CM_OK) return code;
    }
}

/* Decodes the next frame and filters it if it, or one before it, is interlaced or PQ or HLG. */
static cm_code next_picture(cm_reader *reader, cm_error *error) {
    AVRational unit = reader->stream->time_base;
    for (;;) {
        bool found = false;
        cm_code code = CM_OK;
        if (reader->filter != NULL)
            code = cm_filter_pull(reader->filter, reader->frame, unit, &found, error);
        if (code != CM_OK || found) return code;
        if (reader->filter != NULL && cm_filter_has_ended(reader->filter)) return CM_END;
        code = decode(reader, error);
        if (code == CM_END && reader->filter != NULL && reader->draining) {
            code = cm_filter_end(reader->filter, error);
            if (code != CM_OK) return code;
            continue;
        }
        if (code != CM_OK) return code;
        if (reader->still || !cm_filter_is_needed(reader->filter, reader->frame)) return CM_OK;
        code = cm_filter_push(&reader->filter, reader->frame, unit, error);
        if (code != CM_OK) return code;
    }
}

static int choose_threads(const cm_reader_options *options, const AVCodecParameters *parameters) {
    if (options->threads > 0) return options->threads < 16 ? options->threads : 16;
    /* Frame threads cost latency and memory; use them only where one core is too slow. */
    int64_t pixels = (int64_t)parameters->width * parameters->height;
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    int wanted = pixels <= 640 * 480 ? 1 : pixels <= 1920 * 1088 ? 2 : 4;
    return processors > 0 && processors < wanted ? (int)processors : wanted;
}

static cm_code open_decoder(cm_reader *reader, const cm_reader_options *options, cm_error *error) {
    const AVCodecParameters *parameters = reader->stream->codecpar;
    const char *name = avcodec_get_name(parameters->codec_id);
    const AVCodec *codec = avcodec_find_decoder(parameters->codec_id);
    if (codec == NULL) {
        return cm_fail(
            error, CM_UNSUPPORTED,
            "uses the codec '%s', for which this build of FFmpeg has no decoder", name);
    }
    reader->decoder = avcodec_alloc_context3(codec);
    reader->packet = av_packet_alloc();
    reader->frame = av_frame_alloc();
    if (reader->decoder == NULL || reader->packet == NULL || reader->frame == NULL) {
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a decoder");
    }
    int status = avcodec_parameters_to_context(reader->decoder, parameters);
    reader->decoder->pkt_timebase = reader->stream->time_base;
    reader->decoder->max_pixels = reader->max_pixels;
    reader->decoder->thread_count = choose_threads(options, parameters);
    /* Frame threads hold back a frame each. */
    if (reader->source->live != NULL) reader->decoder->thread_type = FF_THREAD_SLICE;
    if (reader->still) {
        /* The TIFF decoder treats every unknown tag as damage. */
        int strict = parameters->codec_id == AV_CODEC_ID_TIFF ? 0 : AV_EF_EXPLODE;
        reader->decoder->err_recognition |=
            AV_EF_CRCCHECK | AV_EF_BITSTREAM | AV_EF_BUFFER | strict;
    }
    if (status >= 0) status = avcodec_open2(reader->decoder, codec, NULL);
    if (status < 0) return cm_fail_av(error, CM_DECODER, status, "cannot be decoded as '%s'", name);
    return CM_OK;
}

static cm_code choose_stream(cm_reader *reader, cm_error *error) {
    AVFormatContext *format = reader->source->format;
    int index = av_find_best_stream(format, AVMEDIA_TYPE_VIDEO, -1, -1, NULL, 0);
    if (format->nb_streams == 0) {
        return cm_fail(
            error, CM_NOT_A_VIDEO, "is not a complete video file: it contains no streams");
    }
    if (index < 0 || (format->streams[index]->disposition & AV_DISPOSITION_ATTACHED_PIC)) {
        return cm_fail(
            error, CM_NO_VIDEO_STREAM,
            "has no video stream (only audio, subtitles or a cover image)");
    }
    for (unsigned i = 0; i < format->nb_streams; i++) {
        if ((int)i != index) format->streams[i]->discard = AVDISCARD_ALL;
    }
    reader->stream = format->streams[index];
    const AVCodecParameters *parameters = reader->stream->codecpar;
    if ((int64_t)parameters->width * parameters->height > reader->max_pixels) {
        return cm_fail(
            error, CM_TOO_LARGE, "has frames of %dx%d; the limit is %lld pixels", parameters->width,
            parameters->height, (long long)reader->max_pixels);
    }
    return CM_OK;
}

static bool is_damaged(const cm_reader *reader) {
    return reader->damaged > 0 || reader->frame->decode_error_flags != 0
        || (reader->frame->flags & AV_FRAME_FLAG_CORRUPT) != 0;
}

/* Decodes the first frame immediately: only the frame itself reliably has the size and, in
 * photos, the orientation. */
static cm_code start(cm_reader *reader, const cm_reader_options *options, cm_error *error) {
    cm_code code = choose_stream(reader, error);
    if (code == CM_OK) code = open_decoder(reader, options, error);
    if (code != CM_OK) return code;
    reader->truncated = cm_log_saw_early_end() || index_passes_end(reader);
    code = next_picture(reader, error);
    if (code == CM_END) {
        if (atomic_load(&reader->source->interrupted) || cm_live_is_cancelled(reader->source))
            return cm_fail(error, CM_END, "interrupted");
        if (cm_log_saw_too_many_pixels()) {
            return cm_fail(
                error, CM_TOO_LARGE, "has frames larger than the limit of %lld pixels",
                (long long)reader->max_pixels);
        }
        if (reader->damaged == 0 && !reader->truncated)
            return cm_fail(error, CM_EMPTY, "has no frames");
        return cm_fail_av(
            error, CM_DECODER, AVERROR_INVALIDDATA, "no frame can be decoded");
    }
    if (code != CM_OK) return code;
    if (reader->still && (reader->truncated || is_damaged(reader))) {
        return cm_fail_av(
            error, CM_DECODER, AVERROR_INVALIDDATA, "is damaged or truncated: its image cannot be "
            "decoded completely");
    }
    reader->holds_first = true;
    reader->width = reader->fitter.width = reader->frame->width;
    reader->height = reader->fitter.height = reader->frame->height;
    if (!reader->still) reader->orientation = cm_find_orientation(reader->stream, reader->frame);
    describe(reader, reader->frame);
    return CM_OK;
}

static cm_code make_reader(
    cm_reader **result, const cm_reader_options *options, cm_error *error) {
    *result = NULL;
    cm_reader *reader = av_mallocz(sizeof *reader);
    if (reader == NULL) return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a reader");
    reader->max_pixels = options->max_pixels > 0 ? options->max_pixels : default_max_pixels;
    reader->still = reader->fitter.converter.still = options->still;
    reader->fitter.converter.opaque = options->opaque;
    reader->fitter.converter.keeps_alpha = options->still && options->keeps_alpha;
    reader->fitter.fit = options->fit;
    *result = reader;
    return CM_OK;
}

/* Reads the first frame of an opened source, or frees the reader if that is impossible. */
static cm_code finish_opening(
    cm_reader **reader, cm_code code, const cm_reader_options *options, cm_error *error) {
    if (code == CM_OK) code = start(*reader, options, error);
    if (code == CM_OK) return CM_OK;
    cm_reader_free(*reader);
    *reader = NULL;
    return code;
}

static cm_code open_reader(
    cm_reader **result, const char *path, const uint8_t *bytes, size_t size,
    const cm_reader_options *options, cm_error *error) {
    static const cm_reader_options defaults = {0};
    if (options == NULL) options = &defaults;
    cm_code code = make_reader(result, options, error);
    if (code != CM_OK) return code;
    code = cm_source_open(
        &(*result)->source, path, bytes, size, (*result)->max_pixels, error);
    return finish_opening(result, code, options, error);
}

cm_code cm_reader_open_live(
    cm_reader **result, const char *url, const cm_live_options *live,
    const cm_reader_options *options, cm_error *error) {
    cm_code code = make_reader(result, options, error);
    if (code != CM_OK) return code;
    code = cm_source_open_live(&(*result)->source, url, live, error);
    return finish_opening(result, code, options, error);
}

cm_code cm_reader_open(
    cm_reader **reader, const char *path, const cm_reader_options *options, cm_error *error) {
    return open_reader(reader, path, NULL, 0, options, error);
}

cm_code cm_reader_open_memory(
    cm_reader **reader, const uint8_t *bytes, size_t size, const cm_reader_options *options,
    cm_error *error) {
    return open_reader(reader, NULL, bytes, size, options, error);
}

/* ---- Frames ---- */

static void time_frame(cm_reader *reader, cm_frame_info *info, bool first) {
    const AVFrame *frame = reader->frame;
    double unit = av_q2d(reader->stream->time_base);
#if LIBAVUTIL_VERSION_INT >= AV_VERSION_INT(57, 30, 100)
    int64_t duration = frame->duration;
#else
    int64_t duration = frame->pkt_duration;
#endif
    double nominal =
        (double)reader->info.frame_rate.denominator / reader->info.frame_rate.numerator;
    info->duration = duration > 0 ? (double)duration * unit : nominal;
    if (frame->best_effort_timestamp == AV_NOPTS_VALUE) {
        info->seconds = reader->expected;
    } else {
        double seconds = (double)frame->best_effort_timestamp * unit;
        if (first) reader->origin = seconds;
        info->seconds = seconds - reader->origin;
    }
    reader->expected = info->seconds + info->duration;
}

cm_code cm_reader_next(
    cm_reader *reader, uint8_t *rgb, size_t capacity, cm_frame_info *info, cm_error *error) {
    bool alpha = reader->fitter.converter.keeps_alpha;
    size_t needed = (alpha ? 4 : 3) * (size_t)reader->width * (size_t)reader->height;
    if (capacity < needed) {
        return cm_fail(
            error, CM_INVALID_ARGUMENT, "a frame has %zu bytes, but the buffer has %zu", needed,
            capacity);
    }
    if (atomic_load_explicit(&reader->source->interrupted, memory_order_relaxed)) return CM_END;
    bool first = reader->holds_first;
    reader->holds_first = false;
    if (!first) {
        cm_log_begin();
        cm_code code = next_picture(reader, error);
        if (code != CM_OK) return code;
    }
    cm_frame_info ignored;
    time_frame(reader, info == NULL ? &ignored : info, first);
    if (cm_is_high_dynamic_range(reader->frame)) reader->stays_high = true;
    if (reader->filter == NULL && cm_is_interlaced(reader->frame)) reader->stays_combed = true;
    const AVFrame *picture = NULL;
    cm_code code = cm_fitter_convert(&reader->fitter, reader->frame, &picture, error);
    if (code == CM_OK && alpha) {
        int row = 4 * reader->width; /* stills are as stored */
        av_image_copy_plane(rgb, row, picture->data[0], picture->linesize[0], row, reader->height);
    } else if (code == CM_OK) {
        cm_copy_upright(
            rgb, picture->data[0], picture->linesize[0], reader->width, reader->height,
            reader->orientation);
    }
    av_frame_unref(reader->frame);
    return code;
}

void cm_reader_info(const cm_reader *reader, cm_video_info *info) { *info = reader->info; }
bool cm_reader_track(const cm_reader *reader, int number, cm_track *track) {
    const AVFormatContext *format = reader->source->format;
    int best = av_find_best_stream(
        reader->source->format, AVMEDIA_TYPE_AUDIO, -1, reader->stream->index, NULL, 0);
    for (int i = 0; i < (int)format->nb_streams; i++) {
        const AVStream *stream = format->streams[i];
        enum AVMediaType type = stream->codecpar->codec_type;
        bool counts = type == AVMEDIA_TYPE_AUDIO || type == AVMEDIA_TYPE_SUBTITLE;
        if (!counts || i == best || number-- > 0) continue;
        *track = (cm_track){.index = i, .is_audio = type == AVMEDIA_TYPE_AUDIO};
        snprintf(
            track->codec, sizeof track->codec, "%s", avcodec_get_name(stream->codecpar->codec_id));
        const AVDictionaryEntry *language = av_dict_get(stream->metadata, "language", NULL, 0);
        if (language != NULL)
            snprintf(track->language, sizeof track->language, "%s", language->value);
        return true;
    }
    return false;
}

bool cm_reader_is_truncated(const cm_reader *reader) { return reader->truncated; }
int64_t cm_reader_damaged(const cm_reader *reader) { return reader->damaged; }
bool cm_reader_changes_size(const cm_reader *reader) { return reader->fitter.was_used; }
cm_treatment cm_reader_treatment(const cm_reader *reader) {
    cm_treatment treatment = cm_filter_treatment(reader->filter);
    treatment.blended = reader->fitter.converter.blended;
    treatment.stays_high = reader->stays_high;
    treatment.stays_combed = reader->stays_combed && !reader->still;
    return treatment;
}

void cm_reader_interrupt(cm_reader *reader) {
    atomic_store(&reader->source->interrupted, true);
}

void cm_reader_free(cm_reader *reader) {
    if (reader == NULL) return;
    av_packet_free(&reader->packet);
    av_frame_free(&reader->frame);
    avcodec_free_context(&reader->decoder);
    cm_filter_free(&reader->filter);
    cm_fitter_free(&reader->fitter);
    cm_source_close(&reader->source);
    av_free(reader);
}
