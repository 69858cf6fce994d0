/* product.cuh - matrix products of any element type and any strides, tile by tile through shared memory.
 *
 * A problem says where the operands' elements come from:
 *
 *     Value                            the type everything is multiplied and summed in
 *     batch, rows, columns, depth      sizes; the result is [batch, rows, columns]
 *     cursor(b)                        of one batch entry: left(row, k), right(k, column) give elements as Value; they
 *                                      are called with positions inside the operands only
 *
 * An epilogue takes each finished element: epilogue(value, b, row, column).
 */
#ifndef CASTOFF_CUDA_PRODUCT_CUH
#define CASTOFF_CUDA_PRODUCT_CUH

#include "common/complex.h"
#include "common/integer.h"
#include "cuda/launch.cuh"

/* ---- elements: what is stored, and what it is computed as ---- */

static __device__ __forceinline__ float castoff_multiply_add(float a, float b, float sum) { return fmaf(a, b, sum); }
static __device__ __forceinline__ double castoff_multiply_add(double a, double b, double sum) { return fma(a, b, sum); }
static __device__ __forceinline__ castoff_c64 castoff_multiply_add(castoff_c64 a, castoff_c64 b, castoff_c64 sum) {
    return castoff_add_c64(castoff_mul_c64(a, b), sum);
}
static __device__ __forceinline__ castoff_c128 castoff_multiply_add(castoff_c128 a, castoff_c128 b, castoff_c128 sum) {
    return castoff_add_c128(castoff_mul_c128(a, b), sum);
}
/* Integers wrap. */
template <class T>
static __device__ __forceinline__ T castoff_multiply_add(T a, T b, T sum) {
    return (T)((uint64_t)a * (uint64_t)b + (uint64_t)sum);
}

/* Elements stored as they are computed. */
template <class T>
struct castoff_plain {
    typedef T Stored;
    typedef T Value;
    static __device__ __forceinline__ T widen(T x) { return x; }
};
struct castoff_half {
    typedef castoff_f16 Stored;
    typedef float Value;
    static __device__ __forceinline__ float widen(castoff_f16 x) { return castoff_f16_to_f32(x); }
};
struct castoff_brain {
    typedef castoff_bf16 Stored;
    typedef float Value;
    static __device__ __forceinline__ float widen(castoff_bf16 x) { return castoff_bf16_to_f32(x); }
};
/* float32 that may be multiplied with 10 bits of fraction (TF32), where there is something that does. */
struct castoff_tf32 : castoff_plain<float> {};

/* ---- matrices ---- */

#define CASTOFF_MOST_BATCH_AXES 8

/* out[..., m, n] = sum over k of left[..., m, k] right[..., k, n]; strides in elements, any, 0 repeats. */
template <class Element>
struct castoff_matrices {
    typedef typename Element::Value Value;
    typedef typename Element::Stored Stored;

    int64_t batch, rows, columns, depth;
    const Stored *a, *b;
    int64_t a_row, a_column, b_row, b_column;
    int batch_rank;
    int64_t batch_sizes[CASTOFF_MOST_BATCH_AXES];
    int64_t a_batch[CASTOFF_MOST_BATCH_AXES], b_batch[CASTOFF_MOST_BATCH_AXES];

    struct Cursor {
        const castoff_matrices *p;
        const Stored *a, *b;
        __device__ __forceinline__ Value left(int64_t row, int64_t k) const {
            return Element::widen(a[row * p->a_row + k * p->a_column]);
        }
        __device__ __forceinline__ Value right(int64_t k, int64_t column) const {
            return Element::widen(b[k * p->b_row + column * p->b_column]);
        }
    };
    __device__ __forceinline__ Cursor cursor(int64_t entry) const {
        Cursor found = {this, a, b};
        for (int axis = batch_rank - 1; axis >= 0; --axis) {
            const int64_t index = entry % batch_sizes[axis];
            entry /= batch_sizes[axis];
            found.a += index * a_batch[axis];
            found.b += index * b_batch[axis];
        }
        return found;
    }
};

/* ---- the tiled product ---- */

#define CASTOFF_TILE 64
#define CASTOFF_TILE_DEPTH 16
#define CASTOFF_TILE_THREADS 256

/* The tile of 64 x 64 elements from (row0, column0) on: a block of 16 x 16 threads makes it, a thread 4 x 4 of them, 16 apart.
 * rows, columns: where the tile ends at the latest; store(sum, row, column) takes what there is of it. */
