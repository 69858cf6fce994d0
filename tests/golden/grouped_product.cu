/* main: kernels for the device, and the host function that launches them. */
#include "cuda/launch.cuh"
#include "cuda/strided.cuh"
#include "cuda/grouped.cuh"
extern "C" int castoff_run_cuda(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    (void)arena;
    const int64_t n = frame->symbols[0];
    (void)n;
    {
        CASTOFF_TRY(castoff_device_grouped_product<castoff_brain>(frame, ((castoff_bf16 *)(frame->outputs[0])), ((const castoff_bf16 *)(frame->inputs[0])), ((const castoff_bf16 *)(frame->inputs[1])), ((const int64_t *)(frame->inputs[2])), n, 16, 8, 4));
    }
    return CASTOFF_OK;
}
