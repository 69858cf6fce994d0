/* main: kernels for the device, and the host function that launches them. */
#include "cuda/launch.cuh"
#include "cuda/strided.cuh"
#include "cuda/lanes.cuh"
#include "common/integer.h"
#include "cuda/wide.cuh"
#include "cuda/selection.cuh"
#include "common/index.h"

struct castto_sum_gt_sum_0_arguments {
    const float *p0;
    castoff_b8 *p1;
    castoff_b8 *p2;
    int64_t *p3;
    int64_t *p4;
    int64_t rows;
};

static __global__ void __launch_bounds__(256)
castto_sum_gt_sum_0(const struct castto_sum_gt_sum_0_arguments arguments, const int64_t count) {
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    castoff_b8 *__restrict__ const p1 = castoff_aligned(arguments.p1);
    castoff_b8 *__restrict__ const p2 = castoff_aligned(arguments.p2);
    int64_t *__restrict__ const p3 = castoff_aligned(arguments.p3);
    int64_t *__restrict__ const p4 = castoff_aligned(arguments.p4);
    const int64_t rows = arguments.rows;
    const int lane = (int)threadIdx.x % 32;
    for (int64_t row = castoff_first_row<32>(); row < count; row += castoff_row_step<32>()) {
        (void)row;
        int64_t acc0 = 0;
        int64_t acc1 = 0;
        for (int64_t position = lane; position < rows * 7; position += 32) {
            const int64_t i0 = position;
            const float t0 = p0[i0];
            const castoff_b8 t1 = (t0 != 0);
            p1[i0] = t1;
            const int64_t t2 = (int64_t)t1;
            acc0 = castoff_add_i64(acc0, t2);
            const castoff_b8 t3 = t0 > 0.5f;
            p2[i0] = t3;
            const int64_t t4 = (int64_t)t3;
            acc1 = castoff_add_i64(acc1, t4);
        }
        acc0 = castoff_over_lanes<32>(acc0, [](int64_t a, int64_t b) -> int64_t { return castoff_add_i64(a, b); });
        acc1 = castoff_over_lanes<32>(acc1, [](int64_t a, int64_t b) -> int64_t { return castoff_add_i64(a, b); });
        if (lane == 0) {
            p3[0] = acc0;
            p4[0] = acc1;
        }
    }
}


struct castto_sum_gt_sum_1_arguments {
    const float *p0;
    castoff_b8 *p1;
    castoff_b8 *p2;
    int64_t *p3;
    int64_t *p4;
    int64_t rows;
};

/* What is known of a part of a row, and of the whole of it. */
struct castto_sum_gt_sum_1_partial {
    int64_t acc0;
    int64_t acc1;
};
struct castto_sum_gt_sum_1_result {
    int64_t acc0;
    int64_t acc1;
};

static __global__ void __launch_bounds__(256)
castto_sum_gt_sum_1_part_0(const struct castto_sum_gt_sum_1_arguments arguments, const int64_t count, const int64_t parts,
                struct castto_sum_gt_sum_1_partial *const partials, struct castto_sum_gt_sum_1_result *const results) {
    (void)partials;
    (void)results;
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    castoff_b8 *__restrict__ const p1 = castoff_aligned(arguments.p1);
    castoff_b8 *__restrict__ const p2 = castoff_aligned(arguments.p2);
    const int64_t rows = arguments.rows;
    const int lane = (int)threadIdx.x % 256;
    for (int64_t row = castoff_first_row<256>(); row < count; row += castoff_row_step<256>()) {
        const int64_t whole_row = row / parts, part = row % parts;
        int64_t acc0 = 0;
        int64_t acc1 = 0;
        for (int64_t position = castoff_part_begin(part, parts, rows * 7) + lane; position < castoff_part_begin(part + 1, parts, rows * 7); position += 256) {
            const int64_t i0 = position;
            const float t0 = p0[i0];
            const castoff_b8 t1 = (t0 != 0);
            p1[i0] = t1;
            const int64_t t2 = (int64_t)t1;
            acc0 = castoff_add_i64(acc0, t2);
            const castoff_b8 t3 = t0 > 0.5f;
            p2[i0] = t3;
            const int64_t t4 = (int64_t)t3;
            acc1 = castoff_add_i64(acc1, t4);
        }
        acc0 = castoff_over_lanes<256>(acc0, [](int64_t a, int64_t b) -> int64_t { return castoff_add_i64(a, b); });
        acc1 = castoff_over_lanes<256>(acc1, [](int64_t a, int64_t b) -> int64_t { return castoff_add_i64(a, b); });
        if (lane == 0) {
            partials[whole_row * parts + part].acc0 = acc0;
            partials[whole_row * parts + part].acc1 = acc1;
        }
    }
}

