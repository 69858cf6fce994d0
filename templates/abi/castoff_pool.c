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
#include <time.h>
#include <unistd.h>

#include "castoff_internal.h"

enum { MAX_WORKERS = CASTOFF_MAX_THREADS - 1, PIECES_LEFT = 4 };
/* A few times what a sleeping thread takes to wake, and longer than a program that calls again takes to free what it was given and
 * get the next. Whoever else wants the processor has it meanwhile. A pause takes from 1 to 50 ns. */
enum { SPIN_NANOSECONDS = 200000, SPINS_BETWEEN_LOOKS = 64, SPINS_BEFORE_YIELD = 1000 };
enum { IDLE, SLEEPING, ASSIGNED, RUNNING };

typedef struct worker {
  _Alignas(64) _Atomic int state;
  _Atomic int processor; /* that it last waited on */
  int thread;            /* its number in loops; the owner's is 0 */
  pthread_mutex_t mutex;
  pthread_cond_t wake;
  pthread_t handle;
#if defined(__linux__) && !defined(__ANDROID__)
  int avoided, among;       /* the processor it was last kept off, or -1, and of how many workers it was one */
  cpu_set_t allowed, given; /* what the program lets it use, and what it was given of that */
#endif
} worker;

static worker workers[MAX_WORKERS];
static int n_started;  /* of the owner */
static int may_spin;   /* of the owner, before the first worker starts */
static _Atomic int owned;
static _Atomic int stopping;

static struct {
  castoff_loop_body body;
  void *context;
  int64_t grain;
  int n_shares;
} job;

/* Of the job, each thread's. Whoever is through with its own takes from the others': what a thread wrote in one loop it mostly
 * reads in the next. */
static struct share {
  _Alignas(64) _Atomic int64_t next;
  int64_t end;
} shares[CASTOFF_MAX_THREADS];

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

#if defined(__linux__) && !defined(__ANDROID__)
/* The scheduler likes to put a thread that is woken onto the processor of the one that wakes it. It does so even where others
 * idle if the machine is virtual, as processors that the host has put to sleep do not count as idle. There the worker waits until
 * it is moved, which takes longer than most loops. So workers are kept off the owner's processor, within what the program
 * lets them use, unless the others are too few for them. Only a change costs system calls: where an owner stays, there are none. */
static int own_processor(void) { return sched_getcpu(); }

static void keep_off(worker *self, int processor) {
  cpu_set_t now;
  if (processor < 0 || processor >= CPU_SETSIZE || (processor == self->avoided && n_started == self->among)) return;
  if (pthread_getaffinity_np(self->handle, sizeof(now), &now) != 0) return;
  if (self->avoided < 0 || !CPU_EQUAL(&now, &self->given)) self->allowed = now; /* the program changed it */
  self->given = self->allowed;
  CPU_CLR(processor, &self->given);
  if (CPU_COUNT(&self->given) < n_started) self->given = self->allowed;
  self->avoided = processor;
  self->among = n_started;
  if (!CPU_EQUAL(&now, &self->given)) pthread_setaffinity_np(self->handle, sizeof(self->given), &self->given);
}

static void forget_processors(worker *self) { self->avoided = -1; }
#else
static int own_processor(void) { return -1; }
static void keep_off(worker *self, int processor) { (void)self, (void)processor; }
static void forget_processors(worker *self) { (void)self; }
#endif

/* Pieces get smaller towards the end of a share, down to a grain: who comes late or is slow is waited for that long at most. */
static int next_piece(struct share *from, int64_t *begin, int64_t *end) {
  int64_t at = atomic_load_explicit(&from->next, memory_order_relaxed), size;
  do {
    const int64_t left = from->end - at, part = left / PIECES_LEFT / job.grain * job.grain;
    if (left <= 0) return 0;
    size = part > job.grain ? part : job.grain;
    if (size > left) size = left;
  } while (!atomic_compare_exchange_weak_explicit(&from->next, &at, at + size, memory_order_relaxed, memory_order_relaxed));
  *begin = at;
  *end = at + size;
  return 1;
}

static void run_pieces(int thread) {
  for (int i = 0; i < job.n_shares; i++)
    for (int64_t begin, end; next_piece(&shares[(thread + i) % job.n_shares], &begin, &end);)
      job.body(job.context, begin, end, thread);
}

static int64_t nanoseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int take(worker *self) {
  int expected = ASSIGNED;
  return atomic_load_explicit(&self->state, memory_order_relaxed) == ASSIGNED &&
         atomic_compare_exchange_strong(&self->state, &expected, RUNNING);
}

/* Spins for a while; was there something to take? */
static int take_soon(worker *self) {
  if (take(self)) return 1;
  if (!may_spin) return 0;
  const int64_t until = nanoseconds() + SPIN_NANOSECONDS;
  do {
    for (int i = 0; i < SPINS_BETWEEN_LOOKS; i++) {
      pause_briefly();
      if (take(self)) return 1;
    }
    sched_yield();
  } while (nanoseconds() < until);
  return 0;
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
  while (!atomic_load(&stopping)) {
    atomic_store_explicit(&self->processor, own_processor(), memory_order_relaxed);
    if (!take_soon(self)) {
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
  const int first = n_started;
  while (n_started < wanted) {
    worker *self = &workers[n_started];
    atomic_store(&self->state, IDLE);
    atomic_store(&self->processor, -1);
    self->thread = n_started + 1;
    forget_processors(self);
    pthread_mutex_init(&self->mutex, NULL);
    pthread_cond_init(&self->wake, NULL);
    if (!start_thread(self)) break;
    n_started++;
  }
  for (int i = first; i < n_started; i++) keep_off(&workers[i], own_processor());
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
  job.body = body;
  job.context = context;
  job.grain = grain;
  job.n_shares = helpers + 1;
  for (int64_t i = 0, begin = 0; i <= helpers; i++, begin = shares[i - 1].end) {
    atomic_store_explicit(&shares[i].next, begin, memory_order_relaxed);
    shares[i].end = i == helpers ? count : grains * (i + 1) / (helpers + 1) * grain;
  }
  const int processor = own_processor();
  for (int i = 0; i < helpers; i++) {
    worker *const helper = &workers[i];
    const int sleeps = atomic_exchange(&helper->state, ASSIGNED) == SLEEPING;
    if (sleeps || atomic_load_explicit(&helper->processor, memory_order_relaxed) == processor) keep_off(helper, processor);
    if (sleeps) wake(helper);
  }
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
