/* tiles_widened.h - blocks of bfloat16 products where vectors multiply floats only: both operands are widened, a piece at a
 * time, and multiplied as gemm.h multiplies floats. gemm_tiles_engine.h includes it for such levels. Sums are the ones of
 * tiles_engine.h to the bit: each is one chain of fused multiply-adds over k, in order.
 *
 * A piece of columns, 16 by 256 of the inner dimension, stays in the first cache; the rows it meets, and their sums, in the
 * second. Each column is widened once for so many rows, each row once for so many columns.
 */

/* Widened rows begin as far apart as no two cache lines of a tile share a set. */
#define CASTOFF_WIDENED_DEPTH (CASTOFF_WIDENED_STEPS * STEP)
#define CASTOFF_WIDENED_ROW (CASTOFF_WIDENED_DEPTH + 16)
#define CASTOFF_WIDENED_SUMS_ROW (CASTOFF_WIDENED_COLUMNS + 16)

/* Words of a panel, as the two rows of floats that each is. */
CASTOFF_INLINE void N(widen_panel)(float *out, const ELEMENT *panel, int64_t words) {
    for (int64_t word = 0; word < words; word++, panel += 32, out += 32)
        CASTOFF_UNROLL for (int j = 0; j < 16; j += CASTOFF_VF32_LANES) {
            castoff_vu32 pairs;
            memcpy(&pairs, panel + 2 * j, sizeof pairs);
            castoff_store_f32(out + j, (castoff_vf32)(pairs << 16));
            castoff_store_f32(out + 16 + j, (castoff_vf32)(pairs & 0xffff0000u));
        }
}

/* sums (+)= rows times columns over `steps` steps of k from `step` on. */
static CASTOFF_UNUSED void N(multiply_widened)(const N(block) *g, int64_t row, int64_t rows, int64_t col, int64_t cols,
                                               int64_t step, int64_t steps, float *scratch) {
    float *sums = scratch, *wide = sums + CASTOFF_WIDENED_ROWS * CASTOFF_WIDENED_SUMS_ROW;
    float *panel = wide + CASTOFF_WIDENED_ROWS * CASTOFF_WIDENED_ROW;
    const int64_t size = g->steps * TILE;
    for (int64_t i = 0; i < rows; i++) {
        const ELEMENT *from = g->a + (g->row_at  ? g->row_at[row + i]
                                      : g->a_row ? (row + i) * g->a_row
                                                 : (row + i) / 16 * size + (row + i) % 16 * STEP);
        for (int64_t s = 0; s < steps; s++)
            N(widen)(wide + i * CASTOFF_WIDENED_ROW + s * STEP, from + (g->a_row ? g->offsets[step + s] : (step + s) * TILE));
    }
    castoff_gemm_f32_block block = {.rows = rows, .cols = 16, .k = steps * STEP, .a = wide, .a_row = CASTOFF_WIDENED_ROW,
                                    .a_col = 1, .b = panel, .b_step = CASTOFF_PANEL, .ahead_bytes = steps * 1024};
    for (int64_t column = 0; column < cols; column += 16) {
        const ELEMENT *from = g->b + (col + column) / 16 * size + step * TILE;
        const castoff_gemm_f32_sink to_sums = {.c = sums + column, .c_row = CASTOFF_WIDENED_SUMS_ROW};
        N(widen_panel)(panel, from, steps * 16);
        if (step > 0) block.sums = sums + column;
        block.sums_row = CASTOFF_WIDENED_SUMS_ROW;
        block.ahead = (const char *)(from + size);
        castoff_gemm_f32_run_block(&block, &to_sums);
    }
}

/* scratch: CASTOFF_WIDENED_BYTES. */
static CASTOFF_UNUSED void N(run_widened)(const N(block) *g, const G(sink) *sink, float *scratch) {
    const int64_t height = castoff_ceil_div(g->rows, castoff_ceil_div(g->rows, CASTOFF_WIDENED_ROWS));
    for (int64_t col = 0, cols; col < g->cols; col += cols) {
        cols = castoff_min_i64(CASTOFF_WIDENED_COLUMNS, g->cols - col);
        for (int64_t row = 0, rows; row < g->rows; row += rows) {
            rows = castoff_min_i64(height, g->rows - row);
            for (int64_t step = 0; step < g->steps; step += CASTOFF_WIDENED_STEPS)
                N(multiply_widened)(g, row, rows, col, cols, step, castoff_min_i64(CASTOFF_WIDENED_STEPS, g->steps - step),
                                    scratch);
            for (int64_t i = 0; i < rows; i += 32)
                for (int64_t j = 0; j < cols; j += 32)
                    N(emit_rows)(g, sink, scratch + i * CASTOFF_WIDENED_SUMS_ROW + j, CASTOFF_WIDENED_SUMS_ROW, row + i, col + j,
                                 castoff_min_i64(32, rows - i), castoff_min_i64(32, cols - j));
        }
    }
}

#undef CASTOFF_WIDENED_DEPTH
#undef CASTOFF_WIDENED_ROW
#undef CASTOFF_WIDENED_SUMS_ROW
