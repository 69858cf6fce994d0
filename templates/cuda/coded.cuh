/* coded.cuh - matrix products with a constant right operand kept as codes of 8 or 4 bits: weight-only compression.
 *
 * W[k, n] = code[n, k] * scale. Codes lie channel by channel, the number of channels rounded up to 16; a step of a channel
 * is 64 bytes: 64 codes of 8 bits, which share the one scale of the channel, or twice 64 codes of 4 bits, a group each.
 * compiler/lowering/coding.py (`channel_codes`) says in which order.
 *
 * The four lanes of a warp that tensor cores want a row from have 16 codes of every 64, side by side, and the same 16
 * elements of the left operand: which products are summed first does not matter, so that every lane loads 16 bytes at a time
 * and codes become register tiles (tensor_core.cuh) where they arrive. Codes are whole numbers that float16 and bfloat16 hold
 * exactly; scales multiply float sums of 64 products, those of 8 bits only the last sum.
 *
 * castoff_coded_few is bound by memory: it reads k * n bytes of codes (k * n / 2 + k * n / 16 with 4 bits) once, against
 * which the left operand, from the caches, is rows / 8 of that (16-bit elements, 8 bits). An H100 with 3.35 TB/s and 14 * 10^12
 * integer operations a second has 4.2 of them for a byte; decoding takes 2 or less. castoff_coded_many on tensor cores is bound
 * by them: a step of 64 codes by 32 channels is decoded, about 130 operations a lane, for 64 multiplications of tiles, 8 cycles
 * each. castoff_coded_wide multiplies float: 16 multiply-adds for two loads of 16 bytes from shared memory.
 */
#ifndef CASTOFF_CUDA_CODED_CUH
#define CASTOFF_CUDA_CODED_CUH

#include <cuda_pipeline_primitives.h>

#include "cuda/lanes.cuh"
#include "cuda/tensor_core.cuh"

#define CASTOFF_CODED_GROUP 64    /* codes of a channel that are multiplied together */
#define CASTOFF_CODED_CHANNELS 16 /* what their number is rounded up to */

/* out[rows, columns] = left W. What castoff_coded_dense() gives has whole groups, rows of which begin at multiples of 16
 * bytes. */
template <class Element>
struct castoff_coded {
    typedef typename Element::Stored Stored;

    int64_t rows, columns, depth;
    const Stored *a;
    int64_t a_row, a_column; /* in elements, any */
    const uint8_t *codes;
    const float *scales; /* [1, or groups with 4 bits][channels] */

    __host__ __device__ __forceinline__ int64_t channels() const {
        return (columns + CASTOFF_CODED_CHANNELS - 1) / CASTOFF_CODED_CHANNELS * CASTOFF_CODED_CHANNELS;
    }
};

template <int BITS>
struct castoff_coding {
    static constexpr int GROUPS = 8 / BITS; /* of a step */
    static constexpr int WORDS = BITS / 2;  /* with the 16 codes that a lane has of a group */
    static __host__ __device__ __forceinline__ int64_t steps(int64_t depth) {
        return (depth + GROUPS * CASTOFF_CODED_GROUP - 1) / (GROUPS * CASTOFF_CODED_GROUP);
    }
};

/* The 16 bytes that a lane has of a step of a channel. */
struct castoff_codes {
    uint32_t words[4];
};

template <int BITS, class Element>
static __device__ __forceinline__ castoff_codes castoff_load_codes(const castoff_coded<Element> &p, int64_t channel, int64_t step,
                                                                   int64_t steps, int quad) {
    castoff_codes codes;
    const uint4 loaded = ((const uint4 *)p.codes)[(channel * steps + step) * 4 + quad];
    memcpy(&codes, &loaded, sizeof codes);
    return codes;
}

/* ---- from codes to numbers: bits of a number from 2^7, 2^10 or 2^23 on, less that ---- */

