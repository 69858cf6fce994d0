/* main: kernels for the device, and the host function that launches them. */
#include "cuda/launch.cuh"
#include "cuda/strided.cuh"
#include "cuda/lanes.cuh"
#include "common/integer.h"
#include "common/math_f32.h"
#include "cuda/wide.cuh"

struct max_exp_decay_sum_reciprocal_0_arguments {
    const float *p0;
    float *p1;
    int64_t length;
};

static __global__ void __launch_bounds__(256)
max_exp_decay_sum_reciprocal_0(const struct max_exp_decay_sum_reciprocal_0_arguments arguments, const int64_t count) {
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    float *__restrict__ const p1 = castoff_aligned(arguments.p1);
    const int64_t length = arguments.length;
    const int lane = (int)threadIdx.x % 32;
    const int64_t t0 = castoff_floor_divide_i64(-length, 4);
    for (int64_t row = castoff_first_row<32>(); row < count; row += castoff_row_step<32>()) {
        const int64_t i0 = row;
        float *const held0 = (float *)(castoff_shared_memory() + 0 + (int)threadIdx.x / 32 * (-t0 * 16));
        for (int64_t position = lane; position < length; position += 32) {
            const int64_t i1 = position;
            held0[i1] = p0[i0 * length + i1];
        }
        float acc0 = (-__builtin_inff());
        int acc0_nan = 0;
        for (int64_t position = lane; position < length; position += 32) {
            const int64_t i1 = position;
            const float t1 = held0[i1];
            acc0_nan |= t1 != t1;
            acc0 = t1 > acc0 ? t1 : acc0;
        }
        acc0 = castoff_over_lanes<32>(acc0, [](float a, float b) -> float { return b > a ? b : a; });
        acc0_nan = castoff_over_lanes<32>(acc0_nan, [](int a, int b) { return a | b; });
        acc0 = acc0_nan ? __builtin_nanf("") : acc0;
        float acc1 = 0.0f;
        for (int64_t position = lane; position < length; position += 32) {
            const int64_t i1 = position;
            const float t2 = held0[i1];
            const float t3 = t2 - acc0;
            const float t4 = castoff_exp_decay_f32(t3);
            acc1 = acc1 + t4;
        }
        acc1 = castoff_over_lanes<32>(acc1, [](float a, float b) -> float { return a + b; });
        const float t8 = castoff_reciprocal_f32(acc1);
        for (int64_t position = lane; position < length; position += 32) {
            const int64_t i1 = position;
            const float t5 = held0[i1];
            const float t6 = t5 - acc0;
            const float t7 = castoff_exp_decay_f32(t6);
            const float t9 = t7 * t8;
            p1[i0 * length + i1] = t9;
        }
    }
}


struct max_exp_decay_sum_reciprocal_1_arguments {
    const float *p0;
    float *p1;
    int64_t length;
};

/* What is known of a part of a row, and of the whole of it. */
struct max_exp_decay_sum_reciprocal_1_partial {
    float acc0;
    int acc0_nan;
    float acc1;
};
struct max_exp_decay_sum_reciprocal_1_result {
    float acc0;
    float acc1;
};

static __global__ void __launch_bounds__(256)
max_exp_decay_sum_reciprocal_1_part_0(const struct max_exp_decay_sum_reciprocal_1_arguments arguments, const int64_t count, const int64_t parts,
                struct max_exp_decay_sum_reciprocal_1_partial *const partials, struct max_exp_decay_sum_reciprocal_1_result *const results) {
    (void)partials;
    (void)results;
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    const int64_t length = arguments.length;
    const int lane = (int)threadIdx.x % 256;
    for (int64_t row = castoff_first_row<256>(); row < count; row += castoff_row_step<256>()) {
        const int64_t whole_row = row / parts, part = row % parts;
        const int64_t i0 = whole_row;
        float acc0 = (-__builtin_inff());
        int acc0_nan = 0;
        for (int64_t position = castoff_part_begin(part, parts, length) + lane; position < castoff_part_begin(part + 1, parts, length); position += 256) {
            const int64_t i1 = position;
            const float t0 = p0[i0 * length + i1];
            acc0_nan |= t0 != t0;
            acc0 = t0 > acc0 ? t0 : acc0;
        }
        acc0 = castoff_over_lanes<256>(acc0, [](float a, float b) -> float { return b > a ? b : a; });
        acc0_nan = castoff_over_lanes<256>(acc0_nan, [](int a, int b) { return a | b; });
        if (lane == 0) {
            partials[whole_row * parts + part].acc0 = acc0;
            partials[whole_row * parts + part].acc0_nan = acc0_nan;
        }
    }
}

