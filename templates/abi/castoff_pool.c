/* castoff_pool.c: the thread pool.
 *
 * A worker's `state` says everything. The thread that owns the job assigns it (IDLE or SLEEPING -> ASSIGNED); the worker
 * takes it (ASSIGNED -> RUNNING) and gives it back (RUNNING -> IDLE); the owner, out of pieces, takes back what nobody took
 * (ASSIGNED -> IDLE) and so never waits for a thread that has yet to wake. There is one job at a time: who cannot become
 * its owner at once runs the loop alone.
 */
#define _GNU_SOURCE
#include "castoff_pool.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "castoff_internal.h"

enum { MAX_WORKERS = CASTOFF_MAX_THREADS - 1, PIECES_PER_THREAD = 4 };
/* About the time a sleeping thread takes to wake. */
enum { SPINS_BEFORE_SLEEP = 1000, SPINS_BEFORE_YIELD = 1000 };
enum { IDLE, SLEEPING, ASSIGNED, RUNNING };

typedef struct worker {
  _Alignas(64) _Atomic int state;
  int thread; /* its number in loops; the owner's is 0 */
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  pthread_t handle;
} worker;

static worker workers[MAX_WORKERS];
static int n_started;  /* of the owner */
static int may_spin;   /* of the owner, before the first worker starts */
static _Atomic int owned;
static _Atomic int stopping;

static struct {
  castoff_loop_body body;
  void *context;
  int64_t count;
  int64_t piece;
  _Alignas(64) _Atomic int64_t next_piece;
} job;

/* Number of this thread in the loop it is in, or -1. */
static _Thread_local int loop_thread = -1;

static inline void pause_briefly(void) {
#if defined(__x86_64__)
  __asm__ volatile("pause");
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

static int usable_processors(void) {
#if defined(__linux__)
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) == 0) return CPU_COUNT(&set);
#endif
  long count = sysconf(_SC_NPROCESSORS_ONLN);
  return count < 1 ? 1 : count > CASTOFF_MAX_THREADS ? CASTOFF_MAX_THREADS : (int)count;
}

int castoff_pool_choose_threads(int requested) {
  long threads = requested;
  const char *variable = threads > 0 ? NULL : getenv("OMP_NUM_THREADS");
  if (variable) threads = strtol(variable, NULL, 10); /* "8,4" names a number per nesting level: the first counts */
  if (threads <= 0) threads = usable_processors();
  return threads > CASTOFF_MAX_THREADS ? CASTOFF_MAX_THREADS : (int)threads;
}

static void run_pieces(int thread) {
  const int64_t piece = job.piece;
  const int64_t last = (job.count - 1) / piece;
  for (;;) {
    const int64_t i = atomic_fetch_add_explicit(&job.next_piece, 1, memory_order_relaxed);
    if (i > last) return;
    job.body(job.context, i * piece, i == last ? job.count : (i + 1) * piece, thread);
  }
}

static int take(worker *self) {
  int expected = ASSIGNED;
  return atomic_load_explicit(&self->state, memory_order_relaxed) == ASSIGNED &&
         atomic_compare_exchange_strong(&self->state, &expected, RUNNING);
}

static void sleep_until_woken(worker *self) {
  pthread_mutex_lock(&self->mutex);
  int expected = IDLE;
  if (atomic_compare_exchange_strong(&self->state, &expected, SLEEPING))
    while (atomic_load(&self->state) == SLEEPING && !atomic_load(&stopping))
      pthread_cond_wait(&self->wake, &self->mutex);
  pthread_mutex_unlock(&self->mutex);
}

static void *work(void *argument) {
  worker *self = argument;
  loop_thread = self->thread;
  const int spins = may_spin ? SPINS_BEFORE_SLEEP : 1;
  while (!atomic_load(&stopping)) {
    int taken = 0;
    for (int i = 0; i < spins && !(taken = take(self)); i++) pause_briefly();
    if (!taken) {
      sleep_until_woken(self);
      continue;
    }
    run_pieces(self->thread);
    atomic_store_explicit(&self->state, IDLE, memory_order_release);
  }
  return NULL;
}

/* Workers must not run the signal handlers of the program they live in. */
static int start_thread(worker *self) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  const int failed = pthread_create(&self->handle, NULL, work, self);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return !failed;
}

static void start_workers(int wanted) {
  if (n_started == 0) may_spin = wanted < usable_processors();
  while (n_started < wanted) {
    worker *self = &workers[n_started];
    atomic_store(&self->state, IDLE);
    self->thread = n_started + 1;
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->wake, NULL);
    if (!start_thread(self)) return;
    n_started++;
  }
}

static void wake(worker *sleeper) {
  pthread_mutex_lock(&sleeper->mutex);
  pthread_cond_signal(&sleeper->wake);
  pthread_mutex_unlock(&sleeper->mutex);
}

static void finish(worker *assigned) {
  int expected = ASSIGNED;
  if (atomic_compare_exchange_strong(&assigned->state, &expected, IDLE)) return;
  for (int i = 0; atomic_load_explicit(&assigned->state, memory_order_acquire) == RUNNING; i++) {
    if (i < SPINS_BEFORE_YIELD)
      pause_briefly();
    else
      sched_yield();
  }
}

static int become_owner(void) {
  int expected = 0;
  return atomic_load_explicit(&owned, memory_order_relaxed) == 0 &&
         atomic_compare_exchange_strong(&owned, &expected, 1);
}

void castoff_parallel_for(castoff_pool *pool, int64_t count, int64_t grain, castoff_loop_body body, void *context) {
  if (count <= 0) return;
  if (grain < 1) grain = 1;
  const int64_t grains = (count - 1) / grain + 1;
  const int64_t limit = castoff_pool_threads(pool);
  int helpers = (int)(grains < limit ? grains : limit) - 1;
  if (helpers == 0 || loop_thread >= 0 || !become_owner()) {
    body(context, 0, count, loop_thread < 0 ? 0 : loop_thread);
    return;
  }
  start_workers(helpers);
  if (helpers > n_started) helpers = n_started;
  const int64_t grains_per_piece = grains / ((int64_t)(helpers + 1) * PIECES_PER_THREAD);
  job.body = body;
  job.context = context;
  job.count = count;
  job.piece = grain * (grains_per_piece < 1 ? 1 : grains_per_piece);
  atomic_store_explicit(&job.next_piece, 0, memory_order_relaxed);
  for (int i = 0; i < helpers; i++)
    if (atomic_exchange(&workers[i].state, ASSIGNED) == SLEEPING) wake(&workers[i]);
  loop_thread = 0;
  run_pieces(0);
  loop_thread = -1;
  for (int i = 0; i < helpers; i++) finish(&workers[i]);
  atomic_store(&owned, 0);
}

int castoff_pool_threads(const castoff_pool *pool) { return pool ? pool->threads : 1; }

void castoff_pool_after_fork(void) {
  n_started = 0; /* threads do not come along */
  loop_thread = -1;
  atomic_store(&owned, 0);
}

void castoff_pool_stop(void) {
  /* Never given back: loops that come later run alone. A thread that holds it for long is left alone. */
  for (int i = 0; !become_owner(); i++) {
    if (i == SPINS_BEFORE_YIELD) return;
    sched_yield();
  }
  atomic_store(&stopping, 1);
  for (int i = 0; i < n_started; i++) wake(&workers[i]);
  for (int i = 0; i < n_started; i++) pthread_join(workers[i].handle, NULL);
  n_started = 0;
}
