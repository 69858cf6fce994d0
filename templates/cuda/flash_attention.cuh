/* flash_attention.cuh - attention of 16-bit elements on tensor cores, after Dao, "FlashAttention-2" (arXiv 2307.08691).
 *
 * A block has 64 queries of one head, a warp 16 of them, which it keeps in registers with their sums. Keys and values
 * come in tiles of 64 through shared memory: while one tile is multiplied the next is on its way. Probabilities are
 * rounded to the element type before they multiply the values, as there; sums are float. The sums of more than 128 columns take
 * half of all registers: queries then stay in shared memory, and tiles have 32 keys, so that all fits the 99 KiB that a block
 * has at most on GPUs without much of it (8.6, 8.9, 12.0).
 */
#ifndef CASTOFF_CUDA_FLASH_ATTENTION_CUH
#define CASTOFF_CUDA_FLASH_ATTENTION_CUH

#include <cuda_pipeline_primitives.h>

#include "cuda/attention_problem.cuh"
#include "cuda/lanes.cuh"
#include "cuda/tensor_core.cuh"

#define CASTOFF_FLASH_HEAD 256 /* elements of a head, at most */
#define CASTOFF_FLASH_QUERIES 64
#define CASTOFF_FLASH_THREADS 128
#define CASTOFF_LEAST_SHARED (99 * 1024) /* bytes that a block may have on every GPU from 8.0 on */

/* Rows in shared memory are 16 bytes longer than they need: eight rows in a column then lie in different banks. */
template <int HEAD>
struct castoff_flash_memory {
    static constexpr bool HAS_QUERIES = HEAD > 128;
    static constexpr int KEYS = HAS_QUERIES ? 32 : 64, ROW = HEAD + 8;
    typedef uint16_t Tile[KEYS][ROW];
    Tile keys[2], values[2]; /* one that is multiplied, one on its way */
    uint16_t queries[HAS_QUERIES ? CASTOFF_FLASH_QUERIES : 1][HAS_QUERIES ? ROW : 8];
};

/* Starts the copy of the rows from row0 on, as far as there are any; what is past the sizes becomes 0. */
template <int HEAD>
static __device__ __forceinline__ void castoff_flash_fetch(typename castoff_flash_memory<HEAD>::Tile &tile, const uint16_t *from,
                                                           int64_t stride, int64_t row0, int64_t rows, int64_t size) {
    constexpr int PIECES = HEAD / 8, KEYS = castoff_flash_memory<HEAD>::KEYS;
#pragma unroll 2 /* addresses of more would take registers from the sums */
    for (int i = (int)threadIdx.x; i < KEYS * PIECES; i += CASTOFF_FLASH_THREADS) {
        const int row = i / PIECES, column = i % PIECES * 8;
        const bool is_there = row0 + row < rows && column < size;
        const uint16_t *source = is_there ? from + (row0 + row) * stride + column : from;
        __pipeline_memcpy_async(&tile[row][column], source, 16, is_there ? 0 : 16);
    }
}