static __global__ void __launch_bounds__(256)
max_exp_decay_sum_reciprocal_1_combine_0(const struct max_exp_decay_sum_reciprocal_1_arguments arguments, const int64_t count, const int64_t parts,
                struct max_exp_decay_sum_reciprocal_1_partial *const partials, struct max_exp_decay_sum_reciprocal_1_result *const results) {
    (void)arguments;
    const int lane = (int)threadIdx.x % 256;
    for (int64_t row = castoff_first_row<256>(); row < count; row += castoff_row_step<256>()) {
        float acc0 = (-__builtin_inff());
        int acc0_nan = 0;
        for (int64_t part = lane; part < parts; part += 256) {
            const auto found = partials[row * parts + part];
            acc0 = [](float a, float b) -> float { return b > a ? b : a; }(acc0, found.acc0);
            acc0_nan |= found.acc0_nan;
        }
        acc0 = castoff_over_lanes<256>(acc0, [](float a, float b) -> float { return b > a ? b : a; });
        acc0_nan = castoff_over_lanes<256>(acc0_nan, [](int a, int b) { return a | b; });
        acc0 = acc0_nan ? __builtin_nanf("") : acc0;
        if (lane == 0) {
            results[row].acc0 = acc0;
        }
    }
}

static __global__ void __launch_bounds__(256)
max_exp_decay_sum_reciprocal_1_part_1(const struct max_exp_decay_sum_reciprocal_1_arguments arguments, const int64_t count, const int64_t parts,
                struct max_exp_decay_sum_reciprocal_1_partial *const partials, struct max_exp_decay_sum_reciprocal_1_result *const results) {
    (void)partials;
    (void)results;
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    const int64_t length = arguments.length;
    const int lane = (int)threadIdx.x % 256;
    for (int64_t row = castoff_first_row<256>(); row < count; row += castoff_row_step<256>()) {
        const int64_t whole_row = row / parts, part = row % parts;
        const int64_t i0 = whole_row;
        const float acc0 = results[whole_row].acc0;
        float acc1 = 0.0f;
        for (int64_t position = castoff_part_begin(part, parts, length) + lane; position < castoff_part_begin(part + 1, parts, length); position += 256) {
            const int64_t i1 = position;
            const float t1 = p0[i0 * length + i1];
            const float t2 = t1 - acc0;
            const float t3 = castoff_exp_decay_f32(t2);
            acc1 = acc1 + t3;
        }
        acc1 = castoff_over_lanes<256>(acc1, [](float a, float b) -> float { return a + b; });
        if (lane == 0) {
            partials[whole_row * parts + part].acc1 = acc1;
        }
    }
}

static __global__ void __launch_bounds__(256)
max_exp_decay_sum_reciprocal_1_combine_1(const struct max_exp_decay_sum_reciprocal_1_arguments arguments, const int64_t count, const int64_t parts,
                struct max_exp_decay_sum_reciprocal_1_partial *const partials, struct max_exp_decay_sum_reciprocal_1_result *const results) {
    (void)arguments;
    const int lane = (int)threadIdx.x % 256;
    for (int64_t row = castoff_first_row<256>(); row < count; row += castoff_row_step<256>()) {
        float acc1 = 0.0f;
        for (int64_t part = lane; part < parts; part += 256) {
            const auto found = partials[row * parts + part];
            acc1 = [](float a, float b) -> float { return a + b; }(acc1, found.acc1);
        }
        acc1 = castoff_over_lanes<256>(acc1, [](float a, float b) -> float { return a + b; });
        if (lane == 0) {
            results[row].acc1 = acc1;
        }
    }
}

