/* tiles.h - what products of narrow types have in common: operands lie as kilobytes of 16 rows, or 16 columns, by 64 bytes
 * of the inner dimension, whatever the level multiplies them with. tiles_engine.h, gemm_tiles_engine.h and
 * conv_tiles_engine.h are included for bfloat16 (bf16.h, gemm_bf16.h, conv_bf16.h) and for levels of 8 bits
 * (levels.h, gemm_levels.h, conv_levels.h).
 */
#ifndef CASTOFF_CPU_TILES_H
#define CASTOFF_CPU_TILES_H

#include "packing.h"

/* A block of sums: 32 x 32, or for few rows 16 x 64; and pairs of tiles of the inner loop whose sums are kept at once. */
#define CASTOFF_TILE_SUMS 1024
#define CASTOFF_TILE_INNER 8
#define CASTOFF_TILE_SUM_BYTES (CASTOFF_TILE_INNER * CASTOFF_TILE_SUMS * 4)

CASTOFF_INLINE castoff_vu32 castoff_splat_word(const void *p) {
    uint32_t word;
    memcpy(&word, p, 4);
    return (castoff_vu32){0} + word;
}

#if defined(__AMX_TILE__)

/* gcc 12 declares tile loads without the memory they read; hence assembly. */
#define CASTOFF_TILE_LOAD(tile, from, stride)                                                                          \
    __asm__ volatile("tileloadd (%0,%1,1), %%tmm" #tile ::"r"(from), "r"((int64_t)(stride)) : "memory")
#define CASTOFF_TILE_STORE(tile, to, stride)                                                                           \
    __asm__ volatile("tilestored %%tmm" #tile ", (%0,%1,1)" ::"r"(to), "r"((int64_t)(stride)) : "memory")
#define CASTOFF_TILE_ZERO(tile) __asm__ volatile("tilezero %%tmm" #tile ::)
#define CASTOFF_TILE_MULTIPLY(dot, sum, a, b) __asm__ volatile(dot " %%tmm" #b ", %%tmm" #a ", %%tmm" #sum ::)

/* Steps at a time: all. The second cache is fast enough for both operands, and sums need not be kept between. */
#define CASTOFF_TILE_CHUNK INT64_MAX
#define CASTOFF_TILE_STRIP_CHUNK INT64_MAX
/* Whether all rows of a tile are read, those that are not wanted too. */
#define CASTOFF_TILE_IS_WHOLE 1
/* Every processor that has these has so much. */
#define CASTOFF_TILE_L2_BYTES (2 << 20)

/* Tiles 0 to 3 are sums, 4 and 5 rows, 6 and 7 columns; with few rows, 4 is the only one of rows and 5 to 7 are columns. */
CASTOFF_INLINE void castoff_tiles_begin(int64_t rows) {
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
CASTOFF_INLINE void castoff_tiles_end(void) { __asm__ volatile("tilerelease" ::); }

#else

/* Steps at a time: so many that the outer operand, which is widened where there are no instructions for bfloat16, stays in the
 * first cache while the inner one goes by. */
#if defined(__AVX512BF16__)
#define CASTOFF_TILE_CHUNK 24
#else
#define CASTOFF_TILE_CHUNK 8
#endif
#define CASTOFF_TILE_STRIP_CHUNK CASTOFF_TILE_CHUNK
#define CASTOFF_TILE_IS_WHOLE 0
#define CASTOFF_TILE_L2_BYTES CASTOFF_L2_BYTES

CASTOFF_INLINE void castoff_tiles_begin(int64_t rows) { (void)rows; }
CASTOFF_INLINE void castoff_tiles_end(void) {}

#endif

#endif
