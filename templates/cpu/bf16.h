/* bf16.h - blocks of bfloat16 products: 16 rows or 16 columns by 32 of the inner dimension are one kilobyte, and both
 * operands lie in memory as such kilobytes, whatever the level multiplies them with.
 *
 *     row tiles      of A[m,k]: element (row, i) at ((row / 16) * steps + i / 32) * 512 + row % 16 * 32 + i % 32
 *     pair panels    of B[k,n]: element (i, col) at ((col / 16) * steps + i / 32) * 512 + i % 32 / 2 * 32 + col % 16 * 2 + i % 2
 *
 * with steps = ceil(k / 32); what lies past m, n and k is zero. Pairs are what VDPBF16PS and TDPBF16PS multiply; where
 * neither is there, each half of a pair widens to float with one shift or mask. Sums are float on every level.
 * compiler/lowering/packing.py writes the same panels at build time.
 */
#ifndef CASTOFF_CPU_BF16_H
#define CASTOFF_CPU_BF16_H

#include "tiles.h"

#define CASTOFF_BF16_STEP 32
#define CASTOFF_BF16_TILE 512 /* elements of a kilobyte */

CASTOFF_INLINE int64_t castoff_bf16_steps(int64_t k) { return castoff_ceil_div(k, CASTOFF_BF16_STEP); }
/* Elements of the row tiles, or pair panels, of an operand with so many rows, or columns. */
CASTOFF_INLINE int64_t castoff_bf16_size(int64_t count, int64_t k) {
    return castoff_ceil_div(count, 16) * castoff_bf16_steps(k) * CASTOFF_BF16_TILE;
}

/* ---- rounding and packing ---- */

typedef enum { CASTOFF_FROM_BF16, CASTOFF_FROM_F32 } castoff_bf16_source;

CASTOFF_INLINE uint16_t castoff_narrow_bf16(float x) { return (uint16_t)(castoff_round_bf16(castoff_splat_f32(x))[0] >> 16); }

/* LANES elements, in the upper halves. */
CASTOFF_INLINE castoff_vu32 castoff_bf16_take(const void *p, int64_t at, castoff_bf16_source from) {
    if (from == CASTOFF_FROM_F32) return castoff_round_bf16(castoff_load_f32((const float *)p + at));
    return (castoff_vu32)castoff_load_bf16((const uint16_t *)p + at);
}
CASTOFF_INLINE uint16_t castoff_bf16_take_one(const void *p, int64_t at, castoff_bf16_source from) {
    return from == CASTOFF_FROM_F32 ? castoff_narrow_bf16(((const float *)p)[at]) : ((const uint16_t *)p)[at];
}

CASTOFF_INLINE void castoff_bf16_pack_rows_from(uint16_t *tiles, int64_t k, const void *a, int64_t a_row, int64_t a_col,
                                                int64_t rows, castoff_bf16_source from) {
    const int64_t steps = castoff_bf16_steps(k);
    for (int64_t row = 0; row < castoff_round_up(rows, 16); row++) {
        uint16_t *out = tiles + row / 16 * steps * CASTOFF_BF16_TILE + row % 16 * CASTOFF_BF16_STEP;
        for (int64_t i = 0; i < k; i += CASTOFF_BF16_STEP, out += CASTOFF_BF16_TILE) {
            const int64_t count = row < rows ? castoff_min_i64(CASTOFF_BF16_STEP, k - i) : 0, at = row * a_row + i * a_col;
            if (a_col == 1 && count == CASTOFF_BF16_STEP) {
                if (from == CASTOFF_FROM_BF16) {
                    memcpy(out, (const uint16_t *)a + at, 2 * CASTOFF_BF16_STEP);
                    continue;
                }
                CASTOFF_UNROLL for (int j = 0; j < CASTOFF_BF16_STEP; j += CASTOFF_VF32_LANES)
                    *(castoff_vu16_u *)(out + j) =
                        __builtin_convertvector(castoff_bf16_take(a, at + j, from) >> 16, castoff_vu16);
                continue;
            }
            int64_t j = 0;
            for (; j < count; j++) out[j] = castoff_bf16_take_one(a, at + j * a_col, from);
            for (; j < CASTOFF_BF16_STEP; j++) out[j] = 0;
        }
    }
}