template <int HEAD, class Element, class Epilogue>
static __global__ void __launch_bounds__(CASTOFF_FLASH_THREADS)
castoff_flash_kernel(const castoff_attention<Element> p, const Epilogue epilogue) {
    typedef castoff_flash_memory<HEAD> Memory;
    constexpr int KEYS = Memory::KEYS, STEPS = HEAD / 16, KEY_TILES = KEYS / 8, VALUE_TILES = HEAD / 8;
    constexpr float LOG2_E = 1.44269504088896341f;
    Memory &memory = *(Memory *)castoff_shared_memory();
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, group = lane / 4, quad = lane % 4;
    const int entry = (int)blockIdx.y, heads = (int)p.heads;
    const int64_t image = entry / heads, head = entry % heads, kv_head = entry % heads / (heads / (int)p.kv_heads);
    /* Blocks with the most keys to see start first. */
    const int64_t query0 = ((int64_t)gridDim.x - 1 - blockIdx.x) * CASTOFF_FLASH_QUERIES;
    const int64_t rows[2] = {query0 + warp * 16 + group, query0 + warp * 16 + group + 8};
    const uint16_t *const q = p.q + image * p.q_batch + head * p.q_head;
    const uint16_t *const k = p.k + image * p.k_batch + kv_head * p.k_head;
    const uint16_t *const v = p.v + image * p.v_batch + kv_head * p.v_head;

    uint32_t queries[Memory::HAS_QUERIES ? 1 : STEPS][4];
    if constexpr (Memory::HAS_QUERIES) {
        for (int i = (int)threadIdx.x; i < CASTOFF_FLASH_QUERIES * HEAD / 2; i += CASTOFF_FLASH_THREADS) {
            const int row = i / (HEAD / 2), column = i % (HEAD / 2) * 2;
            uint32_t pair = 0;
            if (query0 + row < p.queries && column < p.size) memcpy(&pair, q + (query0 + row) * p.q_row + column, 4);
            memcpy(&memory.queries[row][column], &pair, 4);
        }
    } else {
#pragma unroll
        for (int step = 0; step < STEPS; ++step)
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int64_t row = rows[i % 2], column = step * 16 + quad * 2 + i / 2 * 8;
                queries[step][i] = 0;
                if (row < p.queries && column < p.size) memcpy(&queries[step][i], q + row * p.q_row + column, 4);
            }
    }

    float sums[VALUE_TILES][4] = {}, peaks[2] = {-__builtin_inff(), -__builtin_inff()}, totals[2] = {};
    const float scale = p.scale * LOG2_E; /* powers of two from here on */
    const int64_t seen = query0 + CASTOFF_FLASH_QUERIES < p.keys ? query0 + CASTOFF_FLASH_QUERIES : p.keys;
    const int64_t last = p.is_causal ? seen : p.keys;
    castoff_flash_fetch<HEAD>(memory.keys[0], k, p.k_row, 0, p.keys, p.size);
    castoff_flash_fetch<HEAD>(memory.values[0], v, p.v_row, 0, p.keys, p.value_size);
    __pipeline_commit();
    for (int64_t key0 = 0; key0 < last; key0 += KEYS) {
        const int now = (int)(key0 / KEYS) % 2, next = 1 - now;
        if (key0 + KEYS < last) {
            castoff_flash_fetch<HEAD>(memory.keys[next], k, p.k_row, key0 + KEYS, p.keys, p.size);
            castoff_flash_fetch<HEAD>(memory.values[next], v, p.v_row, key0 + KEYS, p.keys, p.value_size);
        }
        __pipeline_commit();
        __pipeline_wait_prior(1);
        __syncthreads();

        float scores[KEY_TILES][4] = {};
#pragma unroll
        for (int step = 0; step < STEPS; ++step) {
            uint32_t(&rows_of_step)[4] = queries[Memory::HAS_QUERIES ? 0 : step];
            if constexpr (Memory::HAS_QUERIES)
                castoff_load_tiles(rows_of_step, &memory.queries[warp * 16 + lane % 16][step * 16 + lane / 16 * 8]);
#pragma unroll
            for (int pair = 0; pair < KEY_TILES; pair += 2) {
                uint32_t keys[4]; /* keys 8 * pair.., columns 0.. and 8.. of the step; then the next eight keys */
                castoff_load_tiles(keys, &memory.keys[now][8 * pair + lane / 16 * 8 + lane % 8][step * 16 + lane / 8 % 2 * 8]);
                const uint32_t left[2] = {keys[0], keys[1]}, right[2] = {keys[2], keys[3]};
                castoff_multiply_tiles<Element>(scores[pair], rows_of_step, left);
                castoff_multiply_tiles<Element>(scores[pair + 1], rows_of_step, right);
            }
        }

        /* Most tiles have no key that a query of this warp does not see. */
        const bool is_whole = p.mask_kind == CASTOFF_MASK_NONE && key0 + KEYS <= p.keys &&
                              (!p.is_causal || key0 + KEYS <= query0 + warp * 16 + 1);
        float shrink[2];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
            float peak = peaks[half];
#pragma unroll
            for (int tile = 0; tile < KEY_TILES; ++tile)
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    float &score = scores[tile][2 * half + i];
                    const int64_t key = key0 + tile * 8 + quad * 2 + i;
                    score *= scale;
                    if (!is_whole) score = castoff_masked_score(p, score, LOG2_E, image, head, rows[half], key);
                    peak = fmaxf(peak, score);
                }
            peak = fmaxf(peak, __shfl_xor_sync(0xffffffffu, peak, 1));
            peak = fmaxf(peak, __shfl_xor_sync(0xffffffffu, peak, 2));
            const float base = peak == -__builtin_inff() ? 0.0f : peak;
            shrink[half] = exp2f(peaks[half] - base);
            peaks[half] = peak;
            float total = 0.0f;