/* 16 codes, pair by pair as registers of a tile. */
template <int BITS, class Element>
static __device__ __forceinline__ void castoff_decode_pairs(const uint32_t *words, uint32_t (&pairs)[8]) {
    constexpr bool is_half = __is_same(Element, castoff_half);
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        if constexpr (BITS == 4) {
            const uint32_t raised = words[i / 4] >> 4 * (i % 4) & 0x000f000fu;
            pairs[i] = is_half ? castoff_add_pairs<Element>(raised | 0x64006400u, 0xe408e408u)
                               : castoff_add_pairs<Element>(raised | 0x43004300u, 0xc308c308u);
        } else if constexpr (is_half) {
            const uint32_t raised = __byte_perm(words[i / 2] ^ 0x80808080u, 0x64646464u, i % 2 ? 0x4342 : 0x4140);
            pairs[i] = castoff_add_pairs<Element>(raised, 0xe480e480u);
        } else { /* bfloat16 has 7 bits: 128 and those of a code, less 128, or 256 where its sign is set */
            const uint32_t both = __byte_perm(words[i / 2], 0, i % 2 ? 0x4342 : 0x4140);
            pairs[i] = castoff_add_pairs<Element>((both & 0x007f007fu) | 0x43004300u, (both & 0x00800080u) | 0xc300c300u);
        }
    }
}

/* 16 codes as float. */
template <int BITS>
static __device__ __forceinline__ void castoff_decode_floats(const uint32_t *words, float (&values)[16]) {
#pragma unroll
    for (int i = 0; i < 16; ++i) {
        uint32_t bits;
        if constexpr (BITS == 4)
            bits = (words[i / 8] >> (16 * (i % 2) + 4 * (i % 8 / 2)) & 15u) | 0x4b000000u;
        else
            bits = __byte_perm(words[i / 4] ^ 0x80808080u, 0x4b000000u, 0x7440 + i % 4);
        memcpy(&values[i], &bits, 4);
        values[i] -= BITS == 4 ? 8388616.0f : 8388736.0f;
    }
}

/* Elements k .. k + 15 of a row of the left operand; 0 past the last row. */
template <class Element, class Word>
static __device__ __forceinline__ void castoff_coded_row(const castoff_coded<Element> &p, int64_t row, int64_t k, Word *x) {
    constexpr int PIECES = (int)sizeof(typename Element::Stored);
    uint4 pieces[PIECES] = {};
    if (row < p.rows) {
#pragma unroll
        for (int i = 0; i < PIECES; ++i) pieces[i] = ((const uint4 *)(p.a + row * p.a_row + k))[i];
    }
    memcpy(x, pieces, sizeof pieces);
}

/* Four multiplications of tiles: 16 channels, from codes decoded for channels g and g + 8, by 8 rows. */
template <class Element>
static __device__ __forceinline__ void castoff_multiply_group(float (&sums)[4], const uint32_t (&low)[8],
                                                              const uint32_t (&high)[8], const uint32_t (&x)[8]) {
#pragma unroll
    for (int i = 0; i < 8; i += 2) {
        const uint32_t codes[4] = {low[i], high[i], low[i + 1], high[i + 1]}, rows[2] = {x[i], x[i + 1]};
        castoff_multiply_tiles<Element>(sums, codes, rows);
    }
}

/* ---- the splits of a long sum: each of gridDim.z of them is stored, and then added in their order ---- */

static __device__ __forceinline__ int64_t castoff_split_begin(int64_t steps) { return steps * blockIdx.z / gridDim.z; }
static __device__ __forceinline__ int64_t castoff_split_end(int64_t steps) { return steps * (blockIdx.z + 1) / gridDim.z; }

struct castoff_keep_split {
    float *parts; /* [splits][rows][columns] */
    int64_t rows, columns;
    __device__ __forceinline__ void operator()(float value, int64_t, int64_t row, int64_t column) const {
        parts[(blockIdx.z * rows + row) * columns + column] = value;
    }
};

template <class Epilogue>
static __global__ void __launch_bounds__(256)
castoff_add_splits(const float *__restrict__ parts, const int splits, const int64_t columns, const Epilogue epilogue,
                   const int64_t count) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        float sum = 0.0f;
        for (int split = 0; split < splits; ++split) sum += parts[split * count + i];
        epilogue(sum, 0, i / columns, i % columns);
    }
}

/* ---- few rows: a block has 16 channels, its warps take turns with the steps ---- */

