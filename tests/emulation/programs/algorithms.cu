// CUB: sorts, scans, selections, and its parts for blocks and warps.
#include <cub/cub.cuh>
#include <cuda_fp16.h>

#include <cuda/functional>

#include "check.h"

template <typename Call> void with_storage(Call call)
{
    size_t bytes = 0;
    void* storage = nullptr;
    SUCCEED(call(nullptr, bytes));
    SUCCEED(cudaMalloc(&storage, bytes));
    SUCCEED(call(storage, bytes));
    SUCCEED(cudaDeviceSynchronize());
    SUCCEED(cudaFree(storage));
}

__global__ void of_blocks(const int* x, int* out)
{
    using Reduce = cub::BlockReduce<int, 64>;
    using Scan = cub::BlockScan<int, 64>;
    using Warp = cub::WarpReduce<int>;
    __shared__ typename Reduce::TempStorage for_reduce;
    __shared__ union {
        typename Scan::TempStorage scan;
        int unused;
    } shared;
    __shared__ typename Warp::TempStorage for_warps[2];
    int sum = Reduce(for_reduce).Sum(x[threadIdx.x]);
    int prefix = 0, total = 0;
    Scan(shared.scan).ExclusiveSum(x[threadIdx.x], prefix, total);
    int best = Warp(for_warps[threadIdx.x / 32]).Reduce(x[threadIdx.x], cuda::maximum<>{});
    out[threadIdx.x] = prefix;
    if (threadIdx.x == 0) {
        out[64] = sum;
        out[65] = total;
    }
    if (threadIdx.x % 32 == 0) out[66 + threadIdx.x / 32] = best;
}

void check_sorts()
{
    const std::vector<float> keys = {3, -1, NAN, 0.0f, -0.0f, -INFINITY, 3, 2};
    const std::vector<int> values = {0, 1, 2, 3, 4, 5, 6, 7};
    float *in = to_device(keys), *out = to_device(keys);
    int *values_in = to_device(values), *values_out = to_device(values);
    with_storage([&](void* storage, size_t& bytes) {
        return cub::DeviceRadixSort::SortPairs(storage, bytes, in, out, values_in, values_out, 8);
    });
    const int ascending[8] = {5, 1, 3, 4, 7, 0, 6, 2};
    auto got = to_host(values_out, 8);
    for (int i = 0; i < 8; i++) EXPECT(got[i] == ascending[i]);
    with_storage([&](void* storage, size_t& bytes) {
        return cub::DeviceRadixSort::SortPairsDescending(storage, bytes, in, out, values_in, values_out, 8);
    });
    const int descending[8] = {2, 0, 6, 7, 3, 4, 1, 5};
    got = to_host(values_out, 8);
    for (int i = 0; i < 8; i++) EXPECT(got[i] == descending[i]);

    int* integers = to_device(std::vector<int>{5, -7, 0, 2147483647, -2147483647 - 1, 5, 9, 1});
    with_storage([&](void* storage, size_t& bytes) {
        return cub::DeviceRadixSort::SortKeys(storage, bytes, integers, values_out, 8);
    });
    got = to_host(values_out, 8);
    for (int i = 0; i < 7; i++) EXPECT(got[i] <= got[i + 1]);
    EXPECT(got[0] == -2147483647 - 1 && got[7] == 2147483647);

    int* offsets = to_device(std::vector<int>{0, 3, 3, 8});
    with_storage([&](void* storage, size_t& bytes) {
        return cub::DeviceSegmentedSort::StableSortPairsDescending(storage, bytes, integers, values_out, values_in,
                                                                   reinterpret_cast<int*>(out), 8, 3, offsets, offsets + 1);
    });
    got = to_host(values_out, 8);
    const int segments[8] = {5, 0, -7, 2147483647, 9, 5, 1, -2147483647 - 1};
    for (int i = 0; i < 8; i++) EXPECT(got[i] == segments[i]);
    EXPECT(to_host(reinterpret_cast<int*>(out), 8)[4] == 6);

    size_t bytes = 0;
    SUCCEED(cub::DeviceRadixSort::SortKeys(nullptr, bytes, integers, values_out, 8));
    EXPECT(bytes > 0);
}

void check_passes()
{
    const int n = 1000;
    std::vector<int> x(n);
    for (int i = 0; i < n; i++) x[i] = i / 3 % 5;
    int *in = to_device(x), *out = to_device(std::vector<int>(n, -1)), *lengths = to_device(std::vector<int>(n, -1));
    int* count = to_device(std::vector<int>(1, -1));
    with_storage([&](void* storage, size_t& bytes) { return cub::DeviceScan::InclusiveSum(storage, bytes, in, out, n); });
    auto got = to_host(out, n);
    for (int i = 0, sum = 0; i < n; i++) EXPECT(got[i] == (sum += x[i]));
    with_storage([&](void* storage, size_t& bytes) {
        return cub::DeviceScan::ExclusiveScan(storage, bytes, in, out, cuda::maximum<>{}, -5, n);
    });
    got = to_host(out, n);
    EXPECT(got[0] == -5 && got[1] == 0 && got[999] == 4);
    with_storage([&](void* storage, size_t& bytes) { return cub::DeviceReduce::Sum(storage, bytes, in, count, n); });
    EXPECT(to_host(count, 1)[0] == 1992);
    with_storage([&](void* storage, size_t& bytes) {
        return cub::DeviceRunLengthEncode::Encode(storage, bytes, in, out, lengths, count, n);
    });
    EXPECT(to_host(count, 1)[0] == 334 && to_host(out, 7)[6] == 1 && to_host(lengths, 334)[333] == 1);
    with_storage([&](void* storage, size_t& bytes) {
        return cub::DeviceSelect::Flagged(storage, bytes, in, in, out, count, n);
    });
    EXPECT(to_host(count, 1)[0] == 799 && to_host(out, 3)[0] == 1);
}

int main()
{
    check_sorts();
    check_passes();
    std::vector<int> x(64);
    for (int i = 0; i < 64; i++) x[i] = i * 7 % 13;
    int *in = to_device(x), *out = to_device(std::vector<int>(68, -1));
    auto config = launch_of(1, 64);
    SUCCEED(cudaLaunchKernelEx(&config, of_blocks, in, out));
    auto got = to_host(out, 68);
    int sum = 0;
    for (int i = 0; i < 64; i++) {
        EXPECT(got[i] == sum);
        sum += x[i];
    }
    EXPECT(got[64] == sum && got[65] == sum && got[66] == 12 && got[67] == 12);
    return 0;
}
