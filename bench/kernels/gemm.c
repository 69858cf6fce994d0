/* Rate of castoff_gemm_f32 beside the register-only peak, one thread, the best of the runs.
 * gcc -O3 -march=x86-64-v4 -mprefer-vector-width=512 -I../../templates -I../../templates/cpu -I../../templates/abi gemm.c
 *     ../../tests/kernels/pool.c -o gemm && taskset -c 0 ./gemm */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "gemm.h"
#include "measure/peak.h"

struct castoff_pool {
    int threads;
};

static int compare(const void *a, const void *b) { return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b); }

static void measure(int64_t batch, int64_t m, int64_t k, int64_t n, int mode, double peak) {
    float *a = aligned_alloc(64, castoff_round_up(batch * m * k * 4 + 64, 64));
    float *b = aligned_alloc(64, castoff_round_up(batch * (n + 16) * k * 4 + 64, 64));
    float *c = aligned_alloc(64, castoff_round_up(batch * m * n * 4 + 64, 64));
    for (int64_t i = 0; i < batch * m * k; i++) a[i] = (float)(i % 13) - 6;
    for (int64_t i = 0; i < batch * (n + 16) * k; i++) b[i] = (float)(i % 11) - 5;
    struct castoff_pool pool = {1};
    void *scratch = aligned_alloc(64, castoff_round_up(castoff_gemm_f32_scratch(batch, m, n, k, mode == 0, 1) + 64, 64));
    castoff_gemm_axis axis = {batch, m * k, mode == 0 ? castoff_panels_size(k, n) : n * k, m * n};
    castoff_gemm_f32_args args = {.m = m, .n = n, .k = k, .a = a, .a_row = k, .a_col = 1, .batch_rank = 1, .batch_axes = &axis,
                                  .c = c, .c_row = n};
    if (mode == 0) args.b_packed = b;
    if (mode == 1) args.b = b, args.b_row = n, args.b_col = 1;
    if (mode == 2) args.b = b, args.b_row = 1, args.b_col = k;
    double flops = 2.0 * batch * m * n * k, times[64];
    int64_t repeat = 1 + (int64_t)(2e7 / flops);
    double budget = now() + 0.35;
    int count = 0;
    castoff_gemm_f32_run(&args, &pool, scratch);
    while (count < 64 && (count < 5 || now() < budget)) {
        double start = now();
        for (int64_t r = 0; r < repeat; r++) castoff_gemm_f32_run(&args, &pool, scratch);
        times[count++] = (now() - start) / repeat;
    }
    qsort(times, count, sizeof *times, compare);
    static const char *const names[] = {"packed", "B", "B^T"};
    printf("%4ld x %5ld x %5ld x %5ld %-6s %10.2f us %7.1f GF/s %5.1f%% of peak, %6.1f GB/s of B\n", (long)batch, (long)m,
           (long)k, (long)n, names[mode], times[0] * 1e6, flops / times[0] / 1e9,
           100 * flops / times[0] / 1e9 / peak, batch * n * k * 4.0 / times[0] / 1e9);
    free(a), free(b), free(c), free(scratch);
}

int main(int count, char **arguments) {
    double peak = fma_peak();
    printf("register-only FMA peak %.1f GF/s\n", peak);
    if (count > 5) {
        measure(atol(arguments[1]), atol(arguments[2]), atol(arguments[3]), atol(arguments[4]), atoi(arguments[5]), peak);
        return 0;
    }
    static const int64_t shapes[][5] = {
        {1, 128, 768, 3072, 0}, {1, 128, 3072, 768, 0}, {1, 128, 768, 768, 0}, {1, 197, 768, 3072, 0}, {1, 1024, 1024, 1024, 0},
        {1, 1024, 1024, 1024, 1}, {1, 1024, 1024, 1024, 2}, {1, 512, 8192, 512, 0}, {1, 1, 768, 3072, 0}, {1, 1, 4096, 4096, 0},
        {1, 4, 4096, 4096, 0}, {1, 8, 4096, 4096, 0}, {1, 1, 4096, 4096, 1}, {1, 1, 4096, 4096, 2}, {1, 4, 4096, 4096, 2},
        {12, 128, 64, 128, 1}, {12, 128, 64, 128, 2}, {1, 64, 64, 64, 0}, {1, 64, 64, 64, 1}, {1, 1, 64, 64, 0}, {1, 1, 64, 64, 1},
        {1, 8, 16, 32, 0}, {1, 64, 576, 3136, 1}, {1, 256, 64, 3136, 1}, {1, 49, 4608, 512, 0}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        measure(shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3], (int)shapes[i][4], peak);
}
