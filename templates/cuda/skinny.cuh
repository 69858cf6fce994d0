/* skinny.cuh - matrix products with up to eight rows, or columns: every element of the larger operand is read once.
 *
 * Bound by memory: count * depth elements of the larger operand, 16 bytes at a time, for 2 * few operations each. An H100
 * with 3.35 TB/s and 33 * 10^12 multiply-adds a second has 20 of them for an element of 16 bits; eight rows need 8, and one
 * operation that widens it. The few come from the caches, few / 2 times as many bytes where elements lie along the depth.
 * Sums are split among the warps of a block, which are added in their order: no second kernel, the same bits every time.
 */
#ifndef CASTOFF_CUDA_SKINNY_CUH
#define CASTOFF_CUDA_SKINNY_CUH

#include "cuda/product.cuh"

#define CASTOFF_SKINNY_FEW 8
#define CASTOFF_SKINNY_WARPS 8
#define CASTOFF_SKINNY_OWN 2 /* rows of the larger operand that a warp reads at once */

/* The operands of castoff_matrices as the few and the many: [few, depth] and [many, depth], by strides. */
template <class Element>
struct castoff_skinny {
    typedef typename Element::Stored Stored;

    castoff_matrices<Element> p;
    bool is_swapped; /* the columns are few */

    __host__ __device__ __forceinline__ int64_t few() const { return is_swapped ? p.columns : p.rows; }
    __host__ __device__ __forceinline__ int64_t many() const { return is_swapped ? p.rows : p.columns; }
    __host__ __device__ __forceinline__ int64_t few_outer() const { return is_swapped ? p.b_column : p.a_row; }
    __host__ __device__ __forceinline__ int64_t few_inner() const { return is_swapped ? p.b_row : p.a_column; }
    __host__ __device__ __forceinline__ int64_t many_outer() const { return is_swapped ? p.a_row : p.b_column; }
    __host__ __device__ __forceinline__ int64_t many_inner() const { return is_swapped ? p.a_column : p.b_row; }
    template <class Epilogue>
    __device__ __forceinline__ void finish(const Epilogue &epilogue, float sum, int64_t entry, int64_t few, int64_t many) const {
        epilogue(sum, entry, is_swapped ? many : few, is_swapped ? few : many);
    }
};

/* 16 bytes of elements, as float. */
template <class Element>
static __device__ __forceinline__ void castoff_load_widened(const typename Element::Stored *from,
                                                            float (&values)[16 / sizeof(typename Element::Stored)]) {
    constexpr int COUNT = 16 / sizeof(typename Element::Stored);
    typename Element::Stored stored[COUNT];
    const uint4 piece = *(const uint4 *)from;
    memcpy(stored, &piece, sizeof stored);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) values[i] = Element::widen(stored[i]);
}

