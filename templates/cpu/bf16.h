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

#include "packing.h"

#define CASTOFF_BF16_STEP 32
#define CASTOFF_BF16_TILE 512 /* elements of a kilobyte */
/* A block of sums: 32 x 32, or for few rows 16 x 64. */
#define CASTOFF_BF16_SUMS 1024

CASTOFF_INLINE int64_t castoff_bf16_steps(int64_t k) { return castoff_ceil_div(k, CASTOFF_BF16_STEP); }
/* Elements of the row tiles, or pair panels, of an operand with so many rows, or columns. */
CASTOFF_INLINE int64_t castoff_bf16_size(int64_t count, int64_t k) {
    return castoff_ceil_div(count, 16) * castoff_bf16_steps(k) * CASTOFF_BF16_TILE;
}

/* ---- rounding and packing ---- */

typedef enum { CASTOFF_FROM_BF16, CASTOFF_FROM_F32 } castoff_bf16_source;

/* Rounded to nearest even, in the upper halves; the lower ones are zero. NaN stays NaN. */
CASTOFF_INLINE castoff_vu32 castoff_round_bf16(castoff_vf32 x) {
    const castoff_vu32 bits = (castoff_vu32)x, rounded = bits + 0x7fffu + (bits >> 16 & 1u);
    const castoff_vu32 is_nan = (castoff_vu32)((bits & 0x7fffffffu) > 0x7f800000u);
    return ((rounded & ~is_nan) | (is_nan & 0x7fc00000u)) & 0xffff0000u;
}
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

/* sums[row * width + col] (+)= rows of A times columns of B, over `steps` kilobytes of each. rows <= 32 and width 32, or
 * rows <= 16 and width 64; a and b point at the first step, tiles and panels are a_tile and b_panel elements apart. */
typedef struct {
    int64_t rows, cols, width, steps;
    const uint16_t *a, *b;
    int64_t a_tile, b_panel;
    float *sums;
    int add;
} castoff_bf16_piece;

#if defined(__AMX_BF16__)

/* gcc 12 declares tile loads without the memory they read; hence assembly. */
#define CASTOFF_TILE_LOAD(tile, from, stride)                                                                          \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(from), "r"((int64_t)(stride)) : "memory")
#define CASTOFF_TILE_STORE(tile, to, stride)                                                                           \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(to), "r"((int64_t)(stride)) : "memory")
#define CASTOFF_TILE_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile ::)
#define CASTOFF_TILE_MULTIPLY(sum, a, b) __asm__ volatile("tdpbf16ps %%tmm" #b ", %%tmm" #a ", %%tmm" #sum ::)

/* Steps at a time, so that the outer operand stays in the first cache while the inner one goes by; with few rows nothing
 * is read again. */
#define CASTOFF_BF16_CHUNK 16
#define CASTOFF_BF16_STRIP_CHUNK INT64_MAX

/* Tiles 0 to 3 are sums, 4 and 5 rows, 6 and 7 columns; with few rows, 4 is the only one of rows and 5 to 7 are columns. */
CASTOFF_INLINE void castoff_bf16_begin(int64_t rows) {
    struct {
        uint8_t palette, start, reserved[14];
        uint16_t row_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.row_bytes[i] = 64;
        config.rows[i] = (uint8_t)(rows < 16 && i < 5 ? rows : 16);
    }
    __asm__ volatile("ldtilecfg %0" ::"m"(config));
}
CASTOFF_INLINE void castoff_bf16_end(void) { __asm__ volatile("tilerelease" ::); }

CASTOFF_INLINE void castoff_bf16_square(const castoff_bf16_piece *p, const int two_rows, const int two_cols) {
    const uint16_t *a0 = p->a, *a1 = a0 + p->a_tile, *b0 = p->b, *b1 = b0 + p->b_panel;
    float *low = p->sums + 512;
    if (p->add) {
        CASTOFF_TILE_LOAD(0, p->sums, 128);
        if (two_cols) CASTOFF_TILE_LOAD(1, p->sums + 16, 128);
        if (two_rows) CASTOFF_TILE_LOAD(2, low, 128);
        if (two_rows && two_cols) CASTOFF_TILE_LOAD(3, low + 16, 128);
    } else {
        CASTOFF_TILE_ZERO(0);
        CASTOFF_TILE_ZERO(1);
        CASTOFF_TILE_ZERO(2);
        CASTOFF_TILE_ZERO(3);
    }
    CASTOFF_NO_UNROLL for (int64_t at = 0; at < p->steps * CASTOFF_BF16_TILE; at += CASTOFF_BF16_TILE) {
        CASTOFF_TILE_LOAD(4, a0 + at, 64);
        CASTOFF_TILE_LOAD(6, b0 + at, 64);
        CASTOFF_TILE_MULTIPLY(0, 4, 6);
        if (two_cols) {
            CASTOFF_TILE_LOAD(7, b1 + at, 64);
            CASTOFF_TILE_MULTIPLY(1, 4, 7);
        }
        if (two_rows) {
            CASTOFF_TILE_LOAD(5, a1 + at, 64);
            CASTOFF_TILE_MULTIPLY(2, 5, 6);
            if (two_cols) CASTOFF_TILE_MULTIPLY(3, 5, 7);
        }
    }
    CASTOFF_TILE_STORE(0, p->sums, 128);
    if (two_cols) CASTOFF_TILE_STORE(1, p->sums + 16, 128);
    if (two_rows) CASTOFF_TILE_STORE(2, low, 128);
    if (two_rows && two_cols) CASTOFF_TILE_STORE(3, low + 16, 128);
}

