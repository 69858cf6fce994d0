/* attention_bf16.h - attention of bfloat16 by the tiles of bf16.h, where there are instructions for them; attention.h says
 * what it computes.
 *
 *     castoff_attention_tiled_bf16_args    castoff_attention_bf16_args
 *     void castoff_attention_tiled_bf16_run(const castoff_attention_tiled_bf16_args *, castoff_pool *, void *scratch)
 *     int64_t castoff_attention_tiled_bf16_scratch(const castoff_attention_tiled_bf16_args *, int threads)
 *
 * Scores are S[query, key]: queries are row tiles, keys pair panels, softmax runs along the rows, and the weights it leaves, rounded
 * to bfloat16, are row tiles again. Sums stay float. Without such instructions, and for a few queries, it is the form of
 * attention.h.
 */
#ifndef CASTOFF_CPU_ATTENTION_BF16_H
#define CASTOFF_CPU_ATTENTION_BF16_H

#include "attention.h"
#include "bf16.h"

typedef castoff_attention_bf16_args castoff_attention_tiled_bf16_args;

#if defined(__AVX512BF16__)

/* Queries and keys of one block; blocks of sums are 32 x 32. */
#define CASTOFF_ATTENTION_SIDE 128
#define CASTOFF_ATTENTION_BLOCKS (CASTOFF_ATTENTION_SIDE / 32)

/* Offsets in bytes into a thread's scratch, and its size. */
typedef struct {
    int64_t group, columns, blocks; /* query heads per key head; of all queries that share keys; column blocks of those */
    int64_t value_blocks;
    int64_t q, k, v, scores, weights, mask, sums, rows, thread_bytes;
} castoff_attention_tiled_bf16_plan;

static CASTOFF_UNUSED castoff_attention_tiled_bf16_plan castoff_attention_tiled_bf16_make_plan(const castoff_attention_bf16_args *a) {
    castoff_attention_tiled_bf16_plan p = {.group = a->heads / castoff_max_i64(1, a->kv_heads)};
    const int64_t side = CASTOFF_ATTENTION_SIDE, plane = side * side * 4;
    p.columns = p.group * a->queries;
    p.blocks = castoff_ceil_div(p.columns, side);
    p.value_blocks = castoff_ceil_div(a->value_size, 32);
    p.q = 0;
    p.k = p.q + castoff_bf16_size(side, a->size) * 2;
    p.v = p.k + castoff_bf16_size(side, a->size) * 2;
    p.scores = p.v + castoff_bf16_size(a->value_size, side) * 2;
    p.weights = p.scores + plane;
    p.mask = p.weights + plane / 2;
    p.sums = p.mask + (a->mask_kind == CASTOFF_MASK_NONE ? 0 : plane);
    p.rows = p.sums + side * p.value_blocks * 32 * 4;
    p.thread_bytes = p.rows + castoff_round_up(side * a->value_size * 4, 64);
    return p;
}

typedef struct {
    const castoff_attention_bf16_args *args;
    castoff_attention_tiled_bf16_plan plan;
    char *scratch;
} castoff_attention_tiled_bf16_job;

/* Row `at` of row tiles. */
CASTOFF_INLINE void castoff_attention_tiled_bf16_put_row(uint16_t *tiles, int64_t at, const uint16_t *from, int64_t size) {
    uint16_t *out = tiles + at / 16 * castoff_bf16_steps(size) * CASTOFF_BF16_TILE + at % 16 * CASTOFF_BF16_STEP;
    for (int64_t i = 0; i < size; i += CASTOFF_BF16_STEP, out += CASTOFF_BF16_TILE) {
        const int64_t count = castoff_min_i64(CASTOFF_BF16_STEP, size - i);
        if (count < CASTOFF_BF16_STEP) memset(out, 0, 2 * CASTOFF_BF16_STEP);
        memcpy(out, from + i, (size_t)count * 2);
    }
}