/* Elements lie side by side along the depth. `split` warps share the depth of two rows of the many. */
template <class Element, class Epilogue>
static __global__ void __launch_bounds__(32 * CASTOFF_SKINNY_WARPS)
castoff_skinny_along(const castoff_skinny<Element> s, const int split, const Epilogue epilogue) {
    constexpr int FEW = CASTOFF_SKINNY_FEW, OWN = CASTOFF_SKINNY_OWN, COUNT = 16 / sizeof(typename Element::Stored);
    __shared__ float found[CASTOFF_SKINNY_WARPS][OWN][FEW];
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, units = CASTOFF_SKINNY_WARPS / split;
    const int few_count = (int)s.few();
    const int64_t entry = blockIdx.y, many_count = s.many();
    const auto cursor = s.p.cursor(entry);
    const typename Element::Stored *const few = s.is_swapped ? cursor.b : cursor.a, *const many = s.is_swapped ? cursor.a : cursor.b;
    const int64_t block0 = (int64_t)blockIdx.x * units * OWN, first = block0 + warp / split * OWN;
    float sums[OWN][FEW] = {};
#pragma unroll 2
    for (int64_t k = (int64_t)(warp % split * 32 + lane) * COUNT; k < s.p.depth; k += split * 32 * COUNT) {
        float y[OWN][COUNT];
#pragma unroll
        for (int own = 0; own < OWN; ++own)
            castoff_load_widened<Element>(many + (first + own < many_count ? first + own : many_count - 1) * s.many_outer() + k,
                                          y[own]);
#pragma unroll
        for (int row = 0; row < FEW; ++row) {
            if (row >= few_count) break;
            float x[COUNT];
            castoff_load_widened<Element>(few + row * s.few_outer() + k, x);
#pragma unroll
            for (int own = 0; own < OWN; ++own)
#pragma unroll
                for (int i = 0; i < COUNT; ++i) sums[own][row] = fmaf(x[i], y[own][i], sums[own][row]);
        }
    }
#pragma unroll
    for (int own = 0; own < OWN; ++own)
#pragma unroll
        for (int row = 0; row < FEW; ++row) {
            if (row >= few_count) break;
            float sum = sums[own][row];
            for (int mask = 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
            if (lane == 0) found[warp][own][row] = sum;
        }
    __syncthreads();
    const int row = (int)threadIdx.x % FEW, own = (int)threadIdx.x / FEW;
    if (own >= units * OWN || row >= few_count || block0 + own >= many_count) return;
    float sum = 0.0f;
    for (int share = 0; share < split; ++share) sum += found[own / OWN * split + share][own % OWN][row];
    s.finish(epilogue, sum, entry, row, block0 + own);
}

/* Elements lie side by side across the many. Four lanes read 64 bytes of one step of the depth, of which a block has 64 under
 * way. */
template <class Element, class Epilogue>
static __global__ void __launch_bounds__(32 * CASTOFF_SKINNY_WARPS)
castoff_skinny_across(const castoff_skinny<Element> s, const Epilogue epilogue) {
    constexpr int FEW = CASTOFF_SKINNY_FEW, COUNT = 16 / sizeof(typename Element::Stored), WARPS = CASTOFF_SKINNY_WARPS;
    __shared__ float found[WARPS][FEW][4 * COUNT];
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, few_count = (int)s.few();
    const int64_t entry = blockIdx.y, many_count = s.many(), block0 = (int64_t)blockIdx.x * 4 * COUNT;
    const auto cursor = s.p.cursor(entry);
    const typename Element::Stored *const few = s.is_swapped ? cursor.b : cursor.a, *const many = s.is_swapped ? cursor.a : cursor.b;
    const int64_t first = block0 + lane % 4 * COUNT;
    float sums[FEW][COUNT] = {};
    if (first < many_count) {
#pragma unroll 4
        for (int64_t k = warp * 8 + lane / 4; k < s.p.depth; k += WARPS * 8) {
            float y[COUNT];
            castoff_load_widened<Element>(many + k * s.many_inner() + first, y);
#pragma unroll
            for (int row = 0; row < FEW; ++row) {
                if (row >= few_count) break;
                const float x = Element::widen(few[row * s.few_outer() + k * s.few_inner()]);
#pragma unroll
                for (int i = 0; i < COUNT; ++i) sums[row][i] = fmaf(x, y[i], sums[row][i]);
            }
        }
    }
#pragma unroll
    for (int row = 0; row < FEW; ++row) {
        if (row >= few_count) break;
#pragma unroll
        for (int i = 0; i < COUNT; ++i) {
            float sum = sums[row][i];
            for (int mask = 16; mask > 2; mask /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
            if (lane < 4) found[warp][row][lane * COUNT + i] = sum;
        }
    }
    __syncthreads();
    for (int i = (int)threadIdx.x; i < few_count * 4 * COUNT; i += 32 * WARPS) {
        const int row = i / (4 * COUNT), column = i % (4 * COUNT);
        if (block0 + column >= many_count) continue;
        float sum = 0.0f;
        for (int other = 0; other < WARPS; ++other) sum += found[other][row][column];
        s.finish(epilogue, sum, entry, row, block0 + column);
    }
}

/* Whether rows of an operand that are `stride` apart all begin at multiples of 16 bytes. */
template <class Stored>
static bool castoff_skinny_reaches(const Stored *pointer, int64_t stride, const int64_t *batch, int rank) {
    int64_t steps = stride;
    for (int axis = 0; axis < rank; ++axis) steps |= batch[axis];
    return (uintptr_t)pointer % 16 == 0 && steps % (16 / (int64_t)sizeof(Stored)) == 0;
}

enum castoff_skinny_way { CASTOFF_SKINNY_NONE, CASTOFF_SKINNY_ALONG, CASTOFF_SKINNY_ACROSS };

template <class Element>
static castoff_skinny_way castoff_skinny_takes(const castoff_skinny<Element> &s) {
    typedef typename Element::Stored Stored;
    constexpr int64_t COUNT = 16 / sizeof(Stored);
    const castoff_matrices<Element> &p = s.p;
    const int64_t *const few_batch = s.is_swapped ? p.b_batch : p.a_batch, *const many_batch = s.is_swapped ? p.a_batch : p.b_batch;
    const Stored *const few = s.is_swapped ? p.b : p.a, *const many = s.is_swapped ? p.a : p.b;
    if (s.few() > CASTOFF_SKINNY_FEW || p.batch > 65535) return CASTOFF_SKINNY_NONE;
    if (s.few_inner() == 1 && s.many_inner() == 1 && p.depth % COUNT == 0 &&
        castoff_skinny_reaches(few, s.few_outer(), few_batch, p.batch_rank) &&
        castoff_skinny_reaches(many, s.many_outer(), many_batch, p.batch_rank))
        return CASTOFF_SKINNY_ALONG;
    if (s.many_outer() == 1 && s.many() % COUNT == 0 && castoff_skinny_reaches(many, s.many_inner(), many_batch, p.batch_rank))
        return CASTOFF_SKINNY_ACROSS;
    return CASTOFF_SKINNY_NONE;
}

template <class Element, class Epilogue>
static int castoff_run_skinny(castoff_frame *frame, const castoff_skinny<Element> &s, castoff_skinny_way way,
                              const Epilogue &epilogue) {
    cudaLaunchConfig_t config = {};
    config.blockDim = dim3(32 * CASTOFF_SKINNY_WARPS);
    config.stream = castoff_stream(frame);
    if (way == CASTOFF_SKINNY_ACROSS) {
        const int64_t columns = 4 * 16 / sizeof(typename Element::Stored);
        config.gridDim = dim3((unsigned)((s.many() + columns - 1) / columns), (unsigned)s.p.batch);
        return castoff_cuda_status(frame, cudaLaunchKernelEx(&config, castoff_skinny_across<Element, Epilogue>, s, epilogue),
                                   "launch of a matrix product");
    }
    int split = 1; /* two blocks for each multiprocessor */
    int64_t blocks = (s.many() + CASTOFF_SKINNY_OWN - 1) / CASTOFF_SKINNY_OWN;
    while (split < CASTOFF_SKINNY_WARPS && blocks * s.p.batch * split < 2 * CASTOFF_MULTIPROCESSORS * CASTOFF_SKINNY_WARPS) split *= 2;
    const int64_t units = CASTOFF_SKINNY_WARPS / split;
    config.gridDim = dim3((unsigned)((blocks + units - 1) / units), (unsigned)s.p.batch);
    return castoff_cuda_status(frame, cudaLaunchKernelEx(&config, castoff_skinny_along<Element, Epilogue>, s, split, epilogue),
                               "launch of a matrix product");
}

#endif
