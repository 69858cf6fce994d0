/* main: kernels for the device, and the host function that launches them. */
#include "cuda/launch.cuh"
#include "cuda/strided.cuh"
#include "cuda/sort.cuh"
#include "cuda/lanes.cuh"
#include "common/index.h"
#include "common/integer.h"
#include "cuda/scan.cuh"
#include "cuda/selection.cuh"
#include "cuda/scatter.cuh"

struct any_logical_or_castto_0_arguments {
    const int64_t *p0;
    const float *p1;
    castoff_b8 *p2;
    int64_t *p3;
    int64_t n;
    int *fault;
};

static __global__ void __launch_bounds__(256)
any_logical_or_castto_0(const struct any_logical_or_castto_0_arguments arguments, const int64_t count) {
    const int64_t *__restrict__ const p0 = castoff_aligned(arguments.p0);
    const float *__restrict__ const p1 = castoff_aligned(arguments.p1);
    castoff_b8 *__restrict__ const p2 = castoff_aligned(arguments.p2);
    int64_t *__restrict__ const p3 = castoff_aligned(arguments.p3);
    const int64_t n = arguments.n;
    int *const fault = arguments.fault;
    const int64_t t1 = n;
    for (int64_t row = castoff_first_row<1>(); row < count; row += castoff_row_step<1>()) {
        const int64_t i0 = row;
        castoff_b8 acc0 = 0;
        const int64_t t0 = p0[i0];
        const int64_t t2 = castoff_check_index(t0, t1, fault);
        const int64_t t3 = t2;
        const castoff_b8 t4 = t3 < t1;
        float t5;
        if (t4) {
            const float t6 = p1[t2];
            t5 = t6;
        } else {
            t5 = 0.0f;
        }
        const int64_t t7 = i0;
        const int64_t t8 = castoff_sub_i64(t7, 1);
        const int64_t t9 = castoff_maximum_i64(t8, 0);
        const int64_t t10 = castoff_check_index(t9, t1, fault);
        const int64_t t11 = t10;
        const castoff_b8 t12 = t11 < t1;
        float t13;
        if (t12) {
            const int64_t t14 = p0[t10];
            const int64_t t15 = castoff_check_index(t14, t1, fault);
            const int64_t t16 = t15;
            const castoff_b8 t17 = t16 < t1;
            float t18;
            if (t17) {
                const float t19 = p1[t15];
                t18 = t19;
            } else {
                t18 = 0.0f;
            }
            t13 = t18;
        } else {
            t13 = 0.0f;
        }
        const castoff_b8 t20 = t5 != t13;
        acc0 = acc0 | t20;
        const castoff_b8 t21 = t7 == 0;
        const castoff_b8 t22 = t21 | acc0;
        p2[i0] = t22;
        const int64_t t23 = (int64_t)t22;
        p3[i0] = t23;
    }
}


struct sum_0_arguments {
    const int64_t *p0;
    int64_t *p1;
    int64_t n;
};

static __global__ void __launch_bounds__(256)
sum_0(const struct sum_0_arguments arguments, const int64_t count) {
    const int64_t *__restrict__ const p0 = castoff_aligned(arguments.p0);
    int64_t *__restrict__ const p1 = castoff_aligned(arguments.p1);
    const int64_t n = arguments.n;
    const int lane = (int)threadIdx.x % 32;
    for (int64_t row = castoff_first_row<32>(); row < count; row += castoff_row_step<32>()) {
        (void)row;
        int64_t acc0 = 0;
        for (int64_t position = lane; position < n; position += 32) {
            const int64_t i0 = position;
            const int64_t t0 = p0[i0];
            acc0 = castoff_add_i64(acc0, t0);
        }
        acc0 = castoff_over_lanes<32>(acc0, [](int64_t a, int64_t b) -> int64_t { return castoff_add_i64(a, b); });
        if (lane == 0) {
            p1[0] = acc0;
        }
    }
}


struct sum_1_arguments {
    const int64_t *p0;
    int64_t *p1;
    int64_t n;
};

