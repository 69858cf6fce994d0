/* castoff_all.c: the fixed layer of an artefact as one unit: seven starts of the compiler cost more than its code. */
#include "castoff_abi.c"
#include "castoff_cpu.c"
#include "castoff_image.c"
#include "castoff_pool.c"
#include "castoff_profile.c"
#include "castoff_run.c"
#include "castoff_state.c"
#include "castoff_tensor.c"
