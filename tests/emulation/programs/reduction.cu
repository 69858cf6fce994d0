// Sums of blocks, by shuffles and by static and dynamic shared memory; a grid-stride loop; atomics.
#include "check.h"

__global__ void sum_by_shuffles(const float* x, int n, float* result)
{
    __shared__ float partial[32];
    float sum = 0;
    for (int i = blockIdx.x * blockDim.x + threadIdx.x; i < n; i += gridDim.x * blockDim.x) sum += __ldg(x + i);
    for (int delta = 16; delta > 0; delta /= 2) sum += __shfl_down_sync(0xffffffffu, sum, delta);
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = sum;
    __syncthreads();
    if (threadIdx.x < 32) {
        sum = threadIdx.x < blockDim.x / 32 ? partial[threadIdx.x] : 0.0f;
        for (int mask = 16; mask > 0; mask /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, mask);
        if (threadIdx.x == 0) atomicAdd(result, sum);
    }
}

template <typename T> __global__ void __launch_bounds__(256) sum_by_tree(const T* __restrict__ x, T* __restrict__ result)
{
    extern __shared__ __align__(16) unsigned char memory[];
    T* partial = reinterpret_cast<T*>(memory);
    int i = threadIdx.x;
    partial[i] = x[blockIdx.x * blockDim.x + i];
    __syncthreads();
    for (int step = blockDim.x / 2; step > 0; step /= 2) {
        if (i < step) partial[i] += partial[i + step];
        __syncthreads();
    }
    if (i == 0) result[blockIdx.x] = partial[0];
}

__global__ void votes(int* out)
{
    __shared__ int first[2][33], second;
    int i = threadIdx.x;
    if (i == 0) second = 7;
    first[i % 2][i / 2] = i;
    int count = __syncthreads_count(i % 3 == 0);
    int any = __syncthreads_or(i == 63), all = __syncthreads_and(i < 63);
    unsigned ballot = __ballot_sync(0xffffffffu, i % 2);
    unsigned total = __reduce_add_sync(0xffffffffu, static_cast<unsigned>(i % 32));
    int lane_before = __shfl_up_sync(0xffffffffu, i, 1, 8), broadcast = __shfl_sync(0xffffffffu, i, 3, 16);
    if (i == 40) {
        out[0] = count;
        out[1] = any;
        out[2] = all;
        out[3] = ballot == 0xaaaaaaaau;
        out[4] = total == 496;
        out[5] = lane_before;
        out[6] = broadcast;
        out[7] = first[1][20] + second;
    }
    if (i % 32 >= 16) {
        int sum = __shfl_xor_sync(0xffff0000u, i, 8);
        if (i == 16) out[8] = sum;
    } else if (__any_sync(0x0000ffffu, i == 0) && i == 0) {
        out[9] = __popc(__activemask()) > 0;
    }
}

int main()
{
    const int n = 5000;
    std::vector<float> x(n);
    double expected = 0;
    for (int i = 0; i < n; i++) expected += x[i] = static_cast<float>(i % 17) * 0.25f;
    float* device = to_device(x);
    float* result = to_device(std::vector<float>(1, 0.0f));
    auto config = launch_of(3, 128);
    SUCCEED(cudaLaunchKernelEx(&config, sum_by_shuffles, device, n, result));
    EXPECT(to_host(result, 1)[0] == static_cast<float>(expected));

    std::vector<double> y(512);
    for (int i = 0; i < 512; i++) y[i] = i;
    double* sums = to_device(std::vector<double>(2, -1.0));
    double* values = to_device(y);
    config = launch_of(2, 256, 256 * sizeof(double));
    SUCCEED(cudaLaunchKernelEx(&config, sum_by_tree<double>, values, sums));
    auto got = to_host(sums, 2);
    EXPECT(got[0] == 255 * 128 && got[1] == 255 * 128 + 256 * 256);

    int* flags = to_device(std::vector<int>(10, -1));
    config = launch_of(1, 64);
    SUCCEED(cudaLaunchKernelEx(&config, votes, flags));
    auto seen = to_host(flags, 10);
    const int wanted[10] = {22, 1, 0, 1, 1, 40, 35, 48, 24, 1};
    for (int i = 0; i < 10; i++) EXPECT(seen[i] == wanted[i]);
    SUCCEED(cudaFree(device));
    SUCCEED(cudaDeviceSynchronize());
    return 0;
}
