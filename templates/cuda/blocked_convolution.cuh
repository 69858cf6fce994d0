/* blocked_convolution.cuh - the tile of a convolution by multiply-adds: float32 and float64.
 *
 * The 32 threads of a warp are 4 x 8; a thread has every fourth pixel and every eighth channel of the warp's. It reads 16
 * bytes along the depth of each: neighbouring rows, which lie in different banks.
 */
#ifndef CASTOFF_CUDA_BLOCKED_CONVOLUTION_CUH
#define CASTOFF_CUDA_BLOCKED_CONVOLUTION_CUH

#include "cuda/convolution.cuh"

template <class Of, int PIXELS_, int CHANNELS_, int WARP_PIXELS_, int WARP_CHANNELS_, int STAGES_, int BLOCKS_>
struct castoff_blocked_tile {
    typedef Of Element;
    typedef typename Of::Stored Stored;
    typedef typename Of::Value Value;
    static constexpr int PIXELS = PIXELS_, CHANNELS = CHANNELS_, WARP_PIXELS = WARP_PIXELS_, WARP_CHANNELS = WARP_CHANNELS_;
    static constexpr int STAGES = STAGES_, BLOCKS = BLOCKS_;
    static constexpr int DOWN = WARP_PIXELS / 4, ACROSS = WARP_CHANNELS / 8, AT_ONCE = 16 / (int)sizeof(Stored);
    typedef castoff_channels<Stored, AT_ONCE> Piece;

    Value sums[DOWN][ACROSS] = {};

    __device__ __forceinline__ void multiply(const unsigned char *pixels, const unsigned char *channels) {
        const int lane = (int)threadIdx.x % 32;
        pixels += lane / 8 * CASTOFF_CONVOLUTION_STRIDE;
        channels += lane % 8 * CASTOFF_CONVOLUTION_STRIDE;
#pragma unroll 1 /* more at once do not fit the registers */
        for (int from = 0; from < CASTOFF_CONVOLUTION_DEPTH; from += 16) {
            Piece x[DOWN];
#pragma unroll
            for (int i = 0; i < DOWN; ++i) x[i] = *(const Piece *)(pixels + 4 * i * CASTOFF_CONVOLUTION_STRIDE + from);
#pragma unroll
            for (int j = 0; j < ACROSS; ++j) {
                const Piece y = *(const Piece *)(channels + 8 * j * CASTOFF_CONVOLUTION_STRIDE + from);
#pragma unroll
                for (int e = 0; e < AT_ONCE; ++e)
#pragma unroll
                    for (int i = 0; i < DOWN; ++i)
                        sums[i][j] = castoff_multiply_add(Of::widen(x[i].elements[e]), Of::widen(y.elements[e]), sums[i][j]);
            }
        }
    }

    __device__ __forceinline__ void keep(Value *memory) const {
        const int lane = (int)threadIdx.x % 32;
#pragma unroll
        for (int i = 0; i < DOWN; ++i)
#pragma unroll
            for (int j = 0; j < ACROSS; ++j) memory[(lane / 8 + 4 * i) * (WARP_CHANNELS + 8) + lane % 8 + 8 * j] = sums[i][j];
    }
};

#endif
