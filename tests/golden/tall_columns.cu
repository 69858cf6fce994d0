/* main: kernels for the device, and the host function that launches them. */
#include "cuda/launch.cuh"
#include "cuda/strided.cuh"
#include "cuda/lanes.cuh"
#include "cuda/wide.cuh"

struct sum_div_0_arguments {
    const float *p0;
    float *p1;
};

/* What is known of a part of a row, and of the whole of it. */
struct sum_div_0_partial {
    float acc0;
};
struct sum_div_0_result {
    float acc0;
};

static __global__ void __launch_bounds__(256)
sum_div_0_part_0(const struct sum_div_0_arguments arguments, const int64_t count, const int64_t parts,
                struct sum_div_0_partial *const partials, struct sum_div_0_result *const results) {
    (void)partials;
    (void)results;
    const float *__restrict__ const p0 = castoff_aligned(arguments.p0);
    for (int64_t row = castoff_first_row<1>(); row < count; row += castoff_row_step<1>()) {
        const int64_t whole_row = row % (count / parts), part = row / (count / parts);
        const int64_t i0 = whole_row;
        float acc0 = 0.0f;
        for (int64_t position = castoff_part_begin(part, parts, 900); position < castoff_part_begin(part + 1, parts, 900); position += 1) {
            const int64_t i1 = position;
            const float t0 = p0[i0 + i1 * 40];
            acc0 = acc0 + t0;
        }
        partials[whole_row * parts + part].acc0 = acc0;
    }
}

static __global__ void __launch_bounds__(256)
sum_div_0_combine_0(const struct sum_div_0_arguments arguments, const int64_t count, const int64_t parts,
                struct sum_div_0_partial *const partials, struct sum_div_0_result *const results) {
    (void)arguments;
    const int lane = (int)threadIdx.x % 32;
    for (int64_t row = castoff_first_row<32>(); row < count; row += castoff_row_step<32>()) {
        float acc0 = 0.0f;
        for (int64_t part = lane; part < parts; part += 32) {
            const auto found = partials[row * parts + part];
            acc0 = [](float a, float b) -> float { return a + b; }(acc0, found.acc0);
        }
        acc0 = castoff_over_lanes<32>(acc0, [](float a, float b) -> float { return a + b; });
        if (lane == 0) {
            results[row].acc0 = acc0;
        }
    }
}

static __global__ void __launch_bounds__(256)
sum_div_0_part_1(const struct sum_div_0_arguments arguments, const int64_t count, const int64_t parts,
                struct sum_div_0_partial *const partials, struct sum_div_0_result *const results) {
    (void)partials;
    (void)results;
    float *__restrict__ const p1 = castoff_aligned(arguments.p1);
    for (int64_t row = castoff_first_row<1>(); row < count; row += castoff_row_step<1>()) {
        const int64_t whole_row = row % (count / parts), part = row / (count / parts);
        const int64_t i0 = whole_row;
        const float acc0 = results[whole_row].acc0;
        const float t1 = acc0 / 900.0f;
        if (part == 0) {
            p1[i0] = t1;
        }
    }
}

/* `count` rows of `inner` iterations. */
static int sum_div_0_run(castoff_frame *frame, const struct sum_div_0_arguments &arguments, int64_t count, int64_t inner) {
    const int64_t parts = castoff_column_part_count(count, inner);
    struct sum_div_0_partial *partials;
    struct sum_div_0_result *results;
    CASTOFF_TRY(castoff_device_scratch(frame, &partials, count * parts));
    CASTOFF_TRY(castoff_device_scratch(frame, &results, count));
    CASTOFF_TRY(castoff_launch_rows(frame, sum_div_0_part_0, count * parts, 256, 256, 0, arguments, count * parts, parts,
                                    partials, results));
    CASTOFF_TRY(castoff_launch_rows(frame, sum_div_0_combine_0, count, 8, 256, 0, arguments, count, parts, partials,
                                    results));
    CASTOFF_TRY(castoff_launch_rows(frame, sum_div_0_part_1, count * parts, 256, 256, 0, arguments, count * parts, parts,
                                    partials, results));
    return CASTOFF_OK;
}

extern "C" int castoff_run_cuda(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    (void)arena;
    {
        const struct sum_div_0_arguments arguments = {.p0 = (float *)(frame->inputs[0]), .p1 = (float *)(frame->outputs[0])};
        CASTOFF_TRY(sum_div_0_run(frame, arguments, 40, 900));
    }
    return CASTOFF_OK;
}