template <class Value, class Cursor, class Store>
static __device__ __forceinline__ void castoff_product_tile(const Cursor &cursor, int64_t row0, int64_t rows, int64_t column0,
                                                            int64_t columns, int64_t depth, const Store &store) {
    __shared__ Value left[CASTOFF_TILE_DEPTH][CASTOFF_TILE + 1];
    __shared__ Value right[CASTOFF_TILE_DEPTH][CASTOFF_TILE + 1];
    const int across = (int)threadIdx.x % 16, down = (int)threadIdx.x / 16;
    Value sums[4][4] = {};
    for (int64_t k0 = 0; k0 < depth; k0 += CASTOFF_TILE_DEPTH) {
        for (int i = (int)threadIdx.x; i < CASTOFF_TILE * CASTOFF_TILE_DEPTH; i += CASTOFF_TILE_THREADS) {
            /* Neighbouring threads read along k on the left, along the columns on the right. */
            const int k = i % CASTOFF_TILE_DEPTH, row = i / CASTOFF_TILE_DEPTH;
            left[k][row] = row0 + row < rows && k0 + k < depth ? cursor.left(row0 + row, k0 + k) : Value{};
            const int column = i % CASTOFF_TILE, inner = i / CASTOFF_TILE;
            right[inner][column] =
                k0 + inner < depth && column0 + column < columns ? cursor.right(k0 + inner, column0 + column) : Value{};
        }
        __syncthreads();
#pragma unroll
        for (int k = 0; k < CASTOFF_TILE_DEPTH; ++k) {
            Value x[4], y[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                x[i] = left[k][down + 16 * i];
                y[i] = right[k][across + 16 * i];
            }
#pragma unroll
            for (int i = 0; i < 4; ++i)
#pragma unroll
                for (int j = 0; j < 4; ++j) sums[i][j] = castoff_multiply_add(x[i], y[j], sums[i][j]);
        }
        __syncthreads();
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int64_t row = row0 + down + 16 * i, column = column0 + across + 16 * j;
            if (row < rows && column < columns) store(sums[i][j], row, column);
        }
}

template <class Problem, class Epilogue>
static __global__ void __launch_bounds__(CASTOFF_TILE_THREADS)
castoff_tiled_product(const Problem problem, const Epilogue epilogue) {
    typedef typename Problem::Value Value;
    const int64_t column_tiles = (problem.columns + CASTOFF_TILE - 1) / CASTOFF_TILE;
    for (int64_t entry = blockIdx.z; entry < problem.batch; entry += gridDim.z) {
        const auto cursor = problem.cursor(entry);
        const auto finish = [&](Value sum, int64_t row, int64_t column) { epilogue(sum, entry, row, column); };
        for (int64_t row0 = (int64_t)blockIdx.y * CASTOFF_TILE; row0 < problem.rows; row0 += (int64_t)gridDim.y * CASTOFF_TILE)
            for (int64_t tile = blockIdx.x; tile < column_tiles; tile += gridDim.x)
                castoff_product_tile<Value>(cursor, row0, problem.rows, tile * CASTOFF_TILE, problem.columns, problem.depth,
                                            finish);
    }
}

/* ---- small products, many of them: a thread to an element ---- */

/* Bound by launches and by what the caches give: 2 * depth elements for each result. A tile would have one result for each of
 * its threads, or none. */
template <class Problem, class Epilogue>
static __global__ void __launch_bounds__(256)
castoff_small_products(const Problem problem, const Epilogue epilogue, const int64_t count) {
    const int columns = (int)problem.columns, size = (int)problem.rows * columns, depth = (int)problem.depth;
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        const int64_t entry = i / size;
        const int row = (int)(i % size) / columns, column = (int)(i % size) % columns;
        const auto cursor = problem.cursor(entry);
        typename Problem::Value sum{};
        for (int k = 0; k < depth; ++k) sum = castoff_multiply_add(cursor.left(row, k), cursor.right(k, column), sum);
        epilogue(sum, entry, row, column);
    }
}

template <class Problem, class Epilogue>
static int castoff_run_small_products(castoff_frame *frame, const Problem &problem, const Epilogue &epilogue) {
    const int64_t count = problem.batch * problem.rows * problem.columns;
    return castoff_launch_rows(frame, castoff_small_products<Problem, Epilogue>, count, 256, 256, 0, problem, epilogue, count);
}

/* Blocks of a grid along y, and along z, at most; what is more is taken in turns. Few where tests are to see turns. */
#if defined(CASTOFF_EMULATION)
#define CASTOFF_GRID_SIDE 3
#else
#define CASTOFF_GRID_SIDE 65535
#endif

static inline unsigned castoff_grid_side(int64_t tiles, int64_t most) { return (unsigned)(tiles < most ? tiles : most); }

template <class Problem, class Epilogue>
static int castoff_run_product(castoff_frame *frame, const Problem &problem, const Epilogue &epilogue) {
    if (problem.batch <= 0 || problem.rows <= 0 || problem.columns <= 0) return CASTOFF_OK;
    const int64_t row_tiles = (problem.rows + CASTOFF_TILE - 1) / CASTOFF_TILE;
    const int64_t column_tiles = (problem.columns + CASTOFF_TILE - 1) / CASTOFF_TILE;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(castoff_grid_side(column_tiles, 0x7fffffff), castoff_grid_side(row_tiles, CASTOFF_GRID_SIDE),
                          castoff_grid_side(problem.batch, CASTOFF_GRID_SIDE));
    config.blockDim = dim3(CASTOFF_TILE_THREADS);
    config.stream = castoff_stream(frame);
    return castoff_cuda_status(
        frame, cudaLaunchKernelEx(&config, castoff_tiled_product<Problem, Epilogue>, problem, epilogue),
        "launch of a matrix product");
}

#endif