#define CASTOFF_CODED_FEW_ROWS 8
#define CASTOFF_CODED_FEW_WARPS 8
#define CASTOFF_CODED_AHEAD 3 /* steps, of 1 KiB, that a warp has on their way: 48 KiB where a multiprocessor has two blocks */

template <int BITS, class Element, class Epilogue>
static __global__ void __launch_bounds__(32 * CASTOFF_CODED_FEW_WARPS)
castoff_coded_few(const castoff_coded<Element> p, const Epilogue epilogue) {
    typedef castoff_coding<BITS> Coding;
    constexpr int WARPS = CASTOFF_CODED_FEW_WARPS, ROWS = CASTOFF_CODED_FEW_ROWS, AHEAD = CASTOFF_CODED_AHEAD;
    constexpr bool is_on_tensor_cores = castoff_on_tensor_cores<Element>::value;
    __shared__ float found[WARPS][ROWS][CASTOFF_CODED_CHANNELS];
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, group = lane / 4, quad = lane % 4;
    const int64_t channel0 = (int64_t)blockIdx.x * CASTOFF_CODED_CHANNELS, row0 = (int64_t)blockIdx.y * ROWS;
    const int64_t steps = Coding::steps(p.depth), channels = p.channels(), end = castoff_split_end(steps);
    const int64_t first = castoff_split_begin(steps) + warp;
    float sums[is_on_tensor_cores ? 1 : ROWS][4] = {}; /* float: a row's channels g and g + 8 */
    castoff_codes low[AHEAD], high[AHEAD];
#pragma unroll
    for (int ahead = 0; ahead < AHEAD; ++ahead) {
        if (first + ahead * WARPS >= end) break;
        low[ahead] = castoff_load_codes<BITS>(p, channel0 + group, first + ahead * WARPS, steps, quad);
        high[ahead] = castoff_load_codes<BITS>(p, channel0 + group + 8, first + ahead * WARPS, steps, quad);
    }
    for (int64_t step = first; step < end; step += WARPS) {
        const castoff_codes low_now = low[0], high_now = high[0];
#pragma unroll
        for (int ahead = 0; ahead + 1 < AHEAD; ++ahead) {
            low[ahead] = low[ahead + 1];
            high[ahead] = high[ahead + 1];
        }
        if (step + AHEAD * WARPS < end) {
            low[AHEAD - 1] = castoff_load_codes<BITS>(p, channel0 + group, step + AHEAD * WARPS, steps, quad);
            high[AHEAD - 1] = castoff_load_codes<BITS>(p, channel0 + group + 8, step + AHEAD * WARPS, steps, quad);
        }
#pragma unroll
        for (int part = 0; part < Coding::GROUPS; ++part) {
            const int64_t place = step * Coding::GROUPS + part, k = place * CASTOFF_CODED_GROUP + quad * 16;
            const uint32_t *const low_words = low_now.words + part * Coding::WORDS;
            const uint32_t *const high_words = high_now.words + part * Coding::WORDS;
            float low_scale = 1.0f, high_scale = 1.0f;
            if constexpr (BITS == 4) {
                if (place * CASTOFF_CODED_GROUP >= p.depth) break;
                low_scale = p.scales[place * channels + channel0 + group];
                high_scale = p.scales[place * channels + channel0 + group + 8];
            }
            if constexpr (is_on_tensor_cores) {
                uint32_t low_pairs[8], high_pairs[8], x[8];
                castoff_coded_row(p, row0 + group, k, x);
                castoff_decode_pairs<BITS, Element>(low_words, low_pairs);
                castoff_decode_pairs<BITS, Element>(high_words, high_pairs);
                if constexpr (BITS == 4) {
                    float products[4] = {};
                    castoff_multiply_group<Element>(products, low_pairs, high_pairs, x);
#pragma unroll
                    for (int i = 0; i < 4; ++i) sums[0][i] = fmaf(products[i], i < 2 ? low_scale : high_scale, sums[0][i]);
                } else {
                    castoff_multiply_group<Element>(sums[0], low_pairs, high_pairs, x);
                }
            } else {
                float low_values[16], high_values[16], x[16];
                castoff_decode_floats<BITS>(low_words, low_values);
                castoff_decode_floats<BITS>(high_words, high_values);
#pragma unroll
                for (int row = 0; row < ROWS; ++row) {
                    if (row0 + row >= p.rows) break;
                    castoff_coded_row(p, row0 + row, k, x);
                    float low_sum = 0.0f, high_sum = 0.0f;
#pragma unroll
                    for (int i = 0; i < 16; ++i) {
                        low_sum = fmaf(low_values[i], x[i], low_sum);
                        high_sum = fmaf(high_values[i], x[i], high_sum);
                    }
                    sums[row][0] = fmaf(low_sum, low_scale, sums[row][0]);
                    sums[row][1] = fmaf(high_sum, high_scale, sums[row][1]);
                }
            }
        }
    }

    if constexpr (is_on_tensor_cores) {
#pragma unroll
        for (int i = 0; i < 4; ++i) found[warp][quad * 2 + i % 2][group + i / 2 * 8] = sums[0][i];
    } else {
#pragma unroll
        for (int row = 0; row < ROWS; ++row)
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                float sum = sums[row][half];
                sum += __shfl_xor_sync(0xffffffffu, sum, 1);
                sum += __shfl_xor_sync(0xffffffffu, sum, 2);
                if (quad == 0) found[warp][row][group + half * 8] = sum;
            }
    }
    __syncthreads();
    const int row = (int)threadIdx.x / CASTOFF_CODED_CHANNELS, channel = (int)threadIdx.x % CASTOFF_CODED_CHANNELS;
    if (row >= ROWS || row0 + row >= p.rows || channel0 + channel >= p.columns) return;
    float sum = 0.0f;
    for (int other = 0; other < WARPS; ++other) sum += found[other][row][channel];
    if constexpr (BITS == 8) sum *= p.scales[channel0 + channel];
    epilogue(sum, 0, row0 + row, channel0 + channel);
}

