/* grouped.cuh - products of groups of rows, each group with a matrix of its own: mixtures of experts; and of groups of what is
 * summed, each with a result of its own, which are their gradients.
 *
 * How long groups are only the device knows. A tile of the result has rows of one group, so that `count` rows in `groups` groups
 * are at most count / 64 + groups tiles, whatever the groups are: that many are launched, and a first kernel, one warp, says
 * which rows each of them has. Matrices are read once where groups have up to 64 rows, which then bounds the time: 64 rows do 128
 * operations for an element, a third of what tensor cores of an H100 do while its memory gives 2 bytes. (Where rows are many,
 * tiles of 64 x 64 ask the L2 cache for as many bytes as large tiles of cuBLASLt would ask for half of.)
 *
 * The functions are those of common/grouped.h, on the device.
 */
#ifndef CASTOFF_CUDA_GROUPED_CUH
#define CASTOFF_CUDA_GROUPED_CUH

#include <cuda_pipeline_primitives.h>

#include "cuda/lanes.cuh"
#include "cuda/product.cuh"
#include "cuda/tensor_core.cuh"

#define CASTOFF_GROUPED_DEPTH 32
#define CASTOFF_GROUPED_STAGES 3
#define CASTOFF_GROUPED_THREADS 128
#define CASTOFF_GROUPED_SLOTS 0x7fff0000 /* blocks of a grid */

/* Rows of a tile: first up to last, of this group. `groups`: of none, zeros. */
struct castoff_grouped_part {
    int64_t first, last;
    int64_t group;
};

/* A tile of rows of a product: rows first up to last, summed from `begin` up to `end`. Pointers are to the whole matrices. */
template <class Element>
struct castoff_grouped_tile {
    typedef typename Element::Stored Stored;
    typedef typename Element::Value Value;

    Stored *out;          /* [rows, width] */
    const Stored *rows;   /* [rows, inner] */
    const Stored *matrix; /* [inner, width] */
    int64_t inner, width;
    int64_t first, last;
    int64_t begin, end;

    __device__ __forceinline__ Value left(int64_t row, int64_t k) const { return Element::widen(rows[row * inner + begin + k]); }
    __device__ __forceinline__ Value right(int64_t k, int64_t column) const {
        return Element::widen(matrix[(begin + k) * width + column]);
    }
};

/* Groups of rows: rows [count, inner], matrices [groups, inner, width]. */
template <class Element>
struct castoff_grouped_rows {
    typename Element::Stored *out;
    const typename Element::Stored *rows, *matrices;
    int64_t inner, width, groups;
    const castoff_grouped_part *parts;

    template <int THREADS>
    __device__ __forceinline__ castoff_grouped_tile<Element> tile() const {
        const castoff_grouped_part part = parts[blockIdx.x];
        return {out,   rows,       matrices + part.group * inner * width, inner,
                width, part.first, part.last,                             0, part.group < groups ? inner : 0};
    }
};

/* Groups of the inner dimension: rows [count, inner], matrix [inner, width], out [groups, count, width]. */
template <class Element>
struct castoff_grouped_depths {
    typename Element::Stored *out;
    const typename Element::Stored *rows, *matrix;
    int64_t count, inner, width;
    const int64_t *ends;

    template <int THREADS>
    __device__ __forceinline__ castoff_grouped_tile<Element> tile() const {
        const unsigned tiles = (unsigned)((count + CASTOFF_TILE - 1) / CASTOFF_TILE);
        const int64_t group = blockIdx.x / tiles, first = (int64_t)(blockIdx.x % tiles) * CASTOFF_TILE;
        const auto larger = [](int64_t a, int64_t b) { return a > b ? a : b; };
        int64_t begin = 0, end = ends[group];
        for (int64_t earlier = threadIdx.x; earlier < group; earlier += THREADS) begin = larger(begin, ends[earlier]);
        begin = castoff_over_lanes<THREADS>(begin, larger);
        if (end > inner) end = inner;
        if (begin > end) begin = end; /* a group that ends before an earlier one is empty */
        return {out + group * count * width, rows,  matrix, inner, width, first, first + CASTOFF_TILE < count ? first + CASTOFF_TILE : count,
                begin,                       end};
    }
};

