/* lanes.cuh - rows shared by threads: a thread, a warp or a block to a row.
 *
 * LANES is 1, 32 or the number of threads of a block. All lanes of a row call these functions together, and all of
 * them get the result. The order in which values are combined depends on LANES alone: results do not change from run
 * to run.
 */
#ifndef CASTOFF_CUDA_LANES_CUH
#define CASTOFF_CUDA_LANES_CUH

#include <stdint.h>
#include <string.h>

template <int LANES>
static __device__ __forceinline__ int64_t castoff_first_row() {
    if constexpr (LANES == 1) return (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    return (int64_t)blockIdx.x * (blockDim.x / LANES) + threadIdx.x / LANES;
}

template <int LANES>
static __device__ __forceinline__ int64_t castoff_row_step() {
    return (int64_t)gridDim.x * (blockDim.x / LANES);
}

/* Positions COUNT * piece, COUNT * piece + 1 and so on, so that the compiler makes one access of what is done at all of
 * them: it has to see that the first is aligned, and that each is some place plus a number that is not 0. */
template <int COUNT>
struct castoff_neighbours {
    int64_t before;
    __device__ __forceinline__ explicit castoff_neighbours(int64_t piece) : before(piece - 1) {
#if !defined(CASTOFF_EMULATION)
        asm("" : "+l"(before));
#endif
    }
    __device__ __forceinline__ int64_t operator[](int64_t i) const { return before * COUNT + (COUNT + i); }
};

/* The dynamic shared memory of the block. */
static __device__ __forceinline__ unsigned char *castoff_shared_memory() {
    extern __shared__ __align__(16) unsigned char castoff_dynamic_memory[];
    return castoff_dynamic_memory;
}

/* The value of a lane of the warp. T is any type without pointers. */
template <class T>
static __device__ __forceinline__ T castoff_from_lane(T value, int lane) {
    constexpr int WORDS = (sizeof(T) + 3) / 4;
    uint32_t words[WORDS] = {};
    memcpy(words, &value, sizeof value);
    for (int i = 0; i < WORDS; ++i) words[i] = __shfl_sync(0xffffffffu, words[i], lane);
    memcpy(&value, words, sizeof value);
    return value;
}

/* The same of the lane whose number differs in the bits of `mask`. */
template <class T>
static __device__ __forceinline__ T castoff_exchange(T value, int mask) {
    constexpr int WORDS = (sizeof(T) + 3) / 4;
    uint32_t words[WORDS] = {};
    memcpy(words, &value, sizeof value);
    for (int i = 0; i < WORDS; ++i) words[i] = __shfl_xor_sync(0xffffffffu, words[i], mask);
    memcpy(&value, words, sizeof value);
    return value;
}

/* `value` of all lanes, combined. */
template <int LANES, class T, class Combine>
static __device__ __forceinline__ T castoff_over_lanes(T value, Combine combine) {
    for (int mask = 16; mask > 0; mask /= 2) value = combine(value, castoff_exchange(value, mask));
    if constexpr (LANES > 32) {
        constexpr int WARPS = LANES / 32;
        static_assert((WARPS & (WARPS - 1)) == 0 && WARPS <= 32, "a power of two, that one warp can combine");
        __shared__ T partial[WARPS];
        if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
        __syncthreads();
        value = partial[threadIdx.x % WARPS];
        __syncthreads(); /* before the next reduction writes there */
        for (int mask = WARPS / 2; mask > 0; mask /= 2) value = combine(value, castoff_exchange(value, mask));
    }
    return value;
}

/* The better of two values with their positions; of equal ones the first. A position below zero stands for nothing
 * found. */
template <class T, class Better>
static __device__ __forceinline__ void castoff_take_better(T &best, int64_t &position, T other, int64_t other_position,
                                                           Better is_better) {
    if (other_position < 0) return;
    const bool is_tie = !is_better(best, other) && !is_better(other, best);
    if (position < 0 || is_better(other, best) || (is_tie && other_position < position)) {
        best = other;
        position = other_position;
    }
}

template <int LANES, class T, class Better>
static __device__ __forceinline__ void castoff_best_of_lanes(T &best, int64_t &position, Better is_better) {
    struct Found {
        T best;
        int64_t position;
    };
    const Found found = castoff_over_lanes<LANES>(Found{best, position}, [is_better](Found a, Found b) {
        castoff_take_better(a.best, a.position, b.best, b.position, is_better);
        return a;
    });
    best = found.best;
    position = found.position;
}

#endif
