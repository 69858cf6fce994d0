/* Rate of castoff_attention_f32, one thread, the best of the runs.
 * gcc -O3 -march=x86-64-v4 -mprefer-vector-width=512 -I../../templates -I../../templates/cpu -I../../templates/abi attention.c
 *     ../../tests/kernels/pool.c -o attention && taskset -c 0 ./attention */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>

#include "attention.h"
#include "measure/peak.h"

struct castoff_pool {
    int threads;
};

static int compare(const void *a, const void *b) { return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b); }

static void measure(const char *name, int64_t heads, int64_t kv_heads, int64_t queries, int64_t keys, int64_t size, int causal,
                    double peak) {
    int64_t kv_count = keys * kv_heads * size, q_count = queries * heads * size;
    float *q = aligned_alloc(64, q_count * 4), *k = aligned_alloc(64, kv_count * 4), *v = aligned_alloc(64, kv_count * 4);
    float *out = aligned_alloc(64, q_count * 4);
    for (int64_t i = 0; i < q_count; i++) q[i] = (float)(i % 13) / 7 - 1;
    for (int64_t i = 0; i < kv_count; i++) k[i] = (float)(i % 17) / 9 - 1, v[i] = (float)(i % 11) / 5 - 1;
    castoff_attention_f32_args args = {
        .batch = 1, .heads = heads, .kv_heads = kv_heads, .queries = queries, .keys = keys, .size = size, .value_size = size,
        .q = q, .k = k, .v = v, .q_head = size, .q_row = heads * size, .k_head = size, .k_row = kv_heads * size, .v_head = size,
        .v_row = kv_heads * size, .causal = causal, .scale = 0.125f, .out = out, .out_head = size, .out_row = heads * size};
    struct castoff_pool pool = {1};
    void *scratch = aligned_alloc(64, castoff_round_up(castoff_attention_f32_scratch(&args, 1), 64));
    double flops = 4.0 * heads * queries * keys * size * (causal ? 0.5 : 1), times[64], budget = now() + 0.3;
    int64_t repeat = 1 + (int64_t)(1e7 / flops);
    int count = 0;
    castoff_attention_f32_run(&args, &pool, scratch);
    while (count < 64 && (count < 5 || now() < budget)) {
        double start = now();
        for (int64_t i = 0; i < repeat; i++) castoff_attention_f32_run(&args, &pool, scratch);
        times[count++] = (now() - start) / repeat;
    }
    qsort(times, count, sizeof *times, compare);
    double t = times[0];
    printf("%-28s %9.1f us %6.1f GF/s %5.1f%% %6.1f GB/s of k and v\n", name, t * 1e6, flops / t / 1e9, 100 * flops / t / 1e9 / peak,
           8.0 * kv_count / t / 1e9);
    free(q), free(k), free(v), free(out), free(scratch);
}

int main(void) {
    double peak = fma_peak();
    printf("register-only FMA peak %.1f GF/s\n", peak);
    measure("BERT-base 12 x 128 x 64", 12, 12, 128, 128, 64, 0, peak);
    measure("ViT-B/16 12 x 197 x 64", 12, 12, 197, 197, 64, 0, peak);
    measure("GPT-2 12 x 128 causal", 12, 12, 128, 128, 64, 1, peak);
    measure("12 x 1024 x 64", 12, 12, 1024, 1024, 64, 0, peak);
    measure("12 x 1024 x 64 causal", 12, 12, 1024, 1024, 64, 1, peak);
    measure("Whisper-tiny 6 x 1500 x 64", 6, 6, 1500, 1500, 64, 0, peak);
    measure("decode 12 x 512", 12, 12, 1, 512, 64, 0, peak);
    measure("decode 32 / 8 x 2048 x 128", 32, 8, 1, 2048, 128, 0, peak);
}
