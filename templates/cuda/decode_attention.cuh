/* decode_attention.cuh - attention of a few queries to many keys, as in decoding: the keys are split among blocks.
 *
 * After Dao and others, "Flash-Decoding for long-context inference" (2023). A block has the keys of one split of one key
 * head, and all query rows that read them, so that every key and value is read once, 16 bytes at a time where rows allow it: of
 * 128 elements of 16 bits a row takes half a warp, so that a warp has two keys at once. Each such share of a block has a maximum
 * and sums of its own. What shares, and then splits found is combined in their order. All element types; sums are float.
 */
#ifndef CASTOFF_CUDA_DECODE_ATTENTION_CUH
#define CASTOFF_CUDA_DECODE_ATTENTION_CUH

#include "cuda/attention_problem.cuh"
#include "cuda/lanes.cuh"

#define CASTOFF_DECODE_ROWS 8
#define CASTOFF_DECODE_WARPS 4
#define CASTOFF_DECODE_LEAST 64  /* keys of a split */
#define CASTOFF_DECODE_SPLITS 64

/* Query rows of a key head: its query heads, one after the other, with all queries of each. */
template <class Element>
struct castoff_decode_row {
    int64_t head, query;
    __device__ __forceinline__ castoff_decode_row(const castoff_attention<Element> &p, int64_t kv_head, int row)
        : head(kv_head * ((int)p.heads / (int)p.kv_heads) + row / (int)p.queries), query(row % (int)p.queries) {}
};

/* How the lanes of a warp share keys whose heads have up to SIZE elements: LANES to a key, GROUPS keys at once. */
template <int SIZE, class Element>
struct castoff_decode_lanes {
    static constexpr int COUNT = 16 / (int)sizeof(typename Element::Stored); /* elements side by side that a lane loads */
    static constexpr int lanes() {
        int lanes = 1;
        while (lanes < 32 && lanes * COUNT < SIZE) lanes *= 2;
        return lanes;
    }
    static constexpr int LANES = lanes(), GROUPS = 32 / LANES;
    static constexpr int PIECES = (SIZE + LANES * COUNT - 1) / (LANES * COUNT), WIDTH = PIECES * LANES * COUNT;
    static constexpr int SHARES = CASTOFF_DECODE_WARPS * GROUPS;
};

/* COUNT elements of a row from `column` on, of `size`; the others are 0. */
template <bool IS_ALIGNED, int COUNT, class Stored>
static __device__ __forceinline__ uint4 castoff_decode_load(const Stored *row, int64_t column, int64_t size) {
    uint4 piece = {};
    if constexpr (IS_ALIGNED) {
        if (column < size) piece = *(const uint4 *)(row + column);
    } else {
        Stored elements[COUNT] = {};
#pragma unroll
        for (int i = 0; i < COUNT; ++i)
            if (column + i < size) elements[i] = row[column + i];
        memcpy(&piece, elements, sizeof piece);
    }
    return piece;
}

template <class Element, int COUNT>
static __device__ __forceinline__ void castoff_decode_widen(uint4 piece, float (&values)[COUNT]) {
    typename Element::Stored elements[COUNT];
    memcpy(elements, &piece, sizeof elements);
#pragma unroll
    for (int i = 0; i < COUNT; ++i) values[i] = (float)Element::widen(elements[i]);
}