static __global__ void __launch_bounds__(256)
castto_sum_gt_sum_1_combine_0(const struct castto_sum_gt_sum_1_arguments arguments, const int64_t count, const int64_t parts,
                struct castto_sum_gt_sum_1_partial *const partials, struct castto_sum_gt_sum_1_result *const results) {
    (void)arguments;
    const int lane = (int)threadIdx.x % 256;
    for (int64_t row = castoff_first_row<256>(); row < count; row += castoff_row_step<256>()) {
        int64_t acc0 = 0;
        int64_t acc1 = 0;
        for (int64_t part = lane; part < parts; part += 256) {
            const auto found = partials[row * parts + part];
            acc0 = [](int64_t a, int64_t b) -> int64_t { return castoff_add_i64(a, b); }(acc0, found.acc0);
            acc1 = [](int64_t a, int64_t b) -> int64_t { return castoff_add_i64(a, b); }(acc1, found.acc1);
        }
        acc0 = castoff_over_lanes<256>(acc0, [](int64_t a, int64_t b) -> int64_t { return castoff_add_i64(a, b); });
        acc1 = castoff_over_lanes<256>(acc1, [](int64_t a, int64_t b) -> int64_t { return castoff_add_i64(a, b); });
        if (lane == 0) {
            results[row].acc0 = acc0;
            results[row].acc1 = acc1;
        }
    }
}

static __global__ void __launch_bounds__(256)
castto_sum_gt_sum_1_part_1(const struct castto_sum_gt_sum_1_arguments arguments, const int64_t count, const int64_t parts,
                struct castto_sum_gt_sum_1_partial *const partials, struct castto_sum_gt_sum_1_result *const results) {
    (void)partials;
    (void)results;
    int64_t *__restrict__ const p3 = castoff_aligned(arguments.p3);
    int64_t *__restrict__ const p4 = castoff_aligned(arguments.p4);
    const int lane = (int)threadIdx.x % 256;
    for (int64_t row = castoff_first_row<256>(); row < count; row += castoff_row_step<256>()) {
        const int64_t whole_row = row / parts, part = row % parts;
        const int64_t acc0 = results[whole_row].acc0;
        const int64_t acc1 = results[whole_row].acc1;
        if (lane == 0 && part == 0) {
            p3[0] = acc0;
            p4[0] = acc1;
        }
    }
}

/* `count` rows of `inner` iterations. */
static int castto_sum_gt_sum_1_run(castoff_frame *frame, const struct castto_sum_gt_sum_1_arguments &arguments, int64_t count, int64_t inner) {
    const int64_t parts = castoff_part_count(inner);
    struct castto_sum_gt_sum_1_partial *partials;
    struct castto_sum_gt_sum_1_result *results;
    CASTOFF_TRY(castoff_device_scratch(frame, &partials, count * parts));
    CASTOFF_TRY(castoff_device_scratch(frame, &results, count));
    CASTOFF_TRY(castoff_launch_rows(frame, castto_sum_gt_sum_1_part_0, count * parts, 1, 256, 0, arguments, count * parts, parts,
                                    partials, results));
    CASTOFF_TRY(castoff_launch_rows(frame, castto_sum_gt_sum_1_combine_0, count, 1, 256, 0, arguments, count, parts, partials,
                                    results));
    CASTOFF_TRY(castoff_launch_rows(frame, castto_sum_gt_sum_1_part_1, count * parts, 1, 256, 0, arguments, count * parts, parts,
                                    partials, results));
    return CASTOFF_OK;
}


struct castto_sum_gt_sum_2_arguments {
    const float *p0;
    castoff_b8 *p1;
    castoff_b8 *p2;
    int64_t *p3;
    int64_t *p4;
    int64_t rows;
};

