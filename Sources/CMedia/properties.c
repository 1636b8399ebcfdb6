/* Properties of a stream that headers state in several places. */
#include <math.h>
#include <stdlib.h>

#include "internal.h"

bool cm_is_positive(AVRational value) { return value.num > 0 && value.den > 0; }

/* The range of plausible frame rates; headers may contain anything. */
static bool is_rate(AVRational value) {
    return cm_is_positive(value) && av_q2d(value) >= 1e-4 && av_q2d(value) <= 1000;
}

static const int32_t *stream_matrix(const AVStream *stream) {
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 100)
    const AVPacketSideData *data = av_packet_side_data_get(
        stream->codecpar->coded_side_data, stream->codecpar->nb_coded_side_data,
        AV_PKT_DATA_DISPLAYMATRIX);
    return data != NULL && data->size >= 9 * sizeof(int32_t) ? (const int32_t *)data->data : NULL;
#else
#if LIBAVFORMAT_VERSION_MAJOR >= 59
    size_t size = 0;
#else
    int size = 0;
#endif
    const uint8_t *data = av_stream_get_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, &size);
    return data != NULL && (size_t)size >= 9 * sizeof(int32_t) ? (const int32_t *)data : NULL;
#endif
}

/* From the container, otherwise from its older tag or the first frame (an H.264 message or a
 * photo's EXIF data). */
cm_orientation cm_find_orientation(const AVStream *stream, const AVFrame *first) {
    cm_orientation orientation = {0};
    const int32_t *matrix = stream_matrix(stream);
    if (matrix != NULL) orientation = cm_orientation_of_matrix(matrix);
    if (!cm_orientation_is_upright(orientation)) return orientation;
    const AVDictionaryEntry *tag = av_dict_get(stream->metadata, "rotate", NULL, 0);
    if (tag != NULL) orientation = cm_orientation_of_degrees(strtod(tag->value, NULL));
    if (!cm_orientation_is_upright(orientation)) return orientation;
    const AVFrameSideData *side = av_frame_get_side_data(first, AV_FRAME_DATA_DISPLAYMATRIX);
    if (side != NULL && (size_t)side->size >= 9 * sizeof(int32_t)) {
        orientation = cm_orientation_of_matrix((const int32_t *)side->data);
    }
    return orientation;
}

static bool agree(AVRational one, AVRational other) {
    return fabs(av_q2d(one) / av_q2d(other) - 1) < 2e-4;
}

/* The average rate, or the stream's nominal fraction if they agree within 0.02% (30 and 29.97 do
 * not). */
AVRational cm_find_frame_rate(const AVStream *stream, AVRational coded) {
    AVRational average = stream->avg_frame_rate, nominal = stream->r_frame_rate;
    /* AVI counts H.264 fields as frames; use the rate in the video's own headers. */
    if (is_rate(coded) && is_rate(average) && fabs(av_q2d(average) / av_q2d(coded) - 2) < 2e-3) {
        return coded;
    }
    if (!is_rate(average)) return is_rate(nominal) ? nominal : (AVRational){25, 1};
    if (is_rate(nominal) && agree(average, nominal)) return nominal;
    return average;
}

bool cm_rate_varies(const AVStream *stream, AVRational coded) {
    AVRational rate = cm_find_frame_rate(stream, coded), nominal = stream->r_frame_rate;
    /* Twice the rate is that of fields. */
    return is_rate(nominal) && !agree(rate, nominal)
        && fabs(av_q2d(nominal) / av_q2d(rate) - 2) > 2e-3;
}
