// Launches of one kernel with more and less shared memory than kernels have unasked: what it may have stays the same, for
// another thread may be about to launch it.
#include "cuda/launch.cuh"

#include <cstdio>

extern "C" int castoff_fail(castoff_frame*, int status, const char*, ...) { return status; }
extern "C" void* castoff_frame_host_scratch(castoff_frame*, size_t) { return nullptr; }

static __global__ void sums(float*, int64_t) {}

int main()
{
    castoff_frame frame = {};
    const size_t sizes[] = {80 * 1024, 16, 52 * 1024, 96 * 1024};
    for (size_t size : sizes) {
        if (castoff_launch(&frame, sums, 1, 1, 32, size, static_cast<float*>(nullptr)) != CASTOFF_OK) return 1;
        cudaFuncAttributes found;
        if (cudaFuncGetAttributes(&found, sums) != cudaSuccess) return 2;
        printf("%d\n", found.maxDynamicSharedSizeBytes);
    }
    return 0;
}