/* The sum of lanes 0 .. lane. */
static __device__ __forceinline__ int64_t castoff_sum_to_lane(int64_t value) {
    const int lane = (int)threadIdx.x % 32;
    for (int step = 1; step < 32; step *= 2) {
        const int64_t other = __shfl_up_sync(0xffffffffu, value, step);
        if (lane >= step) value += other;
    }
    return value;
}

static __device__ __forceinline__ int64_t castoff_most_to_lane(int64_t value) {
    const int lane = (int)threadIdx.x % 32;
    for (int step = 1; step < 32; step *= 2) {
        const int64_t other = __shfl_up_sync(0xffffffffu, value, step);
        if (lane >= step && other > value) value = other;
    }
    return value;
}

/* One warp: the tiles of each group, then those of rows behind the last one, then empty ones up to `slots`. */
static __global__ void __launch_bounds__(32)
castoff_grouped_parts(const int64_t *__restrict__ ends, const int64_t groups, const int64_t count, const int64_t slots,
                      castoff_grouped_part *__restrict__ parts) {
    const int lane = (int)threadIdx.x;
    int64_t begun = 0, used = 0; /* rows and tiles before these 32 groups */
    for (int64_t group0 = 0; group0 <= groups; group0 += 32) {
        const int64_t group = group0 + lane;
        int64_t end = group < groups ? ends[group] : group == groups ? count : 0;
        if (end > count) end = count;
        /* A group that ends before an earlier one is empty. */
        int64_t last = castoff_most_to_lane(end);
        if (last < begun) last = begun;
        int64_t first = __shfl_up_sync(0xffffffffu, last, 1);
        if (lane == 0) first = begun;
        const int64_t tiles = (last - first + CASTOFF_TILE - 1) / CASTOFF_TILE;
        const int64_t after = used + castoff_sum_to_lane(tiles);
        for (int64_t tile = 0; tile < tiles; ++tile) {
            const int64_t row = first + tile * CASTOFF_TILE;
            parts[after - tiles + tile] = {row, row + CASTOFF_TILE < last ? row + CASTOFF_TILE : last, group};
        }
        begun = __shfl_sync(0xffffffffu, last, 31);
        used = __shfl_sync(0xffffffffu, after, 31);
    }
    for (int64_t slot = used + lane; slot < slots; slot += 32) parts[slot] = {0, 0, groups};
}

/* ---- types without tensor cores: a tile as that of any product ---- */

template <class Element, class Groups>
static __global__ void __launch_bounds__(CASTOFF_TILE_THREADS) castoff_grouped_tiles(const Groups groups) {
    const castoff_grouped_tile<Element> tile = groups.template tile<CASTOFF_TILE_THREADS>();
    if (tile.first < tile.last)
        for (int64_t column0 = (int64_t)blockIdx.y * CASTOFF_TILE; column0 < tile.width; column0 += (int64_t)gridDim.y * CASTOFF_TILE)
            castoff_product_tile<typename Element::Value>(
                tile, tile.first, tile.last, column0, tile.width, tile.end - tile.begin,
                [&tile](typename Element::Value sum, int64_t row, int64_t column) { tile.out[row * tile.width + column] = sum; });
}

/* ---- on tensor cores: four warps have 32 x 32 elements of a tile each ---- */

/* Rows begin 16 bytes later than they have to: eight of them then lie in different banks. */
struct castoff_grouped_stage {
    uint16_t left[CASTOFF_TILE][CASTOFF_GROUPED_DEPTH + 8];
    uint16_t right[CASTOFF_GROUPED_DEPTH][CASTOFF_TILE + 8];
};

/* Eight elements of a row, of which those from `first` to `last` exist; the others are 0. */
template <bool IS_ALIGNED>
static __device__ __forceinline__ void castoff_grouped_copy(uint16_t *to, const uint16_t *from, int64_t first, int64_t last) {
    const bool is_there = first < 8 && last > 0 && first < last;
    if (IS_ALIGNED && (!is_there || (first <= 0 && last >= 8))) {
        __pipeline_memcpy_async(to, from, 16, is_there ? 0 : 16);
    } else {
#pragma unroll
        for (int i = 0; i < 8; ++i) to[i] = i >= first && i < last ? from[i] : (uint16_t)0;
    }
}

