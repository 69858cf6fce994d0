/* strided.cuh - copies between strided tensors on the device, for the inputs and outputs of a run.
 *
 * Items of 1, 2, 4, 8 or 16 bytes lie at multiples of their size, those of 16 of 8.
 */
#ifndef CASTOFF_CUDA_STRIDED_CUH
#define CASTOFF_CUDA_STRIDED_CUH

#include <cuda_runtime.h>
#include <stdint.h>

#define CASTOFF_MOST_DIMENSIONS 64

struct castoff_strided_copy {
    unsigned char *target;
    const unsigned char *source;
    int rank, item_bytes;
    int64_t shape[CASTOFF_MOST_DIMENSIONS];
    int64_t target_strides[CASTOFF_MOST_DIMENSIONS]; /* in elements */
    int64_t source_strides[CASTOFF_MOST_DIMENSIONS];
};

template <class Item>
static __device__ __forceinline__ void castoff_copy_item(unsigned char *target, const unsigned char *source) {
    *(Item *)target = *(const Item *)source;
}

/* Index: counts elements. Divisions of 64 bits are calls, which are left to what needs them. */
template <class Index>
static __global__ void __launch_bounds__(256, 4)
castoff_copy_strided(const castoff_strided_copy copy, const int64_t count) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        Index rest = (Index)i;
        int64_t target_at = 0, source_at = 0;
        for (int axis = copy.rank - 1; axis >= 0; --axis) {
            const Index size = (Index)copy.shape[axis], before = rest / size;
            const int64_t index = (int64_t)(rest - before * size);
            rest = before;
            target_at += index * copy.target_strides[axis];
            source_at += index * copy.source_strides[axis];
        }
        unsigned char *const target = copy.target + target_at * copy.item_bytes;
        const unsigned char *const source = copy.source + source_at * copy.item_bytes;
        switch (copy.item_bytes) {
            case 1: castoff_copy_item<uint8_t>(target, source); break;
            case 2: castoff_copy_item<uint16_t>(target, source); break;
            case 4: castoff_copy_item<uint32_t>(target, source); break;
            case 8: castoff_copy_item<uint64_t>(target, source); break;
            default: /* two of 8 */
                castoff_copy_item<uint64_t>(target, source);
                castoff_copy_item<uint64_t>(target + 8, source + 8);
        }
    }
}

/* 0 where the copy was launched. Strides in elements. */
extern "C" int castoff_cuda_copy_strided(void *target, const int64_t *target_strides, const void *source,
                                         const int64_t *source_strides, int rank, const int64_t *shape,
                                         int item_bytes, void *stream);

extern "C" int castoff_cuda_copy_strided(void *target, const int64_t *target_strides, const void *source,
                                         const int64_t *source_strides, int rank, const int64_t *shape,
                                         int item_bytes, void *stream) {
    if (rank > CASTOFF_MOST_DIMENSIONS) return 1;
    castoff_strided_copy copy = {(unsigned char *)target, (const unsigned char *)source, rank, item_bytes, {}, {}, {}};
    int64_t count = 1;
    for (int axis = 0; axis < rank; ++axis) {
        copy.shape[axis] = shape[axis];
        copy.target_strides[axis] = target_strides[axis];
        copy.source_strides[axis] = source_strides[axis];
        count *= shape[axis];
    }
    if (count == 0) return 0;
    const int64_t blocks = (count + 255) / 256;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3((unsigned)(blocks < 65536 ? blocks : 65536));
    config.blockDim = dim3(256);
    config.stream = (cudaStream_t)stream;
    const auto kernel = count <= UINT32_MAX ? castoff_copy_strided<uint32_t> : castoff_copy_strided<uint64_t>;
    return cudaLaunchKernelEx(&config, kernel, copy, count) != cudaSuccess;
}

#endif
