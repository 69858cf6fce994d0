/* packing.h - one matrix operand turned into panels of 16 columns: the layout every product kernel reads.
 *
 * Panels of B[k,n]: element (row, column) lies at ((column / 16) * k + row) * 16 + column % 16; the columns past n in
 * the last panel are zero. ceil(n / 16) * k * 16 elements, in the operand's own storage type. A baseline kernel reads
 * half a panel at a time, an AVX2 one a panel, an AVX-512 one several side by side: one packing serves every level.
 * compiler/lowering/packing.py writes the same bytes at build time.
 */
#ifndef CASTOFF_CPU_PACKING_H
#define CASTOFF_CPU_PACKING_H

#include "simd.h"

#define CASTOFF_PANEL 16

CASTOFF_INLINE int64_t castoff_min_i64(int64_t a, int64_t b) { return a < b ? a : b; }
CASTOFF_INLINE int64_t castoff_max_i64(int64_t a, int64_t b) { return a > b ? a : b; }
CASTOFF_INLINE int64_t castoff_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
CASTOFF_INLINE int64_t castoff_round_up(int64_t a, int64_t b) { return castoff_ceil_div(a, b) * b; }

/* Elements of the panels of a k x n operand. */
CASTOFF_INLINE int64_t castoff_panels_size(int64_t k, int64_t n) { return castoff_round_up(n, CASTOFF_PANEL) * k; }

/* out[j * out_stride + i] = in[i * in_stride + j] for i, j < 4. */
CASTOFF_INLINE void castoff_transpose4_f32(const float *in, int64_t in_stride, float *out, int64_t out_stride) {
    castoff_f32x4 r0 = *(const castoff_f32x4_u *)in, r1 = *(const castoff_f32x4_u *)(in + in_stride);
    castoff_f32x4 r2 = *(const castoff_f32x4_u *)(in + 2 * in_stride), r3 = *(const castoff_f32x4_u *)(in + 3 * in_stride);
    castoff_f32x4 low01 = __builtin_shufflevector(r0, r1, 0, 4, 1, 5), high01 = __builtin_shufflevector(r0, r1, 2, 6, 3, 7);
    castoff_f32x4 low23 = __builtin_shufflevector(r2, r3, 0, 4, 1, 5), high23 = __builtin_shufflevector(r2, r3, 2, 6, 3, 7);
    *(castoff_f32x4_u *)out = __builtin_shufflevector(low01, low23, 0, 1, 4, 5);
    *(castoff_f32x4_u *)(out + out_stride) = __builtin_shufflevector(low01, low23, 2, 3, 6, 7);
    *(castoff_f32x4_u *)(out + 2 * out_stride) = __builtin_shufflevector(high01, high23, 0, 1, 4, 5);
    *(castoff_f32x4_u *)(out + 3 * out_stride) = __builtin_shufflevector(high01, high23, 2, 3, 6, 7);
}

/* out[j * out_stride + i] = in[i * in_stride + j] for i < rows, j < cols. */
static CASTOFF_UNUSED void castoff_transpose_f32(const float *in, int64_t in_stride, float *out, int64_t out_stride,
                                                 int64_t rows, int64_t cols) {
    const int64_t whole = rows / 4 * 4;
    for (int64_t i = 0; i < whole; i += 4) {
        int64_t j = 0;
        for (; j + 4 <= cols; j += 4)
            castoff_transpose4_f32(in + i * in_stride + j, in_stride, out + j * out_stride + i, out_stride);
        for (; j < cols; j++)
            for (int64_t r = i; r < i + 4; r++) out[j * out_stride + r] = in[r * in_stride + j];
    }
    for (int64_t i = whole; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) out[j * out_stride + i] = in[i * in_stride + j];
}

/* Defines castoff_pack_panels_<name>: panels [first, last) of B (any strides) into `panels` (which begins at panel 0). */
#define CASTOFF_DEFINE_PACK_PANELS(name, type, transpose)                                                              \
    static CASTOFF_UNUSED void castoff_pack_panels_##name(type *panels, int64_t k, int64_t n, const type *b,          \
                                                          int64_t b_row, int64_t b_col, int64_t first, int64_t last) { \
        for (int64_t panel = first; panel < last; panel++) {                                                          \
            const int64_t col = panel * CASTOFF_PANEL, cols = castoff_min_i64(CASTOFF_PANEL, n - col);                \
            type *out = panels + panel * k * CASTOFF_PANEL;                                                           \
            const type *in = b + col * b_col;                                                                         \
            if (cols < CASTOFF_PANEL) memset(out, 0, (size_t)(k * CASTOFF_PANEL) * sizeof(type));                     \
            if (b_col == 1 && cols == CASTOFF_PANEL) {                                                                \
                for (int64_t row = 0; row < k; row++)                                                                 \
                    memcpy(out + row * CASTOFF_PANEL, in + row * b_row, CASTOFF_PANEL * sizeof(type));                \
            } else if (b_row == 1 && transpose(in, b_col, out, k, cols)) {                                            \
                continue;                                                                                             \
            } else {                                                                                                  \
                for (int64_t row = 0; row < k; row++)                                                                 \
                    for (int64_t j = 0; j < cols; j++)                                                                \
                        out[row * CASTOFF_PANEL + j] = in[row * b_row + j * b_col];                                   \
            }                                                                                                         \
        }                                                                                                             \
    }

CASTOFF_INLINE int castoff_panel_of_rows_f32(const float *in, int64_t in_stride, float *out, int64_t k, int64_t cols) {
    castoff_transpose_f32(in, in_stride, out, CASTOFF_PANEL, cols, k);
    return 1;
}
#define CASTOFF_NO_TRANSPOSE(in, in_stride, out, k, cols) 0

CASTOFF_DEFINE_PACK_PANELS(f32, float, castoff_panel_of_rows_f32)
CASTOFF_DEFINE_PACK_PANELS(f64, double, CASTOFF_NO_TRANSPOSE)
CASTOFF_DEFINE_PACK_PANELS(bf16, uint16_t, CASTOFF_NO_TRANSPOSE)
CASTOFF_DEFINE_PACK_PANELS(f16, uint16_t, CASTOFF_NO_TRANSPOSE)

#endif
