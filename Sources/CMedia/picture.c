/* Converts decoded frames to upright RGB24, and RGB24 to an encoder's pixel format. */
#include <libavutil/imgutils.h>
#include <libavutil/opt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* ---- Orientation ---- */

cm_orientation cm_orientation_of_matrix(const int32_t matrix[9]) {
    /* displayed x = a x + c y, displayed y = b x + d y; the larger pair shows whether the axes are
     * swapped. */
    int64_t a = matrix[0], b = matrix[1], c = matrix[3], d = matrix[4];
    if (llabs(a) + llabs(d) >= llabs(b) + llabs(c)) {
        return (cm_orientation){.transposed = false, .mirrored_x = a < 0, .mirrored_y = d < 0};
    }
    return (cm_orientation){.transposed = true, .mirrored_x = c < 0, .mirrored_y = b < 0};
}

cm_orientation cm_orientation_of_degrees(double clockwise) {
    if (!isfinite(clockwise)) return (cm_orientation){0};
    switch (((int)lround(fmod(clockwise, 360) / 90) + 4) % 4) {
    case 1: return (cm_orientation){.transposed = true, .mirrored_x = true};
    case 2: return (cm_orientation){.mirrored_x = true, .mirrored_y = true};
    case 3: return (cm_orientation){.transposed = true, .mirrored_y = true};
    default: return (cm_orientation){0};
    }
}

bool cm_orientation_is_upright(cm_orientation orientation) {
    return !orientation.transposed && !orientation.mirrored_x && !orientation.mirrored_y;
}

void cm_copy_upright(
    uint8_t *target, const uint8_t *source, ptrdiff_t stride, int width, int height,
    cm_orientation orientation) {
    if (cm_orientation_is_upright(orientation)) {
        size_t row = 3 * (size_t)width;
        for (int y = 0; y < height; y++) memcpy(target + (size_t)y * row, source + y * stride, row);
        return;
    }
    int shown_width = orientation.transposed ? height : width;
    int shown_height = orientation.transposed ? width : height;
    ptrdiff_t step_x = orientation.transposed ? stride : 3;
    ptrdiff_t step_y = orientation.transposed ? 3 : stride;
    if (orientation.mirrored_x) {
        source += (shown_width - 1) * step_x;
        step_x = -step_x;
    }
    if (orientation.mirrored_y) {
        source += (shown_height - 1) * step_y;
        step_y = -step_y;
    }
    /* In tiles, because a transposed row touches one cache line per pixel. */
    enum { tile = 32 };
    for (int top = 0; top < shown_height; top += tile) {
        int bottom = top + tile < shown_height ? top + tile : shown_height;
        for (int left = 0; left < shown_width; left += tile) {
            int right = left + tile < shown_width ? left + tile : shown_width;
            for (int y = top; y < bottom; y++) {
                uint8_t *to = target + 3 * ((size_t)y * (size_t)shown_width + (size_t)left);
                const uint8_t *from = source + y * step_y + left * step_x;
                for (int x = left; x < right; x++, to += 3, from += step_x) {
                    to[0] = from[0], to[1] = from[1], to[2] = from[2];
                }
            }
        }
    }
}

/* ---- Conversion ---- */

cm_code cm_make_picture(
    AVFrame **frame, int width, int height, enum AVPixelFormat format, cm_error *error) {
    if (*frame != NULL && (*frame)->width == width && (*frame)->height == height
        && (*frame)->format == format && av_frame_is_writable(*frame)) {
        return CM_OK;
    }
    av_frame_free(frame);
    AVFrame *made = av_frame_alloc();
    if (made != NULL) {
        made->width = width;
        made->height = height;
        made->format = format;
        if (av_frame_get_buffer(made, 64) >= 0) {
            *frame = made;
            return CM_OK;
        }
        av_frame_free(&made);
    }
    return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a frame of %dx%d", width, height);
}

/* The yuvj... formats imply full range; swscale expects the plain format and a flag. */
static enum AVPixelFormat plain_format(enum AVPixelFormat format, bool *full_range) {
    enum AVPixelFormat plain = format;
    switch (format) {
    case AV_PIX_FMT_YUVJ420P: plain = AV_PIX_FMT_YUV420P; break;
    case AV_PIX_FMT_YUVJ422P: plain = AV_PIX_FMT_YUV422P; break;
    case AV_PIX_FMT_YUVJ444P: plain = AV_PIX_FMT_YUV444P; break;
    case AV_PIX_FMT_YUVJ440P: plain = AV_PIX_FMT_YUV440P; break;
    case AV_PIX_FMT_YUVJ411P: plain = AV_PIX_FMT_YUV411P; break;
    default: break;
    }
    if (plain != format) *full_range = true;
    return plain;
}

/* swscale's matrix for a frame: as tagged, otherwise BT.601 for standard definition and BT.709
 * above. */