static __global__ void __launch_bounds__(256)
sum_1(const struct sum_1_arguments arguments, const int64_t count) {
    const int64_t *__restrict__ const p0 = castoff_aligned(arguments.p0);
    int64_t *__restrict__ const p1 = castoff_aligned(arguments.p1);
    const int64_t n = arguments.n;
    const int lane = (int)threadIdx.x % 256;
    for (int64_t row = castoff_first_row<256>(); row < count; row += castoff_row_step<256>()) {
        (void)row;
        int64_t acc0 = 0;
        for (int64_t position = lane; position < n; position += 256) {
            const int64_t i0 = position;
            const int64_t t0 = p0[i0];
            acc0 = castoff_add_i64(acc0, t0);
        }
        acc0 = castoff_over_lanes<256>(acc0, [](int64_t a, int64_t b) -> int64_t { return castoff_add_i64(a, b); });
        if (lane == 0) {
            p1[0] = acc0;
        }
    }
}


struct indexput_base_0_arguments {
    int64_t *p0;
    int64_t n;
};

static __global__ void __launch_bounds__(256)
indexput_base_0(const struct indexput_base_0_arguments arguments, const int64_t count) {
    int64_t *__restrict__ const p0 = castoff_aligned(arguments.p0);
    const int64_t n = arguments.n;
    const int64_t t0 = castoff_floor_divide_i64(-n, 2);
    for (int64_t row = castoff_first_row<1>(); row < count; row += castoff_row_step<1>()) {
        const int64_t i0_vector = row;
        if (i0_vector * 2 + 2 <= n) {
            const castoff_neighbours<2> neighbours(i0_vector);
#pragma unroll
            for (int64_t element = 0; element < 2; ++element) {
                const int64_t i0 = neighbours[element];
                p0[i0] = 0;
            }
        } else {
            for (int64_t element = i0_vector * 2; element < n; ++element) {
                const int64_t i0 = element;
                p0[i0] = 0;
            }
        }
    }
}


struct indexput_0_arguments {
    const int64_t *p0;
    const int64_t *p1;
    int64_t *p2;
    int64_t n;
    int *fault;
};

static __global__ void __launch_bounds__(256)
indexput_0_keys(const struct indexput_0_arguments arguments, const int64_t count, const int64_t targets, uint64_t *const keys,
                 int64_t *const positions) {
    const int64_t *__restrict__ const p0 = castoff_aligned(arguments.p0);
    const int64_t n = arguments.n;
    int *const fault = arguments.fault;
    const int64_t t1 = n;
    for (int64_t row = castoff_first_row<1>(); row < count; row += castoff_row_step<1>()) {
        const int64_t i0 = row;
        uint64_t key = (uint64_t)targets;
        const int64_t t0 = p0[i0];
        const int64_t t2 = castoff_check_index(t0, t1, fault);
        const int64_t t3 = t2;
        const castoff_b8 t4 = t3 < t1;
        if (t4) {
            key = (uint64_t)(t2);
        }
        keys[row] = key;
        positions[row] = row;
    }
}

static __global__ void __launch_bounds__(256)
indexput_0(const struct indexput_0_arguments arguments, const int64_t count, const int64_t targets, const uint64_t *const keys,
            const int64_t *const positions) {
    const int64_t *__restrict__ const p0 = castoff_aligned(arguments.p0);
    const int64_t *__restrict__ const p1 = castoff_aligned(arguments.p1);
    int64_t *__restrict__ const p2 = castoff_aligned(arguments.p2);
    const int64_t n = arguments.n;
    int *const fault = arguments.fault;
    const int64_t t8 = n;
    for (int64_t row = castoff_first_row<1>(); row < count; row += castoff_row_step<1>()) {
        const uint64_t key = keys[row];
        if (key >= (uint64_t)targets) continue;
        if (row + 1 < count && keys[row + 1] == key) continue;
        const int64_t position = positions[row];
        const int64_t i0 = position;
        const int64_t t5 = p1[i0];
        const int64_t t6 = castoff_sub_i64(t5, 1);
        const int64_t t7 = p0[i0];
        const int64_t t9 = castoff_check_index(t7, t8, fault);
        p2[t9] = t6;
    }
}

