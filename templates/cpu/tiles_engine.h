/* tiles_engine.h - blocks of products of narrow types: row tiles times panels, as tiles.h has them.
 *
 * Expects N(name), ELEMENT, STEP (elements in 64 bytes), TILE (in a kilobyte), SUM and VECTOR (of it), TILE_DOT (the
 * instruction of AMX), and where that is missing N(dot)(sums, row, 16 words of columns), ROW, ROW_WORD (elements of a row
 * that a word of columns is multiplied with) and WIDENS: whether rows are widened before, by N(widen)(ROW *, 64 bytes of a
 * row). Every name is undefined again at the end.
 */

/* sums[row * width + col] (+)= rows of A times columns of B, over `steps` kilobytes of each. rows <= 32 and width 32, or
 * rows <= 16 and width 64; a and b point at the first step, panels are b_panel elements apart, tiles a_tile, and within these
 * rows a_row; or, but for AMX, each row begins at row_at from a. The steps of A follow one another as those of row tiles do, or
 * lie at `offsets` from a. */
typedef struct {
    int64_t rows, cols, width, steps;
    const ELEMENT *a, *b;
    int64_t a_row, a_tile, b_panel;
    const int64_t *offsets, *row_at;
    SUM *sums;
    int add;
    const char *ahead; /* what is read soon: so many lines of it are asked for with each step */
    int64_t lines;
} N(piece);

CASTOFF_INLINE int64_t N(offset)(const N(piece) *p, int64_t step) { return p->offsets ? p->offsets[step] : step * TILE; }

#if defined(__AMX_TILE__)

CASTOFF_INLINE void N(square)(const N(piece) *p, const int two_rows, const int two_cols) {
    const ELEMENT *a0 = p->a, *a1 = a0 + p->a_tile, *b0 = p->b, *b1 = b0 + p->b_panel;
    SUM *low = p->sums + 512;
    const char *ahead = p->ahead;
    const int64_t lines = p->lines, a_row = p->a_row * (int64_t)sizeof(ELEMENT);
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
    CASTOFF_NO_UNROLL for (int64_t step = 0; step < p->steps; step++) {
        const int64_t at = step * TILE, a_at = N(offset)(p, step);
        CASTOFF_TILE_LOAD(4, a0 + a_at, a_row);
        CASTOFF_TILE_LOAD(6, b0 + at, 64);
        CASTOFF_TILE_MULTIPLY(TILE_DOT, 0, 4, 6);
        if (two_cols) {
            CASTOFF_TILE_LOAD(7, b1 + at, 64);
            CASTOFF_TILE_MULTIPLY(TILE_DOT, 1, 4, 7);
        }
        if (two_rows) {
            CASTOFF_TILE_LOAD(5, a1 + a_at, a_row);
            CASTOFF_TILE_MULTIPLY(TILE_DOT, 2, 5, 6);
            if (two_cols) CASTOFF_TILE_MULTIPLY(TILE_DOT, 3, 5, 7);
        }
        for (int64_t line = 0; line < lines; line++, ahead += 64) __builtin_prefetch(ahead, 0, 2);
    }
    CASTOFF_TILE_STORE(0, p->sums, 128);
    if (two_cols) CASTOFF_TILE_STORE(1, p->sums + 16, 128);
    if (two_rows) CASTOFF_TILE_STORE(2, low, 128);
    if (two_rows && two_cols) CASTOFF_TILE_STORE(3, low + 16, 128);
}

/* Up to 16 rows by 64 columns: columns are read once, from wherever they are. */
CASTOFF_INLINE void N(strip)(const N(piece) *p) {
    const ELEMENT *a = p->a, *b0 = p->b, *b1 = b0, *b2 = b0, *b3 = b0;
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
    CASTOFF_NO_UNROLL for (int64_t step = 0; step < p->steps; step++) {
        const int64_t at = step * TILE;
        CASTOFF_TILE_LOAD(4, a + N(offset)(p, step), p->a_row * (int64_t)sizeof(ELEMENT));
        CASTOFF_TILE_LOAD(5, b0 + at, 64);
        CASTOFF_TILE_MULTIPLY(TILE_DOT, 0, 4, 5);
        CASTOFF_TILE_LOAD(6, b1 + at, 64);
        CASTOFF_TILE_MULTIPLY(TILE_DOT, 1, 4, 6);
        CASTOFF_TILE_LOAD(7, b2 + at, 64);
        CASTOFF_TILE_MULTIPLY(TILE_DOT, 2, 4, 7);
        CASTOFF_TILE_LOAD(5, b3 + at, 64);
        CASTOFF_TILE_MULTIPLY(TILE_DOT, 3, 4, 5);
    }
    CASTOFF_TILE_STORE(0, p->sums, 256);
    CASTOFF_TILE_STORE(1, p->sums + 16, 256);
    CASTOFF_TILE_STORE(2, p->sums + 32, 256);
    CASTOFF_TILE_STORE(3, p->sums + 48, 256);
}

CASTOFF_NOINLINE void N(multiply)(const N(piece) *p) {
    if (p->width == 64)
        N(strip)(p);
    else if (p->rows > 16 && p->cols > 16)
        N(square)(p, 1, 1);
    else if (p->rows > 16)
        N(square)(p, 1, 0);
    else
        N(square)(p, 0, p->cols > 16);
}