static int color_space(const AVFrame *frame) {
    switch (frame->colorspace) {
    case AVCOL_SPC_BT709: return SWS_CS_ITU709;
    case AVCOL_SPC_FCC: return SWS_CS_FCC;
    case AVCOL_SPC_BT470BG:
    case AVCOL_SPC_SMPTE170M: return SWS_CS_ITU601;
    case AVCOL_SPC_SMPTE240M: return SWS_CS_SMPTE240M;
    case AVCOL_SPC_BT2020_NCL:
    case AVCOL_SPC_BT2020_CL: return SWS_CS_BT2020;
    default: return frame->height < 720 ? SWS_CS_ITU601 : SWS_CS_ITU709;
    }
}

/* Chroma positions in 1/256 of a luma pixel, for 4:2:0. */
static void set_chroma(
    struct SwsContext *scaler, const char *side, enum AVChromaLocation location) {
    int x = location == AVCHROMA_LOC_CENTER || location == AVCHROMA_LOC_TOP ? 128 : 0;
    int y = location == AVCHROMA_LOC_TOPLEFT || location == AVCHROMA_LOC_TOP ? 0 : 128;
    bool source = strcmp(side, "src") == 0;
    av_opt_set_int(scaler, source ? "src_h_chr_pos" : "dst_h_chr_pos", x, 0);
    av_opt_set_int(scaler, source ? "src_v_chr_pos" : "dst_v_chr_pos", y, 0);
}

static bool is_420(enum AVPixelFormat format) {
    const AVPixFmtDescriptor *description = av_pix_fmt_desc_get(format);
    return description != NULL && description->nb_components >= 3 && description->log2_chroma_w == 1
        && description->log2_chroma_h == 1;
}

static cm_code set_up(
    cm_converter *converter, cm_picture_key key, const AVFrame *target, int flags,
    cm_error *error) {
    if (converter->scaler != NULL && memcmp(&converter->key, &key, sizeof key) == 0) return CM_OK;
    sws_freeContext(converter->scaler);
    bool to_rgb = target->format == AV_PIX_FMT_RGB24 || target->format == AV_PIX_FMT_RGBA;
    struct SwsContext *scaler = sws_alloc_context();
    converter->scaler = scaler;
    if (scaler == NULL)
        return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a pixel conversion");
    av_opt_set_int(scaler, "srcw", key.width, 0);
    av_opt_set_int(scaler, "srch", key.height, 0);
    av_opt_set_int(scaler, "src_format", key.format, 0);
    av_opt_set_int(scaler, "src_range", key.full_range, 0);
    av_opt_set_int(scaler, "dstw", target->width, 0);
    av_opt_set_int(scaler, "dsth", target->height, 0);
    av_opt_set_int(scaler, "dst_format", target->format, 0);
    av_opt_set_int(scaler, "sws_flags", flags, 0);
    if (to_rgb && is_420(key.format)) set_chroma(scaler, "src", key.chroma);
    if (!to_rgb && is_420(target->format)) set_chroma(scaler, "dst", key.chroma);
    int status = sws_init_context(scaler, NULL, NULL);
    if (status < 0) {
        sws_freeContext(scaler);
        converter->scaler = NULL;
        const char *name = av_get_pix_fmt_name(key.format);
        return cm_fail_av(
            error, CM_UNSUPPORTED, status, "cannot convert pixels of the format %s",
            name == NULL ? "unknown" : name);
    }
    const int *table = sws_getCoefficients(key.space);
    /* Fails only for format pairs without a matrix, where there is nothing to set. */
    sws_setColorspaceDetails(
        scaler, table, key.full_range, table, to_rgb ? 1 : 0, 0, 1 << 16, 1 << 16);
    converter->key = key;
    return CM_OK;
}

/* Lays RGBA over black. */
static void blend(const AVFrame *from, AVFrame *to) {
    for (int y = 0; y < to->height; y++) {
        const uint8_t *source = from->data[0] + (ptrdiff_t)y * from->linesize[0];
        uint8_t *target = to->data[0] + (ptrdiff_t)y * to->linesize[0];
        for (int x = 0; x < to->width; x++, source += 4, target += 3) {
            for (int channel = 0; channel < 3; channel++)
                target[channel] = (uint8_t)((source[channel] * source[3] + 127) / 255);
        }
    }
}

static bool has_alpha(const AVPixFmtDescriptor *description) {
    return (description->flags & (AV_PIX_FMT_FLAG_ALPHA | AV_PIX_FMT_FLAG_PAL)) != 0;
}

static bool any_transparent(const AVFrame *rgba) {
    for (int y = 0; y < rgba->height; y++) {
        const uint8_t *row = rgba->data[0] + (ptrdiff_t)y * rgba->linesize[0];
        for (int x = 0; x < rgba->width; x++) {
            if (row[4 * x + 3] != 255) return true;
        }
    }
    return false;
}

