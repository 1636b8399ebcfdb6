/* Outputs without a muxer: YUV4MPEG2 for pipes, and pictures. */
#include <CSwanSystem.h>
#include <libavutil/opt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "internal.h"

/* ---- Descriptors ---- */

static cm_code write_all(int descriptor, const void *bytes, size_t size, cm_error *error) {
    int number = cs_write_all(descriptor, bytes, size, NULL);
    if (number == 0) return CM_OK;
    return cm_fail(
        error, cm_code_of_errno(number, false), "cannot be written: %s", strerror(number));
}

/* ---- YUV4MPEG2 ---- */

struct cm_y4m {
    int descriptor;
    bool owned, header_written;
    int width, height;
    cm_rational frame_rate;
    cm_converter converter;
    uint8_t *buffer; /* a frame with its marker, for one write per frame */
    size_t size;
};

static const char frame_marker[] = "FRAME\n";

cm_code cm_y4m_open(
    cm_y4m **result, int descriptor, bool owned, int width, int height, cm_rational frame_rate,
    cm_error *error) {
    *result = NULL;
    cm_log_begin();
    bool fits = width >= 1 && height >= 1 && width <= 16384 && height <= 16384;
    cm_y4m *y4m = fits ? av_mallocz(sizeof *y4m) : NULL;
    if (y4m != NULL) {
        size_t chroma = (size_t)((width + 1) / 2) * (size_t)((height + 1) / 2);
        y4m->size = sizeof frame_marker - 1 + (size_t)width * (size_t)height + 2 * chroma;
        y4m->buffer = av_malloc(y4m->size);
    }
    if (y4m == NULL || y4m->buffer == NULL) {
        av_free(y4m);
        if (owned) close(descriptor);
        if (!fits)
            return cm_fail(
                error, CM_UNSUPPORTED, "a size of %dx%d cannot be written", width, height);
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for frames of %dx%d", width, height);
    }
    y4m->descriptor = descriptor;
    y4m->owned = owned;
    y4m->width = width;
    y4m->height = height;
    y4m->frame_rate = frame_rate;
    *result = y4m;
    return CM_OK;
}

static cm_code write_y4m_header(cm_y4m *y4m, cm_error *error) {
    char header[160];
    int length = snprintf(
        header, sizeof header,
        "YUV4MPEG2 W%d H%d F%d:%d Ip A1:1 C420jpeg XYSCSS=420JPEG XCOLORRANGE=LIMITED\n",
        y4m->width, y4m->height, y4m->frame_rate.numerator, y4m->frame_rate.denominator);
    y4m->header_written = true;
    return write_all(y4m->descriptor, header, (size_t)length, error);
}

cm_code cm_y4m_append(cm_y4m *y4m, const uint8_t *rgb, cm_error *error) {
    cm_log_begin();
    cm_code code = y4m->header_written ? CM_OK : write_y4m_header(y4m, error);
    AVFrame *frame = NULL;
    if (code == CM_OK) {
        /* The format has no tag for the matrix: use the one that readers assume for the size. */
        int space = y4m->height < 720 ? SWS_CS_ITU601 : SWS_CS_ITU709;
        code = cm_from_rgb(
            &y4m->converter, rgb, y4m->width, y4m->height, AV_PIX_FMT_YUV420P, space,
            AVCHROMA_LOC_CENTER, &frame, error);
    }
    if (code != CM_OK) return code;
    uint8_t *to = y4m->buffer;
    memcpy(to, frame_marker, sizeof frame_marker - 1);
    to += sizeof frame_marker - 1;
    for (int plane = 0; plane < 3; plane++) {
        int width = plane == 0 ? y4m->width : (y4m->width + 1) / 2;
        int height = plane == 0 ? y4m->height : (y4m->height + 1) / 2;
        for (int y = 0; y < height; y++, to += width) {
            memcpy(to, frame->data[plane] + (ptrdiff_t)y * frame->linesize[plane], (size_t)width);
        }
    }
    return write_all(y4m->descriptor, y4m->buffer, y4m->size, error);
}