static __global__ void __launch_bounds__(256)
castto_sum_gt_sum_2(const struct castto_sum_gt_sum_2_arguments arguments, const int64_t count) {
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    castoff_b8 *__restrict__ const p1 = castoff_aligned(arguments.p1);
    castoff_b8 *__restrict__ const p2 = castoff_aligned(arguments.p2);
    int64_t *__restrict__ const p3 = castoff_aligned(arguments.p3);
    int64_t *__restrict__ const p4 = castoff_aligned(arguments.p4);
    const int64_t rows = arguments.rows;
    const int lane = (int)threadIdx.x % 256;
    for (int64_t row = castoff_first_row<256>(); row < count; row += castoff_row_step<256>()) {
        (void)row;
        int64_t acc0 = 0;
        int64_t acc1 = 0;
        for (int64_t position = lane; position < rows * 7; position += 256) {
            const int64_t i0 = position;
            const float t0 = p0[i0];
            const castoff_b8 t1 = (t0 != 0);
            p1[i0] = t1;
            const int64_t t2 = (int64_t)t1;
            acc0 = castoff_add_i64(acc0, t2);
            const castoff_b8 t3 = t0 > 0.5f;
            p2[i0] = t3;
            const int64_t t4 = (int64_t)t3;
            acc1 = castoff_add_i64(acc1, t4);
        }
        acc0 = castoff_over_lanes<256>(acc0, [](int64_t a, int64_t b) -> int64_t { return castoff_add_i64(a, b); });
        acc1 = castoff_over_lanes<256>(acc1, [](int64_t a, int64_t b) -> int64_t { return castoff_add_i64(a, b); });
        if (lane == 0) {
            p3[0] = acc0;
            p4[0] = acc1;
        }
    }
}


struct advancedindex_0_arguments {
    const int64_t *p0;
    const float *p1;
    float *p2;
    int64_t n2;
    int64_t rows;
    int *fault;
};

static __global__ void __launch_bounds__(256)
advancedindex_0(const struct advancedindex_0_arguments arguments, const int64_t count) {
    const int64_t *__restrict__ const p0 = castoff_aligned(arguments.p0);
    const float *__restrict__ const p1 = castoff_aligned(arguments.p1);
    float *__restrict__ const p2 = castoff_aligned(arguments.p2);
    const int64_t n2 = arguments.n2;
    const int64_t rows = arguments.rows;
    int *const fault = arguments.fault;
    const int64_t t0 = castoff_floor_divide_i64(-n2, 4);
    const int64_t t2 = rows * 7;
    for (int64_t row = castoff_first_row<1>(); row < count; row += castoff_row_step<1>()) {
        const int64_t i0_vector = row;
        if (i0_vector * 4 + 4 <= n2) {
            const castoff_neighbours<4> neighbours(i0_vector);
#pragma unroll
            for (int64_t element = 0; element < 4; ++element) {
                const int64_t i0 = neighbours[element];
                const int64_t t1 = p0[i0];
                const int64_t t3 = castoff_check_index(t1, t2, fault);
                const int64_t t4 = t3;
                const castoff_b8 t5 = t4 < t2;
                float t6;
                if (t5) {
                    const float t7 = p1[t3];
                    t6 = t7;
                } else {
                    t6 = 0.0f;
                }
                p2[i0] = t6;
            }
        } else {
            for (int64_t element = i0_vector * 4; element < n2; ++element) {
                const int64_t i0 = element;
                const int64_t t8 = p0[i0];
                const int64_t t9 = castoff_check_index(t8, t2, fault);
                const int64_t t10 = t9;
                const castoff_b8 t11 = t10 < t2;
                float t12;
                if (t11) {
                    const float t13 = p1[t9];
                    t12 = t13;
                } else {
                    t12 = 0.0f;
                }
                p2[i0] = t12;
            }
        }
    }
}

/* What to say where a step read an index out of range. */
static const char *const fault_messages[] = {
    "index out of range",
};

