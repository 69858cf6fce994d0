/* main: kernels and the function that runs them; compiled once per CPU level. */
#include "abi/castoff_program.h"
#include "common/types.h"
#include "common/grouped.h"
#ifdef CASTOFF_NATIVE
#include "abi/castoff_cpu.h"

/* What a processor needs to run this unit. */
extern const uint64_t castoff_native_features;
const uint64_t castoff_native_features = CASTOFF_COMPILED_FEATURES;
#endif

int CASTOFF_RUN(castoff_frame *frame);

int CASTOFF_RUN(castoff_frame *frame) {
    unsigned char *const arena = frame->arena;
    int fault = 0;
    (void)arena;
    (void)fault;
    const int64_t n = frame->symbols[0];
    (void)n;
    {
        castoff_grouped_product_bf16(((castoff_bf16 *)(frame->outputs[0])), ((const castoff_bf16 *)(frame->inputs[0])), ((const castoff_bf16 *)(frame->inputs[1])), ((const int64_t *)(frame->inputs[2])), n, 16, 8, 4);
    }
    return CASTOFF_OK;
}
