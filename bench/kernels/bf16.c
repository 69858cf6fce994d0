/* Rate of castoff_gemm_bf16 beside the register-only peak of floats, one thread, the best of the runs; the hash is of the answers'
 * bits, the same for every way to compute them.
 * gcc -O2 -march=x86-64-v3 -I../../templates -I../../templates/cpu -I../../templates/abi bf16.c
 *     ../../tests/kernels/pool.c -o bf16 && taskset -c 0 ./bf16 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gemm_bf16.h"
#include "measure/peak.h"

struct castoff_pool {
    int threads;
};

static uint16_t *numbers(int64_t count, int64_t period, float scale) {
    uint16_t *x = aligned_alloc(64, (size_t)castoff_round_up(count * 2 + 64, 64));
    for (int64_t i = 0; i < count; i++) x[i] = castoff_narrow_bf16((float)(i % period - period / 2) * scale);
    return x;
}

static void measure(int64_t m, int64_t k, int64_t n, double peak) {
    uint16_t *a = numbers(m * k, 13, 0.37f), *b = numbers(castoff_bf16_size(n, k), 11, 0.71f);
    float *c = aligned_alloc(64, (size_t)castoff_round_up(m * n * 4, 64));
    struct castoff_pool pool = {1};
    void *scratch = aligned_alloc(64, (size_t)castoff_round_up(castoff_gemm_bf16_scratch(1, m, n, k, 1, 1) + 64, 64));
    const castoff_gemm_bf16_args args = {.m = m, .n = n, .k = k, .a = a, .a_row = k, .a_col = 1, .b_packed = b, .c = c, .c_row = n};
    double best = 1e9;
    for (const double end = now() + 0.6; now() < end;) {
        const double start = now();
        castoff_gemm_bf16_run(&args, &pool, scratch);
        const double took = now() - start;
        if (took < best) best = took;
    }
    uint64_t hash = 0;
    for (int64_t i = 0; i < m * n; i++) {
        uint32_t bits;
        memcpy(&bits, c + i, 4);
        hash = hash * 1000003 + bits;
    }
    const double rate = 2.0 * (double)(m * n * k) / best / 1e9;
    printf("%4ld x %5ld x %5ld %10.2f us %7.1f GF/s %5.1f%% of the peak of floats, %016lx\n", (long)m, (long)k, (long)n, best * 1e6, rate,
           100 * rate / peak, (unsigned long)hash);
    free(a), free(b), free(c), free(scratch);
}

int main(void) {
    static const int64_t shapes[][3] = {{128, 768, 768}, {128, 768, 3072}, {128, 3072, 768}, {197, 768, 3072},
                                        {49, 512, 2048}, {32, 768, 768},   {16, 768, 768},   {1, 768, 3072}};
    const double peak = fma_peak();
    printf("register-only FMA peak %.1f GF/s\n", peak);
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) measure(shapes[i][0], shapes[i][1], shapes[i][2], peak);
}
