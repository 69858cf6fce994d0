/* tensor_convolution.cuh - the tile of a convolution on tensor cores: float16, bfloat16 and TF32, summed in float32. */
#ifndef CASTOFF_CUDA_TENSOR_CONVOLUTION_CUH
#define CASTOFF_CUDA_TENSOR_CONVOLUTION_CUH

#include "cuda/convolution.cuh"
#include "cuda/tensor_core.cuh"

template <class Of, int PIXELS_, int CHANNELS_, int WARP_PIXELS_, int WARP_CHANNELS_, int STAGES_, int BLOCKS_>
struct castoff_tensor_tile {
    typedef Of Element;
    typedef typename Of::Stored Stored;
    typedef float Value;
    static constexpr int PIXELS = PIXELS_, CHANNELS = CHANNELS_, WARP_PIXELS = WARP_PIXELS_, WARP_CHANNELS = WARP_CHANNELS_;
    static constexpr int STAGES = STAGES_, BLOCKS = BLOCKS_;
    static constexpr int DOWN = WARP_PIXELS / 16, ACROSS = WARP_CHANNELS / 8;

    float sums[DOWN][ACROSS][4] = {};

    __device__ __forceinline__ void multiply(const unsigned char *pixels, const unsigned char *channels) {
        const int lane = (int)threadIdx.x % 32;
        pixels += lane % 16 * CASTOFF_CONVOLUTION_STRIDE + lane / 16 * 16;
        channels += (lane / 16 * 8 + lane % 8) * CASTOFF_CONVOLUTION_STRIDE + lane / 8 % 2 * 16;
#pragma unroll
        for (int from = 0; from < CASTOFF_CONVOLUTION_DEPTH; from += 32) {
            uint32_t x[DOWN][4];
#pragma unroll
            for (int i = 0; i < DOWN; ++i) {
                castoff_load_tiles(x[i], (const uint16_t *)(pixels + 16 * i * CASTOFF_CONVOLUTION_STRIDE + from));
                castoff_round_tiles<Of>(x[i]);
            }
#pragma unroll
            for (int j = 0; j < ACROSS; j += 2) {
                uint32_t y[4]; /* two pieces of the depth of eight channels, then of the next eight */
                castoff_load_tiles(y, (const uint16_t *)(channels + 8 * j * CASTOFF_CONVOLUTION_STRIDE + from));
                castoff_round_tiles<Of>(y);
                const uint32_t left[2] = {y[0], y[1]}, right[2] = {y[2], y[3]};
#pragma unroll
                for (int i = 0; i < DOWN; ++i) {
                    castoff_multiply_tiles<Of>(sums[i][j], x[i], left);
                    castoff_multiply_tiles<Of>(sums[i][j + 1], x[i], right);
                }
            }
        }
    }

    __device__ __forceinline__ void keep(float *memory) const {
        const int lane = (int)threadIdx.x % 32, group = lane / 4, quad = lane % 4;
#pragma unroll
        for (int i = 0; i < DOWN; ++i)
#pragma unroll
            for (int j = 0; j < ACROSS; ++j)
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    float *const to = memory + (16 * i + 8 * half + group) * (WARP_CHANNELS + 8) + 8 * j + 2 * quad;
                    *(castoff_channels<float, 2> *)to = {{sums[i][j][2 * half], sums[i][j][2 * half + 1]}};
                }
    }
};

#endif
