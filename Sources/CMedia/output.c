/* Outputs without a muxer: YUV4MPEG2 for pipes, and PNG. */
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

/* ---- PNG ---- */

struct cm_png {
    AVCodecContext *encoder;
    AVPacket *packet;
    cm_converter converter;
};

cm_code cm_png_open(cm_png **result, int width, int height, cm_error *error) {
    *result = NULL;
    cm_log_begin();
    const AVCodec *codec = avcodec_find_encoder(AV_CODEC_ID_PNG);
    if (codec == NULL)
        return cm_fail(error, CM_UNSUPPORTED, "this build of FFmpeg has no PNG encoder");
    cm_png *png = av_mallocz(sizeof *png);
    if (png == NULL) return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a PNG encoder");
    png->encoder = avcodec_alloc_context3(codec);
    png->packet = av_packet_alloc();
    int status = AVERROR(ENOMEM);
    if (png->encoder != NULL && png->packet != NULL) {
        png->encoder->width = width;
        png->encoder->height = height;
        png->encoder->pix_fmt = AV_PIX_FMT_RGB24;
        png->encoder->time_base = (AVRational){1, 25};
        png->encoder->thread_count = 1;
        png->encoder->compression_level = 3;
        av_opt_set(png->encoder->priv_data, "pred", "up", 0);
        status = avcodec_open2(png->encoder, codec, NULL);
    }
    if (status < 0) {
        cm_png_free(png);
        return cm_fail_av(
            error, CM_ENCODER, status, "cannot encode a PNG of %dx%d", width, height);
    }
    *result = png;
    return CM_OK;
}

cm_code cm_png_encode(
    cm_png *png, const uint8_t *rgb, const uint8_t **bytes, size_t *size, cm_error *error) {
    cm_log_begin();
    AVFrame *frame = NULL;
    cm_code code = cm_from_rgb(
        &png->converter, rgb, png->encoder->width, png->encoder->height, AV_PIX_FMT_RGB24,
        SWS_CS_ITU709, AVCHROMA_LOC_LEFT, &frame, error);
    if (code != CM_OK) return code;
    av_packet_unref(png->packet);
    int status = avcodec_send_frame(png->encoder, frame);
    if (status >= 0) status = avcodec_receive_packet(png->encoder, png->packet);
    if (status < 0) return cm_fail_av(error, CM_ENCODER, status, "cannot encode a PNG");
    *bytes = png->packet->data;
    *size = (size_t)png->packet->size;
    return CM_OK;
}

void cm_png_free(cm_png *png) {
    if (png == NULL) return;
    avcodec_free_context(&png->encoder);
    av_packet_free(&png->packet);
    cm_converter_free(&png->converter);
    av_free(png);
}