/* `count` updates of `targets` elements. */
static int indexput_0_run(castoff_frame *frame, const struct indexput_0_arguments &arguments, int64_t count, int64_t targets) {
    return castoff_run_scatter(frame, indexput_0_keys, indexput_0, arguments, count, targets);
}


struct reshape_0_arguments {
    const int64_t *p0;
    const int64_t *p1;
    const float *p2;
    float *p3;
    int64_t n1;
    int64_t n;
    int *fault;
};

static __global__ void __launch_bounds__(256)
reshape_0(const struct reshape_0_arguments arguments, const int64_t count) {
    const int64_t *__restrict__ const p0 = castoff_aligned(arguments.p0);
    const int64_t *__restrict__ const p1 = castoff_aligned(arguments.p1);
    const float *__restrict__ const p2 = castoff_aligned(arguments.p2);
    float *__restrict__ const p3 = castoff_aligned(arguments.p3);
    const int64_t n1 = arguments.n1;
    const int64_t n = arguments.n;
    int *const fault = arguments.fault;
    const int64_t t0 = castoff_floor_divide_i64(-n1, 4);
    const int64_t t2 = n;
    for (int64_t row = castoff_first_row<1>(); row < count; row += castoff_row_step<1>()) {
        const int64_t i0_vector = row;
        if (i0_vector * 4 + 4 <= n1) {
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
                    const int64_t t7 = p1[t3];
                    const int64_t t8 = castoff_check_index(t7, t2, fault);
                    const int64_t t9 = t8;
                    const castoff_b8 t10 = t9 < t2;
                    float t11;
                    if (t10) {
                        const float t12 = p2[t8];
                        t11 = t12;
                    } else {
                        t11 = 0.0f;
                    }
                    t6 = t11;
                } else {
                    t6 = 0.0f;
                }
                p3[i0] = t6;
            }
        } else {
            for (int64_t element = i0_vector * 4; element < n1; ++element) {
                const int64_t i0 = element;
                const int64_t t13 = p0[i0];
                const int64_t t14 = castoff_check_index(t13, t2, fault);
                const int64_t t15 = t14;
                const castoff_b8 t16 = t15 < t2;
                float t17;
                if (t16) {
                    const int64_t t18 = p1[t14];
                    const int64_t t19 = castoff_check_index(t18, t2, fault);
                    const int64_t t20 = t19;
                    const castoff_b8 t21 = t20 < t2;
                    float t22;
                    if (t21) {
                        const float t23 = p2[t19];
                        t22 = t23;
                    } else {
                        t22 = 0.0f;
                    }
                    t17 = t22;
                } else {
                    t17 = 0.0f;
                }
                p3[i0] = t17;
            }
        }
    }
}

/* What to say where a step read an index out of range. */
static const char *const fault_messages[] = {
    "index out of range",
    "index out of range",
    "index out of range",
};