/* ---- many rows of 16-bit elements: a block has 64 rows and 128 channels, a warp 32 of them ---- */

#define CASTOFF_CODED_ROWS 64
#define CASTOFF_CODED_MANY_CHANNELS 128
#define CASTOFF_CODED_MANY_THREADS 128

/* Rows in shared memory are 16 bytes longer than a group: eight lanes that load 16 bytes each reach different banks. */
struct castoff_coded_tile {
    uint16_t rows[CASTOFF_CODED_ROWS][CASTOFF_CODED_GROUP + 8];
};

template <class Element>
static __device__ __forceinline__ void castoff_coded_fetch(castoff_coded_tile &tile, const castoff_coded<Element> &p, int64_t row0,
                                                           int64_t k0) {
    constexpr int PIECES = CASTOFF_CODED_GROUP / 8;
    for (int i = (int)threadIdx.x; i < CASTOFF_CODED_ROWS * PIECES; i += CASTOFF_CODED_MANY_THREADS) {
        const int row = i / PIECES, column = i % PIECES * 8;
        const bool is_there = row0 + row < p.rows && k0 < p.depth;
        const uint16_t *const from = is_there ? p.a + (row0 + row) * p.a_row + k0 + column : p.a;
        __pipeline_memcpy_async(&tile.rows[row][column], from, 16, is_there ? 0 : 16);
    }
}

template <int BITS, class Element, class Epilogue>
static __global__ void __launch_bounds__(CASTOFF_CODED_MANY_THREADS)
castoff_coded_many(const castoff_coded<Element> p, const Epilogue epilogue) {
    typedef castoff_coding<BITS> Coding;
    constexpr int TILES = CASTOFF_CODED_ROWS / 8;
    __shared__ __align__(16) castoff_coded_tile tiles[2];
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32, group = lane / 4, quad = lane % 4;
    const int64_t row0 = (int64_t)blockIdx.x * CASTOFF_CODED_ROWS;
    const int64_t channel0 = (int64_t)blockIdx.y * CASTOFF_CODED_MANY_CHANNELS + warp * 32;
    const int64_t steps = Coding::steps(p.depth), channels = p.channels();
    const int64_t begin = castoff_split_begin(steps), end = castoff_split_end(steps);
    int64_t own[4]; /* channels of the lane; those past the last are that one again, and not stored */
#pragma unroll
    for (int i = 0; i < 4; ++i) own[i] = channel0 + group + 8 * i < channels ? channel0 + group + 8 * i : channels - 1;

    float sums[TILES][2][4] = {};
    castoff_codes now[4], next[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) next[i] = castoff_load_codes<BITS>(p, own[i], begin, steps, quad);
    castoff_coded_fetch(tiles[0], p, row0, begin * Coding::GROUPS * CASTOFF_CODED_GROUP);
    __pipeline_commit();
    for (int64_t step = begin; step < end; ++step) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            now[i] = next[i];
            if (step + 1 < end) next[i] = castoff_load_codes<BITS>(p, own[i], step + 1, steps, quad);
        }