extern "C" int castoff_run_cuda(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    (void)arena;
    const int64_t rows = frame->symbols[0];
    (void)rows;
    int64_t n1 = 0;
    int64_t n2 = 0;
    const size_t slot0 = 128;
    (void)slot0;
    const size_t slot1 = slot0 + (((size_t)(rows * 7) + 63) & ~(size_t)63);
    (void)slot1;
    void *dynamic0 = 0;
    int *const faults = castoff_frame_faults(frame, 1);
    if (!faults) return CASTOFF_OUT_OF_MEMORY;
    {
        if (rows * 7 <= 1024) {
            const struct castto_sum_gt_sum_0_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (castoff_b8 *)((void *)(arena + slot0)), .p2 = (castoff_b8 *)((void *)(arena + slot1)), .p3 = (int64_t *)((void *)(arena + 0)), .p4 = (int64_t *)((void *)(arena + 64)), .rows = rows};
            CASTOFF_TRY(castoff_launch(frame, castto_sum_gt_sum_0, 1, 8, 256, 0, arguments));
        } else {
            if (16384 <= rows * 7) {
                const struct castto_sum_gt_sum_1_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (castoff_b8 *)((void *)(arena + slot0)), .p2 = (castoff_b8 *)((void *)(arena + slot1)), .p3 = (int64_t *)((void *)(arena + 0)), .p4 = (int64_t *)((void *)(arena + 64)), .rows = rows};
                CASTOFF_TRY(castto_sum_gt_sum_1_run(frame, arguments, 1, rows * 7));
            } else {
                const struct castto_sum_gt_sum_2_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (castoff_b8 *)((void *)(arena + slot0)), .p2 = (castoff_b8 *)((void *)(arena + slot1)), .p3 = (int64_t *)((void *)(arena + 0)), .p4 = (int64_t *)((void *)(arena + 64)), .rows = rows};
                CASTOFF_TRY(castoff_launch(frame, castto_sum_gt_sum_2, 1, 1, 256, 0, arguments));
            }
        }
    }
    {
        int64_t read0;
        CASTOFF_TRY(castoff_read(frame, &read0, ((const int64_t *)((void *)(arena + 0))), sizeof read0));
        n1 = read0;
        if (n1 < 0 || n1 > 28672) return castoff_fail(frame, CASTOFF_RUNTIME_ERROR, "n1 must be at least 0 and at most 28672, it is %lld", (long long)n1);
    }
    {
        const int64_t shape[] = {n1, 2};
        if (!castoff_frame_allocate_output(frame, 0, 2, shape)) return CASTOFF_OUT_OF_MEMORY;
    }
    {
        const int64_t sizes3[] = {rows, 7};
        CASTOFF_TRY(castoff_device_nonzero(frame, ((int64_t *)(frame->outputs[0])), ((const castoff_b8 *)((void *)(arena + slot0))), 2, sizes3, n1, (-1)));
    }
    {
        int64_t read1;
        CASTOFF_TRY(castoff_read(frame, &read1, ((const int64_t *)((void *)(arena + 64))), sizeof read1));
        n2 = read1;
        if (n2 < 0 || n2 > 28672) return castoff_fail(frame, CASTOFF_RUNTIME_ERROR, "n2 must be at least 0 and at most 28672, it is %lld", (long long)n2);
    }
    {
        if (!(dynamic0 = castoff_frame_scratch(frame, (size_t)(n2 * 8)))) return CASTOFF_OUT_OF_MEMORY;
    }
    {
        const int64_t sizes3[] = {rows * 7};
        CASTOFF_TRY(castoff_device_nonzero(frame, ((int64_t *)(dynamic0)), ((const castoff_b8 *)((void *)(arena + slot1))), 1, sizes3, n2, (-1)));
    }
    {
        const int64_t shape[] = {n2};
        if (!castoff_frame_allocate_output(frame, 1, 1, shape)) return CASTOFF_OUT_OF_MEMORY;
    }
    {
        const int64_t t0 = castoff_floor_divide_i64(-n2, 4);
        const struct advancedindex_0_arguments arguments = {.p0 = (int64_t *)(dynamic0), .p1 = (float *)(frame->inputs[0]), .p2 = (float *)(frame->outputs[1]), .n2 = n2, .rows = rows, .fault = faults + 0};
        CASTOFF_TRY(castoff_launch(frame, advancedindex_0, -t0, 256, 256, 0, arguments));
    }
    CASTOFF_TRY(castoff_frame_report_faults(frame, 1, fault_messages));
    return CASTOFF_OK;
}
