// The CUDA runtime, as far as the emulation goes. The nvcc stand-in includes it before everything else.
#pragma once

#include "cuda_runtime_api.h"

#ifdef __cplusplus
#include "emulation/alignment.h"
#include "emulation/arithmetic.h"
#include "emulation/atomics.h"
#include "emulation/block.h"
#include "emulation/launch.h"
#include "emulation/warp.h"
#endif
