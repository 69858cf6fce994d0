// What the programs share: each is a main() that ends with 0 where every expectation held.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#define EXPECT(condition)                                                     \
    do {                                                                      \
        if (!(condition)) {                                                   \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);   \
            exit(1);                                                          \
        }                                                                     \
    } while (0)
#define SUCCEED(call)                                                                               \
    do {                                                                                            \
        cudaError_t error_ = (call);                                                                \
        if (error_ != cudaSuccess) {                                                                \
            fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #call, cudaGetErrorString(error_)); \
            exit(1);                                                                                \
        }                                                                                           \
    } while (0)

template <typename T> T* to_device(const std::vector<T>& values)
{
    T* pointer = nullptr;
    SUCCEED(cudaMalloc(reinterpret_cast<void**>(&pointer), values.size() * sizeof(T)));
    SUCCEED(cudaMemcpy(pointer, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
    return pointer;
}

template <typename T> std::vector<T> to_host(const T* pointer, size_t count)
{
    std::vector<T> values(count);
    SUCCEED(cudaMemcpy(values.data(), pointer, count * sizeof(T), cudaMemcpyDeviceToHost));
    return values;
}

inline cudaLaunchConfig_t launch_of(dim3 grid, dim3 block, size_t dynamic_shared_bytes = 0, cudaStream_t stream = nullptr)
{
    cudaLaunchConfig_t config = {};
    config.gridDim = grid;
    config.blockDim = block;
    config.dynamicSmemBytes = dynamic_shared_bytes;
    config.stream = stream;
    return config;
}
