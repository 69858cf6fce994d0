/* attention.cuh - softmax(scale * Q K^T + mask) V without the matrix of scores.
 *
 * The running maximum and sum are those of Milakov and Gimelshein, "Online normalizer calculation for softmax"
 * (arXiv 1805.02867). A few queries of many keys are for decode_attention.cuh, elements of 16 bits for the tensor cores
 * of flash_attention.cuh, where copies of 16 bytes reach every row. Else a warp has one query, a block QUERIES of them,
 * which read the same keys and values, tile by tile, through shared memory. A query whose keys are all masked out gets
 * zeros.
 */
#ifndef CASTOFF_CUDA_ATTENTION_CUH
#define CASTOFF_CUDA_ATTENTION_CUH

#include "cuda/attention_problem.cuh"
#include "cuda/decode_attention.cuh"
#include "cuda/flash_attention.cuh"
#include "cuda/lanes.cuh"

#define CASTOFF_ATTENTION_QUERIES 8
#define CASTOFF_ATTENTION_DEPTH 64
#define CASTOFF_ATTENTION_COLUMNS 128

template <class Element, class Epilogue>
static __global__ void __launch_bounds__(32 * CASTOFF_ATTENTION_QUERIES, 2)
castoff_attention_kernel(const castoff_attention<Element> p, const Epilogue epilogue) {
    constexpr int KEYS = 32, DEPTH = CASTOFF_ATTENTION_DEPTH, COLUMNS = CASTOFF_ATTENTION_COLUMNS;
    constexpr int THREADS = 32 * CASTOFF_ATTENTION_QUERIES;
    __shared__ float keys[KEYS][DEPTH + 1];
    __shared__ float values[KEYS][COLUMNS];
    __shared__ float rows[CASTOFF_ATTENTION_QUERIES][DEPTH];
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    const int entries = (int)(p.batch * p.heads), heads = (int)p.heads, group = heads / (int)p.kv_heads;
    const int64_t column0 = (int64_t)blockIdx.y * COLUMNS;
    const int64_t query0 = (int64_t)blockIdx.x * CASTOFF_ATTENTION_QUERIES, query = query0 + warp;
    for (int entry = (int)blockIdx.z; entry < entries; entry += (int)gridDim.z) {
        const int64_t image = entry / heads, head = entry % heads, kv_head = entry % heads / group;
        const typename Element::Stored *q = p.q + image * p.q_batch + head * p.q_head;
        const typename Element::Stored *k = p.k + image * p.k_batch + kv_head * p.k_head;
        const typename Element::Stored *v = p.v + image * p.v_batch + kv_head * p.v_head;
        float top = -__builtin_inff(), total = 0.0f, sums[COLUMNS / 32] = {};
        /* Keys that no query of the block sees are not read. */
        const int64_t seen = query0 + CASTOFF_ATTENTION_QUERIES < p.keys ? query0 + CASTOFF_ATTENTION_QUERIES : p.keys;
        const int64_t last = p.is_causal ? seen : p.keys;
        for (int64_t key0 = 0; key0 < last; key0 += KEYS) {
            float score = 0.0f;
            for (int64_t depth0 = 0; depth0 < p.size; depth0 += DEPTH) {
                __syncthreads();
                for (int i = (int)threadIdx.x; i < KEYS * DEPTH; i += THREADS) {
                    const int64_t key = key0 + i / DEPTH, depth = depth0 + i % DEPTH;
                    keys[i / DEPTH][i % DEPTH] =
                        key < p.keys && depth < p.size ? Element::widen(k[key * p.k_row + depth]) : 0.0f;
                }
                for (int i = (int)threadIdx.x; i < CASTOFF_ATTENTION_QUERIES * DEPTH; i += THREADS) {
                    const int64_t row = query0 + i / DEPTH, depth = depth0 + i % DEPTH;
                    rows[i / DEPTH][i % DEPTH] =
                        row < p.queries && depth < p.size ? Element::widen(q[row * p.q_row + depth]) : 0.0f;
                }
                __syncthreads();
#pragma unroll 8
                for (int i = 0; i < DEPTH; ++i) score = fmaf(rows[warp][i], keys[lane][i], score);
            }
            for (int i = (int)threadIdx.x; i < KEYS * COLUMNS; i += THREADS) {
                const int64_t key = key0 + i / COLUMNS, column = column0 + i % COLUMNS;
                values[i / COLUMNS][i % COLUMNS] =
                    key < p.keys && column < p.value_size ? Element::widen(v[key * p.v_row + column]) : 0.0f;
            }
            __syncthreads();
            if (query < p.queries) {
                score = castoff_masked_score(p, score * p.scale, 1.0f, image, head, query, key0 + lane);
                const float peak = fmaxf(top, castoff_over_lanes<32>(score, [](float a, float b) { return fmaxf(a, b); }));
                const float base = peak == -__builtin_inff() ? 0.0f : peak;
                const float weight = expf(score - base), shrink = expf(top - base);
                total = total * shrink + castoff_over_lanes<32>(weight, [](float a, float b) { return a + b; });
                top = peak;
#pragma unroll
                for (int i = 0; i < COLUMNS / 32; ++i) sums[i] *= shrink;
                for (int key = 0; key < KEYS; ++key) {
                    const float factor = __shfl_sync(0xffffffffu, weight, key);
#pragma unroll
                    for (int i = 0; i < COLUMNS / 32; ++i) sums[i] = fmaf(factor, values[key][lane + 32 * i], sums[i]);
                }
            }
        }
        if (query < p.queries)
            for (int i = 0; i < COLUMNS / 32; ++i) {
                const int64_t column = column0 + lane + 32 * i;
                if (column < p.value_size) epilogue(castoff_attention_result(sums[i], total), entry, query, column);
            }
    }
}