/* Pair panels whose columns are `keys` keys: pairs of a key are words, and the panels those words transposed. */
static CASTOFF_UNUSED void castoff_attention_tiled_bf16_pack_keys(uint16_t *panels, const void *k, int64_t k_row, int64_t keys,
                                                                  int64_t size, castoff_bf16_source source) {
    const int64_t panel = castoff_bf16_steps(size) * CASTOFF_BF16_TILE;
    if (source == CASTOFF_FROM_F32) {
        castoff_bf16_pack_panels(panels, size, keys, k, 1, k_row, 0, castoff_ceil_div(keys, 16), source);
        return;
    }
    const int by_words = size % CASTOFF_BF16_STEP == 0 && k_row % 2 == 0 && (uintptr_t)k % 4 == 0;
    for (int64_t key = 0; key < keys; key += 16) {
        uint16_t *out = panels + key / 16 * panel;
        const uint16_t *from = (const uint16_t *)k + key * k_row;
        if (!by_words || keys - key < 16) {
            castoff_bf16_pack_panel(out, size, from, 1, k_row, 0, castoff_min_i64(16, keys - key), CASTOFF_FROM_BF16);
            continue;
        }
        for (int64_t i = 0; i < 16; i += 4)
            for (int64_t j = 0; j < size / 2; j += 4)
                castoff_transpose4_f32((const float *)(const void *)(from + i * k_row + 2 * j), k_row / 2,
                                       (float *)(void *)(out + 2 * (j * 16 + i)), 16);
    }
}

CASTOFF_INLINE castoff_vu16 castoff_attention_tiled_bf16_narrow(castoff_vf32 x) {
    castoff_vu16 narrow;
    __asm__("vcvtneps2bf16 %1, %0" : "=v"(narrow) : "v"(x));
    return narrow;
}

/* The largest lane, in all of them. */
CASTOFF_INLINE castoff_vf32 castoff_attention_tiled_bf16_peak(castoff_vf32 x) {
    x = castoff_max_f32(x, __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7));
    x = castoff_max_f32(x, __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11));
    x = castoff_max_f32(x, __builtin_shufflevector(x, x, 2, 3, 0, 1, 6, 7, 4, 5, 10, 11, 8, 9, 14, 15, 12, 13));
    return castoff_max_f32(x, __builtin_shufflevector(x, x, 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14));
}

/* Folds one row of scores, which is `blocks` blocks of 32 x 32 wide, into its maximum (16 times the same) and its sum (in 16
 * parts), leaves its weights in a row of row tiles, and gives the factor by which what was summed before shrinks. */
CASTOFF_INLINE float castoff_attention_tiled_bf16_fold(const float *scores, const float *mask, float scale, uint16_t *weights, float *top,
                                                       float *total, const int blocks) {
    const castoff_vf32 before = castoff_load_f32(top), lowest = castoff_splat_f32(-__builtin_inff());
    castoff_vf32 line[2 * CASTOFF_ATTENTION_BLOCKS], most[2] = {before, before}, sum[2] = {{0}, {0}};
    CASTOFF_UNROLL for (int i = 0; i < 2 * blocks; i++) {
        line[i] = castoff_load_f32(scores + i / 2 * 1024 + i % 2 * 16) * castoff_splat_f32(scale);
        if (mask) line[i] = castoff_fma_f32(castoff_load_f32(mask + 16 * i), castoff_splat_f32(CASTOFF_LOG2_E), line[i]);
        most[i % 2] = castoff_max_f32(line[i], most[i % 2]);
    }
    const castoff_vf32 peak = castoff_attention_tiled_bf16_peak(castoff_max_f32(most[0], most[1]));
    const castoff_vf32 base = (castoff_vf32)((castoff_vi32)peak & ~(castoff_vi32)(peak == lowest));
    CASTOFF_UNROLL for (int i = 0; i < 2 * blocks; i++) {
        const castoff_vf32 weight = castoff_exp2_vf32(line[i] - base);
        castoff_vu16 narrow;
        __asm__("vcvtneps2bf16 %1, %0" : "=v"(narrow) : "v"(weight));
        memcpy(weights + i / 2 * CASTOFF_BF16_TILE + i % 2 * 16, &narrow, sizeof narrow);
        sum[i % 2] += weight;
    }
    const castoff_vf32 shrink = castoff_exp2_vf32(before - base);
    castoff_store_f32(top, peak);
    castoff_store_f32(total, castoff_fma_f32(castoff_load_f32(total), shrink, sum[0] + sum[1]));
    return shrink[0];
}

