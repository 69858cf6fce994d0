// Launching kernels: the typed forms of the runtime API.
#pragma once

#include <cstdio>
#include <cstdlib>
#include <new>
#include <tuple>
#include <type_traits>
#include <utility>

#include "emulation/block.h"

namespace emulation {

EMULATION_HIDDEN cudaError_t check_launch(const char* name, const void* kernel, const cudaLaunchConfig_t& config);
EMULATION_HIDDEN cudaError_t check_argument(const char* name, int position, const void* pointer);
extern EMULATION_HIDDEN thread_local const char* kernel_name;  // of the launch that comes next, see cudaLaunchKernelEx

// A launch that waits in a stream or a graph: arguments have the values they had when it was made.
template <typename... Parameters> struct Launch {
    Grid grid;
    void (*kernel)(Parameters...);
    std::tuple<std::decay_t<Parameters>...> arguments;

    static void run_thread(const void* data)
    {
        const auto* launch = static_cast<const Launch*>(data);
        std::apply(launch->kernel, launch->arguments);
    }
    static cudaError_t run(void* data)
    {
        auto* launch = static_cast<Launch*>(data);
        launch->grid.run_thread = run_thread;
        launch->grid.arguments = launch;
        return run_grid(launch->grid);
    }
};

template <typename T> cudaError_t check_one(const char* name, int position, const T& argument)
{
    if constexpr (std::is_pointer_v<T> && !std::is_function_v<std::remove_pointer_t<T>>) {
        return check_argument(name, position, const_cast<const void*>(static_cast<const volatile void*>(argument)));
    } else {
        static_assert(std::is_trivially_copyable_v<T>, "kernel parameters are copied byte by byte");
        return cudaSuccess;
    }
}

template <typename... Parameters>
cudaError_t launch(const cudaLaunchConfig_t& config, void (*kernel)(Parameters...),
                   std::tuple<std::decay_t<Parameters>...> arguments)
{
    const char* name = std::exchange(kernel_name, nullptr);
    if (!name) name = __PRETTY_FUNCTION__;
    cudaError_t error = check_launch(name, reinterpret_cast<const void*>(kernel), config);
    int position = 0;
    std::apply([&](const auto&... one) { ((error = error ? error : check_one(name, position++, one)), ...); }, arguments);
    if (error) return error;
    using Kept = Launch<Parameters...>;
    Grid grid{name, config.gridDim, config.blockDim, config.dynamicSmemBytes, nullptr, nullptr};
    auto* kept = new (malloc(sizeof(Kept))) Kept{grid, kernel, std::move(arguments)};
    EmulatedWork work{Kept::run, free, kept};
    return emulation_submit(config.stream, &work);
}

}  // namespace emulation

template <typename... Expected, typename... Actual>
cudaError_t cudaLaunchKernelEx(const cudaLaunchConfig_t* config, void (*kernel)(Expected...), Actual&&... actual)
{
    static_assert(sizeof...(Expected) == sizeof...(Actual));
    return emulation::launch(*config, kernel, {static_cast<Expected>(std::forward<Actual>(actual))...});
}
// Messages name the kernel as it is spelled where it is launched.
#define cudaLaunchKernelEx(config, kernel, ...) \
    (::emulation::kernel_name = #kernel, ::cudaLaunchKernelEx(config, kernel __VA_OPT__(, ) __VA_ARGS__))

namespace emulation {
template <typename... Parameters, size_t... I>
cudaError_t launch_untyped(const cudaLaunchConfig_t& config, void (*kernel)(Parameters...), void** arguments,
                           std::index_sequence<I...>)
{
    return launch(config, kernel, {*static_cast<std::decay_t<Parameters>*>(arguments[I])...});
}
}  // namespace emulation

template <typename... Parameters>
cudaError_t cudaLaunchKernel(void (*kernel)(Parameters...), dim3 grid, dim3 block, void** arguments,
                             size_t dynamic_shared_bytes = 0, cudaStream_t stream = nullptr)
{
    cudaLaunchConfig_t config{grid, block, dynamic_shared_bytes, stream, nullptr, 0};
    return emulation::launch_untyped(config, kernel, arguments, std::index_sequence_for<Parameters...>{});
}

template <typename... Parameters>
cudaError_t cudaFuncSetAttribute(void (*kernel)(Parameters...), cudaFuncAttribute attribute, int value)
{
    return cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel), attribute, value);
}
template <typename... Parameters>
cudaError_t cudaFuncGetAttributes(cudaFuncAttributes* attributes, void (*kernel)(Parameters...))
{
    return cudaFuncGetAttributes(attributes, reinterpret_cast<const void*>(kernel));
}
template <typename... Parameters>
cudaError_t cudaOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void (*kernel)(Parameters...), int block_size,
                                                          size_t dynamic_shared_bytes)
{
    return cudaOccupancyMaxActiveBlocksPerMultiprocessor(blocks, reinterpret_cast<const void*>(kernel), block_size,
                                                         dynamic_shared_bytes);
}

template <typename T> cudaError_t cudaMalloc(T** pointer, size_t bytes)
{
    return cudaMalloc(reinterpret_cast<void**>(pointer), bytes);
}
template <typename T> cudaError_t cudaMallocHost(T** pointer, size_t bytes, unsigned flags = 0)
{
    return cudaHostAlloc(reinterpret_cast<void**>(pointer), bytes, flags);
}
template <typename T> cudaError_t cudaMallocAsync(T** pointer, size_t bytes, cudaStream_t stream)
{
    return cudaMallocAsync(reinterpret_cast<void**>(pointer), bytes, stream);
}
// A `__device__` or `__constant__` variable is a plain one, the same on every device.
template <typename T> cudaError_t cudaMemcpyToSymbol(T& symbol, const void* from, size_t bytes, size_t offset = 0)
{
    memcpy(reinterpret_cast<char*>(&symbol) + offset, from, bytes);
    return cudaSuccess;
}
template <typename T> cudaError_t cudaMemcpyFromSymbol(void* to, const T& symbol, size_t bytes, size_t offset = 0)
{
    memcpy(to, reinterpret_cast<const char*>(&symbol) + offset, bytes);
    return cudaSuccess;
}