static __global__ void __launch_bounds__(256)
max_exp_decay_sum_reciprocal_1_part_2(const struct max_exp_decay_sum_reciprocal_1_arguments arguments, const int64_t count, const int64_t parts,
                struct max_exp_decay_sum_reciprocal_1_partial *const partials, struct max_exp_decay_sum_reciprocal_1_result *const results) {
    (void)partials;
    (void)results;
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    float *__restrict__ const p1 = castoff_aligned(arguments.p1);
    const int64_t length = arguments.length;
    const int lane = (int)threadIdx.x % 256;
    for (int64_t row = castoff_first_row<256>(); row < count; row += castoff_row_step<256>()) {
        const int64_t whole_row = row / parts, part = row % parts;
        const int64_t i0 = whole_row;
        const float acc0 = results[whole_row].acc0;
        const float acc1 = results[whole_row].acc1;
        const float t7 = castoff_reciprocal_f32(acc1);
        for (int64_t position = castoff_part_begin(part, parts, length) + lane; position < castoff_part_begin(part + 1, parts, length); position += 256) {
            const int64_t i1 = position;
            const float t4 = p0[i0 * length + i1];
            const float t5 = t4 - acc0;
            const float t6 = castoff_exp_decay_f32(t5);
            const float t8 = t6 * t7;
            p1[i0 * length + i1] = t8;
        }
    }
}

/* `count` rows of `inner` iterations. */
static int max_exp_decay_sum_reciprocal_1_run(castoff_frame *frame, const struct max_exp_decay_sum_reciprocal_1_arguments &arguments, int64_t count, int64_t inner) {
    const int64_t parts = castoff_part_count(inner);
    struct max_exp_decay_sum_reciprocal_1_partial *partials;
    struct max_exp_decay_sum_reciprocal_1_result *results;
    CASTOFF_TRY(castoff_device_scratch(frame, &partials, count * parts));
    CASTOFF_TRY(castoff_device_scratch(frame, &results, count));
    CASTOFF_TRY(castoff_launch_rows(frame, max_exp_decay_sum_reciprocal_1_part_0, count * parts, 1, 256, 0, arguments, count * parts, parts,
                                    partials, results));
    CASTOFF_TRY(castoff_launch_rows(frame, max_exp_decay_sum_reciprocal_1_combine_0, count, 1, 256, 0, arguments, count, parts, partials,
                                    results));
    CASTOFF_TRY(castoff_launch_rows(frame, max_exp_decay_sum_reciprocal_1_part_1, count * parts, 1, 256, 0, arguments, count * parts, parts,
                                    partials, results));
    CASTOFF_TRY(castoff_launch_rows(frame, max_exp_decay_sum_reciprocal_1_combine_1, count, 1, 256, 0, arguments, count, parts, partials,
                                    results));
    CASTOFF_TRY(castoff_launch_rows(frame, max_exp_decay_sum_reciprocal_1_part_2, count * parts, 1, 256, 0, arguments, count * parts, parts,
                                    partials, results));
    return CASTOFF_OK;
}


struct max_exp_decay_sum_reciprocal_2_arguments {
    const float *p0;
    float *p1;
    int64_t length;
};

static __global__ void __launch_bounds__(256)
max_exp_decay_sum_reciprocal_2(const struct max_exp_decay_sum_reciprocal_2_arguments arguments, const int64_t count) {
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    float *__restrict__ const p1 = castoff_aligned(arguments.p1);
    const int64_t length = arguments.length;
    const int lane = (int)threadIdx.x % 256;
    for (int64_t row = castoff_first_row<256>(); row < count; row += castoff_row_step<256>()) {
        const int64_t i0 = row;
        float *const held0 = (float *)(castoff_shared_memory() + 0);
        for (int64_t position = lane; position < length; position += 256) {
            const int64_t i1 = position;
            held0[i1] = p0[i0 * length + i1];
        }
        float acc0 = (-__builtin_inff());
        int acc0_nan = 0;
        for (int64_t position = lane; position < length; position += 256) {
            const int64_t i1 = position;
            const float t0 = held0[i1];
            acc0_nan |= t0 != t0;
            acc0 = t0 > acc0 ? t0 : acc0;
        }
        acc0 = castoff_over_lanes<256>(acc0, [](float a, float b) -> float { return b > a ? b : a; });
        acc0_nan = castoff_over_lanes<256>(acc0_nan, [](int a, int b) { return a | b; });
        acc0 = acc0_nan ? __builtin_nanf("") : acc0;
        float acc1 = 0.0f;
        for (int64_t position = lane; position < length; position += 256) {
            const int64_t i1 = position;
            const float t1 = held0[i1];
            const float t2 = t1 - acc0;
            const float t3 = castoff_exp_decay_f32(t2);
            acc1 = acc1 + t3;
        }
        acc1 = castoff_over_lanes<256>(acc1, [](float a, float b) -> float { return a + b; });
        const float t7 = castoff_reciprocal_f32(acc1);
        for (int64_t position = lane; position < length; position += 256) {
            const int64_t i1 = position;
            const float t4 = held0[i1];
            const float t5 = t4 - acc0;
            const float t6 = castoff_exp_decay_f32(t5);
            const float t8 = t6 * t7;
            p1[i0 * length + i1] = t8;
        }
    }
}


