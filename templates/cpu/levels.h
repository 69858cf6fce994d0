/* levels.h - blocks of products of 8-bit levels, which quantised programs compute with: tiles as tiles.h has them, of bytes.
 *
 *     row tiles      of A[m,k]: element (row, i) at ((row / 16) * steps + i / 64) * 1024 + row % 16 * 64 + i % 64, unsigned;
 *                    what comes signed is raised by 128
 *     quad panels    of B[k,n]: element (i, col) at ((col / 16) * steps + i / 64) * 1024 + i % 64 / 4 * 64 + col % 16 * 4 + i % 4,
 *                    signed
 *
 * with steps = ceil(k / 64); what lies past m, n and k is zero. Quads are what VPDPBUSD and TDPBUSD multiply; where neither
 * is there, PMADDWD multiplies them as pairs of 16 bits. Sums are of 32 bits and exact on every level, for k up to
 * 2^31 / (255 * 128). compiler/lowering/packing.py::pack_quad_panels writes the panels.
 */
#ifndef CASTOFF_CPU_LEVELS_H
#define CASTOFF_CPU_LEVELS_H

#include "tiles.h"

#define CASTOFF_LEVELS_STEP 64
#define CASTOFF_LEVELS_TILE 1024

typedef enum { CASTOFF_FROM_U8, CASTOFF_FROM_S8 } castoff_levels_source;

CASTOFF_INLINE int64_t castoff_levels_steps(int64_t k) { return castoff_ceil_div(k, CASTOFF_LEVELS_STEP); }
/* Bytes of the row tiles, or quad panels, of an operand with so many rows, or columns. */
CASTOFF_INLINE int64_t castoff_levels_size(int64_t count, int64_t k) {
    return castoff_ceil_div(count, 16) * castoff_levels_steps(k) * CASTOFF_LEVELS_TILE;
}

/* Levels that follow one another, raised where they are signed. */
CASTOFF_INLINE void castoff_levels_copy(uint8_t *out, const uint8_t *from, int64_t count, castoff_levels_source source) {
    const uint8_t flipped = source == CASTOFF_FROM_S8 ? 0x80 : 0;
    for (int64_t i = 0; i < count; i++) out[i] = from[i] ^ flipped;
}

CASTOFF_INLINE const void *castoff_levels_at(const void *p, int64_t elements, castoff_levels_source source) {
    (void)source;
    return (const uint8_t *)p + elements;
}

/* Row tiles of `rows` rows of A (any strides). */
static CASTOFF_UNUSED void castoff_levels_pack_rows(uint8_t *tiles, int64_t k, const void *a, int64_t a_row, int64_t a_col,
                                                    int64_t rows, castoff_levels_source source) {
    const int64_t steps = castoff_levels_steps(k);
    for (int64_t row = 0; row < castoff_round_up(rows, 16); row++) {
        uint8_t *out = tiles + row / 16 * steps * CASTOFF_LEVELS_TILE + row % 16 * CASTOFF_LEVELS_STEP;
        for (int64_t i = 0; i < k; i += CASTOFF_LEVELS_STEP, out += CASTOFF_LEVELS_TILE) {
            const int64_t count = row < rows ? castoff_min_i64(CASTOFF_LEVELS_STEP, k - i) : 0;
            const uint8_t *from = (const uint8_t *)a + (count ? row * a_row + i * a_col : 0);
            if (a_col == 1 && count == CASTOFF_LEVELS_STEP) {
                castoff_levels_copy(out, from, CASTOFF_LEVELS_STEP, source);
                continue;
            }
            for (int64_t j = 0; j < count; j++) castoff_levels_copy(out + j, from + j * a_col, 1, source);
            memset(out + count, 0, (size_t)(CASTOFF_LEVELS_STEP - count));
        }
    }
}

#if defined(__AVX512VNNI__)
/* Rows as they are; a quad is one word. */
CASTOFF_INLINE castoff_vi32 castoff_levels_dot(castoff_vi32 sum, const uint8_t *a, castoff_vu32 b) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(castoff_splat_word(a)), "v"(b));
    return sum;
}
#define ROW uint8_t
#define WIDENS 0
#else
typedef uint16_t castoff_levels_pairs __attribute__((vector_size(CASTOFF_VECTOR_BYTES), may_alias));
typedef int16_t castoff_levels_signed_pairs __attribute__((vector_size(CASTOFF_VECTOR_BYTES), may_alias));

/* The sums of products of pairs. */
CASTOFF_INLINE castoff_vi32 castoff_levels_multiply_pairs(castoff_vi32 x, castoff_vi32 y) {
#if CASTOFF_VECTOR_BYTES >= 32
    __asm__("vpmaddwd %1, %0, %0" : "+v"(x) : "v"(y));
    return x;
#elif defined(__SSE2__)
    __asm__("pmaddwd %1, %0" : "+x"(x) : "x"(y));
    return x;
#else
    const castoff_vi32 low_x = (castoff_vi32)((castoff_vu32)x << 16) >> 16, low_y = (castoff_vi32)((castoff_vu32)y << 16) >> 16;
    return low_x * low_y + (x >> 16) * (y >> 16);
#endif
}
/* Rows widened: of each quad first elements 0 and 2, then 1 and 3, as quads of columns come apart. */
CASTOFF_INLINE castoff_vi32 castoff_levels_dot(castoff_vi32 sum, const int16_t *a, castoff_vu32 b) {
    const castoff_levels_pairs bytes = (castoff_levels_pairs)b;
    const castoff_vi32 even = (castoff_vi32)((castoff_levels_signed_pairs)(bytes << 8) >> 8);
    const castoff_vi32 odd = (castoff_vi32)((castoff_levels_signed_pairs)bytes >> 8);
    sum += castoff_levels_multiply_pairs(even, (castoff_vi32)castoff_splat_word(a));
    return sum + castoff_levels_multiply_pairs(odd, (castoff_vi32)castoff_splat_word(a + 2));
}
CASTOFF_INLINE void castoff_levels_widen(int16_t *to, const uint8_t *from) {
    for (int i = 0; i < CASTOFF_LEVELS_STEP; i += 4, to += 4, from += 4) {
        to[0] = from[0], to[1] = from[2];
        to[2] = from[1], to[3] = from[3];
    }
}
#define ROW int16_t
#define WIDENS 1
#endif
#define ROW_WORD 4
#define N(name) castoff_levels_##name
#define ELEMENT uint8_t
#define STEP CASTOFF_LEVELS_STEP
#define TILE CASTOFF_LEVELS_TILE
#define SUM int32_t
#define VECTOR castoff_vi32
#define TILE_DOT "tdpbusd"
#include "tiles_engine.h"

#endif