/* Up to 16 rows by 64 columns: columns are read once, from wherever they are. */
CASTOFF_INLINE void castoff_bf16_strip(const castoff_bf16_piece *p) {
    const uint16_t *a = p->a, *b0 = p->b, *b1 = b0, *b2 = b0, *b3 = b0;
    if (p->cols > 16) b1 = b2 = b3 = b0 + p->b_panel;
    if (p->cols > 32) b2 = b3 = b1 + p->b_panel;
    if (p->cols > 48) b3 = b2 + p->b_panel;
    if (p->add) {
        CASTOFF_TILE_LOAD(0, p->sums, 256);
        CASTOFF_TILE_LOAD(1, p->sums + 16, 256);
        CASTOFF_TILE_LOAD(2, p->sums + 32, 256);
        CASTOFF_TILE_LOAD(3, p->sums + 48, 256);
    } else {
        CASTOFF_TILE_ZERO(0);
        CASTOFF_TILE_ZERO(1);
        CASTOFF_TILE_ZERO(2);
        CASTOFF_TILE_ZERO(3);
    }
    CASTOFF_NO_UNROLL for (int64_t at = 0; at < p->steps * CASTOFF_BF16_TILE; at += CASTOFF_BF16_TILE) {
        CASTOFF_TILE_LOAD(4, a + at, 64);
        CASTOFF_TILE_LOAD(5, b0 + at, 64);
        CASTOFF_TILE_MULTIPLY(0, 4, 5);
        CASTOFF_TILE_LOAD(6, b1 + at, 64);
        CASTOFF_TILE_MULTIPLY(1, 4, 6);
        CASTOFF_TILE_LOAD(7, b2 + at, 64);
        CASTOFF_TILE_MULTIPLY(2, 4, 7);
        CASTOFF_TILE_LOAD(5, b3 + at, 64);
        CASTOFF_TILE_MULTIPLY(3, 4, 5);
    }
    CASTOFF_TILE_STORE(0, p->sums, 256);
    CASTOFF_TILE_STORE(1, p->sums + 16, 256);
    CASTOFF_TILE_STORE(2, p->sums + 32, 256);
    CASTOFF_TILE_STORE(3, p->sums + 48, 256);
}

CASTOFF_NOINLINE void castoff_bf16_multiply(const castoff_bf16_piece *p) {
    if (p->width == 64)
        castoff_bf16_strip(p);
    else if (p->rows > 16 && p->cols > 16)
        castoff_bf16_square(p, 1, 1);
    else if (p->rows > 16)
        castoff_bf16_square(p, 1, 0);
    else
        castoff_bf16_square(p, 0, p->cols > 16);
}

#else

#define CASTOFF_BF16_CHUNK 8
#define CASTOFF_BF16_STRIP_CHUNK CASTOFF_BF16_CHUNK

CASTOFF_INLINE void castoff_bf16_begin(int64_t rows) { (void)rows; }
CASTOFF_INLINE void castoff_bf16_end(void) {}

#if defined(__AVX512BF16__)
/* Rows as they are; a pair is one word. */
typedef uint16_t castoff_bf16_row;
#define CASTOFF_BF16_ROW_STEP CASTOFF_BF16_TILE
CASTOFF_INLINE castoff_vf32 castoff_bf16_pairs(castoff_vf32 sum, const uint16_t *a, castoff_vu32 b) {
    uint32_t pair;
    memcpy(&pair, a, 4);
    const castoff_vu32 x = {pair, pair, pair, pair, pair, pair, pair, pair, pair, pair, pair, pair, pair, pair, pair, pair};
    __asm__("vdpbf16ps %2, %1, %0" : "+v"(sum) : "v"(x), "v"(b));
    return sum;
}
#else
/* Rows widened before they are multiplied. */
typedef float castoff_bf16_row;
#define CASTOFF_BF16_ROW_STEP CASTOFF_BF16_STEP
CASTOFF_INLINE castoff_vf32 castoff_bf16_pairs(castoff_vf32 sum, const float *a, castoff_vu32 b) {
    sum = castoff_fma_f32(castoff_splat_f32(a[0]), (castoff_vf32)(b << 16), sum);
    return castoff_fma_f32(castoff_splat_f32(a[1]), (castoff_vf32)(b & 0xffff0000u), sum);
}
#endif