#pragma unroll
        for (int part = 0; part < Coding::GROUPS; ++part) {
            const int64_t place = step * Coding::GROUPS + part;
            const int stage = (int)((place - begin * Coding::GROUPS) % 2);
            if (place + 1 < end * Coding::GROUPS)
                castoff_coded_fetch(tiles[1 - stage], p, row0, (place + 1) * CASTOFF_CODED_GROUP);
            __pipeline_commit();
            uint32_t pairs[4][8];
            float scales[4];
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                castoff_decode_pairs<BITS, Element>(now[i].words + part * Coding::WORDS, pairs[i]);
                if constexpr (BITS == 4)
                    scales[i] = place * CASTOFF_CODED_GROUP < p.depth ? p.scales[place * channels + own[i]] : 0.0f;
            }
            __pipeline_wait_prior(1);
            __syncthreads();
#pragma unroll
            for (int tile = 0; tile < TILES; ++tile) {
                if (row0 + 8 * tile >= p.rows) break;
                uint32_t x[8];
                memcpy(x, __builtin_assume_aligned(&tiles[stage].rows[8 * tile + group][quad * 16], 16), sizeof x);
#pragma unroll
                for (int half = 0; half < 2; ++half) {
                    if constexpr (BITS == 8) {
                        castoff_multiply_group<Element>(sums[tile][half], pairs[2 * half], pairs[2 * half + 1], x);
                        continue;
                    }
                    float products[4] = {};
                    castoff_multiply_group<Element>(products, pairs[2 * half], pairs[2 * half + 1], x);
#pragma unroll
                    for (int i = 0; i < 4; ++i)
                        sums[tile][half][i] = fmaf(products[i], scales[2 * half + i / 2], sums[tile][half][i]);
                }
            }
            __syncthreads(); /* before the next fetch writes there */
        }
    }

#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
        for (int side = 0; side < 2; ++side) {
            const int64_t channel = channel0 + group + 16 * half + 8 * side;
            if (channel >= p.columns) continue;
            const float scale = BITS == 8 ? p.scales[channel] : 1.0f;
#pragma unroll
            for (int tile = 0; tile < TILES; ++tile)
#pragma unroll
                for (int i = 0; i < 2; ++i) {
                    const int64_t row = row0 + 8 * tile + quad * 2 + i;
                    if (row < p.rows) epilogue(sums[tile][half][2 * side + i] * scale, 0, row, channel);
                }
        }
}

/* ---- many rows of float: a block has 64 rows and 64 channels, a thread 4 by 4 of them ---- */

#define CASTOFF_CODED_WIDE_THREADS 256

