/* What one core can do: the rate of fused multiply-adds on registers and the bandwidth of copying what no cache holds.
 * Prints two numbers, GFLOP/s and GB/s (read and written bytes together). */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "measure/peak.h"

static double copy_rate(void) {
    const size_t bytes = (size_t)256 << 20;
    char *from = malloc(bytes), *to = malloc(bytes);
    if (!from || !to) return 0;
    memset(from, 1, bytes);
    memset(to, 2, bytes);
    double best = 0;
    for (int attempt = 0; attempt < 7; attempt++) {
        from[attempt] = (char)attempt; /* no copy may be left out */
        const double start = now();
        memcpy(to, from, bytes);
        const double rate = 2.0 * (double)bytes / (now() - start) / 1e9;
        if (rate > best) best = rate;
    }
    volatile char sink = to[bytes / 2];
    (void)sink;
    free(from);
    free(to);
    return best;
}

int main(void) {
    printf("%.1f %.1f\n", fma_peak(), copy_rate());
    return 0;
}
