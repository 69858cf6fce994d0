/* main: kernels for the device, and the host function that launches them. */
#include "cuda/launch.cuh"
#include "cuda/strided.cuh"
#include "cuda/attention.cuh"
#include "common/types.h"

struct attention_0_arguments {
    const castoff_bf16 *p0;
    const castoff_bf16 *p1;
    const castoff_bf16 *p2;
    castoff_bf16 *p3;
    int64_t queries;
    int64_t keys;
};

struct attention_0_epilogue {
    struct attention_0_arguments arguments;
    __device__ __forceinline__ void operator()(const float tile, const int64_t b, const int64_t m, const int64_t n) const {
        castoff_bf16 *__restrict__ const p3 = castoff_aligned(arguments.p3);
        const int64_t queries = arguments.queries;
        const int64_t t0 = (b) % (4);
        const int64_t t1 = (b) / (4);
        p3[m * 64 + n + queries * t0 * 64 + queries * t1 * 256] = castoff_f32_to_bf16(tile);
    }
};

static int attention_0_run(castoff_frame *frame, const struct attention_0_arguments &arguments) {
    const castoff_bf16 *const p0 = arguments.p0;
    (void)p0;
    const castoff_bf16 *const p1 = arguments.p1;
    (void)p1;
    const castoff_bf16 *const p2 = arguments.p2;
    (void)p2;
    castoff_bf16 *const p3 = arguments.p3;
    (void)p3;
    const int64_t queries = arguments.queries;
    (void)queries;
    const int64_t keys = arguments.keys;
    (void)keys;

    const castoff_attention<castoff_brain> attention = {
        .batch = 2,
        .heads = 4,
        .kv_heads = 2,
        .queries = queries,
        .keys = keys,
        .size = 64,
        .value_size = 64,
        .q = p0,
        .k = p1,
        .v = p2,
        .q_batch = queries * 256,
        .q_head = queries * 64,
        .q_row = 64,
        .k_batch = keys * 128,
        .k_head = keys * 64,
        .k_row = 64,
        .v_batch = keys * 128,
        .v_head = keys * 64,
        .v_row = 64,
        .mask_kind = CASTOFF_MASK_NONE,
        .mask = 0,
        .mask_batch = 0,
        .mask_head = 0,
        .mask_row = 0,
        .mask_column = 0,
        .is_causal = 0,
        .scale = 0.125f,
    };
    return castoff_run_attention<64, 0>(frame, attention, attention_0_epilogue{arguments});
}

extern "C" int castoff_run_cuda(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    (void)arena;
    const int64_t queries = frame->symbols[0];
    (void)queries;
    const int64_t keys = frame->symbols[1];
    (void)keys;
    {
        const struct attention_0_arguments arguments = {.p0 = (castoff_bf16 *)(frame->inputs[0]), .p1 = (castoff_bf16 *)(frame->inputs[1]), .p2 = (castoff_bf16 *)(frame->inputs[2]), .p3 = (castoff_bf16 *)(frame->outputs[0]), .queries = queries, .keys = keys};
        CASTOFF_TRY(attention_0_run(frame, arguments));
    }
    return CASTOFF_OK;
}
