/* Rate of castoff_gemm_f32 where weights come from memory, as between the layers of a transformer: each product of `layers`
 * copies of a block in turn, one thread. For each shape the median over the layers of the best of the passes.
 * gcc -O3 -march=x86-64-v3 -I../../templates -I../../templates/cpu -I../../templates/abi stream.c
 *     ../../tests/kernels/pool.c -o stream && taskset -c 0 ./stream [rows [rows of a block [depth of a block]]] */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <time.h>

#include "gemm.h"
#include "measure/peak.h"

struct castoff_pool {
    int threads;
};

enum { LAYERS = 5, PASSES = 6, SHAPES = 4, HUGE_PAGE = 2 << 20 };
static const int64_t shapes[SHAPES][2] = {{768, 2304}, {768, 768}, {768, 3072}, {3072, 768}}; /* k, n */

static int compare(const void *a, const void *b) { return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b); }

static float *numbers(int64_t count) {
    float *x = aligned_alloc(HUGE_PAGE, (size_t)castoff_round_up(count * 4 + 64, HUGE_PAGE));
    madvise(x, (size_t)castoff_round_up(count * 4 + 64, HUGE_PAGE), MADV_HUGEPAGE);
    for (int64_t i = 0; i < count; i++) x[i] = (float)(i % 13) - 6;
    return x;
}

int main(int count, char **arguments) {
    const int64_t m = count > 1 ? atol(arguments[1]) : 128;
    const castoff_gemm_cut cut = {.rows = count > 2 ? atoi(arguments[2]) : 0, .depth = count > 3 ? atoi(arguments[3]) : 0};
    const double peak = fma_peak();
    struct castoff_pool pool = {1};
    float *weights[LAYERS][SHAPES], *a = numbers(m * 3072), *c = numbers(m * 3072);
    for (int layer = 0; layer < LAYERS; layer++)
        for (int s = 0; s < SHAPES; s++) weights[layer][s] = numbers(shapes[s][0] * shapes[s][1]);
    int64_t scratch_bytes = 0;
    for (int s = 0; s < SHAPES; s++) {
        const int64_t wanted = castoff_gemm_f32_scratch_cut(1, m, shapes[s][1], shapes[s][0], 1, 1, cut);
        if (wanted > scratch_bytes) scratch_bytes = wanted;
    }
    void *scratch = numbers(scratch_bytes / 4 + 16);
    double best[SHAPES][LAYERS], total = 0, work = 0;
    for (int pass = 0; pass < PASSES; pass++)
        for (int layer = 0; layer < LAYERS; layer++)
            for (int s = 0; s < SHAPES; s++) {
                const int64_t k = shapes[s][0], n = shapes[s][1];
                const castoff_gemm_f32_args args = {.m = m, .n = n, .k = k, .a = a, .a_row = k, .a_col = 1,
                                                    .b_packed = weights[layer][s], .c = c, .c_row = n, .cut = cut};
                const double start = now();
                castoff_gemm_f32_run(&args, &pool, scratch);
                const double took = now() - start;
                if (pass == 0 || took < best[s][layer]) best[s][layer] = took;
            }
    printf("peak %.1f GF/s;", peak);
    for (int s = 0; s < SHAPES; s++) {
        const double flops = 2.0 * (double)(m * shapes[s][0] * shapes[s][1]);
        qsort(best[s], LAYERS, sizeof **best, compare);
        printf(" %ldx%ld %.1f", (long)shapes[s][0], (long)shapes[s][1], flops / best[s][LAYERS / 2] / 1e9);
        total += best[s][LAYERS / 2];
        work += flops;
    }
    printf("; all %.1f GF/s\n", work / total / 1e9);
}
