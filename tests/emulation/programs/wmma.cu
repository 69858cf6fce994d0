// Products on tensor cores: half, bfloat16, int8 and TF32, row and column major, through shared memory.
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_pipeline.h>
#include <mma.h>

#include "check.h"

using namespace nvcuda;

template <typename T, typename Sum, typename LayoutB>
__global__ void product(const T* a, const T* b, Sum* c, int k_tiles)
{
    __shared__ __align__(16) T tile[2][16 * 16];
    wmma::fragment<wmma::matrix_a, 16, 16, 16, T, wmma::row_major> left;
    wmma::fragment<wmma::matrix_b, 16, 16, 16, T, LayoutB> right;
    wmma::fragment<wmma::accumulator, 16, 16, 16, Sum> sum;
    wmma::fill_fragment(sum, Sum(0));
    const int k = k_tiles * 16, per = 16 / sizeof(T);
    for (int step = 0; step < k_tiles; step++) {
        for (int i = threadIdx.x * per; i < 256; i += 32 * per) {
            __pipeline_memcpy_async(&tile[0][i], &a[(i / 16) * k + step * 16 + i % 16], 16);
        }
        __pipeline_commit();
        __pipeline_wait_prior(0);
        __syncthreads();
        wmma::load_matrix_sync(left, tile[0], 16);
        wmma::load_matrix_sync(right, b + (std::is_same<LayoutB, wmma::row_major>::value ? step * 16 * 16 : step * 16),
                               std::is_same<LayoutB, wmma::row_major>::value ? 16 : k);
        wmma::mma_sync(sum, left, right, sum);
        __syncthreads();
    }
    for (int i = 0; i < sum.num_elements; i++) sum.x[i] = sum.x[i] * Sum(2);
    wmma::store_matrix_sync(c, sum, 16, wmma::mem_row_major);
}

__global__ void product_tf32(const float* a, const float* b, float* c)
{
    wmma::fragment<wmma::matrix_a, 16, 16, 8, wmma::precision::tf32, wmma::row_major> left;
    wmma::fragment<wmma::matrix_b, 16, 16, 8, wmma::precision::tf32, wmma::row_major> right;
    wmma::fragment<wmma::accumulator, 16, 16, 8, float> sum;
    wmma::fill_fragment(sum, 0.5f);
    wmma::load_matrix_sync(left, a, 8);
    wmma::load_matrix_sync(right, b, 16);
    for (int i = 0; i < left.num_elements; i++) left.x[i] = wmma::__float_to_tf32(left.x[i]);
    for (int i = 0; i < right.num_elements; i++) right.x[i] = wmma::__float_to_tf32(right.x[i]);
    wmma::mma_sync(sum, left, right, sum);
    wmma::store_matrix_sync(c, sum, 16, wmma::mem_col_major);
}

template <typename T, typename Sum, typename LayoutB> void check_product()
{
    const int k = 48;
    const bool is_row_major = std::is_same<LayoutB, wmma::row_major>::value;
    std::vector<T> a(16 * k), b(16 * k);
    for (int i = 0; i < 16 * k; i++) {
        a[i] = T(static_cast<float>(i % 7 - 3));
        b[i] = T(static_cast<float>(i % 5 - 2));
    }
    T *left = to_device(a), *right = to_device(b);
    Sum* result = to_device(std::vector<Sum>(256, Sum(-1)));
    auto config = launch_of(1, 32);
    SUCCEED(cudaLaunchKernelEx(&config, product<T, Sum, LayoutB>, left, right, result, k / 16));
    auto got = to_host(result, 256);
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 16; j++) {
            float expected = 0;
            for (int l = 0; l < k; l++) {
                expected += static_cast<float>(a[i * k + l]) * static_cast<float>(b[is_row_major ? l * 16 + j : j * k + l]);
            }
            EXPECT(static_cast<float>(got[i * 16 + j]) == 2 * expected);
        }
    }
}

int main()
{
    check_product<__half, float, wmma::row_major>();
    check_product<__half, __half, wmma::col_major>();
    check_product<__nv_bfloat16, float, wmma::col_major>();
    check_product<signed char, int, wmma::col_major>();
    std::vector<float> a(16 * 8), b(8 * 16);
    for (int i = 0; i < 128; i++) {
        a[i] = 1 + i * 0x1p-10f;
        b[i] = i % 2 ? 2.0f : -0.5f;
    }
    float *left = to_device(a), *right = to_device(b), *result = to_device(std::vector<float>(256, NAN));
    auto config = launch_of(1, 32);
    SUCCEED(cudaLaunchKernelEx(&config, product_tf32, left, right, result));
    auto got = to_host(result, 256);
    for (int i = 0; i < 16; i++) {
        for (int j = 0; j < 16; j++) {
            float expected = 0.5f;
            for (int l = 0; l < 8; l++) expected += a[i * 8 + l] * b[l * 16 + j];
            EXPECT(got[j * 16 + i] == expected);
        }
    }
    return 0;
}
