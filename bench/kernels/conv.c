/* Rate of castoff_conv_f32 on ResNet-50's and MobileNetV2's layers, batch 1, one thread, the best of the runs.
 * gcc -O3 -march=x86-64-v4 -mprefer-vector-width=512 -I../../templates -I../../templates/cpu -I../../templates/abi conv.c
 *     ../../tests/kernels/pool.c -o conv && taskset -c 0 ./conv */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>

#include "conv.h"
#include "measure/peak.h"

struct castoff_pool {
    int threads;
};

typedef struct {
    int count, in, out, size, kernel, stride, padding, groups;
} layer;

static const layer resnet50[] = {
    {1, 3, 64, 224, 7, 2, 3, 1},    {1, 64, 64, 56, 1, 1, 0, 1},     {3, 64, 64, 56, 3, 1, 1, 1},   {4, 64, 256, 56, 1, 1, 0, 1},
    {2, 256, 64, 56, 1, 1, 0, 1},   {1, 256, 128, 56, 1, 1, 0, 1},   {1, 128, 128, 56, 3, 2, 1, 1}, {4, 128, 512, 28, 1, 1, 0, 1},
    {1, 256, 512, 56, 1, 2, 0, 1},  {3, 512, 128, 28, 1, 1, 0, 1},   {3, 128, 128, 28, 3, 1, 1, 1}, {1, 512, 256, 28, 1, 1, 0, 1},
    {1, 256, 256, 28, 3, 2, 1, 1},  {6, 256, 1024, 14, 1, 1, 0, 1},  {1, 512, 1024, 28, 1, 2, 0, 1}, {5, 1024, 256, 14, 1, 1, 0, 1},
    {5, 256, 256, 14, 3, 1, 1, 1},  {1, 1024, 512, 14, 1, 1, 0, 1},  {1, 512, 512, 14, 3, 2, 1, 1}, {3, 512, 2048, 7, 1, 1, 0, 1},
    {1, 1024, 2048, 14, 1, 2, 0, 1}, {2, 2048, 512, 7, 1, 1, 0, 1},  {2, 512, 512, 7, 3, 1, 1, 1}};
static const layer mobilenet_v2[] = {
    {1, 3, 32, 224, 3, 2, 1, 1},    {1, 32, 32, 112, 3, 1, 1, 32},   {1, 32, 16, 112, 1, 1, 0, 1},  {1, 16, 96, 112, 1, 1, 0, 1},
    {1, 96, 96, 112, 3, 2, 1, 96},  {1, 96, 24, 56, 1, 1, 0, 1},     {2, 24, 144, 56, 1, 1, 0, 1},  {1, 144, 144, 56, 3, 1, 1, 144},
    {1, 144, 24, 56, 1, 1, 0, 1},   {1, 144, 144, 56, 3, 2, 1, 144}, {1, 144, 32, 28, 1, 1, 0, 1},  {3, 32, 192, 28, 1, 1, 0, 1},
    {2, 192, 192, 28, 3, 1, 1, 192}, {2, 192, 32, 28, 1, 1, 0, 1},   {1, 192, 192, 28, 3, 2, 1, 192}, {1, 192, 64, 14, 1, 1, 0, 1},
    {4, 64, 384, 14, 1, 1, 0, 1},   {4, 384, 384, 14, 3, 1, 1, 384}, {3, 384, 64, 14, 1, 1, 0, 1},  {1, 384, 96, 14, 1, 1, 0, 1},
    {3, 96, 576, 14, 1, 1, 0, 1},   {2, 576, 576, 14, 3, 1, 1, 576}, {2, 576, 96, 14, 1, 1, 0, 1},  {1, 576, 576, 14, 3, 2, 1, 576},
    {1, 576, 160, 7, 1, 1, 0, 1},   {3, 160, 960, 7, 1, 1, 0, 1},    {3, 960, 960, 7, 3, 1, 1, 960}, {2, 960, 160, 7, 1, 1, 0, 1},
    {1, 960, 320, 7, 1, 1, 0, 1},   {1, 320, 1280, 7, 1, 1, 0, 1}};

static int compare(const void *a, const void *b) { return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b); }

/* Milliseconds of one run. */
static double measure(const layer *l, double peak) {
    int64_t out = (l->size + 2 * l->padding - l->kernel) / l->stride + 1, points = l->kernel * l->kernel;
    int64_t x_count = (int64_t)l->in * l->size * l->size, y_count = l->out * out * out;
    int64_t w_count = (l->groups > 1 ? l->out : castoff_round_up(l->out, 16) * l->in) * points;
    float *x = aligned_alloc(64, castoff_round_up(x_count * 4, 64)), *y = aligned_alloc(64, castoff_round_up(y_count * 4, 64));
    float *w = aligned_alloc(64, castoff_round_up(w_count * 4, 64));
    for (int64_t i = 0; i < x_count; i++) x[i] = (float)(i % 13) - 6;
    for (int64_t i = 0; i < w_count; i++) w[i] = (float)(i % 11) - 5;
    float bias[4096] = {0};
    castoff_conv_f32_args args = {
        .batch = 1, .groups = l->groups, .in_channels = l->in, .out_channels = l->out, .in = {1, l->size, l->size},
        .out = {1, out, out}, .kernel = {1, l->kernel, l->kernel}, .stride = {1, l->stride, l->stride}, .dilation = {1, 1, 1},
        .padding = {0, l->padding, l->padding}, .x = x, .x_batch = x_count,
        .x_space = {0, (int64_t)l->size * l->in, l->in}, .weight_packed = w, .y = y, .y_batch = y_count, .y_pixel = l->out,
        .bias = bias, .is_bounded = 1, .low = 0, .high = 6};
    struct castoff_pool pool = {1};
    void *scratch = aligned_alloc(64, castoff_round_up(castoff_conv_f32_scratch(&args, 1), 64) + 64);
    double flops = 2.0 * y_count * (l->in / l->groups) * points, times[64], budget = now() + 0.15;
    int count = 0;
    castoff_conv_f32_run(&args, &pool, scratch);
    while (count < 64 && (count < 5 || now() < budget)) {
        double start = now();
        castoff_conv_f32_run(&args, &pool, scratch);
        times[count++] = now() - start;
    }
    qsort(times, count, sizeof *times, compare);
    double t = times[0];
    printf("%d x %4d -> %4d %3d^2 k%d s%d g%-3d %8.1f us %6.1f GF/s %5.1f%%\n", l->count, l->in, l->out, l->size, l->kernel,
           l->stride, l->groups, t * 1e6, flops / t / 1e9, 100 * flops / t / 1e9 / peak);
    free(x), free(y), free(w), free(scratch);
    return t * 1e3 * l->count;
}

static void model(const char *name, const layer *layers, size_t count, double peak) {
    double total = 0;
    for (size_t i = 0; i < count; i++) total += measure(layers + i, peak);
    printf("%s: convolutions %.2f ms\n", name, total);
}

int main(void) {
    double peak = fma_peak();
    printf("register-only FMA peak %.1f GF/s\n", peak);
    model("ResNet-50", resnet50, sizeof resnet50 / sizeof *resnet50, peak);
    model("MobileNetV2", mobilenet_v2, sizeof mobilenet_v2 / sizeof *mobilenet_v2, peak);
}