/* Row tiles of `rows` rows of A (any strides). */
static CASTOFF_UNUSED void castoff_bf16_pack_rows(uint16_t *tiles, int64_t k, const void *a, int64_t a_row, int64_t a_col,
                                                  int64_t rows, castoff_bf16_source from) {
    if (from == CASTOFF_FROM_F32)
        castoff_bf16_pack_rows_from(tiles, k, a, a_row, a_col, rows, CASTOFF_FROM_F32);
    else
        castoff_bf16_pack_rows_from(tiles, k, a, a_row, a_col, rows, CASTOFF_FROM_BF16);
}

CASTOFF_INLINE void castoff_bf16_pack_panel(uint16_t *out, int64_t k, const void *b, int64_t b_row, int64_t b_col,
                                            int64_t first, int64_t cols, castoff_bf16_source from) {
    const int64_t padded = castoff_bf16_steps(k) * CASTOFF_BF16_STEP;
    int64_t i = 0;
    if (b_col == 1 && cols == 16)
        for (; i + 2 <= k; i += 2, out += 32)
            CASTOFF_UNROLL for (int j = 0; j < 16; j += CASTOFF_VF32_LANES) {
                const castoff_vu32 low = castoff_bf16_take(b, first + i * b_row + j, from);
                const castoff_vu32 high = castoff_bf16_take(b, first + (i + 1) * b_row + j, from);
                const castoff_vu32 pair = low >> 16 | high;
                memcpy(out + 2 * j, &pair, sizeof pair);
            }
    for (; i < padded; i += 2, out += 32)
        for (int64_t j = 0; j < 16; j++)
            for (int64_t half = 0; half < 2; half++)
                out[2 * j + half] = j < cols && i + half < k
                                        ? castoff_bf16_take_one(b, first + (i + half) * b_row + j * b_col, from)
                                        : 0;
}

/* Pair panels [first, last) of B[k,n] (any strides) into `panels` (which begins at panel 0). */
static CASTOFF_UNUSED void castoff_bf16_pack_panels(uint16_t *panels, int64_t k, int64_t n, const void *b, int64_t b_row,
                                                    int64_t b_col, int64_t first, int64_t last, castoff_bf16_source from) {
    const int64_t size = castoff_bf16_steps(k) * CASTOFF_BF16_TILE;
    for (int64_t panel = first; panel < last; panel++) {
        const int64_t col = panel * 16, cols = castoff_min_i64(16, n - col);
        if (from == CASTOFF_FROM_F32)
            castoff_bf16_pack_panel(panels + panel * size, k, b, b_row, b_col, col * b_col, cols, CASTOFF_FROM_F32);
        else
            castoff_bf16_pack_panel(panels + panel * size, k, b, b_row, b_col, col * b_col, cols, CASTOFF_FROM_BF16);
    }
}

/* ---- blocks ---- */

#if defined(__AVX512BF16__)
/* Rows as they are; a pair is one word. */
CASTOFF_INLINE castoff_vf32 castoff_bf16_dot(castoff_vf32 sum, const uint16_t *a, castoff_vu32 b) {
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(castoff_splat_word(a)), "v"(b));
    return sum;
}
#define ROW uint16_t
#define WIDENS 0
#else
/* Rows widened before they are multiplied. */
CASTOFF_INLINE castoff_vf32 castoff_bf16_dot(castoff_vf32 sum, const float *a, castoff_vu32 b) {
    sum = castoff_fma_f32(castoff_splat_f32(a[0]), (castoff_vf32)(b << 16), sum);
    return castoff_fma_f32(castoff_splat_f32(a[1]), (castoff_vf32)(b & 0xffff0000u), sum);
}
CASTOFF_INLINE void castoff_bf16_widen(float *to, const uint16_t *from) {
    CASTOFF_UNROLL for (int i = 0; i < CASTOFF_BF16_STEP; i += CASTOFF_VF32_LANES)
        castoff_store_f32(to + i, castoff_load_bf16(from + i));
}
#define ROW float
#define WIDENS 1
#endif
#define ROW_WORD 2
#define N(name) castoff_bf16_##name
#define ELEMENT uint16_t
#define STEP CASTOFF_BF16_STEP
#define TILE CASTOFF_BF16_TILE
#define SUM float
#define VECTOR castoff_vf32
#define TILE_DOT "tdpbf16ps"
#include "tiles_engine.h"

#endif