template <bool IS_ALIGNED, class Element>
static __device__ __forceinline__ void castoff_grouped_fetch(castoff_grouped_stage &stage, const castoff_grouped_tile<Element> &tile,
                                                             int64_t column0, int64_t k0) {
    constexpr int LEFT = CASTOFF_GROUPED_DEPTH / 8, RIGHT = CASTOFF_TILE / 8;
#pragma unroll
    for (int i = (int)threadIdx.x; i < CASTOFF_TILE * LEFT; i += CASTOFF_GROUPED_THREADS) {
        const int row = i / LEFT, k = i % LEFT * 8;
        const bool is_there = tile.first + row < tile.last && k0 + k < tile.end;
        castoff_grouped_copy<IS_ALIGNED>(&stage.left[row][k],
                                         is_there ? tile.rows + (tile.first + row) * tile.inner + k0 + k : tile.rows,
                                         tile.begin - k0 - k, is_there ? tile.end - k0 - k : 0);
    }
#pragma unroll
    for (int i = (int)threadIdx.x; i < CASTOFF_GROUPED_DEPTH * RIGHT; i += CASTOFF_GROUPED_THREADS) {
        const int k = i / RIGHT, column = i % RIGHT * 8;
        const bool is_there = k0 + k >= tile.begin && k0 + k < tile.end && column0 + column < tile.width;
        castoff_grouped_copy<IS_ALIGNED>(&stage.right[k][column],
                                         is_there ? tile.matrix + (k0 + k) * tile.width + column0 + column : tile.matrix, 0,
                                         is_there ? tile.width - column0 - column : 0);
    }
}

template <bool IS_ALIGNED, class Element, class Groups>
static __global__ void __launch_bounds__(CASTOFF_GROUPED_THREADS) castoff_grouped_tensor_tiles(const Groups groups) {
    constexpr int STAGES = CASTOFF_GROUPED_STAGES, DEPTH = CASTOFF_GROUPED_DEPTH;
    __shared__ __align__(16) castoff_grouped_stage stages[STAGES];
    const castoff_grouped_tile<Element> tile = groups.template tile<CASTOFF_GROUPED_THREADS>();
    if (tile.first >= tile.last) return;
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, group = lane / 4, quad = lane % 4;
    const int row0 = warp / 2 * 32, warp_column = warp % 2 * 32;
    const int64_t k0 = tile.begin / 8 * 8, steps = tile.begin < tile.end ? (tile.end - k0 + DEPTH - 1) / DEPTH : 0;
    for (int64_t column0 = (int64_t)blockIdx.y * CASTOFF_TILE; column0 < tile.width; column0 += (int64_t)gridDim.y * CASTOFF_TILE) {
        float sums[2][4][4] = {};
        for (int step = 0; step < STAGES - 1; ++step) {
            if (step < steps) castoff_grouped_fetch<IS_ALIGNED>(stages[step], tile, column0, k0 + step * DEPTH);
            __pipeline_commit();
        }
        for (int64_t step = 0; step < steps; ++step) {
            __pipeline_wait_prior(STAGES - 2);
            __syncthreads(); /* what was copied is there for all, and the stage before this one is free */
            const int64_t ahead = step + STAGES - 1;
            if (ahead < steps) castoff_grouped_fetch<IS_ALIGNED>(stages[ahead % STAGES], tile, column0, k0 + ahead * DEPTH);
            __pipeline_commit();
            const castoff_grouped_stage &stage = stages[step % STAGES];
#pragma unroll
            for (int k = 0; k < DEPTH; k += 16) {
                uint32_t left[2][4];
#pragma unroll
                for (int down = 0; down < 2; ++down)
                    castoff_load_tiles(left[down], &stage.left[row0 + 16 * down + lane % 16][k + lane / 16 * 8]);
#pragma unroll
                for (int across = 0; across < 4; across += 2) {
                    uint32_t right[4]; /* depth k.. and 8 more of eight columns; then of the next eight */
                    castoff_load_tiles_transposed(
                        right, &stage.right[k + lane / 8 % 2 * 8 + lane % 8][warp_column + 8 * across + lane / 16 * 8]);
                    const uint32_t first[2] = {right[0], right[1]}, second[2] = {right[2], right[3]};
#pragma unroll
                    for (int down = 0; down < 2; ++down) {
                        castoff_multiply_tiles<Element>(sums[down][across], left[down], first);
                        castoff_multiply_tiles<Element>(sums[down][across + 1], left[down], second);
                    }
                }
            }
        }
        __syncthreads(); /* before the next columns are copied there */
#pragma unroll
        for (int down = 0; down < 2; ++down)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                const int64_t row = tile.first + row0 + 16 * down + 8 * half + group;
                if (row >= tile.last) continue;
#pragma unroll
                for (int across = 0; across < 4; ++across)
#pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        const int64_t column = column0 + warp_column + 8 * across + 2 * quad + i;
                        if (column < tile.width)
                            tile.out[row * tile.width + column] = castoff_narrowed(Element{}, sums[down][across][2 * half + i]);
                    }
            }
    }
}