template <int BITS, class Element, class Epilogue>
static __global__ void __launch_bounds__(CASTOFF_CODED_WIDE_THREADS)
castoff_coded_wide(const castoff_coded<Element> p, const Epilogue epilogue) {
    typedef castoff_coding<BITS> Coding;
    constexpr int GROUP = CASTOFF_CODED_GROUP, SIDE = 64;
    __shared__ __align__(16) float left[GROUP][SIDE], right[GROUP][SIDE];
    const int across = (int)threadIdx.x % 16, down = (int)threadIdx.x / 16;
    const int own = (int)threadIdx.x / 4, quad = (int)threadIdx.x % 4; /* the row and the channel it loads 16 elements of */
    const int64_t row0 = (int64_t)blockIdx.x * SIDE, channel0 = (int64_t)blockIdx.y * SIDE;
    const int64_t steps = Coding::steps(p.depth), channels = p.channels();
    const int64_t begin = castoff_split_begin(steps), end = castoff_split_end(steps);
    const int64_t channel = channel0 + own < channels ? channel0 + own : channels - 1;
    const int swizzled = own ^ quad * 8; /* the four that store at once reach different banks */
    float sums[4][4] = {};
    for (int64_t step = begin; step < end; ++step) {
        const castoff_codes codes = castoff_load_codes<BITS>(p, channel, step, steps, quad);
#pragma unroll
        for (int part = 0; part < Coding::GROUPS; ++part) {
            const int64_t place = step * Coding::GROUPS + part;
            if (place * GROUP >= p.depth) break;
            const float scale = BITS == 4 ? p.scales[place * channels + channel] : p.scales[channel];
            float values[16], x[16];
            castoff_decode_floats<BITS>(codes.words + part * Coding::WORDS, values);
            castoff_coded_row(p, row0 + own, place * GROUP + quad * 16, x);
            __syncthreads();
#pragma unroll
            for (int i = 0; i < 16; ++i) {
                left[quad * 16 + i][swizzled] = x[i];
                right[quad * 16 + i][swizzled] = values[i] * scale;
            }
            __syncthreads();
#pragma unroll 16
            for (int k = 0; k < GROUP; ++k) {
                const float4 rows = *(const float4 *)&left[k][4 * down ^ k / 16 * 8];
                const float4 columns = *(const float4 *)&right[k][4 * across ^ k / 16 * 8];
                const float y[4] = {rows.x, rows.y, rows.z, rows.w}, w[4] = {columns.x, columns.y, columns.z, columns.w};
#pragma unroll
                for (int i = 0; i < 4; ++i)
#pragma unroll
                    for (int j = 0; j < 4; ++j) sums[i][j] = fmaf(y[i], w[j], sums[i][j]);
            }
        }
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            const int64_t row = row0 + 4 * down + i, column = channel0 + 4 * across + j;
            if (row < p.rows && column < p.columns) epilogue(sums[i][j], 0, row, column);
        }
}

/* ---- which of them ---- */

/* Two blocks for each multiprocessor, from splits of at least so many steps. */
static inline int64_t castoff_coded_splits(int64_t blocks, int64_t steps, int64_t least) {
    const int64_t wanted = blocks >= CASTOFF_MULTIPROCESSORS ? 1 : 2 * CASTOFF_MULTIPROCESSORS / blocks;
    const int64_t most = steps / least > 0 ? steps / least : 1;
    return wanted < most ? wanted : most;
}

template <class Element, class Epilogue>
static int castoff_launch_coded(castoff_frame *frame, void (*kernel)(castoff_coded<Element>, Epilogue), dim3 grid, int threads,
                                const castoff_coded<Element> &p, const Epilogue &epilogue) {
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = dim3((unsigned)threads);
    config.stream = castoff_stream(frame);
    return castoff_cuda_status(frame, cudaLaunchKernelEx(&config, kernel, p, epilogue), "launch of a matrix product");
}

template <int BITS, bool IS_FEW, class Element, class Epilogue>
static int castoff_launch_coded(castoff_frame *frame, dim3 grid, const castoff_coded<Element> &p, const Epilogue &epilogue) {
    if constexpr (IS_FEW)
        return castoff_launch_coded(frame, castoff_coded_few<BITS, Element, Epilogue>, grid, 32 * CASTOFF_CODED_FEW_WARPS, p,
                                    epilogue);
    else if constexpr (castoff_on_tensor_cores<Element>::value)
        return castoff_launch_coded(frame, castoff_coded_many<BITS, Element, Epilogue>, grid, CASTOFF_CODED_MANY_THREADS, p,
                                    epilogue);
    else
        return castoff_launch_coded(frame, castoff_coded_wide<BITS, Element, Epilogue>, grid, CASTOFF_CODED_WIDE_THREADS, p,
                                    epilogue);
}

