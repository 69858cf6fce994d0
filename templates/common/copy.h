/* copy.h - copies of memory as it is. */
#ifndef CASTOFF_COMMON_COPY_H
#define CASTOFF_COMMON_COPY_H

#include <stdint.h>
#include <string.h>

static inline __attribute__((unused)) void castoff_copy_bytes(void *out, const void *in, int64_t size_bytes) {
    if (size_bytes > 0) memcpy(out, in, (size_t)size_bytes);
}

#endif
