// Asynchronous copies to shared memory. They arrive when they are waited for, no sooner: a missing wait shows.
#pragma once

#include "emulation/block.h"

namespace emulation {
EMULATION_HIDDEN void copy_later(void* to, const void* from, size_t bytes, size_t zeros);
EMULATION_HIDDEN void commit_copies();
EMULATION_HIDDEN void wait_for_copies(unsigned younger_groups);
}  // namespace emulation

static inline void __pipeline_memcpy_async(void* to, const void* from, size_t bytes, size_t zeros = 0)
{
    if (bytes != 4 && bytes != 8 && bytes != 16) emulation::stop("__pipeline_memcpy_async: %zu bytes", bytes);
    size_t address = reinterpret_cast<size_t>(to) | reinterpret_cast<size_t>(from);
    if (address % bytes) emulation::stop("__pipeline_memcpy_async: %zu bytes at a misaligned address", bytes);
    emulation::copy_later(to, from, bytes, zeros);
}
static inline void __pipeline_commit() { emulation::commit_copies(); }
static inline void __pipeline_wait_prior(size_t younger) { emulation::wait_for_copies(static_cast<unsigned>(younger)); }