/* Columns [first, last) of one image and key head. */
static CASTOFF_UNUSED void castoff_attention_tiled_bf16_columns(const castoff_attention_tiled_bf16_job *job, char *scratch, int64_t image,
                                                                int64_t kv_head, int64_t first, int64_t last) {
    const castoff_attention_bf16_args *a = job->args;
    const castoff_attention_tiled_bf16_plan *p = &job->plan;
    const int64_t count = last - first, height = castoff_round_up(count, 16), size_steps = castoff_bf16_steps(a->size);
    const float scale = a->scale * CASTOFF_LOG2_E;
    uint16_t *q = (uint16_t *)(void *)(scratch + p->q), *k = (uint16_t *)(void *)(scratch + p->k);
    uint16_t *v = (uint16_t *)(void *)(scratch + p->v), *weights = (uint16_t *)(void *)(scratch + p->weights);
    float *scores = (float *)(void *)(scratch + p->scores), *mask = (float *)(void *)(scratch + p->mask);
    float *sums = (float *)(void *)(scratch + p->sums), *rows = (float *)(void *)(scratch + p->rows);
    float top[CASTOFF_ATTENTION_SIDE][16], total[CASTOFF_ATTENTION_SIDE][16];
    int64_t visible = a->causal ? 0 : a->keys;
    for (int64_t c = 0; c < height; c++) {
        const int64_t column = castoff_min_i64(first + c, last - 1), row = column % a->queries;
        castoff_attention_tiled_bf16_put_row(
            q, c, a->q + image * a->q_batch + (kv_head * p->group + column / a->queries) * a->q_head + row * a->q_row, a->size);
        for (int i = 0; i < 16; i++) {
            top[c][i] = -__builtin_inff();
            total[c][i] = 0;
        }
        if (a->causal) visible = castoff_max_i64(visible, castoff_min_i64(a->keys, row + 1 + a->causal_offset));
    }
    memset(sums, 0, (size_t)(CASTOFF_ATTENTION_SIDE * p->value_blocks * 32) * 4);
    for (int64_t key = 0, keys; key < visible; key += keys) {
        const castoff_attention_bf16_block block =
            castoff_attention_bf16_take(a, image, kv_head, key, visible, CASTOFF_ATTENTION_SIDE);
        const castoff_bf16_source source = block.wide ? CASTOFF_FROM_F32 : CASTOFF_FROM_BF16;
        keys = block.keys;
        const int64_t steps = castoff_bf16_steps(keys), padded = steps * 32, key_panel = size_steps * CASTOFF_BF16_TILE, value_panel = steps * CASTOFF_BF16_TILE;
        castoff_attention_tiled_bf16_pack_keys(k, block.k, block.k_row, keys, a->size, source);
        castoff_bf16_pack_panels(v, keys, a->value_size, block.v, block.v_row, 1, 0, castoff_ceil_div(a->value_size, 16), source);
        castoff_tiles_begin(16);
        for (int64_t row = 0; row < count; row += 32)
            for (int64_t col = 0; col < keys; col += 32) {
                const castoff_bf16_piece product = {
                    .rows = castoff_min_i64(32, count - row), .cols = castoff_min_i64(32, keys - col), .width = 32, .steps = size_steps,
                    .a = q + row / 16 * key_panel, .b = k + col / 16 * key_panel, .a_row = CASTOFF_BF16_STEP,
                    .a_tile = key_panel, .b_panel = key_panel,
                    .sums = scores + (row / 32 * CASTOFF_ATTENTION_BLOCKS + col / 32) * 1024};
                castoff_bf16_multiply(&product);
            }
        if (a->mask_kind != CASTOFF_MASK_NONE)
            for (int64_t c = 0; c < count;) {
                const int64_t head = kv_head * p->group + (first + c) / a->queries, row = (first + c) % a->queries;
                const int64_t run = castoff_min_i64(a->queries - row, count - c);
                castoff_attention_bf16_load_mask(a, image, head, row, run, key, keys, mask + c * CASTOFF_ATTENTION_SIDE, 1,
                                                 CASTOFF_ATTENTION_SIDE);
                c += run;
            }
        for (int64_t c = 0; c < count; c++) {
            float *line = scores + c / 32 * CASTOFF_ATTENTION_BLOCKS * 1024 + c % 32 * 32;
            uint16_t *out = weights + c / 16 * value_panel + c % 16 * CASTOFF_BF16_STEP;
            int64_t seen = keys;
            if (a->causal) seen = castoff_max_i64(0, castoff_min_i64(keys, (first + c) % a->queries + a->causal_offset + 1 - key));
            for (int64_t i = seen; i < padded; i++) line[i / 32 * 1024 + i % 32] = -__builtin_inff();
            float *added = a->mask_kind == CASTOFF_MASK_NONE ? 0 : mask + c * CASTOFF_ATTENTION_SIDE, shrink;
            for (int64_t i = keys; added && i < padded; i++) added[i] = 0;
            switch (steps) {
                case 4: shrink = castoff_attention_tiled_bf16_fold(line, added, scale, out, top[c], total[c], 4); break;
                case 3: shrink = castoff_attention_tiled_bf16_fold(line, added, scale, out, top[c], total[c], 3); break;
                case 2: shrink = castoff_attention_tiled_bf16_fold(line, added, scale, out, top[c], total[c], 2); break;
                default: shrink = castoff_attention_tiled_bf16_fold(line, added, scale, out, top[c], total[c], 1);
            }
            if (key > 0 && shrink != 1)
                for (int64_t block = 0; block < p->value_blocks; block++)
                    for (int64_t j = 0; j < 32; j++) sums[(c / 32 * p->value_blocks + block) * 1024 + c % 32 * 32 + j] *= shrink;
        }
        for (int64_t row = 0; row < count; row += 32)
            for (int64_t col = 0; col < a->value_size; col += 32) {
                const castoff_bf16_piece product = {
                    .rows = castoff_min_i64(32, count - row), .cols = castoff_min_i64(32, a->value_size - col), .width = 32,
                    .steps = steps, .a = weights + row / 16 * value_panel, .b = v + col / 16 * value_panel, .a_row = CASTOFF_BF16_STEP,
                    .a_tile = value_panel,
                    .b_panel = value_panel, .sums = sums + (row / 32 * p->value_blocks + col / 32) * 1024, .add = 1};
                castoff_bf16_multiply(&product);
            }
        castoff_tiles_end();
    }
    for (int64_t c = 0; c < count; c++) {
        const float sum = castoff_sum_f32(castoff_load_f32(total[c])), factor = sum == 0 ? 0 : 1 / sum;
        for (int64_t col = 0; col < a->value_size; col += 32)
            for (int64_t j = 0; j < castoff_min_i64(32, a->value_size - col); j++)
                rows[c * a->value_size + col + j] = factor * sums[(c / 32 * p->value_blocks + col / 32) * 1024 + c % 32 * 32 + j];
    }
    for (int64_t c = 0; c < count;) {
        const int64_t row = (first + c) % a->queries, run = castoff_min_i64(a->queries - row, count - c);
        castoff_attention_bf16_put(a, image, kv_head * p->group + (first + c) / a->queries, row, run, rows + c * a->value_size,
                                   a->value_size);
        c += run;
    }
}

