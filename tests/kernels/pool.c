/* A pool for kernel tests that cuts every loop into as many pieces as it claims threads, and runs them in order. */
#include "castoff_pool.h"

struct castoff_pool {
    int threads;
};

int castoff_pool_threads(const castoff_pool *pool) { return pool->threads; }

void castoff_parallel_for(castoff_pool *pool, int64_t count, int64_t grain, castoff_loop_body body, void *context) {
    int64_t pieces = pool->threads, step = ((count + pieces - 1) / pieces + grain - 1) / grain * grain;
    int thread = 0;
    for (int64_t begin = 0; begin < count; begin += step)
        body(context, begin, begin + step < count ? begin + step : count, thread++ % pool->threads);
}
