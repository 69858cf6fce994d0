// Programs that break a rule; the argument says which.
#include <cstring>

#include <cuda_fp16.h>
#include <mma.h>

#include "../check.h"

__global__ void divergent_barrier(float* x)
{
    if (threadIdx.x < 20) __syncthreads();
    x[threadIdx.x] = 1;
}

__global__ void missing_lanes(int* x)
{
    if (threadIdx.x % 2) x[threadIdx.x] = __shfl_sync(0xffffffffu, x[threadIdx.x], 0);
    else __syncthreads();
}

__global__ void foreign_mask(int* x) { x[threadIdx.x] = __shfl_xor_sync(0x0000ffffu, x[threadIdx.x], 1); }

__global__ void race(const float* x, float* y)
{
    __shared__ float tile[64];
    tile[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = tile[63 - threadIdx.x];  // without a barrier
}

__global__ void unset_shared(float* y)
{
    __shared__ float tile[64];
    if (threadIdx.x < 63) tile[threadIdx.x] = 1;
    __syncthreads();
    y[threadIdx.x] = tile[threadIdx.x];
}

__global__ void large_dynamic(float* y)
{
    extern __shared__ float memory[];
    memory[threadIdx.x] = 1;
    y[threadIdx.x] = memory[threadIdx.x];
}

__global__ void large_both(float* y)
{
    extern __shared__ float memory[];
    __shared__ float more[2048];
    more[threadIdx.x] = memory[threadIdx.x] = 1;
    y[threadIdx.x] = memory[threadIdx.x] + more[threadIdx.x];
}

__global__ void fill(float* x, int n)
{
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) x[i] = 1;
}

__global__ void lanes_apart(float* x)
{
    using namespace nvcuda;
    wmma::fragment<wmma::accumulator, 16, 16, 16, float> sum;
    for (int i = 0; i < sum.num_elements; i++) sum.x[i] = threadIdx.x;  // which element that is, CUDA does not say
    wmma::store_matrix_sync(x, sum, 16, wmma::mem_row_major);
}

__global__ void misaligned(const float* x, float4* y) { y[0] = *reinterpret_cast<const float4*>(x + 1); }

__global__ void false_promise(const float* x, float* y)
{
    y[0] = *static_cast<const float*>(__builtin_assume_aligned(x + 1, 16));
}

int main(int, char** arguments)
{
    const char* rule = arguments[1];
    auto is = [rule](const char* name) { return strcmp(rule, name) == 0; };
    std::vector<float> ramp(64);
    for (int i = 0; i < 64; i++) ramp[i] = static_cast<float>(i);
    float* x = to_device(ramp);
    float* y = to_device(std::vector<float>(256, -1.0f));
    auto config = launch_of(1, 64);
    if (is("divergent_barrier")) SUCCEED(cudaLaunchKernelEx(&config, divergent_barrier, x));
    if (is("missing_lanes")) SUCCEED(cudaLaunchKernelEx(&config, missing_lanes, reinterpret_cast<int*>(x)));
    if (is("foreign_mask")) SUCCEED(cudaLaunchKernelEx(&config, foreign_mask, reinterpret_cast<int*>(x)));
    if (is("lanes_apart")) {
        config = launch_of(1, 32);
        SUCCEED(cudaLaunchKernelEx(&config, lanes_apart, y));
    }
    if (is("race")) {
        SUCCEED(cudaLaunchKernelEx(&config, race, x, y));
        auto got = to_host(y, 64);
        for (int i = 0; i < 64; i++) EXPECT(got[i] == static_cast<float>(63 - i));
    }
    if (is("unset_shared")) {
        SUCCEED(cudaLaunchKernelEx(&config, unset_shared, y));
        EXPECT(to_host(y, 64)[63] == 1);
    }
    if (is("unset_memory")) {
        float* fresh = nullptr;
        SUCCEED(cudaMalloc(&fresh, 64 * sizeof(float)));
        EXPECT(to_host(fresh, 64)[63] == 0);
    }
    if (is("misaligned")) SUCCEED(cudaLaunchKernelEx(&config, misaligned, x, reinterpret_cast<float4*>(y)));
    if (is("false_promise")) SUCCEED(cudaLaunchKernelEx(&config, false_promise, x, y));
    if (is("host_pointer")) SUCCEED(cudaLaunchKernelEx(&config, fill, ramp.data(), 64));
    if (is("host_access")) printf("%f\n", static_cast<double>(x[3]));
    if (is("copy_direction")) SUCCEED(cudaMemcpy(x, y, 16, cudaMemcpyHostToDevice));
    if (is("copy_beyond")) SUCCEED(cudaMemcpy(ramp.data(), x, 65 * sizeof(float), cudaMemcpyDeviceToHost));
    if (is("out_of_bounds")) SUCCEED(cudaLaunchKernelEx(&config, fill, x + 1, 64));
    if (is("used_after_free")) {
        SUCCEED(cudaFree(y));
        SUCCEED(cudaLaunchKernelEx(&config, fill, y, 64));
    }
    if (is("large_block")) {
        config = launch_of(1, dim3(64, 32));
        SUCCEED(cudaLaunchKernelEx(&config, fill, x, 64));
    }
    if (is("empty_grid")) {
        config = launch_of(0, 64);
        SUCCEED(cudaLaunchKernelEx(&config, fill, x, 64));
    }
    if (is("large_grid")) {
        config = launch_of(dim3(1, 70000), 64);
        SUCCEED(cudaLaunchKernelEx(&config, fill, x, 64));
    }
    if (is("large_dynamic")) {
        config = launch_of(1, 64, 60000);
        SUCCEED(cudaLaunchKernelEx(&config, large_dynamic, y));
    }
    if (is("raised_dynamic")) {
        SUCCEED(cudaFuncSetAttribute(large_dynamic, cudaFuncAttributeMaxDynamicSharedMemorySize, 60000));
        config = launch_of(1, 64, 60000);
        SUCCEED(cudaLaunchKernelEx(&config, large_dynamic, y));
        EXPECT(to_host(y, 64)[63] == 1);
    }
    if (is("large_both")) {
        SUCCEED(cudaFuncSetAttribute(large_both, cudaFuncAttributeMaxDynamicSharedMemorySize, 227 * 1024));
        config = launch_of(1, 64, 227 * 1024);
        SUCCEED(cudaLaunchKernelEx(&config, large_both, y));
    }
    SUCCEED(cudaDeviceSynchronize());
    return 0;
}