/* HEAD: elements of a head, of keys or values whichever has more; ROWS: query rows that read one key head. 0 where only the
 * run knows. What the sizes rule out is not compiled. */
template <int64_t HEAD, int64_t ROWS, class Element, class Epilogue>
static int castoff_run_attention(castoff_frame *frame, const castoff_attention<Element> &problem, const Epilogue &epilogue) {
    constexpr bool is_few = ROWS > 0 && ROWS <= CASTOFF_DECODE_ROWS;
    if (problem.batch * problem.heads <= 0 || problem.queries <= 0 || problem.value_size <= 0) return CASTOFF_OK;
    if (problem.batch * problem.heads > 0x7fff0000)
        return castoff_fail(frame, CASTOFF_RUNTIME_ERROR, "attention of %lld heads is more than a grid can hold",
                            (long long)(problem.batch * problem.heads));
    if constexpr ((ROWS == 0 || is_few) && HEAD <= 256) {
        constexpr int SIZE = HEAD == 0 ? 256 : (int)(HEAD + 31) / 32 * 32;
        if (castoff_decode_takes(problem, SIZE)) return castoff_run_decode<(int)ROWS, SIZE>(frame, problem, epilogue);
    }
    if constexpr (castoff_on_tensor_cores<Element>::value && !is_few && HEAD <= CASTOFF_FLASH_HEAD)
        if (castoff_flash_takes(problem)) {
            if constexpr (HEAD > 0)
                return castoff_run_flash<(int)(HEAD + 15) / 16 * 16>(frame, problem, epilogue);
            else
                return problem.size <= 64 && problem.value_size <= 64     ? castoff_run_flash<64>(frame, problem, epilogue)
                       : problem.size <= 128 && problem.value_size <= 128 ? castoff_run_flash<128>(frame, problem, epilogue)
                                                                          : castoff_run_flash<256>(frame, problem, epilogue);
        }
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)((problem.queries + CASTOFF_ATTENTION_QUERIES - 1) / CASTOFF_ATTENTION_QUERIES),
                          (unsigned)((problem.value_size + CASTOFF_ATTENTION_COLUMNS - 1) / CASTOFF_ATTENTION_COLUMNS),
                          castoff_grid_side(problem.batch * problem.heads, CASTOFF_GRID_SIDE));
    config.blockDim = dim3(32 * CASTOFF_ATTENTION_QUERIES);
    config.stream = castoff_stream(frame);
    return castoff_cuda_status(
        frame, cudaLaunchKernelEx(&config, castoff_attention_kernel<Element, Epilogue>, problem, epilogue),
        "launch of attention");
}

#endif