/* Peak, total and sums of each split: [batch * kv_heads][splits][rows][2 + value_size]. */
template <int ROWS, int SIZE, bool IS_ALIGNED, class Element>
static __global__ void __launch_bounds__(32 * CASTOFF_DECODE_WARPS, 2)
castoff_decode_splits(const castoff_attention<Element> p, const int64_t keys_each, float *__restrict__ partial) {
    typedef castoff_decode_lanes<SIZE, Element> Lanes;
    constexpr int WARPS = CASTOFF_DECODE_WARPS, SHARES = Lanes::SHARES, GROUPS = Lanes::GROUPS;
    constexpr int LANES = Lanes::LANES, COUNT = Lanes::COUNT, PIECES = Lanes::PIECES, WIDTH = Lanes::WIDTH;
    constexpr int KEYS = ROWS > 2 ? 2 : 4; /* that a lane has under way at once: registers hold no more */
    __shared__ __align__(16) float queries[ROWS][WIDTH];
    __shared__ __align__(16) float found[SHARES][ROWS][WIDTH];
    __shared__ float peaks[SHARES][ROWS], totals[SHARES][ROWS];
    const int lane = (int)threadIdx.x % LANES, warp = (int)threadIdx.x / 32, group = (int)threadIdx.x % 32 / LANES;
    const int64_t image = blockIdx.y / (unsigned)p.kv_heads, kv_head = blockIdx.y % (unsigned)p.kv_heads;
    const int rows = (int)p.heads / (int)p.kv_heads * (int)p.queries;
    for (int i = (int)threadIdx.x; i < ROWS * WIDTH; i += 32 * WARPS) {
        const int row = i / WIDTH, column = i % WIDTH;
        const castoff_decode_row<Element> at(p, kv_head, row);
        queries[row][column] =
            row < rows && column < p.size
                ? (float)Element::widen(p.q[image * p.q_batch + at.head * p.q_head + at.query * p.q_row + column]) * p.scale
                : 0.0f;
    }
    __syncthreads();

    const typename Element::Stored *const k = p.k + image * p.k_batch + kv_head * p.k_head;
    const typename Element::Stored *const v = p.v + image * p.v_batch + kv_head * p.v_head;
    const int64_t begin = blockIdx.x * keys_each, end = begin + keys_each < p.keys ? begin + keys_each : p.keys;
    float peak[ROWS], total[ROWS] = {}, sums[ROWS][PIECES][COUNT] = {};
    for (int row = 0; row < ROWS; ++row) peak[row] = -__builtin_inff();
    for (int64_t key0 = begin + warp * KEYS * GROUPS; key0 < end; key0 += WARPS * KEYS * GROUPS) {
        uint4 keys[KEYS][PIECES], values[KEYS][PIECES];
#pragma unroll
        for (int i = 0; i < KEYS; ++i)
#pragma unroll
            for (int piece = 0; piece < PIECES; ++piece) {
                const int64_t key = key0 + i * GROUPS + group, column = (piece * LANES + lane) * COUNT;
                const int64_t there = key < end ? key : end - 1;
                keys[i][piece] = castoff_decode_load<IS_ALIGNED, COUNT>(k + there * p.k_row, column, p.size);
                values[i][piece] = castoff_decode_load<IS_ALIGNED, COUNT>(v + there * p.v_row, column, p.value_size);
            }
#pragma unroll
        for (int row = 0; row < ROWS; ++row) {
            if (row >= rows) break;
            const castoff_decode_row<Element> at(p, kv_head, row);
            float scores[KEYS], top = peak[row];
#pragma unroll
            for (int i = 0; i < KEYS; ++i) {
                float score = 0.0f;
#pragma unroll
                for (int piece = 0; piece < PIECES; ++piece) {
                    float x[COUNT];
                    castoff_decode_widen<Element>(keys[i][piece], x);
#pragma unroll
                    for (int j = 0; j < COUNT; ++j) score = fmaf(queries[row][(piece * LANES + lane) * COUNT + j], x[j], score);
                }
#pragma unroll
                for (int mask = LANES / 2; mask > 0; mask /= 2) score += __shfl_xor_sync(0xffffffffu, score, mask);
                const int64_t key = key0 + i * GROUPS + group;
                scores[i] = key < end ? castoff_masked_score(p, score, 1.0f, image, at.head, at.query, key) : -__builtin_inff();
                top = fmaxf(top, scores[i]);
            }
            const float base = top == -__builtin_inff() ? 0.0f : top, shrink = expf(peak[row] - base);
            peak[row] = top;
            total[row] *= shrink;
#pragma unroll
            for (int piece = 0; piece < PIECES; ++piece)
#pragma unroll
                for (int j = 0; j < COUNT; ++j) sums[row][piece][j] *= shrink;
#pragma unroll
            for (int i = 0; i < KEYS; ++i) {
                const float weight = expf(scores[i] - base);
                total[row] += weight;
#pragma unroll
                for (int piece = 0; piece < PIECES; ++piece) {
                    float x[COUNT];
                    castoff_decode_widen<Element>(values[i][piece], x);
#pragma unroll
                    for (int j = 0; j < COUNT; ++j) sums[row][piece][j] = fmaf(weight, x[j], sums[row][piece][j]);
                }
            }
        }
    }

    const int share = warp * GROUPS + group;
#pragma unroll
    for (int row = 0; row < ROWS; ++row) {
        if (lane == 0) {
            peaks[share][row] = peak[row];
            totals[share][row] = total[row];
        }
#pragma unroll
        for (int piece = 0; piece < PIECES; ++piece)
#pragma unroll
            for (int j = 0; j < COUNT; ++j) found[share][row][(piece * LANES + lane) * COUNT + j] = sums[row][piece][j];
    }
    __syncthreads();
    for (int row = 0; row < rows; ++row) {
        float top = -__builtin_inff();
        for (int other = 0; other < SHARES; ++other) top = fmaxf(top, peaks[other][row]);
        const float base = top == -__builtin_inff() ? 0.0f : top;
        float *const out = partial + (((int64_t)blockIdx.y * gridDim.x + blockIdx.x) * rows + row) * (2 + p.value_size);
        float whole = 0.0f;
        for (int other = 0; other < SHARES; ++other) whole += totals[other][row] * expf(peaks[other][row] - base);
        if (threadIdx.x == 0) {
            out[0] = top;
            out[1] = whole;
        }
        for (int column = (int)threadIdx.x; column < p.value_size; column += 32 * WARPS) {
            float sum = 0.0f;
            for (int other = 0; other < SHARES; ++other) sum += found[other][row][column] * expf(peaks[other][row] - base);
            out[2 + column] = sum;
        }
    }
}