/* `slots` tiles of rows. */
template <class Element, class Groups>
static int castoff_launch_grouped(castoff_frame *frame, const Groups &groups, int64_t slots, int64_t inner, int64_t width,
                                  const void *rows, const void *matrices) {
    const int64_t columns = (width + CASTOFF_TILE - 1) / CASTOFF_TILE;
    cudaLaunchConfig_t config = {};
    config.stream = castoff_stream(frame);
    /* Tiles of the same columns follow each other: those of a group read the same part of its matrix. */
    config.gridDim = dim3((unsigned)slots, castoff_grid_side(columns, CASTOFF_GRID_SIDE));
    void (*kernel)(Groups);
    if constexpr (castoff_on_tensor_cores<Element>::value) {
        const bool is_aligned = inner % 8 == 0 && width % 8 == 0 && ((uintptr_t)rows | (uintptr_t)matrices) % 16 == 0;
        kernel = is_aligned ? castoff_grouped_tensor_tiles<true, Element, Groups> : castoff_grouped_tensor_tiles<false, Element, Groups>;
        config.blockDim = dim3(CASTOFF_GROUPED_THREADS);
    } else {
        kernel = castoff_grouped_tiles<Element, Groups>;
        config.blockDim = dim3(CASTOFF_TILE_THREADS);
    }
    return castoff_cuda_status(frame, cudaLaunchKernelEx(&config, kernel, groups), "launch of a grouped product");
}

static inline int castoff_refuse_grouped(castoff_frame *frame, int64_t count) {
    return castoff_fail(frame, CASTOFF_RUNTIME_ERROR, "a grouped product of %lld rows is more than a grid can hold",
                        (long long)count);
}

template <class Element>
static int castoff_device_grouped_product(castoff_frame *frame, typename Element::Stored *out,
                                          const typename Element::Stored *rows, const typename Element::Stored *matrices,
                                          const int64_t *ends, int64_t count, int64_t inner, int64_t width, int64_t groups) {
    if (count <= 0 || width <= 0) return CASTOFF_OK;
    const int64_t slots = count / CASTOFF_TILE + groups + 1;
    if (slots > CASTOFF_GROUPED_SLOTS) return castoff_refuse_grouped(frame, count);
    castoff_grouped_part *const parts =
        (castoff_grouped_part *)castoff_frame_scratch(frame, (size_t)slots * sizeof(castoff_grouped_part));
    if (!parts) return CASTOFF_OUT_OF_MEMORY;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(1);
    config.blockDim = dim3(32);
    config.stream = castoff_stream(frame);
    CASTOFF_TRY(castoff_cuda_status(
        frame, cudaLaunchKernelEx(&config, castoff_grouped_parts, ends, groups, count, slots, parts), "launch of a grouped product"));
    const castoff_grouped_rows<Element> work = {out, rows, matrices, inner, width, groups, parts};
    return castoff_launch_grouped<Element>(frame, work, slots, inner, width, rows, matrices);
}

template <class Element>
static int castoff_device_grouped_depths(castoff_frame *frame, typename Element::Stored *out, const typename Element::Stored *rows,
                                         const typename Element::Stored *matrix, const int64_t *ends, int64_t count, int64_t inner,
                                         int64_t width, int64_t groups) {
    if (count <= 0 || width <= 0 || groups <= 0) return CASTOFF_OK;
    const int64_t tiles = (count + CASTOFF_TILE - 1) / CASTOFF_TILE;
    if (tiles > CASTOFF_GROUPED_SLOTS / groups) return castoff_refuse_grouped(frame, count);
    const castoff_grouped_depths<Element> work = {out, rows, matrix, count, inner, width, ends};
    return castoff_launch_grouped<Element>(frame, work, tiles * groups, inner, width, rows, matrix);
}

#endif
