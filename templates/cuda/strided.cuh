/* strided.cuh - copies between strided tensors on the device, for the inputs and outputs of a run. */
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

static __global__ void __launch_bounds__(256) castoff_copy_strided(const castoff_strided_copy copy, const int64_t count) {
    const int64_t step = (int64_t)gridDim.x * blockDim.x;
    for (int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x; i < count; i += step) {
        int64_t rest = i, target = 0, source = 0;
        for (int axis = copy.rank - 1; axis >= 0; --axis) {
            const int64_t index = rest % copy.shape[axis];
            rest /= copy.shape[axis];
            target += index * copy.target_strides[axis];
            source += index * copy.source_strides[axis];
        }
        for (int byte = 0; byte < copy.item_bytes; ++byte)
            copy.target[target * copy.item_bytes + byte] = copy.source[source * copy.item_bytes + byte];
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
    return cudaLaunchKernelEx(&config, castoff_copy_strided, copy, count) != cudaSuccess;
}

#endif
