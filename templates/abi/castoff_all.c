/* castoff_all.c: the fixed layer of an artefact as one unit: many starts of the compiler cost more than its code. */
#include "castoff_abi.c"
#include "castoff_context.c"
#include "castoff_cpu.c"
#ifdef CASTOFF_CUDA
#include "castoff_device_cuda.c"
#include "castoff_device_cuda_graphs.c"
#include "castoff_device_cuda_run.c"
#else
#include "castoff_device_cpu.c"
#endif
#include "castoff_image.c"
#include "castoff_lent.c"
#include "castoff_pool.c"
#include "castoff_profile.c"
#include "castoff_run.c"
#include "castoff_state.c"
#include "castoff_tensor.c"