/* `height` rows, `row_stride` apart, times `vectors` vectors of columns. */
CASTOFF_INLINE void castoff_bf16_kernel(const castoff_bf16_piece *p, const castoff_bf16_row *a, int64_t row_stride,
                                        int64_t row, int64_t col, const int height, const int vectors) {
    castoff_vf32 sum[8][4];
    float *out = p->sums + row * p->width + col;
    const uint16_t *b[4];
    CASTOFF_UNROLL for (int j = 0; j < vectors; j++) {
        const int64_t at = col + j * CASTOFF_VF32_LANES;
        b[j] = p->b + at / 16 * p->b_panel + at % 16 * 2;
        CASTOFF_UNROLL for (int i = 0; i < height; i++)
            sum[i][j] = p->add ? castoff_load_f32(out + i * p->width + j * CASTOFF_VF32_LANES) : castoff_splat_f32(0);
    }
    for (int64_t step = 0; step < p->steps; step++, a += CASTOFF_BF16_ROW_STEP)
        CASTOFF_NO_UNROLL for (int pair = 0; pair < 16; pair++)
            CASTOFF_UNROLL for (int j = 0; j < vectors; j++) {
                castoff_vu32 words;
                memcpy(&words, b[j], sizeof words);
                b[j] += 32;
                CASTOFF_UNROLL for (int i = 0; i < height; i++)
                    sum[i][j] = castoff_bf16_pairs(sum[i][j], a + i * row_stride + 2 * pair, words);
            }
    CASTOFF_UNROLL for (int i = 0; i < height; i++)
        CASTOFF_UNROLL for (int j = 0; j < vectors; j++)
            castoff_store_f32(out + i * p->width + j * CASTOFF_VF32_LANES, sum[i][j]);
}

CASTOFF_NOINLINE void castoff_bf16_multiply(const castoff_bf16_piece *p) {
    const int64_t width = castoff_round_up(p->cols, 16);
#if defined(__AVX512BF16__)
    const int64_t row_stride = CASTOFF_BF16_STEP;
#else
    float wide[32 * CASTOFF_BF16_CHUNK * CASTOFF_BF16_STEP] __attribute__((aligned(64)));
    const int64_t row_stride = p->steps * CASTOFF_BF16_STEP;
    for (int64_t row = 0; row < p->rows; row++)
        for (int64_t step = 0; step < p->steps; step++) {
            const uint16_t *from = p->a + row / 16 * p->a_tile + step * CASTOFF_BF16_TILE + row % 16 * CASTOFF_BF16_STEP;
            float *to = wide + row * row_stride + step * CASTOFF_BF16_STEP;
            CASTOFF_UNROLL for (int i = 0; i < CASTOFF_BF16_STEP; i += CASTOFF_VF32_LANES)
                castoff_store_f32(to + i, castoff_load_bf16(from + i));
        }
#endif
    for (int64_t row = 0, height; row < p->rows; row += height) {
        const int64_t left = castoff_min_i64(p->rows - row, 16 - row % 16);
#if defined(__AVX512BF16__)
        const castoff_bf16_row *a = p->a + row / 16 * p->a_tile + row % 16 * CASTOFF_BF16_STEP;
#else
        const castoff_bf16_row *a = wide + row * row_stride;
#endif
        height = CASTOFF_VECTOR_BYTES == 64 && left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        int64_t col = 0;
        if (height == 1)
            for (; col + 4 * CASTOFF_VF32_LANES <= width; col += 4 * CASTOFF_VF32_LANES)
                castoff_bf16_kernel(p, a, row_stride, row, col, 1, 4);
        while (col < width) {
            if (col + 2 * CASTOFF_VF32_LANES <= width) {
                switch (height) {
                    case 8: castoff_bf16_kernel(p, a, row_stride, row, col, 8, 2); break;
                    case 4: castoff_bf16_kernel(p, a, row_stride, row, col, 4, 2); break;
                    case 2: castoff_bf16_kernel(p, a, row_stride, row, col, 2, 2); break;
                    default: castoff_bf16_kernel(p, a, row_stride, row, col, 1, 2);
                }
                col += 2 * CASTOFF_VF32_LANES;
            } else {
                switch (height) {
                    case 8: castoff_bf16_kernel(p, a, row_stride, row, col, 8, 1); break;
                    case 4: castoff_bf16_kernel(p, a, row_stride, row, col, 4, 1); break;
                    case 2: castoff_bf16_kernel(p, a, row_stride, row, col, 2, 1); break;
                    default: castoff_bf16_kernel(p, a, row_stride, row, col, 1, 1);
                }
                col += CASTOFF_VF32_LANES;
            }
        }
    }
}

#endif

#endif
