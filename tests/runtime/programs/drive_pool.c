/* Linked with affine.c: loops of every size from many threads at once, loops inside loops, loops after fork. */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "castoff_internal.h"

enum { CALLERS = 16, LARGEST = 3000 };

typedef struct {
  castoff_pool *pool;
  int64_t count, grain;
  unsigned char *visits;
  _Atomic int *busy; /* per thread number */
} loop;

static void fail(const char *what) {
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static void inner(void *context, int64_t begin, int64_t end, int thread) {
  (void)thread;
  atomic_fetch_add((_Atomic int64_t *)context, end - begin);
}

static void visit(void *context, int64_t begin, int64_t end, int thread) {
  loop *l = context;
  if (thread < 0 || thread >= castoff_pool_threads(l->pool)) fail("a thread number out of range");
  if (begin % l->grain != 0 || (end != l->count && (end - begin) % l->grain != 0)) fail("a piece off its grain");
  if (atomic_fetch_add(&l->busy[thread], 1) != 0) fail("two pieces at once with one thread number");
  for (int64_t i = begin; i < end; i++) l->visits[i]++;
  _Atomic int64_t sum = 0;
  castoff_parallel_for(l->pool, 100, 1, inner, &sum);
  if (sum != 100) fail("a loop inside a loop lost iterations");
  atomic_fetch_sub(&l->busy[thread], 1);
}

static void run_loops(castoff_pool *pool, int64_t step) {
  for (int64_t count = 0; count < LARGEST; count += step) {
    _Atomic int busy[CASTOFF_MAX_THREADS] = {0};
    loop l = {pool, count, 1 + count % 7, calloc((size_t)count + 1, 1), busy};
    castoff_parallel_for(pool, count, l.grain, visit, &l);
    for (int64_t i = 0; i < count; i++)
      if (l.visits[i] != 1) fail("an iteration that did not run exactly once");
    free(l.visits);
  }
}

typedef struct {
  _Atomic int came;
  int64_t first; /* iteration of the worker */
} meeting;

static void meet(void *context, int64_t begin, int64_t end, int thread) {
  meeting *m = context;
  (void)end;
  if (thread == 0)
    while (!atomic_load(&m->came)) sched_yield();
  else if (!atomic_load(&m->came)) {
    m->first = begin;
    atomic_store(&m->came, 1);
  }
}

/* What a thread works on in one loop it works on in the next. */
static void run_loops_of_two(void) {
  castoff_pool pool = {2};
  for (int i = 0; i < 50; i++) {
    meeting m = {0};
    castoff_parallel_for(&pool, 100, 1, meet, &m);
    if (!m.came || m.first < 50) fail("a worker that did not begin with its own half");
  }
}

static void *caller(void *argument) {
  castoff_pool pool = {1 + (int)(intptr_t)argument % 8};
  run_loops(&pool, 61);
  return NULL;
}

static void run_callers(void) {
  pthread_t threads[CALLERS];
  for (intptr_t i = 0; i < CALLERS; i++)
    if (pthread_create(&threads[i], NULL, caller, (void *)i) != 0) fail("no thread");
  for (int i = 0; i < CALLERS; i++) pthread_join(threads[i], NULL);
}

int main(int n_arguments, char **arguments) {
  (void)arguments;
  castoff_pool pool = {6};
  run_loops(&pool, 7);
  run_loops(NULL, 97);
  run_loops_of_two();
  run_callers();
  if (n_arguments > 1) return 0; /* sanitizers do not follow threads across fork */
  const pid_t child = fork();
  if (child == 0) {
    run_loops(&pool, 97);
    exit(0);
  }
  int status = 1;
  waitpid(child, &status, 0);
  run_loops(&pool, 97);
  return status == 0 ? 0 : 1;
}
