// What a GPU refuses and this processor does not: a place that is not aligned as an access to it says. Accesses are
// compiled with -fsanitize=alignment, whose reports come to the kernel's scheduler; here are promises.
#pragma once

#include <cstdint>

#include "emulation/block.h"

namespace emulation {

inline void* aligned(const volatile void* pointer, size_t bytes)
{
    if (reinterpret_cast<uintptr_t>(pointer) % bytes) {
        stop("%p is promised to be a multiple of %zu bytes", const_cast<void*>(pointer), bytes);
    }
    return const_cast<void*>(pointer);
}

}  // namespace emulation

#define __builtin_assume_aligned(pointer, bytes) (::emulation::aligned(pointer, bytes))