template <int BITS, bool IS_FEW, class Element, class Epilogue>
static int castoff_split_coded(castoff_frame *frame, const castoff_coded<Element> &p, const Epilogue &epilogue) {
    const int64_t steps = castoff_coding<BITS>::steps(p.depth);
    const int64_t channels = IS_FEW ? CASTOFF_CODED_CHANNELS
                             : castoff_on_tensor_cores<Element>::value ? CASTOFF_CODED_MANY_CHANNELS : 64;
    const int64_t across = (p.columns + channels - 1) / channels;
    const int64_t rows = IS_FEW ? CASTOFF_CODED_FEW_ROWS : CASTOFF_CODED_ROWS, down = (p.rows + rows - 1) / rows;
    const int64_t splits = castoff_coded_splits(across * down, steps, IS_FEW ? 2 * CASTOFF_CODED_FEW_WARPS : 8);
    if (!IS_FEW && across > 65535)
        return castoff_fail(frame, CASTOFF_RUNTIME_ERROR, "a product of %lld columns is more than a grid can hold",
                            (long long)p.columns);
    const dim3 grid((unsigned)(IS_FEW ? across : down), (unsigned)(IS_FEW ? down : across), (unsigned)splits);
    if (splits == 1) return castoff_launch_coded<BITS, IS_FEW>(frame, grid, p, epilogue);
    const int64_t count = p.rows * p.columns;
    float *const parts = (float *)castoff_frame_scratch(frame, (size_t)(splits * count) * sizeof(float));
    if (!parts) return CASTOFF_OUT_OF_MEMORY;
    CASTOFF_TRY((castoff_launch_coded<BITS, IS_FEW>(frame, grid, p, castoff_keep_split{parts, p.rows, p.columns})));
    return castoff_launch_rows(frame, castoff_add_splits<Epilogue>, count, 256, 256, 0, (const float *)parts, (int)splits,
                               p.columns, epilogue, count);
}

/* The left operand row by row, groups filled up with 0. */
template <class Element>
static __global__ void __launch_bounds__(256)
castoff_copy_dense(const castoff_coded<Element> p, typename Element::Stored *__restrict__ dense, const int64_t row_size,
                   const int64_t count) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        const int64_t row = i / row_size, k = i % row_size;
        dense[i] = k < p.depth ? p.a[row * p.a_row + k * p.a_column] : typename Element::Stored{};
    }
}

/* Where rows cannot be read 16 bytes at a time and group by group: a copy of them, that can. */
template <class Element>
static int castoff_coded_dense(castoff_frame *frame, castoff_coded<Element> &p) {
    typedef typename Element::Stored Stored;
    const int64_t row_size = (p.depth + CASTOFF_CODED_GROUP - 1) / CASTOFF_CODED_GROUP * CASTOFF_CODED_GROUP;
    const bool is_aligned = p.a_row * (int64_t)sizeof(Stored) % 16 == 0 && (uintptr_t)p.a % 16 == 0;
    if (p.a_column == 1 && row_size == p.depth && is_aligned) return CASTOFF_OK;
    const int64_t count = p.rows * row_size;
    Stored *const dense = (Stored *)castoff_frame_scratch(frame, (size_t)count * sizeof(Stored));
    if (!dense) return CASTOFF_OUT_OF_MEMORY;
    CASTOFF_TRY(castoff_launch_rows(frame, castoff_copy_dense<Element>, count, 256, 256, 0, p, dense, row_size, count));
    p.a = dense;
    p.a_row = p.depth = row_size;
    p.a_column = 1;
    return CASTOFF_OK;
}

/* A product whose rows are between LEAST and MOST: kernels for others are not compiled. */
template <int BITS, int64_t LEAST, int64_t MOST, class Element, class Epilogue>
static int castoff_run_coded(castoff_frame *frame, castoff_coded<Element> p, const Epilogue &epilogue) {
    /* Float has no tensor cores that would take many rows for the time of few. */
    constexpr int64_t FEW = castoff_on_tensor_cores<Element>::value ? CASTOFF_CODED_FEW_ROWS : 2 * CASTOFF_CODED_FEW_ROWS;
    if (p.rows <= 0 || p.columns <= 0) return CASTOFF_OK;
    CASTOFF_TRY(castoff_coded_dense(frame, p));
    if constexpr (LEAST <= FEW)
        if (MOST <= FEW || p.rows <= FEW) return castoff_split_coded<BITS, true>(frame, p, epilogue);
    if constexpr (MOST > FEW) return castoff_split_coded<BITS, false>(frame, p, epilogue);
}

#endif
