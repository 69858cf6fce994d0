/* main: kernels for the device, and the host function that launches them. */
#include "cuda/launch.cuh"
#include "cuda/strided.cuh"
#include "cuda/lanes.cuh"
#include "common/types.h"
#include "cuda/tensor_convolution.cuh"
#include "common/math_f32.h"

struct permute_0_arguments {
    const castoff_f16 *p0;
    castoff_f16 *p1;
};

static __global__ void __launch_bounds__(256)
permute_0(const struct permute_0_arguments arguments, const int64_t count) {
    const castoff_f16 *__restrict__ const p0 = castoff_aligned(arguments.p0);
    castoff_f16 *__restrict__ const p1 = castoff_aligned(arguments.p1);
    const int lane = (int)threadIdx.x % 256;
    for (int64_t row = castoff_first_row<256>(); row < count; row += castoff_row_step<256>()) {
        const int64_t i2_square = row % (1);
        const int64_t rest0 = row / (1);
        const int64_t i1_square = rest0 % (2);
        const int64_t rest1 = rest0 / (2);
        const int64_t i0 = rest1;
        __shared__ castoff_f16 square0[64][66];
        __syncthreads(); /* the last square has been read */
        for (int position = lane; position < 2048; position += 256) {
            const int first = position % 32, second = position / 32;
            const int64_t i1_piece = i1_square * 32 + first;
            const int64_t i2 = i2_square * 64 + second;
            if (i1_piece < 45 && i2 < 8) {
                const castoff_neighbours<2> neighbours(i1_piece);
#pragma unroll
                for (int64_t element = 0; element < 2; ++element) {
                    const int64_t i1 = neighbours[element];
                    square0[second][first * 2 + element] = p0[i0 * 720 + i1 + i2 * 90];
                }
            }
        }
        __syncthreads();
        for (int position = lane; position < 512; position += 256) {
            const int first = position % 8, second = position / 8;
            const int64_t i2_piece = i2_square * 8 + first;
            const int64_t i1 = i1_square * 64 + second;
            if (i2_piece < 1 && i1 < 90) {
                const castoff_neighbours<8> neighbours(i2_piece);
#pragma unroll
                for (int64_t element = 0; element < 8; ++element) {
                    const int64_t i2 = neighbours[element];
                    const float t0 = castoff_f16_to_f32(square0[first * 8 + element][second]);
                    p1[i0 * 720 + i1 * 8 + i2] = castoff_f32_to_f16(t0);
                }
            }
        }
    }
}


struct convolution_0_arguments {
    const castoff_f16 *p0;
    const castoff_f16 *p1;
    const castoff_f16 *p2;
    castoff_f16 *p3;
};

struct convolution_0_epilogue {
    struct convolution_0_arguments arguments;
    __device__ __forceinline__ void operator()(const float tile, const int64_t b, const int64_t m, const int64_t n) const {
        const castoff_f16 *__restrict__ const p2 = castoff_aligned(arguments.p2);
        castoff_f16 *__restrict__ const p3 = castoff_aligned(arguments.p3);
        const float t0 = castoff_f16_to_f32(p2[n]);
        const float t1 = tile + t0;
        const float t2 = castoff_maximum_f32(t1, 0.0f);
        p3[b * 2000 + m * 40 + n] = castoff_f32_to_f16(t2);
    }
};

static int convolution_0_run(castoff_frame *frame, const struct convolution_0_arguments &arguments) {
    const castoff_f16 *const p0 = arguments.p0;
    (void)p0;
    const castoff_f16 *const p1 = arguments.p1;
    (void)p1;
    const castoff_f16 *const p2 = arguments.p2;
    (void)p2;
    castoff_f16 *const p3 = arguments.p3;
    (void)p3;

    const castoff_convolution<castoff_half> convolution = {
        .images = 2,
        .groups = 1,
        .in_channels = 8,
        .out_channels = 40,
        .in = {1, 9, 10},
        .out = {1, 5, 10},
        .kernel = {1, 3, 3},
        .stride = {1, 2, 1},
        .dilation = {1, 1, 1},
        .padding = {0, 1, 1},
        .x = p0,
        .weight = p1,
        .x_image = 720,
        .x_space = {0, 80, 8},
        .wanted_blocks = 128,
    };
    const convolution_0_epilogue epilogue = {arguments};
    typedef castoff_tensor_tile<castoff_half, 64, 64, 32, 32, 4, 4> Tile;
    return castoff_run_convolution<Tile, 16, true, false>(frame, convolution, epilogue);
}

extern "C" int castoff_run_cuda(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    (void)arena;
    {
        const struct permute_0_arguments arguments = {.p0 = (castoff_f16 *)(frame->inputs[0]), .p1 = (castoff_f16 *)((void *)(arena + 0))};
        CASTOFF_TRY(castoff_launch(frame, permute_0, 4, 1, 256, 0, arguments));
    }
    {
        const struct convolution_0_arguments arguments = {.p0 = (castoff_f16 *)((void *)(arena + 0)), .p1 = (castoff_f16 *)(frame->constants[1]), .p2 = (castoff_f16 *)(frame->constants[0]), .p3 = (castoff_f16 *)(frame->outputs[0])};
        CASTOFF_TRY(convolution_0_run(frame, arguments));
    }
    return CASTOFF_OK;
}