#pragma unroll
            for (int tile = 0; tile < KEY_TILES; ++tile)
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    float &score = scores[tile][2 * half + i];
                    score = exp2f(score - base);
                    total += score;
                }
            totals[half] = totals[half] * shrink[half] + total;
        }

#pragma unroll
        for (int tile = 0; tile < VALUE_TILES; ++tile)
#pragma unroll
            for (int i = 0; i < 4; ++i) sums[tile][i] *= shrink[i / 2];
#pragma unroll
        for (int step = 0; step < KEY_TILES / 2; ++step) {
            const float(&low)[4] = scores[2 * step], (&high)[4] = scores[2 * step + 1];
            const uint32_t weights[4] = {castoff_pair<Element>(low[0], low[1]), castoff_pair<Element>(low[2], low[3]),
                                         castoff_pair<Element>(high[0], high[1]), castoff_pair<Element>(high[2], high[3])};
#pragma unroll
            for (int pair = 0; pair < VALUE_TILES; pair += 2) {
                uint32_t values[4]; /* keys 16 * step.. and 8 more, columns 8 * pair..; then the next eight columns */
                castoff_load_tiles_transposed(
                    values, &memory.values[now][16 * step + lane / 8 % 2 * 8 + lane % 8][8 * pair + lane / 16 * 8]);
                const uint32_t left[2] = {values[0], values[1]}, right[2] = {values[2], values[3]};
                castoff_multiply_tiles<Element>(sums[pair], weights, left);
                castoff_multiply_tiles<Element>(sums[pair + 1], weights, right);
            }
        }
        __syncthreads(); /* before the next fetch writes there */
    }

#pragma unroll
    for (int half = 0; half < 2; ++half) {
        float total = totals[half];
        total += __shfl_xor_sync(0xffffffffu, total, 1);
        total += __shfl_xor_sync(0xffffffffu, total, 2);
        if (rows[half] >= p.queries) continue;
#pragma unroll
        for (int tile = 0; tile < VALUE_TILES; ++tile)
#pragma unroll
            for (int i = 0; i < 2; ++i) {
                const int64_t column = tile * 8 + quad * 2 + i;
                if (column < p.value_size)
                    epilogue(castoff_attention_result(sums[tile][2 * half + i], total), entry, rows[half], column);
            }
    }
}

/* Whether copies of 16 bytes reach every row, and a head fits. */
template <class Element>
static bool castoff_flash_takes(const castoff_attention<Element> &p) {
    const int64_t steps = p.k_batch | p.k_head | p.k_row | p.v_batch | p.v_head | p.v_row | p.size | p.value_size;
    const int64_t pairs = p.q_batch | p.q_head | p.q_row;
    return p.size <= CASTOFF_FLASH_HEAD && p.value_size <= CASTOFF_FLASH_HEAD && steps % 8 == 0 && pairs % 2 == 0 && p.keys > 0 &&
           p.batch * p.heads <= 65535 && ((uintptr_t)p.k | (uintptr_t)p.v) % 16 == 0 && (uintptr_t)p.q % 4 == 0;
}

template <int HEAD, class Element, class Epilogue>
static int castoff_run_flash(castoff_frame *frame, const castoff_attention<Element> &p, const Epilogue &epilogue) {
    constexpr size_t shared_bytes = sizeof(castoff_flash_memory<HEAD>);
    static_assert(shared_bytes <= CASTOFF_LEAST_SHARED, "memory that no GPU lacks");
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)((p.queries + CASTOFF_FLASH_QUERIES - 1) / CASTOFF_FLASH_QUERIES),
                          (unsigned)(p.batch * p.heads));
    config.blockDim = dim3(CASTOFF_FLASH_THREADS);
    config.dynamicSmemBytes = shared_bytes;
    config.stream = castoff_stream(frame);
    CASTOFF_TRY(castoff_allow_shared(frame, castoff_flash_kernel<HEAD, Element, Epilogue>, shared_bytes));
    return castoff_cuda_status(frame, cudaLaunchKernelEx(&config, castoff_flash_kernel<HEAD, Element, Epilogue>, p, epilogue),
                               "launch of attention");
}

#endif
