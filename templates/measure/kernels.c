/* Times forms of the kernels beside each other, on one thread, for shapes that it reads from standard input, a line each:
 *
 *     product batch m n k packed count (tile_rows rows depth){count}     castoff_gemm_f32 with each castoff_gemm_cut
 *     convolution batch in_channels out_channels height width padding_h padding_w     3 x 3: directly, by transforms
 *
 * Prints the bytes of a vector first, then for each line one number a form: its time over that of the first form in the
 * same round, the median of the rounds. Constant operands are taken in turns from more memory than caches hold, as they
 * come in a network.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cpu/conv_winograd.h"

enum { ROUNDS = 9, MOST_FORMS = 64, COLD_BYTES = 96 << 20 };

struct castoff_pool {
    int threads;
};
int castoff_pool_threads(const castoff_pool *pool) { return pool->threads; }
void castoff_parallel_for(castoff_pool *pool, int64_t count, int64_t grain, castoff_loop_body body, void *context) {
    (void)pool, (void)grain;
    if (count > 0) body(context, 0, count, 0);
}
static castoff_pool one_thread = {1};

/* Seconds this process has had of a processor: what else runs hardly shows. */
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *numbers(int64_t count) {
    float *result = aligned_alloc(64, (size_t)castoff_round_up(count * 4 + 64, 64));
    if (!result) exit(2);
    for (int64_t i = 0; i < count; i++) result[i] = (float)(i % 13) / 16 - 0.375f;
    return result;
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Runs form `form` once, with copy number `copy` of its constants. */
typedef void (*run_form)(const void *job, int form, int64_t copy);

static void compare(run_form run, const void *job, int forms, int64_t copies) {
    static double ratios[MOST_FORMS][ROUNDS];
    for (int form = 0; form < forms; form++) run(job, form, 0);
    double start = now();
    run(job, 0, 0);
    const double once = now() - start;
    const int64_t repeat = once < 1e-3 ? (int64_t)(1e-3 / (once + 1e-9)) + 1 : 1;
    int64_t copy = 0;
    for (int round = 0; round < ROUNDS; round++) {
        double first = 0;
        for (int form = 0; form < forms; form++) {
            start = now();
            for (int64_t i = 0; i < repeat; i++) run(job, form, copy++ % copies);
            const double taken = now() - start;
            if (form == 0) first = taken;
            ratios[form][round] = taken / first;
        }
    }
    for (int form = 0; form < forms; form++) {
        qsort(ratios[form], ROUNDS, sizeof(double), by_size);
        printf("%s%.4f", form ? " " : "", ratios[form][ROUNDS / 2]);
    }
    printf("\n");
    fflush(stdout);
}

typedef struct {
    castoff_gemm_f32_args args;
    castoff_gemm_cut cuts[MOST_FORMS];
    const float *b;
    int64_t copy_size;
    int is_packed;
    void *scratch;
} product_job;

static void run_product(const void *context, int form, int64_t copy) {
    const product_job *job = context;
    castoff_gemm_f32_args args = job->args;
    args.cut = job->cuts[form];
    if (job->is_packed)
        args.b_packed = job->b + copy * job->copy_size;
    else
        args.b = job->b + copy * job->copy_size;
    castoff_gemm_f32_run(&args, &one_thread, job->scratch);
}

static int product(void) {
    product_job job = {.is_packed = 0};
    long batch, m, n, k;
    int forms;
    if (scanf("%ld %ld %ld %ld %d %d", &batch, &m, &n, &k, &job.is_packed, &forms) != 6 || forms < 1 || forms > MOST_FORMS)
        return 0;
    int64_t scratch = 64;
    for (int i = 0; i < forms; i++) {
        castoff_gemm_cut *cut = job.cuts + i;
        if (scanf("%d %d %d", &cut->tile_rows, &cut->rows, &cut->depth) != 3) return 0;
        scratch = castoff_max_i64(scratch, castoff_gemm_f32_scratch_cut(batch, m, n, k, job.is_packed, 1, *cut));
    }
    const int64_t item = job.is_packed ? castoff_panels_size(k, n) : k * n;
    job.copy_size = item * batch;
    const int64_t copies = job.is_packed ? COLD_BYTES / (job.copy_size * 4 + 1) + 1 : 1;
    float *a = numbers(batch * m * k), *b = numbers(job.copy_size * copies), *c = numbers(batch * m * n);
    const castoff_gemm_axis axis = {batch, m * k, item, m * n};
    job.b = b;
    job.scratch = numbers(scratch / 4 + 16);
    job.args = (castoff_gemm_f32_args){.m = m, .n = n, .k = k, .a = a, .a_row = k, .a_col = 1, .b_row = n, .b_col = 1,
                                       .batch_rank = 1, .batch_axes = &axis, .c = c, .c_row = n};
    compare(run_product, &job, forms, copies);
    free(a), free(b), free(c), free(job.scratch);
    return 1;
}

typedef struct {
    castoff_conv_f32_args args;
    const float *weight;
    int64_t weight_size;
    void *scratch;
} convolution_job;

static void run_convolution(const void *context, int form, int64_t copy) {
    const convolution_job *job = context;
    castoff_conv_f32_args args = job->args;
    args.weight_packed = job->weight + copy * job->weight_size * 36;
    if (form == 0)
        castoff_conv_f32_run(&args, &one_thread, job->scratch);
    else
        castoff_conv_winograd_f32_run(&args, &one_thread, job->scratch);
}

static int convolution(void) {
    long batch, in, out, height, width, top, left;
    if (scanf("%ld %ld %ld %ld %ld %ld %ld", &batch, &in, &out, &height, &width, &top, &left) != 7) return 0;
    const int64_t rows = height + 2 * top - 2, columns = width + 2 * left - 2;
    convolution_job job = {.weight_size = in * out};
    const int64_t copies = COLD_BYTES / (in * out * 36 * 4) + 1;
    float *x = numbers(batch * height * width * in), *weight = numbers(copies * in * out * 36);
    float *y = numbers(batch * rows * columns * out);
    job.args = (castoff_conv_f32_args){
        .batch = batch, .groups = 1, .in_channels = in, .out_channels = out, .in = {1, height, width}, .out = {1, rows, columns},
        .kernel = {1, 3, 3}, .stride = {1, 1, 1}, .dilation = {1, 1, 1}, .padding = {0, top, left}, .x = x,
        .x_batch = height * width * in, .x_space = {0, width * in, in}, .weight_packed = weight, .y = y,
        .y_batch = rows * columns * out, .y_pixel = out};
    job.weight = weight;
    const int64_t scratch =
        castoff_max_i64(castoff_conv_f32_scratch(&job.args, 1), castoff_conv_winograd_f32_scratch(&job.args, 1));
    job.scratch = numbers(scratch / 4 + 16);
    compare(run_convolution, &job, 2, copies);
    free(x), free(weight), free(y), free(job.scratch);
    return 1;
}

int main(void) {
    char kind[16];
    printf("%d\n", CASTOFF_VECTOR_BYTES);
    fflush(stdout);
    while (scanf("%15s", kind) == 1)
        if (!(kind[0] == 'p' ? product() : convolution())) return 1;
    return 0;
}
