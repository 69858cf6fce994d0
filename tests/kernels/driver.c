/* Plain entry points to the kernel headers, for the tests; one shared object per CPU level. */
#include "attention_bf16.h"
#include "conv.h"
#include "conv_winograd.h"
#include "conv_bf16.h"
#include "gemm_bf16.h"
#include "gemm_coded.h"
#include "gemm_exact.h"

struct castoff_pool {
    int threads;
};

#define ENTRY(T)                                                                                                      \
    int64_t test_gemm_##T##_scratch(int64_t batch, int64_t m, int64_t n, int64_t k, int packed, int threads) {       \
        return castoff_gemm_##T##_scratch(batch, m, n, k, packed, threads);                                          \
    }                                                                                                                 \
    void test_gemm_##T(const castoff_gemm_##T##_args *args, int threads, void *scratch) {                            \
        struct castoff_pool pool = {threads};                                                                        \
        castoff_gemm_##T##_run(args, &pool, scratch);                                                                \
    }
ENTRY(f32)
ENTRY(f64)
ENTRY(bf16)
ENTRY(f16)

int64_t test_gemm_f32_scratch_cut(int64_t batch, int64_t m, int64_t n, int64_t k, int packed, int threads, int tile_rows,
                                  int rows, int depth) {
    return castoff_gemm_f32_scratch_cut(batch, m, n, k, packed, threads, (castoff_gemm_cut){tile_rows, rows, depth});
}

/* Epilogues that write 2 x + 1 to a dense [batch, m, n] output whose pointer, rows and columns are the context. */
typedef struct {
    void *out;
    int64_t rows, cols;
} test_output;

void test_epilogue_f32(const void *context, const float *tile, int64_t stride, int64_t row0, int64_t col0, int64_t rows,
                       int64_t cols, int64_t batch) {
    const test_output *o = context;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            ((float *)o->out)[(batch * o->rows + row0 + i) * o->cols + col0 + j] = 2 * tile[i * stride + j] + 1;
}
void test_epilogue_f64(const void *context, const double *tile, int64_t stride, int64_t row0, int64_t col0, int64_t rows,
                       int64_t cols, int64_t batch) {
    const test_output *o = context;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++)
            ((double *)o->out)[(batch * o->rows + row0 + i) * o->cols + col0 + j] = 2 * tile[i * stride + j] + 1;
}

#define CONV(T)                                                                                                       \
    int64_t test_conv_##T##_scratch(const castoff_conv_##T##_args *args, int threads) {                              \
        return castoff_conv_##T##_scratch(args, threads);                                                            \
    }                                                                                                                 \
    void test_conv_##T(const castoff_conv_##T##_args *args, int threads, void *scratch) {                            \
        struct castoff_pool pool = {threads};                                                                        \
        castoff_conv_##T##_run(args, &pool, scratch);                                                                \
    }
CONV(f32)
CONV(f64)
CONV(winograd_f32)
CONV(bf16)
CONV(f16)

#define ATTENTION(T)                                                                                                  \
    int64_t test_attention_##T##_scratch(const castoff_attention_##T##_args *args, int threads) {                    \
        return castoff_attention_##T##_scratch(args, threads);                                                       \
    }                                                                                                                 \
    void test_attention_##T(const castoff_attention_##T##_args *args, int threads, void *scratch) {                  \
        struct castoff_pool pool = {threads};                                                                        \
        castoff_attention_##T##_run(args, &pool, scratch);                                                           \
    }
ATTENTION(f32)
ATTENTION(bf16)
ATTENTION(f16)
ATTENTION(tiled_bf16)

#define EXACT(T)                                                                                                      \
    int64_t test_gemm_##T##_scratch(int64_t batch, int64_t m, int64_t n, int64_t k, int packed, int threads) {       \
        return castoff_gemm_##T##_scratch(batch, m, n, k, packed, threads);                                          \
    }                                                                                                                 \
    void test_gemm_##T(const castoff_gemm_##T##_args *args, int threads, void *scratch) {                            \
        struct castoff_pool pool = {threads};                                                                        \
        castoff_gemm_##T##_run(args, &pool, scratch);                                                                \
    }
EXACT(i8)
EXACT(u8)
EXACT(i16)
EXACT(u16)
EXACT(i32)
EXACT(u32)
EXACT(i64)
EXACT(u64)
EXACT(c64)
EXACT(c128)

int64_t test_conv_tiled_bf16_scratch(const castoff_conv_tiled_bf16_args *args, int threads) {
    return castoff_conv_tiled_bf16_scratch(args, threads);
}
void test_conv_tiled_bf16(const castoff_conv_tiled_bf16_args *args, int threads, void *scratch) {
    struct castoff_pool pool = {threads};
    castoff_conv_tiled_bf16_run(args, &pool, scratch);
}

int64_t test_gemm_coded_scratch(int64_t batch, int64_t m, int64_t n, int64_t k, int packed, int threads) {
    return castoff_gemm_coded_scratch(batch, m, n, k, packed, threads);
}
void test_gemm_coded(const castoff_gemm_coded_args *args, int threads, void *scratch) {
    struct castoff_pool pool = {threads};
    castoff_gemm_coded_run(args, &pool, scratch);
}
