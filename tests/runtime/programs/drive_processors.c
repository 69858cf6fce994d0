/* Linked with affine.c: which processors workers may use while their owner is on one of them. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "castoff_internal.h"

#if defined(__linux__)

typedef struct {
  cpu_set_t seen;            /* of the worker, in the loop */
  const cpu_set_t *narrowed; /* what the worker is to be tied to in the loop, as a program may do, or NULL */
  _Atomic int worker_came;
} visit;

static void check(int holds, const char *what) {
  if (holds) return;
  fprintf(stderr, "%s\n", what);
  exit(1);
}

static void pass(void *context, int64_t begin, int64_t end, int thread) { (void)context, (void)begin, (void)end, (void)thread; }

/* Two pieces, of which each thread gets one. */
static void meet(void *context, int64_t begin, int64_t end, int thread) {
  visit *v = context;
  check(end - begin == 1, "more than a piece for a thread");
  if (thread == 0) {
    while (!atomic_load(&v->worker_came)) sched_yield();
    return;
  }
  if (atomic_load(&v->worker_came)) return; /* it took both */
  check(sched_getaffinity(0, sizeof v->seen, &v->seen) == 0, "no affinity");
  if (v->narrowed) sched_setaffinity(0, sizeof *v->narrowed, v->narrowed);
  atomic_store(&v->worker_came, 1);
}

static cpu_set_t seen_by_worker(castoff_pool *pool, const cpu_set_t *narrowed) {
  visit v = {.narrowed = narrowed};
  castoff_parallel_for(pool, 2, 1, meet, &v);
  check(atomic_load(&v.worker_came), "the worker did not come");
  return v.seen;
}

static cpu_set_t only(int processor) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(processor, &set);
  return set;
}

static void go_to(int processor) {
  const cpu_set_t set = only(processor);
  check(sched_setaffinity(0, sizeof set, &set) == 0, "cannot go to a processor");
}

static cpu_set_t seen_when_woken_from(castoff_pool *pool, int processor, const cpu_set_t *narrowed) {
  go_to(processor);
  usleep(100000); /* the worker sleeps by then, on a busy machine too */
  return seen_by_worker(pool, narrowed);
}

static void run_with_owner_on_each(castoff_pool *pool, const cpu_set_t *allowed) {
  seen_by_worker(pool, NULL); /* which starts it where its owner may run */
  for (int processor = 0; processor < CPU_SETSIZE; processor++) {
    if (!CPU_ISSET(processor, allowed)) continue;
    cpu_set_t wanted = *allowed;
    CPU_CLR(processor, &wanted);
    cpu_set_t seen = seen_when_woken_from(pool, processor, NULL);
    check(CPU_EQUAL(&seen, &wanted), "a woken worker may not use just the processors beside its owner's");
    seen = seen_by_worker(pool, NULL);
    check(CPU_EQUAL(&seen, &wanted), "an awake worker was given others while its owner stayed");
  }
}

int main(int n_arguments, char **arguments) {
  (void)arguments;
  castoff_pool pool = {2};
  cpu_set_t allowed, two, seen;
  check(sched_getaffinity(0, sizeof allowed, &allowed) == 0, "no affinity");
  if (CPU_COUNT(&allowed) < 2) {
    seen = seen_by_worker(&pool, NULL);
    check(CPU_EQUAL(&seen, &allowed), "a worker was moved where there is one processor");
    return 0;
  }
  int first = 0, second;
  while (!CPU_ISSET(first, &allowed)) first++;
  for (second = first + 1; !CPU_ISSET(second, &allowed);) second++;
  two = only(first);
  CPU_SET(second, &two);
  check(sched_setaffinity(0, sizeof two, &two) == 0, "cannot narrow");
  run_with_owner_on_each(&pool, &two);

  /* A program that ties the worker to the owner's processor has it so; one that gives it more again gets that used. */
  const cpu_set_t one = only(first), other = only(second);
  seen_when_woken_from(&pool, first, &one);
  seen_when_woken_from(&pool, second, NULL);
  seen = seen_when_woken_from(&pool, first, &two);
  check(CPU_EQUAL(&seen, &one), "a worker left the processor that the program tied it to");
  seen_when_woken_from(&pool, second, NULL);
  seen = seen_when_woken_from(&pool, first, NULL);
  check(CPU_EQUAL(&seen, &other), "a worker that was given more is not kept off its owner");

  if (n_arguments > 1) return 0; /* sanitizers do not follow threads across fork */
  check(sched_setaffinity(0, sizeof two, &two) == 0, "cannot go back");
  const pid_t child = fork();
  if (child == 0) {
    run_with_owner_on_each(&pool, &two);
    exit(0);
  }
  int status = 1;
  waitpid(child, &status, 0);
  check(status == 0, "failed in a child");

  /* More workers than other processors: left where the program lets them be. */
  castoff_pool wide = {4};
  seen_when_woken_from(&pool, first, NULL);
  castoff_parallel_for(&wide, 4, 1, pass, NULL);
  seen = seen_when_woken_from(&pool, first, NULL);
  check(CPU_EQUAL(&seen, &two), "a worker that has come to be one of too many is kept off a processor");
  go_to(second);
  castoff_parallel_for(&wide, 4, 1, pass, NULL);
  seen = seen_when_woken_from(&pool, first, NULL);
  check(CPU_EQUAL(&seen, &two), "a worker among too many is kept off a processor");
  return 0;
}
#else
int main(void) { return 0; }
#endif