/* A block to a query row. */
template <class Element, class Epilogue>
static __global__ void __launch_bounds__(128)
castoff_decode_combine(const castoff_attention<Element> p, const int splits, const float *__restrict__ partial,
                       const Epilogue epilogue) {
    const int64_t group = p.heads / p.kv_heads, rows = group * p.queries, step = 2 + p.value_size;
    const int64_t row = blockIdx.x % rows, kv = blockIdx.x / rows;
    const float *const first = partial + (kv * splits * rows + row) * step;
    float top = -__builtin_inff(), total = 0.0f;
    for (int split = 0; split < splits; ++split) top = fmaxf(top, first[split * rows * step]);
    const float base = top == -__builtin_inff() ? 0.0f : top;
    for (int split = 0; split < splits; ++split)
        total += first[split * rows * step + 1] * expf(first[split * rows * step] - base);
    const int64_t entry = kv / p.kv_heads * p.heads + kv % p.kv_heads * group + row / p.queries;
    for (int64_t column = threadIdx.x; column < p.value_size; column += blockDim.x) {
        float sum = 0.0f;
        for (int split = 0; split < splits; ++split)
            sum += first[split * rows * step + 2 + column] * expf(first[split * rows * step] - base);
        epilogue(castoff_attention_result(sum, total), entry, row % p.queries, column);
    }
}

template <class Element>
static bool castoff_decode_takes(const castoff_attention<Element> &p, int64_t size) {
    return p.heads / p.kv_heads * p.queries <= CASTOFF_DECODE_ROWS && p.size <= size && p.value_size <= size &&
           p.keys >= 2 * CASTOFF_DECODE_LEAST && p.batch * p.kv_heads <= 65535;
}

/* Splits enough to give every multiprocessor two blocks, none shorter than it is worth. */
template <class Element>
static int64_t castoff_decode_splits_of(const castoff_attention<Element> &p) {
    const int64_t wanted = (2 * CASTOFF_MULTIPROCESSORS + p.batch * p.kv_heads - 1) / (p.batch * p.kv_heads);
    const int64_t most = p.keys / CASTOFF_DECODE_LEAST < CASTOFF_DECODE_SPLITS ? p.keys / CASTOFF_DECODE_LEAST : CASTOFF_DECODE_SPLITS;
    return wanted < most ? wanted : most;
}

/* Whether 16 bytes of keys and values reach every row. */
template <class Element>
static bool castoff_decode_is_aligned(const castoff_attention<Element> &p) {
    const int64_t steps = p.k_batch | p.k_head | p.k_row | p.v_batch | p.v_head | p.v_row | p.size | p.value_size;
    return steps % (int64_t)(16 / sizeof(typename Element::Stored)) == 0 && ((uintptr_t)p.k | (uintptr_t)p.v) % 16 == 0;
}

/* ROWS: as many as there are, 0 where only the run knows. */
template <int ROWS, int SIZE, class Element, class Epilogue>
static int castoff_run_decode(castoff_frame *frame, const castoff_attention<Element> &p, const Epilogue &epilogue) {
    const int64_t rows = p.heads / p.kv_heads * p.queries, entries = p.batch * p.kv_heads;
    int64_t splits = castoff_decode_splits_of(p);
    const int64_t keys_each = (p.keys + splits - 1) / splits;
    splits = (p.keys + keys_each - 1) / keys_each;
    float *const partial = (float *)castoff_frame_scratch(
        frame, (size_t)(entries * splits * rows * (2 + p.value_size)) * sizeof(float));
    if (!partial) return CASTOFF_OUT_OF_MEMORY;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)splits, (unsigned)entries);
    config.blockDim = dim3(32 * CASTOFF_DECODE_WARPS);
    config.stream = castoff_stream(frame);
    constexpr int MOST = ROWS == 0 ? CASTOFF_DECODE_ROWS : ROWS;
    auto kernel = castoff_decode_splits<MOST, SIZE, false, Element>;
    if (castoff_decode_is_aligned(p)) {
        kernel = castoff_decode_splits<MOST, SIZE, true, Element>;
        if constexpr (ROWS == 0)
            if (rows == 1) kernel = castoff_decode_splits<1, SIZE, true, Element>;
    }
    CASTOFF_TRY(castoff_cuda_status(frame, cudaLaunchKernelEx(&config, kernel, p, keys_each, partial), "launch of attention"));
    config.gridDim = dim3((unsigned)(entries * rows));
    config.blockDim = dim3(128);
    return castoff_cuda_status(frame, cudaLaunchKernelEx(&config, castoff_decode_combine<Element, Epilogue>, p, (int)splits,
                                                         (const float *)partial, epilogue),
                               "launch of attention");
}

#endif