extern "C" int castoff_run_cuda(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    (void)arena;
    const int64_t n = frame->symbols[0];
    (void)n;
    int64_t n1 = 0;
    const size_t slot0 = 64;
    (void)slot0;
    const size_t slot1 = slot0 + (((size_t)(n * 4) + 63) & ~(size_t)63);
    (void)slot1;
    const size_t slot2 = slot1 + (((size_t)(n * 32) + 63) & ~(size_t)63);
    (void)slot2;
    const size_t slot3 = slot2 + (((size_t)(n * 8) + 63) & ~(size_t)63);
    (void)slot3;
    const size_t slot4 = slot3 + (((size_t)(n * 8) + 63) & ~(size_t)63);
    (void)slot4;
    const size_t slot5 = slot4 + (((size_t)(n) + 63) & ~(size_t)63);
    (void)slot5;
    void *dynamic0 = 0;
    int *const faults = castoff_frame_faults(frame, 3);
    if (!faults) return CASTOFF_OUT_OF_MEMORY;
    {
        CASTOFF_TRY(castoff_device_sort<castoff_plain<float>>(frame, ((float *)((void *)(arena + slot0))), ((int64_t *)((void *)(arena + slot2))), ((const float *)(frame->inputs[0])), 1, n, 1, 0, 1, (void *)(arena + slot1)));
    }
    {
        const struct any_logical_or_castto_0_arguments arguments = {.p0 = (int64_t *)((void *)(arena + slot2)), .p1 = (float *)(frame->inputs[0]), .p2 = (castoff_b8 *)((void *)(arena + slot4)), .p3 = (int64_t *)((void *)(arena + slot3)), .n = n, .fault = faults + 0};
        CASTOFF_TRY(castoff_launch(frame, any_logical_or_castto_0, n, 256, 256, 0, arguments));
    }
    {
        CASTOFF_TRY(castoff_device_scan_sum<castoff_plain<int64_t>>(frame, ((int64_t *)((void *)(arena + slot5))), ((const int64_t *)((void *)(arena + slot3))), 1, n, 1));
    }
    {
        if (n <= 1024) {
            const struct sum_0_arguments arguments = {.p0 = (int64_t *)((void *)(arena + slot3)), .p1 = (int64_t *)((void *)(arena + 0)), .n = n};
            CASTOFF_TRY(castoff_launch(frame, sum_0, 1, 8, 256, 0, arguments));
        } else {
            const struct sum_1_arguments arguments = {.p0 = (int64_t *)((void *)(arena + slot3)), .p1 = (int64_t *)((void *)(arena + 0)), .n = n};
            CASTOFF_TRY(castoff_launch(frame, sum_1, 1, 1, 256, 0, arguments));
        }
    }
    {
        int64_t read0;
        CASTOFF_TRY(castoff_read(frame, &read0, ((const int64_t *)((void *)(arena + 0))), sizeof read0));
        n1 = read0;
        if (n1 < 0 || n1 > 4096) return castoff_fail(frame, CASTOFF_RUNTIME_ERROR, "n1 must be at least 0 and at most 4096, it is %lld", (long long)n1);
    }
    {
        if (!(dynamic0 = castoff_frame_scratch(frame, (size_t)(n1 * 8)))) return CASTOFF_OUT_OF_MEMORY;
    }
    {
        const int64_t sizes3[] = {n};
        CASTOFF_TRY(castoff_device_nonzero(frame, ((int64_t *)(dynamic0)), ((const castoff_b8 *)((void *)(arena + slot4))), 1, sizes3, n1, (-1)));
    }
    {
        const int64_t t0 = castoff_floor_divide_i64(-n, 2);
        const struct indexput_base_0_arguments arguments = {.p0 = (int64_t *)(frame->outputs[1]), .n = n};
        CASTOFF_TRY(castoff_launch(frame, indexput_base_0, -t0, 256, 256, 0, arguments));
    }
    {
        const struct indexput_0_arguments arguments = {.p0 = (int64_t *)((void *)(arena + slot2)), .p1 = (int64_t *)((void *)(arena + slot5)), .p2 = (int64_t *)(frame->outputs[1]), .n = n, .fault = faults + 1};
        CASTOFF_TRY(indexput_0_run(frame, arguments, n, n));
    }
    {
        const int64_t shape[] = {n1};
        if (!castoff_frame_allocate_output(frame, 0, 1, shape)) return CASTOFF_OUT_OF_MEMORY;
    }
    {
        const int64_t t0 = castoff_floor_divide_i64(-n1, 4);
        const struct reshape_0_arguments arguments = {.p0 = (int64_t *)(dynamic0), .p1 = (int64_t *)((void *)(arena + slot2)), .p2 = (float *)(frame->inputs[0]), .p3 = (float *)(frame->outputs[0]), .n1 = n1, .n = n, .fault = faults + 2};
        CASTOFF_TRY(castoff_launch(frame, reshape_0, -t0, 256, 256, 0, arguments));
    }
    CASTOFF_TRY(castoff_frame_report_faults(frame, 3, fault_messages));
    return CASTOFF_OK;
}
