/* castoff_pool.h: the artefact's thread pool, as generated code sees it.
 *
 * One set of worker threads per loaded artefact, started at the first parallel loop that pays, shared by all instances.
 * A pool that is busy, and a loop inside a loop, run in the calling thread: no deadlock, no oversubscription.
 */
#ifndef CASTOFF_POOL_H
#define CASTOFF_POOL_H

#include <stdint.h>

/* One instance's share of the workers. */
typedef struct castoff_pool castoff_pool;

/* A piece [begin, end) of the loop. `thread` lies in [0, castoff_pool_threads()) and no two pieces that run at the same
 * time have the same one: it may index scratch memory. */
typedef void (*castoff_loop_body)(void *context, int64_t begin, int64_t end, int thread);

/* Calls `body` on pieces that cover [0, count) exactly once, and returns when all are done. Every piece but the last has
 * a multiple of `grain` iterations, and begins at one; a loop of no more than `grain` iterations runs at once in the
 * calling thread. Iterations must be independent: how they are cut into pieces depends on the number of threads. */
void castoff_parallel_for(castoff_pool *pool, int64_t count, int64_t grain, castoff_loop_body body, void *context);

/* How many threads, the caller's among them, a loop may use; at least 1. */
int castoff_pool_threads(const castoff_pool *pool);

#endif
