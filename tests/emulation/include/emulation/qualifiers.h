/* The qualifiers of CUDA C++. `__shared__` and `__noinline__` are
   not among them: the nvcc stand-in rewrites these. */
#ifndef CASTOFF_EMULATION_QUALIFIERS_H
#define CASTOFF_EMULATION_QUALIFIERS_H

#define __global__
#define __device__
#define __host__
#define __constant__
#define __managed__
#define __grid_constant__
#define __launch_bounds__(...)
#define __maxnreg__(...)
#define __cluster_dims__(...)
#define __forceinline__ inline __attribute__((always_inline))
#define __inline_hint__
#define __align__(n) __attribute__((aligned(n)))
#define __builtin_align__(n) __attribute__((aligned(n)))
#define CUDARTAPI

#endif