struct max_exp_decay_sum_reciprocal_3_arguments {
    const float *p0;
    float *p1;
    int64_t length;
};

static __global__ void __launch_bounds__(256)
max_exp_decay_sum_reciprocal_3(const struct max_exp_decay_sum_reciprocal_3_arguments arguments, const int64_t count) {
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    float *__restrict__ const p1 = castoff_aligned(arguments.p1);
    const int64_t length = arguments.length;
    const int lane = (int)threadIdx.x % 256;
    for (int64_t row = castoff_first_row<256>(); row < count; row += castoff_row_step<256>()) {
        const int64_t i0 = row;
        float acc0 = (-__builtin_inff());
        int acc0_nan = 0;
        for (int64_t position = lane; position < length; position += 256) {
            const int64_t i1 = position;
            const float t0 = p0[i0 * length + i1];
            acc0_nan |= t0 != t0;
            acc0 = t0 > acc0 ? t0 : acc0;
        }
        acc0 = castoff_over_lanes<256>(acc0, [](float a, float b) -> float { return b > a ? b : a; });
        acc0_nan = castoff_over_lanes<256>(acc0_nan, [](int a, int b) { return a | b; });
        acc0 = acc0_nan ? __builtin_nanf("") : acc0;
        float acc1 = 0.0f;
        for (int64_t position = lane; position < length; position += 256) {
            const int64_t i1 = position;
            const float t1 = p0[i0 * length + i1];
            const float t2 = t1 - acc0;
            const float t3 = castoff_exp_decay_f32(t2);
            acc1 = acc1 + t3;
        }
        acc1 = castoff_over_lanes<256>(acc1, [](float a, float b) -> float { return a + b; });
        const float t7 = castoff_reciprocal_f32(acc1);
        for (int64_t position = lane; position < length; position += 256) {
            const int64_t i1 = position;
            const float t4 = p0[i0 * length + i1];
            const float t5 = t4 - acc0;
            const float t6 = castoff_exp_decay_f32(t5);
            const float t8 = t6 * t7;
            p1[i0 * length + i1] = t8;
        }
    }
}

extern "C" int castoff_run_cuda(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    (void)arena;
    const int64_t length = frame->symbols[0];
    (void)length;
    {
        const int64_t t0 = castoff_floor_divide_i64(-length, 4);
        if (length <= 1024 && -t0 * 128 <= 98304) {
            const struct max_exp_decay_sum_reciprocal_0_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (float *)(frame->outputs[0]), .length = length};
            CASTOFF_TRY(castoff_launch(frame, max_exp_decay_sum_reciprocal_0, 5, 8, 256, -t0 * 128, arguments));
        } else {
            if (16384 <= length) {
                const struct max_exp_decay_sum_reciprocal_1_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (float *)(frame->outputs[0]), .length = length};
                CASTOFF_TRY(max_exp_decay_sum_reciprocal_1_run(frame, arguments, 5, length));
            } else {
                if (-t0 * 16 <= 98304) {
                    const struct max_exp_decay_sum_reciprocal_2_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (float *)(frame->outputs[0]), .length = length};
                    CASTOFF_TRY(castoff_launch(frame, max_exp_decay_sum_reciprocal_2, 5, 1, 256, -t0 * 16, arguments));
                } else {
                    const struct max_exp_decay_sum_reciprocal_3_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (float *)(frame->outputs[0]), .length = length};
                    CASTOFF_TRY(castoff_launch(frame, max_exp_decay_sum_reciprocal_3, 5, 1, 256, 0, arguments));
                }
            }
        }
    }
    return CASTOFF_OK;
}