static CASTOFF_UNUSED void castoff_attention_tiled_bf16_body(void *context, int64_t begin, int64_t end, int thread) {
    const castoff_attention_tiled_bf16_job *job = (const castoff_attention_tiled_bf16_job *)context;
    const castoff_attention_tiled_bf16_plan *p = &job->plan;
    for (int64_t item = begin; item < end; item++) {
        const int64_t first = item % p->blocks * CASTOFF_ATTENTION_SIDE, pair = item / p->blocks;
        castoff_attention_tiled_bf16_columns(job, job->scratch + thread * p->thread_bytes, pair / job->args->kv_heads,
                                             pair % job->args->kv_heads, first,
                                             castoff_min_i64(first + CASTOFF_ATTENTION_SIDE, p->columns));
    }
}

static CASTOFF_UNUSED int64_t castoff_attention_tiled_bf16_scratch(const castoff_attention_bf16_args *a, int threads) {
    const castoff_attention_tiled_bf16_plan p = castoff_attention_tiled_bf16_make_plan(a);
    return CASTOFF_ATTENTION_ARE_FEW(p.columns) ? castoff_attention_bf16_scratch(a, threads) : p.thread_bytes * threads;
}

static CASTOFF_UNUSED void castoff_attention_tiled_bf16_run(const castoff_attention_bf16_args *args, castoff_pool *pool, void *scratch) {
    castoff_attention_tiled_bf16_job job = {args, castoff_attention_tiled_bf16_make_plan(args), (char *)scratch};
    if (CASTOFF_ATTENTION_ARE_FEW(job.plan.columns)) {
        castoff_attention_bf16_run(args, pool, scratch);
        return;
    }
    const int64_t work = castoff_min_i64(job.plan.columns, CASTOFF_ATTENTION_SIDE) * (args->keys + 1) * (args->size + args->value_size + 16);
    castoff_parallel_for(pool, args->batch * args->kv_heads * job.plan.blocks, castoff_ceil_div(1 << 18, work),
                         castoff_attention_tiled_bf16_body, &job);
}

#else
#define castoff_attention_tiled_bf16_run castoff_attention_bf16_run
#define castoff_attention_tiled_bf16_scratch castoff_attention_bf16_scratch
#endif

#endif