cm_code cm_y4m_finish(cm_y4m *y4m, cm_error *error) {
    cm_code code = y4m->header_written ? CM_OK : cm_fail(error, CM_EMPTY, "no frame was written");
    if (y4m->owned) {
        y4m->owned = false;
        if (close(y4m->descriptor) != 0 && code == CM_OK) {
            code = cm_fail(
                error, cm_code_of_errno(errno, false), "cannot be closed: %s", strerror(errno));
        }
    }
    return code;
}

void cm_y4m_free(cm_y4m *y4m) {
    if (y4m == NULL) return;
    if (y4m->owned) close(y4m->descriptor);
    cm_converter_free(&y4m->converter);
    av_free(y4m->buffer);
    av_free(y4m);
}

/* ---- Pictures ---- */

struct cm_picture {
    AVCodecContext *encoder;
    AVPacket *packet;
    cm_converter converter;
};

static const AVCodec *find_picture_encoder(cm_picture_kind kind) {
    return kind == CM_PICTURE_PNG ? avcodec_find_encoder(AV_CODEC_ID_PNG)
                                  : avcodec_find_encoder_by_name("libwebp");
}

static void set_up_picture(AVCodecContext *encoder, cm_picture_kind kind) {
    encoder->time_base = (AVRational){1, 25};
    encoder->thread_count = 1;
    if (kind == CM_PICTURE_PNG) {
        encoder->pix_fmt = AV_PIX_FMT_RGB24;
        encoder->compression_level = 3;
        av_opt_set(encoder->priv_data, "pred", "up", 0);
    } else {
        encoder->pix_fmt = AV_PIX_FMT_RGB32;
        av_opt_set(encoder->priv_data, "quality", "95", 0);
    }
}

cm_code cm_picture_open(
    cm_picture **result, cm_picture_kind kind, int width, int height, cm_error *error) {
    *result = NULL;
    cm_log_begin();
    const char *name = kind == CM_PICTURE_PNG ? "PNG" : "WebP";
    const AVCodec *codec = find_picture_encoder(kind);
    if (codec == NULL)
        return cm_fail(error, CM_UNSUPPORTED, "this build of FFmpeg has no %s encoder", name);
    cm_picture *picture = av_mallocz(sizeof *picture);
    if (picture == NULL) return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for an encoder");
    picture->encoder = avcodec_alloc_context3(codec);
    picture->packet = av_packet_alloc();
    int status = AVERROR(ENOMEM);
    if (picture->encoder != NULL && picture->packet != NULL) {
        picture->encoder->width = width;
        picture->encoder->height = height;
        set_up_picture(picture->encoder, kind);
        status = avcodec_open2(picture->encoder, codec, NULL);
    }
    if (status < 0) {
        cm_picture_free(picture);
        return cm_fail_av(
            error, CM_ENCODER, status, "cannot encode a %s of %dx%d", name, width, height);
    }
    *result = picture;
    return CM_OK;
}

cm_code cm_picture_encode(
    cm_picture *picture, const uint8_t *rgb, const uint8_t **bytes, size_t *size,
    cm_error *error) {
    cm_log_begin();
    AVFrame *frame = NULL;
    cm_code code = cm_from_rgb(
        &picture->converter, rgb, picture->encoder->width, picture->encoder->height,
        picture->encoder->pix_fmt, SWS_CS_ITU709, AVCHROMA_LOC_LEFT, &frame, error);
    if (code != CM_OK) return code;
    av_packet_unref(picture->packet);
    int status = avcodec_send_frame(picture->encoder, frame);
    if (status >= 0) status = avcodec_receive_packet(picture->encoder, picture->packet);
    if (status < 0) return cm_fail_av(error, CM_ENCODER, status, "cannot encode a picture");
    *bytes = picture->packet->data;
    *size = (size_t)picture->packet->size;
    return CM_OK;
}

void cm_picture_free(cm_picture *picture) {
    if (picture == NULL) return;
    avcodec_free_context(&picture->encoder);
    av_packet_free(&picture->packet);
    cm_converter_free(&picture->converter);
    av_free(picture);
}
