/* Converts 8-bit Y'CbCr still images to RGB as the JPEG and WebP libraries do.
 *
 * swscale shifts chroma by half a pixel when it doubles rows bilinearly, and stretches it for odd
 * sizes, which is invisible in video but measurable in still images. */
#include <stdlib.h>
#include <string.h>

#include "internal.h"

/* 8-bit planar formats with full chroma resolution, or half of it on one or both axes. */
static bool is_plain_yuv(const AVPixFmtDescriptor *format) {
    const uint64_t other = AV_PIX_FMT_FLAG_RGB | AV_PIX_FMT_FLAG_PAL | AV_PIX_FMT_FLAG_BITSTREAM
                         | AV_PIX_FMT_FLAG_HWACCEL;
    if (format == NULL || (format->flags & other) || !(format->flags & AV_PIX_FMT_FLAG_PLANAR))
        return false;
    return format->nb_components >= 3 && format->comp[0].depth == 8 && format->comp[1].step == 1
        && format->log2_chroma_w <= 1 && format->log2_chroma_h <= 1;
}

bool cm_still_supports(enum AVPixelFormat format) {
    return is_plain_yuv(av_pix_fmt_desc_get(format));
}

/* 16 times the chroma of one row: three quarters of the nearer sample and one quarter of the
 * farther, on both axes, with edge samples repeated. */
static void widen(
    int *row, const uint8_t *near, const uint8_t *far, int width, bool halved) {
    if (!halved) {
        for (int x = 0; x < width; x++) row[x] = 4 * (3 * near[x] + far[x]);
        return;
    }
    int last = (width + 1) / 2 - 1;
    for (int x = 0; x < width; x++) {
        int at = x / 2, side = x % 2 == 0 ? at - 1 : at + 1;
        if (side < 0) side = 0;
        if (side > last) side = last;
        row[x] = 3 * (3 * near[at] + far[at]) + 3 * near[side] + far[side];
    }
}

static uint8_t clipped(int value) { return value < 0 ? 0 : value > 255 ? 255 : (uint8_t)value; }

cm_code cm_still_to_rgb(const AVFrame *frame, bool full_range, AVFrame *target, cm_error *error) {
    const AVPixFmtDescriptor *format = av_pix_fmt_desc_get(frame->format);
    int width = frame->width, rows = frame->height;
    int *blue = malloc(2 * (size_t)width * sizeof *blue);
    if (blue == NULL) return cm_fail(error, CM_OUT_OF_MEMORY, "out of memory for a row of pixels");
    int *red = blue + width;
    /* ITU-R BT.601, in 1/2^20. */
    int luma = full_range ? 1 << 20 : 1220542, black = full_range ? 0 : 16;
    int red_red = full_range ? 1470104 : 1673528, blue_blue = full_range ? 1858077 : 2115216;
    int green_red = full_range ? -748830 : -852465, green_blue = full_range ? -360853 : -410788;
    bool halved = format->log2_chroma_w == 1;
    int last = format->log2_chroma_h == 1 ? (rows + 1) / 2 - 1 : rows - 1;
    for (int y = 0; y < rows; y++) {
        int near = y, far = y;
        if (format->log2_chroma_h == 1) {
            near = y / 2;
            far = y % 2 == 0 ? near - 1 : near + 1;
            far = far < 0 ? 0 : far > last ? last : far;
        }
        const uint8_t *const *planes = (const uint8_t *const *)frame->data;
        widen(
            blue, planes[1] + (ptrdiff_t)near * frame->linesize[1],
            planes[1] + (ptrdiff_t)far * frame->linesize[1], width, halved);
        widen(
            red, planes[2] + (ptrdiff_t)near * frame->linesize[2],
            planes[2] + (ptrdiff_t)far * frame->linesize[2], width, halved);
        const uint8_t *light = planes[0] + (ptrdiff_t)y * frame->linesize[0];
        uint8_t *to = target->data[0] + (ptrdiff_t)y * target->linesize[0];
        for (int x = 0; x < width; x++, to += 3) {
            int cb = (blue[x] + 8) / 16 - 128, cr = (red[x] + 8) / 16 - 128;
            int base = (light[x] - black) * luma + (1 << 19);
            to[0] = clipped((base + cr * red_red) >> 20);
            to[1] = clipped((base + cb * green_blue + cr * green_red) >> 20);
            to[2] = clipped((base + cb * blue_blue) >> 20);
        }
    }
    free(blue);
    return CM_OK;
}