cm_code cm_to_rgb(
    cm_converter *converter, AVFrame *frame, int width, int height, const AVFrame **result,
    cm_error *error) {
    bool same_size = frame->width == width && frame->height == height;
    enum AVPixelFormat wanted = converter->keeps_alpha ? AV_PIX_FMT_RGBA : AV_PIX_FMT_RGB24;
    if (frame->format == wanted && same_size) {
        *result = frame;
        return CM_OK;
    }
    bool full_range = frame->color_range == AVCOL_RANGE_JPEG;
    enum AVPixelFormat format = plain_format(frame->format, &full_range);
    const AVPixFmtDescriptor *description = av_pix_fmt_desc_get(format);
    if (description == NULL || (description->flags & AV_PIX_FMT_FLAG_HWACCEL)) {
        return cm_fail(error, CM_UNSUPPORTED, "the decoder returned an unknown pixel format");
    }
    bool gray = description->nb_components <= 2 && !(description->flags & AV_PIX_FMT_FLAG_PAL);
    if (gray && frame->color_range != AVCOL_RANGE_MPEG) full_range = true;
    cm_code code = cm_make_picture(&converter->target, width, height, wanted, error);
    if (code != CM_OK) return code;
    bool blends = !converter->opaque && !converter->keeps_alpha && has_alpha(description);
    bool exact = converter->still && same_size && !blends && !converter->keeps_alpha;
    if (exact && cm_still_supports(format)) {
        *result = converter->target;
        return cm_still_to_rgb(frame, full_range, converter->target, error);
    }
    cm_picture_key key = {
        .width = frame->width,
        .height = frame->height,
        .format = format,
        .space = color_space(frame),
        .full_range = full_range,
        .chroma = frame->chroma_location,
    };
    AVFrame *target = converter->target;
    if (blends) {
        code = cm_make_picture(&converter->source, width, height, AV_PIX_FMT_RGBA, error);
        if (code != CM_OK) return code;
        target = converter->source;
    }
    int flags = same_size ? SWS_BILINEAR : SWS_BICUBIC;
    /* Interpolated chroma and exact rounding take 10 times as long: use them only for sizes that
     * will probably not be downscaled. */
    if ((int64_t)width * height <= 640 * 960) flags |= SWS_ACCURATE_RND | SWS_FULL_CHR_H_INT;
    code = set_up(converter, key, target, flags, error);
    if (code != CM_OK) return code;
    int rows = sws_scale(
        converter->scaler, (const uint8_t *const *)frame->data, frame->linesize, 0, frame->height,
        target->data, target->linesize);
    if (rows < 0)
        return cm_fail_av(error, CM_DECODER, rows, "cannot convert the pixels of a frame");
    if (blends) {
        blend(target, converter->target);
        converter->blended = converter->blended || any_transparent(target);
    }
    *result = converter->target;
    return CM_OK;
}

cm_code cm_from_rgb(
    cm_converter *converter, const uint8_t *rgb, int width, int height, enum AVPixelFormat format,
    int space, enum AVChromaLocation chroma, AVFrame **result, cm_error *error) {
    cm_code code = cm_make_picture(&converter->target, width, height, format, error);
    if (code != CM_OK) return code;
    *result = converter->target;
    AVFrame *packed = converter->target;
    if (format != AV_PIX_FMT_RGB24) {
        /* Use padded rows, because swscale's vector loads run past the end of a row. */
        code = cm_make_picture(&converter->source, width, height, AV_PIX_FMT_RGB24, error);
        if (code != CM_OK) return code;
        packed = converter->source;
    }
    av_image_copy_plane(packed->data[0], packed->linesize[0], rgb, 3 * width, 3 * width, height);
    if (format == AV_PIX_FMT_RGB24) return CM_OK;
    cm_picture_key key = {
        .width = width,
        .height = height,
        .format = AV_PIX_FMT_RGB24,
        .space = space,
        .full_range = 1,
        .chroma = chroma,
    };
    code = set_up(
        converter, key, converter->target, SWS_BILINEAR | SWS_ACCURATE_RND | SWS_FULL_CHR_H_INP,
        error);
    if (code != CM_OK) return code;
    int rows = sws_scale(
        converter->scaler, (const uint8_t *const *)packed->data, packed->linesize, 0, height,
        converter->target->data, converter->target->linesize);
    if (rows < 0)
        return cm_fail_av(error, CM_ENCODER, rows, "cannot convert the pixels of a frame");
    return CM_OK;
}

void cm_converter_free(cm_converter *converter) {
    sws_freeContext(converter->scaler);
    converter->scaler = NULL;
    av_frame_free(&converter->source);
    av_frame_free(&converter->target);
}
