/* Plain entry points to the kernels that units get whose products have one row and a packed right operand. */
#define CASTOFF_GEMM_MOST_ROWS 1
#define CASTOFF_GEMM_IS_PACKED 1
#include "gemm.h"

struct castoff_pool {
    int threads;
};

#define ENTRY(T)                                                                                                      \
    int64_t test_gemm_row_##T##_scratch(int64_t batch, int64_t m, int64_t n, int64_t k, int packed, int threads) {   \
        return castoff_gemm_##T##_scratch_cut(batch, m, n, k, packed, threads, (castoff_gemm_cut){0, 0, 0});         \
    }                                                                                                                 \
    void test_gemm_row_##T(const castoff_gemm_##T##_args *args, int threads, void *scratch) {                        \
        struct castoff_pool pool = {threads};                                                                        \
        castoff_gemm_##T##_run(args, &pool, scratch);                                                                \
    }
ENTRY(f32)
ENTRY(f64)
ENTRY(f16)