#else

/* `height` rows times `vectors` vectors of columns. */
CASTOFF_INLINE void N(kernel)(const N(piece) *p, const ROW *const *rows, int64_t row, int64_t col, const int height,
                              const int vectors) {
    VECTOR sum[8][4];
    SUM *out = p->sums + row * p->width + col;
    const ELEMENT *b[4];
    CASTOFF_UNROLL for (int j = 0; j < vectors; j++) {
        const int64_t at = col + j * CASTOFF_VF32_LANES;
        b[j] = p->b + at / 16 * p->b_panel + at % 16 * (STEP / 16);
        CASTOFF_UNROLL for (int i = 0; i < height; i++) {
            sum[i][j] = (VECTOR){0};
            if (p->add) memcpy(&sum[i][j], out + i * p->width + j * CASTOFF_VF32_LANES, sizeof sum[i][j]);
        }
    }
    for (int64_t step = 0; step < p->steps; step++) {
        const ROW *a[8];
        CASTOFF_UNROLL for (int i = 0; i < height; i++) a[i] = rows[i] + (WIDENS ? step * 16 * ROW_WORD : N(offset)(p, step));
        CASTOFF_NO_UNROLL for (int word = 0; word < 16; word++) {
            castoff_vu32 words[4];
            CASTOFF_UNROLL for (int j = 0; j < vectors; j++) {
                memcpy(&words[j], b[j], sizeof words[j]);
                b[j] += TILE / 16;
            }
            CASTOFF_UNROLL for (int i = 0; i < height; i++)
                CASTOFF_UNROLL for (int j = 0; j < vectors; j++)
                    sum[i][j] = N(dot)(sum[i][j], a[i] + ROW_WORD * word, words[j]);
        }
    }
    CASTOFF_UNROLL for (int i = 0; i < height; i++)
        CASTOFF_UNROLL for (int j = 0; j < vectors; j++)
            memcpy(out + i * p->width + j * CASTOFF_VF32_LANES, &sum[i][j], sizeof sum[i][j]);
}

/* Where the first steps of the rows are. */
CASTOFF_INLINE void N(locate_rows)(const N(piece) *p, const ELEMENT **rows) {
    const ELEMENT *at = p->a;
    if (p->row_at)
        for (int64_t row = 0; row < p->rows; row++) rows[row] = p->a + p->row_at[row];
    else
        CASTOFF_NO_UNROLL for (int64_t row = 0; row < p->rows; row++, at += p->a_row) {
            if (row == 16) at = p->a + p->a_tile;
            rows[row] = at;
        }
}

CASTOFF_NOINLINE void N(multiply)(const N(piece) *p) {
    const int64_t width = castoff_round_up(p->cols, 16);
    const ELEMENT *narrow[32];
    N(locate_rows)(p, narrow);
#if WIDENS
    const ROW *rows[32];
    ROW wide[32 * CASTOFF_TILE_CHUNK * 16 * ROW_WORD] __attribute__((aligned(64)));
    const int64_t row_stride = p->steps * 16 * ROW_WORD;
    for (int64_t row = 0; row < p->rows; row++) {
        rows[row] = wide + row * row_stride;
        for (int64_t step = 0; step < p->steps; step++)
            N(widen)(wide + row * row_stride + step * 16 * ROW_WORD, narrow[row] + N(offset)(p, step));
    }
#else
    const ROW *const *rows = narrow;
#endif
    for (int64_t row = 0, height; row < p->rows; row += height) {
        const int64_t left = p->rows - row;
        const ROW *const *a = rows + row;
        height = CASTOFF_VECTOR_BYTES == 64 && left >= 8 ? 8 : left >= 4 ? 4 : left >= 2 ? 2 : 1;
        int64_t col = 0;
        if (height == 1)
            for (; col + 4 * CASTOFF_VF32_LANES <= width; col += 4 * CASTOFF_VF32_LANES)
                N(kernel)(p, a, row, col, 1, 4);
        while (col < width) {
            if (col + 2 * CASTOFF_VF32_LANES <= width) {
                switch (height) {
                    case 8: N(kernel)(p, a, row, col, 8, 2); break;
                    case 4: N(kernel)(p, a, row, col, 4, 2); break;
                    case 2: N(kernel)(p, a, row, col, 2, 2); break;
                    default: N(kernel)(p, a, row, col, 1, 2);
                }
                col += 2 * CASTOFF_VF32_LANES;
            } else {
                switch (height) {
                    case 8: N(kernel)(p, a, row, col, 8, 1); break;
                    case 4: N(kernel)(p, a, row, col, 4, 1); break;
                    case 2: N(kernel)(p, a, row, col, 2, 1); break;
                    default: N(kernel)(p, a, row, col, 1, 1);
                }
                col += CASTOFF_VF32_LANES;
            }
        }
    }
}

#endif

#undef N
#undef ELEMENT
#undef STEP
#undef TILE
#undef SUM
#undef VECTOR
#undef TILE_DOT
#undef ROW
#undef ROW_WORD
#undef WIDENS
